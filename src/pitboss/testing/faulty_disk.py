"""A disk that fills up, fails, takes only part of a write, is slow, dies with its process, or loses its power.

It stands under a real directory. What the system would keep over a power cut is known for every file that goes
through it: the content as of its last flush, under the names as of their directory's last sync. ``lose_power`` puts
the directory back to that, and to an arbitrary part of what was not synced, as a real disk may.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pitboss.journal.disk import Disk

__all__ = ["Call", "Dead", "FaultyDisk", "failing"]


class Call(NamedTuple):
    """Something that is asked of the disk."""

    number: int
    """From 1."""
    deed: str
    """``create``, ``write``, ``flush``, ``truncate``, ``replace``, ``mkdir`` or ``sync``."""
    path: Path


class Dead(OSError):
    """The process this disk belongs to is dead: nothing it asks for happens any more."""


Trouble = Callable[[Call], OSError | None]
"""Says what goes wrong with a call, if anything."""


def failing(code: int, *deeds: str, times: int = 1_000_000, after: int = 0) -> Trouble:
    """Every call of these kinds fails with ``code``: so many times, after so many calls."""
    left = [times]

    def trouble(call: Call) -> OSError | None:
        if call.number <= after or call.deed not in deeds or not left[0]:
            return None
        left[0] -= 1
        return OSError(code, os.strerror(code))

    return trouble


class _File:
    """One file, whatever it is called."""

    def __init__(self, content: bytes = b"") -> None:
        self.durable = content
        self.pending: list[tuple[int, bytes]] = []
        """What was written since the last flush; an offset without bytes is a truncation."""


class FaultyDisk(Disk):
    """A disk with a will of its own."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.trouble: Trouble = lambda _: None
        self.largest_write: int | None = None
        """A write takes at most so many bytes."""
        self.before_flush: Callable[[], None] = lambda: None
        """Called, in the thread that asks, before each flush: may wait."""
        self.strike: Callable[[Call, str], None] = lambda call, when: None
        """Called ``before`` and ``after`` each call: may kill the process, see ``die``."""
        self._lock = threading.RLock()
        self._dead = False
        self._open: dict[int, _File] = {}
        self._names: dict[Path, _File] = {}
        self._durable_names: dict[Path, _File] = {}

    def die(self) -> None:
        """From now on nothing happens: the process is dead, its threads only do not know it yet."""
        self._dead = True

    def revive(self) -> None:
        """Another process has this disk now; the files of the dead one are closed."""
        with self._lock:
            for descriptor in self._open:
                os.close(descriptor)
            self._open.clear()
            self._dead = False

    def lose_power(self, chance: random.Random | None = None) -> None:
        """Put every file back to what the disk had kept; with ``chance``, some of what was not synced is kept too."""
        with self._lock:
            names = dict(self._durable_names)
            for path in self._names.keys() | names.keys():
                if chance is not None and chance.random() < 0.5:  # a name may reach the disk without having been synced
                    names.pop(path, None)
                    if path in self._names:
                        names[path] = self._names[path]
            for path in self._names.keys() - names.keys():
                path.unlink(missing_ok=True)
            for path, file in names.items():
                file.durable = _survived(file, chance)
                file.pending.clear()
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.durable)
            self._names = dict(names)
            self._durable_names = dict(names)

    # what is asked of the system

    def create(self, path: Path) -> int:
        """See ``Disk``."""
        with self._call("create", path):
            descriptor = super().create(path)
            self._names[path] = self._open[descriptor] = _File()
            return descriptor

    def open(self, path: Path) -> int:
        """See ``Disk``."""
        with self._lock:
            if self._dead:
                raise Dead
            descriptor = super().open(path)
            if path not in self._names:  # it was there before us
                self._names[path] = self._durable_names[path] = _File(path.read_bytes())
            self._open[descriptor] = self._names[path]
            return descriptor

    def write(self, descriptor: int, data: memoryview, offset: int) -> int:
        """See ``Disk``."""
        with self._call("write", self._path_of(descriptor)):
            written = super().write(descriptor, data[: self.largest_write], offset)
            self._open[descriptor].pending.append((offset, bytes(data[:written])))
            return written

    def flush(self, descriptor: int) -> None:
        """See ``Disk``; a flush that fails keeps nothing, and the system takes what was written for clean."""
        self.before_flush()
        with self._call("flush", self._path_of(descriptor)):
            file = self._open[descriptor]
            file.durable = _applied(file.durable, file.pending)
            file.pending.clear()

    def truncate(self, descriptor: int, size: int) -> None:
        """See ``Disk``."""
        with self._call("truncate", self._path_of(descriptor)):
            super().truncate(descriptor, size)
            self._open[descriptor].pending.append((size, b""))

    def close(self, descriptor: int) -> None:
        """See ``Disk``."""
        with self._lock:
            if self._open.pop(descriptor, None) is not None:
                super().close(descriptor)

    def replace(self, old: Path, new: Path) -> None:
        """See ``Disk``."""
        with self._call("replace", new):
            super().replace(old, new)
            self._names[new] = self._names.pop(old)

    def make_directory(self, path: Path, *, may_exist: bool) -> None:
        """See ``Disk``; directories themselves outlive a power cut here."""
        with self._call("mkdir", path):
            super().make_directory(path, may_exist=may_exist)

    def sync_directory(self, path: Path) -> None:
        """See ``Disk``."""
        with self._call("sync", path):
            kept = {name: file for name, file in self._durable_names.items() if name.parent != path}
            self._durable_names = kept | {name: file for name, file in self._names.items() if name.parent == path}

    def _path_of(self, descriptor: int) -> Path:
        with self._lock:
            file = self._open.get(descriptor)
            return next((path for path, known in self._names.items() if known is file), Path("?"))

    @contextmanager
    def _call(self, deed: str, path: Path) -> Iterator[None]:
        """One call under way: counted, perhaps refused, perhaps the last."""
        with self._lock:
            self._require_life()
            call = Call(len(self.calls) + 1, deed, path)
            self.calls.append(call)
            self.strike(call, "before")
            self._require_life()
            self._refuse(call)
            yield
            self.strike(call, "after")
            self._require_life()

    def _require_life(self) -> None:
        if self._dead:
            raise Dead

    def _refuse(self, call: Call) -> None:
        problem = self.trouble(call)
        if problem is None:
            return
        if call.deed == "flush" and (file := self._names.get(call.path)) is not None:
            file.pending.clear()  # the system does not try those bytes again, and says so only once
        raise problem


def _applied(content: bytes, writes: list[tuple[int, bytes]]) -> bytes:
    for offset, data in writes:
        if not data:
            content = content[:offset]
            continue
        content = content.ljust(offset, b"\0")
        content = content[:offset] + data + content[offset + len(data) :]
    return content


def _survived(file: _File, chance: random.Random | None) -> bytes:
    """What was flushed, and perhaps a part of the rest: any writes of it, the last one perhaps torn."""
    if chance is None or not file.pending:
        return file.durable
    kept = [write for write in file.pending if chance.random() < 0.5]
    if kept and kept[-1][1]:
        offset, data = kept[-1]
        kept[-1] = (offset, data[: chance.randint(1, len(data))])
    return _applied(file.durable, kept)
