"""The operators' protocol: one JSON object a line, ``op`` towards the run, ``event`` towards the operator.

The shapes are those of Pitboss 0.9's control socket; what is ours is added. Pure: bytes in, words out, and back.
Called by ``services.control`` and by ``surfaces`` that give orders.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import msgspec

from pitboss.model.answers import Answer, Refused
from pitboss.model.approvals import Approval, Decision, Proposal
from pitboss.model.run import Rule
from pitboss.wire.scalars import to_json, to_plain, to_timestamp

__all__ = [
    "LONGEST_LINE",
    "Approve",
    "GiveSeat",
    "Hello",
    "ListApprovals",
    "Op",
    "RunKind",
    "acked",
    "approval_request",
    "approval_resolved",
    "approval_shape",
    "approvals_snapshot",
    "encode",
    "encode_op",
    "failed",
    "hello_event",
    "name_of",
    "parse",
    "parse_event",
    "tag_of",
]

LONGEST_LINE = 1 << 20
"""So many bytes a line from an operator may have."""

RunKind = Literal["flat", "hierarchical"]


class _Op(msgspec.Struct, frozen=True, kw_only=True, tag_field="op", omit_defaults=True):
    """Base of all orders; keys that are not known are passed over, as ever."""


class Hello(_Op, frozen=True, kw_only=True, tag="hello"):
    """The first line of every connection."""

    client_version: str


class Approve(_Op, frozen=True, kw_only=True, tag="approve"):
    """Answers a request for approval."""

    request_id: str
    approved: bool
    comment: str | None = None
    edited_summary: str | None = None
    reason: str | None = None


class ListApprovals(_Op, frozen=True, kw_only=True, tag="list_approvals"):
    """Ours: asks for the requests that wait for an answer."""


class GiveSeat(_Op, frozen=True, kw_only=True, tag="give_seat"):
    """Ours: asks for a seat, from which any MCP client can call an actor's tools in its name."""

    actor_id: str


Op: TypeAlias = Hello | Approve | ListApprovals | GiveSeat

_ops: msgspec.json.Decoder[Op] = msgspec.json.Decoder(Op)


class _Tag(msgspec.Struct, frozen=True):
    op: str


# --- from an operator -------------------------------------------------------------------------------------------------


def parse(line: bytes) -> Op | str:
    """What an operator wants, or why that cannot be told."""
    try:
        return _ops.decode(line)
    except (ValueError, RecursionError) as problem:  # msgspec's errors and bad UTF-8 are ValueErrors
        return f"parse error: {problem}"


def name_of(op: Op) -> str:
    """An order's name, as it stands on the wire."""
    return str(op.__struct_config__.tag)


def tag_of(line: bytes) -> str:
    """What a line that cannot be understood calls itself; ``parse_error`` if it has no name for itself."""
    try:
        return msgspec.json.decode(line, type=_Tag).op
    except (ValueError, RecursionError):
        return "parse_error"


def encode_op(op: Op) -> bytes:
    """An order as a line, newline included."""
    return to_json(op) + b"\n"


# --- from the run -----------------------------------------------------------------------------------------------------


def encode(event: dict[str, object]) -> bytes:
    """One line, newline included; what is ``None`` is left out."""
    present = {key: value for key, value in event.items() if value is not None}
    return to_json(to_plain(present)) + b"\n"


def parse_event(line: bytes) -> dict[str, object] | None:
    """What a run says; ``None`` for a line that no run would send. Unknown events are to be passed over."""
    try:
        event: object = msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def hello_event(version: str, run_id: str, kind: RunKind, workers: Sequence[str], rules: Sequence[Rule] = ()) -> bytes:
    """What a run says first."""
    return encode(
        {
            "event": "hello",
            "server_version": version,
            "run_id": run_id,
            "run_kind": kind,
            "workers": list(workers),
            "policy_rules": [_rule(rule) for rule in rules] or None,
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


def acked(op: str, answer: Answer) -> bytes:
    """An order was carried out."""
    extra = {key: value for key, value in answer.content.items() if key != "ok"}
    return encode({"event": "op_acked", "op": op, **extra})


def failed(op: str, problem: str | Refused) -> bytes:
    """An order was not carried out."""
    event: dict[str, object] = {"event": "op_failed", "op": op}
    if isinstance(problem, str):
        return encode(event | {"error": problem})
    return encode(event | {"error": problem.message, "code": problem.code})


# --- approvals --------------------------------------------------------------------------------------------------------


def approval_request(asked: Approval) -> bytes:
    """Somebody waits for an operator's decision."""
    return encode({"event": "approval_request", **approval_shape(asked)})


def approvals_snapshot(waiting: Iterable[Approval]) -> bytes:
    """Ours: everything that waits for a decision; the answer to ``list_approvals``."""
    return encode({"event": "approvals_snapshot", "approvals": [approval_shape(asked) for asked in waiting]})


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


def approval_shape(asked: Approval) -> dict[str, object]:
    """A request as operators are shown it: the keys of 0.9, then ours; plain data without ``None``."""
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
        "expires_at": None if asked.expires_at is None else to_timestamp(asked.expires_at),
        "fallback": None if asked.expires_at is None else asked.fallback,
        "why": asked.why or None,
    }
    return {key: value for key, value in shape.items() if value is not None}


def _plan(plan: Proposal) -> dict[str, object]:
    known: dict[str, object] = msgspec.structs.asdict(plan)
    return {key: value for key, value in known.items() if value}
