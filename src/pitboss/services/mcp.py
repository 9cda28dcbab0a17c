"""Seats: a door through which any MCP client can call an actor's tools in that actor's name.

Agents need no door, they have their own pipe. A seat is given by an operator, for one actor, as a token in a file for
its owner alone; who comes with it is asked of the kernel as well: an agent may take its own seat and no other. The
socket is there once the first seat was given, the token is void when its actor has ended. What a client says is
``services.seated``'s business. Called by ``compose`` and by ``services.control``.
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
from pitboss.model.effects import AnswerCall, AnswerDeed, Emit
from pitboss.model.run import ActorId, RunSpec
from pitboss.model.tree import CallId
from pitboss.services.place import Place, claim, temp_folders
from pitboss.services.seated import LONGEST_MESSAGE, Client, say

__all__ = ["Seats"]

MOST_CLIENTS = 64
"""So many may be connected at once."""

HELLO_SECS = 10.0
"""How long a client may take to show its token."""


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
        self._clients: dict[str, Client] = {}
        self._names = 0
        self._place: Place | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._giving = asyncio.Lock()
        """Two who ask for the same seat are given the same token."""

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
            async with self._giving:
                place, path = await self._open(), await self._write_token(actor.spec.id)
        except WorldError as problem:
            return refused("unavailable", f"no seat can be had: {problem}")
        self.post(s.SeatGiven(**self.about(actor), via=via))
        return Answer({"actor_id": name, "socket": str(place.path), "token_file": str(path)})

    async def _write_token(self, name: ActorId) -> Path:
        path = self._token_path(name)
        if name not in self._tokens.values():
            token = secrets.token_hex(32)
            await asyncio.to_thread(self.run.disk.write_atomic, path, token.encode() + b"\n")
            self._tokens[token] = name
        return path

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
        self.actors, self.spec = state.actors, state.spec
        for name in set(self._tokens.values()):
            if self.actors[name].status is not None:
                self._revoke(name)
        for client in self._clients.values():
            client.look()

    def answer(self, effect: AnswerCall) -> bool:
        """Answer a call; false if it was not made from a seat."""
        client = self._client_of(effect.call_id)
        if client is not None:
            client.answer(effect)
        return client is not None

    def answer_deed(self, effect: AnswerDeed) -> bool:
        """Let a call be made, or refuse it; false if it does not come from a seat."""
        client = self._client_of(effect.request_id)
        if client is not None:
            client.answer_deed(effect)
        return client is not None

    def _client_of(self, name: CallId) -> Client | None:
        return self._clients.get(str(name).partition("/")[0])

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
            await say(writer, {"ok": True} if admitted.problem is None else {"error": admitted.problem})
            if admitted.problem is None:
                await self._seat(admitted.actor, reader, writer)
        except Exception:  # noqa: BLE001 - the wall between a client and the run
            writer.transport.abort()
        finally:
            writer.close()

    async def _seat(self, name: ActorId, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._names += 1
        client = Client(self, f"seat-{self._names}", name, writer)
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


def _nobody(_signal: s.Signal) -> None:
    """Where signals go before the run has begun."""
