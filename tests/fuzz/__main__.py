"""The long run: `python -m tests.fuzz --inputs 20000 --seed 1 --out fuzz-out`."""

import argparse
import sys
from pathlib import Path

from .run import Plan, fuzz
from .seeds import WRITERS


def say(line: object) -> None:
    """Write a line."""
    sys.stdout.write(f"{line}\n")


def main() -> int:
    """Run, print, and say by the exit code whether anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000, help="mutated recordings, over all sources in turn")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers")
    parser.add_argument("--out", type=Path, help="folder for what fails")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="*", metavar="SEED", help=f"some of {', '.join(WRITERS)}")
    parser.add_argument("--no-real", action="store_true", help="without the real recordings beside the repository")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for one input")
    parser.add_argument("--plant", choices=("traceback", "crash", "hang", "memory"), help="a fault, to test the fuzzer")
    options = parser.parse_args()
    names = [n for n in options.only or WRITERS if not (options.no_real and n.startswith("real_"))]
    result = fuzz(
        Plan(
            num_inputs=options.inputs,
            chance=options.seed,
            names=tuple(names),
            out=options.out,
            num_processes=options.processes,
            timeout_s=options.timeout,
            is_loud=True,
            plant=options.plant or "",
        )
    )
    columns = ("ok", "refused", "traceback", "memory", "crash", "hang")
    say(f"\n{'source':16}" + "".join(f"{c:>10}" for c in columns))
    for source in sorted({s for s, _ in result.outcomes}):
        say(f"{source:16}" + "".join(f"{result.outcomes[source, c]:10,}" for c in columns))
    rate = result.num_inputs / max(result.seconds, 1e-9)
    say(f"\n{result.num_inputs:,} inputs in {result.seconds:.0f} s ({rate:.0f} a second); "
          f"largest process {result.max_rss_kb / 1024:.0f} MB")  # fmt: skip
    for text, count in result.warnings.most_common(10):
        say(f"warning {count} x {text}")
    for finding in sorted(result.findings.values(), key=lambda f: (f.source, f.kind, f.place)):
        say(finding)
    return 1 if result.findings else 0


if __name__ == "__main__":
    sys.exit(main())
