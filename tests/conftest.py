"""Fixtures that every test may use."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings that are never part of the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real recordings are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def shared_golden() -> Path:
    """Outputs of the original tokenizers that are not part of the repository."""
    folder = ROOT.parent / "shared" / "golden"
    if not folder.is_dir():
        pytest.skip(f"reference vectors are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def sample_recordings() -> Path:
    """The small recordings that ship with the project."""
    return ROOT / "sample_data" / "recordings"
