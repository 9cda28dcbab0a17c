"""The operators' door to a run at work: orders in, answers and events out, over a socket for its owner alone.

Who may come in, and how many; what is said to each is ``operators``'s. Nothing a client sends or leaves undone reaches
the run but a signal. Called by ``compose`` around the loop, which posts the signals and whose watcher and hand this is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from pitboss.core.state import Asked, RunState
from pitboss.drivers.peer import Peer, cookies_of, peer_of
from pitboss.engine.ids import mint_session_id
from pitboss.errors import WorldError
from pitboss.journal.rundir import RunDir, typed
from pitboss.model.answers import Answer, Refused, refused
from pitboss.model.effects import AnswerOrder, Emit
from pitboss.model.orders import AnyOrder
from pitboss.model.run import RunSpec
from pitboss.model.signals import OrderGiven
from pitboss.services.happenings import Happenings
from pitboss.services.mcp import Seats
from pitboss.services.operators import Operator
from pitboss.services.place import Place, claim, temp_folders
from pitboss.services.showing import Showing
from pitboss.wire.control import LONGEST_LINE

__all__ = ["AT_THE_DOOR", "MOST_CLIENTS", "Control"]

MOST_CLIENTS = 64
"""So many operators may be connected at once."""

AT_THE_DOOR = 2 * MOST_CLIENTS
"""So many connections may be open at once, those included who have said nothing yet.

One more pushes out the oldest of these, so that nobody can keep the door shut by saying nothing; if all have spoken, it
is hung up on itself.
"""

EVENTS_EVERY_SECS = 0.05
"""What has happened is looked for at most this often; a request for approval is told at once."""

PATIENCE_SECS = 30.0
"""How long a client may leave what it was sent unread; then it is dropped, and may come again."""

CLOSING_SECS = 1.0
"""How long clients are given to read the last of it when the run has ended."""


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
        cursor: Callable[[], int],
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
            cursor: The number of the last fact that is in the state which is seen.
            runtime_dir: ``XDG_RUNTIME_DIR``.
            temp: Folders for short-lived things; the system's own if not given.
            patience_secs: How long a client may leave unread what it was sent.
        """
        self.run = run
        self.state = RunState(run=spec)
        self.patience_secs = patience_secs
        self.unanswered: tuple[Asked, ...] = ()
        """Requests for approval that wait for a decision, the oldest first."""
        self.over = False
        """The run has ended: the last is said, then everyone leaves."""
        self.happenings = Happenings()
        self.showing = Showing(self._ring_subscribers)
        self._clock = clock
        self._cursor = cursor
        self._seats = seats
        self._post: Emit | None = None
        self._floor: Operator | None = None
        """The newest of those who mind others."""
        self._look: asyncio.TimerHandle | None = None
        self._on_warning = on_warning
        self._runtime_dir = runtime_dir
        self._temp = temp_folders() if temp is None else temp
        self._cookies: frozenset[str] | None = None
        self._known = asyncio.Event()
        """Set once there is a state on disk; until then nobody is served."""
        self._ending = asyncio.Event()
        self._clients: dict[Operator, asyncio.Task[None]] = {}
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
        self._post = post
        keeper = asyncio.create_task(self._keep(place), name="control")
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
            waiting = typed(self.run.path.parent, "approvals", "list", self.run.run_id)
            self._on_warning(
                f"operators cannot reach this run while it is at work: no socket could be had ({problem}). To answer "
                f"an approval, stop the run, use `{waiting}`, then `{self.run.typed('resume')}`"
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
        asks = state.approvals is not self.state.approvals
        self.state = state
        if asks:
            self.unanswered = tuple(one for one in state.approvals.values() if one.ruling is None)
        self._known.set()
        self.showing.see(state, self._cursor())
        if asks:
            self._look_again()
        elif self._look is None and self._clients:
            self._look = asyncio.get_running_loop().call_later(EVENTS_EVERY_SECS, self._look_again)

    def _look_again(self) -> None:
        """See what has happened, and have everyone told."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        self._take()
        for client in self._clients:
            client.bell.set()

    def _take(self) -> None:
        """See what has happened; what cannot be told is passed over, and is no reason to end the run."""
        try:
            self.happenings.take(self.state)
        except Exception as problem:  # noqa: BLE001 - the wall between the door and the run
            self._on_warning(f"operators are not told of something: {type(problem).__name__}: {problem}")

    def _ring_subscribers(self) -> None:
        watching = [client for client in self._clients if client.subscribed]
        for client in watching:
            client.bell.set()
        if not watching:
            self.showing.rest()

    async def answer(self, effect: AnswerOrder, _emit: Emit) -> None:
        """Tell whoever gave an order what came of it; one who has left needs nothing."""
        waiting = self._orders.pop(effect.reply_to, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(effect.answer)

    # clients

    @property
    def asked(self) -> Mapping[str, Asked]:
        """Every request for approval so far, by its id."""
        return self.state.approvals

    async def order(self, order: AnyOrder, via: str, order_id: str) -> Answer | Refused:
        """Give the run an order and wait for what comes of it."""
        if self.over or self._post is None:
            return _GONE
        name = mint_session_id()
        waiting: asyncio.Future[Answer | Refused] = asyncio.get_running_loop().create_future()
        self._orders[name] = waiting
        try:
            self._post(OrderGiven(at=self._clock(), order=order, via=via, order_id=order_id, reply_to=name))
            return await waiting
        finally:
            self._orders.pop(name, None)

    async def give_seat(self, actor: str, via: str) -> Answer | Refused:
        """Give an operator a seat beside an actor."""
        return await self._seats.give(actor, via)

    def take_the_floor(self, operator: Operator) -> None:
        """Have a client that minds others be the one that is told everything, as in Pitboss 0.9."""
        if self._floor is not None:
            self._floor.superseded = True
            self._floor.bell.set()
        self._floor = operator

    async def _keep(self, place: Place) -> None:
        """Let clients in until the end; then have them leave. A door that breaks is no reason to end the run."""
        try:
            await self._let_in(place)
        except Exception as problem:  # noqa: BLE001 - the wall between the door and the run
            self._on_warning(f"operators cannot reach this run any more: {type(problem).__name__}: {problem}")

    async def _let_in(self, place: Place) -> None:
        async with asyncio.TaskGroup() as group:

            def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                if len(self._clients) >= AT_THE_DOOR and not self._push_out_one():
                    writer.transport.abort()
                    return
                client = Operator(self, reader, writer)
                self._take()  # whoever comes is told everything
                task = group.create_task(self._serve(client, writer), name="operator")
                self._clients[client] = task
                task.add_done_callback(lambda _: self._left(client))

            server = await asyncio.start_unix_server(enter, sock=place.listener, limit=LONGEST_LINE)
            try:
                await self._ending.wait()
            finally:
                server.close()
            await self._see_them_out()

    def _push_out_one(self) -> bool:
        """Hang up on the oldest that has said nothing yet; false if all have spoken."""
        silent = next((client for client in self._clients if not client.has_spoken), None)
        if silent is None:
            return False
        silent.hang_up()
        self._clients.pop(silent).cancel()
        return True

    def _left(self, client: Operator) -> None:
        self._clients.pop(client, None)
        if self._floor is client:
            self._floor = None

    async def _see_them_out(self) -> None:
        self.over = True
        self._look_again()
        for waiting in self._orders.values():
            if not waiting.done():
                waiting.set_result(_GONE)
        tasks = list(self._clients.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSING_SECS)
            for task in late:
                task.cancel()

    async def _serve(self, client: Operator, writer: asyncio.StreamWriter) -> None:
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

    async def refusal(self, peer: Peer | None) -> Refused | None:
        """Why somebody may not come in; ``None`` if it may."""
        if peer is not None and (refusal := await self._strangeness(peer)) is not None:
            return refusal
        # Last, so that nobody is let in meanwhile; whoever has said nothing yet takes no one's place.
        if sum(client.let_in for client in self._clients) >= MOST_CLIENTS:
            return refused("cap_reached", f"{MOST_CLIENTS} operators are connected already; try again later")
        return None

    async def _strangeness(self, peer: Peer) -> Refused | None:
        """Why somebody is none of the run's operators; without the kernel's word the socket's permissions must do."""
        if peer.uid not in {os.geteuid(), 0}:
            return refused("forbidden", "this run belongs to somebody else")
        # A pit that was itself started by an agent obeys that one, and what else is no deeper inside than we are.
        marks = () if peer.pid is None else await asyncio.to_thread(cookies_of, peer.pid)
        if not await self._own_cookies() >= set(marks):
            return refused("forbidden", "an agent cannot give orders to a run")
        return None

    async def _own_cookies(self) -> frozenset[str]:
        if self._cookies is None:
            self._cookies = frozenset(await asyncio.to_thread(cookies_of, os.getpid()))
        return self._cookies


_GONE = refused("unavailable", "the dispatcher has ended before it could answer; ask again")
