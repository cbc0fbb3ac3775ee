"""The dataset folder: committing, listing, editing, surviving."""

import fcntl
import json
import os

import pytest

from vladata.errors import DatasetError
from vladata.store.dataset import Dataset
from vladata.store.dataset_writer import writing


@pytest.fixture
def folder(tmp_path, add_episode):
    made = tmp_path / "dataset"
    with writing(made) as writer:
        for seed in range(3):
            writer.committed(add_episode(made, seed))
    return made


def test_a_dataset_lists_its_episodes_by_place(folder):
    dataset = Dataset.open(folder)
    assert [e.place for e in dataset.entries] == ["demo_0.mcap", "demo_1.mcap", "demo_2.mcap"]
    assert [len(e) for e in dataset] == [e.num_steps for e in dataset.entries]
    assert sorted(p.name for p in folder.iterdir()) == ["catalog.parquet", "episodes", "manifest.json"]


def test_the_order_of_arrival_does_not_matter(folder, tmp_path, add_episode):
    other = tmp_path / "other"
    with writing(other) as writer:
        for seed in (2, 0, 1):
            writer.committed(add_episode(other, seed))
    for name in ("manifest.json", "catalog.parquet"):
        assert (other / name).read_bytes() == (folder / name).read_bytes()


def test_episodes_are_found_by_number_place_and_id(folder):
    dataset = Dataset.open(folder)
    entry = dataset.entries[1]
    assert dataset.find("1") == dataset.find("demo_1.mcap") == dataset.find(entry.episode_id[:8]) == entry
    with pytest.raises(DatasetError, match="no episode 'demo_9'"):
        dataset.find("demo_9")


def test_the_catalog_is_a_cache(folder):
    before = Dataset.open(folder).entries
    (folder / "catalog.parquet").unlink()
    assert Dataset.open(folder).entries == before
    assert (folder / "catalog.parquet").exists()
    (folder / "catalog.parquet").write_bytes(b"damaged")
    assert Dataset.open(folder).entries == before


def test_a_killed_run_loses_no_committed_episode(folder, add_episode):
    """Killed after the commit of a file, before its line: the next run verifies the file and takes it in."""
    entry = add_episode(folder, 7)
    (folder / entry.file).with_name(".half.h5.123.tmp").write_bytes(b"half")
    with writing(folder) as writer:
        assert entry.episode_id in writer.entries
        assert writer.problems == []
    assert [e.place for e in Dataset.open(folder).entries][-1] == "demo_7.mcap"
    assert not list(folder.rglob("*.tmp"))


def test_a_damaged_file_without_a_line_is_left_alone_and_named(folder, add_episode):
    entry = add_episode(folder, 8)
    path = folder / entry.file
    path.write_bytes(path.read_bytes()[:-100])
    with writing(folder) as writer:
        assert entry.episode_id not in writer.entries
        assert entry.file in writer.problems[0]
    assert path.exists()
    assert len(Dataset.open(folder)) == 3


def test_a_journal_that_was_cut_off_is_no_loss(folder, add_episode):
    entry = add_episode(folder, 9)
    (folder / "journal.jsonl").write_text('{"episode_id": "abc", "recor')
    with writing(folder) as writer:
        assert entry.episode_id in writer.entries
    assert not (folder / "journal.jsonl").exists()


def test_two_writers_are_refused(folder):
    with writing(folder), pytest.raises(DatasetError, match="another process is writing"), writing(folder):
        pass


def test_an_interrupted_first_run_without_episodes_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), writing(tmp_path / "new"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_keeps_what_was_committed(tmp_path, add_episode):
    folder = tmp_path / "new"
    with pytest.raises(KeyboardInterrupt), writing(folder) as writer:
        writer.committed(add_episode(folder, 1))
        raise KeyboardInterrupt
    assert len(Dataset.open(folder)) == 1


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(DatasetError, match=r"holds 'thesis.tex' and is no dataset"), writing(tmp_path):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_not_a_dataset(tmp_path):
    with pytest.raises(DatasetError, match=r"not a dataset folder; it must hold manifest\.json"):
        Dataset.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(DatasetError, match="damaged manifest"):
        Dataset.open(tmp_path)


class TestEdits:
    def test_relabel_and_undo(self, folder):
        dataset = Dataset.open(folder)
        entry, digest = dataset.entries[0], dataset.digest
        edit = dataset.edits.append(
            {"action": "relabel", "recording_id": entry.recording_id, "text": "push the button"}, "ana"
        )
        changed = Dataset.open(folder)
        assert changed.entries[0].instruction == "push the button"
        assert changed[0].instruction == "push the button"
        assert changed[0].instructions[0].author == "ana"
        assert changed.digest != digest
        changed.edits.append({"action": "undo", "undoes": edit.number}, "ana")
        back = Dataset.open(folder)
        assert back[0].instruction == entry.instruction
        assert back.digest == digest

    def test_an_undo_can_be_undone(self, folder):
        log = Dataset.open(folder).edits
        recording = Dataset.open(folder).entries[0].recording_id
        log.append({"action": "drop", "recording_id": recording}, "ana")
        log.append({"action": "undo", "undoes": 1}, "ana")
        log.append({"action": "undo", "undoes": 2}, "ana")
        assert len(Dataset.open(folder)) == 2

    def test_drop_hides_and_keeps_the_file(self, folder):
        dataset = Dataset.open(folder)
        entry = dataset.entries[1]
        dataset.edits.append({"action": "drop", "recording_id": entry.recording_id, "reason": "covered"}, "ana")
        after = Dataset.open(folder)
        assert [e.place for e in after.entries] == ["demo_0.mcap", "demo_2.mcap"]
        assert [e.place for e in after.dropped] == ["demo_1.mcap"]
        assert (folder / entry.file).exists()

    def test_trim_cuts_steps_by_time(self, folder):
        dataset = Dataset.open(folder)
        entry, time_ns = dataset.entries[0], dataset[0].steps.time_ns
        edit = {
            "action": "trim",
            "recording_id": entry.recording_id,
            "start_ns": int(time_ns[2]),
            "end_ns": int(time_ns[9]),
        }
        dataset.edits.append(edit, "ana")
        after = Dataset.open(folder)
        assert after[0].steps.time_ns.tolist() == time_ns[2:9].tolist()
        assert after.entries[0].num_steps == 7

    def test_a_mark_replaces_the_outcome(self, folder):
        dataset = Dataset.open(folder)
        entry = dataset.entries[0]
        edit = {"action": "mark", "recording_id": entry.recording_id, "kind": "failure", "reason": "fell"}
        dataset.edits.append(edit, "ana")
        after = Dataset.open(folder)[0]
        assert after.outcome == "failure"
        assert [o.kind for o in after.outcomes] == ["reward", "failure"]

    def test_a_line_that_was_cut_off_does_not_count_and_is_replaced(self, folder):
        log = Dataset.open(folder).edits
        recording = Dataset.open(folder).entries[0].recording_id
        log.append({"action": "drop", "recording_id": recording}, "ana")
        with (folder / "edits.jsonl").open("ab") as file:
            file.write(b'{"number":2,"act')
        again = Dataset.open(folder)
        assert len(again) == 2
        again.edits.append({"action": "undo", "undoes": 1}, "ben")
        lines = (folder / "edits.jsonl").read_text().splitlines()
        assert [json.loads(line)["action"] for line in lines] == ["drop", "undo"]

    def test_a_damaged_line_in_the_middle_is_an_error(self, folder):
        (folder / "edits.jsonl").write_text("nonsense\n")
        with pytest.raises(DatasetError, match=r"edits\.jsonl: line 1 is damaged"):
            Dataset.open(folder)

    def test_undo_of_nothing_is_an_error(self, folder):
        with pytest.raises(DatasetError, match="no edit 5 to undo; those that count: none"):
            Dataset.open(folder).edits.append({"action": "undo", "undoes": 5}, "ana")
        assert Dataset.open(folder).edits.edits == ()


def test_the_lock_is_free_after_a_crash(folder):
    """A lock file without a holder does not block: the kernel drops the lock with the process."""
    fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.close(fd)
    with writing(folder) as writer:
        assert len(writer.entries) == 3
