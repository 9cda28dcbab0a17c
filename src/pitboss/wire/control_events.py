"""The operators' protocol, towards the operator: one JSON object a line, ``event`` says what it is about.

The shapes are those of Pitboss 0.9's control socket; what is ours is added. How a view travels is ``wire.views``'s.
Pure. Called by ``services`` and by ``surfaces`` that give orders.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import msgspec

from pitboss.model.answers import Answer, Instant, Refused
from pitboss.model.approvals import Approval, Decision, End, Proposal
from pitboss.model.run import ActorId, Failure, Phase, Policy, Rule, Status
from pitboss.model.views import ActorView
from pitboss.wire.artifacts import public_failure
from pitboss.wire.control import SEVERAL
from pitboss.wire.scalars import to_json, to_plain, to_timestamp

__all__ = [
    "Event",
    "RunKind",
    "acked",
    "approval_request",
    "approval_resolved",
    "approval_shape",
    "approvals_snapshot",
    "encode",
    "failed",
    "hello",
    "parse_event",
    "policy_changed",
    "run_finished",
    "store_activity",
    "sublead_spawned",
    "sublead_terminated",
    "superseded",
    "unknown_state",
    "worker_failed",
    "workers_snapshot",
]

Event = dict[str, object]
RunKind = Literal["flat", "hierarchical"]

_PREVIEW_CHARS = 80

_STANDING_WORDS: Mapping[str, str] = MappingProxyType({"continue_worker": "not_paused", "reprompt_worker": "invalid"})
"""Op -> what clients of 0.9 are told of any state in which it cannot be carried out."""

_DONE_WORDS: Mapping[Status, str] = MappingProxyType(
    {
        Status.SUCCESS: "done_success",
        Status.FAILED: "done_failed",
        Status.TIMED_OUT: "done_timed_out",
        Status.CANCELLED: "done_cancelled",
        Status.SPAWN_FAILED: "done_spawn_failed",
        Status.APPROVAL_REJECTED: "done_approval_rejected",
        Status.APPROVAL_TIMED_OUT: "done_approval_timed_out",
    }
)
_PHASE_WORDS: Mapping[Phase, str] = MappingProxyType(
    {
        Phase.QUEUED: "pending",
        Phase.PREPARING: "pending",
        Phase.STARTING: "pending",
        Phase.PAUSED: "paused",
        Phase.FROZEN: "frozen",
    }
)
"""Everyone else is running."""


def encode(event: Mapping[str, object]) -> bytes:
    """One line, newline included; what is ``None`` is left out."""
    present = {key: value for key, value in event.items() if value is not None}
    return to_json(to_plain(present)) + b"\n"


def parse_event(line: bytes) -> Event | None:
    """What a run says; ``None`` for a line that no run would send. Unknown events are to be passed over."""
    try:
        event: object = msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


# --- the talk itself --------------------------------------------------------------------------------------------------


def hello(
    version: str, run_id: str, kind: RunKind, workers: Sequence[str], policy: Policy, policy_version: int
) -> bytes:
    """What a run says first."""
    return encode(
        {
            "event": "hello",
            "server_version": version,
            "run_id": run_id,
            "run_kind": kind,
            "workers": list(workers),
            "policy_rules": [_rule(rule) for rule in policy.rules] or None,
            "policy_default": policy.default_action,
            "policy_version": policy_version,
            "capabilities": [SEVERAL, "subscribe"],
        }
    )


def _rule(rule: Rule) -> dict[str, object]:
    """The four keys of 0.9, with ``null`` for what is not given; ours only where they are given."""
    match: dict[str, object] = {
        "actor": rule.actor,
        "category": rule.category,
        "tool_name": rule.tool_name,
        "cost_over": rule.cost_over,
    }
    ours = {"tool": rule.tool, "args": rule.args or None, "role": rule.role}
    match |= {key: value for key, value in ours.items() if value is not None}
    return {"match": match, "action": rule.action} | ({"reason": rule.reason} if rule.reason else {})


def superseded() -> bytes:
    """A client that minds others has come after this one, which does too."""
    return encode({"event": "superseded"})


def acked(op: str, answer: Answer, task_id: str | None = None) -> bytes:
    """An op was carried out."""
    extra = {key: value for key, value in answer.content.items() if key != "ok"}
    return encode({"event": "op_acked", "op": op, "task_id": task_id, **extra})


def failed(op: str, problem: str | Refused, task_id: str | None = None) -> bytes:
    """An op was not carried out."""
    event: Event = {"event": "op_failed", "op": op, "task_id": task_id}
    if isinstance(problem, str):
        return encode(event | {"error": problem})
    return encode({**problem.extra, **event, "error": problem.message, "code": problem.code})


def unknown_state(op: str, task_id: str, refusal: Refused) -> bytes:
    """An op cannot be carried out as its target stands now; ``state`` and ``error``, which are ours, say more."""
    state = str(refusal.extra.get("state", ""))
    return encode(
        {
            "event": "op_unknown_state",
            "op": op,
            "task_id": task_id,
            "current_state": _STANDING_WORDS.get(op, state),
            "state": state,
            "error": refusal.message,
            "code": refusal.code,
        }
    )


# --- the run ----------------------------------------------------------------------------------------------------------


def workers_snapshot(actors: Iterable[ActorView]) -> bytes:
    """Every actor; the answer to ``list_workers``."""
    return encode({"event": "workers_snapshot", "workers": [_worker(actor) for actor in actors]})


def _worker(actor: ActorView) -> dict[str, object]:
    shape: dict[str, object | None] = {
        "task_id": actor.id,
        "state": _DONE_WORDS[actor.status] if actor.status else _PHASE_WORDS.get(actor.phase, "running"),
        "prompt_preview": actor.prompt[:_PREVIEW_CHARS],
        "started_at": to_timestamp(actor.started_at) if actor.started_at else None,
        "parent_task_id": actor.parent,
        "session_id": actor.session_id or None,
        "role": actor.role,
        "label": actor.label or None,
        "attempt": actor.attempt,
        "cost_usd": actor.cost_usd,
    }
    return {key: value for key, value in shape.items() if value is not None}


def store_activity(counters: Iterable[tuple[ActorId, int, int]]) -> bytes:
    """How often each actor has used the store and the leases so far."""
    shape = [{"actor_id": actor, "kv_ops": store, "lease_ops": leases} for actor, store, leases in counters]
    return encode({"event": "store_activity", "counters": shape})


def sublead_spawned(name: ActorId, budget_usd: float | None, max_workers: int | None, *, read_down: bool) -> bytes:
    """A sub-lead is there."""
    return encode(
        {
            "event": "sublead_spawned",
            "sublead_id": name,
            "budget_usd": budget_usd,
            "max_workers": max_workers,
            "read_down": read_down,
        }
    )


def sublead_terminated(name: ActorId, ending: Mapping[str, object]) -> bytes:
    """A sub-lead has ended, and everyone below it.

    Args:
        name: Its id.
        ending: How, as ``wait_actor`` tells it: ``spent_usd``, ``unspent_usd``, ``outcome``.
    """
    told = {key: ending[key] for key in ("spent_usd", "unspent_usd", "outcome")}
    return encode({"event": "sublead_terminated", "sublead_id": name, **told})


def worker_failed(name: ActorId, parent: ActorId | None, path: Sequence[ActorId], failure: Failure) -> bytes:
    """An actor has failed; nobody has ended it, and it was not its time-out."""
    public = public_failure(failure)
    # What 0.9 sends: rate_limit has its time, or null; auth_failure and context_exceeded have nothing beside.
    reason: dict[str, object] = {"kind": public.kind}
    if public.kind == "rate_limit":
        reason["resets_at"] = None if public.resets_at is msgspec.UNSET else public.resets_at
    if public.kind in {"network_error", "invalid_argument", "unknown"}:
        reason["message"] = failure.message
    return encode(
        {
            "event": "worker_failed",
            "task_id": name,
            "parent_task_id": parent,
            "reason": reason | {"pitboss_kind": failure.kind},
            "actor_path": list(path),
        }
    )


def policy_changed(policy: Policy, version: int) -> bytes:
    """Ours: other rules hold now, whoever wanted it."""
    rules = [_rule(rule) for rule in policy.rules]
    return encode(
        {"event": "policy_changed", "rules": rules, "default_action": policy.default_action, "version": version}
    )


def run_finished(total: int, failed_count: int, exit_code: int) -> bytes:
    """The run has ended; nothing follows but the end of the connection."""
    summary = {"tasks_total": total, "tasks_failed": failed_count}
    return encode({"event": "run_finished", "summary": summary, "exit_code": exit_code})


# --- approvals --------------------------------------------------------------------------------------------------------


def approval_request(asked: Approval, end: End | None) -> bytes:
    """Somebody waits for an operator's decision; until ``ends_at`` at the latest, as things stood then."""
    return encode({"event": "approval_request", **approval_shape(asked, end)})


def approvals_snapshot(waiting: Iterable[tuple[Approval, End | None]]) -> bytes:
    """Ours: everything that waits for a decision; the answer to ``list_approvals``."""
    return encode({"event": "approvals_snapshot", "approvals": [approval_shape(asked, end) for asked, end in waiting]})


def approval_resolved(asked: Approval, ruling: Decision) -> bytes:
    """Ours: a request was answered, by whomever; whoever shows it may stop doing so."""
    return encode(
        {
            "event": "approval_resolved",
            "request_id": asked.request_id,
            "task_id": asked.actor,
            "approved": ruling.approved,
            "decided_by": ruling.by,
            "via": ruling.via or None,
            "comment": ruling.comment,
            "reason": ruling.reason,
            "edited_summary": ruling.edited_summary,
        }
    )


def approval_shape(asked: Approval, end: End | None) -> dict[str, object]:
    """A request as operators are shown it: the keys of 0.9, then ours; plain data without ``None``.

    ``expires_at`` is when its fallback decides, ``ends_at`` when it is really over as things stand: by its ``expiry``,
    or by the ``timeout`` of whoever asks.
    """
    shape: dict[str, object | None] = {
        "request_id": asked.request_id,
        "task_id": asked.actor,
        "summary": asked.summary,
        "plan": None if asked.plan is None else _plan(asked.plan),
        # Clients of 0.9 know two kinds, one of them by its absence; what is finer stands under a key of ours.
        "kind": "plan" if asked.kind == "plan" else None,
        "request_kind": asked.kind,
        "actor_path": list(asked.path),
        "role": asked.role,
        "category": asked.category,
        "tool_name": asked.tool_name,
        "tool_input": asked.tool_input or None,
        "cost": asked.cost_usd,
        "asked_at": to_timestamp(asked.asked_at),
        "expires_at": None if asked.expires_at is None else to_plain(Instant(asked.expires_at)),
        "fallback": None if asked.expires_at is None else asked.fallback,
        "ends_at": None if end is None else to_plain(Instant(end.at)),
        "ends_by": None if end is None else end.by,
        "why": asked.why or None,
    }
    return {key: value for key, value in shape.items() if value is not None}


def _plan(plan: Proposal) -> dict[str, object]:
    known: dict[str, object] = msgspec.structs.asdict(plan)
    return {key: value for key, value in known.items() if value}
