"""Effects become hands at work, each in a task of one group; whatever breaks in them comes home as a signal.

The hands are given by ``compose``; nothing here knows a driver. No exception of a hand reaches the loop, so one
agent cannot take its siblings down.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from pitboss.engine.clock import Clock
from pitboss.errors import OurFault
from pitboss.model.effects import Effect, Emit, Hand
from pitboss.model.signals import AnySignal, EffectFailed, Signal

EffectT = TypeVar("EffectT", bound=Effect)

Post = Callable[[Signal, int], None]
"""Puts a signal into the loop's inbox, with the sequence number of the fact that asked for it."""


def hand_for(kind: type[EffectT], do: Callable[[EffectT, Emit], Awaitable[None]]) -> Hand:
    """A hand of the one type there is, from a function that takes one kind of effect."""

    async def hand(effect: Effect, emit: Emit) -> None:
        if not isinstance(effect, kind):
            raise OurFault(f"a hand for {kind.__name__} was given {type(effect).__name__}")
        await do(effect, emit)

    return hand


class Performer:
    """Starts hands; lives inside the task group that waits for them."""

    def __init__(
        self,
        hands: Mapping[type[Effect], Hand],
        group: asyncio.TaskGroup,
        clock: Clock,
        post: Post,
        on_home: Callable[[], None],
    ) -> None:
        """Prepare to start hands.

        Args:
            hands: Who carries out which effect.
            group: Where they live.
            clock: What time it is.
            post: Takes what they say.
            on_home: Called whenever one is done.
        """
        self._hands = hands
        self._group = group
        self._clock = clock
        self._post = post
        self._on_home = on_home
        self._at_work: set[asyncio.Task[None]] = set()

    def start(self, effect: Effect, cause: int) -> None:
        """Have ``effect`` carried out; what comes of it is posted with ``cause``."""
        task = self._group.create_task(self._perform(effect, cause), name=type(effect).__name__)
        self._at_work.add(task)
        task.add_done_callback(self._came_home)

    @property
    def idle(self) -> bool:
        """True if no hand is at work."""
        return not self._at_work

    def _came_home(self, task: asyncio.Task[None]) -> None:
        self._at_work.discard(task)
        self._on_home()

    async def _perform(self, effect: Effect, cause: int) -> None:
        try:
            await self._hands[type(effect)](effect, lambda signal: self._post(signal, cause))
        except Exception as problem:  # noqa: BLE001 - the wall between a hand and the loop
            self._post(self._failure(effect, problem), cause)

    def _failure(self, effect: Effect, problem: Exception) -> AnySignal:
        session = getattr(effect, "session", effect)
        last = traceback.extract_tb(problem.__traceback__)[-1:]
        where = f" ({last[0].filename.rpartition('/')[2]}:{last[0].lineno})" if last else ""
        return EffectFailed(
            at=self._clock.now(),
            effect=type(effect).__name__,
            message=f"{type(problem).__name__}: {problem}{where}",
            actor=getattr(session, "actor", None),
            attempt=getattr(session, "attempt", None),
        )
