"""What is said of clearing old runs away, to people and to programs. Called by ``commands`` for ``prune``."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from pitboss.surfaces import words
from pitboss.surfaces.pruning import Aside, Asked, Found, Outcome, Plan
from pitboss.wire.scalars import to_json

__all__ = ["plan_json", "plan_lines"]


def plan_lines(planned: Plan, asked: Asked, outcomes: Sequence[Outcome] | None) -> list[str]:
    """What would be done, or was, and what was left alone and why."""
    deed = "remove run directory" if asked.remove else "synthesize Cancelled summary.json"
    lines = [f"pitboss prune ({'dry-run' if outcomes is None else 'apply'}) — action: {deed}"]
    lines.append(f"Matched {len(planned.found)} run(s):" if planned.found else "No orphaned runs to prune.")
    for found in planned.found:
        lines += _found_lines(found)
    if left := Counter(f"{entry.state}: {why}" for entry, why in planned.left):
        lines += ["Left alone:", *(f"  {count} {why}" for why, count in sorted(left.items()))]
    if outcomes:
        lines += ["", *_results(outcomes)]
    elif outcomes is None and any(found.action != "none" for found in planned.found):
        freed = sum(found.size for found in planned.found if found.action == "remove")
        lines += ["", f"Nothing was changed; --apply does it{f' and frees {words.size(freed)}' if freed else ''}."]
    return lines


def _found_lines(found: Found) -> Iterator[str]:
    entry = found.entry
    age, size = words.age(found.age), words.size(found.size)
    told = f"age={age} tasks={entry.tasks_total} failed={entry.tasks_failed} size={size}"
    yield f"  {_short(entry.run_id)} state={entry.state} {told}"
    if found.action == "none":
        yield f"      nothing is done: {found.why}"
    if found.action == "remove":
        for tree in found.trees:
            yield f"      {tree.actor}: its worktree {words.clean(tree.path)} is set aside, then removed by git"
        for path in found.strangers:
            yield f"      its worktree {words.clean(path)} stays: Pitboss 0.9 did not say what it was made from"
        for aside in found.refs:
            yield _stays(aside, "before")


def _results(outcomes: Sequence[Outcome]) -> Iterator[str]:
    idle = sum(outcome.found.action == "none" for outcome in outcomes)
    failed = sum(not outcome.ok for outcome in outcomes)
    rest = f", {idle} left as they are" if idle else ""
    yield f"Results: {len(outcomes) - failed - idle} succeeded, {failed} failed{rest}."
    for outcome in outcomes:
        mark = "✗" if not outcome.ok else "–" if outcome.found.action == "none" else "✓"
        yield f"  {mark} {_short(outcome.found.entry.run_id)} {words.clean(outcome.message)}"
        for aside in outcome.saved:
            yield _stays(aside, "now")


def _stays(aside: Aside, when: str) -> str:
    """Where work is that can be had without its run, which may be gone by then."""
    command = f"git -C {shlex.quote(aside.directory)} worktree add DIR {aside.saved.ref}"
    return f"      {aside.actor}: set aside {when}, {words.plural(aside.saved.files, 'file')}: {command}"


def plan_json(planned: Plan, asked: Asked, outcomes: Sequence[Outcome] | None) -> str:
    """The same for programs."""
    became = {outcome.found.entry.path: outcome for outcome in outcomes or ()}
    shape = {
        "version": 1,
        "applied": outcomes is not None,
        "remove": asked.remove,
        "runs": [_found_shape(found, became.get(found.entry.path)) for found in planned.found],
        "left_alone": [{"run_id": one.run_id, "status": one.state, "why": why} for one, why in planned.left],
    }
    return msgspec.json.format(to_json(shape), indent=2).decode()


def _found_shape(found: Found, outcome: Outcome | None) -> dict[str, object]:
    entry = found.entry
    return {
        "run_id": entry.run_id,
        "run_dir": str(entry.path),
        "status": entry.state,
        "age_secs": int(found.age),
        "tasks_total": entry.tasks_total,
        "tasks_failed": entry.tasks_failed,
        "bytes": found.size,
        "action": found.action,
        "why": found.why,
        "worktrees": [{"actor": tree.actor, "path": tree.path} for tree in found.trees],
        "ok": outcome.ok if outcome else None,
        "message": outcome.message if outcome else "",
        "worktrees_kept": list(found.strangers),
        "set_aside": [_aside_shape(aside) for aside in (outcome.saved if outcome else ())],
        "set_aside_before": [_aside_shape(aside) for aside in found.refs],
    }


def _aside_shape(aside: Aside) -> dict[str, object]:
    return {"actor": aside.actor, "directory": aside.directory, **msgspec.structs.asdict(aside.saved)}


def _short(run_id: str) -> str:
    return f"{run_id[:12]}…"
