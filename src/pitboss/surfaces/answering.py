"""Requests for approval as an operator sees them on a terminal, and how one is named.

What agents wrote is cleaned before it is printed. Called by ``commands``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from pitboss.core.policy import actor_path
from pitboss.errors import OperatorError
from pitboss.model.approvals import CALLER_ENDED, Approval, End, Proposal
from pitboss.model.run import ActorId
from pitboss.surfaces import words
from pitboss.surfaces.client import Run
from pitboss.surfaces.notice import command, waiting
from pitboss.wire import control_events as events

__all__ = ["find_request", "hindrance", "list_json", "list_lines"]

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
    shapes = [events.approval_shape(asked, _end(run, asked)) for asked in waiting(run)]
    return msgspec.json.format(msgspec.json.encode(shapes), indent=2).decode()


def list_lines(run: Run, *, now: float, runs_dir: str | None = None) -> Iterator[str]:
    """Everything that waits: who, what, since when, until when, why; and how to answer."""
    found = waiting(run)
    if not found:
        ended = " It has ended." if run.state == "complete" else ""
        yield f"No approvals wait in run {run.path.name}.{ended}"
        return
    for asked in found:
        yield from _request_lines(asked, _end(run, asked), run.view.names, now)
        yield ""
    if run.state != "running":
        yield "No dispatcher is at work on this run: an answer is kept, and given when the run is resumed."
    yield f"Answer with: {command('approve', run.path.name, runs_dir, 'REQUEST')}"
    yield f"         or: {command('reject', run.path.name, runs_dir, 'REQUEST', '--reason', 'TEXT')}"


def _request_lines(asked: Approval, end: End | None, names: Mapping[ActorId, str], now: float) -> Iterator[str]:
    yield f"{asked.request_id}  {_HEADS[asked.kind]}"
    facts = {
        "who": f"{actor_path(tuple(ActorId(names.get(one, one)) for one in asked.path))} ({asked.role})",
        "age": f"{words.age(max(0.0, now - asked.asked_at))}, {_time_left(asked, end, now)}",
        "what": words.renamed(asked.summary, names),
        "tool": " ".join(filter(None, [asked.tool_name, asked.tool_input])),
        "cost": "" if asked.cost_usd is None else f"{words.money(asked.cost_usd)}, by its own estimate",
        "why": asked.why or "default_approval_policy asks you",
    }
    yield from (f"  {name + ':':<10} {words.clean(fact)}" for name, fact in facts.items() if fact)
    if asked.plan is not None:
        yield from (f"  {words.clean(line)}" for line in _plan_lines(asked.plan, asked.summary))


def _end(run: Run, asked: Approval) -> End | None:
    """When it is over if nobody answers, and by what: the clock of whoever asks runs only where a dispatcher works."""
    shown = next((one for one in run.view.approvals if one.request_id == asked.request_id), None)
    return shown.end(live=run.state == "running") if shown else None


def _time_left(asked: Approval, end: End | None, now: float) -> str:
    if end is None:
        return "waits for as long as it takes"
    if end.at <= now:
        return "its time is over"
    then = "then whoever asks times out" if end.by == "timeout" else _FALLBACKS[asked.fallback]
    return f"{words.age(end.at - now)} left, {then}"


def _plan_lines(plan: Proposal, said: str) -> Iterator[str]:
    if plan.summary != said:
        yield f"{'plan:':<10} {plan.summary}"
    if plan.rationale:
        yield f"{'because:':<10} {plan.rationale}"
    yield from (f"{'touches:':<10} {each}" for each in plan.resources)
    yield from (f"{'RISK:':<10} {each}" for each in plan.risks)
    if plan.rollback:
        yield f"{'rollback:':<10} {plan.rollback}"


# --- naming -----------------------------------------------------------------------------------------------------------


def find_request(run: Run, name: str) -> str:
    """The full id of the request that goes by ``name``: its id or the beginning of one, ``req-`` or not.

    Those that wait go first.

    Raises:
        OperatorError: None does, or more than one does.
    """
    wanted = name if name.startswith("req-") else f"req-{name}"
    found = [key for key in run.asked if key.startswith(wanted)] if wanted != "req-" else []
    exact = [key for key in found if key == wanted]
    open_ = [key for key in found if run.asked[key].ruling is None]
    matches = exact or open_ or found
    if len(matches) > 1:
        listed = ", ".join(matches)
        raise OperatorError(
            f"{len(matches)} requests of run {run.path.name} begin with {name!r}: {listed}", code="not_found"
        )
    if not matches:
        there = ", ".join(asked.request_id for asked in waiting(run)) or "nothing"
        raise OperatorError(f"no request {name!r} in run {run.path.name}; these wait: {there}", code="not_found")
    return matches[0]


def hindrance(run: Run, request_id: str) -> str:
    """Why a request cannot be answered, as a sentence: somebody was first, or the run has ended; empty if it can."""
    one = run.asked[request_id]
    if one.ruling is not None and one.ruling.by == CALLER_ENDED:
        return f"nobody waits for an answer to {request_id} any more: whoever asked has ended"
    if one.ruling is not None:
        by = ", ".join(filter(None, [one.ruling.by, one.ruling.via]))
        word = "approved" if one.ruling.approved else "rejected"
        return f"{request_id} was answered already: {word} by {by}"
    if run.state == "complete":
        return f"run {run.path.name} has ended; nothing waits for an answer in it"
    return ""
