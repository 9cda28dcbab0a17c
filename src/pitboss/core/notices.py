"""Which fact is worth telling somebody outside, and what is said; what was not delivered is sent again on a resume.

A rule that looks at facts, asked after each in the decision that brought it about, so what is told is written down
with what it is about. By its key each message is told once, whatever happens to the dispatcher. What a person
cannot act on, and hears of anyway, is left out: who is stopped with the run, what a rule has decided.
"""

from __future__ import annotations

from collections.abc import Mapping

from pitboss.core import ledger, tree
from pitboss.core.decision import Decision
from pitboss.core.state import Actor, Asked, RunState
from pitboss.core.supervision import end_of
from pitboss.model import approval_facts as a
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import notice_facts as n
from pitboss.model import signals as s
from pitboss.model.approvals import CALLER_ENDED, Approval, Proposal
from pitboss.model.notices import Event, EventValue, Notice, NoticeKind, Severity
from pitboss.model.run import ActorId, Failure, Phase, Status

FINISH_SECS = 15.0
"""How long the end of a run waits for what is still being told."""

NEAR = 0.9
"""So much of the budget spent is worth a warning."""

QUIET_SECS = 900.0
"""The API's refusals come in swarms: after one was told, so long no more are."""

_LONGEST = 2000
"""Characters of a text that an agent wrote, or an API; a receiver has limits of its own."""

_OVER_WELL = frozenset({Status.SUCCESS, Status.CANCELLED})
"""Whoever was cancelled was so by somebody, who knows."""


def heed(d: Decision, fact: f.AnyFact) -> None:
    """Tell what ``fact`` is worth telling."""
    if not d.state.spec.sinks:
        return
    match fact:
        case f.RunOpened():
            _run_dispatched(d)
        case f.RunReopened():
            _reopened(d, fact)
        case a.ApprovalRequested(approval=approval):
            _approval_asked(d, d.state.approvals[approval.request_id])
        case a.ApprovalDecided(request_id=name):
            _approval_decided(d, d.state.approvals[name])
        case f.ActorSettled(actor=who):
            _ended(d, d.actor(who))
            _money(d)
        case f.UsageCounted() | f.TurnFinished() | f.ProcessEnded(failure=None):
            _money(d)
        case f.ProcessEnded(actor=who, failure=Failure() as failure):
            _money(d)
            _refused_by_the_api(d, who, failure)
        case f.ApiPushedBack(actor=who, status=429):
            _rate_limited(d, who, fact.error or "the API answers 429", d.at + fact.delay_secs)
        case f.ActorStalled(actor=who, secs=secs):
            told = _about(d.actor(who)) | {"silent_secs": round(secs, 1)}
            _raise(d, "agent_stalled", "warning", told, about=f"{who}:{fact.attempt}")
        case f.DrainBegan(by=by):
            _raise(d, "run_stopped", "warning", {"how": "drain", "by": by}, again=True)
        case f.StopOrdered(by=by):
            _raise(d, "run_stopped", "warning", {"how": "stop", "by": by}, again=True)
        case f.RunEnded():
            _run_finished(d)
        case _:
            pass


def settled(d: Decision, signal: s.NoticeReported) -> None:
    """Note how telling a sink went, once."""
    if (signal.key, signal.sink) not in d.state.outbox.due:
        reason = f"nothing of {signal.key} is owed to {signal.sink}"
        d.note(f.NewsIgnored(at=d.at, signal=type(signal).__name__, reason=reason))
        return
    d.note(
        n.NoticeSettled(
            at=d.at,
            key=signal.key,
            sink=signal.sink,
            outcome=signal.outcome,
            tries=signal.tries,
            error=signal.error,
        )
    )
    d.ask(e.PublishNotices(settled=d.state.outbox.settled[-1:]))


def hurry(d: Decision) -> None:
    """The run has ended, and its operator will not wait for what is still being told."""
    if d.state.outbox.on_the_way:
        d.ask(e.FinishNotices(within_secs=0.0))


def budget_spent(d: Decision, layer: str = "") -> None:
    """The money of a layer starts nobody more, or all of a flat run's; of each, that is told once."""
    if d.state.spec.sinks:
        _budget(d, tree.pool_of(d.state, layer) if layer else "")


# --- the run ----------------------------------------------------------------------------------------------------------


def _run_dispatched(d: Decision) -> None:
    run = d.state.spec
    event: Event = {
        "parent_run_id": run.parent_run_id,
        "manifest_path": run.manifest_path,
        "mode": "flat" if run.tree is None else "hierarchical",
        "survive_parent": run.survive_parent,
        "name": run.name,
    }
    _raise(d, "run_dispatched", "info", event)


def _reopened(d: Decision, fact: f.RunReopened) -> None:
    """Send what is owed, then tell what the old dispatcher came no more to."""
    sinks = {sink.id: sink for sink in d.state.spec.sinks}
    for notice, sink in d.state.outbox.owed:
        d.ask(e.Notify(notice=notice, sink=sinks[sink], run_id=d.state.spec.run_id))
    if d.state.outbox.settled:
        d.ask(e.PublishNotices(settled=d.state.outbox.settled, anew=True))
    _run_dispatched(d)
    for one in d.state.approvals.values():
        _approval_asked(d, one)
        _approval_decided(d, one)
    for actor in d.state.actors.values():
        if actor.phase is Phase.SETTLED and not actor.adopted:
            _ended(d, actor)
    _raise(d, "run_resumed", "info", {"scope": fact.scope}, again=True)


def _run_finished(d: Decision) -> None:
    state = d.state
    outcome = "success" if state.exit_code == 0 else "interrupted" if state.was_interrupted else "failed"
    event: Event = {
        "tasks_total": len(state.order),
        "tasks_failed": tree.failed(state),
        "tasks_not_started": len(state.waiting),
        "duration_ms": max(0, round((state.ended_at - state.opened_at) * 1000)),
        "spent_usd": round(state.spent_usd, 6),
        "outcome": outcome,
        "exit_code": state.exit_code,
        "name": state.spec.name,
    }
    _raise(d, "run_finished", _gravity(state, outcome), event, again=True)
    if d.state.outbox.on_the_way:
        d.ask(e.FinishNotices(within_secs=FINISH_SECS))


def _gravity(state: RunState, outcome: str) -> Severity:
    """A run that is stopped is no error, unless something in it was wrong already."""
    broken = any(actor.status not in {None, *_OVER_WELL} for actor in state.actors.values())
    if outcome == "failed" or broken:
        return "error"
    return "warning" if outcome == "interrupted" else "info"


# --- approvals --------------------------------------------------------------------------------------------------------


def _approval_asked(d: Decision, one: Asked) -> None:
    """Somebody is needed. Of the two names this has had in Pitboss 0.9, each sink is told under one."""
    if one.ruling is not None:
        return
    asked = one.approval
    event = _details(d.actor(asked.actor), asked)
    first = [sink.id for sink in d.state.spec.sinks if sink.wants("approval_request", "warning")]
    _raise(d, "approval_request", "warning", event, about=asked.request_id)
    _raise(d, "approval_pending", "warning", event, about=asked.request_id, but=first)


def _details(actor: Actor, asked: Approval) -> Event:
    end = end_of(asked, actor)
    return {
        "request_id": asked.request_id,
        "task_id": asked.actor,
        "summary": _short(asked.summary),
        "label": actor.label,
        "path": [str(name) for name in asked.path],
        "request_kind": asked.kind,
        "category": asked.category,
        "tool_name": asked.tool_name,
        "cost_usd": asked.cost_usd,
        "why": _short(asked.why),
        "expires_at": asked.expires_at,
        "fallback": asked.fallback,
        "ends_at": end.at if end else None,
        "ends_by": end.by if end else None,
        "plan": None if asked.plan is None else _plan(asked.plan),
    }


def _plan(plan: Proposal) -> dict[str, str | list[str]]:
    return {
        "summary": _short(plan.summary),
        "rationale": _short(plan.rationale or ""),
        "resources": [_short(each) for each in plan.resources[:20]],
        "risks": [_short(each) for each in plan.risks[:20]],
        "rollback": _short(plan.rollback or ""),
    }


def _approval_decided(d: Decision, one: Asked) -> None:
    """A request that somebody was called for needs nobody any more."""
    ruling, asked = one.ruling, one.approval
    if ruling is None or ruling.by == "default" or ruling.by.startswith("rule "):
        return
    event: Event = {
        "request_id": asked.request_id,
        "task_id": asked.actor,
        "summary": _short(asked.summary),
        "approved": ruling.approved,
        "by": ruling.by,
        "via": ruling.via,
        "comment": _short(ruling.comment or ""),
        "reason": _short(ruling.reason or ""),
    }
    if ruling.by == "expiry":
        _raise(d, "approval_expired", "warning", event, about=asked.request_id)
    else:
        closed = ruling.by == CALLER_ENDED
        _raise(d, "approval_answered", "info", event | {"closed": closed}, about=asked.request_id)


# --- actors -----------------------------------------------------------------------------------------------------------


def _ended(d: Decision, actor: Actor) -> None:
    status, about = actor.status, f"{actor.spec.id}:{actor.attempt}"
    well = status in _OVER_WELL
    if actor.role == "sublead":
        event = _ending(actor) | {"spent_usd": round(tree.spent_below(d.state, actor), 6)}
        _raise(d, "sublead_ended", "info" if well else "warning", event, about=about)
    elif actor.role == "worker" and not well:
        _raise(d, "worker_failed", "warning", _ending(actor), about=about)
    elif not well:
        _raise(d, "task_failed", "error", _ending(actor), about=about)


def _about(actor: Actor) -> Event:
    return {"task_id": actor.spec.id, "label": actor.label, "role": actor.role}


def _ending(actor: Actor) -> Event:
    failure = actor.failure
    return _about(actor) | {
        "status": None if actor.status is None else actor.status.value,
        "reason": failure.kind if failure else None,
        "message": _short(failure.message if failure else actor.note),
        "attempt": actor.attempt,
        "cost_usd": actor.all_cost_usd,
    }


def _refused_by_the_api(d: Decision, who: ActorId, failure: Failure) -> None:
    if failure.kind == "auth_failure":
        event = _about(d.actor(who)) | {"message": _short(failure.message)}
        _raise_seldom(d, "auth_failed", "critical", event)
    elif failure.kind == "rate_limit":
        _rate_limited(d, who, failure.message, failure.resets_at)


def _rate_limited(d: Decision, who: ActorId, message: str, until: float | None) -> None:
    event = _about(d.actor(who)) | {"message": _short(message), "resets_at": until}
    _raise_seldom(d, "rate_limited", "warning", event)


# --- money ------------------------------------------------------------------------------------------------------------


def _money(d: Decision) -> None:
    """Warn once when the run's budget is nearly spent, and tell once when it is."""
    spent, budget = _account(d.state, "")
    if budget is None or spent < budget * NEAR:
        return
    if spent >= budget:
        _budget(d, "")
    else:
        event = {"spent_usd": round(spent, 6), "budget_usd": budget}
        _raise(d, "budget_near", "warning", event, about="first")


def _budget(d: Decision, layer: str) -> None:
    """Tell that the money of a layer, or of the run, holds no more."""
    root = tree.root(d.state)
    is_all = not layer or (root is not None and layer == root.spec.id)
    spent, budget = _account(d.state, "" if is_all else layer)
    event: Event = {"spent_usd": round(spent, 6), "budget_usd": budget}
    if not is_all:
        event["layer"] = layer
    _raise(d, "budget_exceeded", "error", event, about="first" if is_all else layer)


def _account(state: RunState, layer: str) -> tuple[float, float | None]:
    """Spent, and the most that may be; of the whole run if no sub-lead's layer is named."""
    root = tree.root(state)
    if root is None:
        return state.spent_usd, state.spec.budget_usd
    money = ledger.account(state, layer or root.spec.id)
    return money.spent, money.budget


# --- raising ----------------------------------------------------------------------------------------------------------


def _raise_seldom(d: Decision, kind: NoticeKind, severity: Severity, event: Mapping[str, EventValue]) -> None:
    last = max((one.at for one in d.state.outbox.notices.values() if one.kind == kind), default=None)
    if last is None or d.at - last >= QUIET_SECS:
        _raise(d, kind, severity, event, again=True)


def _raise(
    d: Decision,
    kind: NoticeKind,
    severity: Severity,
    event: Mapping[str, EventValue],
    *,
    about: str = "",
    again: bool = False,
    but: list[str] | None = None,
) -> None:
    """Have those told who want to hear it.

    Args:
        d: The decision.
        kind: What it is about.
        severity: How bad it is.
        event: The message's own fields.
        about: What of that kind it is about: what is told once about that.
        again: It may come about more than once in a run, and is told each time.
        but: Sinks that are told otherwise.
    """
    run = d.state.spec
    key = f"{run.run_id}:{kind}" + (f":{about}" if about else "")
    key = _next(d.state, key) if again else key
    if key in d.state.outbox.notices:
        return
    sinks = [sink for sink in run.sinks if sink.wants(kind, severity) and sink.id not in (but or ())]
    if not sinks:
        return
    whole = {"kind": kind, "run_id": str(run.run_id), **event}
    notice = Notice(key=key, kind=kind, severity=severity, at=d.at, event=whole)
    d.note(n.NoticeRaised(at=d.at, notice=notice, sinks=tuple(sink.id for sink in sinks)))
    for sink in sinks:
        d.ask(e.Notify(notice=notice, sink=sink, run_id=run.run_id))


def _next(state: RunState, key: str) -> str:
    """The key itself the first time, so that it is the one of 0.9; then with a number."""
    number, name = 1, key
    while name in state.outbox.notices:
        number += 1
        name = f"{key}:{number}"
    return name


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
