"""First versions of a mapping and of a schema, out of what a recording holds; guesses stand there as comments."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import yaml

from .embodiment import Camera, Embodiment, Signal
from .sources import Inspection, StreamInfo
from .text import clip, printable
from .units import Clock, Kind

__all__ = ["draft_mapping", "draft_schema"]

MAX_DIMENSIONS = 512
MIN_SAMPLES = 10
MIN_SHARE = 0.5
"""Share of the recording's time that a stream must cover to be proposed."""

_COMMAND = {
    "action",
    "actions",
    "command",
    "commands",
    "cmd",
    "target",
    "targets",
    "goal",
    "desired",
    "setpoint",
    "ref",
}
_BOOKKEEPING = {
    "timestamp", "index", "done", "reward", "discount", "terminal", "truncated", "first", "last", "valid",
    "embedding", "metadata",
}  # fmt: skip
_SERVICE = {"rosout", "diagnostics", "tf", "events", "clock", "info"}
_TEXTS = {
    "instruction": {"instruction", "instructions", "language", "task", "prompt"},
    "subtask": {"subtask", "subtasks"},
    "outcome": {"outcome", "success", "result"},
}
_IMAGE_NOISE = {
    "compressed", "image", "images", "raw", "color", "rgb", "cameras", "steps", "observation", "observations", "data",
}  # fmt: skip
_SIGNAL_NOISE = {"steps", "observation", "observations", "data", "msg"}
_ROBOT_TYPES = ("std_msgs/", "geometry_msgs/", "control_msgs/", "trajectory_msgs/")
_KIND_WORDS = {Kind.JOINT_POSITION: "position", Kind.JOINT_VELOCITY: "velocity", Kind.JOINT_EFFORT: "effort"}
_YAML_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Proposal:
    """A stream of the recording under the name that it would have in a schema."""

    name: str
    info: StreamInfo
    role: str
    """proprioception, action or camera."""


_Pair = tuple[str, StreamInfo | None, str]
"""A stream of the embodiment, what feeds it, and what is unsure about it."""


def draft_mapping(inspection: Inspection, embodiment: Embodiment | None) -> str:
    """Write a mapping of a recording's streams onto an embodiment, as YAML with comments.

    Args:
        inspection: What the recording holds.
        embodiment: What they are mapped onto; None: the one that `draft_schema` proposes.

    Returns:
        Text that `load_mapping` accepts where every required stream found something; else it says what is missing.
    """
    lines = [
        f"# Draft of a mapping, made from {_comment(inspection.looked_at)}. Check each line: which stream,",
        "# which clock, and whether the clocks of cameras and robot agree (offset_ns).",
        f"source: {_yaml(inspection.source)}",
        "streams:",
    ]
    targets: dict[str, Signal | Camera] = {}
    pairs: list[_Pair]
    if embodiment is None:
        pairs = [(p.name, p.info, "") for p in _proposals(inspection)]
        lines[2:2] = ["# Stream names are those that `vladata schema draft` proposes."]
    else:
        pairs = _matched(inspection, embodiment)
        targets = {**{s.name: s for s in embodiment.signals}, **{c.name: c for c in embodiment.cameras}}
    found = [info for _, info, _ in pairs if info is not None]
    if not found:
        lines[-1] = "streams: {}"
    is_log = _needs_log(inspection, found)
    for name, info, remark in pairs:
        if info is None:
            lines.append(f"  # {name}: {{from: ?}}   # {_comment(remark)}")
        else:
            lines += _stream_lines(name, info, targets.get(name), remark, is_log=is_log)
    lines += _text_lines(inspection)
    return "\n".join(lines) + "\n"


def draft_schema(inspection: Inspection, name: str) -> str:
    """Write an embodiment schema of a recording, its mapping in it, as YAML with comments.

    Args:
        inspection: What the recording holds.
        name: Of the embodiment.

    Returns:
        Text that `load_schema` accepts and that the recording can be ingested with.
    """
    proposals = _proposals(inspection)
    rate, source = _rate(inspection, proposals)
    lines = [
        f"# Draft of a schema, made from {_comment(inspection.looked_at)} ({_comment(inspection.source)}).",
        "# To do: kinds and units (other and 1 stand for unknown), limits with their source (none are made up here),",
        "# whether actions are absolute, delta or velocity, and which value of a gripper means open.",
        f"name: {_yaml(name)}",
        "version: 1",
        f"rate_hz: {rate:g}  # {source}",
    ]
    for role in ("proprioception", "action"):
        chosen = [p for p in proposals if p.role == role]
        lines += ["", f"{role}:" if chosen else f"{role}: []  # no stream looks like it"]
        for proposal in chosen:
            lines += _signal_lines(proposal)
    cameras = [p for p in proposals if p.role == "camera"]
    lines += ["", "cameras:" if cameras else "cameras: []"]
    for proposal in cameras:
        height, width = proposal.info.shape[:2]
        lines.append(f"  - {{name: {_yaml(proposal.name)}, height: {height}, width: {width}}}")
    lines += _rule_lines(proposals)
    left_out = _left_out(inspection, proposals)
    if left_out:
        lines += ["", "# Left out:", *(f"#   {_comment(text)}" for text in left_out)]
    mapping = draft_mapping(inspection, None).splitlines()
    body = [f"    {line}" for line in mapping if not line.startswith("#")]
    return "\n".join([*lines, "", "mappings:", f"  {inspection.source}:", *body]) + "\n"


def _words(text: str) -> set[str]:
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text)
    return {w for w in re.split(r"[^A-Za-z0-9]+", spaced.lower()) if w}


def _label(info: StreamInfo) -> str:
    return info.name + (f".{info.field}" if info.field else "")


def _slug(text: str, noise: set[str]) -> str:
    parts = [p for p in re.split(r"[^A-Za-z0-9_-]+", text) if p]
    kept = [p for p in parts if not _words(p) <= noise] or parts
    return re.sub(r"^[.-]+", "", "_".join(kept))[:56] or "stream"


def _unique(infos: Sequence[StreamInfo]) -> list[StreamInfo]:
    """One for each stream and field: the first, which has the stamps that count."""
    seen: dict[tuple[str, str | None], StreamInfo] = {}
    for info in infos:
        seen.setdefault((info.name, info.field), info)
    return list(seen.values())


def _is_vector(info: StreamInfo) -> bool:
    return info.kind == "numeric" and len(info.shape) == 1 and 0 < info.shape[0] <= MAX_DIMENSIONS and info.count > 0


def _is_picture(info: StreamInfo) -> bool:
    return info.kind in {"image", "video"} and len(info.shape) >= 2 and min(info.shape[:2]) > 0 and info.count > 0


def _is_command(info: StreamInfo) -> bool:
    return bool(_words(_label(info)) & _COMMAND)


def _is_of_robot(info: StreamInfo, source: str) -> bool:
    words = _words(_label(info))
    if (
        not _is_vector(info)
        or words & _SERVICE
        or (source == "mcap" and info.type.startswith(("rcl_interfaces", "diagnostic")))
    ):
        return False
    if source == "mcap":
        return info.type.endswith("/JointState") or info.type.startswith(_ROBOT_TYPES)
    return not words & _BOOKKEEPING


def _span(info: StreamInfo) -> int:
    return int(info.time_ns.max() - info.time_ns.min()) if len(info.time_ns) else 0


def _proposals(inspection: Inspection) -> list[_Proposal]:
    """Streams that a schema would have, those that run through the recording."""
    infos = [i for i in _unique(inspection.streams) if _is_picture(i) or _is_of_robot(i, inspection.source)]
    longest = max((_span(i) for i in infos), default=0)
    proposals: list[_Proposal] = []
    taken: set[str] = set()
    for info in infos:
        is_picture = _is_picture(info)
        is_timed = info.clock is not Clock.NOMINAL and len(info.time_ns) > 0
        if is_timed and (info.count < MIN_SAMPLES or _span(info) < MIN_SHARE * longest):
            continue
        slug = _slug(_label(info), _IMAGE_NOISE if is_picture else _SIGNAL_NOISE)
        name = next(n for n in (slug, *(f"{slug}_{k}" for k in range(2, 10_000))) if n not in taken)
        taken.add(name)
        role = "camera" if is_picture else "action" if _is_command(info) else "proprioception"
        proposals.append(_Proposal(name=name, info=info, role=role))
    return proposals


def _left_out(inspection: Inspection, proposals: Sequence[_Proposal]) -> list[str]:
    taken = {(p.info.name, p.info.field) for p in proposals}
    texts = []
    for info in _unique(inspection.streams):
        if (info.name, info.field) not in taken and info.kind != "text":
            reason = f"; {info.problems[0]}" if info.problems else ""
            texts.append(f"{_label(info)} ({info.type}, {info.count} samples, shape {list(info.shape)}{reason})")
    return texts


def _rate(inspection: Inspection, proposals: Sequence[_Proposal]) -> tuple[float, str]:
    """Rate of the steps and where it comes from."""
    if inspection.rate_hz:
        return inspection.rate_hz, "declared by the recording"
    rates = [_measured(p.info) for p in proposals]
    slowest = min((r for r in rates if r > 0), default=0.0)
    if not slowest:
        return 10.0, "the recording states no rate and no times: a guess"
    if slowest < 1:
        return float(f"{slowest:.3g}"), "of the slowest stream, measured"
    return float(round(slowest)), "of the slowest stream, measured and rounded"


def _measured(info: StreamInfo) -> float:
    """Rate of a stream by the median of its intervals; 0 where it has no times."""
    intervals = np.diff(info.time_ns)
    intervals = intervals[intervals > 0]
    return 1e9 / float(np.median(intervals)) if len(intervals) and info.clock is not Clock.NOMINAL else 0.0


def _dimension_names(info: StreamInfo) -> list[str]:
    size = info.shape[0]
    names = [re.sub(r"[^A-Za-z0-9_.-]+", "_", n)[:64] for n in info.element_names]
    names = [n if re.match(r"[A-Za-z0-9_]", n) else f"_{n[:63]}" for n in names]
    if len(names) == size and len(set(names)) == size:
        return names
    return [f"dim_{i}" for i in range(size)]


def _signal_lines(proposal: _Proposal) -> Iterator[str]:
    info = proposal.info
    yield f"  - name: {_yaml(proposal.name)}"
    if not info.element_names:
        yield "    # The recording does not name the elements."
    yield "    dimensions:"
    mode = ""
    if proposal.role == "action":
        words = _words(_label(info))
        guess = "delta" if "delta" in words else "velocity" if words & {"vel", "velocity", "twist"} else "absolute"
        mode = f", mode: {guess}"
    for name in _dimension_names(info):
        kind, unit, unsure = _meaning(info, name)
        if mode:
            unsure = f"mode is assumed{'; ' + unsure if unsure else ''}"
        yield f"      - {{name: {_yaml(name)}, kind: {kind}, unit: {unit}{mode}}}{'  # ' + unsure if unsure else ''}"


def _meaning(info: StreamInfo, name: str) -> tuple[str, str, str]:
    """Kind and unit of an element, and what is unsure."""
    if not info.type.endswith("/JointState"):
        return "other", '"1"', "kind and unit unknown"
    is_gripper = bool(re.search("gripper|finger", name, re.IGNORECASE))
    if info.field == "velocity":
        return "joint_velocity", "rad/s", "m/s where it slides" if is_gripper else ""
    if info.field == "effort":
        return "joint_effort", "N·m", "N where it slides" if is_gripper else ""
    if is_gripper:
        return "gripper_aperture", '"1"', "unit unknown: m, rad or 1"
    return "joint_position", "rad", ""


def _rule_lines(proposals: Sequence[_Proposal]) -> list[str]:
    rates = {p.name: _measured(p.info) for p in proposals}
    rates = {n: r for n, r in rates.items() if r > 0}
    if not rates:
        return []
    lines = ["", "# Rates as measured here; jitter_ms and max_age_ms are to be set.", "streams:"]
    return lines + [f"  {_yaml(name)}: {{rate_hz: {rate:.3g}}}" for name, rate in rates.items()]


def _matched(inspection: Inspection, embodiment: Embodiment) -> list[_Pair]:
    """The best stream for each of the embodiment's, each used once, and what is unsure about it."""
    infos = _unique(inspection.streams)
    scored: list[tuple[float, int, int, str]] = []
    targets: list[Signal | Camera] = [*embodiment.signals, *embodiment.cameras]
    actions = {s.name for s in embodiment.action}
    for i, target in enumerate(targets):
        for j, info in enumerate(infos):
            if isinstance(target, Camera):
                found = _camera_score(target, info)
            else:
                found = _signal_score(target, info, is_action=target.name in actions)
            if found is not None:
                scored.append((-found[0], i, j, found[1]))
    chosen: dict[int, tuple[StreamInfo, str]] = {}
    used: set[int] = set()
    for _, i, j, remark in sorted(scored):
        if i not in chosen and j not in used:
            chosen[i] = infos[j], remark
            used.add(j)
    pairs: list[_Pair] = []
    for i, target in enumerate(targets):
        if i in chosen:
            pairs.append((target.name, *chosen[i]))
        else:
            pairs.append((target.name, None, _missing(target, infos, is_action=target.name in actions)))
    return pairs


def _overlap(name: str, info: StreamInfo) -> float:
    ours, theirs = _words(name), _words(_label(info))
    same = {w.rstrip("s") for w in ours} & {w.rstrip("s") for w in theirs}
    return len(same) / len(ours) if ours else 0.0


def _camera_score(camera: Camera, info: StreamInfo) -> tuple[float, str] | None:
    if not _is_picture(info) or tuple(info.shape[:2]) != (camera.height, camera.width):
        return None
    if (camera.depth is not None) != (info.dtype in {"uint16", "16UC1", "mono16"}):
        return None
    overlap = _overlap(camera.name, info)
    return overlap, "" if overlap else "unsure: of the right size, but of another name"


def _signal_score(signal: Signal, info: StreamInfo, *, is_action: bool) -> tuple[float, str] | None:
    if not _is_vector(info):
        return None
    has_names = len(info.element_names) == info.shape[0] and set(signal.names) <= set(_dimension_names(info))
    if not has_names and info.shape[0] != len(signal.dimensions):
        return None
    if is_action and not _is_command(info):
        return None  # a state is no command: nothing is better than a wrong action
    score = 4.0 * has_names + 3.0 * _overlap(signal.name, info) - (0 if is_action else 4.0 * _is_command(info))
    wanted = {_KIND_WORDS[d.kind] for d in signal.dimensions if d.kind in _KIND_WORDS}
    measured = _words(info.field or info.name) & set(_KIND_WORDS.values())
    if measured and wanted:
        score += 4.0 if measured <= wanted else -4.0
    if score < 0:
        return None
    return score, "" if has_names else _by_index(info)


def _by_index(info: StreamInfo) -> str:
    names = clip(", ".join(info.element_names), 80)
    names = f"; it names {names}" if names else "; it has no names"
    return f"unsure: joined by order{names}"


def _missing(target: Signal | Camera, infos: Sequence[StreamInfo], *, is_action: bool) -> str:
    if isinstance(target, Camera):
        there = [f"{_label(i)} {i.shape[0]}x{i.shape[1]}" for i in infos if _is_picture(i)]
        return f"no image of {target.height}x{target.width} left; there are: {', '.join(there) or 'none'}"
    what = "command" if is_action else "signal"
    there = [f"{_label(i)} [{i.shape[0]}]" for i in infos if _is_vector(i)]
    return f"no {what} of {len(target.dimensions)} numbers left; there are: {', '.join(there) or 'none'}"


def _needs_log(inspection: Inspection, infos: Sequence[StreamInfo]) -> bool:
    """Whether header stamps of some streams can't go with the others, so that the log's are needed."""
    clocks = {i.clock for i in infos}
    logs = {i.clock for i in inspection.streams if i.clock_choice == "log" and i.count}
    return inspection.source == "mcap" and len(clocks) > 1 and len(logs) == 1


def _stream_lines(
    name: str, info: StreamInfo, target: Signal | Camera | None, remark: str, *, is_log: bool
) -> Iterator[str]:
    for text in (*((remark,) if remark else ()), *info.problems):
        yield f"  # {_comment(f'{name}: {text}')}"
    parts = [f"from: {_yaml(info.name)}"]
    if info.field is not None:
        parts.append(f"field: {_yaml(info.field)}")
    if isinstance(target, Signal) or (target is None and _is_vector(info)):
        parts += _joining(info, target)
    if is_log and info.clock_choice == "header":
        yield "  # Header stamps of some streams count another time than those of others: log times are used."
        parts.append("clock: log")
    yield f"  {_yaml(name)}: {{{', '.join(parts)}}}"


def _joining(info: StreamInfo, signal: Signal | None) -> list[str]:
    """How elements meet dimensions, where the names are not the same."""
    ours = _dimension_names(info)
    wanted = list(signal.names) if signal is not None else ours
    by_ours = dict(zip(ours, info.element_names, strict=False)) if len(info.element_names) == len(ours) else {}
    if not by_ours or not set(wanted) <= set(by_ours):
        return ["join: index"]
    theirs = [by_ours[n] for n in wanted]
    return [] if theirs == wanted else [f"names: [{', '.join(_yaml(n) for n in theirs)}]"]


def _text_lines(inspection: Inspection) -> Iterator[str]:
    infos = _unique(inspection.streams)
    texts = [i for i in infos if i.kind == "text" and i.count]
    for name, words in _TEXTS.items():
        others = set().union(*(w for n, w in _TEXTS.items() if n != name))
        found = [i for i in texts if _words(_label(i)) & words and not _words(_label(i)) & (others - words)]
        if name == "instruction" and not found:
            found = [i for i in infos if i.name == "task_index"]  # LeRobot: the row of the table of tasks
        if found:
            field = f", field: {_yaml(found[0].field)}" if found[0].field else ""
            yield f"{name}: {{from: {_yaml(found[0].name)}{field}}}"
        else:
            hint = "" if name == "subtask" else f"; vladata ingest --set {name}=… gives one"
            yield f"# {name}: no text looks like it{hint}"


def _yaml(text: str) -> str:
    """A text as a YAML scalar that reads back as the same text."""
    if re.fullmatch(r"[A-Za-z_/][A-Za-z0-9_/.-]*", text) and text.lower() not in _YAML_WORDS:
        return text
    return yaml.dump(text, default_style='"', width=1_000_000).rstrip("\n")


def _comment(text: str) -> str:
    return clip(printable(text), 300)
