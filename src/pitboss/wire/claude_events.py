"""What one Claude Code process tells us, in words: the events of `wire.claude`.

Nothing but data. A driver turns them into signals and answers the ones that ask.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from pitboss.model.run import TurnResult, Usage

__all__ = [
    "Background",
    "CallId",
    "Ended",
    "Event",
    "JsonObject",
    "McpAsked",
    "PermissionAsked",
    "Ready",
    "Refused",
    "Retrying",
    "ToolAsked",
    "ToolCancelled",
    "Unanswerable",
    "UsageSeen",
]

JsonObject: TypeAlias = dict[str, object]
"""A decoded JSON object whose insides are somebody else's business."""

CallId: TypeAlias = int | str
"""A JSON-RPC id."""


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag=True, tag_field="event"):
    """Base of all events."""


class Ready(_Event, frozen=True, kw_only=True):
    """The session answered our ``initialize``: it can be given its prompt."""

    claude_version: str | None = None


class Refused(_Event, frozen=True, kw_only=True):
    """The session cannot be held: it refused ``initialize``, or did not take our hook."""

    message: str


class ToolAsked(_Event, frozen=True, kw_only=True):
    """A tool call waits for `Conversation.allow` or `Conversation.deny`."""

    request_id: str
    tool: str
    input: JsonObject
    summary: str
    """The input in one line of at most 200 characters."""
    tool_use_id: str = ""
    subagent: str | None = None
    """Id of the subagent that calls, ``None`` for the actor itself."""


class PermissionAsked(_Event, frozen=True, kw_only=True):
    """The session's own permission rules ask; answer with `Conversation.permit` or `Conversation.forbid`."""

    request_id: str
    tool: str
    input: JsonObject
    summary: str
    tool_use_id: str = ""
    subagent: str | None = None
    reason: str = ""
    """Why the session asks, if it says so."""


class McpAsked(_Event, frozen=True, kw_only=True):
    """An MCP message for our server; answer with `Conversation.mcp_answer`, notifications too."""

    request_id: str
    message: JsonObject


class ToolCancelled(_Event, frozen=True, kw_only=True):
    """Nobody waits for an answer any more; one that comes late is ignored."""

    request_id: str | None
    """The request that was withdrawn, if it was one we still had to answer."""
    call_id: CallId | None = None
    """The JSON-RPC id, if it was a call of a tool of ours."""
    reason: str = ""


class Unanswerable(_Event, frozen=True, kw_only=True):
    """A request of a kind we do not know; answer with `Conversation.refuse`, or the session waits for ever."""

    request_id: str
    subtype: str


class UsageSeen(_Event, frozen=True, kw_only=True):
    """Tokens of this process so far: an estimate that only grows; `Ended` has the exact account."""

    usage: Usage
    model: str | None = None


class Retrying(_Event, frozen=True, kw_only=True):
    """The API pushed back; the session asks again after ``delay_secs``."""

    status: int | None
    delay_secs: float
    error: str = ""


class Background(_Event, frozen=True, kw_only=True):
    """Which background tasks there are now, ``<type>: <description>`` each; empty means none."""

    tasks: tuple[str, ...]


class Ended(_Event, frozen=True, kw_only=True):
    """A turn ended; if the last `Background` names no task, so did the work.

    Subagents and background shells start turns by themselves when they are done; turns that follow each other without
    a pause have one end.
    """

    result: TurnResult
    usage: Usage
    """Tokens of this process so far, subagents included, as the session itself accounts for them."""
    final_message: str | None = None
    heard: int | None = None
    """How many of our messages to this process it had begun to read; None if it does not tell. While it is fewer than
    were said, another turn follows."""


Event: TypeAlias = (
    Ready
    | Refused
    | ToolAsked
    | PermissionAsked
    | McpAsked
    | ToolCancelled
    | Unanswerable
    | UsageSeen
    | Retrying
    | Background
    | Ended
)
"""Every kind of event; ``match`` over it ends in ``assert_never``."""
