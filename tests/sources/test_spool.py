"""Frames in a temporary file."""

import os

import numpy as np
import pytest

from vladata.sources._spool import Spool


def test_frames_are_read_in_any_order():
    spool = Spool()
    for data in (b"one", b"", b"three"):
        spool.add(data)
    frames = spool.picked(np.array([2, 0, 1]), np.array([5, 6, 7]))
    assert [frames.read(i) for i in range(3)] == [b"three", b"one", b""]
    assert (frames.sizes.tolist(), frames.order.tolist(), len(spool)) == ([5, 3, 0], [5, 6, 7], 3)
    spool.close()


def test_frames_of_a_closed_spool_are_not_those_of_another_file(tmp_path):
    spool = Spool()
    spool.add(b"frame")
    frames = spool.frames()
    spool.close()
    (tmp_path / "other").write_bytes(b"other")
    other = os.open(tmp_path / "other", os.O_RDONLY)  # most often with the same number
    with pytest.raises(ValueError, match="closed file"):
        frames.read(0)
    os.close(other)
