"""Inputs as people name them."""

import io
import os
import sys
from pathlib import Path

import pytest

from vladata.errors import SourceError
from vladata.inputs import expand_inputs, read_list


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in ("a/one.bag", "a/deep/two.bag", "b/three.mcap", "b/[x].mcap"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("tree")
class TestPatterns:
    def test_patterns_match_at_any_depth_sorted_and_each_path_comes_once(self):
        found = expand_inputs([Path("**/*.bag"), Path("a/one.bag"), Path("b/t*.mcap")])
        assert found == [Path("a/deep/two.bag"), Path("a/one.bag"), Path("b/three.mcap")]

    def test_a_file_whose_name_looks_like_a_pattern_is_itself(self):
        assert expand_inputs([Path("b/[x].mcap")]) == [Path("b/[x].mcap")]

    def test_a_pattern_without_a_match_is_an_error_and_a_missing_file_is_left_to_ingest(self):
        with pytest.raises(SourceError, match=r"c/\*.bag: matches no file or folder"):
            expand_inputs([Path("c/*.bag")])
        assert expand_inputs([Path("c/x.bag")]) == [Path("c/x.bag")]


class TestLists:
    def test_a_list_has_one_input_a_line(self, tmp_path):
        path = tmp_path / "list.txt"
        path.write_bytes("\ufeff# recorded in May\n a.bag\r\n\nb folder/c.mcap\n".encode())
        assert read_list(path) == [Path("a.bag"), Path("b folder/c.mcap")]

    def test_a_list_comes_from_standard_input_too(self, monkeypatch):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a.bag\n")))
        assert read_list(Path("-")) == [Path("a.bag")]

    @pytest.mark.parametrize(
        ("data", "message"),
        [(b"", "lists no input"), (b"\xff\xfe", "byte 0 is not UTF-8"), (b"a\0b\n", "is no path")],
    )
    def test_what_is_no_list_is_refused(self, tmp_path, data, message):
        path = tmp_path / "list.txt"
        path.write_bytes(data)
        with pytest.raises(SourceError, match=message):
            read_list(path)

    def test_a_missing_list_is_named(self, tmp_path):
        with pytest.raises(SourceError, match=os.strerror(2)):
            read_list(tmp_path / "none.txt")
