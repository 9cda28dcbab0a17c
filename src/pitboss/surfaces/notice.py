"""What needs a person, in words: a block for the top of other commands, and what helps as it is typed.

Which needs there are is ``core.attention``'s. Apart from ``answering``, so that ``status`` need not load what an answer
takes. Called by ``commands``, ``client`` and ``changes``.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from itertools import groupby

import msgspec

from pitboss.core.attention import Need, attention
from pitboss.journal.discovery import State
from pitboss.model.approvals import Approval
from pitboss.model.views import RunView
from pitboss.surfaces import words
from pitboss.surfaces.found import Run

__all__ = [
    "command",
    "free_bytes",
    "helps",
    "need_line",
    "need_shape",
    "needs",
    "notice_lines",
    "typed",
    "waiting",
]

MOST_OF_A_KIND = 5
"""So many needs of one kind are told one by one at the top of a command; the table below it has them all."""


def waiting(run: Run) -> list[Approval]:
    """What waits for an answer; nothing does in a run that has ended."""
    return [] if run.state == "complete" else [one.approval for one in run.asked.values() if one.ruling is None]


def needs(view: RunView, state: State, now: float) -> tuple[Need, ...]:
    """What of a run needs a person, most urgent first; of one of Pitboss 0.9, what its files tell."""
    if state == "unbegun":
        text = "The run was cut off before it began anything: it cannot go on, dispatch it again"
        return (Need(kind="cut_off", text=text, command=("dispatch", view.manifest_path or "MANIFEST")),)
    if state not in {"running", "interrupted", "complete"}:
        return ()  # of 0.9, and nobody knows how it stands
    live = state == "running"
    return attention(view, now, free_bytes(view) if live else None, live=live)


def free_bytes(view: RunView) -> int | None:
    """Room for us on the disk that has the run; ``None`` if that cannot be told."""
    try:
        disk = os.statvfs(view.run_dir)
    except OSError:  # it is gone, or out of reach from here: not what is being asked about
        return None
    return disk.f_bavail * disk.f_frsize


def notice_lines(found: Sequence[Need], view: RunView, *, now: float, runs_dir: str | None = None) -> Iterator[str]:
    """Everything that needs a person, most urgent first: what it is, since when, and what helps.

    That the run was cut off is left to the table below, which says so in its second line.
    """
    told = [need for need in found if need.kind != "cut_off"]
    for kind, group in groupby(told, key=lambda need: need.kind):
        some = list(group)
        indent = "! "
        if kind == "approval":
            verb, indent = "waits" if len(some) == 1 else "wait", "  "
            yield f"{words.plural(len(some), 'approval')} {verb}: {command('list', view.run_id, runs_dir)}"
        for need in some[:MOST_OF_A_KIND]:
            help_ = helps(need, view, runs_dir) if kind != "approval" else ""
            yield indent + ": ".join(filter(None, [need_line(need, view, now=now), help_]))
        if more := len(some) - MOST_OF_A_KIND:
            yield from [f"{indent}and {more} more like that"] * (more > 0)


def need_line(need: Need, view: RunView, *, now: float) -> str:
    """A need in one line that is safe to print: what it is, for how long, until when, and who stands behind it."""
    details = [words.age(max(0.0, now - need.since))] if need.since else []
    if need.until is not None:
        what = " before it times out" if need.until_by == "timeout" else ""
        details.append(f"{words.age(need.until - now)} left{what}" if need.until > now else "its time is over")
    names = view.names
    if others := [names.get(one, one) for one in need.behind if one != need.actor]:
        details.append(f"behind it: {', '.join(others)}")
    return words.clean(words.renamed(need.text, names) + (f" ({'; '.join(details)})" if details else ""))


def need_shape(need: Need, view: RunView, runs_dir: str | None = None) -> dict[str, object]:
    """A need as JSON has it: times in seconds since the epoch, like everywhere in a view."""
    plain: dict[str, object] = msgspec.to_builtins(need)
    return plain | {"command": helps(need, view, runs_dir) or None}


def helps(need: Need, view: RunView, runs_dir: str | None = None) -> str:
    """What helps with a need, as it is typed; empty if no command does."""
    if not need.command:
        return ""
    parts = [words.short_id(part) if part == view.run_id else part for part in need.command]
    return f"{words.program()} {shlex.join(parts)}{words.at(runs_dir)}"


def typed(view: RunView, runs_dir: str | None, *parts: str) -> str:
    """A command about a run as it is typed: its verb, the run, the rest."""
    verb, *rest = parts
    return f"{words.program()} {shlex.join([verb, words.short_id(view.run_id), *rest])}{words.at(runs_dir)}"


def command(verb: str, run_id: str, runs_dir: str | None, *more: str) -> str:
    """A command to type: ``list``, ``approve`` or ``reject`` for a run."""
    return " ".join([words.program(), "approvals", verb, words.short_id(run_id), *more]) + words.at(runs_dir)
