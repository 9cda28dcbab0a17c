"""Waiting until an order has come true, with a line on the terminal that says what is still to come.

Only watches: whoever stops waiting stops nothing. Called by ``commands``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pitboss.model.views import RunView
from pitboss.surfaces import words
from pitboss.surfaces.client import RunClient
from pitboss.surfaces.outlet import Outlet
from pitboss.surfaces.progress import may_redraw

__all__ = ["until"]

_LINE_START = "\r\x1b[2K"
"""To the beginning of the line, which is emptied."""


def until(path: Path, is_so: Callable[[RunView], bool], told: Callable[[RunView], str], err: Outlet | None) -> RunView:
    """Watch a run until something is so, the run has ended, or nobody is at work on it any more.

    Args:
        path: The run's folder.
        is_so: What is waited for.
        told: What is still to come, as a phrase.
        err: Where that is shown, if it is a terminal; ``None`` for nowhere.

    Returns:
        The run as it was seen last.

    Raises:
        WorldError: What is there cannot be read.
    """
    screen = err if err is not None and may_redraw(err) else None
    with RunClient(path) as client:
        try:
            for view in client.follow():
                if is_so(view):
                    return view
                if screen is not None:
                    screen.write(f"{_LINE_START}{words.clean(told(view))} (Ctrl-C ends only the waiting)")
        finally:
            if screen is not None:
                screen.write(_LINE_START)
        return client.snapshot()
