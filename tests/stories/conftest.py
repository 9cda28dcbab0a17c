"""Every story has a pit of its own, and leaves no process behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.old_run import Legacy
from support.pit import Pit


@pytest.fixture
def pit(tmp_path: Path) -> Iterator[Pit]:
    """A repository, a runs base, a HOME and the fake agent."""
    pit = Pit(tmp_path)
    yield pit
    pit.close()


@pytest.fixture
def old(pit: Pit) -> Legacy:
    """A run of Pitboss 0.9 that is to be written into the pit."""
    return Legacy(pit)
