"""The scripted model as a child process, and the Claude binary that will talk to it.

A rehearsal spends nothing: the real CLI runs, a loopback server answers. That server belongs to this command - it
ends with it, however it ends - and is not imported, so that what surfaces may know stays small. Called by ``commands``
for ``rehearse`` and ``demo``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from pitboss.errors import OperatorError, WorldError

__all__ = ["Claude", "find_claude", "scripted_model"]

LEAVE_SECS = 5.0
"""How long the server may take to end after its standard input has been closed."""


@contextmanager
def scripted_model(script: Path | None) -> Iterator[str]:
    """A scripted model for as long as the block runs; gives its URL.

    Args:
        script: What it says (TOML); without one every actor gets a short default turn.

    Raises:
        OperatorError: The script has problems; all of them are in the message.
        WorldError: The server could not be started.
    """
    # ``-P``: a file of the operator's working directory must not be taken for a module of ours.
    argv = [sys.executable, "-P", "-m", "pitboss.rehearsal"]
    if script is not None:
        argv += ["--script", str(script)]
    with tempfile.TemporaryFile() as complaints:
        # A session of its own: Ctrl-C is for the run, which drains first and needs its model until the end.
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, start_new_session=True
        )
        try:
            yield _ready(process, script, complaints)
        finally:
            _dismiss(process)


def _ready(process: subprocess.Popen[bytes], script: Path | None, complaints: IO[bytes]) -> str:
    assert process.stdout is not None  # noqa: S101 - it was asked for above
    line = process.stdout.readline()
    try:
        said = json.loads(line)
        if "url" in said:
            return str(said["url"])
        error = str(said["error"])
    except (ValueError, KeyError, TypeError):
        complaints.seek(0)
        why = complaints.read().decode("utf-8", "replace").strip().rpartition("\n")[2] or "it said nothing"
        raise WorldError(f"the scripted model could not be started: {why}") from None
    raise OperatorError(f"the script {script} cannot be played:\n{error}")


def _dismiss(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    try:
        process.wait(LEAVE_SECS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Claude(NamedTuple):
    """A Claude Code binary, and where it was found."""

    path: str
    source: str


def find_claude(asked: str | None = None) -> Claude:
    """The binary for a run that asks no real model.

    In this order: ``asked``, ``PITBOSS_CLAUDE_BINARY``, ``claude`` on the path, the one inside the agent SDK.

    Raises:
        OperatorError: There is none.
    """
    wanted = [(asked, "--claude"), (os.environ.get("PITBOSS_CLAUDE_BINARY"), "PITBOSS_CLAUDE_BINARY")]
    for name, source in wanted:
        if name:
            if (found := shutil.which(name)) is None:
                raise OperatorError(f"{source} names {name!r}, which was not found or cannot be executed")
            return Claude(str(Path(found).absolute()), source)
    if (found := shutil.which("claude")) is not None:
        return Claude(found, "found on PATH")
    if (bundled := _bundled()) is not None:
        return Claude(str(bundled), "the one bundled with claude-agent-sdk")
    raise OperatorError(
        "no Claude Code binary was found",
        hint="install Claude Code, name its binary in PITBOSS_CLAUDE_BINARY, or: pip install 'pitboss[demo]'",
    )


def _bundled() -> Path | None:
    """The binary inside the SDK's package; looked for without importing that package, which takes a second."""
    spec = importlib.util.find_spec("claude_agent_sdk")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "_bundled" / "claude"
    return binary if os.access(binary, os.X_OK) else None
