"""Every story has a pit of its own, and leaves no process behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.pit import Pit


@pytest.fixture
def pit(tmp_path: Path) -> Iterator[Pit]:
    """A repository, a runs base, a HOME and the fake agent."""
    pit = Pit(tmp_path)
    yield pit
    pit.close()
