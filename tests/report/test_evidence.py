import dataclasses
import re

import numpy as np
import pytest

from vladata import images
from vladata.embodiment import Depth, StreamRule
from vladata.episode import Episode
from vladata.finding import Finding
from vladata.recording import BytesFrames
from vladata.report._html_plots import curves, histogram, number
from vladata.report._shown import Evidence, Panel
from vladata.report.evidence import HEIGHT, MAX_PANELS, MAX_PICTURES, MAX_POINTS, WIDTH, look_at
from vladata.testing.builders import build_embodiment, build_episode
from vladata.units import Clock


def at(location, steps=None, **more):
    return Finding(message=more.pop("message", "wrong"), location=location, steps=steps, **more)


def test_the_place_is_shown_with_its_surroundings():
    episode = build_episode(duration_s=10.0)
    seen = look_at(episode, at("/streams/arm/values", (50, 52), dimensions=("joint_2",)))
    assert seen.x_label == "seconds from the first step"
    assert seen.shaded == (5.0, 5.2)
    assert seen.span == (3.5, 6.7)
    (panel,) = seen.panels
    assert (panel.label, panel.unit) == ("joint_2", "rad")
    assert [v for v, _ in panel.levels] == [-2.0, 2.0]
    assert len(panel.x) == 321
    assert np.array_equal(panel.y, episode.streams["arm"].values[370:691, 2])
    (picture,) = seen.pictures
    assert picture.caption == "front, frame 156, 5.00 s"


def test_without_a_place_the_whole_episode_is_shown_and_extremes_stay():
    def spike(values):
        values = values.copy()
        values[777, 0] = 1.9
        return values

    seen = look_at(build_episode(duration_s=20.0, values={"arm": spike}), at("/streams/arm/values"))
    assert len(seen.panels) == 4
    assert all(len(p.x) == MAX_POINTS for p in seen.panels)
    assert seen.panels[0].y.max() == 1.9
    assert seen.shaded is None
    assert seen.pictures == ()


def test_dimensions_that_the_message_names_are_enough():
    episode = build_episode()
    seen = look_at(episode, at("/streams/arm/values", message="arm.joint_1 is 3 rad, gripper is 2"))
    assert [p.label for p in seen.panels] == ["joint_1", "gripper"]


def test_many_dimensions_are_cut_and_counted():
    seen = look_at(build_episode(build_embodiment(num_joints=12)), at("/streams/arm/values"))
    assert len(seen.panels) == MAX_PANELS
    assert seen.note == "5 more dimensions are not shown"


@pytest.mark.parametrize(
    ("location", "label", "unit", "level"),
    [
        ("/streams/arm/time_ns", "interval", "ms", 10.0),
        ("/streams/front/time_ns", "interval", "ms", 1e3 / 30),
        ("/steps/time_ns", "interval", "ms", 100.0),
        ("/steps/age_ns/arm", "age", "ms", 50.0),
        ("/steps/valid/arm", "is valid", "", None),
        ("/steps/images/front", "frame", "", None),
        ("/steps/action/command", "joint_0", "rad", -2.0),
    ],
)
def test_whatever_a_location_names_has_words_and_units(location, label, unit, level):
    embodiment = build_embodiment(rules={"arm": StreamRule(rate_hz=100.0, max_age_ms=50.0)})
    panel = look_at(build_episode(embodiment), at(location, (3, 5))).panels[0]
    assert (panel.label, panel.unit) == (label, unit)
    assert next((v for v, _ in panel.levels), None) == level
    assert len(panel.x) == len(panel.y) > 10


def test_a_gap_is_seen_in_the_intervals():
    def gap(time):
        time[120:] += 300_000_000
        return time

    (panel,) = look_at(build_episode(stamps={"arm": gap}), at("/streams/arm/time_ns")).panels
    assert panel.y.max() == pytest.approx(310.0)
    assert panel.is_dotted


def test_nominal_clocks_count_samples():
    episode = build_episode(is_stepped=True, clock=Clock.NOMINAL, duration_s=10.0)
    seen = look_at(episode, at("/streams/arm/values", (50, 60), dimensions=("joint_0",)))
    assert seen.x_label == "sample"
    assert seen.shaded == (50.0, 60.0)
    assert seen.panels[0].x[0] == 35
    assert seen.pictures[0].caption == "front, frame 50"
    assert look_at(episode, at("/steps/action/command", (3, 4))).x_label == "step"


def test_frames_at_the_steps_are_shown_where_the_finding_names_none():
    episode = build_episode()
    seen = look_at(episode, at("/streams/front/frames", (10, 12)))
    assert [p.caption.split()[2] for p in seen.pictures] == ["36,", "38,", "40,", "42,"]
    assert all(p.height <= HEIGHT and p.width <= WIDTH and p.jpeg for p in seen.pictures)
    whole = look_at(episode, at("/streams/front/frames"))
    assert len(whole.pictures) == MAX_PICTURES


def test_large_frames_become_small():
    episode = build_episode(build_embodiment(size=(400, 1200)), duration_s=0.5)
    picture = look_at(episode, at("/streams/front/frames", frames=(0,))).pictures[0]
    assert (picture.height, picture.width) == (95, 284)
    assert images.probe(picture.jpeg).width == 284
    assert len(picture.jpeg) < 20_000


def test_depth_becomes_grey():
    plain = build_embodiment()
    camera = plain.cameras[0].model_copy(update={"depth": Depth(unit="mm")})
    depth = np.full((48, 64), 800, np.uint16)
    depth[:, :32], depth[0] = 2500, 0
    episode = build_episode(plain.model_copy(update={"cameras": (camera,)}), duration_s=0.5)
    stream = dataclasses.replace(
        episode.streams["front"], frames=BytesFrames([images.encode_png(depth)] * 28), codec="png"
    )
    episode = dataclasses.replace(episode, streams={**episode.streams, "front": stream})
    (picture,) = look_at(episode, at("/streams/front/frames", frames=(3,))).pictures
    shown = images.decode(picture.jpeg)
    assert shown[20, 5].min() > 240
    assert 20 < shown[20, 60].max() < 45
    assert shown[0].max() < 25


def test_a_frame_that_can_not_be_decoded_says_why():
    episode = build_episode(frames={"front": lambda f: [f[0], f[1][:100], *f[2:]]})
    good, bad = look_at(episode, at("/streams/front/frames", frames=(0, 1))).pictures
    assert good.jpeg
    assert not bad.jpeg
    assert "truncated or damaged" in bad.caption


def odd_values(rng):
    yield lambda v: np.full_like(v, np.nan)
    yield lambda v: v * 1e308
    yield lambda v: np.where(rng.random(v.shape) < 0.5, np.inf, -np.inf)
    yield lambda v: v[:, :1]
    yield lambda v: v[:0]
    yield lambda v: np.zeros_like(v)
    yield lambda v: v.astype(np.int8)
    yield lambda v: v.astype("S8")
    yield lambda v: v[:, :, None]


def odd_episodes():
    for change in odd_values(np.random.default_rng(0)):
        yield build_episode(duration_s=1.0, values={"arm": change})
    for stamps in (lambda t: t[::-1], lambda t: t * 0, lambda t: t[:0], lambda t: t[:1], lambda t: t + 2**62):
        yield build_episode(duration_s=1.0, stamps={"arm": stamps})
    yield build_episode(duration_s=1.0, without=("arm", "front"))
    yield build_episode(duration_s=1.0, steps=lambda s: s.between(0, 0))
    yield build_episode(duration_s=1.0, steps=lambda s: s.between(4, 5))


@pytest.mark.parametrize("number_of", range(17))
def test_odd_episodes_break_nothing(number_of):
    from vladata.report.evidence import _guarded

    episode: Episode = list(odd_episodes())[number_of]
    places = [
        "/streams/arm/values",
        "/streams/arm/time_ns",
        "/streams/front/frames",
        "/steps/time_ns",
        "/steps/valid/arm",
    ]
    places += ["/steps/proprioception/arm", "/steps/age_ns/arm", "/", "", "/streams", "/streams/none", "/steps/none/x"]
    for location in places:
        for steps in (None, (0, 1), (3, 9), (5, 5), (-3, 2), (10**6, 10**7)):
            seen = _guarded(episode, at(location, steps, frames=(-1, 10**9)))
            assert not re.search(r"\b(nan|inf)\b", seen.drawing)
            assert not seen.note or any(w in seen.note for w in ("no samples", "has the shape", " holds ", "more dim"))


def test_numbers_that_are_none_are_marked():
    y = np.array([0.0, 1.0, np.nan, 3.0, np.inf])
    panel = Panel(label="a", unit="rad", x=np.arange(5.0), y=y)
    drawn = curves(Evidence(panels=(panel,), span=(0.0, 4.0)), "about")
    assert "2 not finite" in drawn
    line = drawn.partition('class="line" d="')[2].partition('"')[0]
    assert line.count("M") == 2
    assert line.count("L") == 1
    lost = drawn.partition('class="lost" d="')[2].partition('"')[0]
    assert lost.count("M") == 2


def test_histograms_and_numbers():
    drawn = histogram(np.array([1.0, 1.0, 2.0, 5.0]), "seconds")
    assert "1 to 2: 2 episodes" in drawn
    assert histogram(np.array([]), "seconds") == ""
    for odd in ([1e300] * 3, [-1.7e308, 1.7e308], [5e-324, 0.0], [np.inf, 1.0]):
        assert 'class="bar"' in histogram(np.array(odd), "seconds")
    assert histogram(np.array([3.0]), "seconds").count('class="bar"') == 1
    assert [number(v) for v in (0.30000000000000004, 12345.6, 1e9, -2.0)] == ["0.3", "1.235e+04", "1e+09", "-2"]


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-9, 1e200])
def test_what_never_changes_lies_in_the_middle(value):
    panel = Panel(label="a", unit="rad", x=np.arange(5.0), y=np.full(5, value))
    drawn = curves(Evidence(panels=(panel,), span=(0.0, 4.0)), "about")
    places = set(re.findall(r"[ML][0-9.]+ ([0-9.]+)", drawn.partition('class="line" d="')[2].partition('"')[0]))
    assert places == {"79.0"}
