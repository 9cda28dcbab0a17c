"""Shows the state to those who watch from this process, at a pace that costs little.

The loop calls it after every commit; whoever watches is shown a view, never the state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pitboss.core.state import RunState
from pitboss.core.views import Views
from pitboss.model.views import RunView

VIEW_EVERY_SECS = 0.1
"""A watcher is shown a new view at most this often; the last one always."""


class Viewer:
    """Shows views at a pace that costs little, and the last one in any case."""

    def __init__(self, on_open: Callable[[RunView], None], on_view: Callable[[RunView], None]) -> None:
        self._on_open = on_open
        self._on_view = on_view
        self._views = Views()
        self._state: RunState | None = None
        self._opened = False
        self._due: asyncio.TimerHandle | None = None

    def __call__(self, state: RunState) -> None:
        """Take the new state; it is shown soon."""
        self._state = state
        if not self._opened:
            self._opened = True
            self._on_open(self._views.see(state))
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(VIEW_EVERY_SECS, self.show)

    def show(self) -> None:
        """Show the state as it is now."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._state is not None:
            self._on_view(self._views.see(self._state))
