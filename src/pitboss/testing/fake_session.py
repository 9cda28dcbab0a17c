# ruff: noqa: PTH109
"""What everybody in a fake session needs: its names and numbers, its parts, and who is asked before a tool runs.

The loop over the turns is ``fake_play``; the turns themselves are ``fake_turn``.
"""

from __future__ import annotations

import os

from pitboss.testing.fake_ledger import DEFAULT_USAGE, Ledger
from pitboss.testing.fake_memory import Memory
from pitboss.testing.fake_pipe import new_uuid, part
from pitboss.testing.fake_servers import Servers
from pitboss.testing.fake_tasks import Tasks
from pitboss.testing.fake_tools import Shells

TYPE_CHECKING = False
if TYPE_CHECKING:  # the names are for annotations only, and their modules are dear
    from pitboss.testing.fake_pipe import Frame, Pipe
    from pitboss.testing.fake_tasks import Task

__all__ = ["VERSION", "Session"]

VERSION = "0.0.0"
_REFUSED = "The user doesn't want to take this action right now."


class Session:
    """One session, as its turns see it."""

    def __init__(self, options: dict[str, str], pipe: Pipe) -> None:
        self.pipe = pipe
        self.id = options.get("--resume") or options.get("--session-id") or new_uuid()
        self.model = options.get("--model", "claude-sonnet-4-6")
        self.permission_mode = options.get("--permission-mode", "default")
        self.partial = "--include-partial-messages" in options
        self.budget_usd = float(options["--max-budget-usd"]) if "--max-budget-usd" in options else None
        self.usage = DEFAULT_USAGE
        """Tokens of every call from now on."""
        self.hooks: list[str] = []
        """Callback ids of the PreToolUse hooks; their matchers are not looked at."""
        self.ledger = Ledger(self.id)
        self.memory = Memory(self.id)
        self.servers = Servers(pipe, options.get("--mcp-config", "{}"))
        self.shells = Shells(pipe)
        self.tasks = Tasks(self.say, self.shells)

    def say(self, **fields: object) -> None:
        """Writes one line of the session."""
        self.pipe.say({**fields, "session_id": self.id, "uuid": new_uuid()})

    def say_init(self) -> None:
        """The line that begins every turn."""
        self.say(
            type="system",
            subtype="init",
            cwd=os.getcwd(),
            tools=["Task", "Bash", "Read", "Write", *self.servers.tools],
            mcp_servers=[{"name": name, "status": "connected", "source": "sdk"} for name in self.servers.names],
            model=self.model,
            permissionMode=self.permission_mode,
            claude_code_version=VERSION,
        )

    def ask_hooks(self, tool: str, arguments: Frame, tool_use_id: str, subagent: Task | None) -> str | None:
        """Asks the hooks, if there are any; returns why the call may not run."""
        asked: Frame = {
            "session_id": self.id,
            "cwd": os.getcwd(),
            "permission_mode": self.permission_mode,
            "hook_event_name": "PreToolUse",
            "tool_name": tool,
            "tool_input": arguments,
            "tool_use_id": tool_use_id,
        }
        if subagent is not None:
            asked |= {"agent_id": subagent.id, "agent_type": "general-purpose"}
        for hook in self.hooks:
            request: Frame = {"callback_id": hook, "input": asked, "tool_use_id": tool_use_id}
            answer = self.pipe.ask({"subtype": "hook_callback", **request})
            if answer is None:
                return _REFUSED
            verdict = part(answer, "hookSpecificOutput")
            if verdict.get("permissionDecision") == "deny":
                return f"PreToolUse:{tool} hook error: {verdict.get('permissionDecisionReason')}"
        return None
