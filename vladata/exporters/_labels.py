"""What is said of each episode, and what near copies are found by: read in workers, once, and only when asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..checks import EpisodeFacts
from ..checks._features import path, rows
from ..episode import Episode
from ..errors import EpisodeFormatError
from ..store.catalog import Entry
from ._gather import EpisodeSource
from ._selection import META, Facts, Value
from ._zones import is_failed_segment

__all__ = ["LabelUnit", "Labels", "facts_of", "read_labels"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelUnit:
    """One episode to read."""

    source: EpisodeSource
    wants_features: bool
    """Whether near copies are looked for."""
    metadata: frozenset[str] = frozenset()
    """Names of the metadata that are asked for; the rest is left where it is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labels:
    """What an episode's file says of it, beside the catalog."""

    metadata: Mapping[str, str]
    tasks: tuple[str, ...]
    subtasks: tuple[str, ...]
    texts: tuple[str, ...]
    """Instructions of all kinds."""
    quality: float | None
    """The last grade."""
    reward: float | None
    """Sum of the rewards."""
    has_intervention: bool
    has_failed_segment: bool
    rules: Mapping[str, Mapping[str, float | str]]
    """The `checks` section of its schema."""
    features: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    """As the checks of near copies measure them."""

    def as_facts(self, entry: Entry) -> EpisodeFacts:
        """What the checks of near copies look at."""
        return EpisodeFacts(
            episode_id=entry.episode_id,
            recording_id=entry.recording_id,
            content_digest=entry.content_digest,
            place=entry.place,
            embodiment=entry.embodiment,
            embodiment_digest=entry.embodiment_digest,
            instruction=entry.instruction,
            outcome=entry.outcome,
            num_steps=entry.num_steps,
            rules=self.rules,
            features=self.features,
        )


def read_labels(unit: LabelUnit) -> Labels:
    """Read one episode; runs in a worker.

    Raises:
        EpisodeFormatError: The file is damaged.
    """
    episode = unit.source.read()
    rewards = [o.value for o in episode.outcomes if o.kind == "reward" and o.value is not None]
    grades = [o.value for o in episode.outcomes if o.kind == "quality" and o.value is not None]
    return Labels(
        metadata={k: v for k, v in episode.metadata.items() if k in unit.metadata},
        tasks=_texts(episode, "task"),
        subtasks=_texts(episode, "subtask"),
        texts=tuple(dict.fromkeys(i.text for i in episode.instructions if i.text)),
        quality=grades[-1] if grades else None,
        reward=sum(rewards) if rewards else None,
        has_intervention=any(o.kind == "intervention" for o in episode.outcomes),
        has_failed_segment=any(map(is_failed_segment, episode.outcomes)),
        rules=episode.embodiment.checks,
        features=_measured(episode) if unit.wants_features else {},
    )


def _texts(episode: Episode, kind: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(i.text for i in episode.instructions if i.kind == kind and i.text))


def _measured(episode: Episode) -> dict[str, NDArray[np.generic]]:
    found = {}
    for feature in (rows, path):
        try:
            with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
                values = feature.function(episode)
        except EpisodeFormatError:
            continue  # of a stream that is perhaps not exported; the episode counts as not measured
        if values is not None:
            found[feature.name] = values
    return found


def facts_of(entry: Entry, labels: Labels | None, *, is_quarantined: bool) -> Facts:
    """What a selection can ask of an episode; without labels what the catalog knows."""
    said: dict[str, Value | None] = {
        "success": entry.outcome == "success",
        "failure": entry.outcome == "failure",
        "quarantined": is_quarantined,
        "duration_s": entry.duration_s,
        "steps": float(entry.num_steps),
        "outcome": entry.outcome or None,
        "embodiment": entry.embodiment,
        "place": entry.place,
        "source": entry.source,
        "split": entry.split or None,
        "episode_id": entry.episode_id,
        "recording_id": entry.recording_id,
    }
    facts: dict[str, tuple[Value, ...]] = {name: () if v is None else (v,) for name, v in said.items()}
    return facts if labels is None else {**facts, **_label_facts(labels)}


def _label_facts(labels: Labels) -> dict[str, tuple[Value, ...]]:
    metadata: dict[str, tuple[Value, ...]] = {k: (v,) for k, v in labels.metadata.items() if v}
    return {
        "intervention": (labels.has_intervention,),
        "failed_segment": (labels.has_failed_segment,),
        "has_subtasks": (bool(labels.subtasks),),
        "quality": () if labels.quality is None else (labels.quality,),
        "reward": () if labels.reward is None else (labels.reward,),
        "task": labels.tasks,
        "subtask": labels.subtasks,
        "instruction": labels.texts,
        **{name: metadata.get(name, ()) for name in ("operator", "session", "scene")},
        **{META + name: value for name, value in metadata.items()},
    }
