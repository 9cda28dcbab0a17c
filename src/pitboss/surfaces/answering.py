"""Requests for approval as an operator sees them on a terminal, and how one is named and answered.

What agents wrote is cleaned before it is printed. Called by ``commands``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from pitboss.core.policy import actor_path
from pitboss.core.state import Asked
from pitboss.errors import OperatorError, RunBusy
from pitboss.model.answers import Answer, Refused
from pitboss.model.approvals import Approval, Proposal
from pitboss.surfaces import words
from pitboss.surfaces.client import Run, RunClient
from pitboss.surfaces.notice import command, waiting
from pitboss.wire import control as wire
from pitboss.wire import control_events as events

__all__ = ["answer", "find_request", "list_json", "list_lines"]

_HEADS = {
    "plan": "[PRE-FLIGHT PLAN]",
    "action": "[IN-FLIGHT ACTION]",
    "permission": "[PERMISSION]",
    "deed": "[TOOL CALL]",
}
_FALLBACKS = {"auto_reject": "then it is rejected", "auto_approve": "then it is approved", "block": ""}


# --- showing ----------------------------------------------------------------------------------------------------------


def list_json(run: Run) -> str:
    """An array of what waits, as on the control socket."""
    shapes = [events.approval_shape(asked) for asked in waiting(run)]
    return msgspec.json.format(msgspec.json.encode(shapes), indent=2).decode()


def list_lines(run: Run, *, now: float, runs_dir: str | None = None) -> Iterator[str]:
    """Everything that waits: who, what, since when, until when, why; and how to answer."""
    found = waiting(run)
    if not found:
        ended = " It has ended." if run.state == "complete" else ""
        yield f"No approvals wait in run {run.path.name}.{ended}"
        return
    for asked in found:
        yield from _request_lines(asked, now)
        yield ""
    if run.state != "running":
        yield "No dispatcher is at work on this run: an answer is kept, and given when the run is resumed."
    yield f"Answer with: {command('approve', run.path.name, runs_dir, 'REQUEST')}"
    yield f"         or: {command('reject', run.path.name, runs_dir, 'REQUEST', '--reason', 'TEXT')}"


def _request_lines(asked: Approval, now: float) -> Iterator[str]:
    yield f"{asked.request_id}  {_HEADS[asked.kind]}"
    facts = {
        "who": f"{actor_path(asked.path)} ({asked.role})",
        "age": f"{words.age(max(0.0, now - asked.asked_at))}, {_time_left(asked, now)}",
        "what": asked.summary,
        "tool": " ".join(filter(None, [asked.tool_name, asked.tool_input])),
        "cost": "" if asked.cost_usd is None else f"{words.money(asked.cost_usd)}, by its own estimate",
        "why": asked.why or "default_approval_policy asks you",
    }
    yield from (f"  {name + ':':<10} {words.clean(fact)}" for name, fact in facts.items() if fact)
    if asked.plan is not None:
        yield from (f"  {words.clean(line)}" for line in _plan_lines(asked.plan, asked.summary))


def _time_left(asked: Approval, now: float) -> str:
    if asked.expires_at is None:
        return "waits for as long as it takes"
    left = asked.expires_at - now
    return f"{words.age(left)} left, {_FALLBACKS[asked.fallback]}" if left > 0 else "its time is over"


def _plan_lines(plan: Proposal, said: str) -> Iterator[str]:
    if plan.summary != said:
        yield f"{'plan:':<10} {plan.summary}"
    if plan.rationale:
        yield f"{'because:':<10} {plan.rationale}"
    yield from (f"{'touches:':<10} {each}" for each in plan.resources)
    yield from (f"{'RISK:':<10} {each}" for each in plan.risks)
    if plan.rollback:
        yield f"{'rollback:':<10} {plan.rollback}"


# --- answering --------------------------------------------------------------------------------------------------------


def find_request(run: Run, name: str) -> str:
    """The full id of the request that waits and goes by ``name``: its id or the beginning of one, ``req-`` or not.

    Raises:
        OperatorError: None does, more than one does, it was answered already, or the run has ended.
    """
    if run.state == "complete":
        raise OperatorError(f"run {run.path.name} has ended; nothing waits for an answer in it")
    wanted = name if name.startswith("req-") else f"req-{name}"
    found = [key for key in run.asked if key.startswith(wanted)] if wanted != "req-" else []
    exact = [key for key in found if key == wanted]
    open_ = [key for key in found if run.asked[key].ruling is None]
    matches = exact or open_ or found
    if len(matches) > 1:
        raise OperatorError(f"{len(matches)} requests of run {run.path.name} begin with {name!r}: {', '.join(matches)}")
    if not matches:
        there = ", ".join(asked.request_id for asked in waiting(run)) or "nothing"
        raise OperatorError(f"no request {name!r} in run {run.path.name}; these wait: {there}")
    _require_open(run.asked[matches[0]])
    return matches[0]


def _require_open(one: Asked) -> None:
    if one.ruling is not None:
        by = ", ".join(filter(None, [one.ruling.by, one.ruling.via]))
        word = "approved" if one.ruling.approved else "rejected"
        raise OperatorError(f"{one.approval.request_id} was answered already: {word} by {by}")


def answer(run: Run, order: wire.Approve, in_journal: Callable[[Path, wire.Approve], Answer | Refused]) -> str:
    """Answer a request: through the dispatcher if one lives, else into the journal.

    Args:
        run: The run.
        order: The answer.
        in_journal: Writes it down for a run that nobody is at work on.

    Returns:
        What came of it, in a line.

    Raises:
        OperatorError: Somebody was first, or nobody asks any more.
        WorldError: The dispatcher does not answer, or the journal cannot be written.
    """
    word = "approved" if order.approved else "rejected"
    asker = run.asked[order.request_id].approval.actor
    event = RunClient(run.path).order(order)
    if event is not None:
        if event["event"] != "op_acked":
            raise OperatorError(str(event.get("error") or "the run does not know how to be answered"))
        return f"{word} {order.request_id}: {asker} is told"
    try:
        written = in_journal(run.path, order)
    except RunBusy as busy:
        raise RunBusy(
            f"the dispatcher of run {run.path.name} is at work, but cannot be reached through a socket",
            hint="stop it, answer again, then resume the run: whoever asked asks again and hears the answer",
        ) from busy
    if isinstance(written, Refused):
        raise OperatorError(written.message)
    return f"{word} {order.request_id}: {asker} hears it when the run is resumed"
