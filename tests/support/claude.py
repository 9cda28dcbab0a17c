"""Runs the real Claude Code CLI for one prompt, with a home of its own, against a scripted model."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

Line: TypeAlias = "dict[str, object]"


class Session(NamedTuple):
    """One process of the CLI, over."""

    exit_code: int
    lines: list[Line]
    """What it wrote, line by line."""
    stderr: str

    @property
    def result(self) -> Line:
        """Its last result line."""
        return [line for line in self.lines if line["type"] == "result"][-1]


def binary() -> str:
    """Path of the CLI that the SDK's wheel brings along."""
    found = importlib.util.find_spec("claude_agent_sdk")
    assert found is not None, "claude-agent-sdk, which brings the real CLI, is not installed"
    assert found.origin is not None, "claude-agent-sdk is not a regular package"
    return str(Path(found.origin).parent / "_bundled" / "claude")


def environment(home: Path, base_url: str) -> dict[str, str]:
    """Everything the CLI needs, and nothing of the machine's own configuration."""
    home.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "ANTHROPIC_BASE_URL": base_url,
        "ANTHROPIC_API_KEY": "dummy",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "ENABLE_TOOL_SEARCH": "false",
        "IS_SANDBOX": "1",
    }


class Claude(NamedTuple):
    """The CLI, with the home and the folder it works in."""

    home: Path
    cwd: Path

    def run(self, base_url: str, prompt: str, *options: str) -> Session:
        """One prompt, to its end."""
        argv = [binary(), "-p", prompt, "--output-format", "stream-json", "--verbose", "--model", "claude-haiku-4-5"]
        done = subprocess.run(
            [*argv, "--permission-mode", "bypassPermissions", "--strict-mcp-config", *options],
            env=environment(self.home, base_url),
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        lines = [cast("Line", json.loads(line)) for line in done.stdout.splitlines()]
        return Session(done.returncode, lines, done.stderr)
