"""Asking before doing: requests of actors, tool calls that a rule wants looked at, and how each is answered, once.

The rules of the run come first, then its default, then a person; at its expiry a request is answered by its fallback.
Every request and every answer is a fact with who or what decided, so it outlives the dispatcher: whoever asked and was
cut off asks again and is given the answer that was found meanwhile, or waits on for the same request.
"""

from __future__ import annotations

import hashlib
from typing import assert_never

import msgspec
from msgspec.structs import replace

from pitboss.core import lifecycle, policy, tree
from pitboss.core.decision import Decision
from pitboss.core.state import Actor, Asked, Wait
from pitboss.core.waiting import end
from pitboss.model import approval_facts as a
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import signals as s
from pitboss.model.answers import Answer, Refused, refused
from pitboss.model.approvals import CALLER_ENDED, Approval, Pending, Proposal
from pitboss.model.approvals import Decision as Ruling
from pitboss.model.calls import ApprovalCall, PermissionPrompt, Plan, ProposePlan, RequestApproval
from pitboss.model.orders import AnswerApproval
from pitboss.model.run import ActorId
from pitboss.model.tree import ForApproval

DEFAULT_SECS = 3600
"""How long a request waits for a person if nothing says otherwise, as in Pitboss 0.9."""

REFUSED = "The operator of this run has refused this call; do not try to do the same in another way."
"""What a model reads if nobody says more."""

INPUT_CHARS = 4000
"""So much of a tool's arguments is kept with a request."""


# --- what actors ask with our tools -----------------------------------------------------------------------------------


def handle(d: Decision, signal: s.CallMade, call: ApprovalCall) -> None:
    """Answer a request by the rules, or have it wait for a person."""
    caller = d.actor(signal.actor)
    asked = _approval(d, caller, signal, call)
    earlier = _asked_before(d, asked)
    if earlier is not None:
        _take_up(d, signal, earlier)
        return
    verdict = policy.judge_request(d.state.spec.policy, _request(asked))
    about = d.about(signal.actor)
    pending = Pending(attempt=signal.attempt, call_id=signal.call_id)
    if verdict.answer == "ask":
        waiting = asked if not verdict.rule_text else _with_why(asked, verdict)
        d.note(a.ApprovalRequested(**about, approval=waiting, pending=pending))
        d.wait(signal, ForApproval(request_id=asked.request_id), None)
        return
    d.note(a.ApprovalRequested(**about, approval=asked, pending=pending))
    ruling = _by_policy(verdict)
    d.note(a.ApprovalDecided(**about, request_id=asked.request_id, ruling=ruling, heard=True))
    d.answer(signal, told(asked, ruling))


def _approval(d: Decision, caller: Actor, signal: s.CallMade, call: ApprovalCall) -> Approval:
    blocks = isinstance(call, RequestApproval) and call.fallback == "block"
    asked = Approval(
        request_id=f"req-{signal.minted}",
        kind="action",
        actor=caller.spec.id,
        path=tree.path_of(d.state, caller),
        role=caller.role,
        category="tool_use",
        summary="",
        cost_usd=call.cost_estimate,
        asked_at=d.at,
        expires_at=None if blocks else d.at + _secs(d, call),
    )
    match call:
        case RequestApproval():
            return replace(
                asked,
                category=call.category,
                summary=call.summary,
                plan=_proposal(call.plan),
                tool_name=call.tool_name,
                fallback=call.fallback,
            )
        case ProposePlan(plan=plan):
            return replace(asked, kind="plan", category="plan", summary=plan.summary, plan=_proposal(plan))
        case PermissionPrompt(tool_name=tool):
            shown = as_text(call.tool_input if call.tool_input is not None else call.input)
            summary = f"Permission request: {tool}"
            return replace(asked, kind="permission", summary=summary, tool_name=tool, tool_input=shown)
        case _:
            assert_never(call)


def _proposal(plan: Plan | None) -> Proposal | None:
    if plan is None:
        return None
    return Proposal(
        summary=plan.summary,
        rationale=plan.rationale,
        resources=tuple(plan.resources or ()),
        risks=tuple(plan.risks or ()),
        rollback=plan.rollback,
    )


def _secs(d: Decision, call: ApprovalCall) -> float:
    given = None
    if isinstance(call, RequestApproval):
        given = call.timeout_secs if call.timeout_secs is not None else call.ttl_secs
    elif isinstance(call, ProposePlan):
        given = call.timeout_secs
    return given if given is not None else _default_secs(d)


def _default_secs(d: Decision) -> float:
    run = d.state.spec
    return (run.tree.lead_timeout_secs if run.tree else None) or DEFAULT_SECS


def _request(asked: Approval) -> policy.Request:
    return policy.Request(
        path=asked.path,
        role=asked.role,
        category=asked.category,
        tool_name=asked.tool_name,
        cost_usd=asked.cost_usd,
    )


def _asked_before(d: Decision, asked: Approval) -> Asked | None:
    """The same request of the same actor, if it was cut off, or called away, before it heard the answer."""
    for one in d.state.approvals.values():
        if _what(one.approval) == _what(asked) and not one.heard and not _is_awaited(d, one) and not _is_void(one):
            return one
    return None


def _what(asked: Approval) -> tuple[object, ...]:
    """All by which a person decides: what differs in any of it was never answered."""
    claims = (asked.category, asked.summary, asked.plan, asked.cost_usd)
    return asked.actor, asked.kind, *claims, asked.tool_name, asked.tool_input


def _is_awaited(d: Decision, one: Asked) -> bool:
    """Somebody is there who would hear the answer."""
    return _wait_for(d, one.approval.request_id) is not None or _is_at_hook(d, one)


def _is_at_hook(d: Decision, one: Asked) -> bool:
    """A tool call of a living process waits for the answer."""
    actor = d.actor(one.approval.actor)
    alive = actor.phase in lifecycle.HAS_PROCESS and one.pending.attempt == actor.attempt
    return alive and one.pending.hook_id is not None


def _is_void(one: Asked) -> bool:
    """It was closed because nobody was left to ask: whoever is taken up again later may ask anew."""
    return one.ruling is not None and one.ruling.by == CALLER_ENDED


def _take_up(d: Decision, signal: s.CallMade, one: Asked) -> None:
    """Go on with a request that was asked before its asker was cut off."""
    name = one.approval.request_id
    pending = Pending(attempt=signal.attempt, call_id=signal.call_id)
    d.note(a.ApprovalTakenUp(**d.about(signal.actor), request_id=name, pending=pending, heard=one.ruling is not None))
    if one.ruling is not None:
        d.answer(signal, told(one.approval, one.ruling))
    else:
        d.wait(signal, ForApproval(request_id=name), None)


def told(asked: Approval, ruling: Ruling) -> Answer:
    """What the one who asked with a tool of ours is answered."""
    if asked.kind == "permission":
        if ruling.approved:
            return Answer({"decision": "allow", "behavior": "allow_once", "decided_by": ruling.by})
        return Answer({"decision": "deny", "decided_by": ruling.by, "message": ruling.reason or ruling.comment or ""})
    content: dict[str, object] = {"approved": ruling.approved}
    words = {"comment": ruling.comment, "edited_summary": ruling.edited_summary, "reason": ruling.reason}
    content |= {key: word for key, word in words.items() if word}
    return Answer(content | {"decided_by": ruling.by, "request_id": asked.request_id})


def _by_policy(verdict: policy.Verdict) -> Ruling:
    by = f"rule {verdict.rule + 1}" if verdict.rule is not None else verdict.decided_by
    return Ruling(
        approved=verdict.answer == "allow",
        by=by,
        comment=verdict.comment or None,
        reason=verdict.reason or None,
    )


def _with_why(asked: Approval, verdict: policy.Verdict) -> Approval:
    """The request, with the rule that wants a person to decide."""
    why = verdict.rule_text + (f": {verdict.reason}" if verdict.reason else "")
    return replace(asked, why=why)


# --- deeds ------------------------------------------------------------------------------------------------------------


def judge(d: Decision, signal: s.DeedAsked) -> None:
    """Let a tool call run, refuse it, or have a person look at it first."""
    actor = d.actor(signal.actor)
    path = tree.path_of(d.state, actor)
    if signal.is_permission:
        request = policy.Request(path=path, role=actor.role, category="tool_use", tool_name=signal.tool)
        verdict = policy.judge_request(d.state.spec.policy, request)
    else:
        deed = policy.Deed(path=path, role=actor.role, tool=signal.tool, input=signal.input)
        verdict = policy.judge_deed(d.state.spec.policy, deed)
    if verdict.answer == "ask":
        asked = Approval(
            request_id=f"req-{signal.minted}",
            kind="permission" if signal.is_permission else "deed",
            actor=signal.actor,
            path=path,
            role=actor.role,
            category="tool_use",
            summary=f"{signal.tool} {signal.summary}".strip(),
            tool_name=signal.tool,
            tool_input=as_text(signal.input),
            asked_at=d.at,
            expires_at=d.at + _default_secs(d),
            why=verdict.rule_text,
        )
        pending = Pending(attempt=signal.attempt, hook_id=signal.request_id)
        earlier = _asked_before(d, asked)
        if earlier is None:
            d.note(a.ApprovalRequested(**d.about(signal.actor), approval=asked, pending=pending))
        else:
            _take_up_deed(d, signal, earlier, pending)
        return
    allowed = verdict.answer != "deny"
    _note_deed(d, signal, "allow" if allowed else "deny", verdict.rule_text)
    _answer_hook(d, signal.actor, signal.attempt, signal.request_id, allowed=allowed, reason=verdict.reason)


def _take_up_deed(d: Decision, signal: s.DeedAsked, one: Asked, pending: Pending) -> None:
    """Go on with a tool call that a person was to look at when its actor was cut off."""
    name, heard = one.approval.request_id, one.ruling is not None
    d.note(a.ApprovalTakenUp(**d.about(signal.actor), request_id=name, pending=pending, heard=heard))
    if one.ruling is not None:
        _let(d, one.approval, pending, one.ruling)


def _note_deed(d: Decision, signal: s.DeedAsked, verdict: str, rule: str) -> None:
    d.note(
        f.ToolUsed(
            **d.about(signal.actor),
            tool=signal.tool,
            summary=signal.summary,
            tool_use_id=signal.tool_use_id,
            subagent=signal.subagent,
            verdict=verdict,
            rule=rule,
        )
    )


def _answer_hook(d: Decision, actor: ActorId, attempt: int, hook_id: str, *, allowed: bool, reason: str) -> None:
    d.ask(e.AnswerDeed(actor=actor, attempt=attempt, request_id=hook_id, allowed=allowed, reason=reason))


# --- answers ----------------------------------------------------------------------------------------------------------


def answered(d: Decision, order: AnswerApproval, via: str, *, absent: bool) -> Answer | Refused:
    """A person has decided: once, from anywhere; if nobody is there to hear it, it is kept."""
    one = d.state.approvals.get(order.request_id)
    if one is None or one.ruling is not None:
        return refused("not_found", f"unknown request_id: {order.request_id}{_answered_by(one)}")
    ruling = Ruling(
        approved=order.approved,
        by="operator",
        comment=order.comment,
        reason=order.reason,
        edited_summary=order.edited_summary,
        via=via,
    )
    if absent:
        about = d.about(one.approval.actor)
        d.note(a.ApprovalDecided(**about, request_id=order.request_id, ruling=ruling, heard=False))
    else:
        decide(d, one, ruling)
    return Answer({"ok": True, "approved": order.approved})


def _answered_by(one: Asked | None) -> str:
    """For whoever comes second."""
    if one is None or one.ruling is None:
        return ""
    who = f"{one.ruling.by}, {one.ruling.via}" if one.ruling.via else one.ruling.by
    return f" (already answered by {who}: {'approved' if one.ruling.approved else 'rejected'})"


def decide(d: Decision, one: Asked, ruling: Ruling) -> None:
    """Answer a request; whoever waits for it hears it, and one that was cut off hears it when it asks again."""
    asked = one.approval
    wait, at_hook = _wait_for(d, asked.request_id), _is_at_hook(d, one)
    heard = wait is not None or at_hook
    d.note(a.ApprovalDecided(**d.about(asked.actor), request_id=asked.request_id, ruling=ruling, heard=heard))
    if wait is not None:
        end(d, wait, "answered", told(asked, ruling))
    if at_hook:
        _let(d, asked, one.pending, ruling)


def _let(d: Decision, asked: Approval, pending: Pending, ruling: Ruling) -> None:
    """Let the tool call run that waits at the hook, or refuse it."""
    d.note(
        f.ToolUsed(
            **d.about(asked.actor),
            tool=asked.tool_name or "",
            summary=asked.summary.partition(" ")[2],
            verdict="allow" if ruling.approved else "deny",
            rule=f"{ruling.by}: {asked.why}" if asked.why else ruling.by,
        )
    )
    reason = ruling.reason or ruling.comment or REFUSED
    hook = pending.hook_id or ""
    _answer_hook(d, asked.actor, pending.attempt, hook, allowed=ruling.approved, reason=reason)


def _wait_for(d: Decision, request_id: str) -> Wait | None:
    waits = (wait for wait in d.state.waits.values() if isinstance(wait.awaited, ForApproval))
    return next((wait for wait in waits if wait.awaited == ForApproval(request_id=request_id)), None)


def expire(d: Decision) -> None:
    """Answer every request whose time is over by its fallback."""
    for one in list(d.state.approvals.values()):
        due = one.approval.expires_at
        if one.ruling is None and due is not None and due <= d.at:
            approved = one.approval.fallback == "auto_approve"
            word = "AutoApprove" if approved else "AutoReject"
            reason = None if approved else f"TTL expired: fallback={word}"
            decide(d, one, Ruling(approved=approved, by="expiry", comment="TTL expired", reason=reason))


def caller_ended(d: Decision, actor: ActorId) -> None:
    """Nobody is left to hear the answer."""
    for one in list(d.state.approvals.values()):
        if one.approval.actor == actor and one.ruling is None:
            reason = "the actor that asked has ended"
            decide(d, one, Ruling(approved=False, by=CALLER_ENDED, reason=reason))


def as_text(value: object) -> str:
    """A tool's arguments as JSON, for a person to read; shortened where they are very long."""
    text = msgspec.json.encode(value).decode()
    if len(text) <= INPUT_CHARS:
        return text
    # By this text a call that is made again is known: what differs in the part left out must differ here too.
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return f"{text[:INPUT_CHARS]} … {len(text) - INPUT_CHARS} more characters (sha256 {digest})"
