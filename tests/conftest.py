"""Fixtures that every test may use."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from vladata.threads import ONE_THREAD

# Before any test imports numpy: several processes of tests run side by side.
os.environ.update(ONE_THREAD)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _with_interrupts() -> Iterator[None]:
    """Where tests run in a shell's background, SIGINT is ignored, and children inherit that."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings that are never part of the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real recordings are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def shared_golden() -> Path:
    """Outputs of the original tokenizers that are not part of the repository."""
    folder = ROOT.parent / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip(f"reference vectors are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def sample_recordings() -> Path:
    """The small recordings that ship with the project."""
    return ROOT / "sample_data" / "recordings"


Completed = subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def process() -> Callable[..., Completed]:
    """Run the command as users do, in a process of its own; standard output and error come back as text."""
    script = shutil.which("vladata", path=str(Path(sys.executable).parent))
    assert script is not None, "the command vladata is not installed beside this Python"

    def run(*arguments: object, timeout: float = 120, **options: Any) -> Completed:
        return subprocess.run(
            [script, *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=timeout,
            **options,
        )

    return run


@pytest.fixture
def cli() -> Iterator[Callable[..., Completed]]:
    """Run the command in this process, several times faster than `process`, through the entry point that pip made."""
    from typer.testing import CliRunner

    (point,) = entry_points(group="console_scripts", name="vladata")
    app = point.load()
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGALRM)}
    hook = sys.unraisablehook

    def run(*arguments: object, **options: Any) -> Completed:
        words = [*map(str, arguments)]
        result = CliRunner().invoke(app, words, prog_name="vladata", **options)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Completed(words, result.exit_code, result.stdout, result.stderr)

    yield run
    sys.unraisablehook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


Change = Callable[[str, Any, int], Sequence[tuple[str, Any, int]]]


@pytest.fixture(scope="session")
def write_recording(sample_recordings: Path) -> Callable[..., Path]:
    """Write an MCAP recording of the sample arm: the beginning of a real one, changed message by message."""
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory
    from mcap_ros2.writer import Writer

    def write(path: Path, change: Change | None = None, *, seconds: float = 1.5, demo: str = "demo_000.mcap") -> Path:
        """Call `change(topic, message, log_ns)` for each message; what it returns is written in its place."""
        path.parent.mkdir(parents=True, exist_ok=True)
        source, target = (sample_recordings / demo).open("rb"), path.open("wb")
        with source, target, Writer(target, chunk_size=65536) as writer:
            first, schemas = None, {}
            reader = make_reader(source, decoder_factories=[DecoderFactory()])
            for schema, channel, record, message in reader.iter_decoded_messages():
                first = record.log_time if first is None else first
                if record.log_time - first > seconds * 1e9 and channel.topic != "/outcome":
                    continue
                new = [(channel.topic, message, record.log_time)]
                if change is not None:
                    new = list(change(*new[0]))
                for topic, made, log_ns in new:
                    if schema.name not in schemas:
                        schemas[schema.name] = writer.register_msgdef(schema.name, schema.data.decode())
                    writer.write_message(topic, schemas[schema.name], made, log_ns, log_ns)
        return path

    return write


@pytest.fixture(scope="session")
def sample_dataset(tmp_path_factory: pytest.TempPathFactory, process: Any, sample_recordings: Path) -> Path:
    """The sample recordings as a dataset; shared by all tests, so only to be read."""
    folder: Path = tmp_path_factory.mktemp("sample") / "dataset"
    done = process("ingest", sample_recordings, "--schema", "sample_arm", "-o", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def dataset(sample_dataset: Path, tmp_path: Path) -> Path:
    """A copy of the sample dataset, to be changed."""
    return Path(shutil.copytree(sample_dataset, tmp_path / "dataset"))


@pytest.fixture(scope="session")
def digest_of_tree() -> Callable[[Path], dict[str, str]]:
    """SHA-256 of every file under a folder, by name; hidden and temporary ones too."""
    import hashlib

    def digests(folder: Path) -> dict[str, str]:
        files = (p for p in sorted(folder.rglob("*")) if p.is_file())
        return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    return digests
