"""Small real processes for the tests of the drivers, with their output kept and a HOME of their own."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from pitboss.drivers.lookout import COOKIE
from pitboss.drivers.process import HAS_PIDFD, Child
from pitboss.drivers.sweep import stop_all

IMMORTAL = "import os, signal, time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\nsignal.alarm(60)\n"
"""Python that ignores all polite signals, and ends after a minute should a test forget it; append what it does."""

DAEMON = (
    "import os, signal, sys, time\n"
    "if os.fork(): os._exit(0)\n"
    "os.setsid()\n"
    "if os.fork(): os._exit(0)\n"
    "for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\n"
    "null = os.open(os.devnull, os.O_RDWR)\n"
    "for n in (0, 1, 2): os.dup2(null, n)\n"
    "signal.alarm(60)\n"
    "while True: time.sleep(60)\n"
)
"""Python that leaves its group and session, forks twice, lets go of its pipes and ignores all polite signals.

It too ends after a minute.
"""

HOP = """
import os, signal, time
for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)
beats = os.open({beats!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
null = os.open(os.devnull, os.O_RDWR)
for n in (0, 1, 2): os.dup2(null, n)
end = time.monotonic() + 20
while time.monotonic() < end:
    if os.fork(): os._exit(0)
    {leave}
    os.write(beats, b".")
    time.sleep({secs})
"""


class Started:
    """A child, its cookie, and what it has said so far."""

    def __init__(self, cookie: str) -> None:
        self.cookie = cookie
        self.out = bytearray()
        self.err = bytearray()
        self.child: Child

    async def said(self, text: str) -> None:
        """Wait until this is in its stdout."""
        await until(lambda: text.encode() in self.out)


def new_run() -> str:
    """A run id that no other test has."""
    return str(uuid.uuid4())


@asynccontextmanager
async def started(
    argv: list[str], home: Path, *, cookie: str | None = None, pidfd: bool = HAS_PIDFD
) -> AsyncIterator[Started]:
    """A running child; nothing of it is left after the block."""
    it = Started(cookie or f"{new_run()}/a/1")
    env = {"PATH": os.environ["PATH"], "HOME": str(home), COOKIE: it.cookie}
    it.child = await Child.start(argv, cwd=home, env=env, on_stdout=it.out.extend, on_stderr=it.err.extend, pidfd=pidfd)
    try:
        yield it
    finally:
        it.child.signal(9)
        stop_all(it.cookie, grace_secs=0)  # here and now, whoever may be cancelling us
        await it.child.wait()
        await it.child.drain(1.0)


def hopper(beats: Path, *, secs: float = 0.002, session: bool = True) -> str:
    """Python that is somebody else all the time: it forks, the parent ends, the child sleeps a moment and forks.

    It ignores all polite signals, and ends by itself after 20 seconds: one that is forgotten burns a core.

    Args:
        beats: A file that grows by one byte at each hop.
        secs: How long each one sleeps.
        session: Each opens a session of its own.
    """
    return HOP.format(beats=str(beats), secs=secs, leave="os.setsid()" if session else "")


def hops(beats: Path) -> int:
    """How often a hopper has hopped so far."""
    return beats.stat().st_size if beats.exists() else 0


async def assert_gone(cookie: str, beats: Path) -> None:
    """A hundred samples in half a second, by other means than the driver's: no holder, and not one hop."""
    before = hops(beats)
    for _ in range(100):
        holders = [process for process in psutil.process_iter() if _holds(process, cookie)]
        assert not holders, f"still there: {holders}"
        await asyncio.sleep(0.005)
    assert before == hops(beats)


def _holds(process: psutil.Process, cookie: str) -> bool:
    try:
        return bool(process.environ().get(COOKIE) == cookie)
    except psutil.Error:
        return False


def python(code: str) -> list[str]:
    """The command that runs a piece of Python."""
    return [sys.executable, "-I", "-S", "-c", code]


def sh(script: str) -> list[str]:
    """The command that runs a piece of shell."""
    return ["/bin/sh", "-c", script]


async def until(condition: Callable[[], bool], secs: float = 40.0) -> None:
    """Wait for a condition, but not for ever."""
    deadline = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.005)


def alive(pid: int) -> bool:
    """True if a process of this number exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def running(pid: int) -> bool:
    """True if a process of this number exists that is more than a zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
