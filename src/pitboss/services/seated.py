"""One MCP client on a seat: what it says is heard, held against the rules, made a call of its actor, and answered.

Who may take a seat is ``services.mcp``'s business, which calls this.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple, Protocol

import msgspec

from pitboss.core.actor import Actor
from pitboss.core.lifecycle import HAS_PROCESS
from pitboss.drivers.claude import Minted
from pitboss.model import signals as s
from pitboss.model.about import About
from pitboss.model.answers import Answer, Refused, refused
from pitboss.model.effects import AnswerCall, AnswerDeed
from pitboss.model.run import ActorId, RunSpec
from pitboss.model.tree import CallId
from pitboss.wire import mcp
from pitboss.wire.claude_events import JsonObject
from pitboss.wire.claude_summary import summarize
from pitboss.wire.scalars import to_json
from pitboss.wire.seat import Asked, Seat
from pitboss.wire.tools import tools_for

__all__ = ["LONGEST_MESSAGE", "MOST_CALLS", "Client", "Run", "say"]

MOST_CALLS = 64
"""So many calls of one client may wait for their answers."""

LONGEST_MESSAGE = 4 << 20
"""So many bytes a message may have, as with Pitboss 0.9; a longer one is passed over, and refused."""

GRACE_SECS = 5.0
"""How long what was asked is still answered after a client has said all it has to say."""

PATIENCE_SECS = 30.0
"""How long a client may leave what it was sent unread; then it is dropped."""

_EDGE = 256
"""So many bytes of the beginning and the end of a message that is too long are looked at."""

_ID = rb'"jsonrpc": ?"2\.0", ?"id": ?(\d{1,15}|"[^"\\]{1,128}")'
_ID_FIRST, _ID_LAST = re.compile(rb"\{ ?" + _ID + b" ?,"), re.compile(_ID + rb" ?\}\s*\Z")

_PARSE_ERROR, _INVALID_REQUEST = -32700, -32600
"""JSON-RPC 2.0, section 5.1."""

_GONE = refused("unavailable", "the actor of this seat has ended, or is being started again; there is nobody to be")
_TOO_MANY = refused(
    "cap_reached", f"{MOST_CALLS} calls of this client wait for an answer already; wait for one of them"
)


class Run(Protocol):
    """What a client needs of the run it has a seat in."""

    @property
    def spec(self) -> RunSpec:
        """What was asked for."""

    @property
    def actors(self) -> Mapping[ActorId, Actor]:
        """Everyone, as they are now."""

    def clock(self) -> float:
        """What time it is."""

    def mint(self) -> Minted:
        """Fresh ids, for what a call may bring into being."""

    def post(self, signal: s.Signal, /) -> None:
        """Put a signal into the loop's inbox."""


class Client:
    """One connection, once it is admitted."""

    def __init__(self, run: Run, name: str, actor: ActorId, writer: asyncio.StreamWriter) -> None:
        self.name = name
        self._run = run
        self._actor = actor
        self._writer = writer
        tree = run.spec.tree
        role = run.actors[actor].role
        self._seat = Seat(
            tools_for(
                role,
                allow_subleads=tree is not None and tree.allow_subleads and role == "lead",
                path_b=tree is not None and tree.permission_routing == "path_b",
            )
        )
        self._open: dict[CallId, _Open] = {}
        """Calls that wait, by the name the run knows them by."""
        self._calls = 0
        self._idle = asyncio.Event()
        """Set while no call waits."""
        self._idle.set()

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Hear it to its end; then nobody waits for its answers any more."""
        try:
            while (line := await _next(reader)) != b"":
                if (answer := self._hear(line)) is not None:
                    await say(self._writer, answer)
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE_SECS):
                    await self._idle.wait()
            await _drain(self._writer)
        finally:
            for known in list(self._open):
                self._drop(known)

    def look(self) -> None:
        """Answer what the run will not answer any more, as whoever asked is gone."""
        now = self._attempt()
        for known, (_, attempt) in list(self._open.items()):
            if attempt != now:
                self._close(known, _GONE)

    def answer(self, effect: AnswerCall) -> None:
        """Pass an answer on."""
        if effect.call_id in self._open:
            self._close(effect.call_id, effect.answer)

    def answer_deed(self, effect: AnswerDeed) -> None:
        """Make a call that a rule had held, or say why not."""
        if effect.request_id not in self._open:
            return
        if effect.allowed:
            self._make(effect.request_id)
        else:
            self._close(effect.request_id, refused("forbidden", effect.reason or "a rule of the run forbids this"))

    def _close(self, known: CallId, answer: Answer | Refused) -> None:
        asked = self._forget(known)
        # Not waited for: what is on its way is bounded by the calls that may wait, and by the size of an answer.
        self._writer.write(_line(self._seat.payload(asked, answer)))

    def _drop(self, known: CallId) -> None:
        """Its client wants no answer any more."""
        attempt = self._open[known].attempt
        self._forget(known)
        at = self._run.clock()
        self._run.post(s.CallDropped(at=at, actor=self._actor, attempt=attempt, call_id=known))

    def _forget(self, known: CallId) -> Asked:
        asked = self._open.pop(known).asked
        self._seat.close(asked.call_id)
        if not self._open:
            self._idle.set()
        return asked

    def _attempt(self) -> int:
        """The attempt that calls are made in; 0 while there is none."""
        actor = self._run.actors[self._actor]
        return actor.attempt if actor.phase in HAS_PROCESS else 0

    def _hear(self, line: bytes | _TooLong) -> JsonObject | None:
        """What is said to a message at once; ``None`` if nothing is, or not yet."""
        if isinstance(line, _TooLong):
            return mcp.error(line.call_id, _PARSE_ERROR, f"A message may have {LONGEST_MESSAGE} bytes at most.")
        try:
            message: object = msgspec.json.decode(line)
        except (ValueError, RecursionError) as problem:
            return mcp.error(None, _PARSE_ERROR, f"This is not JSON: {problem}.")
        if not isinstance(message, dict):
            return mcp.error(None, _INVALID_REQUEST, "A message must be one JSON object.")
        if (given_up := mcp.cancelled(message)) is not None:
            for known in [name for name, one in self._open.items() if one.asked.call_id == given_up]:
                self._drop(known)
        understood = self._seat.hear("", message)
        if isinstance(understood, Asked):
            return self._put_to_the_run(understood, message["params"].get("arguments") or {})
        return understood if "id" in understood else None  # a notification wants no answer

    def _put_to_the_run(self, asked: Asked, arguments: JsonObject) -> JsonObject | None:
        """Have the rules see the call, as they see those of a session; then it is made."""
        attempt = self._attempt()
        if not attempt or len(self._open) >= MOST_CALLS:
            self._seat.close(asked.call_id)
            return self._seat.payload(asked, _TOO_MANY if attempt else _GONE)
        self._calls += 1
        known = f"{self.name}/{self._calls}"
        self._open[known] = _Open(asked, attempt)
        self._idle.clear()
        about: About = {"at": self._run.clock(), "actor": self._actor, "attempt": attempt}
        tool = f"mcp__{mcp.SERVER_NAME}__{asked.tool}"
        summary = summarize(tool, arguments)
        if self._run.spec.policy.sees_deeds:
            minted = self._run.mint().id
            deed = s.DeedAsked(
                **about, request_id=known, tool=tool, input=arguments, summary=summary, minted=minted, tool_use_id=known
            )
            self._run.post(deed)
        else:
            self._run.post(s.ToolCalled(**about, tool=tool, summary=summary, tool_use_id=known))
            self._make(known)
        return None

    def _make(self, known: CallId) -> None:
        asked, attempt = self._open[known]
        minted = self._run.mint()
        self._run.post(
            s.CallMade(
                at=self._run.clock(),
                actor=self._actor,
                attempt=attempt,
                call_id=known,
                call=asked.call,
                minted=minted.id,
                session_id=minted.session_id,
            )
        )


class _Open(NamedTuple):
    """A call that waits for a rule, or for its answer."""

    asked: Asked
    attempt: int
    """The actor's, when it was made."""


async def _next(reader: asyncio.StreamReader) -> bytes | _TooLong:
    """The next message, or what is known of one that is too long; nothing at the end."""
    head = tail = b""
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as rest:
            line = rest.partial
        except asyncio.LimitOverrunError as over:
            passed = await reader.readexactly(over.consumed)
            head, tail = head or passed[:_EDGE], (tail + passed[-_EDGE:])[-_EDGE:]
            continue
        return _TooLong(_id_of(head, tail + line[-_EDGE:])) if head and line else line


class _TooLong(NamedTuple):
    """A message that was passed over."""

    call_id: CallId | None
    """Whoever made it waits for an answer to this."""


def _id_of(head: bytes, tail: bytes) -> CallId | None:
    """The id of a message whose beginning and end are known, if a client put it there, as the official ones do.

    Within a text its quotes would be escaped, and a line's first and last brace are the message's own.
    """
    found = _ID_FIRST.match(head) or _ID_LAST.search(tail)
    return None if found is None else msgspec.json.decode(found[1], type=CallId)


def _line(message: JsonObject) -> bytes:
    return to_json(message) + b"\n"


async def say(writer: asyncio.StreamWriter, message: JsonObject) -> None:
    """Send a message.

    Raises:
        TimeoutError: The client does not read.
    """
    writer.write(_line(message))
    await _drain(writer)


async def _drain(writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(PATIENCE_SECS):
        await writer.drain()
