"""The one loop that owns the state: signals in, facts to the journal, then effects to the hands.

Nothing is done that was not first written; nothing is written that was not first decided. Everything that waits
in the inbox is decided together and synced once. The loop never polls: it sleeps until a signal arrives or
``next_deadline`` falls due.

When the journal cannot be written, the facts are kept and tried again, and the effects behind them wait: the run
drains. Only what ends a process is still done; should it be lost, a resume does no more than end it again. The run
goes on to its end when the disk takes facts again, and gives up when nothing is at work any more.
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
from pitboss.errors import WorldError
from pitboss.model.effects import Effect, Hand, Notify, Press
from pitboss.model.facts import AnyFact
from pitboss.model.notice_facts import NoticeRaised
from pitboss.model.signals import AnySignal, JournalRefused, Signal, Tick

RETRY_SECS = 2.0
"""How long after a write that failed it is tried again, if no signal comes before that."""


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

    def ring(self) -> None:
        """Wake whoever waits, with nothing."""
        self._bell.set()

    @property
    def empty(self) -> bool:
        """True if nothing waits."""
        return not self._waiting

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
        self._held: list[tuple[Effect, int]] = []
        """What is to be done once the facts behind it are written."""
        self._refused: WorldError | None = None
        """Why the journal cannot be written, while it cannot."""

    async def run(self, first: AnySignal) -> RunState:
        """Run until the run has ended and every hand has come home.

        Raises:
            WorldError: the journal cannot be written, and nothing is at work any more.
        """
        self.inbox.post(first)
        async with asyncio.TaskGroup() as group:
            performer = Performer(self._hands, group, self._clock, self.inbox.post, self._hand_home)
            opening = True  # a run that is taken over may have had its end already
            while opening or self._goes_on(performer):
                opening = False
                await self._turn(await self._next_batch(performer), performer)
        if self._refused:
            raise self._refused
        return self.state

    def _hand_home(self) -> None:
        if self.state.exit_code is not None:  # before that, only what a hand says is worth waking up for
            self.inbox.ring()

    def _goes_on(self, performer: Performer) -> bool:
        quiet = performer.idle and self.inbox.empty
        return not quiet or (self.state.exit_code is None and not self._refused)

    async def _next_batch(self, performer: Performer) -> list[Arrived]:
        if self.state.exit_code is not None and not self._refused:
            # What the last hands have to say, and an operator who will not wait for them, is all that can still come.
            return await self.inbox.take(None) if not performer.idle else self.inbox.take_nowait()
        batch = await self.inbox.take(self._patience())
        due = next_deadline(self.state)
        if not batch or (due is not None and due <= self._clock.now()):
            batch.append(Arrived(Tick(at=self._clock.now()), 0))
        return batch

    def _patience(self) -> float | None:
        """How long there is nothing to do unless a signal arrives; ``None`` for ever."""
        due = next_deadline(self.state)
        waits = [max(0.0, due - self._clock.now())] if due is not None else []
        return min([*waits, RETRY_SECS] if self._refused else waits, default=None)

    async def _turn(self, batch: list[Arrived], performer: Performer) -> None:
        written = False
        for signal, cause in batch:
            outcome = decide(self.state, signal)
            seqs = self._write(outcome.facts, cause, type(signal).__name__)
            written = written or bool(seqs)
            self.state = outcome.state
            self._held += [(effect, _asked_by(effect, outcome.facts, seqs) or cause) for effect in outcome.effects]
        if written or self._refused:
            await self._commit()
            for watcher in self._watchers:
                watcher(self.state)
        held, self._held = self._held, []
        for effect, cause in held:
            if self._refused and not isinstance(effect, Press):
                self._held.append((effect, cause))
            else:
                performer.start(effect, cause)

    async def _commit(self) -> None:
        """Have the journal written; the first time that fails is news for the run itself."""
        try:
            await self._journal.sync()
        except WorldError as problem:
            if self._refused is None:
                self.inbox.post(JournalRefused(at=self._clock.now(), message=str(problem)))
            self._refused = problem
        else:
            self._refused = None

    def _write(self, facts: Sequence[AnyFact], cause: int, by: str) -> list[int]:
        """The first fact is caused by what the signal was caused by; the others by the first."""
        seqs: list[int] = []
        for fact in facts:
            seqs.append(self._journal.append(fact, cause=seqs[0] if seqs else cause, by=by))
        return seqs


def _asked_by(effect: Effect, facts: Sequence[AnyFact], seqs: Sequence[int]) -> int:
    """The sequence number of the last fact about the same actor, else of the last one; 0 if there is none.

    What is to be told brings nothing about but the telling, and that is brought about by nothing else.
    """
    numbered = list(zip(facts, seqs, strict=True))
    if isinstance(effect, Notify):
        return next(
            (seq for fact, seq in numbered if isinstance(fact, NoticeRaised) and fact.notice == effect.notice), 0
        )
    others = [(fact, seq) for fact, seq in numbered if not isinstance(fact, NoticeRaised)] or numbered
    actor = getattr(getattr(effect, "session", effect), "actor", None)
    about = [seq for fact, seq in others if getattr(fact, "actor", None) == actor]
    return (about or [seq for _, seq in others] or [0])[-1]
