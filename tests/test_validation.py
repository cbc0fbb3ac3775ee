"""Validation of a dataset: resumed, spooled, bound to what it saw; baselines and quarantine."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

import vladata
from vladata import validation
from vladata.baseline import Baseline, write_baseline
from vladata.checks import CheckSettings, EpisodeFacts
from vladata.errors import PluginNotFoundError, SchemaError
from vladata.finding import Finding, Severity
from vladata.journal import Journal, cache_folder, encode_line
from vladata.quarantine import plan_quarantine
from vladata.report.as_json import to_json
from vladata.validation import validate

SCHEMA = Path(__file__).resolve().parent.parent / "schemas" / "sample_arm.yaml"
FACTS = EpisodeFacts(episode_id="e", content_digest="c", place="p", instruction="i", outcome="", num_steps=3)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "vladata" / "validate"


@pytest.fixture
def opened(dataset):
    return vladata.open(dataset)


def spoil(opened, number):
    """Put a NaN into the steps of an episode's file."""
    path = opened.path / opened.entries[number].file
    with h5py.File(path, "r+") as file:
        values = file["steps/action/joint_command"]
        row = values[3]
        row[0] = np.nan
        values[3] = row


class TestJournal:
    def test_findings_and_facts_come_back_as_they_were(self):
        finding = Finding(
            message="a\tb\nc \udc80 é",
            location="/streams/arm/values",
            steps=(1, 3),
            check="values.limits",
            severity=Severity.ERROR,
            episode_id="e",
            magnitude=float("inf"),
            dimensions=("joint",),
            frames=(4, 5),
            traceback="t",
        )
        features = {"a.b": np.arange(6, dtype=np.float32).reshape(2, 3), "a.c": np.zeros(0, np.uint64)}
        facts = dataclasses.replace(FACTS, features=features, metadata={"session": "s"}, rules={"a.b": {"c": 1.0}})
        journal = Journal.open("x")
        journal.add(b"1" * 16, encode_line([finding, Finding(message="m", severity=Severity.INFO)], facts))
        journal.add(b"2" * 16, encode_line([], FACTS))
        keys = [b"2" * 16, b"1" * 16]
        found = journal.findings(keys, [Finding(message="of all")], None)
        assert list(found) == [finding, Finding(message="m", severity=Severity.INFO), Finding(message="of all")]
        assert [found[i] for i in range(3)] == list(found)
        assert found[-1].message == "of all"
        with pytest.raises(IndexError):
            found[3]
        second, first = journal.facts(keys)
        assert (first.metadata, first.rules, second.features) == ({"session": "s"}, {"a.b": {"c": 1.0}}, {})
        for name, values in features.items():
            np.testing.assert_array_equal(first.features[name], values)
            assert first.features[name].dtype == values.dtype

    def test_a_baseline_marks_findings_as_they_are_read(self):
        journal = Journal.open("x")
        journal.add(b"1" * 16, encode_line([Finding(message="a"), Finding(message="b")], FACTS))
        found = journal.findings([b"1" * 16], [], lambda f: f.message == "a")
        assert [f.is_known for f in found] == [True, False]

    def test_what_an_interrupted_run_left_is_taken_up_and_what_a_crash_cut_off_is_not(self, cache):
        first = Journal.open("x")
        for k in range(5):
            first.add(bytes([k] * 16), encode_line([Finding(message=str(k))], FACTS))
        first.add(b"f" * 16, encode_line([Finding(message="failed")], FACTS), is_final=False)
        del first
        (path,) = cache.iterdir()
        whole = path.read_bytes()
        lines = whole.splitlines(keepends=True)
        for cut in (len(whole), len(whole) - 1, len(whole) - len(lines[-1]) - 20, 3, 0):
            path.write_bytes(whole[:cut])
            again = Journal.open("x")
            kept = whole[:cut].count(b"\n")
            assert sum(bytes([k] * 16) in again for k in range(5)) == min(kept, 5)
            assert b"f" * 16 not in again
            again.add(b"n" * 16, encode_line([Finding(message="new")], FACTS))
            messages = [f.message for f in again.findings([bytes([k] * 16) for k in range(min(kept, 5))], [], None)]
            assert messages == [str(k) for k in range(min(kept, 5))]
            del again

    def test_another_run_of_the_same_work_goes_beside_it(self, cache):
        first = Journal.open("x")
        first.add(b"1" * 16, encode_line([], FACTS))
        second = Journal.open("x")
        assert b"1" * 16 not in second
        second.add(b"2" * 16, encode_line([], FACTS))
        second.finish()
        assert len(list(cache.iterdir())) == 1
        first.finish()
        assert list(cache.iterdir()) == []
        assert [f.place for f in first.facts([b"1" * 16])] == ["p"]  # still readable

    def test_it_works_where_nothing_can_be_cached(self, tmp_path, monkeypatch):
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        journal = Journal.open("x")
        journal.add(b"1" * 16, encode_line([Finding(message="a")], FACTS))
        assert len(journal.findings([b"1" * 16], [], None)) == 1

    def test_old_journals_are_removed(self, cache):
        Journal.open("old")  # closed at once
        (path,) = cache.iterdir()
        os.utime(path, (0, 0))
        Journal.open("new")
        assert path not in set(cache.iterdir())

    def test_the_cache_folder_is_the_users(self, monkeypatch):
        monkeypatch.delenv("XDG_CACHE_HOME")
        assert cache_folder() == Path.home() / ".cache" / "vladata"
        monkeypatch.setenv("XDG_CACHE_HOME", "here")
        assert cache_folder() == Path.home() / ".cache" / "vladata"

    def test_it_works_where_the_user_has_no_home(self, monkeypatch):
        def no_home():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", no_home)
        journal = Journal.open("x")
        journal.add(b"1" * 16, encode_line([], FACTS))
        assert b"1" * 16 in journal

    @pytest.mark.parametrize("place", [5, 40, -3])
    def test_a_line_that_was_damaged_on_the_disk_counts_no_more(self, cache, place):
        journal = Journal.open("x")
        for k in range(3):
            journal.add(bytes([k] * 16), encode_line([Finding(message=str(k))], FACTS))
        del journal
        (path,) = cache.iterdir()
        lines = path.read_bytes().splitlines(keepends=True)
        damaged = bytearray(lines[1])
        damaged[place] ^= 0x40
        path.write_bytes(lines[0] + bytes(damaged) + lines[2])
        again = Journal.open("x")
        assert [bytes([k] * 16) in again for k in range(3)] == [True, False, False]

    def test_a_full_disk_is_named_and_what_was_written_stays(self, cache, monkeypatch):
        journal = Journal.open("x")
        journal.add(b"1" * 16, encode_line([Finding(message="a")], FACTS))
        written = os.pwrite

        def full(fd, data, offset):
            if len(data) > 20:
                return written(fd, data[:20], offset)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            with pytest.raises(OSError, match="No space left") as raised:
                journal.add(b"2" * 16, encode_line([Finding(message="b")], FACTS))
        assert raised.value.filename == str(next(cache.iterdir()))
        del journal, raised  # its traceback holds the journal
        again = Journal.open("x")
        assert (b"1" * 16 in again, b"2" * 16 in again) == (True, False)


class TestValidate:
    def test_it_says_the_same_whatever_the_number_of_workers_and_leaves_nothing(self, opened, cache):
        texts = {to_json(validate(opened, num_workers=n)) for n in (0, 1, 2)}
        assert len(texts) == 1
        assert list(cache.iterdir()) == []

    def test_an_interrupted_run_goes_on_where_it_was(self, opened, cache, monkeypatch):
        def stop(done, _total, _name):
            if done == 4:
                raise KeyboardInterrupt

        whole = to_json(validate(opened, num_workers=0))
        with pytest.raises(KeyboardInterrupt):
            validate(opened, num_workers=0, progress=stop)
        seen = []
        judged = validation._validate_unit
        monkeypatch.setattr(validation, "_validate_unit", lambda unit: seen.append(unit.entry.place) or judged(unit))
        assert to_json(validate(opened, num_workers=0)) == whole
        assert seen == ["demo_004.mcap", "demo_005.mcap"]
        assert list(cache.iterdir()) == []

    def test_what_changed_since_the_interruption_is_judged_anew(self, opened, monkeypatch):
        def stop(done, total, _name):
            if done == total:
                raise KeyboardInterrupt

        def places(**options):
            seen = []
            judged = validation._validate_unit
            with monkeypatch.context() as patch:
                patch.setattr(validation, "_validate_unit", lambda u: seen.append(u.entry.place) or judged(u))
                with pytest.raises(KeyboardInterrupt):
                    validate(vladata.open(opened.path), num_workers=0, progress=stop, **options)
            return seen

        assert len(places()) == 6
        spoil(opened, 1)
        opened.edits.append({"action": "mark", "recording_id": opened.entries[2].recording_id, "kind": "failure"}, "me")
        assert places() == ["demo_001.mcap", "demo_002.mcap"]
        other = CheckSettings(rules={"timing.gaps": {"severity": "error"}})
        assert len(places(settings=other)) == 6

    def test_killed_in_the_middle_the_command_goes_on(self, dataset, tmp_path, process):
        script = shutil.which("vladata", path=str(Path(sys.executable).parent))
        journals = tmp_path / "cache" / "vladata" / "validate"
        with subprocess.Popen(
            [script, "validate", dataset, "--workers", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as running:
            until = time.monotonic() + 60
            while time.monotonic() < until and running.poll() is None:
                if any(p.stat().st_size for p in journals.glob("*.journal")):
                    break
                time.sleep(0.002)
            running.send_signal(signal.SIGKILL)
        left = list(journals.glob("*.journal"))
        done = process("validate", dataset)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].startswith("6 episodes, ")
        assert len(left) == 1
        assert list(journals.iterdir()) == []

    def test_an_episode_that_is_not_there_is_a_finding(self, opened):
        (opened.path / opened.entries[1].file).unlink()
        report = validate(opened, CheckSettings(select=("structure.readable", "duplicates")), num_workers=1)
        (finding,) = report.findings
        assert (finding.check, finding.severity) == ("structure.readable", Severity.ERROR)
        assert finding.message.startswith("can't be checked: ")
        assert finding.episode_id == opened.entries[1].episode_id

    def test_unknown_names_are_refused_before_anything_is_read(self):
        with pytest.raises(PluginNotFoundError, match=r"did you mean 'timing.gaps'"):
            CheckSettings(select=("timing.gap",))
        with pytest.raises(SchemaError, match=r"did you mean 'timing.gaps'"):
            CheckSettings(rules={"timing.gap": {"periods": 2.0}})
        with pytest.raises(SchemaError, match=r"check labels.outcome has no threshold 'x'; it has none"):
            CheckSettings(rules={"labels.outcome": {"x": 2.0}})
        with pytest.raises(SchemaError, match="severity is 'bad'; it must be info, warning, error or off"):
            CheckSettings(rules={"labels.outcome": {"severity": "bad"}})

    @pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
    def test_thresholds_that_nothing_can_be_compared_with_are_refused(self, value):
        with pytest.raises(SchemaError, match=r"periods is (-1|inf|nan); it must be 0 or more and finite"):
            CheckSettings(rules={"timing.gaps": {"periods": value}})

    @pytest.mark.parametrize("option", ["--html", "--junit", "--write-baseline"])
    def test_a_file_that_can_not_be_written_is_refused_before_the_work(self, opened, cli, tmp_path, option):
        for path in (tmp_path / "none" / "x", tmp_path):
            done = cli("validate", opened.path, option, path)
            assert done.returncode == 2
            assert done.stdout == ""
            assert done.stderr.endswith("can't be written; it must be a file in a folder that is there\n")


class TestBaseline:
    def test_known_findings_are_told_and_do_not_count(self, opened, tmp_path):
        spoil(opened, 1)
        first = validate(opened)
        assert first.count(Severity.ERROR) == 1
        count = write_baseline(first, opened, tmp_path / "baseline.jsonl")
        assert count == len(first.findings)
        known = Baseline.read(tmp_path / "baseline.jsonl", opened)
        again = validate(opened, knows=known.knows)
        assert (again.num_known, again.count(Severity.ERROR), list(again.at_least(Severity.INFO))) == (count, 0, [])
        spoil(opened, 2)
        (new,) = validate(opened, knows=known.knows).at_least(Severity.ERROR)
        assert new.episode_id == opened.entries[2].episode_id

    def test_one_that_got_worse_counts_again(self, opened, tmp_path):
        report = validate(opened)
        write_baseline(report, opened, tmp_path / "b")
        known = Baseline.read(tmp_path / "b", opened)
        worse = next(f for f in report.findings if f.severity is Severity.WARNING)
        assert known.knows(worse)
        assert not known.knows(dataclasses.replace(worse, severity=Severity.ERROR))
        assert not known.knows(dataclasses.replace(worse, location="/elsewhere"))
        assert known.knows(dataclasses.replace(worse, message="other numbers", steps=(0, 1)))

    def test_equal_reports_give_equal_bytes(self, opened, tmp_path):
        for name in ("a", "b"):
            write_baseline(validate(opened), opened, tmp_path / name)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("nothing", "b: line 1 is not JSON"),
            ("", "b: the file is empty"),
            ("[" * 100_000, "b: line 1 is not JSON"),
            ("[" * 900 + "]" * 900, "b: line 1"),
            ("\udcff", "b: line 1 is not JSON"),
            ('{"format":"other","format_version":1}\n', "b: line 1: format: "),
            ('{"format":"vladata-baseline","format_version":1}\n{"check":"a.b"}\n', "b: line 2: severity: "),
        ],
    )
    def test_other_files_are_refused(self, opened, tmp_path, text, error):
        (tmp_path / "b").write_text(text, errors="surrogateescape")
        with pytest.raises(SchemaError, match=error):
            Baseline.read(tmp_path / "b", opened)


class TestQuarantine:
    def test_episodes_with_errors_are_marked_once_and_the_mark_is_lifted_when_they_are_good(self, opened):
        path = opened.path / opened.entries[1].file
        good = path.read_bytes()
        spoil(opened, 1)
        plan = plan_quarantine(validate(opened), opened)
        assert plan.marked == (opened.entries[1].episode_id,)
        plan.write(opened)
        marked = vladata.open(opened.path)
        mark = marked.quarantined[opened.entries[1].recording_id]
        assert (mark.checks, mark.author) == (("values.finite",), "vladata validate")
        assert "not finite" in mark.reason
        assert len(marked.entries) == 6  # never deleted
        again = plan_quarantine(validate(marked), marked)
        assert (again.edits, again.kept) == ((), 1)
        path.write_bytes(good)
        few = plan_quarantine(validate(marked, CheckSettings(select=("timing",))), marked)
        assert (few.lifted, few.kept) == ((), 1)  # the check that marked it did not run
        lift = plan_quarantine(validate(marked), marked)
        assert lift.lifted == (opened.entries[1].episode_id,)
        lift.write(marked)
        assert vladata.open(opened.path).quarantined == {}

    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
    def test_of_marks_that_could_not_all_be_written_there_is_none(self, opened, monkeypatch, error):
        edits = [{"action": "quarantine", "recording_id": e.recording_id, "reason": "bad"} for e in opened.entries]
        opened.edits.extend(edits[:1], "me")
        written = os.pwrite

        def some(fd, data, offset):
            if len(data) < 500:
                raise error
            return written(fd, data[:100], offset)

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", some)
            with pytest.raises(type(error)):
                opened.edits.extend(edits[1:], "me")
        assert len(vladata.open(opened.path).quarantined) == 1
        opened.edits.extend(edits[1:], "me")
        assert len(vladata.open(opened.path).quarantined) == 6

    def test_what_a_person_marked_stays(self, opened):
        edit = {"action": "quarantine", "recording_id": opened.entries[0].recording_id, "reason": "slips"}
        opened.edits.append(edit, "me")
        marked = vladata.open(opened.path)
        assert plan_quarantine(validate(marked), marked).edits == ()

    def test_known_errors_are_not_marked(self, opened, tmp_path):
        spoil(opened, 1)
        write_baseline(validate(opened), opened, tmp_path / "b")
        report = validate(opened, knows=Baseline.read(tmp_path / "b", opened).knows)
        assert plan_quarantine(report, opened).edits == ()

    def test_the_command_marks_and_the_export_leaves_out(self, opened, cli, tmp_path):
        spoil(opened, 1)
        done = cli("validate", opened.path, "--quarantine", "--dry-run")
        assert (done.returncode, vladata.open(opened.path).quarantined) == (4, {})
        assert "quarantine: 1 would be marked" in done.stderr
        done = cli("validate", opened.path, "--quarantine", "--fail-on", "never")
        assert done.returncode == 3
        assert "quarantine: 1 marked · 0 lifted · 0 as before" in done.stderr
        assert "1 in quarantine" in cli("ls", opened.path).stdout
        done = cli("export", opened.path, "-o", tmp_path / "out", "--workers", "1")
        assert done.returncode == 3
        assert "refused   1 episode is in quarantine; README.md names them" in done.stderr
        card = (tmp_path / "out" / "README.md").read_text()
        assert "1 episodes are marked as ones with errors; they are left out." in card
        assert "values.finite" in card
        assert json.loads((tmp_path / "out" / "manifest.json").read_text())["left_out"] == {"in quarantine": 1}
        assert cli("verify", tmp_path / "out").returncode == 0
        cli("export", opened.path, "-o", tmp_path / "all", "--workers", "1", "--quarantined", "include")
        assert "**are part of this export, as it was asked for**" in (tmp_path / "all" / "README.md").read_text()


class TestCommand:
    def test_thresholds_are_set_on_the_command_line_and_by_a_schema(self, dataset, cli, tmp_path):
        def gaps(*options):
            done = cli("validate", dataset, "--select", "timing.gaps", "--json", *options)
            return sorted({f["severity"] for f in json.loads(done.stdout)["findings"]}), done.returncode

        assert gaps() == (["warning"], 0)
        assert gaps("--set", "timing.gaps.severity=error") == (["error"], 4)
        assert gaps("--set", "timing.gaps.severity=off") == ([], 0)
        shown = SCHEMA.read_text()
        schema = tmp_path / "strict.yaml"
        schema.write_text(shown + "\nchecks:\n  timing.gaps: {severity: error}\n")
        assert gaps("--schema", schema) == (["error"], 4)
        assert gaps("--schema", schema, "--set", "timing.gaps.severity=info") == (["info"], 0)

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            (["--set", "gaps=2"], "it must be CHECK.NAME=VALUE"),
            (["--set", "timing.gaps.periods=many"], "the value must be a number"),
            (["--set", "timing.gap.periods=2"], "did you mean 'timing.gaps'"),
            (["--set", "labels.outcome.x=2"], "has no threshold 'x'"),
        ],
    )
    def test_wrong_settings_are_one_line(self, dataset, cli, options, error):
        done = cli("validate", dataset, *options)
        assert done.returncode in (1, 2)
        assert error in done.stderr
        assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize("option", ["--html", "--junit", "--write-baseline"])
    def test_a_report_without_a_folder_is_refused_before_the_work(self, dataset, cli, tmp_path, option):
        done = cli("validate", dataset, option, tmp_path / "absent" / "report")
        assert (done.returncode, done.stdout) == (2, "")
        assert "can't be written; it must be a file in a folder that is there" in done.stderr

    def test_reports_are_written_whole(self, dataset, cli, tmp_path):
        reports = ["--html", tmp_path / "r.html", "--junit", tmp_path / "r.xml"]
        done = cli("validate", dataset, *reports, "--fail-on", "warning")
        assert done.returncode == 4
        assert (tmp_path / "r.html").read_text().startswith("<!DOCTYPE html>")
        assert "<failure" in (tmp_path / "r.xml").read_text()
        assert sorted(p.name for p in tmp_path.glob("*.*")) == ["r.html", "r.xml"]

    def test_a_baseline_lets_old_data_pass(self, opened, cli, tmp_path):
        spoil(opened, 1)
        assert cli("validate", opened.path, "--write-baseline", tmp_path / "b").returncode == 4
        assert cli("validate", opened.path, "--baseline", tmp_path / "b").returncode == 0
        spoil(opened, 3)
        assert cli("validate", opened.path, "--baseline", tmp_path / "b").returncode == 4


def test_a_schema_with_thresholds_is_the_same_embodiment(tmp_path):
    from vladata.mapping import load_schema

    shown = SCHEMA.read_text()
    path = tmp_path / "strict.yaml"
    path.write_text(shown + "\nchecks:\n  timing.gaps: {severity: error}\n")
    assert load_schema(path).embodiment.digest == load_schema("sample_arm").embodiment.digest
    assert load_schema(path).embodiment.checks == {"timing.gaps": {"severity": "error"}}
