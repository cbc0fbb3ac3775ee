"""`vladata`: recordings of robots become training data."""

import os
from typing import Annotated

import typer

from vladata.threads import ONE_THREAD

from . import edit, prompts, schema, tokenizer, tokenizer_report, vocab
from ._console import ErrorsToExitCodes, stop_on_terminate
from .checks import checks
from .doctor import doctor
from .export import export
from .ingest import ingest
from .inspect import inspect
from .ls import ls
from .mix import mix
from .resync import resync
from .retokenize import retokenize
from .show import show
from .timing import timing
from .validate import validate
from .verify import verify

# Before a command imports numpy; what the user set stays.
for _name, _threads in ONE_THREAD.items():
    os.environ.setdefault(_name, _threads)

app = typer.Typer(
    name="vladata",
    cls=ErrorsToExitCodes,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 good · 1 failed · 2 usage · 3 finished with loss · 4 violation · 130 interrupted.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from vladata import __version__

        typer.echo(f"vladata {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Turn robot demonstrations into checked, action-tokenized training data for VLA models."""
    del version
    stop_on_terminate()


COMMANDS = (ingest, validate, checks, export, retokenize, mix, verify, inspect, timing, ls, show, resync, doctor)
for command in COMMANDS:
    app.command()(command)
app.add_typer(edit.app, name="edit")
app.add_typer(schema.app, name="schema")
tokenizer.app.command()(tokenizer_report.report)
tokenizer.app.command()(tokenizer_report.fit)
app.add_typer(tokenizer.app, name="tokenizer")
app.add_typer(vocab.app, name="vocab")
app.add_typer(prompts.app, name="prompts")
