"""What a manifest allows before anything is spent: who may run, how many, for how long, for how much at most.

The bound is what the rules really hold: a tree's whole budget is its lead's, or the run's if that is lower, because
sub-leads are paid from it. A run without a budget has no bound. Called by ``commands`` for ``tree``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from pitboss.model.run import RunSpec, TaskSpec, TreeSpec
from pitboss.surfaces import words

__all__ = ["Bound", "allowance_json", "allowance_lines", "bound_of", "gate_line"]


class Bound(NamedTuple):
    """The most that a run can spend."""

    usd: float | None
    """``None``: there is no bound."""
    reason: str
    """Which key says so, or which would."""

    def passes(self, limit: float) -> bool:
        """True if no more than ``limit`` can be spent."""
        return self.usd is not None and self.usd <= limit


def bound_of(run: RunSpec) -> Bound:
    """The most that a run can spend, give or take the last call of each live session."""
    named = {"[run].budget_usd": run.budget_usd}
    if run.tree is not None:
        named = {"[lead].budget_usd": run.tree.budget_usd} | named
    known = {name: usd for name, usd in named.items() if usd is not None}
    if not known:
        return Bound(None, f"{' or '.join(named)} is not set: nothing bounds what is spent")
    name = min(known, key=lambda each: known[each])
    return Bound(known[name], name)


def allowance_lines(run: RunSpec) -> Iterator[str]:
    """What is allowed, for people."""
    bound = bound_of(run)
    if run.tree is None:
        yield f"flat: {words.plural(len(run.tasks), 'task')}, max_parallel_tasks={run.max_parallel}"
        yield from (f"  task '{task.id}'{_session(task)}" for task in run.tasks)
    else:
        yield from _tree_lines(run.tree)
    yield f"envelope: {words.money(bound.usd)} ({bound.reason})"


def _tree_lines(tree: TreeSpec) -> Iterator[str]:
    defaults = tree.sublead_defaults
    yield f"lead '{tree.lead.id}'{_session(tree.lead)}"
    yield (
        f"  workers: max={_count(tree.max_workers)} budget={words.money(tree.budget_usd)} "
        f"lead_timeout={_secs(tree.lead_timeout_secs)}"
    )
    if not tree.allow_subleads:
        yield f"  subleads: disabled, total_workers_cap={_count(tree.max_total_workers)}"
        return
    cap = f"max={_count(tree.max_subleads)} total_workers_cap={_count(tree.max_total_workers)}"
    yield f"  subleads: enabled {cap}, paid from the lead's budget"
    if tree.max_sublead_budget_usd is not None:
        yield f"    each at most {words.money(tree.max_sublead_budget_usd)}"
    if defaults.budget_usd is None and defaults.max_workers is None and defaults.read_down:
        yield "    [sublead_defaults] shares the lead's budget and workers (read_down)"
    else:
        yield (
            f"    [sublead_defaults] budget={words.money(defaults.budget_usd)} "
            f"max_workers={_count(defaults.max_workers)} "
            f"lead_timeout={_secs(defaults.lead_timeout_secs)} read_down={str(defaults.read_down).lower()}"
        )


def _session(task: TaskSpec) -> str:
    return f": model={words.clean(task.model)} effort={task.effort.capitalize()} timeout={_secs(task.timeout_secs)}"


def gate_line(bound: Bound, limit: float) -> str:
    """The verdict of ``--check``."""
    if bound.usd is None:
        return f"FAIL: {bound.reason}; {words.money(limit)} was asked for at most"
    verb = "PASS" if bound.passes(limit) else "FAIL"
    sign = "<=" if bound.passes(limit) else ">"
    return f"{verb}: {words.money(bound.usd)} {sign} {words.money(limit)} ({bound.reason})"


def allowance_json(run: RunSpec, limit: float | None) -> str:
    """What is allowed, for programs."""
    bound = bound_of(run)
    shape: dict[str, object] = {
        "version": 1,
        "mode": "flat" if run.tree is None else "hierarchical",
        "bound_usd": bound.usd,
        "bound_reason": bound.reason,
        "check": None if limit is None else {"limit_usd": limit, "passed": bound.passes(limit)},
    }
    if run.tree is None:
        shape |= {"max_parallel_tasks": run.max_parallel, "tasks": [_told(task) for task in run.tasks]}
    else:
        caps = {name: value for name, value in msgspec.structs.asdict(run.tree).items() if name != "lead"}
        shape |= {"lead": _told(run.tree.lead), "caps": caps}
    return msgspec.json.format(msgspec.json.encode(shape), indent=2).decode()


def _told(task: TaskSpec) -> dict[str, object]:
    return {"id": task.id, "model": task.model, "effort": task.effort, "timeout_secs": task.timeout_secs}


def _count(number: int | None) -> str:
    return words.NOTHING if number is None else str(number)


def _secs(secs: int | None) -> str:
    if secs is None:
        return words.NOTHING
    hours, minutes = divmod(secs // 60, 60)
    if hours:
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    return f"{minutes}m" if minutes else f"{secs}s"
