"""Camera frames that cost what real ones cost: dead leaves with a 1/f texture, a moving crop, sensor noise."""

import numpy as np
from numpy.typing import NDArray

from vladata.images import encode_jpeg

__all__ = ["HEIGHT", "JPEG_QUALITY", "NUM_FRAMES", "WIDTH", "frame_pool"]

HEIGHT, WIDTH = 480, 640
NUM_FRAMES = 40
"""Distinct frames of a camera; a recording repeats them, and no chunk of it holds one of them twice."""
JPEG_QUALITY = 95
MARGIN = 80
"""Pixels by which the scene is larger than the image, so that the crop can move."""
NUM_LEAVES = 250
NOISE = 2.5

Image = NDArray[np.uint8]


def frame_pool(seed: int, quality: int = JPEG_QUALITY) -> list[bytes]:
    """JPEG frames of one camera, about 100 KB each at quality 95."""
    random = np.random.default_rng(seed)
    scene = _dead_leaves(random, HEIGHT + MARGIN, WIDTH + MARGIN) + _texture(random, HEIGHT + MARGIN, WIDTH + MARGIN)
    frames = []
    for k in range(NUM_FRAMES):
        top = round(MARGIN / 2 * (1 + np.sin(2 * np.pi * k / NUM_FRAMES)))
        left = round(MARGIN / 2 * (1 + np.cos(2 * np.pi * k / NUM_FRAMES)))
        seen = scene[top : top + HEIGHT, left : left + WIDTH]
        noisy = seen + random.normal(0, NOISE, seen.shape)
        frames.append(encode_jpeg(noisy.round().clip(0, 255).astype(np.uint8), quality))
    return frames


def _dead_leaves(random: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Discs over discs; their radii follow a power law, as sizes in nature do."""
    scene = np.full((height, width, 3), 110.0)
    radii = 10 * random.power(0.6, NUM_LEAVES) ** -0.75
    for radius in np.sort(np.minimum(radii, height / 3))[::-1]:
        y, x = random.uniform(0, height), random.uniform(0, width)
        top, left = max(0, int(y - radius)), max(0, int(x - radius))
        rows = np.arange(top, min(height, int(y + radius) + 1))[:, None]
        columns = np.arange(left, min(width, int(x + radius) + 1))[None, :]
        inside = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
        scene[top : top + len(rows), left : left + columns.shape[1]][inside] = random.uniform(40, 215) + random.normal(
            0, 20, 3
        )
    return _blurred(_blurred(scene))


def _texture(random: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Grey noise whose amplitude falls with the frequency."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(random.normal(0, 1, (height, width))) / frequency
    texture = np.fft.irfft2(spectrum, (height, width))
    grey: NDArray[np.float64] = 4 * texture[:, :, None] / texture.std()
    return grey


def _blurred(scene: NDArray[np.float64]) -> NDArray[np.float64]:
    """As a lens does it: edges in a photograph are a few pixels wide."""
    for axis in (0, 1):
        scene = (np.roll(scene, 1, axis) + 2 * scene + np.roll(scene, -1, axis)) / 4
    return scene
