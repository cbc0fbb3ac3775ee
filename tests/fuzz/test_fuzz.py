"""A short run of the fuzzer over all sources, and the fuzzer itself against planted faults."""

import subprocess
import sys
from pathlib import Path

import pytest

from vladata import plugins

ROOT = Path(__file__).resolve().parents[2]


def fuzz(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "tests.fuzz", *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_mutated_recordings_of_every_source_are_read_or_refused(tmp_path: Path) -> None:
    for package in ("av", "rosbags", "zarr", "imagecodecs"):
        pytest.importorskip(package, reason="an extra is not installed")
    done = fuzz("--inputs", 300, "--seed", 1, "--no-real", "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    counts = {r[0]: [int(n.replace(",", "")) for n in r[1:3]] for r in rows if len(r) == 7 and r[0] != "source"}
    assert set(counts) == set(plugins.names("sources"))
    for source, (num_ok, num_refused) in counts.items():
        assert num_ok, f"{source}: no mutated recording was read; the seed may be refused"
        assert num_refused, f"{source}: no mutated recording was refused"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("traceback", "KeyError: \"'planted'\" at"),
        ("crash", "SIGABRT at child.py"),
        ("hang", "no answer for 2 s at child.py"),
        ("memory", "MemoryError"),
    ],
)
def test_a_planted_fault_is_found_and_kept(tmp_path: Path, fault: str, said: str) -> None:
    done = fuzz(
        "--inputs", 1, "--processes", 1, "--only", "csv_one", "--plant", fault, "--timeout", 2, "--out", tmp_path
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(fault)]
    assert said in line
    (kept,) = tmp_path.iterdir()
    assert kept.name == f"000-csv_video-{fault}"
    assert (kept / "1" / "recording" / "log.csv").is_file()
    assert "chance 1:0:csv_one" in (kept / "1" / "finding.txt").read_text()
