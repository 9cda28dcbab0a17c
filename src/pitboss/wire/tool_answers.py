"""The answers to calls of our tools: results with public times, refusals with a code word, and a limit to their size.

Inside, a time is seconds since the epoch; clients are promised RFC 3339. Here, at the edge, one becomes the other.
Called by whoever serves the messages of ``wire.mcp``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from pitboss.model.answers import LONGEST_ANSWER
from pitboss.wire import mcp
from pitboss.wire.claude_events import CallId, JsonObject
from pitboss.wire.scalars import to_json, to_plain

__all__ = ["refusal", "result_of"]

_INVALID_REQUEST: Final = -32600
_INVALID_PARAMS: Final = -32602
_INTERNAL: Final = -32603

_NUMBERS: Final = {"invalid_params": _INVALID_PARAMS, "unknown_tool": _INVALID_PARAMS, "internal": _INTERNAL}
"""JSON-RPC's number for a code word; every other refusal is an invalid request."""

_GATES: Final = frozenset({"forbidden", "invalid_params", "unknown_tool"})
"""Refusals that spawn_sublead has in common with the other tools; 0.9 reports its own ones as internal errors."""

_LESS: Final = {
    "kv_get": "read the key in another form (text or json), or have it stored in several smaller keys",
    "kv_wait": "wait with another form (text or json), or have it stored in several smaller keys",
    "kv_list": "list with a narrower pattern, or go on from an offset",
    "list_workers": "go on from an offset",
    "lease_list": "go on from an offset",
    "wait_for_worker": "ask worker_status, or have the worker put its result into the shared store in parts",
    "wait_for_any": "ask worker_status, or have the worker put its result into the shared store in parts",
    "wait_actor": "ask worker_status, or have the actor put its result into the shared store in parts",
}
"""How to ask for less."""


def result_of(structured: Mapping[str, object], *, tool: str = "") -> JsonObject:
    """Build the payload of a call that was carried out: the same JSON as text and as structure.

    An answer over `LONGEST_ANSWER` is replaced by one, marked as an error, that says so and how to ask for less.

    Args:
        structured: The answer. Each `Instant` in it becomes RFC 3339.
        tool: The tool that was called, for what to do about an answer that is too large.
    """
    text = to_json(to_plain(structured))
    if len(text) <= LONGEST_ANSWER:
        return _payload(text)
    advice = _LESS.get(tool, "ask for less")
    too_large = {
        "code": "answer_too_large",
        "message": f"The answer has {len(text)} bytes, the limit is {LONGEST_ANSWER}: {advice}.",
        "size_bytes": len(text),
        "limit_bytes": LONGEST_ANSWER,
    }
    return _payload(to_json(too_large), is_error=True)


def refusal(call_id: CallId, code: str, message: str, /, *, tool: str = "", **data: object) -> JsonObject:
    """Build the answer to a call that was not carried out: a JSON-RPC error whose ``data.code`` a program can read.

    Args:
        call_id: Which call.
        code: The code word: ``conflict``, ``forbidden``, ``invalid_params`` ...
        message: One sentence for the model.
        tool: The tool that was called.
        data: What else a program may want to know; times as in `result_of`.
    """
    number = _NUMBERS.get(code, _INVALID_REQUEST)
    if tool == "spawn_sublead" and code not in _GATES:
        number = _INTERNAL
    published = to_plain(data | {"code": code})
    return _sound(mcp.error(call_id, number, message, {"code": code} | _sound(published)))


def _payload(text: bytes, *, is_error: bool = False) -> JsonObject:
    # Decoded again, so that the structure is exactly what the text says: one of them alone may reach the model.
    structure = msgspec.json.decode(text, type=JsonObject)
    return mcp.tool_text(text.decode(), is_error=is_error) | {"structuredContent": structure}


def _sound(answer: object) -> JsonObject:
    """Return what JSON can carry of an answer."""
    return msgspec.json.decode(to_json(answer), type=JsonObject)
