"""How a Claude Code process is started: its arguments and its environment, from a `Session`.

Pure: nothing is read from the machine. The rule behind every choice is law 12: what an actor can reach goes through
the pipe, unless its ``tools`` name it. Called by the driver of a session, through `wire.claude`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from pitboss.model.run import Session
from pitboss.wire.mcp import SERVER_NAME, Tool

__all__ = ["SIDE_DOORS", "command", "environment", "servers"]

SIDE_DOORS: Final = (
    "ListAgents",
    "SendMessage",
    "CronCreate",
    "CronDelete",
    "CronList",
    "ScheduleWakeup",
    "EnterWorktree",
    "ExitWorktree",
)
"""Built-in tools that lead out of the pit: to other sessions on the machine, to a later time, to another worktree."""

_NESTED: Final = frozenset(
    {
        "AI_AGENT",
        "CLAUDECODE",
        "CLAUDE_AGENT_SDK_VERSION",
        "CLAUDE_CODE_CHILD_NOTES_DIR",
        "CLAUDE_CODE_CHILD_SESSION",
        "CLAUDE_CODE_ENTRYPOINT",
        "CLAUDE_CODE_EXECPATH",
        "CLAUDE_CODE_MESSAGING_SOCKET",
        "CLAUDE_CODE_MESSAGING_TOKEN",
        "CLAUDE_CODE_SESSION_ATTENDED",
        "CLAUDE_CODE_SESSION_ID",
        "CLAUDE_CODE_SSE_PORT",
        "CLAUDE_ENV_FILE",
        "CLAUDE_PID",
        "CLAUDE_PROJECT_DIR",
    }
)
"""What a Claude Code session tells its children about itself. A pit started inside one is not part of it."""

_LEAST_BUDGET_USD: Final = 0.000001
"""The CLI refuses a budget of 0 as bad usage; the least one stops after the first call and says why."""


def command(session: Session, *, tools: Sequence[Tool] = (), mcp_config: str | None = None) -> list[str]:
    """Return the arguments of a session's process, the binary first. The prompt is never among them.

    Values are bound to their flag by ``=``, so that one that begins with a dash cannot become a flag of its own.

    Args:
        session: What to start.
        tools: Our own tools it has; with none, our server is not announced.
        mcp_config: A file that holds `servers`; without one they stand in the arguments, where ``ps`` shows them.
    """
    continuation = "--resume" if session.resume else "--session-id"
    arguments = [
        session.binary,
        "--input-format=stream-json",
        "--output-format=stream-json",
        "--verbose",
        # The only source of true output tokens while a turn runs.
        "--include-partial-messages",
        f"--model={session.model}",
        f"--effort={session.effort}",
        f"{continuation}={session.session_id}",
        *_permission_mode(session),
        *_isolation(session),
        f"--tools={','.join(builtin := _builtin_tools(session))}",
    ]
    if closed := [door for door in SIDE_DOORS if door not in builtin]:
        arguments.append(f"--disallowedTools={','.join(closed)}")
    if announced := servers(session, tools):
        arguments.append(f"--mcp-config={mcp_config or announced}")
    if session.budget_usd is not None:
        arguments.append(f"--max-budget-usd={max(session.budget_usd, _LEAST_BUDGET_USD):.6f}")
    return arguments


def _permission_mode(session: Session) -> list[str]:
    """The hook in `Conversation.hello` is the policy; a question by the CLI itself would find nobody to answer.

    Unless the run wants the CLI's own questions (`permission_routing = "path_b"`): then they come over the pipe too.
    """
    if session.asks_permission:
        return ["--permission-mode=default", "--permission-prompt-tool=stdio"]
    return ["--permission-mode=bypassPermissions"]


def _isolation(session: Session) -> list[str]:
    """Return the flags that keep settings of the repository and hooks of anybody out of the session.

    The user's own settings stay, without their hooks: some people log in through them (``apiKeyHelper``, ``env``).
    Leaving out the project's would silence its CLAUDE.md too; naming the directory brings that back, and with
    it no setting and no hook (tried; see also `environment`).
    """
    return [
        "--strict-mcp-config",
        "--disable-slash-commands",
        "--setting-sources=user",
        '--settings={"disableAllHooks":true}',
        f"--add-dir={session.cwd}",
    ]


def _builtin_tools(session: Session) -> list[str]:
    """Return the names for ``--tools``: one with a pattern, as in ``Bash(git:*)``, would close the whole tool."""
    names = dict.fromkeys(tool.partition("(")[0] for tool in session.tools)
    return [name for name in names if not name.startswith("mcp__")]


def servers(session: Session, tools: Sequence[Tool] = ()) -> str:
    """Return the MCP servers of a session as the CLI wants them; empty if it has none. It may hold secrets."""
    announced: dict[str, object] = {
        server.id: {"type": "stdio", "command": server.command, "args": server.args, "env": server.env}
        for server in session.mcp_servers
    }
    if tools:
        announced[SERVER_NAME] = {"type": "sdk", "name": SERVER_NAME}
    return msgspec.json.encode({"mcpServers": announced}).decode() if announced else ""


def environment(session: Session, inherited: Mapping[str, str], *, is_root: bool = False) -> dict[str, str]:
    """Return the whole environment of a session's process.

    Later ones win: what we inherited, our defaults, the manifest's ``env``, and at last the marks by which the
    process and its descendants are found again - no manifest may hide an actor from its guardian.

    Args:
        session: What to start.
        inherited: Our own environment.
        is_root: We run as root, where the CLI bypasses permissions only if told that it is contained.
    """
    defaults = {
        # Otherwise our tools and the manifest's are hidden behind a search tool.
        "ENABLE_TOOL_SEARCH": "false",
        "CLAUDE_CODE_ENTRYPOINT": "sdk-ts",
        # Only its word that it is idle tells the last result from one before a turn of its own.
        "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",
        # Lets --add-dir bring the project's CLAUDE.md, which --setting-sources left out.
        "CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD": "1",
    }
    if is_root:
        defaults["IS_SANDBOX"] = "1"
    marks = {"PITBOSS_COOKIE": session.cookie, "PITBOSS_RUN_ID": session.cookie.partition("/")[0]}
    secrets = "PITBOSS_NOTIFY_"  # what messages are sent and signed with is not for agents
    kept = {name: value for name, value in inherited.items() if name not in _NESTED and not name.startswith(secrets)}
    return kept | defaults | session.env | marks
