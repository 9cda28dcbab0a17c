"""The lines Claude Code writes, as far as we read them, and a reader that no line can upset.

Each struct names only the fields we use, so that msgspec skips the rest without building it. Every field has
a default: the format belongs to somebody else and changes without notice. Used by `wire.claude` alone.
"""

from __future__ import annotations

import re
from typing import Final, TypeGuard, TypeVar

import msgspec

from pitboss.model.run import Usage
from pitboss.wire.claude_events import CallId, JsonObject

__all__ = [
    "ApiRetry",
    "Assistant",
    "BackgroundTasks",
    "Cancelled",
    "CommandLifecycle",
    "ControlCancel",
    "ControlRequest",
    "ControlResponse",
    "Frame",
    "HookInput",
    "McpHead",
    "Message",
    "ModelUsage",
    "Reader",
    "Result",
    "StateChanged",
    "StreamEvent",
    "TextBlock",
    "Welcome",
]


class Frame(msgspec.Struct, frozen=True):
    """Base of all frames; alone, it is what tells whether the rest of a line matters."""

    type: str = ""
    subtype: str | None = None


class ApiUsage(msgspec.Struct, frozen=True):
    """``usage`` of a message, as the API spells it."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None

    def count(self) -> Usage:
        """In our words; what is missing or negative counts as none."""
        return _usage(
            self.input_tokens, self.output_tokens, self.cache_read_input_tokens, self.cache_creation_input_tokens
        )


class ModelUsage(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of ``modelUsage``, as the session spells it."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cost_usd: float | None = msgspec.field(default=None, name="costUSD")

    def count(self) -> Usage:
        """In our words; what is missing or negative counts as none."""
        return _usage(
            self.input_tokens, self.output_tokens, self.cache_read_input_tokens, self.cache_creation_input_tokens
        )


def _usage(fresh: int | None, output: int | None, read: int | None, creation: int | None) -> Usage:
    return Usage(
        input=max(0, fresh or 0),
        output=max(0, output or 0),
        cache_read=max(0, read or 0),
        cache_creation=max(0, creation or 0),
    )


class TextBlock(msgspec.Struct, frozen=True):
    """A block of a message's content; of all kinds only text is read."""

    type: str = ""
    text: str | None = None


class Message(msgspec.Struct, frozen=True):
    """A message of the model: at its start in a stream event, or with one content block in an assistant line."""

    id: str = ""
    model: str | None = None
    usage: ApiUsage | None = None
    content: list[TextBlock] | str | None = None


class Assistant(Frame, frozen=True):
    """``assistant``: one content block of a message. Its ``output_tokens`` is that of the message's start."""

    message: Message = Message()
    parent_tool_use_id: str | None = None


class _Delta(msgspec.Struct, frozen=True):
    type: str = ""
    message: Message | None = None
    usage: ApiUsage | None = None


class StreamEvent(Frame, frozen=True):
    """``stream_event``: the API's own streaming, for the actor's messages only."""

    event: _Delta = _Delta()


class ApiRetry(Frame, frozen=True):
    """``system/api_retry``."""

    error_status: int | None = None
    retry_delay_ms: float | None = None
    error: str | None = None


class _Task(msgspec.Struct, frozen=True):
    task_type: str | None = None
    description: str = ""


class BackgroundTasks(Frame, frozen=True):
    """``system/background_tasks_changed``: the whole list, each time."""

    tasks: tuple[_Task, ...] = ()


class CommandLifecycle(Frame, frozen=True):
    """``command_lifecycle``: a message of ours is ``queued``, ``started``, ``completed`` or ``cancelled``."""

    command_uuid: str = ""
    state: str = "queued"


class StateChanged(Frame, frozen=True):
    """``system/session_state_changed``: ``running``, ``requires_action`` or ``idle``."""

    state: str = "idle"


class Result(Frame, frozen=True):
    """``result``: the end of a turn."""

    is_error: bool | None = None
    api_error_status: int | None = None
    result: str | None = None
    errors: list[str] | None = None
    total_cost_usd: float | None = None
    model_usage: dict[str, ModelUsage] | None = msgspec.field(default=None, name="modelUsage")
    """Cumulative over the session, resumes included, subagents included."""
    model_usage_since_last_result: dict[str, ModelUsage] | None = None
    """The same for this process since its start or its last result."""
    num_turns: int | None = None
    terminal_reason: str | None = None


class _Request(msgspec.Struct, frozen=True):
    """``request`` of a control request: one flat shape for all subtypes."""

    subtype: str = ""
    callback_id: str | None = None
    input: JsonObject | None = None
    tool_name: str | None = None
    tool_use_id: str | None = None
    agent_id: str | None = None
    decision_reason: str | None = None
    server_name: str | None = None
    message: JsonObject | None = None


class ControlRequest(Frame, frozen=True):
    """``control_request``: the session asks us."""

    request_id: str = ""
    request: _Request = _Request()


class ControlCancel(Frame, frozen=True):
    """``control_cancel_request``: the session withdraws what it asked."""

    request_id: str | None = None


class HookInput(msgspec.Struct, frozen=True):
    """``input`` of a ``hook_callback``."""

    hook_event_name: str | None = None
    tool_name: str | None = None
    tool_input: JsonObject | None = None
    tool_use_id: str | None = None
    agent_id: str | None = None


class Welcome(msgspec.Struct, frozen=True):
    """What we read of the answer to ``initialize``."""

    claude_code_version: str | None = None
    hooks_applied: bool | None = None


class _Response(msgspec.Struct, frozen=True):
    subtype: str = ""
    request_id: str | None = None
    error: str | None = None
    response: Welcome | None = None


class ControlResponse(Frame, frozen=True):
    """``control_response``: the session answers us."""

    response: _Response = _Response()


class Cancelled(msgspec.Struct, frozen=True, rename="camel"):
    """``params`` of ``notifications/cancelled``."""

    request_id: CallId | None = None
    reason: str | None = None


class McpHead(msgspec.Struct, frozen=True):
    """As much of an MCP message as the conversation itself has to know."""

    id: CallId | None = None
    method: str | None = None
    params: Cancelled = Cancelled()


F = TypeVar("F", bound=msgspec.Struct)

_ESCAPE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)
"""Every escape of a JSON text from left to right; the group catches a surrogate that has lost its other half."""

_MOST_KINDS: Final = 64
"""How many kinds of oddities are told apart: a stream of garbage must not fill the memory."""


class Reader:
    """Decodes lines leniently and counts what was odd about them, instead of raising."""

    def __init__(self) -> None:
        self.oddities: dict[str, int] = {}
        self._head = msgspec.json.Decoder(Frame)

    def note(self, oddity: str) -> None:
        """Count one more oddity of this kind."""
        if oddity not in self.oddities and len(self.oddities) >= _MOST_KINDS:
            oddity = "others"
        self.oddities[oddity] = self.oddities.get(oddity, 0) + 1

    def head(self, line: bytes) -> Frame | None:
        """Return the kind of a line without decoding the rest; ``None`` if it is no JSON object."""
        try:
            return self._head.decode(line)
        except msgspec.ValidationError:
            return self._odd_head(line)
        except (ValueError, RecursionError):
            if (mended := _mend(line)) != line:
                return self.head(mended)
            self.note("broken json")
        return None

    def _odd_head(self, line: bytes) -> Frame | None:
        if not line.lstrip().startswith(b"{"):
            self.note("not an object")
            return None
        try:
            return self._salvage(line, Frame)
        except (ValueError, RecursionError):
            self.note("broken json")
            return None

    def frame(self, line: bytes, kind: type[F]) -> F | None:
        """Decode a line as ``kind``; what does not fit is left at its default, the rest of the line still counts.

        An agent's text may hold bytes that are no UTF-8, or half a surrogate pair (a string cut in the middle of an
        emoji is written that way, tool input included). Such a line is mended first: were it dropped, a tool call
        would wait for an answer that never comes.
        """
        try:
            return msgspec.json.decode(line, type=kind)
        except msgspec.ValidationError:
            return self._salvage(line, kind)
        except (ValueError, RecursionError):
            mended = _mend(line)
        if mended == line:
            self.note("broken json")
            return None
        self.note("mended text")
        return self.frame(mended, kind)

    def _salvage(self, line: bytes, kind: type[F]) -> F:
        kept: dict[str, object] = {}
        raw = msgspec.json.decode(_mend(line), type=dict[str, msgspec.Raw])
        for field in msgspec.structs.fields(kind):
            if field.encode_name in raw:
                part = bytes(raw[field.encode_name])
                try:
                    kept[field.name] = msgspec.json.decode(part, type=field.type)
                except (ValueError, RecursionError):
                    if _is_frame(field.type) and part.startswith(b"{"):
                        kept[field.name] = self._salvage(part, field.type)
                    else:
                        self.note(f"unexpected {kind.__name__}.{field.encode_name}")
        return kind(**kept)

    def part(self, value: JsonObject, kind: type[F]) -> F:
        """The same for a part of a line that was decoded already."""
        try:
            return msgspec.convert(value, type=kind)
        except msgspec.ValidationError:
            return self._salvage(msgspec.json.encode(value), kind)


def _is_frame(kind: object) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _mend(line: bytes) -> bytes:
    r"""Replace what is no UTF-8, and lone surrogates, by U+FFFD."""
    if not line.isascii():
        line = line.decode("utf-8", "replace").encode()
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], line)
