"""Where a scene plays: one process of the real CLI, the scripted model behind it, and what was said.

Everything is blocking and in one thread, so that a recording has one order. Used by the scenes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from pitboss.model.run import ActorId, Session
from pitboss.wire import mcp
from pitboss.wire.claude import (
    Conversation,
    Event,
    McpAsked,
    PermissionAsked,
    Ready,
    ToolAsked,
    command,
    environment,
)

MODEL = "claude-haiku-4-5"
PATIENCE_SECS = 60.0

TOOLS = (
    mcp.Tool(
        name="spawn_worker",
        description="Start a worker.",
        input_schema={"type": "object", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]},
        roles=("lead",),
    ),
    mcp.Tool(
        name="worker_status",
        description="Say how a worker is.",
        input_schema={"type": "object", "properties": {"task_id": {"type": "string"}}, "required": ["task_id"]},
        read_only=True,
        roles=("lead",),
    ),
)
ANSWER = '{"task_id":"worker-1","worktree_path":null}'

E = TypeVar("E", bound=msgspec.Struct)


def claude_binary() -> Path:
    """Where the CLI is that the development dependencies bring."""
    found = importlib.util.find_spec("claude_agent_sdk")
    if found is None or found.origin is None:
        raise SystemExit("record: claude-agent-sdk is not installed, which brings the CLI; run `make setup`.")
    return Path(found.origin).parent / "_bundled" / "claude"


class Stage:
    """One process of the CLI, and what was said to and by it."""

    def __init__(self, session: Session, env: dict[str, str], tools: tuple[mcp.Tool, ...], flags: list[str]) -> None:
        argv = command(session, tools=tools)
        argv = [argument for argument in argv if not any(argument.startswith(flag.split("=")[0]) for flag in flags)]
        self.argv = [*argv, *flags]
        self.talk = Conversation(session)
        self.lines: list[tuple[float, str, object]] = []
        self.held: list[McpAsked] = []
        self.holds_calls = False
        self._tools = tools
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            self.argv, cwd=session.cwd, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._guard = threading.Timer(PATIENCE_SECS, self._process.kill)
        self._guard.start()
        self._waiting: list[Event] = []
        self._note("session", msgspec.to_builtins(session))
        self._note("argv", self.argv[1:])

    def open(self) -> None:
        """Shake hands."""
        self.write(self.talk.hello())
        self.until(Ready)

    def prompt(self, text: str) -> None:
        """Say something to the model."""
        self.write(self.talk.prompt(text))

    def write(self, line: bytes) -> None:
        """Write one line."""
        self._note(">", json.loads(line))
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def close(self) -> None:
        """Close the process's input."""
        self._note("close", None)
        assert self._process.stdin is not None
        self._process.stdin.close()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._note("signal", number.name)
        self._process.send_signal(number)

    def until(self, kind: type[E], fits: Callable[[E], bool] = lambda _: True) -> E:
        """Listen until an event of this kind comes; what asks on the way there is answered."""
        while True:
            while self._waiting:
                event = self._waiting.pop(0)
                if isinstance(event, kind) and fits(event):
                    return event
                self.answer(event)
            if not self._listen():
                raise SystemExit(f"record: the session ended before any {kind.__name__}: {self.lines[-3:]}")

    def until_line(self, words: str) -> None:
        """Listen until a line holds these words."""
        while self._listen():
            if words in json.dumps(self.lines[-1][2]):
                return

    def answer(self, event: Event) -> None:
        """Say yes to everything; calls of our tools are held back if the scene wants it."""
        match event:
            case ToolAsked():
                self.write(self.talk.allow(event.request_id))
            case PermissionAsked():
                self.write(self.talk.permit(event.request_id, event.input))
            case McpAsked() if self.holds_calls and event.message.get("method") == "tools/call":
                self.held.append(event)
            case McpAsked():
                self.serve(event)
            case _:
                pass

    def serve(self, event: McpAsked) -> None:
        """Answer a message for our server."""
        reply = mcp.answer(event.message, self._tools)
        if isinstance(reply, mcp.Call):
            reply = mcp.result(reply.call_id, mcp.tool_text(ANSWER))
        self.write(self.talk.mcp_answer(event.request_id, reply))

    def finish(self, *, closed: bool = False) -> None:
        """Close its input, hear it out and collect it."""
        if not closed:
            self.close()
        while self._waiting or self._listen():
            for event in self._waiting:
                if not isinstance(event, McpAsked | ToolAsked) or not closed:
                    self.answer(event)
            self._waiting.clear()
        assert self._process.stderr is not None
        errors = self._process.stderr.read().decode()
        self._note("exit", {"code": self._process.wait(), "stderr": errors})

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        self._guard.cancel()
        self._process.kill()
        with self._process:
            pass

    def _listen(self) -> bool:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            return False
        self._note("<", json.loads(line))
        self._waiting += self.talk.feed(line)
        return True

    def _note(self, direction: str, message: object) -> None:
        self.lines.append((time.monotonic() - self._began, direction, message))


class Theatre:
    """Where a scene plays: folders, the scripted model, and its processes, of which the last is recorded."""

    def __init__(self, name: str, folder: Path, base_url: str) -> None:
        self.name = name
        self.folder = folder
        self.stages: list[Stage] = []
        self._base_url = base_url

    @contextmanager
    def stage(
        self,
        *,
        resume: bool = False,
        session_id: str = "00000000-0000-4000-8000-000000000001",
        where: str = "repo",
        tools: tuple[mcp.Tool, ...] = (),
        built_in: tuple[str, ...] = ("Bash", "Read", "Write", "Agent"),
        budget_usd: float | None = None,
        flags: tuple[str, ...] = (),
    ) -> Iterator[Stage]:
        """Start a process; open its session unless it is not expected to open."""
        home, cwd = self.folder / "home", self.folder / where
        home.mkdir(exist_ok=True)
        cwd.mkdir(exist_ok=True)
        session = Session(
            actor=ActorId(self.name),
            attempt=2 if resume else 1,
            cookie=f"run/{self.name}/{2 if resume else 1}",
            binary=str(claude_binary()),
            cwd=str(cwd),
            prompt="",
            session_id=session_id,
            resume=resume,
            model=MODEL,
            tools=built_in,
            budget_usd=budget_usd,
            log_dir="/log",
        )
        stage = Stage(session, self._environment(session, home), tools, list(flags))
        self.stages.append(stage)
        try:
            yield stage
        finally:
            stage.end()

    def _environment(self, session: Session, home: Path) -> dict[str, str]:
        run = self.folder / "run"
        run.mkdir(exist_ok=True)
        ours = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(run),
            "CLAUDE_CODE_TMPDIR": str(run),
            "ANTHROPIC_BASE_URL": self._base_url,
            "ANTHROPIC_API_KEY": "dummy",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_TELEMETRY": "1",
            "CLAUDE_CODE_MAX_RETRIES": "1",
        }
        return environment(session, ours, is_root=os.geteuid() == 0)
