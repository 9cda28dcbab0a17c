"""Seats: a door through which any MCP client can call an actor's tools in that actor's name.

Agents need no door, they have their own pipe. A seat is given by an operator, for one actor, as a token in a file for
its owner alone; who comes with it is asked of the kernel as well: an agent may take its own seat and no other. The
socket is there once the first seat was given, the token is void when its actor has ended. What a client says is
``wire.seat``'s business; what comes of it, the run's. Called by ``compose`` and by ``services.control``.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from pitboss.core.actor import Actor
from pitboss.core.lifecycle import HAS_PROCESS
from pitboss.core.state import RunState
from pitboss.drivers.claude import Minted
from pitboss.drivers.peer import agent_behind, peer_of
from pitboss.errors import WorldError
from pitboss.journal.rundir import RunDir
from pitboss.model import signals as s
from pitboss.model.about import About
from pitboss.model.answers import Answer, Refused, refused
from pitboss.model.effects import AnswerCall, Emit
from pitboss.model.run import ActorId, RunSpec
from pitboss.model.tree import CallId
from pitboss.services.place import Place, claim, temp_folders
from pitboss.wire import mcp
from pitboss.wire.claude_events import JsonObject
from pitboss.wire.scalars import to_json
from pitboss.wire.seat import Asked, Seat
from pitboss.wire.tools import tools_for

__all__ = ["Seats"]

MOST_CLIENTS = 64
"""So many may be connected at once."""

MOST_CALLS = 64
"""So many calls of one client may wait for their answers."""

LONGEST_MESSAGE = 4 << 20
"""So many bytes a message may have, as with Pitboss 0.9; a longer one is passed over, and refused."""

GRACE_SECS = 5.0
"""How long what was asked is still answered after a client has said all it has to say."""

HELLO_SECS = 10.0
"""How long a client may take to show its token."""

PATIENCE_SECS = 30.0
"""How long a client may leave what it was sent unread; then it is dropped."""

_PARSE_ERROR, _INVALID_REQUEST = -32700, -32600
"""JSON-RPC 2.0, section 5.1."""

_GONE = refused("unavailable", "the actor of this seat has ended, or is being started again; there is nobody to be")
_TOO_MANY = refused(
    "cap_reached", f"{MOST_CALLS} calls of this client wait for an answer already; wait for one of them"
)


class Seats:
    """Serves the seats of one run."""

    def __init__(
        self,
        run: RunDir,
        spec: RunSpec,
        clock: Callable[[], float],
        mint: Callable[[], Minted],
        *,
        runtime_dir: str = "",
        temp: Sequence[str] | None = None,
    ) -> None:
        """Prepare to serve; nothing is opened before a seat is asked for.

        Args:
            run: The run's folder.
            spec: What was asked for.
            clock: What time it is.
            mint: Gives fresh ids, for what a tool call may bring into being.
            runtime_dir: ``XDG_RUNTIME_DIR``.
            temp: Folders for short-lived things; the system's own if not given.
        """
        self.run = run
        self.spec = spec
        self.clock = clock
        self.mint = mint
        self.actors: Mapping[ActorId, Actor] = {}
        self.post: Emit = _nobody
        self._runtime_dir = runtime_dir
        self._temp = temp_folders() if temp is None else temp
        self._tokens: dict[str, ActorId] = {}
        self._clients: dict[str, _Client] = {}
        self._names = 0
        self._place: Place | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self, post: Emit) -> AsyncIterator[None]:
        """Be ready to give seats as long as the block runs.

        Args:
            post: Puts a signal into the loop's inbox.
        """
        self.post = post
        try:
            yield
        finally:
            if self._server is not None:
                self._server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for name in list(self._tokens.values()):
                self._revoke(name)
            if self._place is not None:
                self._place.leave()

    # what the control socket has of it

    async def give(self, name: str, via: str) -> Answer | Refused:
        """Give an operator a seat: the path of the socket, and of the file with the token.

        Args:
            name: The actor's id.
            via: Who asks, as far as is known.
        """
        actor = self.actors.get(ActorId(name))
        if actor is None:
            return refused("not_found", f"there is no actor {name!r} in this run")
        if actor.phase not in HAS_PROCESS:
            return refused("unavailable", f"{name} has no session at the moment, so nobody can act in its name")
        try:
            place = await self._open()
            path = self._token_path(actor.spec.id)
            if actor.spec.id not in self._tokens.values():
                token = secrets.token_hex(32)
                await asyncio.to_thread(self.run.disk.write_atomic, path, token.encode() + b"\n")
                self._tokens[token] = actor.spec.id
        except WorldError as problem:
            return refused("unavailable", f"no seat can be had: {problem}")
        self.post(s.SeatGiven(**self.about(actor), via=via))
        return Answer({"actor_id": name, "socket": str(place.path), "token_file": str(path)})

    async def _open(self) -> Place:
        if self._place is None:
            self._place = claim(self.run, self._runtime_dir, self._temp, "mcp")
            self._server = await asyncio.start_unix_server(
                self._enter, sock=self._place.listener, limit=LONGEST_MESSAGE
            )
        return self._place

    def _token_path(self, name: ActorId) -> Path:
        return self.run.task(name) / "seat.token"

    def _revoke(self, name: ActorId) -> None:
        self._tokens = {token: actor for token, actor in self._tokens.items() if actor != name}
        with suppress(OSError):
            self._token_path(name).unlink(missing_ok=True)

    # what the loop has of it

    def see(self, state: RunState) -> None:
        """Take the new state: who has ended has no seat any more, and what was asked in its name has no answer."""
        self.actors = state.actors
        for name in set(self._tokens.values()):
            if self.actors[name].status is not None:
                self._revoke(name)
        for client in self._clients.values():
            client.look()

    def answer(self, effect: AnswerCall) -> bool:
        """Answer a call; false if it was not made from a seat."""
        seat, _, _ = str(effect.call_id).partition("/")
        client = self._clients.get(seat)
        if client is not None:
            client.answer(effect)
        return client is not None

    def about(self, actor: Actor) -> About:
        """What every report says."""
        return {"at": self.clock(), "actor": actor.spec.id, "attempt": actor.attempt}

    # clients

    def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="seat")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client from its coming to its leaving; whatever goes wrong with it is its own affair."""
        try:
            async with asyncio.timeout(HELLO_SECS):
                admitted = await self._admit(reader, writer)
            await _say(writer, {"ok": True} if admitted.problem is None else {"error": admitted.problem})
            if admitted.problem is None:
                await self._seat(admitted.actor, reader, writer)
        except Exception:  # noqa: BLE001 - the wall between a client and the run
            writer.transport.abort()
        finally:
            writer.close()

    async def _seat(self, name: ActorId, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._names += 1
        client = _Client(self, f"seat-{self._names}", name, writer)
        self._clients[client.name] = client
        try:
            await client.serve(reader)
        finally:
            del self._clients[client.name]

    async def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Admission:
        """Whose seat a client may take, or why it may take none."""
        try:
            shown = msgspec.json.decode(await reader.readuntil(b"\n"), type=_Hello).token
        except (ValueError, RecursionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return _Admission(problem="the first line must be a JSON object with a token")
        name = next((who for token, who in self._tokens.items() if _same(token, shown)), None)
        if name is None:
            return _Admission(problem="this token is void: it never was a seat's, or its actor has ended")
        peer = peer_of(writer.get_extra_info("socket"))
        if peer is not None and peer.uid not in {os.geteuid(), 0}:
            return _Admission(problem="this run belongs to somebody else")
        if peer is not None and peer.pid is not None:
            agent = await asyncio.to_thread(agent_behind, peer.pid, self.run.run_id)
            if agent not in {None, name}:
                return _Admission(problem=f"an agent may take no seat but its own, and this is the seat of {name}")
        if len(self._clients) >= MOST_CLIENTS:
            return _Admission(problem=f"{MOST_CLIENTS} seats are taken already")
        return _Admission(name)


class _Admission(NamedTuple):
    actor: ActorId = ActorId("")
    problem: str | None = None


def _same(token: str, shown: str) -> bool:
    return secrets.compare_digest(token.encode(), shown.encode(errors="replace"))


class _Hello(msgspec.Struct, frozen=True):
    token: str


class _Client:
    """One connection, once it is admitted."""

    def __init__(self, seats: Seats, name: str, actor: ActorId, writer: asyncio.StreamWriter) -> None:
        self.name = name
        self._seats = seats
        self._actor = actor
        self._writer = writer
        tree = seats.spec.tree
        role = seats.actors[actor].role
        self._seat = Seat(
            tools_for(
                role,
                allow_subleads=tree is not None and tree.allow_subleads and role == "lead",
                path_b=tree is not None and tree.permission_routing == "path_b",
            )
        )
        self._open: dict[CallId, tuple[Asked, int]] = {}
        """Calls that wait: by the id the run knows, with the attempt they were made in."""
        self._idle = asyncio.Event()
        """Set while no call waits."""
        self._idle.set()

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Hear it to its end; then nobody waits for its answers any more."""
        try:
            while (line := await _next(reader)) != b"":
                if (answer := self._hear(line)) is not None:
                    await _say(self._writer, answer)
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE_SECS):
                    await self._idle.wait()
            await _drain(self._writer)
        finally:
            for known, (_, attempt) in self._open.items():
                at = self._seats.clock()
                self._seats.post(s.CallDropped(at=at, actor=self._actor, attempt=attempt, call_id=known))

    def look(self) -> None:
        """Answer what the run will not answer any more, as whoever asked is gone."""
        now = self._attempt()
        for known, (asked, attempt) in list(self._open.items()):
            if attempt != now:
                self._close(known, asked, _GONE)

    def answer(self, effect: AnswerCall) -> None:
        """Pass an answer on."""
        if effect.call_id in self._open:
            asked, _ = self._open[effect.call_id]
            self._close(effect.call_id, asked, effect.answer)

    def _close(self, known: CallId, asked: Asked, answer: Answer | Refused) -> None:
        del self._open[known]
        self._seat.close(asked.call_id)
        if not self._open:
            self._idle.set()
        # Not waited for: what is on its way is bounded by the calls that may wait, and by the size of an answer.
        self._writer.write(_line(self._seat.payload(asked, answer)))

    def _attempt(self) -> int:
        """The attempt that calls are made in; 0 while there is none."""
        actor = self._seats.actors[self._actor]
        return actor.attempt if actor.phase in HAS_PROCESS else 0

    def _hear(self, line: bytes | None) -> JsonObject | None:
        """What is said to a message at once; ``None`` if nothing is, or not yet."""
        if line is None:
            return mcp.error(None, _PARSE_ERROR, f"A message may have {LONGEST_MESSAGE} bytes at most.")
        try:
            message: object = msgspec.json.decode(line)
        except (ValueError, RecursionError) as problem:
            return mcp.error(None, _PARSE_ERROR, f"This is not JSON: {problem}.")
        if not isinstance(message, dict):
            return mcp.error(None, _INVALID_REQUEST, "A message must be one JSON object.")
        understood = self._seat.hear("", message)
        if isinstance(understood, Asked):
            return self._put_to_the_run(understood)
        return understood if "id" in understood else None  # a notification wants no answer

    def _put_to_the_run(self, asked: Asked) -> JsonObject | None:
        attempt = self._attempt()
        if not attempt or len(self._open) >= MOST_CALLS:
            self._seat.close(asked.call_id)
            return self._seat.payload(asked, _TOO_MANY if attempt else _GONE)
        known = f"{self.name}/{asked.call_id!r}"
        self._open[known] = (asked, attempt)
        self._idle.clear()
        minted = self._seats.mint()
        self._seats.post(
            s.CallMade(
                at=self._seats.clock(),
                actor=self._actor,
                attempt=attempt,
                call_id=known,
                call=asked.call,
                minted=minted.id,
                session_id=minted.session_id,
            )
        )
        return None


async def _next(reader: asyncio.StreamReader) -> bytes | None:
    """The next message, ``None`` for one that is too long, nothing at the end."""
    too_long = False
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as rest:
            return None if too_long and rest.partial else rest.partial
        except asyncio.LimitOverrunError as over:
            await reader.readexactly(over.consumed)
            too_long = True
        else:
            return None if too_long else line


def _line(message: JsonObject) -> bytes:
    return to_json(message) + b"\n"


async def _say(writer: asyncio.StreamWriter, message: JsonObject) -> None:
    writer.write(_line(message))
    await _drain(writer)


async def _drain(writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(PATIENCE_SECS):
        await writer.drain()


def _nobody(_signal: s.Signal) -> None:
    """Where signals go before the run has begun."""
