"""Hostile files and paths, made here, must be refused in under a second; honest ones must pass."""

import importlib
import os
import random
import signal
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vladata import workers
from vladata.errors import GateError, ImageError
from vladata.gate import check_hdf5, check_size, inside, template_path
from vladata.images import probe

CANARY = b"canary-7c1f-do-not-read"


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "raw.bin").write_bytes(CANARY * 10)
    with h5py.File(folder / "other.h5", "w") as file:
        file["x"] = np.frombuffer(CANARY, np.uint8)
    return folder


def external_storage(file: h5py.File, secrets: Path) -> None:
    file.create_dataset("x", (23,), np.uint8, external=[(str(secrets / "raw.bin"), 0, 23)])


def external_link(file: h5py.File, secrets: Path) -> None:
    file["x"] = h5py.ExternalLink(str(secrets / "other.h5"), "x")


def external_link_to_a_group_on_the_way(file: h5py.File, secrets: Path) -> None:
    file.create_group("a/b")
    file["a/b/c"] = h5py.ExternalLink(str(secrets / "other.h5"), "/")


def soft_link(file: h5py.File, secrets: Path) -> None:
    file["real"] = np.arange(3)
    file["x"] = h5py.SoftLink("/real")


def soft_link_to_an_external_link(file: h5py.File, secrets: Path) -> None:
    file["a"] = h5py.SoftLink("/b/x")


def virtual_dataset(file: h5py.File, secrets: Path) -> None:
    layout = h5py.VirtualLayout((23,), np.uint8)
    layout[:] = h5py.VirtualSource(str(secrets / "other.h5"), "x", (23,))
    file.create_virtual_dataset("x", layout)


def unlimited_virtual_dataset(file: h5py.File, secrets: Path) -> None:
    layout = h5py.VirtualLayout((23,), np.uint8, maxshape=(None,))
    source = h5py.VirtualSource(str(secrets / "other.h5"), "x", (23,), maxshape=(None,))
    layout[0 : h5py.h5s.UNLIMITED] = source[0 : h5py.h5s.UNLIMITED]
    file.create_virtual_dataset("x", layout)


def cycle_of_hard_links(file: h5py.File, secrets: Path) -> None:
    file.create_group("a/b")
    file["a/b/up"] = file["a"]


def root_inside_itself(file: h5py.File, secrets: Path) -> None:
    file["again"] = file["/"]


def one_dataset_under_two_names(file: h5py.File, secrets: Path) -> None:
    file["a"] = np.arange(3)
    file["b"] = file["a"]


def object_references(file: h5py.File, secrets: Path) -> None:
    file.create_dataset("x", (2,), h5py.ref_dtype)


def region_references(file: h5py.File, secrets: Path) -> None:
    file.create_dataset("x", (2,), h5py.regionref_dtype)


def reference_in_an_attribute(file: h5py.File, secrets: Path) -> None:
    file.attrs["x"] = file.create_group("a").ref


def reference_in_a_record(file: h5py.File, secrets: Path) -> None:
    file.create_dataset("x", (2,), np.dtype([("n", "f4"), ("r", h5py.ref_dtype)]))


def opaque_values(file: h5py.File, secrets: Path) -> None:
    file["x"] = np.zeros(3, dtype="V8")


def records_three_deep(file: h5py.File, secrets: Path) -> None:
    inner = np.dtype([("a", [("b", [("c", "f4")])])])
    file.create_dataset("x", (2,), inner)


def named_type(file: h5py.File, secrets: Path) -> None:
    file["t"] = np.dtype("f8")


def foreign_filter(file: h5py.File, secrets: Path) -> None:
    file.create_dataset("x", data=np.arange(100), chunks=(10,), scaleoffset=0)


def huge_chunk(file: h5py.File, secrets: Path) -> None:
    file.create_dataset("x", (2**31,), np.uint8, chunks=(2**31,), compression="gzip")


def absurd_declared_size(file: h5py.File, secrets: Path) -> None:
    file.create_dataset("x", (2**60,), np.float64, chunks=(1024,))


def declared_size_that_overflows(file: h5py.File, secrets: Path) -> None:
    file.create_dataset("x", (2**31, 2**31, 2), np.uint8, chunks=(64, 64, 2))


def many_small_promises(file: h5py.File, secrets: Path) -> None:
    for k in range(4):
        file.create_dataset(f"x{k}", (40 * 2**20,), np.uint8, chunks=(2**20,))


def gzip_bomb(file: h5py.File, secrets: Path) -> None:
    blob = zlib.compress(bytes(2**23))
    x = file.create_dataset("x", (32 * 2**23,), np.uint8, chunks=(2**23,), compression="gzip")
    for k in range(32):
        x.id.write_direct_chunk((k * 2**23,), blob)


def deep_nesting(file: h5py.File, secrets: Path) -> None:
    file.create_group("/".join("abcdefghijklmnopqrst"))


def very_many_objects(file: h5py.File, secrets: Path) -> None:
    for k in range(10_001):
        h5py.h5g.create(file.id, b"%d" % k)


def very_many_attributes(file: h5py.File, secrets: Path) -> None:
    for k in range(1_001):
        file.attrs[str(k)] = 1


def huge_attribute(file: h5py.File, secrets: Path) -> None:
    file.attrs["x"] = np.zeros(2**21, np.uint8)


def name_that_steers_a_terminal(file: h5py.File, secrets: Path) -> None:
    file["a\x1b]0;owned\x07"] = 1


HOSTILE: list[tuple[Callable[[h5py.File, Path], None], str]] = [
    (external_storage, "/x: keeps its values in another file"),
    (external_link, "/x: is a link to another file"),
    (external_link_to_a_group_on_the_way, "/a/b/c: is a link to another file"),
    (soft_link, "/x: is a soft link"),
    (soft_link_to_an_external_link, "/a: is a soft link"),
    (virtual_dataset, "/x: is a virtual dataset"),
    (unlimited_virtual_dataset, "/x: is a virtual dataset"),
    (cycle_of_hard_links, "linked twice"),
    (root_inside_itself, "/again: is linked twice"),
    (one_dataset_under_two_names, "linked twice"),
    (object_references, "/x: type reference"),
    (region_references, "/x: type reference"),
    (reference_in_an_attribute, "/: type reference"),
    (reference_in_a_record, "/x: type reference"),
    (opaque_values, "/x: type opaque"),
    (records_three_deep, "/x: type compound"),
    (named_type, "/t: is a named type"),
    (foreign_filter, "/x: filter 6"),
    (huge_chunk, "/x: chunks of 2,147,483,648 bytes"),
    (absurd_declared_size, "/x: declares 9,223,372,036,854,775,808 bytes on 0"),
    (declared_size_that_overflows, "/x: declares 9,223,372,036,854,775,808 bytes on 0"),
    (many_small_promises, "declares 83,886,080 bytes"),
    (gzip_bomb, "/x: declares 268,435,456 bytes"),
    (deep_nesting, "nested 17 deep"),
    (very_many_objects, "10,002 objects"),
    (very_many_attributes, "1,001 attributes"),
    (huge_attribute, "attribute of 2,097,152 bytes"),
    (name_that_steers_a_terminal, r"member named 'a\x1b]0;owned\x07'"),
]


@pytest.mark.parametrize(("build", "reason"), HOSTILE, ids=[build.__name__ for build, _ in HOSTILE])
def test_hostile_hdf5_is_refused_at_once(
    build: Callable[[h5py.File, Path], None], reason: str, tmp_path: Path, canary: Path
) -> None:
    path = tmp_path / "hostile.h5"
    with h5py.File(path, "w", libver=("v108", "v110")) as file:
        build(file, canary)
    begin = time.process_time()
    with pytest.raises(GateError) as caught:
        check_hdf5(path)
    assert time.process_time() - begin < 1.0
    assert reason in str(caught.value)
    assert str(caught.value).startswith("hostile.h5: ")
    assert "canary" not in str(caught.value).replace(str(canary), "")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("build", [external_storage, external_link, virtual_dataset])
def test_attack_would_work_without_the_gate(
    build: Callable[[h5py.File, Path], None], tmp_path: Path, canary: Path
) -> None:
    with h5py.File(tmp_path / "hostile.h5", "w") as file:
        build(file, canary)
    with h5py.File(tmp_path / "hostile.h5") as file:
        assert CANARY in file["x"][:].tobytes()


@pytest.fixture
def worker_units(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return importlib.import_module("worker_units")


@pytest.fixture
def deadline() -> Iterator[None]:
    """Interrupts a blocked open after two seconds, which then fails with another message."""
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.siginterrupt(signal.SIGALRM, True)
    signal.setitimer(signal.ITIMER_REAL, 2.0, 0.2)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("build", "reason"),
    [(b, r) for b, r in HOSTILE if b.__name__.startswith(("external", "virtual", "unlimited"))],
)
def test_file_that_is_pointed_to_is_not_even_opened(
    build: Callable[[h5py.File, Path], None], reason: str, tmp_path: Path, canary: Path, deadline: None
) -> None:
    path = tmp_path / "hostile.h5"
    with h5py.File(path, "w") as file:
        build(file, canary)
    for name in ("raw.bin", "other.h5"):  # opening a pipe that nobody writes to would wait for ever
        (canary / name).unlink()
        os.mkfifo(canary / name)
    begin = time.monotonic()
    with pytest.raises(GateError, match=reason):
        check_hdf5(path)
    assert time.monotonic() - begin < 1.5


def test_dataset_beyond_the_end_of_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(1000, dtype=np.int64)
        offset = file["x"].id.get_offset()
    data = path.read_bytes()
    place = data.index(struct.pack("<QQ", offset, 8000))
    path.write_bytes(data[:place] + struct.pack("<Q", len(data) - 100) + data[place + 8 :])
    with pytest.raises(GateError, match=r"invalid dataset size|ends at byte"):
        check_hdf5(path)


def test_bytes_that_are_stored_once_but_claimed_often_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for k in range(3):
            file[f"x{k}"] = np.zeros(1000 if k else 200_000, dtype=np.int64)
        first = file["x0"].id.get_offset()
        others = [file[f"x{k}"].id.get_offset() for k in (1, 2)]
    data = path.read_bytes()
    for offset in others:  # each of the small ones now claims the 1.6 MB of the first
        old, new = struct.pack("<QQ", offset, 8000), struct.pack("<QQ", first, 1_600_000)
        assert data.count(old) == 1
        data = data.replace(old, new)
    path.write_bytes(data)
    with pytest.raises(GateError, match="3,200,000 bytes stored so far; the file has 1,618,048"):
        check_hdf5(path)


def test_what_is_no_hdf5_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"not HDF5" * 100)
    with pytest.raises(GateError, match=r"a\.h5: not a readable HDF5 file"):
        check_hdf5(tmp_path / "a.h5")
    with pytest.raises(GateError, match="not a regular file"):
        check_hdf5(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(GateError, match="not a regular file"):
        check_hdf5(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        check_hdf5(tmp_path / "absent.h5")
    with pytest.raises(GateError, match="must have at most 10"):
        check_hdf5(tmp_path / "a.h5", max_bytes=10)


def honest_file(path: Path) -> None:
    """All that an episode file holds, and what ALOHA and robomimic files hold."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w", libver=("v108", "v110")) as file:
        file.attrs["format"] = "text of any length"
        file.attrs.create("fixed", np.bytes_("text"), dtype=h5py.string_dtype("utf-8", 4))
        file.attrs["sim"] = True
        file.attrs["empty"] = h5py.Empty("f4")
        file.create_dataset("provenance", data=np.array(b"{}", dtype=h5py.string_dtype("utf-8", 2)))
        file.create_dataset("streams/front/frames", data=rng.integers(0, 256, 300_000, dtype=np.uint8))
        file.create_dataset("streams/front/offsets", data=np.arange(301, dtype=np.uint64))
        values = rng.normal(size=(400, 7)).astype(np.float32)
        file.create_dataset("steps/action/arm", data=values, chunks=(100, 7), fletcher32=True)
        file.create_dataset("steps/valid/arm", data=np.ones(400, bool), chunks=(100,), fletcher32=True)
        file.create_dataset("instructions/text", data=np.array([b"pick", b"place"], dtype="S5"))
        file.create_dataset("outcomes", data=np.zeros(0, dtype=[("kind", "S8"), ("time_ns", "i8")]))
        file.create_dataset("zeros", data=np.zeros((50_000, 8)), chunks=(1000, 8), compression="gzip", shuffle=True)
        file.create_dataset("lzf", data=np.arange(1000), chunks=(100,), compression="lzf")
        file.create_dataset("compressed", (3,), dtype=h5py.vlen_dtype(np.uint8))
        file.create_dataset("names", data=["a", "ü"], dtype=h5py.string_dtype())
        file.create_dataset("nothing", (0, 7), maxshape=(None, 7), chunks=(64, 7), dtype=np.float32)


def test_honest_file_passes(tmp_path: Path) -> None:
    honest_file(tmp_path / "a.h5")
    check_hdf5(tmp_path / "a.h5")


def test_blob_larger_than_every_slack_passes_where_its_bytes_are_stored(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        x = file.create_dataset("x", (6 * 2**30,), np.uint8)
        x[-1] = 1  # a hole in the file system, but the file has all its bytes
    check_hdf5(tmp_path / "a.h5")


def test_limits_can_be_raised_for_a_format_that_needs_more(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        very_many_objects(file, tmp_path)
    check_hdf5(tmp_path / "a.h5", max_objects=20_000)
    with pytest.raises(GateError, match="must be at most 50"):
        check_hdf5(tmp_path / "a.h5", max_objects=50)


def test_read_only_file_passes(tmp_path: Path) -> None:
    honest_file(tmp_path / "a.h5")
    (tmp_path / "a.h5").chmod(0o400)
    check_hdf5(tmp_path / "a.h5")


def test_damaged_files_are_refused_or_pass_but_never_break_the_gate(tmp_path: Path, worker_units: ModuleType) -> None:
    honest_file(tmp_path / "a.h5")
    data = (tmp_path / "a.h5").read_bytes()
    rng = random.Random(0)
    for k in range(300):
        broken = bytearray(data if k % 3 else data[: rng.randrange(len(data))])
        for _ in range(rng.randrange(1, 8)):
            broken[rng.randrange(min(len(broken), 40_000))] = rng.randrange(256)
        (tmp_path / f"{k}.h5").write_bytes(broken)
    answers = set()
    units = [str(tmp_path / f"{k}.h5") for k in range(300)]
    for outcome in workers.run(worker_units.gate_verdict, units, workers=2):
        assert isinstance(outcome, workers.Done), outcome
        answers.add(outcome.result)
    assert answers == {"refused", "passed"}


def jpeg_bomb() -> bytes:
    """30000x30000 pixels declared in a few hundred bytes."""
    frame = struct.pack(">BHHB", 8, 30000, 30000, 3) + bytes([1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1])
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", 2 + len(frame)) + frame + bytes(600)


def test_image_bomb_is_refused_by_its_header() -> None:
    assert len(jpeg_bomb()) < 691
    with pytest.raises(ImageError, match="30000x30000 pixels; must have at most 33,554,432"):
        probe(jpeg_bomb())


# Paths --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "relative",
    [
        "", "/etc/passwd", "../secrets/raw.bin", "a/../../secrets/raw.bin", "..", "a/..", "~/x", "~root/x",
        "a\x00b", "a\nb", "a\x1b[31mb", "a\u202eb", "a\\..\\b", "C:\\x", "x" * 5000,
    ],
)  # fmt: skip
def test_path_that_leaves_its_folder_is_refused(relative: str, tmp_path: Path, canary: Path) -> None:
    with pytest.raises(GateError) as caught:
        inside(tmp_path, relative)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_link_out_of_the_folder_is_refused(tmp_path: Path, canary: Path) -> None:
    root = tmp_path / "dataset"
    (root / "data").mkdir(parents=True)
    (root / "file").symlink_to(canary / "raw.bin")
    (root / "folder").symlink_to("../secrets")
    (root / "data" / "two").symlink_to("../file")
    (root / "circle").symlink_to("circle")
    for name in ("file", "folder/raw.bin", "folder/absent", "data/two", "circle/x"):
        with pytest.raises(GateError, match="must stay under"):
            inside(root, name)


def test_path_inside_passes_even_by_a_link(tmp_path: Path) -> None:
    root = tmp_path / "real"
    (root / "data").mkdir(parents=True)
    (root / "data" / "a.h5").write_bytes(b"a")
    (root / "link").symlink_to("data/a.h5")
    (tmp_path / "alias").symlink_to("real")
    assert inside(root, "link").read_bytes() == b"a"
    assert inside(tmp_path / "alias", "data/a.h5") == tmp_path / "alias" / "data" / "a.h5"
    assert inside(root, "data/not yet..there") == root / "data" / "not yet..there"


@given(st.text(alphabet="./\\a~\0 ", max_size=12))
def test_no_text_leads_out_of_a_folder(text: str) -> None:
    root = Path(__file__).parent
    try:
        path = inside(root, text)
    except GateError:
        return
    assert path.resolve().is_relative_to(root.resolve())


def test_size_above_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"12345")
    assert check_size(tmp_path / "a.json", 5) == 5
    with pytest.raises(GateError, match=r"a\.json: 5 bytes; must have at most 4"):
        check_size(tmp_path / "a.json", 4)
    with pytest.raises(GateError, match="not a regular file"):
        check_size(Path("/dev/zero"), 4)


# Templates ----------------------------------------------------------------------------------------------------------

VALUES: dict[str, int | str] = {
    "episode_chunk": 2, "chunk_index": 2, "episode_index": 2017, "file_index": 3, "video_key": "observation.images.top"
}  # fmt: skip


@pytest.mark.parametrize(
    ("template", "path"),
    [
        (
            "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
            "data/chunk-002/episode_002017.parquet",
        ),
        (
            "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
            "videos/observation.images.top/chunk-002/file-003.mp4",
        ),
        ("data/{episode_index}.parquet", "data/2017.parquet"),
        ("data/fixed.parquet", "data/fixed.parquet"),
    ],
)
def test_template_is_filled(template: str, path: str) -> None:
    assert template_path(template, VALUES) == path


@pytest.mark.parametrize(
    "template",
    [
        "{episode_index.__class__.__mro__}", "{episode_index!r}", "{0}", "{}", "{{episode_index}}", "{episode_index",
        "episode_index}", "{episode_index:999999999d}", "{episode_index:>1000000}", "{episode_index:06x}", "{password}",
        "{video_key:03d}", "{video_key[0]}", "{video_key.format}", "{episode_index:{file_index}}", "/{episode_index}",
        "../{episode_index}", "{video_key}/../../x", "a\n{episode_index}", "x" * 5000, "{__builtins__}", "%(x)s{",
        "{episode_index:00d}", "",
    ],
)  # fmt: skip
def test_template_that_attacks_is_refused(template: str) -> None:
    with pytest.raises(GateError) as caught:
        template_path(template, VALUES)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "values",
    [
        {"video_key": "../../etc"}, {"video_key": "a/b"}, {"video_key": ".."}, {"video_key": ""}, {"video_key": "a\0"},
        {"video_key": 3}, {"video_key": "{episode_index}"}, {},
    ],
)  # fmt: skip
def test_value_that_is_no_plain_name_is_refused(values: dict[str, int | str]) -> None:
    with pytest.raises(GateError):
        template_path("videos/{video_key}.mp4", values)


@pytest.mark.parametrize("value", [-1, "7", 10**12])
def test_number_that_is_none_is_refused(value: int | str) -> None:
    with pytest.raises(GateError, match="must be a number from 0 on"):
        template_path("{episode_index:06d}", {"episode_index": value})
