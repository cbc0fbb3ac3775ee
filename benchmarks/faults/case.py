"""A demonstration on its way through vladata: a recording with its schema and mapping becomes an episode, in memory."""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from vladata import images
from vladata.checks import CheckSettings, EpisodeFacts, measure
from vladata.embodiment import Embodiment
from vladata.episode import Episode, Image
from vladata.finding import Finding
from vladata.frame_decoder import FrameDecoder
from vladata.mapping import Mapping as StreamMappings
from vladata.recording import AnyStream, BytesFrames, Frames, FrameStream, Recording, Stream
from vladata.sync.align import synchronize
from vladata.sync.timing import as_json, labels_on_steps

__all__ = ["Case", "episode_of", "facts_of"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One demonstration: what faults are put into."""

    recording: Recording
    embodiment: Embodiment
    mapping: StreamMappings
    variant: str
    """`joint`, `pose`, `delta` and `stepped` of the generated ones; `sample`, `bridge`, `g1`."""
    name: str
    """For people."""

    @property
    def family(self) -> str:
        """`generated`, or the data set that was recorded by others."""
        return self.variant if self.variant in {"sample", "bridge", "g1"} else "generated"

    def stream(self, name: str) -> Stream:
        """A stream of numbers."""
        stream = self.recording.streams[name]
        if not isinstance(stream, Stream):
            raise TypeError(f"{name} holds images")
        return stream

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A copy of a stream's values, [N, D]."""
        return self.stream(name).values.astype(np.float64)

    def camera(self, name: str) -> FrameStream:
        """A stream of images."""
        stream = self.recording.streams[name]
        if not isinstance(stream, FrameStream):
            raise TypeError(f"{name} holds numbers")
        return stream

    @property
    def measured(self) -> list[str]:
        """Signals of the state that are there."""
        return [s.name for s in self.embodiment.proprioception if s.name in self.recording.streams]

    @property
    def commands(self) -> list[str]:
        """Actions that are there."""
        return [s.name for s in self.embodiment.action if s.name in self.recording.streams]

    @property
    def cameras(self) -> list[str]:
        """Cameras that are there."""
        return [c.name for c in self.embodiment.cameras if c.name in self.recording.streams]

    @property
    def step_ns(self) -> int:
        """Period of the steps."""
        return round(1e9 / self.embodiment.rate_hz)

    def with_streams(self, *changed: AnyStream) -> "Case":
        """The same with other streams."""
        streams = {**self.recording.streams, **{s.name: s for s in changed}}
        return dataclasses.replace(self, recording=dataclasses.replace(self.recording, streams=streams))

    def with_values(self, name: str, values: NDArray[np.float64]) -> "Case":
        """The same with other numbers of a signal, in the number type of the recording."""
        stream = self.stream(name)
        return self.with_streams(dataclasses.replace(stream, values=values.astype(stream.values.dtype)))

    def with_frames(self, name: str, frames: list[bytes]) -> "Case":
        """The same with other images of a camera."""
        return self.with_streams(dataclasses.replace(self.camera(name), frames=BytesFrames(frames)))

    def with_schema(self, **changes: object) -> "Case":
        """The same with another schema."""
        fields = {n: getattr(self.embodiment, n) for n in type(self.embodiment).model_fields}
        return dataclasses.replace(self, embodiment=Embodiment.model_validate({**fields, **changes}))

    def with_recording(self, **changes: object) -> "Case":
        """The same with other labels, metadata or places."""
        return dataclasses.replace(self, recording=dataclasses.replace(self.recording, **changes))  # type: ignore[arg-type]

    def frames(self, name: str) -> list[bytes]:
        """All encoded images of a camera."""
        frames: Frames = self.camera(name).frames
        return [bytes(frames.read(i)) for i in range(len(frames.sizes))]


class _Decoder:
    """Decodes frames as the reader of episode files does."""

    def __init__(self) -> None:
        self._videos: dict[str, FrameDecoder] = {}

    def __call__(self, stream: FrameStream, index: int) -> Image:
        if stream.video is None:
            return images.decode(bytes(stream.frames.read(index)))
        if stream.name not in self._videos:
            self._videos[stream.name] = FrameDecoder(stream)
        return self._videos[stream.name].decode(index)


def episode_of(case: Case) -> Episode:
    """Bring a recording onto steps, as `vladata ingest` and `vladata resync` do, without writing the file.

    Raises:
        SyncError: Its streams can't be aligned: ingest would refuse it.
    """
    recording = labels_on_steps(case.recording, case.mapping)
    synchronized = synchronize(recording, case.embodiment, case.mapping)
    digest = _content_digest(recording)
    parts = (recording.recording_id, recording.place, digest, case.embodiment.digest, case.mapping.digest)
    provenance = {
        "source": recording.source,
        "place": recording.place,
        "mapping": case.mapping.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "mapping_digest": case.mapping.digest,
        "is_stepped": recording.is_stepped,
        "sync": {"policy": synchronized.policy, "counts": synchronized.counts},
        "timing": as_json(recording, case.mapping, synchronized.policy),
        "notes": list(recording.notes),
    }
    return Episode(
        episode_id=hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32],
        recording_id=recording.recording_id,
        content_digest=digest,
        embodiment=case.embodiment,
        streams=recording.streams,
        steps=synchronized.steps,
        instructions=recording.instructions,
        outcomes=recording.outcomes,
        metadata=recording.metadata,
        provenance=provenance,
        decode=_Decoder(),
    )


def _content_digest(recording: Recording) -> str:
    sha = hashlib.sha256()
    for name, stream in sorted(recording.streams.items()):
        sha.update(f"{name} {stream.clock}".encode())
        sha.update(stream.time_ns.tobytes())
        if isinstance(stream, Stream):
            sha.update(np.ascontiguousarray(stream.values).tobytes())
        else:
            for i in range(len(stream.frames.sizes)):
                sha.update(stream.frames.read(i))
    return sha.hexdigest()


def facts_of(case: Case, episode: Episode, settings: CheckSettings) -> tuple[EpisodeFacts, list[Finding]]:
    """What checks of a whole dataset know of an episode, and what crashed when it was measured."""
    features, crashed = measure(episode, settings)
    facts = EpisodeFacts(
        episode_id=episode.episode_id,
        recording_id=episode.recording_id,
        content_digest=episode.content_digest,
        place=case.recording.place,
        source=case.recording.source,
        split=episode.metadata.get("split", ""),
        embodiment=case.embodiment.name,
        embodiment_version=case.embodiment.version,
        embodiment_digest=case.embodiment.digest,
        instruction=episode.instruction,
        outcome=episode.outcome,
        num_steps=len(episode),
        duration_s=episode.duration_s,
        metadata=episode.metadata,
        rules=cast("Mapping[str, Mapping[str, float | str]]", case.embodiment.checks),
        features=features,
    )
    return facts, crashed
