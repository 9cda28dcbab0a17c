"""That somebody waits for an operator: what other commands say of it, in a line.

Apart from ``answering``, so that ``status`` need not load what an answer takes. Called by ``commands``.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from pitboss.model.approvals import Approval
from pitboss.surfaces import words
from pitboss.surfaces.client import Run

__all__ = ["command", "notice_lines", "waiting"]


def waiting(run: Run) -> list[Approval]:
    """What waits for an answer; nothing does in a run that has ended."""
    return [] if run.state == "complete" else [one.approval for one in run.asked.values() if one.ruling is None]


def notice_lines(run: Run, runs_dir: str | None = None) -> Iterator[str]:
    """One line that says that somebody waits, if somebody does; for the top of other commands."""
    if count := len(waiting(run)):
        verb = "waits" if count == 1 else "wait"
        yield f"{words.plural(count, 'approval')} {verb}: {command('list', run.path.name, runs_dir)}"


def command(verb: str, run_id: str, runs_dir: str | None, *more: str) -> str:
    """A command to type: ``list``, ``approve`` or ``reject`` for a run."""
    base = f" --run-dir {shlex.quote(runs_dir)}" if runs_dir else ""
    return " ".join([words.program(), "approvals", verb, words.short_id(run_id), *more]) + base
