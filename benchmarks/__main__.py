"""Run the benchmarks: `python -m benchmarks [NAME…] [--rounds N] [--quick]`.

`python -m benchmarks faults` is another thing: it proves the checks by injected faults, with options of its own.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from .context import Context

NAMES = (
    "ingest",
    "export",
    "retokenize",
    "resize",
    "random_read",
    "memory",
    "mixing",
    "listing",
    "startup",
    "timing",
    "tokenize",
    "validate",
    "validate_many",
)


def main() -> None:
    if sys.argv[1:2] == ["faults"]:
        from .faults import main as prove

        prove(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed, memory and growth of vladata.")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"one or more of {', '.join(NAMES)}; default: all; and faults, with options of its own",
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each side is measured (5)")
    parser.add_argument("--quick", action="store_true", help="small inputs, one round: does it work at all?")
    parser.add_argument("--folder", type=Path, help="where temporary files go; a real disk with 15 GB free")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(NAMES)
    if unknown or arguments.rounds < 1:
        parser.error(f"no benchmark {min(unknown)!r}" if unknown else "--rounds must be 1 or more")
    rounds = 1 if arguments.quick else arguments.rounds
    if arguments.inside is not None:
        context = Context(folder=arguments.inside, rounds=rounds, is_quick=arguments.quick)
        import_module(f"benchmarks.{arguments.names[0]}").run(context)
        return
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {rounds} rounds; medians (least..most)")
    with tempfile.TemporaryDirectory(prefix="vladata-bench-", dir=arguments.folder) as folder:
        print(f"file system: {_file_system(Path(folder))}", flush=True)
        common = ["--inside", folder, "--rounds", str(rounds), *(["--quick"] if arguments.quick else [])]
        # Each in a process of its own, as commands are: what one has imported or started does not help the next.
        ends = [
            subprocess.run([sys.executable, "-m", "benchmarks", name, *common], check=False).returncode
            for name in NAMES
            if name in arguments.names or not arguments.names
        ]
    sys.exit(any(ends))


def _file_system(folder: Path) -> str:
    """Kind of the file system; numbers of one in memory say nothing about fsync."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    inside = [m for m in mounts if folder.resolve().is_relative_to(m[1])]
    return max(inside, key=lambda m: len(m[1]))[2]


if __name__ == "__main__":
    main()
