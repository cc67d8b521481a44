"""What the training tests share."""

from pathlib import Path

import pytest

from diptych.training import checkpoints, curve
from tests.training.tiny import everything, finish


@pytest.fixture(scope="session", autouse=True)
def undrawn():
    """Drawing takes longer than these trainings; test_curve draws by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curve, "available", lambda: False)
        yield


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the tiny training ends with when nothing happens to it."""
    folder: Path = tmp_path_factory.mktemp("uninterrupted")
    finish(folder)
    return everything(folder)


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The points of saves passed during a test; whatever replaces `passing` is undone after it."""
    seen: list[str] = []
    monkeypatch.setattr(checkpoints, "passing", seen.append)
    return seen
