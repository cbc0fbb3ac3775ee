"""Episodes whose video is a part of a longer one: packets before and after it are stored, but are no frames."""

import dataclasses
import hashlib

import h5py
import numpy as np
import pytest

from vladata.checks import structure
from vladata.embodiment import Camera
from vladata.episode import Steps
from vladata.errors import EpisodeFormatError, SourceError
from vladata.frame_decoder import FrameDecoder
from vladata.recording import BytesFrames, FrameStream, VideoTrack
from vladata.store.reader import read_episode, verify_episode
from vladata.store.writer import write_episode
from vladata.units import Clock

av = pytest.importorskip("av", reason="the extra 'video' is not installed")

from vladata.video import open_video  # noqa: E402  needs av

HEIGHT, WIDTH, TOTAL = 48, 64, 24


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A video with one key frame and frames that refer to later ones; its packets, track and pictures."""
    path = tmp_path_factory.mktemp("video") / "whole.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": "2", "g": "100", "b-pyramid": "none"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for k in range(TOTAL):
            image = np.full((HEIGHT, WIDTH, 3), 9 * k, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        pictures = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    with open_video(path) as video:
        packets = [bytes(video.frames.read(k)) for k in range(TOTAL)]
        return packets, video.track, pictures


def part_of(whole, lead_in, lead_out):
    """The stream that leaves out frames at either end, all packets kept."""
    packets, track, _ = whole
    count = TOTAL - lead_in - lead_out
    return FrameStream(
        name="front",
        clock=Clock.NOMINAL,
        time_ns=np.arange(count, dtype=np.int64) * 10**8,
        frames=BytesFrames(packets),
        codec="h264",
        height=HEIGHT,
        width=WIDTH,
        pixel_format="yuv420p",
        video=dataclasses.replace(track, lead_in=lead_in, lead_out=lead_out),
    )


def draft_of(draft, stream):
    camera = Camera(name="front", height=HEIGHT, width=WIDTH)
    count = stream.num_frames
    steps = Steps(
        time_ns=stream.time_ns,
        proprioception={},
        action={},
        images={"front": np.arange(count, dtype=np.int32)},
        age_ns={"front": np.zeros(count, dtype=np.int64)},
        valid={"front": np.ones(count, dtype=bool)},
    )
    embodiment = draft.embodiment.model_copy(update={"cameras": (camera,), "proprioception": (), "action": ()})
    return dataclasses.replace(draft, embodiment=embodiment, streams={"front": stream}, steps=steps)


@pytest.mark.parametrize(("lead_in", "lead_out"), [(0, 0), (5, 0), (0, 4), (7, 3)])
def test_frames_are_those_that_count(tmp_path, draft, whole, lead_in, lead_out):
    packets, _, pictures = whole
    path = tmp_path / "episode.h5"
    write_episode(path, draft_of(draft, part_of(whole, lead_in, lead_out)))
    assert verify_episode(path) == []
    episode = read_episode(path)
    stream = episode.streams["front"]
    assert (stream.video.lead_in, stream.video.lead_out) == (lead_in, lead_out)
    assert stream.num_frames == TOTAL - lead_in - lead_out
    assert [stream.frames.read(k) for k in range(TOTAL)] == packets
    for step in reversed(list(episode)):
        assert np.array_equal(step.image("front"), pictures[lead_in + step.index])
    with pytest.raises(IndexError):
        episode.frame("front", stream.num_frames)
    assert not list(structure.counts.function(episode))
    assert not list(structure.frame_indices.function(episode))


def test_a_reader_made_from_the_document_finds_them(tmp_path, draft, whole):
    packets, track, _ = whole
    path = tmp_path / "episode.h5"
    write_episode(path, draft_of(draft, part_of(whole, 7, 3)))
    with h5py.File(path) as file:
        group = file["streams/front"]
        assert group.attrs["lead"].tolist() == [7, 3]
        assert len(group["time_ns"]) + 10 == len(group["pts"]) == len(group["offsets"]) - 1 == TOTAL
        first = np.argsort(group["pts"][()])[7]
        offsets = group["offsets"][()]
        assert group["frames"][offsets[first] : offsets[first + 1]].tobytes() == packets[np.argsort(track.pts)[7]]
        arrays = {n: group[n][()] for n in ("digests", "time_ns", "extradata", "keyframes", "pts")}
        base = [str(n) for n in group.attrs["time_base"]]
        facts = ["front", "nominal", "h264", str(HEIGHT), str(WIDTH), "yuv420p", *base, "7", "3"]
        sha = hashlib.sha256("\n".join(facts).encode() + b"\n")
        for name in sorted(arrays):
            a = arrays[name]
            sha.update(f"{name} {a.dtype.newbyteorder('<').str}{list(a.shape)}\n".encode() + a.tobytes())
        content = hashlib.sha256(f"content 1\nfront {sha.hexdigest()}".encode()).hexdigest()
        assert content == file.attrs["content_digest"].decode()


def test_a_video_that_is_whole_is_stored_as_before(tmp_path, draft, whole):
    path = tmp_path / "episode.h5"
    write_episode(path, draft_of(draft, part_of(whole, 0, 0)))
    with h5py.File(path) as file:
        assert "lead" not in file["streams/front"].attrs


@pytest.mark.parametrize("lead", [(-1, 11), (9, 2), (2**40, 0), (1, 2, 3)])
def test_a_lead_that_does_not_fit_is_refused(tmp_path, draft, whole, lead):
    path = tmp_path / "episode.h5"
    write_episode(path, draft_of(draft, part_of(whole, 7, 3)))
    with h5py.File(path, "r+") as file:
        file["streams/front"].attrs["lead"] = np.array(lead, dtype=np.int64)
    episode = read_episode(path)
    with pytest.raises((EpisodeFormatError, SourceError)):
        episode.frame("front", 0)
    assert verify_episode(path)


def test_a_decoder_refuses_more_than_there_is(whole):
    stream = part_of(whole, 7, 3)
    track = dataclasses.replace(stream.video, lead_in=20, lead_out=20)
    assert isinstance(track, VideoTrack)
    with pytest.raises(SourceError, match="20 frames before and 20 after those that count, of 24; must be a part"):
        FrameDecoder(dataclasses.replace(stream, video=track))


def test_a_stream_with_too_few_frames_is_a_finding(draft, whole):
    from vladata.testing.builders import build_episode

    stream = part_of(whole, 7, 3)
    episode = build_episode()
    short = dataclasses.replace(stream, time_ns=stream.time_ns[:-1])
    changed = dataclasses.replace(episode, streams={**episode.streams, "front": short})
    assert any("14 frames and 13 stamps" in f.message for f in structure.counts.function(changed))
