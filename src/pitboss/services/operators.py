"""One operator at the run's door: says hello, is told what happens, and gives orders one after another.

Bounded by construction: what a client has still to be told is not queued but found by comparing what it was shown with
how things stand, and one that does not read is dropped. Called by ``control``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Protocol

from pitboss import __version__
from pitboss.core import tree
from pitboss.core.run_state import Asked
from pitboss.core.state import RunState
from pitboss.core.supervision import end_of
from pitboss.drivers.peer import Peer
from pitboss.model.answers import Answer, Refused
from pitboss.model.approvals import End
from pitboss.model.orders import AnyOrder
from pitboss.model.run import ActorId
from pitboss.model.views import RunView
from pitboss.services.happenings import Happenings
from pitboss.services.showing import SHOW_EVERY_SECS, Showing
from pitboss.wire import control as wire
from pitboss.wire import control_events as events

__all__ = ["Desk", "Operator"]

HELLO_SECS = 10.0
"""How long a client may take to say hello."""

ACTIVITY_SECS = 1.0
"""How often a client is told how busy the store is, as in Pitboss 0.9."""

_LONGEST_VERSION = 80

Activity = tuple[ActorId, int, int]
"""An actor, how often it has used the store, and how often leases."""

_UNSUITABLE = frozenset({"pause_worker", "continue_worker", "reprompt_worker"})
"""Ops that are answered with ``op_unknown_state`` where their target stands in the way."""


class Desk(Protocol):
    """What an operator is served from."""

    state: RunState
    over: bool
    """The run has ended: the last is said, then everyone leaves."""
    patience_secs: float
    """How long a client may leave unread what it was sent."""
    happenings: Happenings
    showing: Showing

    unanswered: tuple[Asked, ...]
    """Requests for approval that wait for a decision, the oldest first."""

    @property
    def asked(self) -> Mapping[str, Asked]:
        """Every request for approval so far, by its id."""

    async def refusal(self, peer: Peer | None) -> Refused | None:
        """Why somebody may not come in; ``None`` if it may."""

    def take_the_floor(self, operator: Operator) -> None:
        """Have a client that minds others be the one that is told everything."""

    async def order(self, order: AnyOrder, via: str, order_id: str) -> Answer | Refused:
        """Give the run an order and wait for what comes of it."""

    async def give_seat(self, actor: str, via: str) -> Answer | Refused:
        """Give an operator a seat beside an actor."""


class Operator:
    """One connection."""

    def __init__(self, desk: Desk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.bell = asyncio.Event()
        """Rung when there may be news."""
        self.superseded = False
        """Somebody has come who is told everything instead."""
        self.subscribed = False
        self.has_spoken = False
        """It has said something, so it is not pushed out for another's sake."""
        self.let_in = False
        """It has said something, and is one of those who may come in."""
        self._desk = desk
        self._reader = reader
        self._writer = writer
        self._pen = asyncio.Lock()
        self._turn = asyncio.Lock()
        """Held while an op is being carried out."""
        self._several = False
        self._via = ""
        self._shown: set[str] = set()
        """Requests it was shown and has not seen answered."""
        self._told = 0
        """How many of the happenings it was told."""
        self._told_policy = 0
        """Which version of the rules it was told."""
        self._told_superseded = False
        self._view: RunView | None = None
        """What it was shown last."""
        self._every_secs = SHOW_EVERY_SECS
        self._show_at = 0.0
        self._activity: list[Activity] = []
        """What it was told last of the store."""
        self._activity_at = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        """When the bell rings by itself."""

    async def serve(self, peer: Peer | None) -> None:
        """Say hello, then obey and tell until either side has enough."""
        async with asyncio.timeout(HELLO_SECS):
            line = await self._next_line()
        if line is None:
            return
        self.has_spoken = True
        # Only now: one who is refused before it has spoken meets a closed door, and not the reason why.
        if (refusal := await self._desk.refusal(peer)) is not None:
            await self.say(events.failed("hello", refusal))
            return
        self.let_in = True
        if not await self._greet(line, peer):
            return
        self._activity_at = asyncio.get_running_loop().time() + ACTIVITY_SECS
        try:
            async with asyncio.TaskGroup() as group:
                work = {group.create_task(self._listen()), group.create_task(self._tell())}
                beat = [] if self._several else [group.create_task(self._beat())]
                await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
                for task in (*work, *beat):
                    task.cancel()
        finally:
            if self._alarm is not None:
                self._alarm.cancel()

    def hang_up(self) -> None:
        """End the connection at once, whatever is under way."""
        self._writer.transport.abort()

    async def say(self, line: bytes) -> None:
        """Send a line; a client that leaves too much unread for too long is given up.

        Raises:
            TimeoutError: It does not read.
        """
        async with self._pen:
            self._writer.write(line)
            async with asyncio.timeout(self._desk.patience_secs):
                await self._writer.drain()

    async def _greet(self, line: bytes, peer: Peer | None) -> bool:
        op = wire.parse(line)
        match op:
            case wire.Hello(client_version=version, capabilities=capabilities):
                program = "".join(char for char in version if char.isprintable())[:_LONGEST_VERSION]
                self._via = " with ".join(filter(None, [peer.user if peer else "", program]))
                self._several = wire.SEVERAL in capabilities
                await self.say(self._hello())
                if not self._several:
                    self._desk.take_the_floor(self)
                return True
            case str():
                await self.say(events.failed("hello", op))
            case _:
                await self.say(events.failed(wire.name_of(op), "expected hello as first message"))
        return False

    def _hello(self) -> bytes:
        state = self._desk.state
        spec = state.spec
        kind: events.RunKind = "hierarchical" if spec.tree else "flat"
        self._told_policy = state.policy_version
        lead = spec.tree.lead.id if spec.tree else None
        workers = [name for name, actor in state.actors.items() if actor.parent in {None, lead}]
        return events.hello(__version__, spec.run_id, kind, workers, spec.policy, state.policy_version)

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
            problem = f"parse error: a line has more than {wire.LONGEST_LINE} bytes"
            await self.say(events.failed("parse_error", problem))
            return None

    async def _obey(self, line: bytes) -> bytes:
        op = wire.parse(line)
        match op:
            case str():
                return events.failed(wire.tag_of(line), op)
            case wire.Hello():
                return events.acked("hello", Answer({}))
            case wire.ListWorkers():
                return events.workers_snapshot(self._desk.showing.now().actors)
            case wire.ListApprovals():
                return events.approvals_snapshot((one.approval, self._end(one)) for one in self._desk.unanswered)
            case wire.GiveSeat(actor_id=name):
                return self._answer(op, await self._desk.give_seat(name, self._via))
            case wire.Subscribe():
                return self._subscribe(op)
            case _:
                order = wire.order_of(op)
                return self._answer(op, await self._desk.order(order, self._via, op.order_id))

    def _end(self, one: Asked) -> End | None:
        return end_of(one.approval, self._desk.state.actors[one.approval.actor])

    def _answer(self, op: wire.Op, answer: Answer | Refused) -> bytes:
        name = wire.name_of(op)
        target = getattr(op, "task_id", None)
        if isinstance(answer, Answer):
            return events.acked(name, answer, target)
        if answer.code == "conflict" and name in _UNSUITABLE:
            return events.unknown_state(name, target or "", answer)
        return events.failed(name, answer, target)

    def _subscribe(self, op: wire.Subscribe) -> bytes:
        """Show the run, or what has changed since the client has seen it; the rest follows as it happens."""
        showing = self._desk.showing
        now = showing.now()
        line = showing.since(showing.known(op.cursor, op.epoch), now)
        self.subscribed = True
        self._every_secs = max(op.every_ms / 1000, SHOW_EVERY_SECS)
        self._shown_now(now)
        return line or events.encode(
            {"event": "delta", "from": now.cursor, "cursor": now.cursor, "run": {}, "actors": [], "gone": []}
        )

    # what it is told

    async def _tell(self) -> None:
        while not self._desk.over:
            self.bell.clear()
            await self._catch_up()
            await self.bell.wait()
        await self._catch_up()
        async with self._turn:
            pass  # the op it has sent is still answered
        await self.say(self._farewell())

    async def _catch_up(self) -> None:
        """Say everything that it does not know yet; what comes up meanwhile rings the bell again."""
        for event in self._news():
            await self.say(event)
        for event in filter(None, (self._new_activity(), self._new_view())):
            await self.say(event)

    def _news(self) -> Iterator[bytes]:
        """What has happened since it was told last; looked for as far as it is read."""
        if self.superseded:
            if not self._told_superseded:
                self._told_superseded = True
                yield events.superseded()
            return
        asked = self._desk.asked
        for name in [name for name in self._shown if asked[name].ruling is not None]:
            ruling = asked[name].ruling
            if name in self._shown and ruling is not None:
                self._shown.discard(name)
                yield events.approval_resolved(asked[name].approval, ruling)
        for one in self._desk.unanswered:
            name = one.approval.request_id
            if name not in self._shown and self._desk.asked[name].ruling is None:
                self._shown.add(name)
                yield events.approval_request(one.approval, self._end(one))
        state = self._desk.state
        if state.policy_version > self._told_policy:  # those in between are nobody's business any more
            self._told_policy = state.policy_version
            yield events.policy_changed(state.spec.policy, state.policy_version)
        lines = self._desk.happenings.lines
        while self._told < len(lines):
            self._told += 1
            yield lines[self._told - 1]

    def _new_view(self) -> bytes | None:
        """What has changed since it was shown the run, if it wants to know, and not too often."""
        if not self.subscribed:
            return None
        latest = self._desk.showing.now() if self._desk.over else self._desk.showing.latest
        if latest is None or latest is self._view:
            return None
        if not self._desk.over and self._is_too_early(self._show_at):
            return None
        old = self._view
        self._shown_now(latest)
        return self._desk.showing.since(old, latest)

    def _shown_now(self, view: RunView) -> None:
        self._view = view
        self._show_at = asyncio.get_running_loop().time() + self._every_secs

    def _farewell(self) -> bytes:
        state = self._desk.state
        return events.run_finished(len(state.order), tree.failed(state), state.exit_code or 0)

    def _is_too_early(self, due: float) -> bool:
        """True before ``due``; then the bell rings, unless it is to ring sooner."""
        loop = asyncio.get_running_loop()
        if loop.time() >= due:
            return False
        if self._alarm is None or due < self._alarm.when() or self._alarm.when() <= loop.time():
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = loop.call_at(due, self.bell.set)
        return True

    # how busy the store is

    def _new_activity(self) -> bytes | None:
        """How busy the store is, if that has changed; a client of 0.9 is told every second, whatever it is."""
        if not self._several or self._is_too_early(self._activity_at):
            return None
        self._activity_at = asyncio.get_running_loop().time() + ACTIVITY_SECS
        before, self._activity = self._activity, self._counted()
        return None if before == self._activity else events.store_activity(self._activity)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(ACTIVITY_SECS)
            await self.say(events.store_activity(self._counted()))

    def _counted(self) -> list[Activity]:
        actors = self._desk.state.actors.items()
        counted = ((name, actor.store_calls, actor.lease_calls) for name, actor in actors)
        return [one for one in counted if one[1] or one[2]]
