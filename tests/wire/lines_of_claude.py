"""Builders of lines as the CLI writes them, with only what a test is about."""

from __future__ import annotations

import json

from pitboss.model.run import ActorId, Session, Usage
from pitboss.wire.claude import Conversation, Ended, Event, JsonObject

SESSION = Session(
    actor=ActorId("fix"),
    attempt=1,
    cookie="run/fix/1",
    binary="claude",
    cwd="/repo",
    prompt="",
    session_id="s",
    model="m",
    log_dir="/log",
)
FIRST = Usage(input=10, output=1, cache_read=5, cache_creation=3)


def line(message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


def api_usage(usage: Usage) -> JsonObject:
    return {
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation_input_tokens": usage.cache_creation,
    }


def model_usage(**models: Usage) -> JsonObject:
    return {
        name: {
            "inputTokens": usage.input,
            "outputTokens": usage.output,
            "cacheReadInputTokens": usage.cache_read,
            "cacheCreationInputTokens": usage.cache_creation,
        }
        for name, usage in models.items()
    }


def message_start(message_id: str, usage: Usage = FIRST) -> bytes:
    message = {"id": message_id, "model": "m", "usage": api_usage(usage)}
    return line({"type": "stream_event", "event": {"type": "message_start", "message": message}})


def message_delta(output: int) -> bytes:
    return line({"type": "stream_event", "event": {"type": "message_delta", "usage": {"output_tokens": output}}})


def assistant(*texts: str, message_id: str = "", usage: Usage = FIRST, parent: str | None = None) -> bytes:
    content = [{"type": "text", "text": text} for text in texts]
    message = {"id": message_id, "model": "m", "content": content, "usage": api_usage(usage)}
    return line({"type": "assistant", "message": message, "parent_tool_use_id": parent})


def result(**fields: object) -> bytes:
    return line({"type": "result", "subtype": "success", "is_error": False, "result": "ok"} | fields)


def control(request_id: str = "r1", **request: object) -> bytes:
    return line({"type": "control_request", "request_id": request_id, "request": request})


def hook(tool: str = "Bash", request_id: str = "r1", **more: object) -> bytes:
    payload = {"hook_event_name": "PreToolUse", "tool_name": tool, "tool_input": {"command": "ls"}} | more
    return control(request_id, subtype="hook_callback", callback_id="hook_0", input=payload)


def mcp_message(request_id: str = "r1", **message: object) -> bytes:
    return control(request_id, subtype="mcp_message", server_name="pitboss", message={"jsonrpc": "2.0"} | message)


def hear(*lines: bytes, talk: Conversation | None = None) -> list[Event]:
    talk = talk or Conversation(SESSION)
    return [event for each in lines for event in talk.feed(each)]


def the_end(*lines: bytes, talk: Conversation | None = None) -> Ended:
    *_, last = hear(*lines, talk=talk)
    assert isinstance(last, Ended)
    return last


def background(*tasks: str) -> bytes:
    listed = [{"task_type": "local_agent", "description": task} for task in tasks]
    return line({"type": "system", "subtype": "background_tasks_changed", "tasks": listed})


def state(now: str) -> bytes:
    return line({"type": "system", "subtype": "session_state_changed", "state": now})
