"""What an export can be asked for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from ..errors import ExportError

__all__ = ["TOKEN_OPTIONS", "ExportOptions", "ImageOptions"]

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
class ExportOptions:
    """What to export and how; equal options on equal datasets give equal bytes."""

    tokenizer: str = "openvla_bins"
    """Name of the codec, a module of `vladata.tokenizers`."""
    codec_options: Mapping[str, int | float | str] = field(default_factory=dict)
    horizon: int = 1
    """H: actions per chunk."""
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
    outcomes: tuple[str, ...] | None = None
    """Keep episodes of these outcomes only (`success`, `failure`, or an empty text: not said); None: all."""

    quarantined: Literal["leave_out", "include"] = "leave_out"
    """Episodes that `vladata validate --quarantine` or a person has marked."""

    def __post_init__(self) -> None:
        """Check what does not depend on the dataset.

        Raises:
            ExportError: A value is out of range.
        """
        bounds = {
            "horizon": (self.horizon, 1, 1000),
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
            "splits": [[name, share] for name, share in self.splits.items()],
            "seed": self.seed,
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
        }

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
            splits = state["splits"]
            return cls(
                horizon=state["horizon"],  # type: ignore[arg-type]  # values are looked at on building
                representation=state["representation"],  # type: ignore[arg-type]
                chunk_end=state["chunk_end"],  # type: ignore[arg-type]
                image_size=None if size is None else (int(size[0]), int(size[1])),
                resize=images["resize"] or "letterbox",
                jpeg_quality=images["jpeg_quality"],
                vocabulary=state["vocabulary"],  # type: ignore[arg-type]
                splits={str(name): float(share) for name, share in splits},  # type: ignore[attr-defined]
                **{n: None if v is None else tuple(v) for n, v in names.items()},  # type: ignore[arg-type]
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ExportError(f"the manifest's options are damaged: {error}") from error


def _listed(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else list(names)
