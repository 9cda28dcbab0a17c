"""What one task does, as text: the lines of its ``stdout.log`` rendered, and followed as they come.

A log is the agent's own stream, byte for byte, so nothing in it is trusted: broken lines are skipped, long ones
cut, control characters dropped. Files are watched by looking at their size five times a second: that is one
``stat``, works on every file system, and costs a viewer - not the run - a few milliseconds of CPU a minute.
Called by ``commands`` for ``attach``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pitboss.surfaces import words
from pitboss.wire.lines import LineSplitter

__all__ = ["POLL_SECS", "Tail", "follow", "plain", "render"]

POLL_SECS = 0.2
"""How often a growing log is looked at."""

TEXT_LIMIT, INPUT_LIMIT, RESULT_LIMIT = 2000, 1000, 3000
"""Characters shown of a text, of a tool's input, and of a tool's result."""

_FIRST_WINDOW = 256 * 1024
_CHUNK = 1024 * 1024


# --- lines of the stream --------------------------------------------------------------------------------------------


class _Block(msgspec.Struct, frozen=True):
    type: str
    text: str = ""
    thinking: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")
    content: str | list[_Block] | None = None


class _Message(msgspec.Struct, frozen=True):
    content: str | list[_Block] = ""


class _Tokens(msgspec.Struct, frozen=True):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0


class _Limit(msgspec.Struct, frozen=True, rename="camel"):
    status: str = ""
    rate_limit_type: str = ""
    resets_at: float | None = None


class _Line(msgspec.Struct, frozen=True):
    type: str
    subtype: str = ""
    message: _Message | None = None
    parent_tool_use_id: str | None = None
    usage: _Tokens | None = None
    is_error: bool = False
    result: str | None = None
    error_status: int | None = None
    retry_delay_ms: float = 0
    rate_limit_info: _Limit | None = None


class _Kind(msgspec.Struct, frozen=True):
    type: str = ""


_SHOWN = frozenset({"assistant", "user", "result", "system", "rate_limit_event"})
_kinds = msgspec.json.Decoder(_Kind)
_lines = msgspec.json.Decoder(_Line)


def render(line: bytes) -> list[str]:
    """What one line of ``stdout.log`` says, one string per block; empty for what nobody wants to read.

    Partial messages, control frames and lines of an unknown kind are left out: the whole message follows.
    """
    try:
        if _kinds.decode(line).type not in _SHOWN:
            return []
        said = _lines.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    indent = "  " if said.parent_tool_use_id else ""
    return [indent + text for text in _texts(said)]


def _texts(line: _Line) -> Iterator[str]:
    match line.type:
        case "assistant" | "user" if line.message is not None:
            content = line.message.content
            blocks = [_Block("text", text=content)] if isinstance(content, str) else content
            for block in blocks:
                yield from _block(block, by_agent=line.type == "assistant")
        case "result":
            yield from _result(line)
        case "system" if line.subtype == "api_retry":
            status = line.error_status or "no answer"
            yield f"! api retry {status}, again in {line.retry_delay_ms / 1000:.1f} s"
        case "rate_limit_event" if line.rate_limit_info is not None:
            limit = line.rate_limit_info
            resets = words.NOTHING if limit.resets_at is None else _timestamp(limit.resets_at)
            yield words.clean(f"! rate-limit {limit.status} ({limit.rate_limit_type}) resets={resets}")
        case _:
            return


def _block(block: _Block, *, by_agent: bool) -> Iterator[str]:
    match block.type:
        case "text" if by_agent and (first := _first_line(block.text)):
            yield "> " + _cut(first, TEXT_LIMIT)
        case "tool_use":
            yield f"* {words.clean(block.name)} " + _cut(_compact(block.input), INPUT_LIMIT)
        case "tool_result":
            yield "< " + _cut(_flat(block.content), RESULT_LIMIT)
        case _:
            return


def _result(line: _Line) -> Iterator[str]:
    used = line.usage or _Tokens()
    counts = (
        f"in={used.input_tokens} out={used.output_tokens} "
        f"cache_r={used.cache_read_input_tokens} cache_c={used.cache_creation_input_tokens}"
    )
    if line.is_error:
        yield f"! result {line.subtype}: " + _cut(_first_line(line.result or "") or "error", TEXT_LIMIT)
    yield f"v result ({counts})"


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _flat(content: str | list[_Block] | None) -> str:
    if content is None or isinstance(content, str):
        return (content or "").strip()
    return " ".join(block.text or f"[{block.type}]" for block in content).strip()


def _compact(raw: msgspec.Raw) -> str:
    return msgspec.json.format(bytes(raw), indent=-1).decode("utf-8", "replace")


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return words.clean(text)
    return f"{words.clean(text[:limit])} … +{len(text) - limit} chars"


def _timestamp(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return str(at)


def plain(*, careful: bool) -> Callable[[bytes], list[str]]:
    """How a line is shown as it is; ``careful`` for a terminal, which a log must not steer."""

    def show(line: bytes) -> list[str]:
        text = line.decode("utf-8", "replace")
        return [words.clean(text) if careful else text]

    return show


# --- a growing file -------------------------------------------------------------------------------------------------


class Tail:
    """The end of a file, and then what is added to it; only whole lines are given out.

    Args:
        path: The file; it may not exist yet.
        show: A line to what is printed of it.
    """

    def __init__(self, path: Path, show: Callable[[bytes], list[str]]) -> None:
        self._path = path
        self._show = show
        self._splitter = LineSplitter()
        self._read = 0

    def last(self, count: int) -> list[str]:
        """The last ``count`` items there are now; reading goes on behind them."""
        window = _FIRST_WINDOW
        while True:
            size = self._size()
            start = max(0, size - window)
            shown, self._splitter, self._read = self._from(start, size)
            if len(shown) >= max(count, 1) or start == 0:
                return shown[-count:] if count else []
            window *= 8

    def more(self) -> list[str]:
        """What has been added since; a file that has become shorter is read from its beginning."""
        size = self._size()
        if size < self._read:
            self._splitter, self._read = LineSplitter(), 0
        shown: list[str] = []
        while self._read < size:
            chunk = self._bytes(self._read, min(_CHUNK, size - self._read))
            if not chunk:
                break
            self._read += len(chunk)
            shown += self._rendered(self._splitter.feed(chunk))
        return shown

    def rest(self) -> list[str]:
        """What is left at the end of the file without a newline: nobody will finish that line."""
        left = self._splitter.flush()
        return self._show(left) if left else []

    def _from(self, start: int, size: int) -> tuple[list[str], LineSplitter, int]:
        splitter = LineSplitter()
        lines = splitter.feed(self._bytes(start, size - start))
        whole = lines[1:] if start else lines  # the window begins within a line
        return self._rendered(whole), splitter, size

    def _rendered(self, lines: list[bytes]) -> list[str]:
        return [item for line in lines for item in self._show(line)]

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _bytes(self, start: int, count: int) -> bytes:
        if count <= 0:
            return b""
        with self._path.open("rb") as file:
            file.seek(start, os.SEEK_SET)
            return file.read(count)


def _pause() -> None:
    time.sleep(POLL_SECS)


def follow(tail: Tail, *, lines: int, ended: Callable[[], bool], wait: Callable[[], object] = _pause) -> Iterator[str]:
    """The last ``lines`` items and then every new one, until the task has ended.

    Args:
        tail: The log.
        lines: How many of the items that are already there are wanted.
        ended: Asked before each look at the log: true once nothing more will be written.
        wait: Sleeps between two looks.
    """
    over = ended()  # before reading: what was written until the end is then read for certain
    yield from tail.last(lines)
    while not over:
        wait()
        over = ended()
        yield from tail.more()
    yield from tail.rest()
