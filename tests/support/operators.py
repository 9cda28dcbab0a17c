"""Operators under test: a run of the pure core behind a real socket, and callers that hold either end of a talk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from pitboss.drivers.claude import Minted
from pitboss.journal.rundir import RunDir
from pitboss.model import effects as e
from pitboss.model.calls import RequestApproval
from pitboss.model.run import RunSpec
from pitboss.model.signals import Signal
from pitboss.services.control import Control
from pitboss.services.mcp import Seats
from pitboss.testing.doubles import Story

Event = dict[str, object]
HELLO: Event = {"op": "hello", "client_version": "test 1", "capabilities": ["several"]}
OLD_HELLO: Event = {"op": "hello", "client_version": "0.9.2"}
"""What a client of Pitboss 0.9 says."""

ANSWERS = frozenset({"workers_snapshot", "approvals_snapshot", "snapshot", "delta"})
"""Events that answer an op without naming it."""

CALLERS: list[Caller] = []


async def hang_up() -> None:
    """Close every connection that a test has left open."""
    while CALLERS:
        CALLERS.pop().writer.close()
    await asyncio.sleep(0)


class Desk:
    """A run of the core alone behind a real socket: what is posted is decided at once."""

    def __init__(
        self,
        rundir: RunDir,
        spec: RunSpec,
        *,
        runtime_dir: str = "",
        temp: Sequence[str] | None = None,
        story: Story | None = None,
    ) -> None:
        self.story = story or Story(spec)
        self.warnings: list[str] = []
        self.posted: list[Signal] = []
        self.deaf = False
        """Orders are taken and never answered."""
        self.rundir = rundir
        seats = Seats(rundir, spec, self.story.clock.now, lambda: Minted("id", "session"), temp=temp)
        self.control = Control(
            rundir,
            spec,
            self.story.clock.now,
            self.warnings.append,
            seats,
            cursor=lambda: len(self.story.facts),
            runtime_dir=runtime_dir,
            temp=temp,
            patience_secs=0.5,
        )
        self._answering: list[asyncio.Task[None]] = []

    @property
    def path(self) -> Path:
        return Path(self.rundir.control_path.read_text().strip())

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with self.control.serving(self._post):
            self.see()
            yield

    @property
    def names(self) -> list[str]:
        """Everyone, in the order they came into being."""
        return [str(name) for name in self.story.state.actors]

    def see(self) -> None:
        """Show the door what the story has led to."""
        self.control.see(self.story.state)

    def close(self) -> None:
        """Begin to close the door, as the run's end does."""
        self.control._ending.set()

    def _post(self, signal: Signal) -> None:
        self.posted.append(signal)
        if self.deaf:
            return
        outcome = self.story.when(signal)  # type: ignore[arg-type]  # every signal is one of those the core takes
        self.control.see(self.story.state)
        for effect in outcome.effects:
            if isinstance(effect, e.AnswerOrder):
                work = self.control.answer(effect, self._post)
                self._answering.append(asyncio.get_running_loop().create_task(work))

    def ask(self, summary: str = "push to main", **more: object) -> str:
        """The lead asks for approval; the request's id."""
        assert None is self.story.calls("lead", RequestApproval(summary=summary, **more))  # type: ignore[arg-type]
        self.control.see(self.story.state)
        return next(reversed(self.story.state.approvals))


class Caller:
    """An operator."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        CALLERS.append(self)

    @classmethod
    async def connect(cls, path: Path, *, hello: bool = True, says: Event = HELLO) -> Caller:
        caller = cls(*await asyncio.open_unix_connection(str(path), limit=1 << 26))
        if hello:
            caller.send(says)
            assert "hello" == (await caller.hear())["event"]
        return caller

    def send(self, *lines: Event | bytes) -> None:
        for line in lines:
            self.writer.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")

    async def hear(self) -> Event:
        async with asyncio.timeout(40):
            line = await self.reader.readline()
        assert line, "the connection has ended"
        event = json.loads(line)
        assert isinstance(event, dict)
        return event

    async def ask(self, op: str, **fields: object) -> Event:
        """Send an op and give its reply; what is pushed meanwhile is passed over."""
        self.send({"op": op, **fields})
        while True:
            event = await self.hear()
            if event.get("op") == op or event["event"] in ANSWERS:
                return event

    async def hear_of(self, kind: str) -> Event:
        """The next event of a kind; others are passed over."""
        while (event := await self.hear())["event"] != kind:
            pass
        return event

    async def ended(self) -> bool:
        """True once the other side has left and everything it said was read."""
        async with asyncio.timeout(40):
            try:
                while await self.reader.read(1 << 20):
                    pass
            except ConnectionError:
                pass
        return True


def led(desk: Desk) -> Desk:
    desk.story.working("lead")
    return desk


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(40):
        while not true():  # noqa: ASYNC110 - any condition
            await asyncio.sleep(0.005)
