"""What the two cameras of a generated scene see: a room with the arm in it, and the table under the hand."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vladata.images import encode_jpeg

from .arm import HEIGHT, WIDTH, link_frames

__all__ = ["Scene", "noisy"]

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]

NOISE = 2.0
"""Standard deviation of the sensor's noise, of 255."""
QUALITY = 85
SHIFT = 4
"""Fractional bits of the points that are drawn: movements of a 16th of a pixel show."""
GROUND = 512
"""Pixels of the table's side, as the wrist camera sees it."""
METRES = 1.8
"""Length of that side."""
NUM_NOISES = 16


class Scene:
    """The look of one place: the same for all episodes of a group."""

    def __init__(self, seed: int) -> None:
        """Draw the place out of a seed."""
        rng = np.random.default_rng([seed, 71])
        self._background = _room(rng)
        self._ground = _table(rng, GROUND, GROUND)
        self._body = tuple(float(v) for v in rng.uniform(150, 235) + rng.uniform(-15, 15, 3))
        self._accent = tuple(float(v) for v in rng.permutation([40, 90, 200]))
        self._object = tuple(float(v) for v in rng.permutation([30, 60, 220]))
        self._eye = np.array([rng.uniform(1.35, 1.6), rng.uniform(-0.5, 0.5), rng.uniform(0.75, 1.0)])
        self._focus = rng.uniform(125, 150)
        self._tilt = rng.uniform(-0.15, 0.15)
        self._things = rng.uniform([0.3, -0.45], [0.65, 0.45], (4, 2))
        self._noises = [
            np.clip(rng.normal(16, NOISE, (HEIGHT, WIDTH, 3)).round(), 0, 255).astype(np.uint8)
            for _ in range(NUM_NOISES)
        ]

    def front(self, state: Floats, light: float, rng: np.random.Generator) -> list[bytes]:
        """Frames of the camera before the arm, JPEG, at joints and aperture, [N, 8], in so much light."""
        points, scale = self._project(link_frames(state[:, :7])[..., :3, 3][:, [0, 1, 3, 4, 5, 7, 8]])
        background = _lit(self._background, light)
        for place in rng.uniform([0.15, 0.72], [0.85, 0.95], (2, 2)):  # what lies there differs from time to time
            centre = (round(place[0] * WIDTH), round(place[1] * HEIGHT))
            cv2.circle(background, centre, 5, self._object, -1, cv2.LINE_AA)
        return [
            self._finish(self._arm(background.copy(), points[i], scale[i], state[i, 7]), rng) for i in range(len(state))
        ]

    def wrist(self, state: Floats, light: float, rng: np.random.Generator) -> list[bytes]:
        """Frames of the camera at the hand, JPEG, at joints and aperture, [N, 8], in so much light."""
        hand = link_frames(state[:, :7])[:, 8]
        ground = _lit(self._ground, light)
        for place in self._things + rng.normal(0, 0.03, self._things.shape):
            centre = tuple(int(v) for v in (place / METRES + 0.5) * GROUND)
            cv2.circle(ground, centre, 9, self._object, -1, cv2.LINE_AA)
        return [self._finish(self._hand(ground, hand[i], state[i, 7]), rng) for i in range(len(state))]

    def _project(self, points: Floats) -> tuple[Floats, Floats]:
        """Pixels, [N, P, 2], and pixels per metre, [N, P], of points in the room, [N, P, 3]."""
        forward = np.array([0.35, 0.0, 0.35]) - self._eye
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        seen = points - self._eye
        depth = np.maximum(seen @ forward, 0.1)
        pixels = np.stack([seen @ right, seen @ down], axis=-1) * (self._focus / depth)[..., None]
        return pixels + np.array([WIDTH / 2, HEIGHT / 2]), self._focus / depth

    def _arm(self, image: Image, points: Floats, scale: Floats, aperture: float) -> Image:
        fixed = np.round(points * 2**SHIFT).astype(int)
        for i in range(len(points) - 1):
            width = max(1, round(0.09 * scale[i] * (1.0 - 0.07 * i)))
            cv2.line(image, tuple(fixed[i]), tuple(fixed[i + 1]), self._body, width, cv2.LINE_AA, SHIFT)
            radius = round(0.055 * scale[i] * 2**SHIFT)
            cv2.circle(image, tuple(fixed[i]), radius, self._accent, -1, cv2.LINE_AA, SHIFT)
        reach = (points[-1] - points[-2]) / max(1e-6, float(np.linalg.norm(points[-1] - points[-2])))
        across = np.array([-reach[1], reach[0]]) * scale[-1] * (0.012 + 0.05 * aperture)
        for side in (-1, 1):
            root = points[-1] + side * across
            ends = np.round(np.stack([root, root + reach * 0.06 * scale[-1]]) * 2**SHIFT).astype(int)
            cv2.line(image, tuple(ends[0]), tuple(ends[1]), (60, 60, 65), 3, cv2.LINE_AA, SHIFT)
        return image

    def _hand(self, ground: Image, pose: Floats, aperture: float) -> Image:
        # The table's point under the hand lies in the image's middle; the higher the hand, the more it sees.
        seen = 0.22 + 0.9 * max(0.0, float(pose[2, 3]))
        zoom = WIDTH / (seen / METRES * GROUND)
        turn = float(np.arctan2(pose[1, 0], pose[0, 0])) + self._tilt
        c, s = zoom * np.cos(turn), zoom * np.sin(turn)
        centre = (pose[:2, 3] / METRES + 0.5) * GROUND
        matrix = np.array([[c, s, 0.0], [-s, c, 0.0]])
        matrix[:, 2] = np.array([WIDTH / 2, HEIGHT * 0.45]) - matrix[:, :2] @ centre
        image = cv2.warpAffine(ground, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        for side in (-1, 1):
            inner = WIDTH / 2 + side * (5 + 26 * aperture)
            corners = np.array(
                [[inner, HEIGHT * 0.62], [inner + side * 12, HEIGHT * 0.62], [inner + side * 24, HEIGHT]]
            )
            corners = np.vstack([corners, [inner + side * 6, HEIGHT]])
            cv2.fillPoly(image, [np.round(corners * 2**SHIFT).astype(np.int32)], (70, 72, 78), cv2.LINE_AA, SHIFT)
        return np.asarray(image, dtype=np.uint8)

    def _finish(self, image: Image, rng: np.random.Generator) -> bytes:
        noise = self._noises[int(rng.integers(NUM_NOISES))]
        shifted = np.roll(noise, int(rng.integers(HEIGHT)), axis=0)
        added = cv2.add(image, shifted)
        return encode_jpeg(np.asarray(cv2.subtract(added, np.full_like(added, 16)), dtype=np.uint8), QUALITY)


def _lit(image: Image, factor: float) -> Image:
    return np.asarray(cv2.convertScaleAbs(image, alpha=factor), dtype=np.uint8)


def noisy(image: Image, rng: np.random.Generator, deviation: float = NOISE) -> Image:
    """An image with the sensor's noise once more."""
    return np.clip(image + rng.normal(0, deviation, image.shape).astype(np.float32), 0, 255).round().astype(np.uint8)


def _room(rng: np.random.Generator) -> Image:
    """A bright wall above, things before it, and a darker wooden table below."""
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    edge = round(HEIGHT * rng.uniform(0.42, 0.55))
    image[:] = rng.uniform(165, 205) + rng.uniform(-10, 10, 3)
    for _ in range(12):
        left, top = int(rng.integers(-10, WIDTH)), int(rng.integers(-10, edge))
        size = rng.integers(8, 40, 2)
        colour = tuple(float(v) for v in rng.uniform(60, 220) + rng.uniform(-30, 30, 3))
        cv2.rectangle(image, (left, top), (left + int(size[0]), top + int(size[1])), colour, -1)
    image[edge:] = _table(rng, HEIGHT - edge, WIDTH)
    image = np.asarray(cv2.GaussianBlur(image, (3, 3), 0.7), dtype=np.uint8)
    shade = np.linspace(1.06, 0.9, HEIGHT)[:, None, None]
    return np.clip(image * shade + _grain(rng, HEIGHT, WIDTH), 0, 255).astype(np.uint8)


def _table(rng: np.random.Generator, height: int, width: int) -> Image:
    """Wood with things on it."""
    tone = np.array([rng.uniform(120, 165), rng.uniform(90, 115), rng.uniform(55, 85)])
    veins = np.cumsum(rng.normal(0, 2.0, height))
    veins -= np.convolve(veins, np.ones(21) / 21, mode="same")
    image = np.clip(tone + veins[:, None, None] * 1.5 + _grain(rng, height, width), 0, 255).astype(np.uint8)
    for _ in range(max(6, height * width // 6000)):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        size = max(2, round(min(height, width) * rng.uniform(0.02, 0.07)))
        colour = tuple(float(v) for v in np.clip(rng.uniform(40, 210) + rng.uniform(-40, 40, 3), 0, 255))
        if rng.random() < 0.5:
            cv2.circle(image, centre, size, colour, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(image, centre, (centre[0] + size, centre[1] + size), colour, -1)
    return image


def _grain(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Grey noise of two sizes, [H, W, 1]."""
    coarse = cv2.resize(rng.normal(0, 5, (height // 8 + 2, width // 8 + 2)), (width, height))
    return np.asarray(coarse + rng.normal(0, 3, (height, width)))[:, :, None]
