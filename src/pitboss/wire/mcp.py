"""Our own MCP server, ``pitboss``, in data: which tools there are, and the answer to each message.

Four methods are all a client needs of a server that only has tools: ``initialize``, ``ping``, ``tools/list`` and
``tools/call``. The messages are whole JSON-RPC objects, whatever carried them: the pipe of a Claude Code session
(`wire.claude.McpAsked`) or, later, a socket. Nothing is carried out here: a call comes back as a `Call`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from pitboss.model.run import Role
from pitboss.wire.claude_events import CallId, JsonObject

__all__ = ["SERVER_NAME", "Call", "Tool", "answer", "cancelled", "error", "for_role", "result", "tool_text"]

SERVER_NAME: Final = "pitboss"
"""Tools appear to the model as ``mcp__pitboss__<name>``."""

_VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Protocol versions we can speak, newest first; for tools alone they do not differ."""

_INVALID_REQUEST: Final = -32600
_METHOD_NOT_FOUND: Final = -32601
_INVALID_PARAMS: Final = -32602

_BAD_PARAMS: Final[JsonObject] = {"code": "invalid_params"}

_ACK: Final[JsonObject] = {"jsonrpc": "2.0", "result": {}}
"""What a notification is acknowledged with: JSON-RPC wants no answer, but the request that carried it does."""


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """One tool of ours: a row of a table, nothing else."""

    name: str
    description: str
    """What it does, when to use it, what comes back: the model reads nothing else."""
    input_schema: JsonObject
    """JSON Schema of its arguments; ``type`` is ``object``."""
    read_only: bool = False
    """True if it changes nothing: the client may then run several at once."""
    roles: tuple[Role, ...] = ()
    """Who has it."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A well-formed call of a tool that exists; answer it with `result` or `error`."""

    call_id: CallId
    tool: str
    arguments: JsonObject


class _Params(msgspec.Struct, frozen=True):
    protocol_version: str | None = msgspec.field(default=None, name="protocolVersion")
    name: str | None = None
    arguments: JsonObject | None = None


class _Request(msgspec.Struct, frozen=True):
    jsonrpc: Literal["2.0"]
    method: str
    id: CallId | None = None
    params: _Params = _Params()


def for_role(tools: Sequence[Tool], role: Role) -> tuple[Tool, ...]:
    """Return the tools an actor of this role has."""
    return tuple(tool for tool in tools if role in tool.roles)


def answer(
    message: JsonObject, tools: Sequence[Tool], *, version: str = "0", instructions: str = ""
) -> JsonObject | Call:
    """Answer one message of a client.

    Args:
        message: A JSON-RPC request or notification.
        tools: The tools this client has; all others do not exist for it.
        version: What we say our version is.
        instructions: What we say about the server as a whole, for the model to read.

    Returns:
        The answer, or a `Call` that somebody else has to answer.
    """
    if "method" not in message and ("result" in message or "error" in message):
        return _ACK  # An answer to a question we never ask.
    try:
        request = msgspec.convert(message, _Request)
    except msgspec.ValidationError as problem:
        return _refusal(message, str(problem))
    if request.id is None:
        return _ACK
    match request.method:
        case "initialize":
            return result(request.id, _welcome(request.params.protocol_version, version, instructions))
        case "ping":
            return result(request.id, {})
        case "tools/list":
            return result(request.id, {"tools": [_listed(tool) for tool in tools]})
        case "tools/call":
            return _call(request.id, request.params, tools)
        case unknown:
            return error(request.id, _METHOD_NOT_FOUND, f"This server has no method {unknown!r}.")


def cancelled(message: JsonObject) -> CallId | None:
    """Which call a message gives up; ``None`` if it gives up none."""
    params = message.get("params")
    if message.get("method") != "notifications/cancelled" or not isinstance(params, dict):
        return None
    call_id = params.get("requestId")
    return call_id if isinstance(call_id, int | str) else None


def result(call_id: CallId, payload: JsonObject) -> JsonObject:
    """Build the answer to a request that went well."""
    return {"jsonrpc": "2.0", "id": call_id, "result": payload}


def error(call_id: CallId | None, code: int, message: str, data: JsonObject | None = None) -> JsonObject:
    """Build the answer to a request that was refused, or could not be understood.

    Args:
        call_id: Which request, if it is known.
        code: JSON-RPC's number for the kind of error.
        message: One sentence for a reader.
        data: What a program may want to know.
    """
    problem: JsonObject = {"code": code, "message": message}
    return {"jsonrpc": "2.0", "id": call_id, "error": problem if data is None else problem | {"data": data}}


def tool_text(text: str, *, is_error: bool = False) -> JsonObject:
    """Build the payload of a call's `result`; ``is_error`` tells the model that the call failed."""
    return {"content": [{"type": "text", "text": text}], "isError": is_error}


def _welcome(wanted: str | None, version: str, instructions: str) -> JsonObject:
    welcome: JsonObject = {
        "protocolVersion": wanted if wanted in _VERSIONS else _VERSIONS[0],
        "capabilities": {"tools": {}},
        "serverInfo": {"name": SERVER_NAME, "version": version},
    }
    return welcome | {"instructions": instructions} if instructions else welcome


def _listed(tool: Tool) -> JsonObject:
    return {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": tool.input_schema,
        "annotations": {"readOnlyHint": tool.read_only},
    }


def _call(call_id: CallId, params: _Params, tools: Sequence[Tool]) -> JsonObject | Call:
    if params.name is None:
        return error(call_id, _INVALID_PARAMS, "A tools/call must name its tool in params.name.", _BAD_PARAMS)
    if all(params.name != tool.name for tool in tools):
        known = ", ".join(sorted(tool.name for tool in tools)) or "none"
        problem = f"tool not found: {params.name!r}; the tools of this session: {known}."
        return error(call_id, _INVALID_PARAMS, problem, {"code": "unknown_tool"})
    return Call(call_id=call_id, tool=params.name, arguments=params.arguments or {})


def _refusal(message: JsonObject, problem: str) -> JsonObject:
    found = message.get("id")
    call_id = found if isinstance(found, int | str) else None
    sentence = f"This is no JSON-RPC 2.0 request: {problem}."
    if "`$.params" in problem:
        return error(call_id, _INVALID_PARAMS, sentence, _BAD_PARAMS)
    return error(call_id, _INVALID_REQUEST, sentence)
