"""The lock: one dispatcher at a time, and the kernel, not a file, says who lives."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from pitboss.errors import RunBusy, WorldError
from pitboss.journal.lock import RunLock, is_held

HOLD = """
import sys
from pathlib import Path
from pitboss.errors import RunBusy
from pitboss.journal.lock import RunLock
sys.stdin.readline()
try:
    lock = RunLock.acquire(Path(sys.argv[1]))
except RunBusy:
    print("busy", flush=True)
else:
    print("mine", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dispatcher.lock"


@contextmanager
def contender(path: Path, *, go: bool = True) -> Iterator[subprocess.Popen[str]]:
    """Another process that takes the lock as soon as it is told to, and says how that went."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOME": str(path.parent)},
    ) as process:
        try:
            if go:
                start(process)
            yield process
        finally:
            process.kill()


def start(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def verdict(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_the_second_dispatcher_is_told_who_is_at_work(path: Path) -> None:
    with RunLock.acquire(path), pytest.raises(RunBusy, match=rf"process {os.getpid()} on .*; wait for it to end"):
        RunLock.acquire(path)


def test_a_released_lock_can_be_taken_again_and_counts_epochs(path: Path) -> None:
    first = RunLock.acquire(path)
    first.release()
    first.release()

    with RunLock.acquire(path) as second:
        assert (1, 2) == (first.epoch, second.epoch)


def test_readers_see_the_holder_as_long_as_it_holds(path: Path) -> None:
    assert is_held(path) is None
    with RunLock.acquire(path):
        assert os.getpid() == is_held(path)

    assert is_held(path) is None


def test_a_lock_file_without_a_name_in_it_is_only_a_file(path: Path) -> None:
    path.write_text("not JSON")

    assert is_held(path) is None
    with RunLock.acquire(path) as lock:
        assert 1 == lock.epoch


def test_the_lock_is_private_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        RunLock.acquire(path).release()
    finally:
        os.umask(before)

    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_a_lock_in_no_directory_is_the_worlds_fault(path: Path) -> None:
    with pytest.raises(WorldError, match=r"cannot lock .*No such file"):
        RunLock.acquire(path / "nowhere")


def test_of_two_processes_that_race_one_wins(path: Path) -> None:
    with contender(path, go=False) as one, contender(path, go=False) as two:
        start(one)
        start(two)

        assert ["busy", "mine"] == sorted([verdict(one), verdict(two)])


def test_a_killed_dispatcher_leaves_the_lock_free_though_its_name_stays(path: Path) -> None:
    with contender(path) as holder:
        assert "mine" == verdict(holder)
        assert holder.pid == is_held(path)

        holder.send_signal(signal.SIGKILL)
        holder.wait()

    assert str(holder.pid) in path.read_text()
    assert is_held(path) is None
    with RunLock.acquire(path) as lock:
        assert 2 == lock.epoch


def test_a_child_of_the_dispatcher_does_not_keep_the_lock(path: Path) -> None:
    lock = RunLock.acquire(path)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as child:
        lock.release()

        assert is_held(path) is None
        child.kill()


def test_readers_who_ask_all_the_time_never_make_a_free_run_busy(path: Path) -> None:
    RunLock.acquire(path).release()
    enough = Event()

    def ask() -> None:
        while not enough.is_set():
            is_held(path)

    readers = [Thread(target=ask) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(100):
            RunLock.acquire(path).release()
    finally:
        enough.set()
        for reader in readers:
            reader.join()
