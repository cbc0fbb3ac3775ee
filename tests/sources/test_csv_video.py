"""Tables with videos beside them: real logs, and small ones written here with the oddities of others."""

import csv
import io
import json
import random
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vladata.embodiment import Camera, Dimension, Embodiment, Signal, StreamRule
from vladata.errors import GateError, SchemaError, SourceError, VladataError
from vladata.ingest import discover
from vladata.mapping import Mapping as SourceMapping
from vladata.recording import FrameStream, Recording, Stream
from vladata.sources import Request, Source, csv_video
from vladata.sources._csv_inspect import column_groups
from vladata.units import Clock, Kind, Mode, Unit

source: Source = csv_video

HEIGHT, WIDTH = 32, 48
ROWS = 5
START = 1753090197 * 10**9


def signal(name: str, names: tuple[str, ...] = ("a", "b"), mode: Mode | None = None) -> Signal:
    dimensions = tuple(Dimension(name=n, kind=Kind.OTHER, unit=Unit.ONE, mode=mode) for n in names)
    return Signal(name=name, dimensions=dimensions)


def robot(*, camera: bool = False, action: bool = False, names: tuple[str, ...] = ("a", "b")) -> Embodiment:
    return Embodiment(
        name="toy",
        rate_hz=10,
        proprioception=(signal("state", names),),
        action=(signal("action", names, Mode.ABSOLUTE),) if action else (),
        cameras=(Camera(name="front", height=HEIGHT, width=WIDTH),) if camera else (),
    )


def request(streams: dict[str, object], embodiment: Embodiment | None = None, **more: object) -> Request:
    entries = {k: v if isinstance(v, dict) else {"from": v} for k, v in streams.items()}
    mapping = SourceMapping.model_validate({"source": "csv_video", "streams": entries, **more})
    return Request(
        embodiment=embodiment or robot(camera="front" in streams, action="action" in streams), mapping=mapping
    )


def only(path: Path, wanted: Request) -> Recording:
    (place,) = csv_video.places(path)
    (recording,) = csv_video.read(path, place, wanted)
    return recording


def values(recording: Recording, name: str = "state") -> np.ndarray:
    stream = recording.streams[name]
    assert isinstance(stream, Stream)
    return stream.values


def times(recording: Recording, name: str = "state") -> list[int]:
    found: list[int] = recording.streams[name].time_ns.tolist()
    return found


def table(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


PLAIN = "t_s,a,b\n0.5,1,2\n0.6,3,4\n0.7,5,6.5\n0.8,7,8\n0.9,9,10\n"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run folder: its table, and other files."""

    def make(text: str | bytes = PLAIN, name: str = "data.csv", **files: bytes) -> Path:
        table(tmp_path / "run" / name, text)
        for file, data in files.items():
            table(tmp_path / "run" / file, data)
        return tmp_path / "run"

    return make


@pytest.fixture(scope="session")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """Small h264 videos with B-frames, by number of frames."""
    av = pytest.importorskip("av", reason="the extra 'video' is not installed")
    made: dict[tuple[int, int], bytes] = {}

    def make(num_frames: int = ROWS, rate: int = 10) -> bytes:
        if (num_frames, rate) not in made:
            path = tmp_path_factory.mktemp("video") / "video.mp4"
            with av.open(str(path), "w") as container:
                stream = container.add_stream("libx264", rate=rate, options={"bf": "2", "g": "4"})
                stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
                for k in range(num_frames):
                    image = np.full((HEIGHT, WIDTH, 3), 9 * k % 256, dtype=np.uint8)
                    image[:, : WIDTH // 2, 1] = 128
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                container.mux(stream.encode())
            made[num_frames, rate] = path.read_bytes()
        return made[num_frames, rate]

    return make


def packets(data: bytes) -> list[bytes]:
    import av

    with av.open(io.BytesIO(data), "r") as container:
        return [bytes(p) for p in container.demux(video=0) if p.size]


def frames(recording: Recording) -> FrameStream:
    stream = recording.streams["front"]
    assert isinstance(stream, FrameStream)
    return stream


# ------------------------------------------------------------------- real logs


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def exact_ns(text: str) -> int:
    return round(Decimal(text) * 10**9)


SO100 = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")


class TestRealLogs:
    @pytest.mark.parametrize("run_name", ["run_20260514_203014", "run_20260514_203812"])
    def test_a_teleoperation_run_equals_its_table(self, shared_data: Path, run_name: str) -> None:
        folder = shared_data / "csv_robot_logs" / "act_train" / "latency_runs" / run_name
        embodiment = Embodiment(
            name="ur10",
            rate_hz=50,
            proprioception=(signal("q", tuple(f"q{k}" for k in range(6))),),
            action=(signal("target", ("x", "y", "z"), Mode.ABSOLUTE),),
        )
        wanted = request(
            {"q": "q#", "target": "target_*"},
            embodiment,
            outcome={"from": "events.csv", "field": "status", "success": ["OK"]},
        )
        recording = only(folder, wanted)
        rows = read_csv(folder / "data.csv")
        assert len(rows) in {244, 777}
        assert recording.place == f"{run_name}/data.csv"
        assert times(recording, "q") == times(recording, "target") == [exact_ns(r["t_rel_s"]) for r in rows]
        assert values(recording, "q").tolist() == [[float(r[f"q{k}"]) for k in range(6)] for r in rows]
        assert values(recording, "target").tolist() == [[float(r[f"target_{k}"]) for k in "xyz"] for r in rows]
        assert {s.clock for s in recording.streams.values()} == {Clock.MONOTONIC}
        assert recording.streams["q"].clock_choice == "t_rel_s"
        assert [o.kind for o in recording.outcomes] == ["success"]
        assert [f.name for f in recording.files] == ["data.csv", "events.csv"]
        assert not recording.is_lossy

    def test_a_follower_log_equals_its_table_and_sensors_stay_out(self, shared_data: Path) -> None:
        count = 0
        for path in sorted((shared_data / "csv_robot_logs" / "inference_logs").rglob("*.csv")):
            recording = only(path.parent, request({"state": "*.pos"}, robot(names=SO100)))
            rows = read_csv(path)
            assert values(recording).tolist() == [[float(r[f"{n}.pos"]) for n in SO100] for r in rows]
            assert times(recording) == [exact_ns(r["timestamp"]) for r in rows]
            assert times(recording)[0] > 2_000_000_000
            (left,) = [n for n in recording.notes if "not kept" in n]
            assert "gripper_temp" in left
            assert any("more digits than nanoseconds in" in n for n in recording.notes)
            count += len(rows)
        assert count == 726 + 601

    def test_the_folder_of_all_logs_gives_four_recordings_and_ignores_the_events(self, shared_data: Path) -> None:
        found = discover(shared_data / "csv_robot_logs")
        assert [f.source for f in found.found] == ["csv_video"] * 4
        assert [f.path.is_dir() for f in found.found] == [True] * 4
        assert not found.rejected

    def test_inspect_groups_columns_and_says_how_time_was_found(self, shared_data: Path) -> None:
        inspection = csv_video.inspect(
            shared_data / "csv_robot_logs" / "act_train" / "latency_runs" / "run_20260514_203014"
        )
        shapes = {s.name: s.shape for s in inspection.streams}
        assert shapes["q#"] == shapes["qd#"] == (6,)
        assert shapes["target_*"] == (3,)
        assert inspection.problems[0].startswith("events.csv: fewer than two rows")
        assert any(p.startswith("time: data.csv: t_rel_s, in s, clock monotonic") for p in inspection.problems)


# ------------------------------------------------------------------- columns


class TestColumns:
    @pytest.mark.parametrize("chosen", ["*", "data.csv", {"from": "data.csv", "field": "*"}])
    def test_the_table_itself_joins_by_name(self, run: Callable[..., Path], chosen: object) -> None:
        recording = only(run("b,t_s,a\n2,0.5,1\n4,0.6,3\n"), request({"state": chosen}))
        assert values(recording).tolist() == [[1, 2], [3, 4]]
        assert values(recording).dtype == np.int64

    def test_names_list_the_columns_in_the_schemas_order(self, run: Callable[..., Path]) -> None:
        path = run("t_s,left,right\n0.5,1,2.5\n0.6,3,4\n")
        recording = only(path, request({"state": {"from": "data.csv", "names": ["right", "left"]}}))
        assert values(recording).tolist() == [[2.5, 1], [4, 3]]

    def test_a_pattern_joins_by_what_the_wildcard_stands_for(self, run: Callable[..., Path]) -> None:
        path = run("t_s,b.cmd,a.cmd,b.pos,a.pos\n0,1,2,3,4\n1,5,6,7,8\n")
        recording = only(path, request({"state": "*.pos", "action": "*.cmd"}))
        assert values(recording).tolist() == [[4, 3], [8, 7]]
        assert values(recording, "action").tolist() == [[2, 1], [6, 5]]

    def test_a_number_sign_is_a_whole_number(self, run: Callable[..., Path]) -> None:
        path = run("t_s,q0,q1,qd0,qd1\n0,1,2,3,4\n1,5,6,7,8\n")
        assert values(only(path, request({"state": {"from": "q#", "join": "index"}}))).tolist() == [[1, 2], [5, 6]]

    def test_other_names_are_an_error_with_both(self, run: Callable[..., Path]) -> None:
        path = run("t_s,q0,q1\n0,1,2\n1,5,6\n")
        with pytest.raises(SourceError, match=r"q# names \(q0, q1\); state needs \(a, b\).*or say join: index"):
            only(path, request({"state": "q#"}))

    def test_a_missing_column_names_those_there_are(self, run: Callable[..., Path]) -> None:
        with pytest.raises(SourceError, match=r"^state: data\.csv: no column 'joints'; there are t_s, a, b$"):
            only(run(), request({"state": "joints"}))

    def test_a_stream_that_need_not_be_there_is_left_out_with_a_note(self, run: Callable[..., Path]) -> None:
        embodiment = robot(action=True).model_copy(update={"streams": {"action": StreamRule(required=False)}})
        recording = only(run(), request({"state": "*", "action": "cmd_*"}, embodiment))
        assert set(recording.streams) == {"state"}
        assert any(n.startswith("action is left out: data.csv: no column 'cmd_*'") for n in recording.notes)

    def test_lists_of_json_lines_and_inner_objects_are_vectors(self, run: Callable[..., Path]) -> None:
        lines = [{"t_s": k / 4, "robot": {"q": [k, k / 3]}, "text": "x"} for k in range(3)]
        path = run("\n".join(map(json.dumps, lines)) + "\n", "log.jsonl")
        recording = only(path, request({"state": "robot.q"}))
        assert values(recording).tolist() == [[k, k / 3] for k in range(3)]
        assert times(recording) == [0, 250_000_000, 500_000_000]

    def test_lists_of_different_lengths_are_an_error_with_the_row(self, run: Callable[..., Path]) -> None:
        path = run('{"t_s": 0, "q": [1, 2]}\n{"t_s": 1, "q": [1]}\n', "log.jsonl")
        with pytest.raises(SourceError, match=r"^log\.jsonl: q has 2 values at first and 1 at row 1$"):
            only(path, request({"state": "q"}))

    def test_parquet_keeps_its_number_types(self, tmp_path: Path) -> None:
        rows = [[0.1, 0.2], [0.3, 0.4]]
        data = {
            "time_ns": [10**18 + 1, 10**18 + 2],
            "q": pa.array(rows, pa.list_(pa.float32(), 2)),
            "a": pa.array([1, 2], pa.int16()),
            "b": pa.array([3, 4], pa.int16()),
        }
        pq.write_table(pa.table(data), tmp_path / "log.parquet")
        recording = only(tmp_path / "log.parquet", request({"state": "q", "action": "*"}))
        assert values(recording).dtype == np.float32
        assert values(recording).tolist() == np.array(rows, dtype=np.float32).tolist()
        assert values(recording, "action").dtype == np.int16
        assert times(recording) == [10**18 + 1, 10**18 + 2]
        assert recording.streams["state"].clock is Clock.UNIX

    def test_images_in_a_parquet_column_keep_their_bytes(self, tmp_path: Path) -> None:
        from vladata.images import encode_png

        images = [encode_png(np.full((HEIGHT, WIDTH, 3), k, np.uint8)) for k in range(3)]
        data = {"t_s": [0.0, 0.5, 1.0], "a": [1, 2, 3], "b": [4, 5, 6], "cam": images}
        pq.write_table(pa.table(data), tmp_path / "log.parquet")
        recording = only(tmp_path, request({"state": "*", "front": "cam"}))
        assert [bytes(frames(recording).frames.read(k)) for k in range(3)] == images
        assert times(recording, "front") == [0, 500_000_000, 10**9]

    def test_groups_of_columns_differ_in_one_place(self) -> None:
        columns = ["arm1_j1", "arm1_j2", "x.pos", "y.pos", "z.pos", "dx", "dy", "alone"]
        assert dict(column_groups(columns)) == {
            "*.pos": ("x.pos", "y.pos", "z.pos"),
            "arm1_j#": ("arm1_j1", "arm1_j2"),
            "d*": ("dx", "dy"),
        }


class TestCells:
    def test_empty_cells_are_nan_and_counted(self, run: Callable[..., Path]) -> None:
        recording = only(run("t_s,a,b\n0,,2\n1,3,NaN\n2,null,4\n"), request({"state": "*"}))
        np.testing.assert_array_equal(values(recording), [[np.nan, 2], [3, np.nan], [np.nan, 4]])
        assert "state: 3 cells without a number, which are nan" in recording.notes

    def test_true_and_false_are_numbers(self, run: Callable[..., Path]) -> None:
        assert values(only(run("t_s,a,b\n0,True,false\n1,False,true\n"), request({"state": "*"}))).tolist() == [
            [1, 0],
            [0, 1],
        ]

    @pytest.mark.parametrize("text", ["t_s;a;b\n0;0,5;1\n1;0,7;2\n", 't_s,a,b\n0,"0,5",1\n1,"0,7",2\n'])
    def test_a_decimal_comma_is_refused_by_its_name(self, run: Callable[..., Path], text: str) -> None:
        with pytest.raises(SourceError, match=r"a is '0,5' at row 0, a decimal comma; must have a point"):
            only(run(text), request({"state": "*"}))

    def test_text_in_a_column_of_numbers_is_named_with_its_row(self, run: Callable[..., Path]) -> None:
        with pytest.raises(SourceError, match=r"^data\.csv: b is 'off' at row 1; not a number$"):
            only(run("t_s,a,b\n0,1,2\n1,2,off\n"), request({"state": "*"}))

    @pytest.mark.parametrize("cell", ["1_0", "0x10", "1e999", "١"])
    def test_what_only_looks_like_a_number_is_refused(self, run: Callable[..., Path], cell: str) -> None:
        with pytest.raises(SourceError, match=r"a is .* at row 1"):
            only(run(f"t_s,a,b\n0,1,2\n1,{cell},2\n"), request({"state": "*"}))

    @pytest.mark.parametrize(("delimiter", "word"), [(",", "commas"), (";", "semicolons"), ("\t", "tabs")])
    def test_the_delimiter_is_found_and_said(self, run: Callable[..., Path], delimiter: str, word: str) -> None:
        recording = only(run(PLAIN.replace(",", delimiter).replace("\n", "\r\n")), request({"state": "*"}))
        assert values(recording).tolist() == [[1, 2], [3, 4], [5, 6.5], [7, 8], [9, 10]]
        assert f"data.csv: 3 columns, separated by {word}" in recording.notes

    def test_a_byte_order_mark_is_no_part_of_the_first_name(self, run: Callable[..., Path]) -> None:
        assert values(only(run(b"\xef\xbb\xbf" + PLAIN.encode()), request({"state": "*"}))).shape == (5, 2)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (PLAIN.encode("utf-16"), r"UTF-16; must be UTF-8"),
            (b"t_s,a,b\n0,1,2\n1,\xff,2\n", r"line 3 is not UTF-8"),
            (b"t_s,a,b\n0,1,2\n1,\x00,2\n", r"line 3 has zero bytes"),
            (b"0.5,1,2\n0.6,3,4\n", r"its first line holds numbers \(0\.5,1,2\); must name the columns"),
            (b"\n1,2\n", r"its first line holds numbers \(1,2\)"),
            (b"t_s,a,b\n0,1,2\n1,2\n2,3,4\n", r"row 1 has 2 cells; there are 3 columns"),
            (b"t_s,a,b\n0,1,2\n1,2,3,4\n2,3,4\n", r"row 1 has 4 cells; there are 3 columns"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", r"a Git LFS pointer"),
        ],
    )
    def test_a_damaged_table_says_how(self, run: Callable[..., Path], text: bytes, reason: str) -> None:
        path = run(text)
        with pytest.raises(SourceError, match=reason):
            (place,) = csv_video.places(path)
            list(csv_video.read(path, place, request({"state": "*"})))

    def test_two_columns_of_one_name_are_an_error_where_they_are_asked_for(self, run: Callable[..., Path]) -> None:
        path = run("t_s,a,b,a\n0,1,2,3\n1,2,3,4\n")
        with pytest.raises(SourceError, match=r"2 columns are named 'a'"):
            only(path, request({"state": "*"}))

    def test_a_last_row_that_is_cut_off_is_left_out_and_said(self, run: Callable[..., Path]) -> None:
        recording = only(run(PLAIN + "1.0,1"), request({"state": "*"}))
        assert values(recording).shape == (5, 2)
        assert recording.is_lossy
        assert "data.csv: the last row is cut off after 2 of 3 cells; it is left out" in recording.notes

    def test_a_last_line_of_json_that_is_cut_off_is_left_out_and_said(self, run: Callable[..., Path]) -> None:
        text = '{"t_s": 0, "a": 1, "b": 2}\n{"t_s": 1, "a": 1, "b": 2}\n{"t_s": 2, "a"'
        recording = only(run(text, "log.jsonl"), request({"state": "*"}))
        assert (values(recording).shape, recording.is_lossy) == ((2, 2), True)

    def test_a_quote_that_is_not_closed_does_not_take_the_file(self, run: Callable[..., Path]) -> None:
        text = "t_s,a,b\n" + "0,1,2\n" * 30 + '1,"2,3\n' + "0,1,2\n" * 1500
        with pytest.raises(GateError, match="goes on for more than 1,000 lines: a quote that is not closed"):
            only(run(text), request({"state": "*"}))

    def test_a_line_without_end_is_refused(self, run: Callable[..., Path]) -> None:
        with pytest.raises(GateError, match=r"line 2 has more than 1,048,576 bytes"):
            only(run(b"t_s,a,b\n" + b"1" * 2**21), request({"state": "*"}))


# ------------------------------------------------------------------- time


class TestTime:
    @pytest.mark.parametrize(
        ("name", "cells", "expected", "clock"),
        [
            ("t_rel_s", ["0.000000001", "1.5"], [1, 1_500_000_000], Clock.MONOTONIC),
            ("timestamp", ["1753090197.123456789", "1753090198.0"], [START + 123456789, START + 10**9], Clock.UNIX),
            ("time (ms)", ["1", "2.000001"], [10**6, 2_000_001], Clock.MONOTONIC),
            ("time[us]", ["1", "2"], [1000, 2000], Clock.MONOTONIC),
            ("timestamp_ns", [str(START + 1), str(START + 2)], [START + 1, START + 2], Clock.UNIX),
            ("Time", ["2025-07-21T09:29:57.123456789Z", "2025-07-21 11:29:58+02:00"],
             [START + 123456789, START + 10**9], Clock.UNIX),
            ("time", ["1970-01-01 00:00:01", "1970-01-01T00:00:01.5"], [10**9, 1_500_000_000], Clock.MONOTONIC),
        ],
    )  # fmt: skip
    def test_stamps_are_exact(
        self, run: Callable[..., Path], name: str, cells: list[str], expected: list[int], clock: Clock
    ) -> None:
        recording = only(run(f"{name},a,b\n" + "".join(f"{c},1,2\n" for c in cells)), request({"state": "*"}))
        assert times(recording) == expected
        assert recording.streams["state"].clock is clock
        assert any(n.startswith(f"time: data.csv: {name}, in ") and "found by its name" in n for n in recording.notes)

    def test_stamps_of_json_lines_do_not_pass_through_floats(self, run: Callable[..., Path]) -> None:
        text = (
            '{"timestamp": 1753090197.123456789, "a": 1, "b": 2}\n{"timestamp": 1753090197.123456790, "a": 1, "b": 2}\n'
        )
        assert times(only(run(text, "x.jsonl"), request({"state": "*"}))) == [1753090197123456789, 1753090197123456790]

    @pytest.mark.parametrize(
        ("array", "expected"),
        [
            (pa.array([1_500, 2_500], pa.timestamp("us", tz="UTC")), [1_500_000, 2_500_000]),
            (pa.array([1_500, 2_500], pa.timestamp("ns")), [1_500, 2_500]),
            (pa.array([1, 2], pa.duration("ms")), [10**6, 2 * 10**6]),
            (pa.array([1753090197.25, 1753090198.5]), [1753090197_250_000_000, 1753090198_500_000_000]),
            (pa.array([0.5, None, 1.5]), [500_000_000, 1_500_000_000]),
            (pa.array(["0.5", "1.5"]), [500_000_000, 1_500_000_000]),
        ],
    )
    def test_stamps_of_parquet_are_those_of_their_type(self, tmp_path: Path, array: Any, expected: list[int]) -> None:
        rows = list(range(len(array)))
        pq.write_table(pa.table({"time": array, "a": rows, "b": rows}), tmp_path / "x.parquet")
        recording = only(tmp_path, request({"state": "*"}))
        assert times(recording) == expected
        assert recording.is_lossy == (len(array) > len(expected))

    def test_a_whole_number_without_unit_is_refused(self, run: Callable[..., Path]) -> None:
        path = run("timestamp,a,b\n1753090197,1,2\n1753090198,1,2\n")
        with pytest.raises(SourceError, match=r"nothing says its unit; say options\.time_unit: s, ms, us or ns"):
            only(path, request({"state": "*"}))
        recording = only(path, request({"state": "*"}, options={"time_unit": "s"}))
        assert times(recording) == [1753090197 * 10**9, 1753090198 * 10**9]

    def test_several_times_must_be_chosen_from(self, run: Callable[..., Path]) -> None:
        path = run("t_s,timestamp,a,b\n0,9.5,1,2\n1,9.6,1,2\n")
        with pytest.raises(SourceError, match=r"2 columns are named like a time \(t_s, timestamp\); say which"):
            only(path, request({"state": "*"}))
        recording = only(path, request({"state": "*"}, options={"time": "timestamp"}))
        assert times(recording) == [9_500_000_000, 9_600_000_000]

    def test_no_time_is_an_error_and_rows_are_steps_on_request(self, run: Callable[..., Path]) -> None:
        path = run("step,a,b\n0,1,2\n1,1,2\n")
        with pytest.raises(SourceError, match=r"no column is named like a time; .*; there are step, a, b$"):
            only(path, request({"state": "*"}))
        recording = only(path, request({"state": "*"}, options={"time": "none"}))
        assert recording.is_stepped
        assert times(recording) == [0, 100_000_000]
        assert recording.streams["state"].clock is Clock.NOMINAL

    def test_equal_stamps_are_counted_and_constant_ones_refused(self, run: Callable[..., Path]) -> None:
        recording = only(run("t_s,a,b\n0,1,2\n0,1,2\n1,1,2\n0.5,1,2\n"), request({"state": "*"}))
        assert "data.csv: t_s repeats the stamp of the row before in 1 of 4 rows" in recording.notes
        assert "data.csv: t_s goes backward 1 times" in recording.notes
        with pytest.raises(SourceError, match=r"t_s is the same in all 3 rows: no time was recorded"):
            only(run("t_s,a,b\n" + "7.5,1,2\n" * 3), request({"state": "*"}))

    @pytest.mark.parametrize("written", ["repr", "full"])
    def test_float32_unix_time_is_named_in_text(self, run: Callable[..., Path], written: str) -> None:
        seconds = (1753090197 + np.arange(400) / 2).astype(np.float32)
        cells = [str(s) if written == "repr" else f"{float(s):.1f}" for s in seconds]
        path = run("timestamp,a,b\n" + "".join(f"{c},1,2\n" for c in cells))
        with pytest.raises(SourceError, match=r"timestamp is float32 Unix time, which counts in steps of 128 s"):
            only(path, request({"state": "*"}))

    def test_float32_time_is_named_in_parquet(self, tmp_path: Path) -> None:
        seconds = (1753090197 + np.arange(400) / 2).astype(np.float32)
        pq.write_table(pa.table({"time": seconds, "a": np.arange(400), "b": np.arange(400)}), tmp_path / "x.parquet")
        with pytest.raises(SourceError, match=r"time is float32, which counts in steps of 128 s at 1753090"):
            only(tmp_path, request({"state": "*"}))

    def test_rows_without_a_stamp_are_left_out_and_counted(self, run: Callable[..., Path]) -> None:
        recording = only(run("t_s,a,b\n0,1,2\n,3,4\n2,5,6\n"), request({"state": "*"}))
        assert values(recording).tolist() == [[1, 2], [5, 6]]
        assert "data.csv: t_s is empty in 1 of 3 rows, which are left out" in recording.notes
        assert recording.is_lossy

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"time": "nope"}, r"no column 'nope' for options\.time; there are t_s, a, b"),
            ({"time_unit": "min"}, r"options\.time_unit is 'min'; it must be one of s, ms, us, ns"),
            ({"clock": "sun"}, r"options\.clock is 'sun'"),
            ({"tme": "t"}, r"options\.tme is not known to csv_video"),
            ({"video_time": "magic"}, r"options\.video_time is 'magic'; it must be one of rows, sidecar"),
            ({"video_time": "rows", "video_start": "1"}, r"need each other"),
            ({"time": "none", "video_time": "sidecar"}, r"must be rows"),
        ],
    )
    def test_options_are_checked(self, run: Callable[..., Path], options: dict[str, object], reason: str) -> None:
        with pytest.raises((SourceError, SchemaError), match=reason):
            only(run(), request({"state": "*"}, options=options))

    @pytest.mark.parametrize("cell", ["soon", "0,5", "1e30", "2025-13-01 00:00:00"])
    def test_a_cell_that_is_no_stamp_is_named_with_its_row(self, run: Callable[..., Path], cell: str) -> None:
        with pytest.raises(SourceError, match=r"t_s is .* at row 1"):
            only(run(f't_s,a,b\n0,1,2\n"{cell}",1,2\n'), request({"state": "*"}))


# ------------------------------------------------------------------- videos


class TestVideos:
    def test_nothing_about_frame_times_is_guessed(self, run: Callable[..., Path], mp4: Callable[..., bytes]) -> None:
        path = run(**{"front.mp4": mp4()})
        with pytest.raises(
            SourceError,
            match=r"^front\.mp4: nothing says when its frames were taken; say options\.video_time: rows, sidecar, "
            r"pts_from_table_start, pts_from_start$",
        ):
            only(path, request({"state": "*", "front": "front.mp4"}))

    @pytest.mark.parametrize("chosen", ["front.mp4", "*.mp4", "{table}.mp4"])
    def test_frames_of_rows_keep_their_packets(
        self, run: Callable[..., Path], mp4: Callable[..., bytes], chosen: str
    ) -> None:
        name = "data.mp4" if "{" in chosen else "front.mp4"
        path = run(**{name: mp4()})
        (place,) = csv_video.places(path)
        for recording in csv_video.read(
            path, place, request({"state": "*", "front": chosen}, options={"video_time": "rows"})
        ):
            stream = frames(recording)
            assert [bytes(stream.frames.read(k)) for k in range(ROWS)] == packets(mp4())
            assert (stream.codec, stream.height, stream.width) == ("h264", HEIGHT, WIDTH)
            assert times(recording, "front") == times(recording) == [k * 10**8 for k in range(5, 10)]
            assert [f.name for f in recording.files] == ["data.csv", name]

    def test_frames_of_rows_must_be_as_many(self, run: Callable[..., Path], mp4: Callable[..., bytes]) -> None:
        path = run(**{"front.mp4": mp4(ROWS + 1)})
        with pytest.raises(SourceError, match=r"front\.mp4 has 6 frames and data\.csv 5 rows"):
            only(path, request({"state": "*", "front": "front.mp4"}, options={"video_time": "rows"}))

    def test_the_videos_own_times_begin_at_the_tables_first_stamp(
        self, run: Callable[..., Path], mp4: Callable[..., bytes]
    ) -> None:
        path = run(**{"front.mp4": mp4(7, 30)})
        options = {"video_time": "pts_from_table_start"}
        recording = only(path, request({"state": "*", "front": "front.mp4"}, options=options))
        assert times(recording, "front") == [500_000_000 + round(Decimal(k * 10**9) / 30) for k in range(7)]
        assert frames(recording).clock_choice == "pts"
        assert any("that start is declared, not measured" in n for n in recording.notes)

    @pytest.mark.parametrize(("start", "expected"), [("0.25", 250_000_000), ("began", 123_456_789)])
    def test_the_videos_own_times_begin_where_an_option_says(
        self, run: Callable[..., Path], mp4: Callable[..., bytes], start: str, expected: int
    ) -> None:
        path = run("t_s,a,b,began\n0,1,2,0.123456789\n1,1,2,\n", **{"front.mp4": mp4(3)})
        options = {"video_time": "pts_from_start", "video_start": start}
        recording = only(path, request({"state": "*", "front": "front.mp4"}, options=options))
        assert times(recording, "front") == [expected + k * 10**8 for k in range(3)]

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("front.mp4.timestamps.txt", "0.1\n0.30000000049\n0.4000000005\n"),
            ("front.timestamps.txt", "0.1\r\n0.3\r\n0.4\r\n\r\n"),
            ("front.timestamps.csv", "frame,t_s\n0,0.1\n1,0.3\n2,0.4\n"),
            ("front.mp4.timestamps.csv", "stamps\n0.1\n0.3\n0.4\n"),
            ("front.timestamps.json", "[0.1, 0.3, 0.4]"),
            ("front.timestamps.json", '{"timestamps": [0.1, 0.3, 4e-1]}'),
        ],
    )
    def test_frame_times_out_of_a_sidecar(
        self, run: Callable[..., Path], mp4: Callable[..., bytes], name: str, text: str
    ) -> None:
        path = run(**{"front.mp4": mp4(3), name: text.encode()})
        recording = only(path, request({"state": "*", "front": "front.mp4"}, options={"video_time": "sidecar"}))
        assert times(recording, "front") == [100_000_000, 300_000_000, 400_000_000]
        assert [f.name for f in recording.files] == ["data.csv", "front.mp4", name]

    @pytest.mark.parametrize(
        ("files", "reason"),
        [
            ({}, r"there must be one sidecar with its times; there is none of front\.mp4\.timestamps\.csv"),
            ({"front.timestamps.txt": b"1\n2\n"}, r"front\.timestamps\.txt has 2 times; front\.mp4 has 3 frames"),
            ({"front.timestamps.txt": b"1\nx\n3"}, r"front\.timestamps\.txt is 'x' at row 1; not a stamp"),
            ({"front.timestamps.json": b"{}"}, r"must be a list of times"),
            ({"front.timestamps.json": b"[" * 100_000}, r"is not JSON"),
            ({"front.timestamps.csv": b"t_s\n1\n2\n3\n", "front.timestamps.txt": b"1\n"}, r"there must be one sidecar"),
        ],
    )
    def test_a_sidecar_that_does_not_fit_is_refused(
        self, run: Callable[..., Path], mp4: Callable[..., bytes], files: dict[str, bytes], reason: str
    ) -> None:
        path = run(**{"front.mp4": mp4(3), **files})
        with pytest.raises(SourceError, match=reason):
            only(path, request({"state": "*", "front": "front.mp4"}, options={"video_time": "sidecar"}))

    def test_a_missing_video_names_those_there_are(self, run: Callable[..., Path], mp4: Callable[..., bytes]) -> None:
        path = run(**{"top.mp4": mp4()})
        with pytest.raises(SourceError, match=r"^front: no video front\.mp4; there are top\.mp4$"):
            only(path, request({"state": "*", "front": "front.mp4"}, options={"video_time": "rows"}))

    def test_no_path_leaves_the_folder(
        self, run: Callable[..., Path], mp4: Callable[..., bytes], tmp_path: Path
    ) -> None:
        (tmp_path / "out.mp4").write_bytes(mp4())
        path = run()
        for name in ("../out.mp4", str(tmp_path / "out.mp4")):
            with pytest.raises(GateError, match="is not a relative path"):
                only(path, request({"state": "*", "front": name}, options={"video_time": "rows"}))


# ------------------------------------------------------------------- several tables and episodes


class TestDemonstrations:
    def test_tables_of_the_same_columns_are_demonstrations_with_their_own_videos(
        self, tmp_path: Path, mp4: Callable[..., bytes]
    ) -> None:
        for k in range(3):
            table(tmp_path / "runs" / f"ep_{k}.csv", PLAIN.replace("1,2", f"1,{k}"))
            table(tmp_path / "runs" / f"ep_{k}.mp4", mp4(ROWS, 10 + k))
        wanted = request({"state": "*", "front": "{table}.mp4"}, options={"video_time": "rows"})
        found = csv_video.places(tmp_path / "runs")
        assert [p.name for p in found] == [f"runs/ep_{k}.csv" for k in range(3)]
        ids = set()
        for k, place in enumerate(found):
            for recording in csv_video.read(tmp_path / "runs", place, wanted):
                assert values(recording)[0].tolist() == [1, k]
                assert bytes(frames(recording).frames.read(0)) == packets(mp4(ROWS, 10 + k))[0]
                ids.add(recording.recording_id)
        assert len(ids) == 3

    def test_tables_of_different_columns_must_be_chosen_from(self, run: Callable[..., Path]) -> None:
        path = run(
            **{"commands.csv": b"t_s,a,b\n0.5,10,20\n0.75,30,40\n", "data.csv": b"", "poses.csv": b"t_s,x\n0,1\n1,2\n"}
        )
        (path / "data.csv").write_text(PLAIN + "1.0,11,12\n")
        (path / "data.csv").write_text("t_s,a,b,c\n0.5,1,2,0\n0.6,3,4,0\n")
        (place,) = csv_video.places(path)
        assert place.name == "run"
        with pytest.raises(
            SourceError, match=r"3 tables with different columns \(commands\.csv, data\.csv, poses\.csv\)"
        ):
            list(csv_video.read(path, place, request({"state": "*"})))
        wanted = request({"state": "*", "action": "commands.csv"}, options={"table": "data.csv"})
        (recording,) = csv_video.read(path, place, wanted)
        assert recording.place == "run/data.csv"
        assert times(recording, "action") == [500_000_000, 750_000_000]
        assert values(recording, "action").tolist() == [[10, 20], [30, 40]]
        assert times(recording) == [500_000_000, 600_000_000]

    def test_a_table_alone_and_in_its_folder_is_the_same_recording(self, run: Callable[..., Path]) -> None:
        path = run()
        wanted = request({"state": "*"})
        assert only(path, wanted).recording_id == only(path / "data.csv", wanted).recording_id

    def test_a_column_divides_a_table_into_episodes(self, run: Callable[..., Path], mp4: Callable[..., bytes]) -> None:
        text = "episode,t_s,a,b,task\n" + "".join(
            f"{e},{k / 10},{e},{k},task {e}\n" for e in (7, 3) for k in range(ROWS)
        )
        path = run(text, **{"ep7.mp4": mp4(ROWS, 10), "ep3.mp4": mp4(ROWS, 20)})
        wanted = request(
            {"state": "*", "front": "ep{episode}.mp4"},
            options={"episode": "episode", "video_time": "rows"},
            instruction={"from": "task"},
        )
        (place,) = csv_video.places(path)
        seen = []
        for recording in csv_video.read(path, place, wanted):
            seen.append((recording.place, recording.metadata["episode"]))
            episode = int(recording.metadata["episode"])
            assert values(recording).tolist() == [[episode, k] for k in range(ROWS)]
            assert times(recording) == [k * 10**8 for k in range(ROWS)]
            assert [i.text for i in recording.instructions] == [f"task {episode}"]
            rate = {7: 10, 3: 20}[episode]
            assert bytes(frames(recording).frames.read(0)) == packets(mp4(ROWS, rate))[0]
        assert seen == [("run/data.csv#00000", "7"), ("run/data.csv#00001", "3")]

    def test_a_video_of_several_episodes_is_refused(self, run: Callable[..., Path], mp4: Callable[..., bytes]) -> None:
        path = run("e,t_s,a,b\n0,0,1,2\n1,1,1,2\n", **{"front.mp4": mp4(2)})
        wanted = request({"state": "*", "front": "front.mp4"}, options={"episode": "e", "video_time": "rows"})
        with pytest.raises(SourceError, match=r"front\.mp4 belongs to several episodes"):
            only(path, wanted)

    def test_labels_come_from_columns_and_from_json_beside(self, run: Callable[..., Path]) -> None:
        text = "t_s,a,b,phase,done\n0,1,2,reach,0\n1,1,2,reach,0\n2,1,2,grasp,1.0\n"
        path = run(text, **{"meta.json": json.dumps({"job": {"task": "pick it"}}).encode()})
        wanted = request(
            {"state": "*"},
            instruction={"from": "meta.json", "field": "job.task"},
            subtask={"from": "phase"},
            outcome={"from": "done"},
        )
        recording = only(path, wanted)
        assert [(i.kind, i.text, i.time_ns) for i in recording.instructions] == [
            ("task", "pick it", None),
            ("subtask", "reach", 0),
            ("subtask", "grasp", 2 * 10**9),
        ]
        assert [o.kind for o in recording.outcomes] == ["success"]
        assert [f.name for f in recording.files] == ["data.csv", "meta.json"]

    @pytest.mark.parametrize(
        "beside",
        ["demo.mcap", "trajectory.h5", "sub/data.csv", "sub/deep/demo.bag", "meta/info.json", "data.zarr/.zgroup"],
    )
    def test_a_folder_with_other_recordings_is_none_of_tables(self, run: Callable[..., Path], beside: str) -> None:
        path = run("a,b\n1,2\n3,4\n")
        assert csv_video.can_read(path)
        assert csv_video.can_read(path / "data.csv")
        table(path / beside, "t_s,a\n0,1\n1,2\n")
        assert not csv_video.can_read(path)
        assert not csv_video.can_read(path / "data.csv")

    @pytest.mark.parametrize("text", ["place,instruction\nx,pick\ny,place\n", "t_s,a\n0,1\n", "", "a\n"])
    def test_tables_without_numbers_or_rows_are_no_recordings(self, run: Callable[..., Path], text: str) -> None:
        path = run(text)
        assert not csv_video.can_read(path)
        assert not csv_video.can_read(path / "data.csv")
        with pytest.raises(SourceError):
            csv_video.places(path)


# ------------------------------------------------------------------- round trips and damage


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[int], np.ndarray, str]:
    count = draw(st.integers(2, 8))
    start = draw(st.sampled_from([0, 2_300_000_000, 1_753_090_197_000_000_000]))
    steps = draw(st.lists(st.integers(1, 10**9), min_size=count, max_size=count))
    number = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**50), 2**50).map(float)
    rows = draw(st.lists(st.tuples(number, number), min_size=count, max_size=count))
    stamps = (start + np.cumsum(steps)).tolist()
    return stamps, np.array(rows, dtype=np.float64), draw(st.sampled_from(["csv", "jsonl", "parquet", "tsv"]))


def seconds_text(stamp: int) -> str:
    return f"{stamp // 10**9}.{stamp % 10**9:09d}"


class TestRoundTrip:
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(log=logs())
    def test_what_is_written_is_what_is_read(
        self, log: tuple[list[int], np.ndarray, str], tmp_path: Path, mp4: Callable[..., bytes]
    ) -> None:
        stamps, rows, kind = log
        folder = tmp_path / "log"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if kind == "parquet":
            columns = {"time": pa.array(stamps, pa.timestamp("ns")), "a": rows[:, 0], "b": rows[:, 1]}
            pq.write_table(pa.table(columns), folder / "x.parquet")
        elif kind == "jsonl":
            lines = [
                f'{{"t_s": {seconds_text(s)}, "a": {json.dumps(a)}, "b": {json.dumps(b)}}}\n'
                for s, (a, b) in zip(stamps, rows.tolist(), strict=True)
            ]
            (folder / "x.jsonl").write_text("".join(lines))
        else:
            with (folder / f"x.{kind}").open("w", newline="") as file:
                writer = csv.writer(file, delimiter="," if kind == "csv" else "\t")
                writer.writerow(["t_s", "a", "b"])
                writer.writerows([seconds_text(s), a, b] for s, (a, b) in zip(stamps, rows.tolist(), strict=True))
        (folder / "front.mp4").write_bytes(mp4(len(stamps)))
        (folder / "front.timestamps.txt").write_text("\n".join(seconds_text(s + 7) for s in stamps))
        options = {"video_time": "sidecar", "time_unit": "s"}
        (place,) = csv_video.places(folder)
        for recording in csv_video.read(folder, place, request({"state": "*", "front": "*.mp4"}, options=options)):
            assert times(recording) == stamps
            assert times(recording, "front") == [s + 7 for s in stamps]
            assert values(recording).astype(np.float64).tobytes() == rows.tobytes() or (
                (values(recording) == rows).all()  # a whole column of integers stays one, and has no -0.0
            )
            stream = frames(recording)
            assert [bytes(stream.frames.read(k)) for k in range(len(stamps))] == packets(mp4(len(stamps)))

    @pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
    def test_mutated_tables_are_read_or_refused_in_one_line(self, tmp_path: Path, kind: str) -> None:
        rows = [{"t_s": k / 8, "q": [k, k / 3], "a": k / 7, "b": k, "task": "x"} for k in range(12)]
        good = tmp_path / f"x.{kind}"
        if kind == "csv":
            good.write_text(
                "t_s,q,a,b,task\n" + "".join(f"{r['t_s']},{k},{r['a']},{k},x\n" for k, r in enumerate(rows))
            )
        elif kind == "jsonl":
            good.write_text("".join(json.dumps(r) + "\n" for r in rows))
        else:
            pq.write_table(pa.Table.from_pylist(rows), good)
        data, wanted = good.read_bytes(), request({"state": "*"}, instruction={"from": "task"})
        random_ = random.Random(7)
        refused = 0
        for _ in range(250):
            good.write_bytes(mutated(data, random_))
            csv_video.can_read(good)
            for act in (csv_video.inspect, lambda p: [list(csv_video.read(p, q, wanted)) for q in csv_video.places(p)]):
                reason = refusal(act, good)
                refused += bool(reason)
                assert "\n" not in reason
        assert refused > 20


def refusal(act: Callable[[Path], object], path: Path) -> str:
    """The library's error; anything else passes."""
    try:
        act(path)
    except VladataError as error:
        return str(error)
    return ""


def mutated(data: bytes, random_: random.Random) -> bytes:
    """Flip, cut, splice or repeat."""
    changed = bytearray(data)
    for _ in range(random_.randint(1, 4)):
        place = random_.randrange(len(changed) or 1)
        kind = random_.randrange(4)
        if kind == 0 and changed:
            changed[place] ^= 1 << random_.randrange(8)
        elif kind == 1:
            del changed[place : place + random_.randint(1, 40)]
        elif kind == 2:
            changed[place:place] = random_.choice([b"\n", b'"', b",", b"\x00", b"nan", b"[", b"{}", b"9" * 30, b"\xff"])
        else:
            changed[place:place] = changed[place // 2 : place // 2 + 30]
    return bytes(changed)


class TestCommand:
    def test_from_inspect_to_validate(self, tmp_path: Path, cli: Callable[..., Any], mp4: Callable[..., bytes]) -> None:
        rows = 40
        for k in range(2):
            lines = [f"{2.3 + i / 10:.6f},{i / 50},{i / 60},{i / 49},{i / 59}\n" for i in range(rows)]
            table(tmp_path / f"run_{k}" / "data.csv", "timestamp,q0,q1,target_0,target_1\n" + "".join(lines))
            table(tmp_path / f"run_{k}" / "front.mp4", mp4(rows))
        schema = tmp_path / "toy.yaml"
        schema.write_text(
            yaml.safe_dump(
                {
                    "name": "toy",
                    "rate_hz": 10,
                    "proprioception": [signal("q", ("q0", "q1")).model_dump(mode="json", exclude_defaults=True)],
                    "action": [
                        signal("target", ("target_0", "target_1"), Mode.ABSOLUTE).model_dump(
                            mode="json", exclude_defaults=True
                        )
                    ],
                    "cameras": [{"name": "front", "height": HEIGHT, "width": WIDTH}],
                }
            )
        )
        mapping = tmp_path / "mapping.yaml"
        done = cli("inspect", tmp_path / "run_0", "--schema", schema, "--write-mapping", mapping)
        assert done.returncode == 0, done.stderr
        written = mapping.read_text()
        assert {k: v["from"] for k, v in yaml.safe_load(written)["streams"].items()} == {
            "q": "q#",
            "target": "target_#",
            "front": "front.mp4",
        }
        dataset = tmp_path / "dataset"
        arguments = ("ingest", tmp_path / "run_0", tmp_path / "run_1", "--schema", schema, "--mapping", mapping)
        done = cli(*arguments, "-o", dataset, "--set", "instruction=go", "--set", "outcome=success")
        assert "say options.video_time: rows, sidecar" in done.stderr + done.stdout
        mapping.write_text(written + "options: {video_time: rows}\n")
        done = cli(*arguments, "-o", dataset, "--set", "instruction=go", "--set", "outcome=success")
        assert done.returncode == 0, done.stderr
        import vladata

        episodes = list(vladata.open(dataset))
        assert sorted(str(e.provenance["place"]) for e in episodes) == ["run_0/data.csv", "run_1/data.csv"]
        done = cli("validate", dataset, "--fail-on", "error")
        assert done.returncode == 0, done.stdout
