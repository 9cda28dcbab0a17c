"""What we say to a Claude Code process: one line of bytes for each thing there is to say.

Half of `wire.claude.Conversation`, which hears the answers; nothing else uses it.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec

from pitboss.wire.claude_events import CallId, JsonObject

__all__ = ["HOOK", "Voice"]

HOOK: Final = "hook_0"
"""The name of our hook in the talk."""

_HOOK_TIMEOUT_SECS: Final = 86_400
"""How long a tool call may wait for our answer: an approval is given by a person."""


class Voice:
    """Makes lines, and remembers which of them an answer is expected to.

    Args:
        session_id: Claude's id of the session.
        cookie: The mark of this process, which no other process of the session has.
    """

    def __init__(self, session_id: str, cookie: str) -> None:
        self._session_id = session_id
        self._cookie = cookie
        self._said = 0
        """Messages said to the model."""
        self._unheard: set[str] = set()
        """Those of them that the session has not begun to read, as far as it tells."""
        self._interrupting = False
        """The result that comes next ends a turn because we wanted it."""
        self._asked: dict[str, str] = {}
        """Our own requests that are not answered yet: id to subtype."""
        self._calls: dict[CallId, str] = {}
        """Calls of our tools that are not answered yet: JSON-RPC id to request id."""
        self._requests = 0

    def hello(self) -> bytes:
        """Open the talk: every tool call, subagents' too, is to be put to us, and is refused if we fail to answer."""
        hook = {
            "matcher": None,
            "hookCallbackIds": [HOOK],
            "timeout": _HOOK_TIMEOUT_SECS,
            "onFailure": "block",
        }
        return self._request("initialize", hooks={"PreToolUse": [hook]})

    def prompt(self, text: str) -> bytes:
        """Say something to the model: the first prompt, or more while a turn runs."""
        self._said += 1
        # It tells what becomes of a message that has an id; of one whose id it has met before, it would take no notice.
        uuid = _uuid(f"{self._cookie}/{self._said}")
        self._unheard.add(uuid)
        message: JsonObject = {
            "type": "user",
            "message": {"role": "user", "content": text},
            "parent_tool_use_id": None,
            "session_id": self._session_id,
            "uuid": uuid,
        }
        if text.lstrip().startswith("/"):
            # Else a prompt such as "/cost of living ..." is taken for a command, which is switched off, and the
            # turn "succeeds" without the model.
            message["client_composed"] = True
        return _line(message)

    def interrupt(self) -> bytes:
        """End the running turn; a result follows and the session stays usable."""
        self._interrupting = True
        return self._request("interrupt")

    def set_model(self, model: str) -> bytes:
        """Use another model from the next API call on."""
        return self._request("set_model", model=model)

    def set_permission_mode(self, mode: str) -> bytes:
        """Change what the session asks about by itself."""
        return self._request("set_permission_mode", mode=mode)

    def allow(self, request_id: str) -> bytes:
        """Let a tool call pass our hook; the session's own permission mode still applies."""
        return _answer(request_id, {})

    def deny(self, request_id: str, reason: str) -> bytes:
        """Stop a tool call; the model reads the reason."""
        verdict = {
            "hookEventName": "PreToolUse",
            "permissionDecision": "deny",
            "permissionDecisionReason": reason,
        }
        return _answer(request_id, {"hookSpecificOutput": verdict})

    def permit(self, request_id: str, input: JsonObject) -> bytes:  # noqa: A002 - the protocol's own word
        """Answer a `PermissionAsked` with yes; ``input`` may differ from what was asked."""
        return _answer(request_id, {"behavior": "allow", "updatedInput": input})

    def forbid(self, request_id: str, message: str) -> bytes:
        """Answer a `PermissionAsked` with no; the model reads the message."""
        return _answer(request_id, {"behavior": "deny", "message": message})

    def mcp_answer(self, request_id: str, message: JsonObject) -> bytes:
        """Answer an `McpAsked` with a JSON-RPC message (see `wire.mcp`)."""
        self._calls = {call: request for call, request in self._calls.items() if request != request_id}
        return _answer(request_id, {"mcp_response": message})

    def refuse(self, request_id: str, reason: str) -> bytes:
        """Answer a request with an error; a hook's tool call is then refused too."""
        return _line(
            {"type": "control_response", "response": {"subtype": "error", "request_id": request_id, "error": reason}}
        )

    def _request(self, subtype: str, **fields: object) -> bytes:
        self._requests += 1
        request_id = f"req_{self._requests}"
        self._asked[request_id] = subtype
        return _line({"type": "control_request", "request_id": request_id, "request": {"subtype": subtype, **fields}})


def _uuid(name: str) -> str:
    """The same for the same name; of the form that RFC 9562 leaves to whoever makes it (version 8)."""
    digits = sha256(name.encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"


def _line(message: JsonObject) -> bytes:
    return msgspec.json.encode(message) + b"\n"


def _answer(request_id: str, response: JsonObject) -> bytes:
    return _line(
        {"type": "control_response", "response": {"subtype": "success", "request_id": request_id, "response": response}}
    )
