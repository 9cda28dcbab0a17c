"""What has happened in a run that its operators are told of: sub-leads that came and went, failures.

Found by comparing states, and kept in order for those who join later: they are told it all. What is kept is bounded by
the run itself, a line or two an actor. Called by ``control``.
"""

from __future__ import annotations

from pitboss.core import tree
from pitboss.core.state import Actor, RunState
from pitboss.model.run import ActorId, Failure, Status
from pitboss.wire import control_events as events

__all__ = ["Happenings"]

_FAILURES = frozenset({Status.FAILED, Status.SPAWN_FAILED})
"""What nobody has ordered, and no limit has brought about."""


class Happenings:
    """Everything that was worth an event so far.

    Attributes:
        lines: The events, encoded, in the order they came about.
    """

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self._seen: dict[ActorId, Actor] = {}

    def take(self, state: RunState) -> None:
        """Take in the state as it is now; costs next to nothing for actors that are as they were."""
        for name, actor in state.actors.items():
            before = self._seen.get(name)
            if before is actor:
                continue
            self._seen[name] = actor
            if before is None and actor.role == "sublead":
                self._spawned(actor)
            if actor.status is not None and (before is None or before.status is None):
                self._settled(state, actor, actor.status)

    def _spawned(self, actor: Actor) -> None:
        own = actor.envelope
        self.lines.append(
            events.sublead_spawned(actor.spec.id, own.budget_usd, own.max_workers, read_down=own.read_down)
        )

    def _settled(self, state: RunState, actor: Actor, status: Status) -> None:
        name = actor.spec.id
        if status in _FAILURES:
            failure = actor.failure or Failure(kind="unknown")
            self.lines.append(events.worker_failed(name, actor.parent, tree.path_of(state, actor), failure))
        if actor.role == "sublead":
            self.lines.append(events.sublead_terminated(name, tree.sublead_ending(state, actor)))
