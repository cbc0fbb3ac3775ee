"""An episode: one demonstration on one clock, with its native streams beside it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .embodiment import Embodiment
from .recording import AnyStream, FrameStream, Instruction, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Episode", "Step", "Steps"]

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steps:
    """Observations and actions of an episode, all on one clock."""

    time_ns: Int64Array
    """[T], strictly increasing where the source's rows are."""
    proprioception: Mapping[str, FloatArray]
    """[T, D] by signal."""
    action: Mapping[str, FloatArray]
    """[T, D] by signal."""
    images: Mapping[str, Int32Array]
    """Index of the frame shown at the step, [T] by camera; -1 where there is none."""
    age_ns: Mapping[str, Int64Array]
    """Step time minus the sample's time, [T] by stream; negative for actions that come after the step."""
    valid: Mapping[str, BoolArray]
    """Whether the sample counts, [T] by stream."""

    def __len__(self) -> int:
        """T."""
        return len(self.time_ns)

    def between(self, start: int, stop: int) -> "Steps":
        """The steps start <= t < stop."""
        cut = slice(start, stop)
        return Steps(
            time_ns=self.time_ns[cut],
            proprioception={n: v[cut] for n, v in self.proprioception.items()},
            action={n: v[cut] for n, v in self.action.items()},
            images={n: v[cut] for n, v in self.images.items()},
            age_ns={n: v[cut] for n, v in self.age_ns.items()},
            valid={n: v[cut] for n, v in self.valid.items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Episode:
    """One demonstration."""

    episode_id: str
    """Derived from recording, embodiment, mapping, sync policy, labels and format version; hex."""
    recording_id: str
    content_digest: str
    """SHA-256 over clocks, stamps, values and frames; equal for equal demonstrations, whatever their labels."""
    embodiment: Embodiment
    streams: Mapping[str, AnyStream]
    """At their native rates; numbers and frames are read when asked for."""
    steps: Steps
    instructions: tuple[Instruction, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)
    decode: "Callable[[FrameStream, int], Image] | None" = None
    """Decodes one frame of a stream to RGB [H, W, 3]; set by the reader."""

    def __len__(self) -> int:
        """Number of steps T."""
        return len(self.steps)

    def __getitem__(self, index: int) -> "Step":
        """One step; negative indices count from the end."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"step {index}; the episode has {len(self)} steps")
        return Step(episode=self, index=index % len(self))

    def __iter__(self) -> "Iterator[Step]":
        """All steps in order."""
        return (Step(episode=self, index=i) for i in range(len(self)))

    @property
    def duration_s(self) -> float:
        """From the first step to the last, in seconds."""
        return float(self.steps.time_ns[-1] - self.steps.time_ns[0]) / 1e9 if len(self) else 0.0

    @property
    def instruction(self) -> str:
        """The first task instruction, or an empty text."""
        return next((i.text for i in self.instructions if i.kind == "task"), "")

    @property
    def outcome(self) -> str:
        """`success`, `failure`, or an empty text where nobody said; the last marker counts."""
        return next((o.kind for o in reversed(self.outcomes) if o.kind in {"success", "failure"}), "")

    @property
    def derived_actions(self) -> frozenset[str]:
        """Actions that nobody recorded: they were made at synchronization, and have no stream."""
        sync = self.provenance.get("sync")
        policy = sync.get("policy") if isinstance(sync, Mapping) else None
        derived = policy.get("derived") if isinstance(policy, Mapping) else None
        return frozenset(str(n) for n in derived) if isinstance(derived, Mapping) else frozenset()

    def texts_at(self, time_ns: int, kind: str) -> list[str]:
        """Instructions of a kind that hold at a time: the latest that began, or those for the whole episode."""
        timed = [i for i in self.instructions if i.kind == kind and i.time_ns is not None and i.time_ns <= time_ns]
        if timed:
            last = max(timed, key=lambda i: i.time_ns or 0)
            if last.end_ns is None or time_ns < last.end_ns:
                return [last.text]
        return [i.text for i in self.instructions if i.kind == kind and i.time_ns is None]

    def frame(self, camera: str, index: int) -> Image:
        """Decode one frame of a camera to RGB, [H, W, 3] uint8; a `color_order` of `bgr` in the schema is undone.

        Raises:
            EpisodeFormatError: The frame is damaged or can't be decoded.
            IndexError: There is no such frame.
        """
        stream = self.streams[camera]
        if not isinstance(stream, FrameStream):
            raise TypeError(f"{camera} is not a camera")
        if not 0 <= index < stream.num_frames:
            raise IndexError(f"frame {index} of {camera}; there are {stream.num_frames}")
        if self.decode is None:
            raise TypeError("this episode was not read from a file; it has no decoder")
        image = self.decode(stream, index)
        is_swapped = any(c.name == camera and c.color_order == "bgr" for c in self.embodiment.cameras)
        return np.ascontiguousarray(image[..., ::-1]) if is_swapped else image


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One time index of an episode."""

    episode: Episode
    index: int

    @property
    def time_ns(self) -> int:
        """The step's time."""
        return int(self.episode.steps.time_ns[self.index])

    @property
    def proprioception(self) -> dict[str, FloatArray]:
        """[D] by signal."""
        return {n: v[self.index] for n, v in self.episode.steps.proprioception.items()}

    @property
    def action(self) -> dict[str, FloatArray]:
        """[D] by signal."""
        return {n: v[self.index] for n, v in self.episode.steps.action.items()}

    @property
    def instruction(self) -> str:
        """The task at this step."""
        return next(iter(self.episode.texts_at(self.time_ns, "task")), "")

    @property
    def is_valid(self) -> bool:
        """True where every stream has a sample that counts."""
        return all(bool(v[self.index]) for v in self.episode.steps.valid.values())

    def image(self, camera: str) -> Image | None:
        """The camera's image at this step, RGB [H, W, 3] uint8; None where there is none."""
        frame = int(self.episode.steps.images[camera][self.index])
        return None if frame < 0 else self.episode.frame(camera, frame)

    @property
    def images(self) -> dict[str, Image]:
        """All images at this step by camera; cameras without one are left out."""
        found = {n: self.image(n) for n in self.episode.steps.images}
        return {n: i for n, i in found.items() if i is not None}
