"""What all commands share: printing, progress, errors as exit codes."""

import contextlib
import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

import typer
from typer.core import TyperGroup

GOOD, FAILED, USAGE, LOSSY, VIOLATION, INTERRUPTED = 0, 1, 2, 3, 4, 130

PLAIN_INTERVAL_S = 10.0
"""Where nobody watches, progress is a line this often."""

Progress = Callable[[int, int, str], None]


class ErrorsToExitCodes(TyperGroup):
    """Turns every expected error into one line and an exit code, in one place."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run the command."""
        from vladata.errors import VladataError

        try:
            return super().invoke(ctx)
        except VladataError as error:
            fail(str(error), FAILED)
        except KeyboardInterrupt:
            fail("interrupted; run the same command again to go on", INTERRUPTED)
        except BrokenPipeError:
            # The reader went away (`vladata ls | head`): nobody is left to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(GOOD) from None
        except OSError as error:
            place = f": {error.filename}" if error.filename else ""
            reason = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))
            fail(f"{reason}{place}", FAILED)


def fail(message: str, code: int) -> NoReturn:
    """Print one line on stderr and leave."""
    note(f"vladata: {message}")
    raise typer.Exit(code) from None


def given(context: typer.Context) -> list[str]:
    """Parameters that stand on the command line, and did not get their default."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]


def out(text: str = "", *, is_styled: bool = False) -> None:
    """Print a result without what steers terminals; `is_styled`: its colors are ours, and its texts are clean."""
    from vladata.text import printable

    typer.echo(text if is_styled else printable(text, one_line=False))


def note(text: str) -> None:
    """Print on stderr."""
    from vladata.text import printable

    typer.echo(printable(text), err=True)


def out_json(value: object) -> None:
    """Print JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=True, sort_keys=True, allow_nan=False))


@contextlib.contextmanager
def progress(what: str, unit: str) -> Iterator[Progress]:
    """Show progress on stderr: a bar on a terminal, else a plain line every ten seconds."""
    if not sys.stderr.isatty():
        yield _plain(what, unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)

        def show(done: int, total: int, _name: str) -> None:
            bar.update(task, completed=done, total=total)

        yield show


def _plain(what: str, unit: str) -> Progress:
    last = time.monotonic()

    def show(done: int, total: int, _name: str) -> None:
        nonlocal last
        if time.monotonic() - last >= PLAIN_INTERVAL_S:
            last = time.monotonic()
            typer.echo(f"{what}: {done} of {total} {unit}", err=True)

    return show


def default_workers() -> int:
    """One worker for each core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def human_bytes(count: float) -> str:
    """1.5 MB."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def table(rows: list[list[str]], head: list[str], right: frozenset[int] = frozenset()) -> list[str]:
    """Lay out columns; those in `right` are aligned to the right."""
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    lines = []
    for row in [head, *rows]:
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return lines


def stop_on_terminate() -> None:
    """Treat SIGTERM like Ctrl+C, so that batch systems leave nothing behind either, and lose neither.

    Python can only print, not raise, what comes up inside a finalizer or a weak reference's callback; an interruption
    that ends there is sent again.
    """

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    def again(unraisable: "sys.UnraisableHookArgs") -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.01)
        else:
            sys.__unraisablehook__(unraisable)

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGALRM, interrupt)
    sys.unraisablehook = again
