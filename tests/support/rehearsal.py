"""Starts the scripted model for a test, as its own process, the way the surfaces do.

    with start_model(tmp_path, SCRIPT) as model:
        env["ANTHROPIC_BASE_URL"] = model.actor("fix-parser")

The process ends with the block, and when this test process dies: its standard input is a pipe from us.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast


class Model(NamedTuple):
    """A running scripted model."""

    url: str
    log: Path
    """One JSON object a line for each request: see ``pitboss.rehearsal.server``."""

    def actor(self, actor_id: str) -> str:
        """What ``ANTHROPIC_BASE_URL`` is for this actor."""
        return f"{self.url}/actor/{actor_id}"

    def requests(self) -> list[dict[str, object]]:
        """Every request so far, oldest first."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [cast("dict[str, object]", json.loads(line)) for line in lines]

    def wait_for(self, count: int, timeout: float = 60.0) -> list[dict[str, object]]:
        """The requests, once there are ``count`` of them; each is logged as it arrives, before any scripted delay."""
        deadline = time.monotonic() + timeout
        while len(requests := self.requests()) < count:
            assert time.monotonic() < deadline, f"{len(requests)} of {count} requests came in {timeout} s"
            time.sleep(0.01)
        return requests


@contextmanager
def start_model(folder: Path, script: str = "") -> Iterator[Model]:
    """Run the model with ``script`` (TOML text) until the block ends; its files go to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    path, log = folder / "rehearsal.toml", folder / "requests.jsonl"
    path.write_text(script)
    argv = [sys.executable, "-m", "pitboss.rehearsal", "--script", str(path), "--log", str(log)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline() or "{}")
            assert "url" in ready, f"the scripted model did not start: {ready}"
            yield Model(ready["url"], log)
        finally:
            process.communicate(timeout=10)
