"""The one loop that owns the state: signals in, facts to the journal, then effects to the hands.

Nothing is done that was not first written; nothing is written that was not first decided. Everything that waits
in the inbox is decided together and synced once. The loop never polls: it sleeps until a signal arrives or
``next_deadline`` falls due.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from pitboss.core.decide import decide
from pitboss.core.state import RunState
from pitboss.core.supervision import next_deadline
from pitboss.engine.clock import Clock
from pitboss.engine.perform import Performer
from pitboss.model.effects import Effect, Hand
from pitboss.model.facts import AnyFact
from pitboss.model.signals import AnySignal, Signal, Tick


class Journal(Protocol):
    """What the loop needs of a journal."""

    def append(self, fact: AnyFact, *, cause: int, by: str) -> int:
        """Take a fact down and give it its sequence number."""

    async def sync(self) -> None:
        """Return once everything appended so far is on disk."""


Watcher = Callable[[RunState], None]
"""Told of each new state after it is on disk; must return at once."""


class Arrived(NamedTuple):
    """A signal, and the sequence number of the fact that asked for it (0: nobody did)."""

    signal: AnySignal
    cause: int


class Inbox:
    """Where signals wait. Posting never blocks and is safe from callbacks of the event loop."""

    def __init__(self) -> None:
        self._waiting: list[Arrived] = []
        self._bell = asyncio.Event()

    def post(self, signal: Signal, cause: int = 0) -> None:
        """Add a signal; the loop takes it up in its next batch."""
        self._waiting.append(Arrived(signal, cause))  # type: ignore[arg-type]  # every concrete Signal is in AnySignal
        self._bell.set()

    async def take(self, patience_secs: float | None) -> list[Arrived]:
        """Everything that waits; an empty list if nothing came within ``patience_secs``."""
        if not self._waiting:
            self._bell.clear()
            try:
                async with asyncio.timeout(patience_secs):
                    await self._bell.wait()
            except TimeoutError:
                return []
        return self.take_nowait()

    def take_nowait(self) -> list[Arrived]:
        """Everything that waits now."""
        batch, self._waiting = self._waiting, []
        return batch


class Loop:
    """A run in progress."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        hands: Mapping[type[Effect], Hand],
        watchers: Sequence[Watcher] = (),
        state: RunState | None = None,
    ) -> None:
        """Prepare to run.

        Args:
            journal: Where facts go.
            clock: What time it is.
            hands: Who carries out which effect.
            watchers: Told of each new state.
            state: What the journal has led to already, for a run that is taken over.
        """
        self.inbox = Inbox()
        self.state = state or RunState()
        self._journal = journal
        self._clock = clock
        self._hands = hands
        self._watchers = watchers

    async def run(self, first: AnySignal) -> RunState:
        """Run until the run has ended and every hand has come home.

        Raises:
            WorldError: the journal cannot be written; every hand has been cancelled and has cleaned up after itself.
        """
        self.inbox.post(first)
        async with asyncio.TaskGroup() as group:
            performer = Performer(self._hands, group, self._clock, self.inbox.post)
            opening = True  # a run that is taken over may have had its end already
            while opening or self.state.exit_code is None:
                batch = await self.inbox.take(self._patience())
                due = next_deadline(self.state)
                if not batch or (due is not None and due <= self._clock.now()):
                    batch.append(Arrived(Tick(at=self._clock.now()), 0))
                await self._turn(batch, performer)
                opening = False
            await performer.finish()
        await self._turn(self.inbox.take_nowait(), performer)  # what the last hands had to say
        return self.state

    def _patience(self) -> float | None:
        """How long there is nothing to do unless a signal arrives; ``None`` for ever."""
        due = next_deadline(self.state)
        return None if due is None else max(0.0, due - self._clock.now())

    async def _turn(self, batch: list[Arrived], performer: Performer) -> None:
        todo: list[tuple[Effect, int]] = []
        written = False
        for signal, cause in batch:
            outcome = decide(self.state, signal)
            seqs = self._write(outcome.facts, cause, type(signal).__name__)
            written = written or bool(seqs)
            self.state = outcome.state
            todo += [(effect, _asked_by(effect, outcome.facts, seqs) or cause) for effect in outcome.effects]
        if written:
            await self._journal.sync()
            for watcher in self._watchers:
                watcher(self.state)
        for effect, cause in todo:
            performer.start(effect, cause)

    def _write(self, facts: Sequence[AnyFact], cause: int, by: str) -> list[int]:
        """The first fact is caused by what the signal was caused by; the others by the first."""
        seqs: list[int] = []
        for fact in facts:
            seqs.append(self._journal.append(fact, cause=seqs[0] if seqs else cause, by=by))
        return seqs


def _asked_by(effect: Effect, facts: Sequence[AnyFact], seqs: Sequence[int]) -> int:
    """The sequence number of the last fact about the same actor, else of the last one; 0 if there is none."""
    actor = getattr(getattr(effect, "session", effect), "actor", None)
    about = [seq for fact, seq in zip(facts, seqs, strict=True) if getattr(fact, "actor", None) == actor]
    return (about or list(seqs) or [0])[-1]
