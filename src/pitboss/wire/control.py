"""The operators' protocol: one JSON object a line, ``op`` towards the run, ``event`` towards the operator.

The shapes are those of Pitboss 0.9's control socket; what is ours is added. Pure: bytes in, words out, and back.
Called by ``services.control`` and by ``surfaces`` that give orders.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from pitboss.model.answers import Answer, Instant, Refused
from pitboss.wire.scalars import to_json, to_timestamp

__all__ = [
    "LONGEST_LINE",
    "Approve",
    "Hello",
    "ListApprovals",
    "Op",
    "acked",
    "encode",
    "failed",
    "hello_event",
    "parse",
]

LONGEST_LINE = 1 << 20
"""So many bytes a line from an operator may have."""


class _Op(msgspec.Struct, frozen=True, kw_only=True, tag_field="op"):
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


Op: TypeAlias = Hello | Approve | ListApprovals

_ops: msgspec.json.Decoder[Op] = msgspec.json.Decoder(Op)


def parse(line: bytes) -> Op | str:
    """What an operator wants, or why that cannot be told."""
    try:
        return _ops.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        return f"parse error: {problem}"


def encode(event: dict[str, object]) -> bytes:
    """One line, newline included; what is ``None`` is left out."""
    present = {key: value for key, value in event.items() if value is not None}
    return to_json(msgspec.to_builtins(present, enc_hook=_public)) + b"\n"


def _public(value: object) -> object:
    if isinstance(value, Instant):
        return to_timestamp(value)
    raise NotImplementedError(type(value).__name__)


def hello_event(version: str, run_id: str, kind: Literal["flat", "hierarchical"], workers: list[str]) -> bytes:
    """What a run says first."""
    return encode({"event": "hello", "server_version": version, "run_id": run_id, "run_kind": kind, "workers": workers})


def acked(op: str, answer: Answer) -> bytes:
    """An order was carried out."""
    extra = {key: value for key, value in answer.content.items() if key != "ok"}
    return encode({"event": "op_acked", "op": op, **extra})


def failed(op: str, problem: str | Refused) -> bytes:
    """An order was not carried out."""
    return encode({"event": "op_failed", "op": op, "error": problem if isinstance(problem, str) else problem.message})
