"""Recorded conversations as files: written by ``record.py``, read by the golden tests.

A recording is a JSON object a line: ``t`` seconds since the start, ``dir`` and ``msg``. ``dir`` is ``session`` (what
was asked for), ``argv``, ``>`` (what we wrote), ``<`` (what the CLI wrote), ``close`` (we closed its input), ``signal``
or ``exit``. Paths, ids, ports and durations are neutral, long lists that nobody reads are emptied. Beside each lies
``NAME.events.json``: what `pitboss.wire.claude` is expected to understand of it.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from pitboss.model.run import Session
from pitboss.wire.claude import Conversation, Event

RECORDINGS = Path(__file__).parent / "recordings"


class Line(msgspec.Struct):
    """One line of a recording."""

    t: float
    dir: str
    msg: msgspec.Raw


def load(name: str) -> list[Line]:
    """Read a recording."""
    return [msgspec.json.decode(line, type=Line) for line in (RECORDINGS / f"{name}.jsonl").read_bytes().splitlines()]


def session_of(lines: list[Line]) -> Session:
    """Return the session a recording was made for."""
    return msgspec.json.decode(next(line.msg for line in lines if line.dir == "session"), type=Session)


def understood(name: str) -> list[Event]:
    """Return the events of a recording."""
    events, _ = heard(name)
    return events


def heard(name: str, serve: Callable[[list[bytes]], list[bytes]] = list) -> tuple[list[Event], Conversation]:
    """Have a recording again: we say what we said, and between that hear what was written.

    Args:
        name: The recording.
        serve: Given the lines that were written between two of ours, returns the bytes that are heard instead.
    """
    lines = load(name)
    talk = Conversation(session_of(lines))
    events: list[Event] = []
    for kind, group in itertools.groupby(lines, key=lambda line: line.dir):
        if kind == ">":
            for line in group:
                repeat(talk, bytes(line.msg))
        elif kind == "<":
            for chunk in serve([bytes(line.msg) + b"\n" for line in group]):
                events += talk.feed(chunk)
    return events + talk.eof(), talk


def repeat(talk: Conversation, said: bytes) -> None:
    """Have the talk say again what it has to remember that it has said."""
    match msgspec.json.decode(said):
        case {"request": {"subtype": "initialize"}}:
            talk.hello()
        case {"request": {"subtype": "interrupt"}}:
            talk.interrupt()
        case {"type": "user", "message": {"content": str(text)}}:
            talk.prompt(text)
        case _:
            pass


def expected(name: str) -> list[object]:
    """Return what the events of a recording were when somebody last looked at them."""
    return msgspec.json.decode((RECORDINGS / f"{name}.events.json").read_bytes(), type=list[object])


def accept(name: str) -> None:
    """Write down what is understood now."""
    lines = [json.dumps(msgspec.to_builtins(event), ensure_ascii=False) for event in understood(name)]
    (RECORDINGS / f"{name}.events.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


class Neutral:
    """Makes a recording say the same on every machine and every day."""

    _EMPTIED = frozenset(
        [
            "agents",
            "available_output_styles",
            "capabilities",
            "commands",
            "models",
            "plugins",
            "skills",
            "slash_commands",
            "terminal_slash_commands",
            "memory_paths",
            "messaging_socket_path",
            "additional_directories",
            "by_type",
        ]
    )
    _ZEROED = frozenset(
        [
            "pid",
            "duration_ms",
            "duration_api_ms",
            "ttft_ms",
            "ttft_stream_ms",
            "time_to_request_ms",
            "first_content_frame_ms",
            "end_time",
            "start_time",
            "timestamp",
        ]
    )
    _NAMED = frozenset(["task_id", "run_id", "runId", "agent_id", "agentId", "backgroundTaskId"])
    _MINTED = re.compile(r"[0-9a-z]{9,}(-[0-9a-z]{8})?")
    _IDS = re.compile(
        r"(?P<uuid>\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b)"
        r"|(?P<msg>\bmsg_\w+)|(?P<toolu>\btoolu_\w+)"
    )

    def __init__(self, folder: Path, binary: Path) -> None:
        self._folder = str(folder)
        self._binary = str(binary)
        self._names: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def render(self, lines: list[tuple[float, str, object]]) -> str:
        """Return the text of the recording."""
        for _, kind, message in lines:
            if kind == ">" and isinstance(message, dict) and message.get("type") == "user":
                self._names[message["uuid"]] = message["uuid"]  # made of the session's mark: the same every day
        blanked = [{"t": round(t, 2), "dir": kind, "msg": self._blank(message)} for t, kind, message in lines]
        return "".join(self._reword(json.dumps(line, ensure_ascii=False)) + "\n" for line in blanked)

    def _blank(self, value: object, key: str = "") -> object:
        if isinstance(value, dict):
            return {name: self._blank(inner, name) for name, inner in value.items()}
        if key in self._EMPTIED and isinstance(value, list | str):
            return type(value)()
        if key in self._ZEROED:
            return "" if isinstance(value, str) else 0
        if key == "retry_delay_ms" and isinstance(value, float | int):
            return value // 500 * 500  # the rest is jitter
        if key == "stderr" and isinstance(value, str):
            # On some errors the CLI prints pages of its own source, which is not ours to keep.
            return "".join(line for line in value.splitlines(keepends=True) if len(line) < 200 and "bunfs" not in line)
        if key in self._NAMED and isinstance(value, str) and self._MINTED.fullmatch(value):
            self._name("task", value)
        return [self._blank(item) for item in value] if isinstance(value, list) else value

    def _reword(self, text: str) -> str:
        text = text.replace(self._binary, "claude")
        for real, neutral in ((f"{self._folder}/home", "/home/user"), (self._folder, "")):
            text = text.replace(real, neutral).replace(re.sub(r"[^A-Za-z0-9]", "-", real), neutral.replace("/", "-"))
        for real, neutral in self._names.items():
            text = text.replace(real, neutral)
        text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:9999", text)
        return self._IDS.sub(lambda found: self._name(found.lastgroup or "", found[0]), text)

    def _name(self, kind: str, real: str) -> str:
        if real in self._names.values():
            return real
        if real not in self._names:
            number = self._counts[kind] = self._counts.get(kind, 0) + 1
            form = "00000000-0000-4000-8000-{:012d}" if kind == "uuid" else kind + "_{}"
            self._names[real] = form.format(number)
        return self._names[real]
