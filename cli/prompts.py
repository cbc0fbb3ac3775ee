"""`vladata prompts`: the templates, and what they make of an instruction."""

from typing import Annotated

import typer

from ._console import out, out_json, table

app = typer.Typer(no_args_is_help=True, help="Prompt templates: list, show, render.")

Name = Annotated[str, typer.Argument(help="Name, or path of a .yaml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the templates that come with vladata.

    Example: vladata prompts list
    """
    from vladata.prompts import read_template, template_names

    templates = [read_template(n) for n in template_names()]
    if as_json:
        out_json(
            [
                {"name": t.name, "kind": t.kind, "fields": sorted(t.fields), "description": t.description}
                for t in templates
            ]
        )
        return
    rows = [[t.name, t.kind, ", ".join(sorted(t.fields)), t.description] for t in templates]
    for line in table(rows, ["template", "kind", "fields", "what it is"]):
        out(line)


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show a template as it is written.

    Example: vladata prompts show pi0_fast
    """
    from vladata.prompts import read_template

    template = read_template(name)
    if as_json:
        out_json(
            {"name": template.name, "kind": template.kind, "fields": sorted(template.fields), "yaml": template.yaml}
        )
        return
    out(template.yaml.rstrip())


@app.command()
def render(
    name: Name,
    task: Annotated[str, typer.Option(help="The task instruction; also goal and question where asked for.")],
    state: Annotated[str, typer.Option(help="Text of the state, as it stands in the prompt.")] = "0 0 0",
    camera: Annotated[list[str] | None, typer.Option(help="Name of a camera; one for each.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fill a template with an instruction and the codes 0, 1 and 2 (or a text as the target).

    Example: vladata prompts render openvla --task "put the cup on the plate"
    """
    from vladata.prompts import FIELDS, Renderer, read_template
    from vladata.tokenizers import TokenRows
    from vladata.vocabulary import VocabularyKind, code_text

    template = read_template(name)
    kind = VocabularyKind.TEXT if template.space_before else VocabularyKind.ADDED
    words = code_text(kind, 256, space_before=template.space_before)
    renderer = Renderer.build(template, code_text=words)
    fields = {**dict.fromkeys(FIELDS, task), "state": state, "subtask": ""}
    if template.kind == "executor":
        rendered = renderer.actions([fields], TokenRows.of([[0, 1, 2]]), images=camera or ["camera"])
    else:
        rendered = renderer.texts([fields], ["…"], camera or ["camera"])
    if rendered.messages_prompt is not None and rendered.messages_completion is not None:
        out_json({"prompt": rendered.messages_prompt[0], "completion": rendered.messages_completion[0]})
        return
    target = "" if rendered.target is None else rendered.target[0]
    if as_json:
        out_json({"prompt": rendered.prompt[0], "target": target})
        return
    out(f"prompt {rendered.prompt[0]!r}")
    out(f"target {target!r}")
