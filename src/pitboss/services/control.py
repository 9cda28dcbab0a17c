"""The operators' door to a run at work: orders in, answers and events out, over a socket for its owner alone.

Clients are bounded by construction: what a client has still to be told is not queued but found by comparing what it
was shown with how things stand, its orders are taken one after another, and one that does not read is dropped. Nothing
a client sends or leaves undone reaches the run but a signal. Called by ``compose`` around the loop, which posts the
signals and whose watcher and hand this is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import assert_never

from pitboss import __version__
from pitboss.core.state import Asked, RunState
from pitboss.drivers.peer import Peer, cookies_of, peer_of
from pitboss.engine.ids import mint_session_id
from pitboss.errors import WorldError
from pitboss.journal.rundir import RunDir
from pitboss.model.answers import Answer, Refused, refused
from pitboss.model.effects import AnswerOrder, Emit
from pitboss.model.run import RunSpec
from pitboss.model.signals import ApprovalAnswered
from pitboss.services.mcp import Seats
from pitboss.services.place import Place, claim, temp_folders
from pitboss.wire import control as wire

__all__ = ["MOST_CLIENTS", "Control"]

MOST_CLIENTS = 64
"""So many operators may be connected at once."""

HELLO_SECS = 10.0
"""How long a client may take to say hello."""

PATIENCE_SECS = 30.0
"""How long a client may leave what it was sent unread; then it is dropped, and may come again."""

CLOSING_SECS = 1.0
"""How long clients are given to read the last of it when the run has ended."""

_LONGEST_VERSION = 80


class Control:
    """Serves the operators of one run."""

    def __init__(
        self,
        run: RunDir,
        spec: RunSpec,
        clock: Callable[[], float],
        on_warning: Callable[[str], None],
        seats: Seats,
        *,
        runtime_dir: str = "",
        temp: Sequence[str] | None = None,
        patience_secs: float = PATIENCE_SECS,
    ) -> None:
        """Prepare to serve.

        Args:
            run: The run's folder.
            spec: What was asked for.
            clock: What time it is.
            on_warning: Told if operators cannot reach the run.
            seats: What operators are given seats from.
            runtime_dir: ``XDG_RUNTIME_DIR``.
            temp: Folders for short-lived things; the system's own if not given.
            patience_secs: How long a client may leave unread what it was sent.
        """
        self.run = run
        self.spec = spec
        self.clock = clock
        self.seats = seats
        self.patience_secs = patience_secs
        self.asked: Mapping[str, Asked] = {}
        """Every request for approval so far, by its id."""
        self.workers: Sequence[str] = ()
        self.over = False
        """The run has ended: the last is said, then everyone leaves."""
        self._on_warning = on_warning
        self._runtime_dir = runtime_dir
        self._temp = temp_folders() if temp is None else temp
        self._cookies: frozenset[str] | None = None
        self._known = asyncio.Event()
        """Set once there is a state on disk; until then nobody is served."""
        self._ending = asyncio.Event()
        self._clients: dict[_Client, asyncio.Task[None]] = {}
        self._orders: dict[str, asyncio.Future[Answer | Refused]] = {}

    @asynccontextmanager
    async def serving(self, post: Emit) -> AsyncIterator[None]:
        """Serve operators as long as the block runs; if that cannot be, the block runs all the same.

        Args:
            post: Puts a signal into the loop's inbox.
        """
        place = self._open()
        if place is None:
            yield
            return
        keeper = asyncio.create_task(self._keep(place, post), name="control")
        try:
            yield
        finally:
            self._ending.set()
            await keeper
            place.leave()
            with suppress(OSError):
                self.run.control_path.unlink(missing_ok=True)

    def _open(self) -> Place | None:
        try:
            place = claim(self.run, self._runtime_dir, self._temp)
        except WorldError as problem:
            self._on_warning(
                f"operators cannot reach this run while it is at work: no socket could be had ({problem}). To answer "
                f"an approval, stop the run, use `pitboss approvals`, then `pitboss resume {self.run.run_id}`"
            )
            return None
        try:
            self.run.disk.write_atomic(self.run.control_path, os.fsencode(place.path) + b"\n")
        except WorldError as problem:
            self._on_warning(f"operators find this run only by the path of its socket, {place.path}: {problem}")
        return place

    # what the loop has of it

    def see(self, state: RunState) -> None:
        """Take the new state; clients are told what is new in it for them."""
        lead = state.spec.tree.lead.id if state.spec.tree else None
        self.workers = [name for name, actor in state.actors.items() if actor.parent in {None, lead}]
        self._known.set()
        if state.approvals is not self.asked:
            self.asked = state.approvals
            for client in self._clients:
                client.bell.set()

    async def answer(self, effect: AnswerOrder, _emit: Emit) -> None:
        """Tell whoever gave an order what came of it; one who has left needs nothing."""
        waiting = self._orders.pop(effect.order_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(effect.answer)

    # clients

    async def order(self, post: Emit, make: Callable[[str], ApprovalAnswered]) -> Answer | Refused:
        """Give the run an order and wait for what comes of it."""
        if self.over:
            return _GONE
        name = mint_session_id()
        waiting: asyncio.Future[Answer | Refused] = asyncio.get_running_loop().create_future()
        self._orders[name] = waiting
        try:
            post(make(name))
            return await waiting
        finally:
            self._orders.pop(name, None)

    async def _keep(self, place: Place, post: Emit) -> None:
        """Let clients in until the end; then have them leave. A door that breaks is no reason to end the run."""
        try:
            await self._let_in(place, post)
        except Exception as problem:  # noqa: BLE001 - the wall between the door and the run
            self._on_warning(f"operators cannot reach this run any more: {type(problem).__name__}: {problem}")

    async def _let_in(self, place: Place, post: Emit) -> None:
        async with asyncio.TaskGroup() as group:

            def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                client = _Client(self, post, reader, writer)
                task = group.create_task(self._serve(client, writer), name="operator")
                self._clients[client] = task
                task.add_done_callback(lambda _: self._clients.pop(client))

            server = await asyncio.start_unix_server(enter, sock=place.listener, limit=wire.LONGEST_LINE)
            try:
                await self._ending.wait()
            finally:
                server.close()
            await self._see_them_out()

    async def _see_them_out(self) -> None:
        self.over = True
        for waiting in self._orders.values():
            if not waiting.done():
                waiting.set_result(_GONE)
        for client in self._clients:
            client.bell.set()
        tasks = list(self._clients.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSING_SECS)
            for task in late:
                task.cancel()

    async def _serve(self, client: _Client, writer: asyncio.StreamWriter) -> None:
        """One client from its coming to its leaving; whatever goes wrong with it is its own affair."""
        try:
            await self._known.wait()
            await client.serve(peer_of(writer.get_extra_info("socket")))
        except Exception:  # noqa: BLE001 - the wall between a client and the run
            writer.transport.abort()
        finally:
            writer.close()
            if writer.transport.get_write_buffer_size() and self.over:
                writer.transport.abort()  # it had its time to read

    async def refusal(self, peer: Peer | None) -> str | None:
        """Why somebody may not come in; ``None`` if it may."""
        if len(self._clients) > MOST_CLIENTS:
            return f"{MOST_CLIENTS} operators are connected already"
        if peer is None:
            return None  # the socket's own permissions keep others out
        if peer.uid not in {os.geteuid(), 0}:
            return "this run belongs to somebody else"
        # A pit that was itself started by an agent obeys that one, and what else is no deeper inside than we are.
        marks = () if peer.pid is None else await asyncio.to_thread(cookies_of, peer.pid)
        if not await self._own_cookies() >= set(marks):
            return "an agent cannot give orders to a run"
        return None

    async def _own_cookies(self) -> frozenset[str]:
        if self._cookies is None:
            self._cookies = frozenset(await asyncio.to_thread(cookies_of, os.getpid()))
        return self._cookies


_GONE = refused("unavailable", "the dispatcher has ended before it could answer; ask again")


class _Client:
    """One connection."""

    def __init__(
        self, control: Control, post: Emit, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.bell = asyncio.Event()
        """Rung when there may be news."""
        self._control = control
        self._post = post
        self._reader = reader
        self._writer = writer
        self._pen = asyncio.Lock()
        self._turn = asyncio.Lock()
        """Held while an order is being carried out."""
        self._shown: set[str] = set()
        """Requests it was shown and has not seen answered."""
        self._via = ""

    async def serve(self, peer: Peer | None) -> None:
        """Say hello, then obey and tell until either side has enough."""
        async with asyncio.timeout(HELLO_SECS):
            line = await self._next_line()
        if line is None:
            return
        # Only now: one who is refused before it has spoken meets a closed door, and not the reason why.
        if (refusal := await self._control.refusal(peer)) is not None:
            await self.say(wire.failed("hello", refusal))
            return
        if not await self._greet(line, peer):
            return
        async with asyncio.TaskGroup() as pair:
            work = {pair.create_task(self._listen()), pair.create_task(self._tell())}
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            for task in work:
                task.cancel()

    async def say(self, line: bytes) -> None:
        """Send a line; a client that leaves too much unread for too long is given up.

        Raises:
            TimeoutError: It does not read.
        """
        async with self._pen:
            self._writer.write(line)
            async with asyncio.timeout(self._control.patience_secs):
                await self._writer.drain()

    async def _greet(self, line: bytes, peer: Peer | None) -> bool:
        op = wire.parse(line)
        match op:
            case wire.Hello(client_version=version):
                program = "".join(char for char in version if char.isprintable())[:_LONGEST_VERSION]
                self._via = " with ".join(filter(None, [peer.user if peer else "", program]))
                spec = self._control.spec
                kind: wire.RunKind = "hierarchical" if spec.tree else "flat"
                rules = spec.policy.rules
                await self.say(wire.hello_event(__version__, spec.run_id, kind, self._control.workers, rules))
                return True
            case str():
                await self.say(wire.failed("hello", op))
            case _:
                await self.say(wire.failed(wire.name_of(op), "expected hello as first message"))
        return False

    # what it wants

    async def _listen(self) -> None:
        while (line := await self._next_line()) is not None:
            async with self._turn:
                await self.say(await self._obey(line))
        await self._catch_up()

    async def _next_line(self) -> bytes | None:
        """The next line, ``None`` when no more can come: it is gone, or has sent a line without an end."""
        try:
            return await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as rest:
            return rest.partial or None
        except asyncio.LimitOverrunError:
            await self.say(wire.failed("parse_error", f"parse error: a line has more than {wire.LONGEST_LINE} bytes"))
            return None

    async def _obey(self, line: bytes) -> bytes:
        op = wire.parse(line)
        match op:
            case str():
                return wire.failed(wire.tag_of(line), op)
            case wire.Hello():
                return wire.acked("hello", Answer({}))
            case wire.ListApprovals():
                waiting = (one.approval for one in self._control.asked.values() if one.ruling is None)
                return wire.approvals_snapshot(waiting)
            case wire.Approve():
                return await self._approve(op)
            case wire.GiveSeat(actor_id=name):
                given = await self._control.seats.give(name, self._via)
                return wire.acked("give_seat", given) if isinstance(given, Answer) else wire.failed("give_seat", given)
            case _:
                assert_never(op)

    async def _approve(self, op: wire.Approve) -> bytes:
        answer = await self._control.order(
            self._post,
            lambda order_id: ApprovalAnswered(
                at=self._control.clock(),
                request_id=op.request_id,
                approved=op.approved,
                via=self._via,
                comment=op.comment,
                reason=op.reason,
                edited_summary=op.edited_summary,
                order_id=order_id,
            ),
        )
        return wire.acked("approve", answer) if isinstance(answer, Answer) else wire.failed("approve", answer)

    # what it is told

    async def _tell(self) -> None:
        while not self._control.over:
            self.bell.clear()
            await self._catch_up()
            await self.bell.wait()
        await self._catch_up()
        async with self._turn:
            pass  # the order it has given is still answered

    async def _catch_up(self) -> None:
        """Say everything that it does not know yet."""
        while (event := self._news()) is not None:
            await self.say(event)

    def _news(self) -> bytes | None:
        asked = self._control.asked
        for name in self._shown:
            if (ruling := asked[name].ruling) is not None:
                self._shown.remove(name)
                return wire.approval_resolved(asked[name].approval, ruling)
        for name, one in asked.items():
            if one.ruling is None and name not in self._shown:
                self._shown.add(name)
                return wire.approval_request(one.approval)
        return None
