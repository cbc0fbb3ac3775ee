"""First versions of a mapping and of a schema, out of what a recording holds; guesses stand there as comments.

Streams are proposed by name, type and shape; names, kinds and units by message type, format, name and URDF. Where
values were looked at (`look_at`), they say which command drives which state, how, and what their ranges look like.
"""

from collections.abc import Iterator
from collections.abc import Mapping as MappingType

from ..embodiment import Embodiment, Signal
from ..sources import Inspection
from ..urdf import Urdf
from ._evidence import Columns, seen_ranges
from ._look import Look, look_at, take_samples
from ._mapping import closing_lines, head_lines, needs_log, plan_lines, stream_lines
from ._match import Pair, matched
from ._plan import make_plan
from ._samples import Key, Sample
from ._schema import schema_lines
from ._text import as_comment, as_comments, as_yaml

__all__ = ["Key", "Look", "Sample", "draft_mapping", "draft_schema", "look_at", "take_samples"]

Samples = MappingType[Key, Sample]


def draft_mapping(
    inspection: Inspection,
    embodiment: Embodiment | None,
    *,
    samples: Samples | None = None,
    urdf: Urdf | None = None,
) -> str:
    """Write a mapping of a recording's streams onto an embodiment, as YAML with comments.

    Args:
        inspection: What the recording holds.
        embodiment: What they are mapped onto; None: the one that `draft_schema` proposes.
        samples: Values of its streams, as `look_at` reads them: without them nothing is said about values.
        urdf: Joints, for the units; only without an embodiment.

    Returns:
        Text that `load_mapping` accepts where every required stream found something; else it says what is missing.
    """
    lines = head_lines(inspection)
    if embodiment is None:
        lines.append("# Stream names are those that `vladata schema draft` proposes.")
        return "\n".join([*lines, *plan_lines(inspection, make_plan(inspection, samples or {}, urdf))]) + "\n"
    pairs = matched(inspection, embodiment, samples or {})
    found = [p.info for p in pairs if p.info is not None]
    lines += [f"source: {as_yaml(inspection.source)}", "streams:" if found else "streams: {}"]
    is_log = needs_log(inspection, found)
    for pair in pairs:
        name = pair.target.name
        if pair.info is None:
            lines.append(f"  # {name}: {{from: ?}}   # {as_comment(pair.remark)}")
            continue
        lines += stream_lines(name, pair.info, pair.joining, pair.remark, is_log=is_log)
        lines += _beyond(pair, samples or {})
    return "\n".join([*lines, *closing_lines(inspection, found)]) + "\n"


def draft_schema(
    inspection: Inspection,
    name: str,
    *,
    samples: Samples | None = None,
    urdf: Urdf | None = None,
    remarks: tuple[str, ...] = (),
) -> str:
    """Write an embodiment schema of a recording, its mapping in it, as YAML with comments.

    Args:
        inspection: What the recording holds.
        name: Of the embodiment.
        samples: Values of its streams, as `look_at` reads them: without them nothing is said about values.
        urdf: Joints, whose limits go into the schema.
        remarks: What else is to be said at the top.

    Returns:
        Text that `load_schema` accepts and that the recording can be ingested with.
    """
    plan = make_plan(inspection, samples or {}, urdf)
    return "\n".join(schema_lines(inspection, name, plan, remarks)) + "\n"


def _beyond(pair: Pair, samples: Samples) -> Iterator[str]:
    """What values that can't be in a given schema's unit look like."""
    info = pair.info
    sample = samples.get((info.name, info.field)) if info is not None else None
    if sample is None or not isinstance(pair.target, Signal) or info is None:
        return
    if sample.values.shape[1] != len(pair.target.dimensions) or not ("join: index" in pair.joining or not pair.joining):
        return
    names = list(pair.target.names)
    angles = [i for i, d in enumerate(pair.target.dimensions) if d.unit == "rad"]
    for seen in seen_ranges(Columns.of(sample), angles, names, is_si=True):
        if seen.proposal:
            yield from as_comments(f"{pair.target.name}: {seen}", "  ")
