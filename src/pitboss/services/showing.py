"""Views for whoever has subscribed to a run: made once for all, at a pace that costs little, with a short memory.

A client is not sent a queue of changes but the difference between what it was shown and how things stand, so one that
reads slowly is told less often, and one that comes back soon is told only what it has missed. Called by ``control``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pitboss.core.state import RunState
from pitboss.core.views import Views
from pitboss.engine.ids import mint_session_id
from pitboss.model.views import RunView
from pitboss.wire.views import encode_delta, encode_snapshot

__all__ = ["SHOW_EVERY_SECS", "Showing"]

SHOW_EVERY_SECS = 0.1
"""A new view is made at most this often."""

_REMEMBERED = 64
"""So many views back a client may come again and be told only what has changed."""


class Showing:
    """The run as it is shown.

    Attributes:
        epoch: Names this dispatcher: cursors of another one mean nothing here.
        latest: The newest view; ``None`` while nobody has asked for one.
    """

    def __init__(self, on_new: Callable[[], None]) -> None:
        """Prepare to show.

        Args:
            on_new: Called when there is a new view.
        """
        self.epoch = mint_session_id()
        self.latest: RunView | None = None
        self._on_new = on_new
        self._state: RunState | None = None
        self._cursor = 0
        self._views = Views()
        self._past: dict[int, RunView] = {}
        self._deltas: dict[tuple[int, int], bytes | None] = {}
        self._due: asyncio.TimerHandle | None = None
        self._made_at = 0.0

    def see(self, state: RunState, cursor: int) -> None:
        """Take the new state, with the number of the last fact in it; if somebody watches, it is shown soon."""
        self._state, self._cursor = state, cursor
        if self.latest is not None and self._due is None:
            loop = asyncio.get_running_loop()
            wait = self._made_at + SHOW_EVERY_SECS - loop.time()
            self._due = loop.call_later(max(0.0, wait), self._make_due)

    def now(self) -> RunView:
        """The run as it is at this moment."""
        if self._state is not None and not self._is_shown:
            self._make(self._state)
        assert self.latest is not None, "nobody is served before there is a state"  # noqa: S101 - see Control._known
        return self.latest

    def known(self, cursor: int | None, epoch: str) -> RunView | None:
        """What a client was shown that comes again, if that is remembered."""
        return None if cursor is None or epoch != self.epoch else self._past.get(cursor)

    def since(self, old: RunView | None, new: RunView) -> bytes | None:
        """What a client is to be sent that was shown ``old``; ``None`` if nothing has changed."""
        if old is None:
            return encode_snapshot(new, self.epoch)
        pair = (old.cursor, new.cursor)
        if pair not in self._deltas:
            while len(self._deltas) >= _REMEMBERED:
                del self._deltas[next(iter(self._deltas))]
            self._deltas[pair] = encode_delta(old, new)
        return self._deltas[pair]

    def rest(self) -> None:
        """Nobody watches any more: make no views."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self.latest = None

    @property
    def _is_shown(self) -> bool:
        return self.latest is not None and self.latest.cursor == self._cursor

    def _make_due(self) -> None:
        self._due = None
        if self._state is not None and not self._is_shown:
            self._make(self._state)
            self._on_new()

    def _make(self, state: RunState) -> None:
        self.latest = self._views.see(state, self._cursor)
        self._made_at = asyncio.get_running_loop().time()
        self._past[self._cursor] = self.latest
        while len(self._past) > _REMEMBERED:
            del self._past[next(iter(self._past))]
