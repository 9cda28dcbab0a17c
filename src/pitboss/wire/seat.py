"""One client of our MCP server: the tools it has, and the calls it has made that nobody has answered yet.

Whatever carries the messages - the pipe of a session, a socket - the same things happen to them here: what needs
nobody else is answered at once, a call that can be understood is handed on with its type, one that cannot is told why.
Pure. Used by ``drivers.claude``; who is behind a seat is the carrier's knowledge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from pitboss import __version__
from pitboss.model.answers import SPREAD, Answer, Refused
from pitboss.model.calls import AnyCall
from pitboss.model.records import TaskRecord
from pitboss.model.tree import CallId
from pitboss.wire import mcp
from pitboss.wire.artifacts import encode_task
from pitboss.wire.claude_events import JsonObject
from pitboss.wire.tool_answers import refusal, result_of
from pitboss.wire.tools import INSTRUCTIONS, BadArguments, parse

__all__ = ["Asked", "Seat"]


class Asked(NamedTuple):
    """A call that waits for its answer."""

    request_id: str
    """What the carrier knows the message by."""
    call_id: CallId
    tool: str
    call: AnyCall


class Seat:
    """What one client can call, and has called."""

    def __init__(self, tools: Sequence[mcp.Tool]) -> None:
        self.tools = tuple(tools)
        self._open: dict[CallId, Asked] = {}

    def hear(self, request_id: str, message: JsonObject) -> JsonObject | Asked:
        """Take a message: gives the answer, or a call that somebody else has to answer."""
        answer = mcp.answer(message, self.tools, version=__version__, instructions=INSTRUCTIONS)
        if not isinstance(answer, mcp.Call):
            return answer
        call = parse(answer.tool, answer.arguments)
        if isinstance(call, BadArguments):
            extra = {} if call.argument is None else {"argument": call.argument}
            return refusal(answer.call_id, call.code, call.message, tool=answer.tool, **extra)
        asked = self._open[answer.call_id] = Asked(request_id, answer.call_id, answer.tool, call)
        return asked

    def close(self, call_id: CallId) -> Asked | None:
        """Forget a call; ``None`` if nobody waits for its answer any more."""
        return self._open.pop(call_id, None)

    def payload(self, asked: Asked, answer: Answer | Refused) -> JsonObject:
        """The message that answers a call."""
        match answer:
            case Answer(content=content):
                return mcp.result(asked.call_id, result_of(_published(content), tool=asked.tool))
            case Refused(code=code, message=message, extra=extra):
                return refusal(asked.call_id, code, message, tool=asked.tool, **_published(extra))


def _published(content: Mapping[str, object]) -> dict[str, object]:
    """Records and times in the form clients are promised."""
    shown: dict[str, object] = {}
    for key, value in content.items():
        if isinstance(value, TaskRecord):
            record = msgspec.json.decode(encode_task(value), type=dict[str, object])
            shown |= record if key == SPREAD else {key: record}
        else:
            shown[key] = value
    return shown
