"""Make the sample recordings: MUJOCO_GL=egl python sample_data/make_sample_data.py [OUT_DIR]."""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from simulator.arm import Arm
from simulator.cameras import Cameras
from simulator.recorder import Recorder
from simulator.session import EpisodePlan, Session
from simulator.teleoperator import Mistake

SEED = 20260105

START = datetime(2026, 1, 5, 9, 0, 0, tzinfo=UTC)
"""The fictitious date at which the first recording starts, on the robot computer's clock."""
PAUSE_NS = 60_000_000_000
"""Time from the end of a recording to the start of the next."""

EPISODES = (
    EpisodePlan("put the red cube into the blue bin"),
    EpisodePlan("pick up the red cube and drop it in the blue bin"),
    EpisodePlan(
        "put the red cube into the blue bin",
        dropped_frames={
            "front": frozenset([41, 158]),
            "wrist": frozenset([27, *range(90, 98), 133, 171]),
        },
    ),
    EpisodePlan("put the red cube into the blue bin", mistake=Mistake.SLIP),
    EpisodePlan("put the red cube into the blue bin", mistake=Mistake.MISSED_GRASP),
    EpisodePlan("place the red cube in the blue container"),
)
"""The recordings, demo_000.mcap first."""


def main() -> None:
    """Make all recordings."""
    folder = _parse_out_dir() / "recordings"
    folder.mkdir(parents=True, exist_ok=True)
    arm = Arm()
    start_ns = int(START.timestamp()) * 1_000_000_000
    with Cameras(arm) as cameras:
        for number, plan in enumerate(EPISODES):
            recorder = Recorder()
            session = Session(plan, arm, cameras, seed=[SEED, number])
            duration_ns = session.run(recorder, start_ns)
            path = folder / f"demo_{number:03d}.mcap"
            recorder.write(path, end_ns=start_ns + duration_ns)
            size_kb = path.stat().st_size / 1000
            print(f"{path.name}  {duration_ns / 1e9:5.2f} s  {size_kb:4.0f} kB  {plan.outcome}")
            start_ns += duration_ns + PAUSE_NS


def _parse_out_dir() -> Path:
    parser = argparse.ArgumentParser(description="Make the sample recordings.")
    parser.add_argument(
        "out_dir",
        nargs="?",
        type=Path,
        default=Path(__file__).parent,
        help="folder in which recordings/ is made (default: the folder of this script)",
    )
    out_dir: Path = parser.parse_args().out_dir
    return out_dir


if __name__ == "__main__":
    main()
