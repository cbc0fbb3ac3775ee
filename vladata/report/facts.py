"""What is told of one episode."""

import dataclasses

import numpy as np

from ..episode import Episode
from ..recording import FrameStream, Instruction, Outcome
from ..sync.clock import summarize

__all__ = ["describe"]


def describe(episode: Episode) -> dict[str, object]:
    """What `vladata show` prints of an episode, as JSON values."""
    streams = []
    for name, stream in episode.streams.items():
        summary = summarize(stream.time_ns)
        is_camera = isinstance(stream, FrameStream)
        valid = episode.steps.valid.get(name)
        age = episode.steps.age_ns[name][valid] / 1e6 if valid is not None else ()
        streams.append(
            {
                "name": name,
                "kind": stream.codec if isinstance(stream, FrameStream) else f"{stream.values.shape[1]} numbers",
                "clock": str(stream.clock),
                "samples": len(stream.time_ns),
                "rate_hz": round(summary.rate_hz, 2),
                "age_p95_ms": round(float(np.percentile(age, 95)), 1) if len(age) else 0.0,
                "invalid": 0 if valid is None else int((~valid).sum()),
                "is_camera": is_camera,
            }
        )
    return {
        "episode_id": episode.episode_id,
        "recording_id": episode.recording_id,
        "content_digest": episode.content_digest,
        "embodiment": episode.embodiment.name,
        "source": episode.provenance.get("source", ""),
        "place": episode.provenance.get("place", ""),
        "steps": len(episode),
        "duration_s": episode.duration_s,
        "streams": streams,
        "derived_actions": sorted(episode.derived_actions),
        "instructions": [_row(i) for i in episode.instructions],
        "outcomes": [_row(o) for o in episode.outcomes],
        "metadata": dict(episode.metadata),
        "notes": episode.provenance.get("notes", []),
    }


def _row(label: Instruction | Outcome) -> dict[str, object]:
    return {k: v for k, v in dataclasses.asdict(label).items() if k != "receive_time_ns"}  # not kept in episodes
