"""A dispatch inside this process, with a watch on its loop: how long was it ever blocked?

Beside it a process whose loop has nothing to do is watched in the same way: what even that one waits is the machine's.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

from pitboss import compose
from pitboss.model.views import RunView

EVERY_SECS = 0.005


class LagWatch:
    """Wakes every few milliseconds and notes how late it was."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._due = 0.0

    def begin(self, _: RunView | None = None) -> None:
        self._due = time.monotonic() + EVERY_SECS
        asyncio.get_running_loop().call_later(EVERY_SECS, self._wake)

    def _wake(self) -> None:
        now = time.monotonic()
        self.worst = max(self.worst, now - self._due)
        self._due = now + EVERY_SECS
        asyncio.get_running_loop().call_later(EVERY_SECS, self._wake)


def main(manifest: str, runs: str, out: str) -> int:
    watch = LagWatch()
    loaded = compose.load(manifest)
    with subprocess.Popen([sys.executable, "-m", "bench.lag"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as idle:
        code = compose.run(
            loaded, runs_dir=runs, on_open=watch.begin, on_view=lambda _: None, on_warning=print, on_note=print
        )
        said, _ = idle.communicate()
    Path(out).write_text(json.dumps({"worst_secs": watch.worst, "idle_secs": float(said)}))
    return code


async def do_nothing() -> float:
    """Watch a loop that only waits for the end of stdin."""
    watch = LagWatch()
    watch.begin()
    await asyncio.to_thread(sys.stdin.read)
    return watch.worst


if __name__ == "__main__":
    if len(sys.argv) == 1:
        print(asyncio.run(do_nothing()))
    else:
        sys.exit(main(*sys.argv[1:]))
