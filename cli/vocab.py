"""`vladata vocab`: action tokens in the tokenizer of a language model."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ._console import FAILED, fail, note, out, out_json

if TYPE_CHECKING:
    from vladata.vocabulary import BaseTokenizer, RowPlan, Vocabulary

app = typer.Typer(no_args_is_help=True, help="Action tokens in the tokenizer of a language model.")

IDS, ROWS = "action_token_ids.json", "rows_to_initialise.json"

Tokenizer = Annotated[Path, typer.Argument(metavar="TOKENIZER", help="Folder with a tokenizer.json, or that file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def extend(
    tokenizer: Tokenizer,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Folder to write; new or empty.")],
    codes: Annotated[int, typer.Option(min=1, help="Number of codes.")],
    kind: Annotated[Literal["added", "reserved"], typer.Option(help="New tokens, or reserved ones.")] = "added",
    pattern: Annotated[str | None, typer.Option(help="reserved: name of the tokens, {n} for the number.")] = None,
    start_end: Annotated[bool, typer.Option("--start-end", help="A start and an end token as well.")] = False,
    embedding_rows: Annotated[int | None, typer.Option(min=1, help="Rows of the model's embedding.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written; write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a tokenizer with action tokens, the ids of the codes, and the rows of the model to initialise.

    Example: vladata vocab extend Qwen2.5-VL-3B -o tokenizer --codes 256 --start-end
    """
    from vladata.vocabulary import BaseTokenizer, added_vocabulary, plan_rows, reserved_vocabulary

    base = BaseTokenizer.read(tokenizer, tokenizer.resolve().name)
    if kind == "added":
        vocabulary = added_vocabulary(codes, base, start_end=start_end, embedding_rows=embedding_rows)
    else:
        vocabulary = reserved_vocabulary(codes, base, pattern=pattern, start_end=start_end)
    rows = plan_rows(vocabulary, base, embedding_rows)
    if not dry_run:
        _write(base, vocabulary, rows, output, tokenizer)
    if as_json:
        out_json({"ids": vocabulary.to_dict(), "rows": rows.to_dict(), "facts": list(vocabulary.facts)})
        return
    for what, ids in rows.rows.items():
        shown = str(ids[0]) if len(ids) == 1 else f"{min(ids)} to {max(ids)}"
        out(f"{what:<6} {len(ids):>6,}  ids {shown}")
    for line in (*vocabulary.facts, *rows.advice):
        out(f"- {line}")
    out("nothing was written" if dry_run else f"{output}: tokenizer, {IDS}, {ROWS}")


def _write(base: "BaseTokenizer", vocabulary: "Vocabulary", rows: "RowPlan", output: Path, source: Path) -> None:
    from vladata.vocabulary import BaseTokenizer, Vocabulary, write_extended

    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        fail(f"{output} is not empty; it must be a new or empty folder", FAILED)
    # A link and "." are the folder that they mean.
    output = output.resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    # Whole under its name or absent.
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as name:
        folder = Path(name) / "tokenizer"
        write_extended(base, vocabulary, folder, source if source.is_dir() else None)
        for file, content in ((IDS, vocabulary.to_dict()), (ROWS, rows.to_dict())):
            (folder / file).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        stored = Vocabulary.from_dict(json.loads((folder / IDS).read_text(encoding="utf-8")))
        moved = stored.check(BaseTokenizer.read(folder))
        if moved:
            fail(f"{output}: what was written reads back differently: {moved[0]}", FAILED)
        folder.replace(output)


@app.command()
def check(
    ids: Annotated[Path, typer.Argument(metavar="MAP", help="An export, or an action_token_ids.json.")],
    tokenizer: Tokenizer,
    as_json: AsJson = False,
) -> None:
    """Compare a stored map with a tokenizer: one line for each id that moved, and exit code 1 if there is one.

    Example: vladata vocab check shards Qwen2.5-VL-3B
    """
    from vladata.errors import TokenizeError
    from vladata.vocabulary import BaseTokenizer, Vocabulary

    places = [ids, ids / IDS, ids / "action_tokenizer" / IDS]
    file = next((p for p in places if p.is_file()), None)
    if file is None:
        raise TokenizeError(f"{ids}: no {IDS}; must be an export with a base tokenizer, or that file")
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TokenizeError(f"{file} is not JSON") from error
    if not isinstance(stored, dict):
        raise TokenizeError(f"{file} is not a map of ids")
    vocabulary = Vocabulary.from_dict(stored)
    moved = vocabulary.check(BaseTokenizer.read(tokenizer))
    if as_json:
        out_json({"codes": vocabulary.num_codes, "kind": str(vocabulary.kind), "moved": list(moved)})
    else:
        for line in moved:
            out(line)
        if not moved:
            out(f"{vocabulary.num_codes:,} codes of kind {vocabulary.kind}: all ids fit")
    if moved:
        note(f"vladata: {len(moved):,} ids moved; the tokenizer must be the one that the map was made for")
        raise typer.Exit(FAILED)
