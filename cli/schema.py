"""`vladata schema`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ._console import note, out, out_json, table

app = typer.Typer(no_args_is_help=True, help="Embodiment schemas: list, show, check, draft.")


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
    """Check a schema file and its mappings.

    Example: vladata schema check my_robot.yaml
    """
    from vladata.mapping import load_schema

    loaded = load_schema(path)
    out(f"{path}: good · {len(loaded.signals)} signals, {len(loaded.cameras)} cameras, {len(loaded.mappings)} mappings")


@app.command()
def draft(
    recording: Annotated[Path, typer.Argument(help="A recording.")],
    name: Annotated[str, typer.Option(help="Name of the embodiment.")] = "my_robot",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; default: print.")] = None,
) -> None:
    """Draft a schema from a recording; what it does not know stands there as a comment.

    Example: vladata schema draft demo.mcap --name my_robot -o my_robot.yaml
    """
    from vladata.drafts import draft_schema
    from vladata.pipeline import inspect

    text = draft_schema(inspect(recording), name)
    write_text(text, output)


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
