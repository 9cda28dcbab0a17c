"""One Claude Code process, spoken to over its own pipes: bytes in, events out; orders in, bytes out.

Sans-IO: no clock, no process, no file. The driver moves the bytes and answers what asks; `testing.fake_claude` speaks
the other half. The format is Claude Code's ``stream-json`` with its control protocol, as recorded in
``tests/wire/recordings``. This is the front door of everything about it; nothing here gives an opinion.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pitboss.model.run import Session, TurnResult, Usage
from pitboss.wire.claude_events import (
    Background,
    CallId,
    Ended,
    Event,
    JsonObject,
    McpAsked,
    PermissionAsked,
    Ready,
    Refused,
    Retrying,
    ToolAsked,
    ToolCancelled,
    Unanswerable,
    UsageSeen,
)
from pitboss.wire.claude_failures import classify
from pitboss.wire.claude_frames import (
    ApiRetry,
    Assistant,
    BackgroundTasks,
    CommandLifecycle,
    ControlCancel,
    ControlRequest,
    ControlResponse,
    HookInput,
    McpHead,
    Message,
    ModelUsage,
    Reader,
    Result,
    StateChanged,
    StreamEvent,
    Welcome,
)
from pitboss.wire.claude_launch import SIDE_DOORS, command, environment, servers
from pitboss.wire.claude_summary import one_line, summarize
from pitboss.wire.claude_tokens import TokenCount
from pitboss.wire.claude_voice import HOOK, Voice
from pitboss.wire.lines import LineSplitter
from pitboss.wire.mcp import SERVER_NAME

__all__ = [
    "SIDE_DOORS",
    "Background",
    "CallId",
    "Conversation",
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
    "classify",
    "command",
    "environment",
    "servers",
    "summarize",
]

_SYNTHETIC: Final = "<synthetic>"
"""The model that signs what the CLI itself writes, such as API errors."""

_QUIET: Final = frozenset(
    {
        "active_goal",
        "auth_status",
        "conversation_reset",
        "keep_alive",
        "prompt_suggestion",
        "rate_limit_event",
        "rename_session",
        "tool_progress",
        "tool_use_summary",
        "transcript_mirror",
        "user",
    }
)
"""Lines we know and need nothing of; they stay in the log."""

_NOTHING: Final = Usage()


class Conversation(Voice):
    """The talk with one process of one session.

    Args:
        session: What the process was started for.
        baseline: The session's tokens before this process, for a CLI that does not tell this process's own.
        baseline_usd: The same for its money.
    """

    def __init__(self, session: Session, *, baseline: Usage = _NOTHING, baseline_usd: float = 0.0) -> None:
        super().__init__(session.session_id, session.cookie)
        self.final_message: str | None = None
        """The longest text the actor itself has written."""
        self._lines = LineSplitter()
        self._reader = Reader()
        self._tokens = TokenCount(baseline)
        self._baseline_usd = baseline_usd
        self._cost_usd = 0.0
        """What the results of this process add up to."""
        self._streaming = Message()
        """The actor's own message that is being streamed."""
        self._background: tuple[str, ...] = ()
        self._busy = False
        """The session has said that it is at work; it stays False for a CLI that says nothing of the kind."""
        self._held: Ended | None = None
        """The end of a turn that may not be the last: see `_end`."""
        self._acknowledges = False
        """It tells what becomes of our messages; it stays False for a CLI that does not."""

    @property
    def usage(self) -> Usage:
        """Tokens of this process so far; exact after a result, an estimate in between."""
        return self._tokens.usage

    @property
    def oddities(self) -> dict[str, int]:
        """How many lines were of an unknown kind or unreadable, by kind."""
        return self._reader.oddities

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes of the process's output, cut anywhere; never raises, whatever they are."""
        events: list[Event] = []
        for line in self._lines.feed(chunk):
            self._hear(line, events)
        return events

    def eof(self) -> list[Event]:
        """Take what is left when the output has ended without a newline."""
        events: list[Event] = []
        if rest := self._lines.flush():
            self._hear(rest, events)
        self._release(events)
        return events

    def _hear(self, line: bytes, events: list[Event]) -> None:
        if not line or line.isspace():
            return
        head = self._reader.head(line)
        if head is None:
            return
        match head.type:
            case "stream_event":
                self._hear_stream_event(line, events)
            case "assistant":
                self._hear_assistant(line, events)
            case "control_request":
                self._hear_request(line, events)
            case "result":
                self._hear_result(line, events)
            case "command_lifecycle":
                self._hear_lifecycle(line)
            case "control_response":
                self._hear_response(line, events)
            case "control_cancel_request":
                self._hear_cancel(line, events)
            case "system":
                self._hear_system(line, head.subtype, events)
            case quiet if quiet in _QUIET:
                pass
            case unknown:
                self._reader.note(f"unknown type: {unknown[:40]}" if unknown else "no type")

    def _hear_stream_event(self, line: bytes, events: list[Event]) -> None:
        # Nearly all of them are pieces of text: a look for the two words saves decoding them.
        if b'"message_start"' not in line and b'"message_delta"' not in line:
            return
        frame = self._reader.frame(line, StreamEvent)
        if frame is None:
            return
        event = frame.event
        if event.type == "message_start" and event.message is not None:
            self._streaming = event.message
            self._count(event.message, events)
        elif event.type == "message_delta" and event.usage is not None:
            self._count(msgspec.structs.replace(self._streaming, usage=event.usage), events)

    def _hear_assistant(self, line: bytes, events: list[Event]) -> None:
        frame = self._reader.frame(line, Assistant)
        if frame is None or frame.message.model == _SYNTHETIC:
            return
        self._count(frame.message, events)
        if frame.parent_tool_use_id is None and isinstance(frame.message.content, list):
            for block in frame.message.content:
                if block.type == "text" and block.text:
                    self._consider(block.text)

    def _consider(self, text: str) -> None:
        """Keep the longest text; the earlier one of two that are equally long, and never a blank one."""
        if _weight(text) > _weight(self.final_message or ""):
            self.final_message = text

    def _count(self, message: Message, events: list[Event]) -> None:
        if not message.id or message.usage is None:
            return
        self._tokens.note(message.id, message.usage.count())
        if (usage := self._tokens.growth()) is not None:
            events.append(UsageSeen(usage=usage, model=message.model))

    def _hear_result(self, line: bytes, events: list[Event]) -> None:
        frame = self._reader.frame(line, Result)
        if frame is None:
            return
        session_usage = _summed(frame.model_usage)
        usage = self._tokens.settle(since=_summed(frame.model_usage_since_last_result), session=session_usage)
        result = TurnResult(
            subtype=frame.subtype or "",
            is_error=bool(frame.is_error),
            api_error_status=frame.api_error_status,
            text=frame.result if frame.result is not None else "\n".join(frame.errors or ()),
            cost_usd=self._settle_cost(frame),
            session_cost_usd=frame.total_cost_usd,
            session_usage=session_usage,
            num_turns=frame.num_turns or 0,
            terminal_reason=frame.terminal_reason,
        )
        self._end(Ended(result=result, usage=usage, final_message=self.final_message), events)

    def _settle_cost(self, frame: Result) -> float | None:
        """The money of this process alone, as the session itself accounts for it."""
        if frame.model_usage_since_last_result is not None:
            models = frame.model_usage_since_last_result.values()
            self._cost_usd += sum(max(0.0, model.cost_usd or 0.0) for model in models)
            return self._cost_usd
        if frame.total_cost_usd is None:
            return None
        self._cost_usd = max(0.0, frame.total_cost_usd - self._baseline_usd)
        return self._cost_usd

    def _end(self, ended: Ended, events: list[Event]) -> None:
        """Tell the end of a turn, but not while the session is about to start another by itself.

        A subagent that is done just before a result is no background task any more, and yet the session goes on to a
        turn about it. Taken for the end of the work, that result would have the input closed under the next turn, whose
        tool calls nobody could answer. So it waits for ``idle``, which follows the last result within milliseconds;
        turns without a pause between them have one end. Only an interrupted turn is over at once: whoever asked for
        that has something to say, and a message that is queued already would have a whole turn of its own first.
        """
        self._held = ended
        if self._background or self._interrupting or not self._busy:
            self._release(events)
        self._interrupting = False

    def _release(self, events: list[Event]) -> None:
        if self._held is not None:
            heard = self._said - len(self._unheard) if self._acknowledges else None
            events.append(msgspec.structs.replace(self._held, heard=heard))
            self._held = None

    def _hear_lifecycle(self, line: bytes) -> None:
        frame = self._reader.frame(line, CommandLifecycle)
        if frame is not None:
            self._acknowledges = True
            if frame.state != "queued":
                self._unheard.discard(frame.command_uuid)

    def _hear_system(self, line: bytes, subtype: str | None, events: list[Event]) -> None:
        match subtype:
            case "api_retry" if (retry := self._reader.frame(line, ApiRetry)) is not None:
                delay = max(0.0, (retry.retry_delay_ms or 0.0) / 1000)
                events.append(Retrying(status=retry.error_status, delay_secs=delay, error=retry.error or ""))
            case "background_tasks_changed" if (tasks := self._reader.frame(line, BackgroundTasks)) is not None:
                self._background = tuple(
                    f"{each.task_type or 'task'}: {one_line(each.description)}" for each in tasks.tasks
                )
                if self._background:
                    self._release(events)
                events.append(Background(tasks=self._background))
            case "session_state_changed" if (changed := self._reader.frame(line, StateChanged)) is not None:
                self._busy = changed.state != "idle"
                if not self._busy:
                    self._interrupting = False  # it came too late to interrupt anything
                    self._release(events)
            case _:
                pass

    def _hear_response(self, line: bytes, events: list[Event]) -> None:
        frame = self._reader.frame(line, ControlResponse)
        if frame is None:
            return
        answer = frame.response
        subtype = self._asked.pop(answer.request_id or "", None)
        if answer.subtype != "success":
            reason = answer.error or "it gave no reason"
            if subtype == "initialize":
                events.append(Refused(message=f"Claude Code refused to open the session: {reason}"))
            else:
                self._reader.note(f"refused: {subtype or 'unknown request'}")
        elif subtype == "initialize":
            events.append(_opened(answer.response))

    def _hear_cancel(self, line: bytes, events: list[Event]) -> None:
        frame = self._reader.frame(line, ControlCancel)
        if frame is not None:
            events.append(ToolCancelled(request_id=frame.request_id))

    def _hear_request(self, line: bytes, events: list[Event]) -> None:
        frame = self._reader.frame(line, ControlRequest)
        if frame is None:
            return
        request = frame.request
        if not frame.request_id:
            self._reader.note("request without id")
        elif request.subtype == "hook_callback" and request.callback_id == HOOK and request.input is not None:
            events.append(self._hook(frame.request_id, request.input))
        elif request.subtype == "can_use_tool" and request.tool_name and request.input is not None:
            events.append(
                PermissionAsked(
                    request_id=frame.request_id,
                    tool=request.tool_name,
                    input=request.input,
                    summary=summarize(request.tool_name, request.input),
                    tool_use_id=request.tool_use_id or "",
                    subagent=request.agent_id,
                    reason=request.decision_reason or "",
                )
            )
        elif request.subtype == "mcp_message" and request.server_name == SERVER_NAME and request.message is not None:
            self._hear_mcp(frame.request_id, request.message, events)
        else:
            events.append(Unanswerable(request_id=frame.request_id, subtype=request.subtype))

    def _hook(self, request_id: str, payload: JsonObject) -> Event:
        seen = self._reader.part(payload, HookInput)
        if not seen.tool_name or seen.tool_input is None:
            # Nobody may judge a call whose arguments could not be read.
            return Unanswerable(request_id=request_id, subtype="hook_callback")
        return ToolAsked(
            request_id=request_id,
            tool=seen.tool_name,
            input=seen.tool_input,
            summary=summarize(seen.tool_name, seen.tool_input),
            tool_use_id=seen.tool_use_id or "",
            subagent=seen.agent_id,
        )

    def _hear_mcp(self, request_id: str, message: JsonObject, events: list[Event]) -> None:
        head = self._reader.part(message, McpHead)
        if head.method == "tools/call" and head.id is not None:
            self._calls[head.id] = request_id
        elif head.method == "notifications/cancelled" and (call_id := head.params.request_id) is not None:
            cancelled = self._calls.pop(call_id, None)
            events.append(ToolCancelled(request_id=cancelled, call_id=call_id, reason=head.params.reason or ""))
        events.append(McpAsked(request_id=request_id, message=message))


def _opened(welcome: Welcome | None) -> Ready | Refused:
    if welcome is not None and welcome.hooks_applied is False:
        return Refused(message="Claude Code did not take our hook, so its tool calls could not be checked.")
    return Ready(claude_version=welcome.claude_code_version if welcome is not None else None)


def _weight(text: str) -> int:
    return len(text.strip().encode())


def _summed(usage: dict[str, ModelUsage] | None) -> Usage | None:
    return None if usage is None else sum((model.count() for model in usage.values()), _NOTHING)
