"""`vladata --help`, beside an empty typer application that is started the same way."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .context import Context
from .measure import Goal, Side, heading, interleave, print_ratio, print_times

__all__ = ["run"]

VLADATA = "import sys\nfrom vladata_cli.main import app\nsys.exit(app())\n"
EMPTY = """import sys
import typer

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main() -> None:
    pass


sys.exit(app())
"""


def run(context: Context) -> None:
    heading("startup", "--help, from process start to exit")
    scripts = {"python, which does nothing": "pass\n", "an empty typer application": EMPTY, "vladata": VLADATA}
    sides = []
    for number, (name, text) in enumerate(scripts.items()):
        script = context.folder / f"start_{number}.py"
        script.write_text(text)
        sides.append(Side(name, _starter(script)))
    times = interleave(sides, 3 * context.rounds, context.folder)
    print_times(times, scale=1000, unit="ms")
    print_ratio("vladata --help / empty typer application", times["vladata"], times[sides[1].name], Goal(1.3))


def _starter(script: Path) -> Callable[[Path], object]:
    return lambda _: subprocess.run([sys.executable, script, "--help"], check=True, capture_output=True)
