"""Ten kinds of nasty episodes, and nasty measurements: every check answers with findings, none crashes."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from vladata.checks import CheckSettings, check_names, find_check, measure, run_checks, run_dataset_checks
from vladata.embodiment import Camera, Depth, Dimension, Embodiment, Signal, StreamRule
from vladata.episode import Episode
from vladata.finding import Report
from vladata.recording import BytesFrames, Instruction, Outcome, Stream
from vladata.report._html_plots import curves
from vladata.report.as_json import from_json, to_json
from vladata.report.evidence import look_at
from vladata.testing.builders import START_NS, build_embodiment, build_episode
from vladata.testing.facts import CountedFacts, build_fact, facts_of
from vladata.units import Clock, Kind, Mode, RotationConvention, Unit

PLAIN = build_embodiment(cameras=())
SEEN = build_embodiment(cameras=("front", "side"))
TEXTS = ("\x1b[2J\x00\u202e{}" * 400, "\ud800 lone", "ﷺ" * 5000, "", " \n\t ", "{" * 3000, "not " * 3000)


def rich() -> Embodiment:
    """Every kind of dimension, rotations of all conventions, deltas, speeds, a depth camera."""

    def pose(name, mode, rotation, count):
        names = [f"r{i}" for i in range(count)]
        turned = tuple(Dimension(name=n, kind=Kind.ROTATION, unit=_unit(rotation), mode=mode) for n in names)
        moved = tuple(Dimension(name=n, kind=Kind.POSITION, unit=Unit.METRE, mode=mode) for n in "xyz")
        return Signal(name=name, dimensions=(*moved, *turned), rotation=rotation)

    euler, quaternion = RotationConvention.EULER_XYZ, RotationConvention.QUATERNION_XYZW
    speeds = Dimension(
        name="j", kind=Kind.JOINT_VELOCITY, unit=Unit.RADIAN_PER_SECOND, mode=Mode.VELOCITY, max_acceleration=1.0
    )
    joint = Dimension(
        name="j", kind=Kind.JOINT_POSITION, unit=Unit.RADIAN, max_velocity=1.0, max_acceleration=1.0, limits=(-1.0, 1.0)
    )
    finger = Dimension(
        name="g", kind=Kind.GRIPPER_APERTURE, unit=Unit.METRE, limits=(0.0, 0.1), open_value=0.1, closed_value=0.0
    )
    return PLAIN.model_copy(
        update={
            "proprioception": (
                pose("hand", None, euler, 3),
                pose("tip", None, quaternion, 4),
                Signal(name="joints", dimensions=(joint, finger)),
            ),
            "action": (
                pose("move", Mode.DELTA, euler, 3),
                Signal(name="speed", dimensions=(speeds,)),
                Signal(name="grip", dimensions=(finger.model_copy(update={"mode": Mode.ABSOLUTE}),)),
            ),
            "cameras": (
                Camera(name="depth", height=8, width=8, rate_hz=30.0, depth=Depth(unit="mm")),
                Camera(name="front", height=48, width=64, rate_hz=30.0),
            ),
            "streams": {"hand": StreamRule(rate_hz=100.0, jitter_ms=0.1, max_age_ms=1.0)},
        }
    )


def _unit(rotation):
    return Unit.RADIAN if rotation is RotationConvention.EULER_XYZ else Unit.ONE


def everywhere(change):
    return {"arm": change, "command": change}


def with_streams(episode: Episode, **changes: object) -> Episode:
    """Every stream with other fields."""
    streams = {n: dataclasses.replace(s, **changes) for n, s in episode.streams.items()}
    return dataclasses.replace(episode, streams=streams)


def first(count: int) -> Episode:
    """A few samples and steps."""
    episode = build_episode(PLAIN, steps=lambda s: s.between(0, count))
    streams = {
        n: dataclasses.replace(s, time_ns=s.time_ns[:count], values=s.values[:count], receive_time_ns=s.time_ns[:count])
        for n, s in episode.streams.items()
    }
    return dataclasses.replace(episode, streams=streams)


def equal_stamps() -> Episode:
    episode = build_episode(SEEN, stamps=dict.fromkeys(SEEN.stream_names, np.zeros_like))
    return dataclasses.replace(episode, steps=dataclasses.replace(episode.steps, time_ns=episode.steps.time_ns * 0))


def holes(values):
    values = values.copy()
    values[::2] = np.nan
    values[1::4, 0] = np.inf
    return values


def huge(values):
    return np.where(np.arange(len(values))[:, None] % 2, 1e308, -1e308) * np.ones_like(values)


def emptied() -> Episode:
    """Streams that the steps do not have."""
    return build_episode(
        SEEN,
        steps=lambda s: dataclasses.replace(s, proprioception={}, action={}, images={}, age_ns={}, valid={}),
    )


def derived() -> Episode:
    """Steps without streams."""
    episode = build_episode(PLAIN)
    streams = {"arm": episode.streams["arm"]}
    return dataclasses.replace(
        episode, streams=streams, provenance={"sync": {"policy": {"derived": {"command": {}}, "step_clock": "rows"}}}
    )


def invalid() -> Episode:
    return build_episode(
        SEEN, steps=lambda s: dataclasses.replace(s, valid={n: np.zeros_like(v) for n, v in s.valid.items()})
    )


def blind() -> Episode:
    """Cameras without frames, with too few, and with what is no picture."""
    episode = build_episode(SEEN)
    kinds = {"front": BytesFrames([]), "side": BytesFrames([b"", b"\xff\xd8", b"no picture"])}
    streams = dict(episode.streams)
    for name, frames in kinds.items():
        streams[name] = dataclasses.replace(streams[name], frames=frames, time_ns=streams[name].time_ns[:3])
    return dataclasses.replace(episode, streams=streams)


def mixed_up() -> Episode:
    """Arrays of other lengths, shapes and types than the schema's."""
    episode = build_episode(SEEN)
    steps = episode.steps
    steps = dataclasses.replace(
        steps,
        proprioception={"arm": steps.proprioception["arm"][:-3]},
        action={"command": steps.action["command"][:, :1]},
        images={n: v[:2] for n, v in steps.images.items()},
        valid={n: v[1:] for n, v in steps.valid.items()},
        age_ns={n: v[:0] for n, v in steps.age_ns.items()},
    )
    arm = dataclasses.replace(episode.streams["arm"], values=np.array(["a"] * 5))
    streams = {
        **episode.streams,
        "arm": arm,
        "\x1b[31m" * 99: Stream(name="odd", clock=Clock.UNIX, time_ns=arm.time_ns[:0], values=np.zeros((0, 0))),
    }
    return dataclasses.replace(episode, streams=streams, steps=steps)


def texts() -> Episode:
    """Labels of strangers."""
    times = (None, -(2**62), 0, START_NS)
    return dataclasses.replace(
        build_episode(PLAIN, place="\x1b]0;x\x07"),
        instructions=tuple(
            Instruction(text=t, kind=k, time_ns=s, end_ns=e)
            for t, k, s, e in zip(
                TEXTS, ("task", "subtask", "task", "task") * 2, times * 2, (None, 5, 0, 1) * 2, strict=False
            )
        ),
        outcomes=tuple(
            Outcome(kind=k, time_ns=s, end_ns=None, reason=t)
            for t, k, s in zip(TEXTS, ("success", "failure", "intervention", "reward") * 2, times * 2, strict=False)
        ),
        metadata={"session": TEXTS[1], "operator": "\x00", "date": ""},
        provenance={"sync": "nothing", "place": 3},
    )


def all_kinds(change: Callable[[np.ndarray], np.ndarray], clock: Clock = Clock.UNIX) -> Episode:
    embodiment = rich()
    names = [s.name for s in embodiment.signals]
    episode = build_episode(embodiment, clock=clock, values=dict.fromkeys(names, change), frames={"depth": depth})
    times = {n: s.time_ns for n, s in episode.streams.items()}
    streams = {n: dataclasses.replace(s, receive_time_ns=times[n][::-1]) for n, s in episode.streams.items()}
    return dataclasses.replace(episode, streams=streams)


def depth(frames):
    from vladata import images

    return [images.encode_png(np.full((8, 8), i % 3, np.uint16)) for i in range(len(frames))]


NASTY: dict[str, Callable[[], Episode]] = {
    "good": lambda: build_episode(SEEN),
    "no step": lambda: first(0),
    "one sample": lambda: first(1),
    "two samples": lambda: first(2),
    "equal stamps": equal_stamps,
    "far stamps": lambda: build_episode(
        PLAIN, stamps=everywhere(lambda t: np.linspace(-(2**62), 2**62 - 1024, len(t)).astype(np.int64))
    ),
    "equal values": lambda: build_episode(PLAIN, values=everywhere(np.ones_like)),
    "bytes": lambda: build_episode(PLAIN, values=everywhere(lambda v: (50 * v).astype(np.uint8))),
    "flags": lambda: build_episode(PLAIN, values=everywhere(lambda v: v > 0)),
    "integers": lambda: build_episode(PLAIN, values=everywhere(lambda v: (1e18 * v).astype(np.int64))),
    "one dimension": lambda: build_episode(build_embodiment(num_joints=0, cameras=())),
    "holes": lambda: build_episode(PLAIN, values=everywhere(holes)),
    "nothing finite": lambda: build_episode(PLAIN, values=everywhere(lambda v: v * np.nan)),
    "huge values": lambda: build_episode(PLAIN, values=everywhere(huge)),
    "empty steps": emptied,
    "derived actions": derived,
    "nothing counts": invalid,
    "no frames": blind,
    "mixed up": mixed_up,
    "texts": texts,
    "all kinds": lambda: all_kinds(lambda v: v),
    "all kinds, holes": lambda: all_kinds(holes),
    "all kinds, huge": lambda: all_kinds(huge),
    "all kinds, still": lambda: all_kinds(np.zeros_like),
    "all kinds, no time": lambda: all_kinds(lambda v: 100 * v, Clock.NOMINAL),
}
SETTINGS = {
    "default": CheckSettings(),
    "zero": CheckSettings(rules={n: dict.fromkeys(find_check(n).thresholds, 0.0) for n in check_names()}),
    "large": CheckSettings(rules={n: dict.fromkeys(find_check(n).thresholds, 1e12) for n in check_names()}),
}


def assert_sound(findings):
    """Nothing crashed, and every report can be written."""
    assert [f.traceback for f in findings if f.traceback] == []
    assert not [f for f in findings if f.message.startswith("could not run")]
    assert all(np.isfinite(f.magnitude) for f in findings)
    assert [f.message for f in findings if not f.message.isprintable() or len(f.message) > 2000] == []
    report = Report(findings=tuple(findings))
    assert from_json(to_json(report)) == report


@pytest.mark.parametrize("name", NASTY)
def test_whatever_is_found_can_be_shown(name):
    episode = NASTY[name]()
    for finding in run_checks(episode):
        with np.errstate(all="ignore"):
            try:
                seen = look_at(episode, finding)
            except ValueError as error:
                assert str(error).startswith("arm holds <U1 [5] for 241 stamps")  # noqa: PT017 - else it is shown
            else:
                assert "nan" not in curves(seen, finding.message).replace(finding.message, "")


@pytest.mark.parametrize("name", NASTY)
def test_no_episode_check_and_no_measurement_crashes(name):
    episode = NASTY[name]()
    for settings in SETTINGS.values():
        findings = run_checks(episode, settings=settings)
        assert_sound(findings)
        assert all(f.steps is None or 0 <= f.steps[0] < f.steps[1] <= len(episode) for f in findings)
    features, crashed = measure(episode, CheckSettings())
    assert_sound(crashed)
    assert sum(v.nbytes for v in features.values()) < 10_000


def test_no_check_of_a_dataset_crashes_on_nasty_episodes_among_good_ones():
    good = [facts_of(build_episode(PLAIN, seed=i), recording_id=f"r{i}", split=str(i % 2)) for i in range(8)]
    nasty = [facts_of(made(), episode_id=f"n{i}") for i, made in enumerate(NASTY.values())]
    nasty = [dataclasses.replace(f, embodiment="test_arm", embodiment_digest=good[0].embodiment_digest) for f in nasty]
    for settings in SETTINGS.values():
        assert_sound(run_dataset_checks(CountedFacts([*good, *nasty]), settings=settings))
        assert_sound(run_dataset_checks(CountedFacts([*nasty, *good]), settings=settings))
        assert_sound(run_dataset_checks(CountedFacts(nasty[:1]), settings=settings))
        assert_sound(run_dataset_checks(CountedFacts([]), settings=settings))


ODD_ARRAYS: tuple[Callable[[np.ndarray], np.ndarray | None], ...] = (
    lambda _: None,
    lambda a: a[:0],
    lambda a: a.ravel()[0] * np.ones((), a.dtype),
    lambda a: a.ravel()[:1],
    lambda a: a.T,
    lambda a: a[..., None],
    lambda a: np.repeat(a, 2, axis=-1),
    lambda a: np.zeros_like(a),
    lambda a: np.full(a.shape, np.nan),
    lambda a: np.full(a.shape, np.inf),
    lambda a: np.full(a.shape, -1e300),
    lambda a: a > a.min(),
    lambda _: np.array(["text"]),
)


@pytest.mark.parametrize("odd", range(len(ODD_ARRAYS)))
@pytest.mark.parametrize("count", [1, 20])
def test_no_check_of_a_dataset_crashes_on_measurements_of_other_shapes(odd, count, measured):
    """What was measured comes back out of a file: it may be damaged, or of another release."""
    facts = []
    for i in range(30):
        features = dict(measured[i % len(measured)].features)
        if i < count:
            features = {n: v for n, a in features.items() if (v := ODD_ARRAYS[odd](a)) is not None}
        facts.append(
            dataclasses.replace(
                measured[i % len(measured)], episode_id=f"e{i}", content_digest=f"{i}", features=features
            )
        )
    for settings in SETTINGS.values():
        assert_sound(run_dataset_checks(CountedFacts(facts), settings=settings))


@pytest.fixture(scope="module")
def measured():
    return [facts_of(build_episode(SEEN, seed=i), split=str(i % 2)) for i in range(3)]


def test_no_check_of_a_dataset_crashes_on_odd_facts():
    odd = (
        {"duration_s": np.nan},
        {"duration_s": np.inf},
        {"duration_s": -1.0, "num_steps": -5},
        {"content_digest": ""},
        {"embodiment": "", "embodiment_digest": ""},
        {"metadata": {"session": TEXTS[0]}},
        {"place": TEXTS[0], "split": TEXTS[1], "recording_id": "", "outcome": TEXTS[0]},
        *({"instruction": t} for t in TEXTS),
    )
    facts = [build_fact(i, **change) for i, change in enumerate(odd * 3)]
    for settings in SETTINGS.values():
        assert_sound(run_dataset_checks(CountedFacts(facts), settings=settings))


def test_rules_that_do_not_hold_change_nothing():
    """The schema of a stranger's episode; `structure.rules` speaks of them."""
    sections = (
        {"timing.gaps": {"periods": "warning"}},
        {"timing.gaps": {"severity": 3.0}},
        {"timing.gaps": {"periods": -1.0}},
        {"dataset.outliers": {"times": "off"}},
        {"no.check": {"x": 1.0}, "timing.gaps": {"none": 1.0}},
    )
    for section in sections:
        episode = build_episode(PLAIN.model_copy(update={"checks": section}))
        assert [f.check for f in run_checks(episode)] == ["structure.rules"]
        assert run_dataset_checks([build_fact(1, rules=section)]) == []
