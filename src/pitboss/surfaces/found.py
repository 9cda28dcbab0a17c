"""A run as it was found on disk, and its journal read as far as it goes: what ``client`` and ``following`` share.

Nothing is written here. Free of asyncio, the engine and the manifest, so that ``status`` starts fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from pitboss.core.state import Asked, RunState, evolve
from pitboss.core.views import Views
from pitboss.journal.discovery import State
from pitboss.journal.reader import Replay
from pitboss.journal.rundir import RunDir
from pitboss.model.records import TaskRecord
from pitboss.model.views import RunView

__all__ = ["Journal", "Run", "as_it_is"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as it was found."""

    path: Path
    state: State
    view: RunView
    records: tuple[TaskRecord, ...]
    """Of the settled actors, in the order they settled."""
    damaged: int = 0
    """Records of a run of 0.9 that could not be read."""
    asked: Mapping[str, Asked] = field(default_factory=dict)
    """Every request for approval, by its id, in the order they were asked."""


def as_it_is(view: RunView) -> RunView:
    """A view in which nobody's worktree is named that is gone: of one deleted by hand no fact tells."""
    gone = {actor.id for actor in view.actors if actor.worktree and not Path(actor.worktree).is_dir()}
    if not gone:
        return view
    actors = tuple(replace(actor, worktree=None) if actor.id in gone else actor for actor in view.actors)
    return replace(view, actors=actors)


class Journal:
    """The journal of a run and what it leads to: read to its present end, and later on from there."""

    def __init__(self, run: RunDir) -> None:
        self.state = RunState()
        self.cursor = 0
        """The number of the last fact that was read."""
        self._path = run.journal
        self._replay = Replay(run.journal)
        self._views = Views()

    @property
    def is_open(self) -> bool:
        """The first fact is there: before it there is nothing to show."""
        return self.state.run is not None

    def read_on(self) -> bool:
        """Take in what was added since the last call; false if nothing was.

        Raises:
            WorldError: The journal is damaged, or has become shorter than what was read of it.
        """
        if not self._path.exists():
            return False
        before = self.cursor
        for entry in self._replay.more():
            self.state = evolve(self.state, entry.fact)
            self.cursor = entry.seq
        return self.cursor != before

    def view(self) -> RunView:
        """The run as far as it was read; what has not changed since the last call is the same object."""
        return self._views.see(self.state, self.cursor)
