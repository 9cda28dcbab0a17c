"""A fake session from its arguments to its exit code: which turn is next, and when it is over."""

from __future__ import annotations

import os
import signal

from pitboss.testing.fake_pipe import Pipe, part
from pitboss.testing.fake_script import BadScript, Script, part_in
from pitboss.testing.fake_session import VERSION, Session
from pitboss.testing.fake_turn import Turn

TYPE_CHECKING = False
if TYPE_CHECKING:  # the names are for annotations only, and their modules are dear
    from pitboss.testing.fake_pipe import Frame

__all__ = ["play"]

_VALUED = frozenset(("--session-id", "--resume", "--model", "--max-budget-usd", "--mcp-config", "--permission-mode"))
_SWITCHES = frozenset(("--include-partial-messages",))


def play(argv: list[str]) -> int:
    """Plays one session.

    Returns:
        1 if the last result was an error, 2 if the script cannot be played, else 0.
    """
    pipe, options = Pipe(), read_options(argv)
    try:
        session = Session(options, pipe)
        return _Play(session, Script.of_environment()).run(resumed="--resume" in options)
    except BadScript as error:
        pipe.complain(f"fake-claude: {error}\n")
        return 2
    except BrokenPipeError:
        return 1


def read_options(argv: list[str]) -> dict[str, str]:
    """The flags that mean something here; all others are ignored."""
    found: dict[str, str] = {}
    words = iter(argv)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in _VALUED:
            found[flag] = value if equals else next(words, "")
        elif flag in _SWITCHES:
            found[flag] = ""
    return found


class _Play:
    """The loop over the turns."""

    def __init__(self, session: Session, script: Script) -> None:
        self._session = session
        self._pipe = session.pipe
        self._script = script
        self._hello: str | None = None
        self._fine = True
        self._pipe.on_request = self._on_request
        signal.signal(signal.SIGTERM, lambda *_: session.shells.leave(128 + signal.SIGTERM))

    def run(self, *, resumed: bool) -> int:
        """Serves until stdin is closed and nothing is left to do."""
        known = self._session.ledger.load()
        if resumed and not known:
            return self._refuse_unknown()
        if known and not resumed:
            self._pipe.complain(f"Error: Session ID {self._session.id} is already in use.\n")
            return 1
        self._session.memory.load()
        while self._wait_for_work():
            self._work()
        return 0 if self._fine else 1

    def _wait_for_work(self) -> bool:
        """Waits for the next thing to do; False when there will be none."""
        self._pipe.wait(lambda: self._has_work() or self._is_over())
        return not self._is_over()

    def _has_work(self) -> bool:
        return bool(self._hello is not None or self._pipe.has_prompts or self._session.tasks.next_over())

    def _is_over(self) -> bool:
        return self._pipe.closed and not self._has_work() and not self._session.tasks.any()

    def _work(self) -> None:
        task = self._session.tasks.next_over()
        if self._hello is not None:
            self._greet(self._hello)
        elif task is not None:
            if task.shell is None:
                Turn(self._session, task.steps, subagent=task).play_subagent()
            self._session.tasks.conclude(task)
            self._take_turn()
        elif self._pipe.has_prompts:
            prompt = self._pipe.take_prompt()
            self._session.memory.hear(prompt)
            if part := part_in(prompt):
                self._session.memory.play(part)
            self._take_turn(prompt)

    def _take_turn(self, prompt: str = "") -> None:
        steps = self._script.next_turn(self._session.memory.part, prompt)
        self._fine = Turn(self._session, steps).run()

    def _on_request(self, request_id: str, request: Frame) -> None:
        session = self._session
        match request.get("subtype"):
            case "initialize":
                matchers = part(request, "hooks").get("PreToolUse")
                for matcher in matchers if isinstance(matchers, list) else []:
                    session.hooks.extend(matcher["hookCallbackIds"])
                self._hello = request_id
            case "set_model":
                session.model = str(request.get("model"))
                self._pipe.answer(request_id, {"model": session.model})
            case "set_permission_mode":
                session.permission_mode = str(request.get("mode"))
                self._pipe.answer(request_id, {"mode": session.permission_mode})
            case other:
                self._pipe.refuse(request_id, f"Unsupported control request subtype: {other}")

    def _greet(self, request_id: str) -> None:
        """Meets the servers behind the pipe, as the real one does around its answer to ``initialize``."""
        self._hello = None
        self._session.servers.initialize()
        welcome: Frame = {"commands": [], "pid": os.getpid(), "claude_code_version": VERSION, "hooks_applied": True}
        self._pipe.answer(request_id, welcome)
        self._session.servers.list_tools()

    def _refuse_unknown(self) -> int:
        error = f"No conversation found with session ID: {self._session.id}"
        about: Frame = {"subtype": "error_during_execution", "is_error": True, "num_turns": 0, "errors": [error]}
        self._session.say(type="result", **self._session.ledger.close_turn(), **about)
        self._pipe.complain(f"{error}\n")
        return 1
