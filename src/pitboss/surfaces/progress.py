"""A run as it goes, shown by a thread of its own: a floor that redraws itself, or one line per finished actor.

The engine hands over its newest view and goes on; a slow terminal delays nobody but the thread here, and a view
that nobody had the time to draw is replaced by the next. Called by ``commands``, which is given to by ``compose``.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from typing import IO, TYPE_CHECKING, Protocol, cast

from pitboss.model.run import Phase
from pitboss.model.views import RunView
from pitboss.surfaces import render
from pitboss.surfaces.outlet import Outlet

if TYPE_CHECKING:
    from rich.live import Live

__all__ = ["Face", "Floor", "Lines", "Watcher", "may_redraw"]

REDRAW_SECS = 0.2
"""Least time between two pictures."""


class Face(Protocol):
    """One way to show a run; every method is called in the watcher's thread."""

    tick_secs: float | None
    """Show again after so long although nothing has changed; ``None``: never."""

    def show(self, view: RunView) -> None:
        """The run as it is now."""

    def say(self, text: str) -> None:
        """A line for the operator that is not part of the picture."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Watcher:
    """Keeps the newest view of a run and shows it through a face.

    ``see`` and ``say`` may be called from any thread and return at once.
    """

    def __init__(self, face: Face) -> None:
        self._face = face
        self._view: RunView | None = None
        self._said: deque[str] = deque()
        self._news = threading.Event()
        self._over = threading.Event()
        self._trouble: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="pitboss-progress", daemon=True)
        self._thread.start()

    def see(self, view: RunView) -> None:
        """Show this from now on."""
        self._view = view
        self._news.set()

    def say(self, text: str) -> None:
        """Have a line printed."""
        self._said.append(text)
        self._news.set()

    def close(self) -> Exception | None:
        """Show the last view and end; returns what broke the display, if anything did."""
        self._over.set()
        self._news.set()
        self._thread.join()
        return self._trouble

    def _run(self) -> None:
        try:
            with closing(self._face):
                while not self._over.is_set():
                    self._news.wait(self._face.tick_secs)
                    self._show_newest()
                    self._over.wait(REDRAW_SECS)
                self._show_newest()
        except Exception as error:  # noqa: BLE001 - a broken picture must not end a run; ``close`` hands it over
            self._trouble = error

    def _show_newest(self) -> None:
        self._news.clear()  # before looking, so that what comes meanwhile is not missed
        while self._said:
            self._face.say(self._said.popleft())
        if self._view is not None:
            self._face.show(self._view)


class Lines:
    """For pipes, files and terminals that cannot redraw: exactly one line per finished actor, on standard output."""

    tick_secs: float | None = None

    def __init__(self, out: Outlet, err: Outlet) -> None:
        self._out = out
        self._err = err
        self._printed: set[str] = set()

    def show(self, view: RunView) -> None:
        """Print those that have finished since the last time, in the order in which they ended."""
        new = [a for a in view.actors if a.phase is Phase.SETTLED and a.id not in self._printed]
        for actor in sorted(new, key=lambda actor: actor.ended_at):
            self._printed.add(actor.id)
            self._out.line(render.progress_line(actor))

    def say(self, text: str) -> None:
        """Warnings go to standard error."""
        self._err.line(text)

    def close(self) -> None:
        """Nothing was changed."""


class Floor:
    """For terminals: a picture that redraws itself in place, at most five times a second."""

    tick_secs: float | None = 1.0

    def __init__(self, out: Outlet, now: Callable[[], float] = time.time) -> None:
        from rich.console import Console
        from rich.live import Live

        # The outlet is no terminal's own stream, so that a closed one is survived; hence ``force_terminal``.
        self._console = Console(file=cast("IO[str]", out), force_terminal=True, highlight=False, soft_wrap=False)
        self._live: Live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._now = now

    def show(self, view: RunView) -> None:
        """Draw the run as it is."""
        from pitboss.surfaces.floor import floor

        if not self._live.is_started:
            self._live.start()
        width, height = self._console.size
        # One column and one line are left free: a terminal that wraps or scrolls at its edge tears the picture.
        picture = floor(view, width=max(20, width - 1), height=max(2, height - 1), now=self._now())
        self._live.update(picture, refresh=True)

    def say(self, text: str) -> None:
        """Above the picture."""
        self._console.print(text, markup=False, emoji=False)

    def close(self) -> None:
        """Take the picture away: the closing lines say the same, and stay."""
        self._live.stop()


def may_redraw(out: Outlet) -> bool:
    """True if ``out`` is a terminal that can move its cursor."""
    return out.isatty() and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}
