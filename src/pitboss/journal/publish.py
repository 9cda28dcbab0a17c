"""The hand that writes the public account of a run: ``summary.jsonl`` line by line, ``summary.json`` at the end.

Both are projections of the facts and never a second truth: asked again after a crash, they say the same once.
What a record says is decided before it comes here. Called by ``engine.perform``; given out by ``compose``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from pitboss.errors import WorldError
from pitboss.journal.appender import Appender
from pitboss.journal.disk import disk_errors
from pitboss.journal.rundir import RunDir
from pitboss.model.effects import (
    Emit,
    PublishRun,
    PublishStore,
    PublishSubleads,
    PublishTask,
    PublishTasks,
    PublishWorktree,
)
from pitboss.model.records import TaskRecord
from pitboss.model.signals import ArtifactFailed, ArtifactWritten
from pitboss.wire.artifacts import decode_tasks, encode_run, encode_task
from pitboss.wire.scalars import to_json, to_timestamp
from pitboss.wire.store_dump import encode_store

__all__ = ["ArtifactHand"]


class ArtifactHand:
    """Writes records; whatever the disk does comes home as a signal."""

    def __init__(self, run: RunDir, clock: Callable[[], float]) -> None:
        """Opens ``summary.jsonl`` and looks up what it holds already: nothing, unless the run is resumed.

        Raises:
            WorldError: If the file cannot be opened.
        """
        self._run = run
        self._clock = clock
        if not run.summary_lines.exists():  # the facts have all of it, so its loss is no reason to refuse a resume
            run.disk.write_atomic(run.summary_lines, b"")
        self._lines = Appender.open(run.summary_lines, disk=run.disk)
        self._settled = asyncio.Event()
        """Cleared while the file is being written anew."""
        self._settled.set()
        self._published = {_identity(record) for record in decode_tasks(run.summary_lines.read_bytes()).records}

    async def publish_worktree(self, effect: PublishWorktree, emit: Emit) -> None:
        """Writes ``worktree.path``: the path alone, without a newline."""
        target = self._run.task(effect.actor) / "worktree.path"
        try:
            await asyncio.to_thread(self._place, target, os.fsencode(effect.path))
        except WorldError as error:
            emit(self._failed(target, error))
        else:
            emit(ArtifactWritten(at=self._clock(), path=str(target)))

    def _place(self, target: Path, data: bytes) -> None:
        with disk_errors("create", target.parent):
            for folder in (target.parent.parent, target.parent):
                self._run.disk.make_directory(folder, may_exist=True)
        self._run.disk.write_atomic(target, data)

    async def publish_task(self, effect: PublishTask, emit: Emit) -> None:
        """Adds a record to ``summary.jsonl``, unless it is there; those who ask at the same time share one flush."""
        await self._settled.wait()
        identity = _identity(effect.record)
        if identity not in self._published:
            self._published.add(identity)
            self._lines.write(encode_task(effect.record) + b"\n")
        try:
            await self._lines.sync()
        except WorldError as error:
            emit(self._failed(self._run.summary_lines, error))
        else:
            emit(ArtifactWritten(at=self._clock(), path=str(self._run.summary_lines)))

    async def publish_tasks(self, effect: PublishTasks, emit: Emit) -> None:
        """Writes ``summary.jsonl`` anew; a record that is to be added meanwhile waits for it."""
        data = b"".join(encode_task(record) + b"\n" for record in effect.records)
        self._settled.clear()
        try:
            await asyncio.to_thread(self._run.disk.write_atomic, self._run.summary_lines, data)
            lines = Appender.open(self._run.summary_lines, disk=self._run.disk)
        except WorldError as error:
            emit(self._failed(self._run.summary_lines, error))  # the old file is still there, and goes on being written
        else:
            self._lines.close()
            self._lines = lines
            self._published = {_identity(record) for record in effect.records}
            emit(ArtifactWritten(at=self._clock(), path=str(self._run.summary_lines)))
        finally:
            self._settled.set()

    async def publish_run(self, effect: PublishRun, emit: Emit) -> None:
        """Puts ``summary.json`` in place, whole: after the lines, as it tells everyone that the account is complete."""
        await self._settled.wait()
        try:
            await self._lines.sync()
            await asyncio.to_thread(self._run.disk.write_atomic, self._run.summary, encode_run(effect.record))
        except WorldError as error:
            emit(self._failed(self._run.summary, error))
        else:
            emit(ArtifactWritten(at=self._clock(), path=str(self._run.summary)))

    async def publish_store(self, effect: PublishStore, emit: Emit) -> None:
        """Puts ``shared-store.json`` in place, whole."""
        await self._put(self._run.shared_store, encode_store(effect), emit)

    async def publish_subleads(self, effect: PublishSubleads, emit: Emit) -> None:
        """Writes ``subleads.jsonl`` anew: one line for each sub-lead."""
        pairs = effect.sessions.items()
        lines = [to_json({"session_id": session, "sublead_id": name}) + b"\n" for name, session in pairs]
        await self._put(self._run.subleads, b"".join(lines), emit)

    async def _put(self, path: Path, data: bytes, emit: Emit) -> None:
        try:
            await asyncio.to_thread(self._run.disk.write_atomic, path, data)
        except WorldError as error:
            emit(self._failed(path, error))
        else:
            emit(ArtifactWritten(at=self._clock(), path=str(path)))

    def close(self) -> None:
        """Closes ``summary.jsonl``."""
        self._lines.close()

    def _failed(self, path: Path, error: WorldError) -> ArtifactFailed:
        return ArtifactFailed(at=self._clock(), path=str(path), message=str(error))


def _identity(record: TaskRecord) -> tuple[str, str, str]:
    """Tells one end of an actor from another: the times as published, so that a record read back is the same one."""
    return record.task_id, to_timestamp(record.started_at), to_timestamp(record.ended_at)
