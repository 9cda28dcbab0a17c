"""Holds one Claude Code process, fake or real, through our own wire; the scenarios below it see nothing but events.

The harness answers what asks: a tool call passes unless it is in ``denied``, our one MCP tool is answered unless the
test keeps it waiting.
"""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TypeAlias, TypeVar

from pitboss.model.run import ActorId, Session, Usage
from pitboss.wire import mcp
from pitboss.wire.claude import Conversation, Ended, Event, McpAsked, Ready, ToolAsked, command, environment

PER_CALL = Usage(input=100, output=20, cache_read=5000, cache_creation=1000)
"""What one reply of the scripted model uses, in both implementations."""

COST_PER_CALL = 0.00195
"""What that costs with the model of ``a_session``."""

LOOKUP = mcp.Tool(
    name="lookup",
    description="Look something up.",
    input_schema={"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]},
)

PATIENCE_SECS = 60.0

EventT = TypeVar("EventT", bound=Event)


def a_session(actor: str, binary: str, cwd: Path, **changes: object) -> Session:
    """A session with a fresh id and every tool the scenarios use."""
    fields: dict[str, object] = {
        "actor": ActorId(actor),
        "attempt": 1,
        "cookie": f"run/{actor}/{uuid.uuid4()}",
        "binary": binary,
        "cwd": str(cwd),
        "prompt": "",
        "session_id": str(uuid.uuid4()),
        "model": "claude-haiku-4-5",
        "tools": ("Bash", "Write", "Agent"),
        "log_dir": "",
    }
    return Session(**(fields | changes))  # type: ignore[arg-type]  # the fields are this module's own


class Talk:
    """One process and the conversation with it."""

    def __init__(self, session: Session, process: asyncio.subprocess.Process) -> None:
        self.session = session
        self.events: list[Event] = []
        """Everything heard, in order."""
        self.denied: dict[str, str] = {}
        """Tools that may not run, and why."""
        self.fails_hooks = False
        """Every hook is answered with an error."""
        self.holds_calls = False
        """Calls of our tool are left without an answer."""
        self.stderr = b""
        self._process = process
        self._conversation = Conversation(session)
        self._heard = asyncio.Condition()
        self._seen = 0
        self._at_end = False
        self._readers = [asyncio.ensure_future(self._listen()), asyncio.ensure_future(self._listen_to_stderr())]

    @classmethod
    async def start(cls, session: Session, inherited: Mapping[str, str]) -> Talk:
        """Starts the process in a group of its own."""
        process = await asyncio.create_subprocess_exec(
            *command(session, tools=[LOOKUP]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=session.cwd,
            env=environment(session, inherited, is_root=os.geteuid() == 0),
            start_new_session=True,
        )
        return cls(session, process)

    async def open(self) -> Ready:
        """Says hello and waits for the answer."""
        self.send(self._conversation.hello())
        return await self.next(Ready)

    def say(self, text: str = "go on") -> None:
        """Sends a message."""
        self.send(self._conversation.prompt(text))

    def interrupt(self) -> None:
        """Asks for the turn's end."""
        self.send(self._conversation.interrupt())

    def set_model(self, model: str, *, hello: bool = False) -> None:
        """Asks for another model from the next call on, in one breath with the hello if so wished."""
        self.send((self._conversation.hello() if hello else b"") + self._conversation.set_model(model))

    def send(self, line: bytes) -> None:
        """Writes to the process."""
        assert self._process.stdin is not None
        self._process.stdin.write(line)

    async def ask(self, text: str = "go on") -> Ended:
        """Sends a message and waits for the end of the turn."""
        self.say(text)
        return await self.next(Ended)

    async def next(self, kind: type[EventT], fits: Callable[[EventT], bool] = lambda event: True) -> EventT:
        """The next event of a kind; the ones before it are passed over."""
        async with asyncio.timeout(PATIENCE_SECS):
            while True:
                async with self._heard:
                    await self._heard.wait_for(lambda: self._seen < len(self.events) or self._at_end)
                assert self._seen < len(self.events), f"no {kind.__name__} before the end; stderr: {self.stderr!r}"
                event = self.events[self._seen]
                self._seen += 1
                if isinstance(event, kind) and fits(event):
                    return event

    def all(self, kind: type[EventT]) -> list[EventT]:
        """Every event of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    async def next_call(self) -> McpAsked:
        """The next call of our tool."""
        return await self.next(McpAsked, lambda event: event.message["method"] == "tools/call")

    def answer_call(self, asked: McpAsked) -> None:
        """Answers a call of our tool that was left without an answer."""
        answer = mcp.answer(asked.message, [LOOKUP])
        assert isinstance(answer, mcp.Call)
        self.send(self._conversation.mcp_answer(asked.request_id, _found(answer)))

    def close(self) -> None:
        """Closes the process's stdin."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def oddities(self) -> dict[str, int]:
        """What our wire could not read, by kind."""
        return self._conversation.oddities

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    async def exit_code(self) -> int:
        """Waits until the process is gone and everything it said was heard."""
        async with asyncio.timeout(PATIENCE_SECS):
            await asyncio.gather(*self._readers)
            return await self._process.wait()

    async def leave(self) -> int:
        """Closes stdin and waits for the exit code."""
        self.close()
        return await self.exit_code()

    async def clear_away(self) -> None:
        """Leaves nothing of the process behind, whatever the test came to."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        await asyncio.gather(*self._readers, return_exceptions=True)
        await self._process.wait()

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while chunk := await self._process.stdout.read(1 << 16):
            await self._note(self._conversation.feed(chunk))
        self._at_end = True
        await self._note(self._conversation.eof())

    async def _listen_to_stderr(self) -> None:
        assert self._process.stderr is not None
        self.stderr = await self._process.stderr.read()

    async def _note(self, events: list[Event]) -> None:
        for event in events:
            self._answer(event)
        async with self._heard:
            self.events += events
            self._heard.notify_all()

    def _answer(self, event: Event) -> None:
        match event:
            case ToolAsked(request_id=request_id) if self.fails_hooks:
                self.send(self._conversation.refuse(request_id, "the policy could not be read"))
            case ToolAsked(request_id=request_id, tool=tool) if tool in self.denied:
                self.send(self._conversation.deny(request_id, self.denied[tool]))
            case ToolAsked(request_id=request_id):
                self.send(self._conversation.allow(request_id))
            case McpAsked(request_id=request_id, message=message):
                self._answer_mcp(request_id, mcp.answer(message, [LOOKUP]))
            case _:
                pass

    def _answer_mcp(self, request_id: str, answer: dict[str, object] | mcp.Call) -> None:
        if isinstance(answer, mcp.Call):
            if self.holds_calls:
                return
            answer = _found(answer)
        self.send(self._conversation.mcp_answer(request_id, answer))


def _found(call: mcp.Call) -> dict[str, object]:
    return mcp.result(call.call_id, {"content": [{"type": "text", "text": "42"}]})


Start: TypeAlias = Callable[..., Coroutine[object, object, Talk]]
"""``await start(scenario, cwd=..., skip=..., **changes of the Session)``: a process that has not been spoken to."""
