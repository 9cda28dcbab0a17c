"""Builds Messages requests the way Claude Code builds them, for tests that need no real session."""

from __future__ import annotations

import json
from typing import TypeAlias

from pitboss.rehearsal.messages import Request, read_request

Content: TypeAlias = "str | list[dict[str, object]]"
Said: TypeAlias = "dict[str, object]"

REMINDER = "<system-reminder>\n{text}\n</system-reminder>"


def user(content: Content) -> Said:
    """A message to the model."""
    return {"role": "user", "content": content}


def assistant(content: Content) -> Said:
    """A message of the model."""
    return {"role": "assistant", "content": content}


def text(words: str) -> dict[str, object]:
    """A text block."""
    return {"type": "text", "text": words}


def tool_use(call_id: str, name: str = "Bash", **arguments: object) -> dict[str, object]:
    """A tool call of the model."""
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def tool_result(call_id: str, content: Content) -> dict[str, object]:
    """What a tool has answered."""
    return {"type": "tool_result", "tool_use_id": call_id, "content": content}


def opening(prompt: str, cwd: str = "/repo") -> list[Said]:
    """How a conversation begins: the prompt between notes of the CLI's own."""
    note = REMINDER.format(text="Attribution for git commits ...")
    words = "You have been invoked in the following environment: "
    where: Said = {"role": "system", "content": f"# Environment\n{words}\n - Primary working directory: {cwd}\n - ..."}
    return [user([text(note), text(prompt)]), where]


def environment(cwd: str) -> str:
    """The note that a session resumed elsewhere gets."""
    return REMINDER.format(text=f"# Environment update\n - Primary working directory: {cwd} (was /before)\n - ...")


def body(messages: list[Said], **fields: object) -> dict[str, object]:
    """A whole request as JSON data."""
    tools = [{"name": "Bash", "input_schema": {"type": "object"}}]
    return {"model": "claude-haiku-4-5", "max_tokens": 32000, "tools": tools, "messages": messages} | fields


def request(messages: list[Said], **fields: object) -> Request:
    """The same, decoded as the server decodes it."""
    return read_request(json.dumps(body(messages, **fields)).encode())
