"""A tool call in one line, for people: safe to print in any terminal, never long.

Pure text. Used by `wire.claude`; views and logs show what comes out of here as it is.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pitboss.wire.claude_events import JsonObject

__all__ = ["one_line", "summarize"]

_MOST_CHARS: Final = 200

_TELLING: Final = {
    "Bash": "command",
    "Read": "file_path",
    "Write": "file_path",
    "Edit": "file_path",
    "NotebookEdit": "notebook_path",
    "Glob": "pattern",
    "Grep": "pattern",
    "Agent": "description",
    "Task": "description",
    "WebFetch": "url",
    "WebSearch": "query",
}
"""The one argument that tells what a built-in tool is about to do."""


def summarize(tool: str, arguments: JsonObject) -> str:
    """Say what a tool call is about: its telling argument, or all of them as compact JSON."""
    telling = arguments.get(_TELLING.get(tool, ""))
    return one_line(telling if isinstance(telling, str) else msgspec.json.encode(arguments).decode())


def one_line(text: str) -> str:
    """Cut to 200 characters, with every run of blanks, control and invisible characters made one space."""
    # It may be a whole file: look at no more of it than could ever be shown.
    clipped = text[: 20 * _MOST_CHARS]
    line = " ".join("".join(char if char.isprintable() else " " for char in clipped).split())
    return line if len(line) <= _MOST_CHARS else line[: _MOST_CHARS - 1] + "…"
