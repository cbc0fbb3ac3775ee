"""`vladata schema`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._console import VIOLATION, note, out, out_json, table

if TYPE_CHECKING:
    from vladata.drafts import Look
    from vladata.schema_diff import SchemaDiff

app = typer.Typer(no_args_is_help=True, help="Embodiment schemas: list, show, check, draft, kinematics, diff.")


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the schemas that come with vladata.

    Example: vladata schema list
    """
    from vladata.mapping import load_schema, schema_names

    schemas = [load_schema(n) for n in schema_names()]
    if as_json:
        out_json([{"name": s.name, "version": s.version, "sources": sorted(s.mappings)} for s in schemas])
        return
    rows = [
        [
            s.name,
            str(s.version),
            f"{s.rate_hz:g}",
            str(sum(len(g.dimensions) for g in s.action)),
            ", ".join(c.name for c in s.cameras),
            ", ".join(sorted(s.mappings)),
        ]
        for s in schemas
    ]
    for line in table(rows, ["schema", "version", "Hz", "action", "cameras", "mappings for"], frozenset({1, 2, 3})):
        out(line)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name, or path of a .yaml.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a schema: dimensions with kind, unit, mode and limits, and cameras.

    Example: vladata schema show widowx_bridge
    """
    from vladata.mapping import load_schema
    from vladata.text import clip, printable

    loaded = load_schema(name)
    if as_json:
        out_json(loaded.model_dump(mode="json", by_alias=True, exclude_defaults=True))
        return
    out(f"{loaded.name} version {loaded.version} · {loaded.rate_hz:g} Hz")
    if loaded.description:
        out(printable(loaded.description))
    rows = [
        [
            signal.name,
            d.name,
            str(d.kind) + (" (normalized)" if d.normalized else ""),
            str(d.unit),
            str(d.mode or "-"),
            "-" if d.limits is None else f"{d.limits[0]:g} … {d.limits[1]:g}",
            "-" if d.max_velocity is None else f"{d.max_velocity:g}",
        ]
        for signal in loaded.signals
        for d in signal.dimensions
    ]
    for line in table(rows, ["signal", "dimension", "kind", "unit", "mode", "limits", "max/s"]):
        out(line)
    for camera in loaded.cameras:
        rate = f" {camera.rate_hz:g} Hz" if camera.rate_hz else ""
        out(f"camera {camera.name}: {camera.height} x {camera.width} (height x width){rate}, {camera.role}")
    for source, mapping in sorted(loaded.mappings.items()):
        fed = ", ".join(f"{n} from {m.source}" for n, m in mapping.streams.items())
        out(clip(printable(f"mapping for {source}: {fed}"), 400))


@app.command()
def check(path: Annotated[Path, typer.Argument(help="A schema file.")]) -> None:
    """Check a schema file: dimensions, cameras, mappings, and the thresholds of its checks.

    Example: vladata schema check my_robot.yaml
    """
    from vladata.checks import rule_problems
    from vladata.errors import SchemaError
    from vladata.mapping import load_schema

    loaded = load_schema(path)
    problem = next(rule_problems(loaded.checks), None)
    if problem is not None:
        raise SchemaError(f"{path.name}: {problem}")
    out(f"{path}: good · {len(loaded.signals)} signals, {len(loaded.cameras)} cameras, {len(loaded.mappings)} mappings")


@app.command()
def draft(
    recording: Annotated[Path, typer.Argument(help="A recording.")],
    name: Annotated[str, typer.Option(help="Name of the embodiment.")] = "my_robot",
    urdf: Annotated[Path | None, typer.Option(metavar="FILE", help="URDF with the joints' limits.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; default: print.")] = None,
) -> None:
    """Draft a schema from a recording and a URDF; what it is unsure of stands there as a comment.

    Example: vladata schema draft demo.mcap --urdf arm.urdf --name my_robot -o my_robot.yaml
    """
    from vladata.drafts import draft_schema, look_at
    from vladata.urdf import read_urdf

    joints = read_urdf(urdf) if urdf is not None else None
    look = look_at(recording)
    say_unread(look)
    write_text(draft_schema(look.inspection, name, samples=look.samples, urdf=joints, remarks=look.problems), output)


@app.command()
def kinematics(
    urdf: Annotated[Path, typer.Argument(metavar="URDF", help="The robot.")],
    tip: Annotated[str, typer.Option(metavar="LINK", help="Link whose pose is recorded.")],
    base: Annotated[
        str | None, typer.Option(metavar="LINK", help="Link that it is recorded in; default: the root.")
    ] = None,
    joints: Annotated[
        str, typer.Option(metavar="SIGNAL", help="Signal with the joints' positions.")
    ] = "joint_position",
    pose: Annotated[str, typer.Option(metavar="SIGNAL", help="Signal with the pose.")] = "pose",
) -> None:
    """Print the kinematics section of a schema: the chain of joints that a recorded pose is compared with.

    Example: vladata schema kinematics arm.urdf --tip tool0 --base base_link >> my_robot.yaml
    """
    from vladata.kinematics import chain_yaml
    from vladata.urdf import chain_between, read_urdf

    out(chain_yaml(chain_between(read_urdf(urdf), tip, base), joints=joints, pose=pose).rstrip("\n"))


@app.command()
def diff(
    first: Annotated[str, typer.Argument(help="Name, or path of a .yaml.")],
    second: Annotated[str, typer.Argument(help="Name, or path of a .yaml.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what differs between two schemas in meaning, and whether episodes of the first can be read as the second.

    Exit codes: 0 equal, 4 they differ, 1 one of them can't be loaded.

    Example: vladata schema diff my_robot.yaml my_robot_v2.yaml
    """
    from vladata.mapping import load_schema
    from vladata.schema_diff import Effect, diff_schemas

    ours, theirs = load_schema(first), load_schema(second)
    found = diff_schemas(ours, theirs)
    if as_json:
        schemas = [{"name": s.name, "version": s.version, "digest": s.embodiment.digest} for s in (ours, theirs)]
        differences = [
            {"place": d.place, "change": d.change, "effect": d.effect, "before": d.before, "after": d.after}
            for d in found.differences
        ]
        out_json(
            {
                "first": schemas[0],
                "second": schemas[1],
                "equal": found.is_equal,
                "compatible": found.is_compatible,
                "same_order": found.is_ordered,
                "differences": differences,
            }
        )
    else:
        for difference in found.differences:
            out(str(difference) + ("   (breaks)" if difference.effect is Effect.BREAKS else ""))
        out(_verdict(first, second, found))
    if not found.is_equal:
        raise typer.Exit(VIOLATION)


def _verdict(first: str, second: str, found: "SchemaDiff") -> str:
    if found.is_equal:
        return f"{first} and {second} mean the same"
    from vladata.schema_diff import Effect

    breaks = sum(d.effect is Effect.BREAKS for d in found.differences)
    if breaks:
        return (
            f"episodes of {first} can't be read as {second}: {breaks} of {len(found.differences)} differences break it"
        )
    how = "" if found.is_ordered else ", dimensions by name, not by index"
    return f"episodes of {first} can be read as {second}{how}"


def say_unread(look: "Look") -> None:
    """Name the streams whose values could not be looked at."""
    for problem in look.problems:
        note(f"note  values not looked at: {problem}")


def write_text(text: str, output: Path | None) -> None:
    """Print, or write a new file whole; an existing one is not replaced."""
    from vladata.errors import SchemaError
    from vladata.store.writer import replace_file

    if output is None:
        out(text.rstrip("\n"))
        return
    if output.exists():
        raise SchemaError(f"{output}: exists already; name a new file")
    with replace_file(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    note(f"wrote {output}")


@app.command("json")
def json_() -> None:
    """Print the JSON Schema of schema files, for editors.

    Example: vladata schema json > vladata.schema.json
    """
    from vladata.mapping import SchemaFile

    out(json.dumps(SchemaFile.model_json_schema(by_alias=True), indent=2, sort_keys=True))
