"""What is said of two runs side by side, to people and to programs. Called by ``commands`` for ``diff``."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from pitboss.model.run import Failure, Status, Usage
from pitboss.surfaces import render, words
from pitboss.surfaces.comparing import Comparison, Pair, Side, Task, Totals
from pitboss.wire.scalars import to_json, to_timestamp

__all__ = ["comparison_json", "comparison_lines"]

_CUT = 100
"""How much of a final message is shown."""

_SAME = "="
"""Stands where nothing changed."""

_HOW = {"prompt": "same prompt", "order": "same place in the order of starting"}


# --- to people ------------------------------------------------------------------------------------------------------


def comparison_lines(found: Comparison) -> Iterator[str]:
    """Totals, then every pair of tasks, then those without a partner; every difference is B minus A."""
    yield f"A: {_heading(found.a)}"
    yield f"B: {_heading(found.b)}"
    yield from (f"note: {words.clean(note)}" for note in found.notes)
    yield ""
    yield from _total_lines(found.a.totals, found.b.totals)
    if not (found.pairs or found.only_a or found.only_b):
        yield "(no tasks to compare)"
        return
    if found.pairs:
        yield from ["", "PER TASK"]
        for pair in found.pairs:
            yield f"  {words.clean(pair.a.record.task_id)}"
            yield from _pair_lines(pair)
    if found.alike:
        yield from ["", "LIKELY THE SAME WORK"]
        for pair in found.alike:
            names = f"{words.clean(pair.a.record.task_id)} / {words.clean(pair.b.record.task_id)}"
            yield f"  {names} ({_HOW[pair.how]})"
            yield from _pair_lines(pair)
    yield from _single_lines("A", found.a, {pair.a.record.task_id for pair in (*found.pairs, *found.alike)})
    yield from _single_lines("B", found.b, {pair.b.record.task_id for pair in (*found.pairs, *found.alike)})


def _heading(side: Side) -> str:
    run = side.run
    started = f"started {words.moment(run.view.started_at)} UTC" if run.view.started_at else ""
    parts = (words.short_id(run.path.name), words.clean(run.view.name or ""), run.state, started)
    return " · ".join(part for part in parts if part)


_TOTALS = render.Table(
    (
        render.Column("TOTALS", 13),
        render.Column("A", 14, right=True),
        render.Column("B", 14, right=True),
        render.Column("B−A", 14, right=True),
    )
)


def _total_lines(a: Totals, b: Totals) -> Iterator[str]:
    yield _TOTALS.head()
    done = [f"{totals.tasks - totals.failed}/{totals.tasks}" for totals in (a, b)]
    yield _TOTALS.row("  ok", *done, _signed((b.tasks - b.failed) - (a.tasks - a.failed)))
    yield _TOTALS.row("  wall-clock", _took(a.wall_ms), _took(b.wall_ms), _took_more(b.wall_ms - a.wall_ms))
    names = ("in", "out", "cache read", "cache write")
    for name, one, other in zip(names, _counts(a.usage), _counts(b.usage), strict=True):
        yield _TOTALS.row(f"  {name}", words.compact(one), words.compact(other), _signed(other - one))
    yield _TOTALS.row("  cost", words.money(a.cost_usd), words.money(b.cost_usd), _more_money(a.cost_usd, b.cost_usd))


def _pair_lines(pair: Pair) -> Iterator[str]:
    a, b = pair.a, pair.b
    more = " ".join(
        (
            _took_more(b.took_ms - a.took_ms),
            f"{_signed(b.record.usage.output - a.record.usage.output)} out",
            _more_money(a.record.cost_usd, b.record.cost_usd),
        )
    )
    yield f"    A {_figures(a)}"
    yield f"    B {_figures(b)}  B−A: {more}"
    if a.record.model != b.record.model:
        yield f"      model: {a.record.model or words.NOTHING} in A, {b.record.model or words.NOTHING} in B"
    yield from _task_notes("A", a)
    yield from _task_notes("B", b)
    if a.record.final_message != b.record.final_message:
        yield from _last_words("A", a)
        yield from _last_words("B", b)


def _single_lines(name: str, side: Side, paired: set[str]) -> Iterator[str]:
    alone = [task for task in side.tasks.values() if task.record.task_id not in paired]
    if alone:
        yield from ["", f"ONLY IN {name}"]
    for task in alone:
        yield f"  {words.clean(task.record.task_id)}"
        yield f"    {name} {_figures(task)}"
        yield from _task_notes(name, task)


def _figures(task: Task) -> str:
    mark = "+" if task.record.status is Status.SUCCESS else "x"
    status = words.fit(task.record.status.value, 16)
    took = words.fit(_took(task.took_ms), 9, right=True)
    tokens = words.fit(words.compact(task.record.usage.output), 6, right=True)
    return f"{mark} {status} {took} {tokens} out {words.fit(words.money(task.record.cost_usd), 9, right=True)}"


def _task_notes(name: str, task: Task) -> Iterator[str]:
    """Why it failed, and where its work is."""
    if task.record.failure is not None or task.record.note:
        yield f"      {name}: {render.reason(task.actor)}"
    if place := render.place(task.actor):
        yield f"      {name}: {words.clean(place)}"


def _last_words(name: str, task: Task) -> Iterator[str]:
    said = words.clean(task.record.final_message or "")
    if said:
        yield f'      {name} says: "{said if len(said) <= _CUT else said[:_CUT] + "…"}"'


def _counts(usage: Usage) -> tuple[int, int, int, int]:
    return usage.input, usage.output, usage.cache_read, usage.cache_creation


def _took(ms: int) -> str:
    return words.duration(ms / 1000) if ms > 0 else "0s"


def _took_more(ms: int) -> str:
    return f"{'+' if ms > 0 else '-'}{_took(abs(ms))}" if ms else _SAME


def _signed(count: int) -> str:
    return f"{'+' if count > 0 else '-'}{words.compact(abs(count))}" if count else _SAME


def _more_money(a: float | None, b: float | None) -> str:
    if a is None or b is None:
        return words.NOTHING
    more = round(b - a, 10)
    return f"{'+' if more > 0 else '-'}{words.money(abs(more))}" if more else _SAME


# --- to programs ----------------------------------------------------------------------------------------------------


def comparison_json(found: Comparison) -> str:
    """The same for programs: the keys of 0.9, and then ours."""
    shape = {
        "run_a_id": found.a.run.path.name,
        "run_b_id": found.b.run.path.name,
        "run_a_total": _totals_shape(found.a.totals),
        "run_b_total": _totals_shape(found.b.totals),
        "per_task": [{"task_id": pair.a.record.task_id, **_pair_shape(pair)} for pair in found.pairs],
        "only_a": list(found.only_a),
        "only_b": list(found.only_b),
        "version": 1,
        "run_a": _side_shape(found.a),
        "run_b": _side_shape(found.b),
        "alike": [
            {"a_id": pair.a.record.task_id, "b_id": pair.b.record.task_id, "by": pair.how, **_pair_shape(pair)}
            for pair in found.alike
        ],
        "only_a_tasks": {name: _task_shape(found.a.tasks[name]) for name in found.only_a},
        "only_b_tasks": {name: _task_shape(found.b.tasks[name]) for name in found.only_b},
        "notes": list(found.notes),
    }
    return msgspec.json.format(to_json(shape), indent=2).decode()


def _totals_shape(totals: Totals) -> dict[str, object]:
    return {
        "tasks_total": totals.tasks,
        "tasks_failed": totals.failed,
        "wall_ms": totals.wall_ms,
        **_tokens_shape(totals.usage),
        "cost_usd": round(totals.cost_usd, 10),
        "cost_unknown": totals.cost_unknown,
    }


def _tokens_shape(usage: Usage) -> dict[str, object]:
    return dict(zip(("token_in", "token_out", "cache_read", "cache_write"), _counts(usage), strict=True))


def _side_shape(side: Side) -> dict[str, object]:
    view = side.run.view
    return {
        "run_dir": str(side.run.path),
        "name": view.name,
        "status": side.run.state,
        "was_interrupted": view.was_interrupted,
        "rehearsal": view.rehearsal,
        "started_at": to_timestamp(view.started_at) if view.started_at else None,
        "manifest_path": view.manifest_path,
        "claude_version": view.claude_version,
        "unsettled": [actor.id for actor in side.unsettled],
        "damaged_records": side.run.damaged,
    }


def _pair_shape(pair: Pair) -> dict[str, object]:
    a, b = pair.a.record, pair.b.record
    money = None if a.cost_usd is None or b.cost_usd is None else round(b.cost_usd - a.cost_usd, 10)
    more = [other - one for one, other in zip(_counts(a.usage), _counts(b.usage), strict=True)]
    return {
        "a": _task_shape(pair.a),
        "b": _task_shape(pair.b),
        "delta": {
            "duration_ms": pair.b.took_ms - pair.a.took_ms,
            **dict(zip(("token_in", "token_out", "cache_read", "cache_write"), more, strict=True)),
            "cost_usd": money,
        },
    }


def _task_shape(task: Task) -> dict[str, object]:
    record = task.record
    return {
        "status": record.status,
        "duration_ms": task.took_ms,
        **_tokens_shape(record.usage),
        "cost_usd": record.cost_usd,
        "model": record.model,
        "exit_code": record.exit_code,
        "failure_reason": _failure_shape(record.failure),
        "note": record.note,
        "final_message": record.final_message,
        "branch": task.actor.branch,
        "worktree": task.actor.worktree,
        "set_aside": record.set_aside,
    }


def _failure_shape(failure: Failure | None) -> dict[str, object] | None:
    return None if failure is None else {"kind": failure.kind, "message": failure.message}
