"""Cameras against the other episodes: turned, other colours, exchanged, blurred, late."""

import dataclasses

import numpy as np
import pytest

from vladata import images
from vladata.checks import CheckSettings, EpisodeFacts, find_check, measure, run_dataset_checks
from vladata.checks import _camera_signature as signatures
from vladata.embodiment import Camera, Depth
from vladata.finding import Severity
from vladata.recording import BytesFrames
from vladata.testing.builders import build_embodiment, build_episode

HEIGHT, WIDTH = 96, 128
CAMERAS = ("front", "side")
EMBODIMENT = build_embodiment(cameras=CAMERAS, size=(HEIGHT, WIDTH))
SETTINGS = CheckSettings(select=("camera",))
DURATION_S = 4.0
DELAY_S = 0.03


def background(seed):
    """Fields of different colours with a fine texture."""
    rng = np.random.default_rng(seed)
    fields = np.kron(rng.uniform(50, 200, (6, 8, 1)) + rng.normal(0, 25, (6, 8, 3)), np.ones((16, 16, 1)))
    return fields + np.repeat(rng.normal(0, 12, (HEIGHT, WIDTH, 1)), 3, axis=2)


BACKGROUNDS = {name: background(i) for i, name in enumerate(CAMERAS)}


def motion(rng, count):
    """Where the arm is at 100 Hz, 0 to 1: moves of different lengths with rests between."""
    place, at = [rng.uniform(0.2, 0.8)], []
    while len(at) < count:
        goal, length = rng.uniform(0, 1), int(rng.integers(30, 90))
        s = np.linspace(0, 1, length)
        at += list(place[-1] + (goal - place[-1]) * (3 * s**2 - 2 * s**3)) + [goal] * int(rng.integers(0, 40))
        place.append(goal)
    return np.array(at[:count])


def episode_of(seed, delay_s=DELAY_S):
    rng = np.random.default_rng(seed)
    at = motion(rng, round((DURATION_S + 1.4) * 100))
    ticks = np.arange(len(at)) / 100 - 0.7
    cube = (int(rng.integers(40, 80)), int(rng.integers(10, 110)))
    gain = rng.uniform(0.9, 1.1)

    def joints(values):
        time = np.linspace(-0.2, DURATION_S + 0.2, len(values))
        values[:, 0] = np.interp(time, ticks, at)
        values[:, 1:3] = rng.normal(0, 1e-5, (len(values), 2))
        return values

    def shown(camera):
        def draw(frames):
            made = []
            for time in np.linspace(-0.2, DURATION_S + 0.2, len(frames)) - delay_s:
                picture = BACKGROUNDS[camera].copy()
                picture[cube[0] : cube[0] + 8, cube[1] : cube[1] + 8] = (220, 30, 30)
                left = round(4 * np.interp(time, ticks, at) * 100) // 4
                picture[20:70, left : left + 14] = (60, 60, 70)
                picture = picture * gain + rng.normal(0, 2, picture.shape)
                made.append(images.encode_jpeg(picture.clip(0, 255).astype(np.uint8), 90))
            return made

        return draw

    return build_episode(
        EMBODIMENT,
        duration_s=DURATION_S,
        values={"arm": joints},
        frames={c: shown(c) for c in CAMERAS},
        place=f"demo_{seed}",
    )


def facts_of(episode, **changes):
    features, crashed = measure(episode, SETTINGS)
    assert crashed == []
    known = {
        "episode_id": episode.episode_id,
        "content_digest": episode.content_digest,
        "place": "",
        "embodiment": episode.embodiment.name,
        "instruction": "",
        "outcome": "",
        "num_steps": len(episode),
        "features": features,
    }
    return EpisodeFacts(**{**known, **changes})


@pytest.fixture(scope="module")
def episodes():
    return [episode_of(seed) for seed in range(7)]


@pytest.fixture(scope="module")
def clean(episodes):
    return [facts_of(e) for e in episodes]


def changed(episode, camera, change):
    """The same, each frame of a camera changed."""
    stream = episode.streams[camera]
    frames = [images.decode(stream.frames.read(i)) for i in range(len(stream.frames.sizes))]
    made = [images.encode_jpeg(np.ascontiguousarray(change(f)), 90) for f in frames]
    stream = dataclasses.replace(stream, frames=BytesFrames(made))
    return dataclasses.replace(episode, streams={**episode.streams, camera: stream})


def judged(clean, odd):
    """Findings about a dataset whose third episode is another."""
    return run_dataset_checks([*clean[:2], facts_of(odd), *clean[3:]], settings=SETTINGS)


def box(image, times):
    """Blur by a mean of 3 x 3, again and again."""
    wide = image.astype(np.float32)
    for _ in range(times):
        padded = np.pad(wide, ((1, 1), (1, 1), (0, 0)), mode="edge")
        wide = sum(padded[i : i + HEIGHT, j : j + WIDTH] for i in range(3) for j in range(3)) / 9
    return wide.astype(np.uint8)


def squashed(image):
    """A picture on its side in the size of the others."""
    return images.resize(np.ascontiguousarray(image), HEIGHT, WIDTH)


def test_episodes_of_one_scene_pass(clean):
    assert run_dataset_checks(clean, settings=SETTINGS) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda f: f[::-1, ::-1], "turned by 180 degrees"),
        (lambda f: squashed(np.rot90(f)), "turned left by 90 degrees"),
        (lambda f: squashed(np.rot90(f, -1)), "turned right by 90 degrees"),
        (lambda f: f[:, ::-1], "mirrored left to right"),
        (lambda f: f[::-1], "mirrored top to bottom"),
    ],
)
def test_a_camera_that_is_turned_is_named_with_its_episode(clean, episodes, change, what):
    (finding,) = judged(clean, changed(episodes[2], "side", change))
    assert (finding.check, finding.severity) == ("camera.orientation", Severity.WARNING)
    assert finding.message.startswith(f"side is {what}: turned back, it looks like that of 6 of 6 other episodes (0.")
    assert finding.episode_id == episodes[2].episode_id
    assert finding.location == "/streams/side/frames"
    assert len(finding.others) == 6
    assert finding.magnitude > 1.7


def test_red_and_blue_exchanged(clean, episodes):
    (finding,) = judged(clean, changed(episodes[2], "front", lambda f: f[..., ::-1]))
    assert finding.check == "camera.color_order"
    assert finding.message.startswith(
        "front has red and blue exchanged: put right, it has the colours of 6 of 6 other episodes ("
    )


def test_warmer_light_is_no_other_order(clean, episodes):
    warm = changed(episodes[2], "front", lambda f: (f * np.array([0.8, 1.0, 1.0])).astype(np.uint8))
    assert judged(clean, warm) == []


def test_exchanged_cameras_are_one_finding(clean, episodes):
    front, side = (episodes[2].streams[c] for c in CAMERAS)
    streams = {"front": dataclasses.replace(side, name="front"), "side": dataclasses.replace(front, name="side")}
    odd = dataclasses.replace(episodes[2], streams={**episodes[2].streams, **streams})
    (finding,) = judged(clean, odd)
    assert finding.check == "camera.swapped"
    assert finding.message.startswith("front and side are exchanged: each looks like the other one of 6 of 6 other")


def test_a_blurred_camera(clean, episodes):
    (finding,) = judged(clean, changed(episodes[2], "front", lambda f: box(f, 2)))
    assert finding.check == "camera.blurred"
    assert finding.message.startswith("front is blurred: its fine details are ")
    assert finding.message.endswith(
        " times weaker than in the median of 6 other episodes; they must be at most 2 times weaker"
    )


@pytest.mark.parametrize("times", [8, 40])
def test_stronger_blur_is_found_as_well(clean, episodes, times):
    """Of the finest details nothing but noise is left then, and noise looks sharp."""
    (finding,) = judged(clean, changed(episodes[2], "front", lambda f: box(f, times)))
    assert finding.check == "camera.blurred"


def test_a_scene_of_little_contrast_is_not_blurred(clean, episodes):
    assert judged(clean, changed(episodes[2], "front", lambda f: (f * 0.5 + 60).astype(np.uint8))) == []


def test_a_late_camera(clean, episodes):
    late = episodes[2].streams["front"]
    late = dataclasses.replace(late, time_ns=late.time_ns + 70_000_000)
    odd = dataclasses.replace(episodes[2], streams={**episodes[2].streams, "front": late})
    (finding,) = judged(clean, odd)
    assert finding.check == "camera.latency"
    assert "ms later than in the median of 6 other episodes (" in finding.message
    assert 55 < finding.magnitude < 85


def test_thresholds_can_be_set(clean, episodes):
    late = episodes[2].streams["front"]
    late = dataclasses.replace(late, time_ns=late.time_ns + 70_000_000)
    odd = dataclasses.replace(episodes[2], streams={**episodes[2].streams, "front": late})
    settings = CheckSettings(select=("camera",), rules={"camera.latency": {"limit_ms": 200.0}})
    assert run_dataset_checks([*clean[:2], facts_of(odd), *clean[3:]], settings=settings) == []


def test_few_episodes_say_nothing(clean, episodes):
    odd = facts_of(changed(episodes[2], "front", lambda f: box(f, 3)[::-1, ::-1]))
    assert run_dataset_checks([*clean[:2], odd, clean[3]], settings=SETTINGS) == []


def test_other_embodiments_are_not_compared_with(clean, episodes):
    odd = changed(episodes[2], "front", lambda f: f[::-1, ::-1])
    facts = [*clean[:2], facts_of(odd, embodiment="another"), *clean[3:]]
    assert run_dataset_checks(facts, settings=SETTINGS) == []


def test_scenes_that_have_nothing_in_common_say_nothing():
    rng = np.random.default_rng(3)
    records = np.zeros((40, 2), dtype=signatures.RECORD)
    records["camera"] = np.array(CAMERAS, dtype="S")
    records["is_seen"], records["delay_ms"], records["uncertainty_ms"] = 1, np.nan, np.nan
    records["layout"] = rng.integers(0, 255, records["layout"].shape)
    assert run_dataset_checks([packed(r, str(i)) for i, r in enumerate(records)], settings=SETTINGS) == []


def packed(record, episode_id, dtype=np.uint8):
    bytes_ = record.view(np.uint8).reshape(len(record), record.dtype.itemsize).astype(dtype)
    return EpisodeFacts(
        episode_id=episode_id,
        content_digest="",
        place="",
        embodiment="arm",
        instruction="",
        outcome="",
        num_steps=1,
        features={find_check("camera.swapped").features[0].name: bytes_},
    )


def test_many_episodes_are_compared_with_a_part_of_them(clean):
    records = signatures.unpack(clean[0].features["camera.signature"])
    facts = [packed(records, str(i)) for i in range(1500)]
    turned = records.copy()
    turned["layout"] = turned["layout"][:, ::-1, ::-1]
    facts[1234] = packed(turned, "odd")
    groups = signatures.groups_of(facts, find_check("camera.swapped").features[0])
    assert 128 <= len(groups["arm"].table) <= 256
    found = run_dataset_checks(facts, settings=SETTINGS)
    assert [(f.check, f.episode_id, f.location) for f in found] == [
        ("camera.orientation", "odd", "/streams/front/frames"),
        ("camera.orientation", "odd", "/streams/side/frames"),
    ]


def test_what_is_no_signature_is_left_out(clean):
    records = signatures.unpack(clean[0].features["camera.signature"])
    odd = [packed(records, "a", np.float32), packed(records[:0], "b")]
    assert run_dataset_checks([*odd, *clean], settings=SETTINGS) == []
    assert signatures.unpack(np.zeros((2, 3), np.uint8)) is None
    assert signatures.unpack(None) is None


def test_depth_has_no_colours_and_a_camera_of_the_file_alone_no_signature():
    far = [images.encode_png((np.arange(48 * 64).reshape(48, 64) + i).astype(np.uint16)) for i in range(73)]
    depth = Camera(name="front", height=48, width=64, depth=Depth(unit="mm"))
    embodiment = build_embodiment().model_copy(update={"cameras": (depth,)})
    episode = build_episode(embodiment, frames={"front": lambda _: far})
    (record,) = signatures.unpack(measure(episode, SETTINGS)[0]["camera.signature"])
    assert (record["camera"], record["is_seen"], record["layout"].max()) == (b"front", 0, 0)
    alone = dataclasses.replace(episode, embodiment=embodiment.model_copy(update={"cameras": ()}))
    assert "camera.signature" not in measure(alone, SETTINGS)[0]
    assert "camera.signature" not in measure(build_episode(without=("front",)), SETTINGS)[0]


def test_a_signature_is_small(clean):
    assert clean[0].features["camera.signature"].nbytes < 2 * 300
