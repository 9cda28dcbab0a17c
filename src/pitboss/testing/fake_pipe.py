"""The fake's two pipes: frames in and out, and everything that may arrive while a step is waiting.

No step reads stdin itself. It waits here, for a condition or a time, and meanwhile prompts are queued, answers are kept
for who asked, requests are handed to the session, and an interrupt ends the wait with ``Interrupted``. One that finds
no turn, running or about to, is answered and forgotten.
"""

from __future__ import annotations

import json
import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # the names are for annotations only, and their modules are dear
    from collections.abc import Callable
    from typing import TypeAlias

    Frame: TypeAlias = dict[str, object]

__all__ = ["Interrupted", "Pipe", "new_uuid", "part"]

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_CHUNK = 1 << 16


class Interrupted(Exception):
    """The other side ended the turn; the request still wants its answer."""

    def __init__(self, request_id: str) -> None:
        super().__init__(request_id)
        self.request_id = request_id


def new_uuid() -> str:
    """A random UUID; ``uuid`` itself costs more to import than all we do with it."""
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def part(frame: Frame, key: str) -> Frame:
    """The object under ``key``, or an empty one."""
    value = frame.get(key)
    return value if isinstance(value, dict) else {}


class Pipe:
    """Stdin and stdout as frames."""

    def __init__(self) -> None:
        self._prompts: list[tuple[str, str]] = []
        """Messages nobody has taken up yet: id, if it was given one, and text."""
        self._in_hand: list[str] = []
        """The ids of those that the present turn has taken up."""
        self.closed = False
        """Stdin has reached its end."""
        self.on_request: Callable[[str, Frame], None] = lambda request_id, request: None
        """Given every request but an interrupt; it answers."""
        self._in_turn = False
        self._answers: dict[str, Frame] = {}
        self._interrupt: str | None = None
        self._rest = b""
        self._watched: list[int] = [_STDIN]

    def watch(self, descriptor: int) -> None:
        """Wakes the waits whenever ``descriptor`` has something to read; what it says is thrown away."""
        self._watched.append(descriptor)

    def say(self, frame: Frame) -> None:
        """Writes one frame."""
        self.put(json.dumps(frame, separators=(",", ":")).encode() + b"\n")

    def put(self, data: bytes) -> None:
        """Writes bytes as they are, all of them."""
        _write(_STDOUT, data)

    def complain(self, text: str) -> None:
        """Writes to stderr."""
        _write(_STDERR, text.encode())

    def answer(self, request_id: str, response: Frame) -> None:
        """Answers a request of the other side."""
        body = {"subtype": "success", "request_id": request_id, "response": response}
        self.say({"type": "control_response", "response": body})

    def refuse(self, request_id: str, error: str) -> None:
        """Answers a request of the other side with an error."""
        body = {"subtype": "error", "request_id": request_id, "error": error}
        self.say({"type": "control_response", "response": body})

    @property
    def has_prompts(self) -> bool:
        """Some message waits to be taken up."""
        return bool(self._prompts)

    def take_prompt(self) -> str:
        """The first message that waits; its sender is told that it is being read."""
        uuid, text = self._prompts.pop(0)
        if uuid:
            self._in_hand.append(uuid)
            self._tell_fate(uuid, "started")
        return text

    def _tell_fate(self, uuid: str, state: str) -> None:
        self.say({"type": "command_lifecycle", "command_uuid": uuid, "state": state, "uuid": new_uuid()})

    def ask(self, request: Frame) -> Frame | None:
        """Asks the other side and waits for its answer; ``None`` if it refuses or can no longer give one."""
        if self.closed:
            return None
        request_id = new_uuid()
        self.say({"type": "control_request", "request_id": request_id, "request": request})
        self.wait(lambda: request_id in self._answers or self.closed)
        answer = self._answers.pop(request_id, {})
        return part(answer, "response") if answer.get("subtype") == "success" else None

    def wait(self, ready: Callable[[], bool], secs: float | None = None) -> bool:
        """Listens until ``ready()`` holds.

        Args:
            ready: Asked again after whatever arrives.
            secs: Give up after this long.

        Returns:
            False when the time was up first.

        Raises:
            Interrupted: The other side asked for it meanwhile.
        """
        deadline = None if secs is None else time.monotonic() + secs
        while True:
            self._heed_interrupt()
            if ready():
                return True
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            self._listen(left)

    def begin_turn(self) -> None:
        """From now on an interrupt ends the waits."""
        self._in_turn = True

    def end_turn(self) -> None:
        """An interrupt that came too late is answered all the same."""
        self._in_turn = False
        for uuid in self._in_hand:
            self._tell_fate(uuid, "completed")
        self._in_hand.clear()
        if self._interrupt is not None:
            self.answer_interrupt(self._interrupt)

    def answer_interrupt(self, request_id: str) -> None:
        """Says that it was heard."""
        self._interrupt = None
        self.answer(request_id, {"still_queued": [uuid for uuid, _ in self._prompts if uuid]})

    def _heed_interrupt(self) -> None:
        if self._in_turn and self._interrupt is not None:
            request_id, self._interrupt = self._interrupt, None
            raise Interrupted(request_id)

    def _listen(self, secs: float | None) -> None:
        readable, _, _ = select.select(self._watched, [], [], secs)
        for descriptor in readable:
            chunk = os.read(descriptor, _CHUNK)
            if descriptor == _STDIN:
                self._take(chunk)

    def _take(self, chunk: bytes) -> None:
        if not chunk:
            self.closed = True
            self._watched.remove(_STDIN)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                self._sort(json.loads(line))

    def _sort(self, frame: Frame) -> None:
        if frame["type"] == "user":
            uuid = str(frame.get("uuid") or "")
            self._prompts.append((uuid, _text_of(part(frame, "message").get("content"))))
            if uuid:
                self._tell_fate(uuid, "queued")
        elif frame["type"] == "control_response":
            response = part(frame, "response")
            self._answers[str(response.get("request_id"))] = response
        elif frame["type"] == "control_request":
            request_id, request = str(frame.get("request_id")), part(frame, "request")
            if request.get("subtype") != "interrupt":
                self.on_request(request_id, request)
            elif self._in_turn or self._prompts:
                self._interrupt = request_id
            else:
                self.answer_interrupt(request_id)


def _text_of(content: object) -> str:
    """A message's text: it is a string, or a list of blocks."""
    if isinstance(content, list):
        return "\n".join(str(block.get("text", "")) for block in content)
    return str(content)


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
