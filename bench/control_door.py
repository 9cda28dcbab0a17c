"""The operators' door in a process of its own, for ``bench.control``: 1,000 states a second, and clients that read.

The clients are another process, so that only the door's side is on the bill. Prints what was used, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.control import EVENTS_PER_SEC, HELLO, SHOWN_SECS, SUBSCRIBE
from pitboss.core.state import RunState
from pitboss.drivers.claude import Minted
from pitboss.journal.rundir import RunDir
from pitboss.model import signals as s
from pitboss.model.run import ActorId
from pitboss.services.control import Control
from pitboss.services.mcp import Seats
from pitboss.testing.doubles import RUN, Story, a_run

ACTORS, BATCH = 50, 10


def _states() -> list[RunState]:
    """A run of 50 at work, one tool call after another."""
    story = Story(a_run(*(f"t{n}" for n in range(ACTORS)), max_parallel=ACTORS, max_starts=ACTORS))
    story.working(*(f"t{n}" for n in range(ACTORS)))
    states = []
    for number in range(EVENTS_PER_SEC * SHOWN_SECS):
        who = ActorId(f"t{number % ACTORS}")
        called = s.ToolCalled(at=story.clock.turn(0.001), actor=who, attempt=1, tool="Bash", summary=f"make {number}")
        states.append(story.when(called).state)
    return states


async def _serve(count: int) -> dict[str, float]:
    states = _states()
    with tempfile.TemporaryDirectory(prefix="pb-", dir="/tmp") as folder:
        rundir = RunDir.create(Path(folder, "runs"), RUN, snapshot=b"", resolved=b"{}", meta=b"{}")
        spec, shown = states[0].spec, [0]
        seats = Seats(rundir, spec, time.time, lambda: Minted("id", "session"))
        control = Control(rundir, spec, time.time, print, seats, cursor=lambda: shown[0])
        async with control.serving(lambda signal: None):
            control.see(states[0])
            path = rundir.control_path.read_text().strip()
            readers = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bench.control_door", "read", path, str(count), stdout=subprocess.PIPE
            )
            while sum(client.subscribed for client in control._clients) < count:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
            began, cpu = time.monotonic(), time.process_time()
            for number in range(0, len(states), BATCH):  # a busy loop decides several together
                shown[0] = number + BATCH
                control.see(states[number + BATCH - 1])
                await asyncio.sleep(max(0.0, began + number / EVENTS_PER_SEC - time.monotonic()))
            used = {"cpu_secs": time.process_time() - cpu, "wall_secs": time.monotonic() - began}
        out, _ = await readers.communicate()
    return used | {"lines": int(out)}


def _read(path: str, count: int) -> int:
    """Be so many clients, one after another in one thread; how many lines of news there were."""
    doors = []
    for _ in range(count):
        door = socket.socket(socket.AF_UNIX)
        door.connect(path)
        door.sendall(HELLO + SUBSCRIBE)
        doors.append(door.makefile("rb"))
    lines, left = 0, list(doors)
    while left:
        for one in list(left):
            line = one.readline()
            lines += b'"delta"' in line[:40]
            if not line:
                left.remove(one)
    return lines


if __name__ == "__main__":
    if sys.argv[1] == "read":
        print(_read(sys.argv[2], int(sys.argv[3])))
    else:
        print(json.dumps(asyncio.run(_serve(int(sys.argv[1])))))
