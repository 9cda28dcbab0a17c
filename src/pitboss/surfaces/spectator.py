"""Watching a run line by line: what happens is printed as it does, and a person is called when one is needed.

For terminals, tmux bars and CI logs alike; what there is to say is ``changes``'. Called by ``commands``.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from pitboss.core.attention import Need
from pitboss.model.views import RunView
from pitboss.surfaces import bells, changes, notice, words
from pitboss.surfaces.client import RunClient
from pitboss.surfaces.outlet import Outlet

__all__ = ["Call", "glance", "watch"]

PATIENCE_SECS = 10.0
"""So long a run that is cut off under our eyes may take to be resumed, and be watched on."""

LOOK_AGAIN_SECS = 30.0
"""How often a run is looked at in which nothing happens: disks fill, guardians die, and time runs out all the same."""


class Call:
    """How a person is called: not at all, unless asked for."""

    def __init__(
        self, out: Outlet, *, bell: bool = False, notify: bool = False, environ: Mapping[str, str] = os.environ
    ) -> None:
        """Prepare to call.

        Args:
            out: The terminal; where it is none, nobody is called: the bytes would only spoil a file.
            bell: Ring its bell.
            notify: Have it notify.
            environ: The environment, by which the terminal is known.
        """
        self._out = out
        self._bell = bell
        self._notify = notify
        self._environ = environ

    def about(self, needs: Sequence[Need], view: RunView, now: float) -> None:
        """Say that these are new; once for all of them."""
        if not needs or not self._out.isatty():
            return
        more = f", and {len(needs) - 1} more" if len(needs) > 1 else ""
        text = notice.need_line(needs[0], view, now=now) + more
        said = bells.notification(words.name_of(view), text, self._environ) if self._notify else ""
        self._out.write(said + bells.BELL * self._bell)


def watch(
    seen: RunClient,
    out: Outlet,
    call: Call,
    *,
    as_json: bool = False,
    runs_dir: str | None = None,
    clock: Callable[[], float] = time.time,
    again_secs: float = LOOK_AGAIN_SECS,
) -> int:
    """Print what happens to a run until it has ended, or nobody is at work on it, or nobody reads.

    Args:
        seen: The run.
        out: Where the lines go.
        call: How a person is called.
        as_json: One JSON object per change.
        runs_dir: The runs base to name in commands; ``None`` for the usual one.
        clock: What time it is.
        again_secs: How often to look at what needs a person if nothing happens.

    Returns:
        0 if the run ended well, or nobody reads any more; 1 if it did not end well, or was cut off.

    Raises:
        WorldError: What is there of the run cannot be read.
    """
    last: RunView | None = None
    needs: Sequence[Need] = ()
    # Asked before the first view comes: one who ends right behind a view has not cut off what that shows.
    live = seen.is_at_work()
    for view in _followed(seen, again_secs):
        now = clock()
        present = notice.needs(view, "running" if live or last else seen.state_of(view), now)
        told: Iterable[changes.Change] = changes.tune_in(view, present, now, runs_dir)
        if last is not None:
            told = changes.changes(last, view, needs, present, now, runs_dir)
        for change in told:
            out.line(_json(change) if as_json else changes.change_line(change))
        if out.gone:
            return 0
        call.about(changes.newly_needed(needs, present), view, now)
        last, needs = view, present
    if last is None:
        return 1
    is_told = last.ended_at or any(need.kind == "cut_off" for need in needs)
    if not is_told and seen.state_of(last) in {"interrupted", "unbegun"}:
        lost = changes.cut_off(last, clock(), runs_dir)
        out.line(_json(lost) if as_json else changes.change_line(lost))
    return 0 if _went_well(seen, last) else 1


def _followed(seen: RunClient, again_secs: float) -> Iterator[RunView]:
    """Each view as it comes, and the last one again whenever none has come for a while."""
    came = queue.SimpleQueue[RunView | Exception | None]()

    def follow() -> None:
        try:
            for view in seen.follow(patience_secs=PATIENCE_SECS):
                came.put(view)
            came.put(None)
        except Exception as problem:  # noqa: BLE001 - raised below, where somebody hears it
            came.put(problem)

    threading.Thread(target=follow, daemon=True).start()
    last: RunView | None = None
    while True:
        try:
            news = came.get(timeout=again_secs if last else None)
        except queue.Empty:
            news = last
        if isinstance(news, Exception):
            raise news
        if news is None:
            return
        last = news
        yield news


def glance(
    seen: RunClient, *, as_json: bool = False, runs_dir: str | None = None, clock: Callable[[], float] = time.time
) -> str:
    """How a run stands, in one line.

    Raises:
        WorldError: What is there of the run cannot be read.
    """
    run, now = seen.look(), clock()
    needs = notice.needs(run.view, run.state, now)
    if not as_json:
        return changes.summary_line(run.view, needs, now)
    view = run.view
    shape = {
        "run_id": view.run_id,
        "name": view.name,
        "state": run.state,
        "actors": len(view.actors),
        "succeeded": view.succeeded,
        "failed": view.failed,
        "spent_usd": view.spent_usd,
        "budget_usd": view.budget_usd,
        "attention": [notice.need_shape(need, view, runs_dir) for need in needs],
    }
    return msgspec.json.encode(shape).decode()


def _json(change: changes.Change) -> str:
    return msgspec.json.encode(change).decode()


def _went_well(seen: RunClient, view: RunView) -> bool:
    if view.exit_code is not None:
        return view.exit_code == 0
    # Of a run of 0.9 no exit code was kept.
    return seen.state_of(view) == "complete" and not view.failed and not view.was_interrupted
