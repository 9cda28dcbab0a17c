"""Views to plain text: the tables of ``status`` and ``list``, the progress lines, and the end of a run.

Plain strings in, plain strings out; no terminal, no colour, no files. Column widths without a terminal are those
of the first version, because scripts cut by them; on a terminal they shrink to what there is.
Called by ``commands``, ``progress`` and ``demo``.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len

from pitboss.model.run import ActorId, Phase
from pitboss.model.views import ActorView, LayerView, LeaseView, RunView
from pitboss.surfaces import words

if TYPE_CHECKING:
    from pitboss.journal.discovery import RunEntry

__all__ = [
    "Column",
    "Table",
    "closing_lines",
    "layer_lines",
    "list_lines",
    "place",
    "progress_line",
    "reason",
    "state_line",
    "status_lines",
]


class Column(NamedTuple):
    """One column of a table."""

    title: str
    width: int
    right: bool = False


class Table(NamedTuple):
    """Columns that keep their widths."""

    columns: tuple[Column, ...]

    @property
    def width(self) -> int:
        """Cells of a whole line."""
        return sum(column.width for column in self.columns) + len(self.columns) - 1

    def head(self) -> str:
        """The titles."""
        return self.row(*(column.title for column in self.columns))

    def rule(self, mark: str = "-") -> str:
        """A line below or above the rows."""
        return mark * self.width

    def row(self, *cells: str) -> str:
        """One line; what does not fit is cut with ``…``."""
        parts = (
            words.fit(words.clean(cell), column.width, right=column.right)
            for cell, column in zip(cells, self.columns, strict=True)
        )
        return " ".join(parts).rstrip()


# --- progress -------------------------------------------------------------------------------------------------------

_PROGRESS = Table((Column("", 20), Column("", 12), Column("", 8, True), Column("", 22), Column("", 4, True)))


def progress_line(actor: ActorView) -> str:
    """The one line that a finished actor gets where no terminal is."""
    took = words.duration(words.elapsed(actor.started_at, actor.ended_at, actor.ended_at))
    name = words.label(actor).replace("SpawnFailed", "SpawnFail")  # twelve cells, as ever
    return _PROGRESS.row(actor.name or actor.id, name, took, words.tokens(actor.usage), _exit(actor))


def _exit(actor: ActorView) -> str:
    return words.NOTHING if actor.exit_code is None else str(actor.exit_code)


# --- status ---------------------------------------------------------------------------------------------------------


def status_lines(
    view: RunView, *, state: str, now: float, width: int | None = None, runs_dir: str | None = None
) -> Iterator[str]:
    """The table of ``status``: every actor, also those that wait or run.

    Args:
        view: The run.
        state: ``running``, ``complete``, ``interrupted``, ``unbegun``, ``aborted`` or ``stale``.
        now: The time, for what still runs.
        width: Cells of the terminal, or ``None`` where there is none.
        runs_dir: As for ``closing_lines``.
    """
    over = state != "running"
    yield f"Run: {words.clean(view.run_id)}"
    yield state_line(view, state=state, now=now)
    if not view.actors:
        yield "(no tasks recorded yet)"
        return
    table = _status_table(view, width)
    yield table.head()
    yield table.rule()
    for actor in view.actors:
        # How long an interrupted actor went on is not known; the time since would be a lie.
        until = words.elapsed(actor.started_at, actor.ended_at, actor.started_at if over else now)
        yield table.row(
            _indented(actor),
            words.label(actor, over=over),
            words.duration(until),
            (words.moment if width is None else words.clock)(actor.started_at),
            _exit(actor),
            words.money(actor.cost_usd),
        )
    yield table.rule()
    yield _totals(view, over=over)
    yield from layer_lines(view, width=width, over=over)
    yield from _whereabouts(view, over=over)
    if state == "interrupted" and not view.rehearsal:
        yield f"Go on with it: {words.program()} resume {words.short_id(view.run_id)}{words.at(runs_dir)}"
    if state == "unbegun":
        yield f"There is nothing to go on with. Dispatch it again: {words.again(view)}{words.at(runs_dir)}"


def _indented(actor: ActorView) -> str:
    return "  " * actor.depth + words.full_name(actor)


def _status_table(view: RunView, width: int | None) -> Table:
    longest = max(cell_len(_indented(actor)) for actor in view.actors)
    if width is None:
        sizes = (min(max(longest, 30), 60), 16, 10, 24, 6, 10)
    else:
        sizes = (0, 13, 9, 8, 5, 8)
        sizes = (min(max(longest, 8), max(8, width - sum(sizes) - 5)), *sizes[1:])
    titles = ("TASK_ID", "STATUS", "DURATION", "STARTED", "EXIT", "COST")
    rights = (False, False, True, False, True, True)
    return Table(tuple(Column(*column) for column in zip(titles, sizes, rights, strict=True)))


def state_line(view: RunView, *, state: str, now: float) -> str:
    """How the run stands, in one line."""
    parts = [f"State: {_STATES.get(state, state)}"]
    if view.was_interrupted:
        parts.append("cut short by an operator")
    if view.rehearsal:
        parts.append("REHEARSAL (a scripted model answered)")
    if view.name:
        parts.append(words.clean(view.name))
    if view.started_at:
        parts.append(f"started {words.moment(view.started_at)} UTC")
    if view.ended_at or state == "running":
        parts.append(f"took {words.duration(view.ended_at - view.started_at)}" if view.ended_at else _since(view, now))
    if state == "running" and (held := view.throttle or (view.draining and f"draining: {view.draining}")):
        parts.append(words.clean(held))
    return " · ".join(parts)


_STATES = {
    "complete": "complete",
    "running": "running",
    "interrupted": "interrupted (its dispatcher is gone and did not finish it)",
    "unbegun": "never began (it was cut off before anything was started)",
    "aborted": "aborted",
    "stale": "stale (nothing was heard of it for hours)",
}


def _since(view: RunView, now: float) -> str:
    return f"running for {words.duration(now - view.started_at)}"


def _totals(view: RunView, *, over: bool) -> str:
    queued = view.count(Phase.QUEUED)
    unfinished = len(view.actors) - queued - view.count(Phase.SETTLED)
    parts = [f"Total: {len(view.actors)}", f"Failed: {view.failed}"]
    if forgiven := view.count(Phase.SETTLED) - view.succeeded - view.failed:
        parts.append(f"Cancelled: {forgiven}")
    if unfinished:
        parts.append(f"{'Interrupted' if over else 'Running'}: {unfinished}")
    if queued:
        parts.append(f"{'NotStarted' if over else 'Queued'}: {queued}")
    if any(actor.cost_usd is not None for actor in view.actors):
        parts.append(f"Cost: {words.spent(view)}")
    return "  ".join(parts)


# --- layers ---------------------------------------------------------------------------------------------------------


def layer_lines(view: RunView, *, width: int | None = None, over: bool = True) -> Iterator[str]:
    """What each layer of a tree has spent and may still use, and who holds which lease; nothing for a flat run."""
    if not view.layers:
        return
    depths = {actor.id: actor.depth for actor in view.actors}
    named = [("  " * depths[layer.lead] + view.names[layer.lead], layer) for layer in view.layers]
    longest = max(cell_len(name) for name, _ in named)
    size = min(max(longest, 8), 30 if width is None else max(8, width - 51))
    titles = (("LAYER", size), ("SPENT", 9), ("RESERVED", 9), ("LEFT", 9), ("WORKERS", 12), ("KEYS", 6))
    table = Table(tuple(Column(title, cells, right=n > 0) for n, (title, cells) in enumerate(titles)))
    yield table.head()
    for name, layer in named:
        yield table.row(name, *_means(layer, view.names, over=over)) + _plan(layer)
    leases = [*view.run_leases, *(lease for layer in view.layers for lease in layer.leases)]
    if leases and not over:
        yield "Leases:"
        yield from (f"  {_lease(lease, view)}" for lease in leases)


def _means(layer: LayerView, names: Mapping[ActorId, str], *, over: bool) -> tuple[str, ...]:
    if layer.is_shared:
        return (f"shares {names[layer.pool]}", "", "", "", str(layer.keys))
    left = "no limit" if layer.left_usd is None else words.money(layer.left_usd)
    live = words.NOTHING if over else words.workers(layer).removesuffix("s").removesuffix(" worker")
    return (words.money(layer.spent_usd), words.money(layer.reserved_usd), left, live, str(layer.keys))


def _plan(layer: LayerView) -> str:
    if not layer.plan_required:
        return ""
    return "  plan approved" if layer.plan_approved else "  no plan approved yet"


def _lease(lease: LeaseView, view: RunView) -> str:
    wide = "run-wide " if lease.run_wide else ""
    return words.clean(
        f"{wide}{lease.name}: {view.names.get(lease.holder, lease.holder)}, "
        f"since {words.clock(lease.acquired_at)}, until {words.clock(lease.expires_at)} UTC at the latest"
    )


# --- list -----------------------------------------------------------------------------------------------------------


_RUNS = Table((Column("RUN ID", 38), Column("STARTED", 23), Column("TASKS", 6, True), Column("FAILED", 6, True)))


def list_lines(entries: Sequence[RunEntry]) -> Iterator[str]:
    """The table of ``list``, newest run first as given."""
    yield f"{_RUNS.head()}  {'STATUS':<11} NAME"
    yield "─" * 80
    for entry in entries:
        started = f"{words.moment(entry.started_at)} UTC" if entry.started_at else words.NOTHING
        row = _RUNS.row(entry.run_id, started, str(entry.tasks_total), str(entry.tasks_failed))
        hints = " (rehearsal)" * entry.rehearsal + " (cut short)" * entry.was_interrupted
        yield f"{row}  {entry.state:<11} {words.clean(entry.name or '')}{hints}".rstrip()


# --- the end --------------------------------------------------------------------------------------------------------


def closing_lines(view: RunView, *, width: int, rows: bool = True, runs_dir: str | None = None) -> Iterator[str]:
    """What the operator is told at the end of a run: the outcome, the failures, where the work is, what to try next.

    Args:
        view: The run, ended.
        width: Cells of the terminal.
        rows: Also one row per task; not wanted where each has had its line already.
        runs_dir: The runs base to name in the suggested commands, ``None`` for the usual one.
    """
    yield from _outcome(view)
    if rows:
        yield from (f"  {line}" for line in _final_rows(view, width - 2))
    failed = [actor for actor in view.actors if actor.status is not None and actor.failure is not None]
    if failed:
        yield "Not successful:"
        yield from (f"  {words.name(actor)}: {words.renamed(reason(actor), view.names)}" for actor in failed)
    yield from _notes(view)
    yield from _whereabouts(view)
    yield from _next_steps(view, runs_dir, failed)


def _outcome(view: RunView) -> Iterator[str]:
    noun = "actor" if view.layers else "task"
    parts = [f"{view.succeeded} of {words.plural(len(view.actors), noun)} successful"]
    if view.failed:
        parts.append(f"{view.failed} not")
    if forgiven := view.count(Phase.SETTLED) - view.succeeded - view.failed:
        parts.append(f"{forgiven} cancelled")
    if never := view.count(Phase.QUEUED):
        parts.append(f"{never} never started")
    took = words.duration(view.ended_at - view.started_at)
    parts += [took, words.spent(view), f"{words.tokens(view.usage, short=True)} tokens (in/out/cache)"]
    yield f"{'Rehearsal' if view.rehearsal else 'Run'} {words.clean(view.name or view.run_id)}: " + ", ".join(parts)
    if view.rehearsal:
        yield "This was a rehearsal: a scripted model answered, the figures are the script's, and nothing was spent."
    if view.was_interrupted:
        yield "It was interrupted."


def _final_rows(view: RunView, width: int) -> Iterator[str]:
    room = max(8, width - 33)
    size = min(max((cell_len(_indented(actor)) for actor in view.actors), default=8), room)
    table = Table((Column("", 13), Column("", size), Column("", 9, True), Column("", 8, True)))
    for actor in view.actors:
        took = words.duration(words.elapsed(actor.started_at, actor.ended_at, view.ended_at))
        yield table.row(words.label(actor, over=True), _indented(actor), took, words.money(actor.cost_usd))


def reason(actor: ActorView) -> str:
    """Why an actor failed, with what the record says beside it."""
    failure = actor.failure
    said = failure.message if failure and failure.message else (failure.kind if failure else "")
    kind = f"[{failure.kind}] " if failure and failure.kind != "unknown" and failure.message else ""
    return words.clean(kind + "; ".join(dict.fromkeys(filter(None, [said, actor.note]))))


def _notes(view: RunView) -> Iterator[str]:
    noted = [actor for actor in view.actors if actor.note and actor.failure is None]
    if noted:
        yield "Noted:"
        yield from (f"  {words.name(actor)}: {words.renamed(words.clean(actor.note), view.names)}" for actor in noted)


def _whereabouts(view: RunView, *, over: bool = True) -> Iterator[str]:
    """Branches, kept worktrees and set-aside work: everything an agent left behind is named.

    While a run goes on, only what was set aside is: the rest is still where it is being worked on.
    """
    # Who waits for another attempt, or ended before that began, has left something too.
    begun = [actor for actor in view.actors if actor.started_at or actor.attempt]
    left = [actor for actor in begun if over or actor.set_aside]
    places = [(words.name(actor), where) for actor in left if (where := place(actor))]
    if places:
        yield "Where the work is:"
        yield from (f"  {name}: {where}" for name, where in places)


def place(actor: ActorView) -> str:
    """Where an actor's work is: its branch, its worktree, and the ref of what was set aside."""
    parts = [f"branch {actor.branch}"] if actor.branch else []
    if actor.worktree:
        parts.append(f"worktree {actor.worktree}")
    if actor.set_aside:
        parts.append(f"{words.plural(actor.set_aside.files, 'file')} not committed, kept as {actor.set_aside.ref}")
    return ", ".join(parts)


def _next_steps(view: RunView, runs_dir: str | None, failed: Sequence[ActorView]) -> Iterator[str]:
    base, run = words.at(runs_dir), words.short_id(view.run_id)
    yield "Next:"
    us = words.program()
    yield f"  {us} status {run}{base}"
    if subject := next(iter(failed), next(iter(view.actors), None)):
        name = shlex.quote(words.name(subject))
        yield f"  {us} why {run} {name}{base}"
        yield f"  {us} attach {run} {name}{base}"
