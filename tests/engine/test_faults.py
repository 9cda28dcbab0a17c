"""Whatever the disk does - full, failing, taking half of a write, slow - nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from engine.mortal import End, Machine
from pitboss.journal.log import Journal, replay
from pitboss.model.facts import GuardianStarted
from pitboss.testing.faulty_disk import FaultyDisk, failing

pytestmark = pytest.mark.slow

TROUBLES: dict[str, Callable[[FaultyDisk, int], None]] = {
    "full from then on": lambda disk, n: setattr(disk, "trouble", failing(errno.ENOSPC, "create", "write", after=n)),
    "full for a moment": lambda disk, n: setattr(
        disk, "trouble", failing(errno.ENOSPC, "create", "write", after=n, times=1)
    ),
    "failing from then on": lambda disk, n: setattr(disk, "trouble", failing(errno.EIO, "write", "flush", after=n)),
    "failing for a moment": lambda disk, n: setattr(
        disk, "trouble", failing(errno.EIO, "flush", "sync", "replace", after=n, times=1)
    ),
}


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> End:
    machine = Machine(tmp_path_factory.mktemp("calm"))
    assert machine.dispatch()
    return machine.end()


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_from_any_call_on_costs_a_resume_and_nothing_else(tmp_path: Path, calm: End, trouble: str) -> None:
    for number in count(1):
        machine = Machine(tmp_path / str(number))
        begun = len(machine.disk.calls)
        TROUBLES[trouble](machine.disk, begun + number)
        finished = machine.dispatch()
        calls = len(machine.disk.calls)
        machine.disk.trouble = lambda _: None
        assert machine.resume(), number
        assert calm == machine.end(), f"call {number}: {machine.disk.calls[begun + number - 1 : begun + number + 1]}"
        if finished and begun + number > calls:
            break
    print(f"{number - 1} calls, each followed by a disk that is {trouble}")
    assert number > 30


def test_a_disk_that_takes_seven_bytes_at_a_time_gets_them_all(tmp_path: Path, calm: End) -> None:
    machine = Machine(tmp_path)
    machine.disk.largest_write = 7

    assert machine.dispatch()
    assert calm == machine.end()
    assert replay(machine.rundir.journal).torn is None


def test_nothing_is_acknowledged_while_a_slow_disk_still_writes(tmp_path: Path) -> None:
    disk, gate, reached = FaultyDisk(), threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        assert gate.wait(30)

    async def write() -> list[bool]:
        journal = Journal.create(tmp_path / "journal.jsonl", {}, disk=disk)
        disk.before_flush = wait
        journal.append(GuardianStarted(at=1.0, pid=7), cause=0, by="GuardianUp")
        sync = asyncio.create_task(journal.sync())
        await asyncio.to_thread(reached.wait, 30)
        seen = [sync.done()]
        gate.set()
        await sync
        journal.close()
        return [*seen, sync.done()]

    assert [False, True] == asyncio.run(write())
