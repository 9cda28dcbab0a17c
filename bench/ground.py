"""What every row stands on: a temporary place, fakes that cost next to nothing, and a dispatcher as a process."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

NOISE_LINES = 1000
NOISE_BYTES = 300

MODEL_ENV = {
    "ANTHROPIC_API_KEY": "bench",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_TELEMETRY": "1",
    "IS_SANDBOX": "1",
    "ENABLE_TOOL_SEARCH": "false",
}


class Row(NamedTuple):
    """One line of the table."""

    what: str
    goal: str
    measured: str
    reached: bool
    detail: str = ""


class Timed(NamedTuple):
    """A finished command."""

    wall_secs: float
    cpu_secs: float
    """User and system time of it and everything it waited for."""


def real_claude() -> Path:
    """The CLI inside the agent SDK's wheel."""
    spec = importlib.util.find_spec("claude_agent_sdk")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "_bundled" / "claude"


def environment(home: Path, **more: str) -> dict[str, str]:
    """An environment of our own: nothing of the user's."""
    home.mkdir(parents=True, exist_ok=True)
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8", **more}


def timed(argv: list[str], env: Mapping[str, str], *, stdin: bytes = b"", cwd: Path | None = None) -> Timed:
    """Run a command to its end; it must succeed."""
    before = os.times()
    began = time.monotonic()
    done = subprocess.run(argv, env=env, input=stdin, cwd=cwd, capture_output=True, check=False)
    wall = time.monotonic() - began
    after = os.times()
    if done.returncode:
        raise SystemExit(
            f"{argv}: exit {done.returncode}\n{done.stdout.decode()[-2000:]}{done.stderr.decode()[-2000:]}"
        )
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return Timed(wall, cpu)


def pitboss(*words: str) -> list[str]:
    """A command line of this project."""
    return [sys.executable, "-m", "pitboss", *words]


def manifest(place: Path, count: int, *, cap: int, worktree: str | None = None, **run: str | float) -> Path:
    """A flat manifest of ``count`` equal tasks."""
    lines = ["[run]", f"max_parallel_tasks = {cap}", *(f"{key} = {json.dumps(value)}" for key, value in run.items())]
    lines += ["[defaults]", 'model = "claude-haiku-4-5"']
    for n in range(count):
        directory = worktree or str(place)
        lines += ["[[task]]", f'id = "t{n}"', f"directory = {json.dumps(directory)}", 'prompt = "go"']
        lines += [f"use_worktree = {json.dumps(worktree is not None)}"]
    path = place / "bench.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


_INIT = (
    '{"type":"control_response","response":{"subtype":"success","request_id":"%s",'
    '"response":{"claude_code_version":"0.0.0","hooks_applied":true}}}'
)
_RESULT = (
    '{"type":"result","subtype":"success","is_error":false,"result":"done","num_turns":1,"session_id":"x",'
    '"total_cost_usd":0.001,"usage":{"input_tokens":1,"output_tokens":1},"modelUsage":{}}'
)


def shell_fake(place: Path, *, noise: bool = False, hang: bool = False) -> Path:
    """A do-nothing agent that costs one ``sh``: it answers ``initialize``, takes its prompt, says its result."""
    noise_file = place / "noise.jsonl"
    if noise:
        text = "x" * (NOISE_BYTES - 75)
        line = f'{{"type":"assistant","message":{{"content":[{{"type":"text","text":"{text}"}}]}}}}'
        noise_file.write_text((line + "\n") * NOISE_LINES)
    script = [
        "#!/bin/sh",
        'if [ "$1" = --version ]; then echo 0.0.0; exit 0; fi',
        "read -r hello",
        "id=${hello##*'\"request_id\":\"'}; id=${id%%'\"'*}",
        f"printf '{_INIT}\\n' \"$id\"",
        "read -r prompt",
        f"cat {noise_file}" if noise else "",
        "read -r never" if hang else f"echo '{_RESULT}'",
        "read -r more",
        "exit 0",
    ]
    path = place / "fake"
    path.write_text("\n".join(line for line in script if line) + "\n")
    path.chmod(0o755)
    return path


@contextmanager
def scripted_model(script: Path | None = None, log: Path | None = None) -> Iterator[str]:
    """The scripted model as a process of its own; yields its address."""
    argv = [sys.executable, "-m", "pitboss.rehearsal"]
    argv += [] if script is None else ["--script", str(script)]
    argv += [] if log is None else ["--log", str(log)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield json.loads(process.stdout.readline())["url"]
        process.stdin.close()


def git(*words: str, cwd: Path) -> None:
    """A git command with an identity of its own."""
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    subprocess.run(
        ["git", *identity, *words], cwd=cwd, check=True, capture_output=True, env=environment(cwd.parent / "h")
    )


def facts(base: Path) -> list[dict[str, object]]:
    """The journal of the newest run below ``base``, decoded."""
    newest = max(base.iterdir(), key=lambda path: path.name)
    return [json.loads(line) for line in (newest / "journal.jsonl").read_text().splitlines()]
