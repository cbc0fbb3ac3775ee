"""What an export can be asked for."""

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from ..errors import ExportError

__all__ = [
    "CROSSABLE",
    "TOKEN_OPTIONS",
    "ExportOptions",
    "ExternalData",
    "IdleOptions",
    "ImageOptions",
    "PlannerOptions",
    "VqaOptions",
]

CROSSABLE = ("interventions", "failed_segments", "cuts")
"""What chunks end before, and rows do not lie in, unless a recipe says so."""
_SPLIT = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
TOKEN_OPTIONS = (
    *("tokenizer", "codec_options", "vocabulary", "tail_skip", "reserved_pattern", "prompt", "max_tokens"),
)
"""Keys of `ExportOptions.to_dict` that decide tokens and prompts, and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """How frames are written that are not passed through."""

    size: tuple[int, int] | None = None
    """Height and width; None: as stored."""
    resize: Literal["letterbox", "stretch"] = "letterbox"
    jpeg_quality: int = 95

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "size": list(self.size) if self.size else None,
            "resize": self.resize if self.size else None,
            "jpeg_quality": self.jpeg_quality,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerOptions:
    """What the config `planner` holds: goal and image, and the subtask that comes next."""

    every_s: float = 1.0
    """Seconds between rows of one episode, beside those where the subtask changes."""
    prompt: str = "planner_chat"

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            ExportError: `every_s` is out of it.
        """
        if not 0.001 <= self.every_s <= 1e6:
            raise ExportError(f"planner.every_s is {self.every_s:g}; it must be 0.001 to 1,000,000")

    def to_dict(self) -> dict[str, object]:
        """As JSON values; of a template's path the name alone."""
        return {"every_s": self.every_s, "prompt": Path(self.prompt).name}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalData:
    """Image-text data of others that is mixed into the config `vqa`."""

    name: str
    path: Path
    format: Literal["llava", "folder"]
    """llava: JSON with `image` and `conversations`; folder: images, each beside a text of its name."""
    share: float
    """Of the config's rows, 0 < share < 1."""

    def to_dict(self) -> dict[str, object]:
        """As JSON values; its place on this machine is left out."""
        return {"name": self.name, "format": self.format, "share": self.share}


@dataclass(frozen=True, slots=True, kw_only=True)
class VqaOptions:
    """What the config `vqa` holds: questions whose answers the episodes know."""

    per_episode: int = 16
    kinds: tuple[str, ...] | None = None
    """Kinds of questions; None: all."""
    prompt: str = "vqa_chat"
    seed: int = 0
    external: tuple[ExternalData, ...] = ()

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            ExportError: `per_episode` is out of it.
        """
        if not 1 <= self.per_episode <= 10_000:
            raise ExportError(f"vqa.per_episode is {self.per_episode}; it must be 1 to 10,000")

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        return {
            "per_episode": self.per_episode,
            "kinds": _listed(self.kinds),
            "prompt": Path(self.prompt).name,
            "seed": self.seed,
            "external": [e.to_dict() for e in self.external],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, object]) -> Self:
        """From what `to_dict` gave, without the places of others' data; raises TypeError where it did not."""
        kinds, external = state["kinds"], state["external"]
        return cls(
            per_episode=state["per_episode"],  # type: ignore[arg-type]  # values are looked at on building
            kinds=None if kinds is None else tuple(kinds),  # type: ignore[arg-type]
            prompt=state["prompt"],  # type: ignore[arg-type]
            seed=state["seed"],  # type: ignore[arg-type]
            external=tuple(ExternalData(path=Path(), **e) for e in external),  # type: ignore[attr-defined]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleOptions:
    """Runs of steps in which nothing moves, and which are no rows."""

    drop: tuple[Literal["head", "tail", "middle"], ...] = ("head", "tail", "middle")
    seconds: float = 0.5
    """Shorter runs stay."""
    limit: float = 0.5
    """Share of all steps above which the export is refused."""
    angle: float | None = None
    """What is no motion, in rad; None: as the check `motion.idle_share` has it."""
    length: float | None = None
    """In m."""
    part: float | None = None
    """Of the range, for grippers and pure numbers."""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ExportError: A value is out of range.
        """
        for name in ("seconds", "angle", "length", "part"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ExportError(f"idle.{name} is {value:g}; it must be more than 0 and finite")
        if not 0 <= self.limit <= 1:
            raise ExportError(f"idle.limit is {self.limit:g}; it must be a share, 0 to 1")

    def to_dict(self) -> dict[str, object]:
        """As JSON values."""
        return {**dataclasses.asdict(self), "drop": list(self.drop)}

    @classmethod
    def from_dict(cls, state: Mapping[str, object]) -> Self:
        """From what `to_dict` gave; raises TypeError where it did not."""
        return cls(**{**state, "drop": tuple(state["drop"])})  # type: ignore[arg-type]


DEFAULT_HORIZON_S = 1.0
MAX_HORIZON = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What to export and how; equal options on equal datasets give equal bytes."""

    tokenizer: str = "fast_safe"
    """Name of the codec, a module of `vladata.tokenizers`."""
    codec_options: Mapping[str, int | float | str] = field(default_factory=dict)
    horizon: int | None = None
    """H: actions per chunk; None: as many as `horizon_s` has."""
    horizon_s: float | None = None
    """The same in seconds: H is what the embodiment's rate makes of them, and at least 1; None: `horizon`, or 1 s."""
    representation: Literal["recorded", "absolute", "delta", "chunk_relative"] = "recorded"
    """What the chunks hold; recorded: each dimension as the schema declares it."""
    normalization: Literal["quantile", "min_max", "mean_std", "none"] = "quantile"
    chunk_end: Literal["pad", "drop"] = "pad"
    """Chunks that run over the end: padded and masked, or left out."""
    image_size: tuple[int, int] | None = None
    """Height and width; None: images are passed through byte for byte."""
    resize: Literal["letterbox", "stretch"] = "letterbox"
    jpeg_quality: int = 95
    """Of images that are resized or come out of a video."""
    splits: Mapping[str, float] = field(default_factory=lambda: {"train": 0.9, "validation": 0.1})
    """Share of each split; the first one is what statistics are made of."""
    seed: int = 0
    group_by: tuple[str, ...] = ("session", "near_duplicate")
    """What keeps episodes in one split, beside equal content: names of metadata, and `near_duplicate`."""
    stratify_by: tuple[str, ...] = ("task", "outcome")
    """What splits have in about equal shares: `task`, `outcome`, `place`, `source`, names of metadata."""
    shard_bytes: int = 500_000_000
    row_group_rows: int = 50
    """Rows of a row group, 32 to 100; what a random access reads."""
    base_tokenizer: Path | None = None
    """Folder of a language model's tokenizer (`tokenizer.json`); adds `action_token_ids`, `input_ids`, `labels`."""
    vocabulary: Literal["added", "tail", "text", "reserved"] = "added"
    """How codes become ids of the language model."""
    tail_skip: int = 0
    """Vocabulary `tail`: ids at the end that are left alone (OpenVLA 0, pi0 128)."""
    tail_reuse_added: bool = False
    """Vocabulary `tail`: use ids of added tokens that are not special again, as pi0 does with `<loc0000>`, …."""
    reserved_pattern: str | None = None
    """Vocabulary `reserved`: name of the tokens, `{n}` for the number; None: those of the names that are known."""
    prompt: str = "openvla"
    """Name of a prompt template, or path of its .yaml (docs/prompts.md)."""
    max_tokens: int | None = None
    """With a base tokenizer: most ids of a row; rows are never cut, an export with a longer one is refused."""
    embodiment: str | None = None
    """Export the episodes of this embodiment only; needed where the dataset holds several."""
    cameras: tuple[str, ...] | None = None
    """Cameras to export; None: all."""
    proprioception: tuple[str, ...] | None = None
    """Signals that make up the state; None: all."""
    action: tuple[str, ...] | None = None
    """Signals that make up the action; None: all."""
    select: str | None = None
    """Keep episodes of which this holds (docs/recipe.md); None: all."""
    idle: IdleOptions | None = None
    """Leave out steps at which nothing moves; None: they are rows."""
    cross: tuple[str, ...] = ()
    """Of `CROSSABLE`, what chunks may cross and rows may lie in."""
    outcomes: tuple[str, ...] | None = None
    """Keep episodes of these outcomes only (`success`, `failure`, or an empty text: not said); None: all."""

    quarantined: Literal["leave_out", "include"] = "leave_out"
    """Episodes that `vladata validate --quarantine` or a person has marked."""
    planner: PlannerOptions | None = None
    """The config `planner`; None: it is not written."""
    vqa: VqaOptions | None = None
    """The config `vqa`; None: it is not written."""
    embodiments: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """By embodiment, options of other values for its episodes."""
    recipe: Mapping[str, object] | None = None
    """The recipe that the options were read from, without paths; for the manifest and the card alone."""
    overridden: tuple[str, ...] = ()
    """Options whose values are not the recipe's, but were given beside it."""

    def __post_init__(self) -> None:
        """Check what does not depend on the dataset.

        Raises:
            ExportError: A value is out of range.
        """
        bounds = {
            "horizon": (1 if self.horizon is None else self.horizon, 1, MAX_HORIZON),
            "jpeg_quality": (self.jpeg_quality, 1, 100),
            "row_group_rows": (self.row_group_rows, 32, 100),
            "shard_bytes": (self.shard_bytes, 100_000, 1 << 40),
            "tail_skip": (self.tail_skip, 0, 1_000_000),
            "max_tokens": (self.max_tokens or 1, 1, 1 << 20),
            "image_size": (min(self.image_size or (16,)), 16, 4096),
            "image_size ": (max(self.image_size or (16,)), 16, 4096),
        }
        for name, (value, low, high) in bounds.items():
            if not low <= value <= high:
                raise ExportError(f"{name.strip()} is {value}; it must be {low} to {high}")
        if self.horizon_s is not None and not 0 < self.horizon_s <= 3600:
            raise ExportError(f"horizon_s is {self.horizon_s:g}; it must be more than 0 and at most 3600")
        for name in self.cross:
            if name not in CROSSABLE:
                raise ExportError(f"cross is {name!r}; it must be {' or '.join(CROSSABLE)}")
        for name in self.splits:
            if not _SPLIT.fullmatch(name):
                raise ExportError(
                    f"split {name!r}: a name must begin with a letter and hold letters, digits and _ only"
                )
        unknown = set(self.outcomes or ()) - {"success", "failure", ""}
        if unknown:
            raise ExportError(f"outcome {min(unknown)!r}; it must be success, failure or an empty text")

    @property
    def images(self) -> ImageOptions:
        """How frames are written that are not passed through."""
        return ImageOptions(size=self.image_size, resize=self.resize, jpeg_quality=self.jpeg_quality)

    def to_dict(self) -> dict[str, object]:
        """As JSON values for the manifest; the base tokenizer's place on this machine is left out."""
        return {
            "tokenizer": self.tokenizer,
            "codec_options": dict(self.codec_options),
            "horizon": self.horizon,
            "representation": self.representation,
            "normalization": self.normalization,
            "chunk_end": self.chunk_end,
            "images": self.images.to_dict(),
            "horizon_s": self.horizon_s,
            "splits": [[name, share] for name, share in self.splits.items()],
            "seed": self.seed,
            "group_by": list(self.group_by),
            "stratify_by": list(self.stratify_by),
            "select": self.select,
            "idle": self.idle and self.idle.to_dict(),
            "cross": list(self.cross),
            "shard_bytes": self.shard_bytes,
            "row_group_rows": self.row_group_rows,
            "vocabulary": self.vocabulary,
            "tail_skip": self.tail_skip if self.base_tokenizer and self.vocabulary == "tail" else None,
            "reserved_pattern": self.reserved_pattern,
            "prompt": Path(self.prompt).name,
            "max_tokens": self.max_tokens,
            "embodiment": self.embodiment,
            "cameras": _listed(self.cameras),
            "proprioception": _listed(self.proprioception),
            "action": _listed(self.action),
            "outcomes": _listed(self.outcomes),
            "quarantined": self.quarantined,
            "planner": self.planner and self.planner.to_dict(),
            "vqa": self.vqa and self.vqa.to_dict(),
            "recipe": self.recipe,
            "overridden": list(self.overridden),
        }

    def changed(self, changes: Mapping[str, object]) -> Self:
        """The options with other values for some of them, in all embodiments.

        Raises:
            ExportError: A value is out of range.
        """
        kept = {
            name: {key: value for key, value in own.items() if key not in changes}
            for name, own in self.embodiments.items()
        }
        names = tuple(sorted({*self.overridden, *changes})) if self.recipe is not None else ()
        return dataclasses.replace(self, **{"embodiments": kept, "overridden": names, **changes})  # type: ignore[arg-type]

    def resolved(self, embodiment: str, rate_hz: float) -> Self:
        """The options for episodes of one embodiment: with what is set for it alone, and the horizon in steps.

        Raises:
            ExportError: A value is out of range.
        """
        options = dataclasses.replace(self, **self.embodiments.get(embodiment, {}))  # type: ignore[arg-type]
        if options.horizon_s is None and options.horizon is not None:
            return options
        seconds = DEFAULT_HORIZON_S if options.horizon_s is None else options.horizon_s
        steps = max(1, round(seconds * rate_hz))
        if steps > MAX_HORIZON:
            raise ExportError(
                f"horizon_s is {seconds:g}, {steps:,} steps at {rate_hz:g} Hz; it must be at most "
                f"{MAX_HORIZON / rate_hz:g}, {MAX_HORIZON:,} steps: set --horizon-s, or --horizon in steps"
            )
        return dataclasses.replace(options, horizon=steps, horizon_s=seconds)

    @classmethod
    def from_dict(cls, state: Mapping[str, object]) -> Self:
        """The options that a manifest names, as far as they decide rows; the base tokenizer is not among them.

        Raises:
            ExportError: Something is missing or of another type.
        """
        try:
            images = state["images"]
            if not isinstance(images, dict):
                raise TypeError
            size = images["size"]
            names = {n: state[n] for n in ("cameras", "proprioception", "action", "outcomes")}
            splits, idle = state["splits"], state.get("idle")
            planner, vqa = state.get("planner"), state.get("vqa")
            return cls(
                horizon=state["horizon"],  # type: ignore[arg-type]  # values are looked at on building
                representation=state["representation"],  # type: ignore[arg-type]
                chunk_end=state["chunk_end"],  # type: ignore[arg-type]
                image_size=None if size is None else (int(size[0]), int(size[1])),
                resize=images["resize"] or "letterbox",
                jpeg_quality=images["jpeg_quality"],
                vocabulary=state["vocabulary"],  # type: ignore[arg-type]
                splits={str(name): float(share) for name, share in splits},  # type: ignore[attr-defined]
                planner=None if planner is None else PlannerOptions(**planner),  # type: ignore[arg-type]
                vqa=None if vqa is None else VqaOptions.from_dict(vqa),  # type: ignore[arg-type]
                idle=None if idle is None else IdleOptions.from_dict(idle),  # type: ignore[arg-type]
                cross=tuple(state.get("cross", CROSSABLE)),  # type: ignore[arg-type]
                **{n: None if v is None else tuple(v) for n, v in names.items()},  # type: ignore[arg-type]
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ExportError(f"the manifest's options are damaged: {error}") from error


def _listed(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else list(names)
