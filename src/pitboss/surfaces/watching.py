"""A run at work, as the terminal that started it sees it: opened, watched, closed.

Knows faces, not commands, and nothing of how a run is carried out: that is handed in. Called by ``commands`` for
``dispatch``, ``rehearse``, ``demo`` and ``resume``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import TypedDict

from pitboss.model.views import RunView
from pitboss.surfaces import client, render, words
from pitboss.surfaces.faults import is_quiet
from pitboss.surfaces.found import as_it_is
from pitboss.surfaces.outlet import Outlet, stderr, stdout
from pitboss.surfaces.progress import Floor, Lines, Watcher, may_redraw

__all__ = ["Eyes", "opening_line", "watch"]


class Eyes(TypedDict):
    """What a running pit tells the one who started it."""

    on_open: Callable[[RunView], None]
    on_view: Callable[[RunView], None]
    on_warning: Callable[[str], None]
    on_note: Callable[[str], None]


def watch(work: Callable[[Eyes], int]) -> tuple[int, RunView | None]:
    """Do a run's work under the operator's eyes; gives the exit code and the last view."""
    out, err = stdout(), stderr()
    redraw = may_redraw(out)
    watcher = Watcher(Floor(out) if redraw else Lines(out, err))
    newest: list[RunView] = []

    def see(view: RunView) -> None:
        newest[:] = [view]
        watcher.see(view)

    def note(text: str) -> None:
        if not is_quiet():
            watcher.say(text)

    def opened(view: RunView) -> None:
        if not is_quiet():
            watcher.say(opening_line(view))
        see(view)

    try:
        code = work({"on_open": opened, "on_view": see, "on_warning": watcher.say, "on_note": note})
    finally:
        trouble = watcher.close()
    if trouble is not None:
        err.line(f"pitboss: the display broke ({type(trouble).__name__}: {trouble}); the run did not suffer")
    if newest and not is_quiet():
        _close(newest[-1], out if redraw else err, rows=redraw)
    return code, next(iter(newest), None)


def opening_line(view: RunView) -> str:
    """Which run has begun, what was asked for, and where it is kept."""
    kind = "Rehearsal" if view.rehearsal else "Run"
    return f"{kind} {view.run_id}: {_asked_for(view)}, in {view.run_dir}"


def _asked_for(view: RunView) -> str:
    if not view.layers:
        return f"{words.plural(len(view.actors), 'task')}, at most {view.max_parallel} at once"
    lead, most = view.layers[0], view.layers[0].max_workers
    workers = "any number of workers" if most is None else f"at most {words.plural(most, 'worker')}"
    return f"lead {lead.lead} with {workers}"


def _close(view: RunView, out: Outlet, *, rows: bool) -> None:
    folder = os.path.dirname(view.run_dir)  # noqa: PTH120 - the view has text
    named = None if folder == str(client.base(None)) else folder
    width, left = shutil.get_terminal_size().columns, as_it_is(view)
    out.line("\n".join(render.closing_lines(left, width=width, rows=rows, runs_dir=named)))
