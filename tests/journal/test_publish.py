"""The public account: each record once and whole, whatever happens at the same time or happened before."""

from __future__ import annotations

import asyncio
import base64
import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from pitboss.journal.publish import ArtifactHand
from pitboss.journal.rundir import RunDir
from pitboss.model.effects import PublishRun, PublishStore, PublishSubleads, PublishTask, PublishTasks
from pitboss.model.records import RunRecord, TaskRecord
from pitboss.model.run import ActorId, RunId, Status, Usage
from pitboss.model.signals import ArtifactFailed, ArtifactWritten, Signal
from pitboss.model.store import Entry, Lease, Value
from pitboss.testing.faulty_disk import FaultyDisk, failing
from pitboss.wire.artifacts import decode_run, decode_tasks

AT = 1767225600.0


def a_record(task_id: str, ended_at: float = AT + 10) -> TaskRecord:
    return TaskRecord(
        task_id=ActorId(task_id),
        status=Status.SUCCESS,
        exit_code=0,
        started_at=AT + 1 / 3,
        ended_at=ended_at,
        worktree_path=None,
        log_path="/x",
        usage=Usage(),
        session_id=None,
        final_message="Done.",
        model=None,
        failure=None,
        cost_usd=0.5,
    )


def a_run(*tasks: TaskRecord) -> RunRecord:
    return RunRecord(
        run_id=RunId("r"),
        manifest_path="fix.toml",
        manifest_name="fix",
        pitboss_version="0.10.0",
        claude_version=None,
        started_at=AT,
        ended_at=AT + 20,
        was_interrupted=False,
        tasks=tasks,
    )


class Desk:
    """A hand at work, and what it said."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.said: list[Signal] = []
        self.hand = ArtifactHand(run, clock=lambda: AT)

    async def publish(self, *records: TaskRecord) -> None:
        await asyncio.gather(*(self.hand.publish_task(PublishTask(record=one), self.said.append) for one in records))

    def task_ids(self) -> list[str]:
        records, damaged = decode_tasks(self.run.summary_lines.read_bytes())
        assert 0 == damaged
        return [record.task_id for record in records]


@pytest.fixture
def desk(run: RunDir) -> Iterator[Desk]:
    desk = Desk(run)
    yield desk
    desk.hand.close()


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """The disk is full at ``size`` bytes of a file: for this process, and without being root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_records_that_end_together_are_each_on_a_line_of_their_own(desk: Desk) -> None:
    await desk.publish(*(a_record(f"task-{n}") for n in range(40)))

    assert [f"task-{n}" for n in range(40)] == desk.task_ids()
    assert [ArtifactWritten(at=AT, path=str(desk.run.summary_lines))] * 40 == desk.said


async def test_asked_twice_a_record_is_written_once(desk: Desk) -> None:
    await desk.publish(a_record("a"), a_record("a"))
    await desk.publish(a_record("a"), a_record("a", ended_at=AT + 99))

    assert ["a", "a"] == desk.task_ids(), "a second end of the same actor is another record"
    assert 4 == len(desk.said)


async def test_after_a_restart_a_record_is_still_written_once(desk: Desk, run: RunDir) -> None:
    await desk.publish(a_record("a"))
    again = Desk(run)
    await again.publish(a_record("a"), a_record("b"))
    again.hand.close()

    assert ["a", "b"] == desk.task_ids()


async def test_a_torn_line_of_an_earlier_life_spoils_no_record(run: RunDir) -> None:
    run.summary_lines.write_bytes(b'{"task_id":"torn","sta')
    desk = Desk(run)
    await desk.publish(a_record("a"))
    desk.hand.close()

    records, damaged = decode_tasks(run.summary_lines.read_bytes())

    assert ([ActorId("a")], 1) == ([record.task_id for record in records], damaged)


async def test_a_full_disk_is_told_and_the_record_is_written_when_there_is_room_again(desk: Desk) -> None:
    with files_limited_to(700):
        await desk.publish(a_record("a"))
        await desk.publish(a_record("b"))

    assert [ArtifactWritten, ArtifactFailed] == [type(signal) for signal in desk.said]
    failed = desk.said[1]
    assert isinstance(failed, ArtifactFailed)
    assert str(desk.run.summary_lines) == failed.path
    assert "File too large" in failed.message

    await desk.publish(a_record("b"), a_record("c"))

    assert ["a", "b", "c"] == desk.task_ids()


async def test_lines_that_could_not_be_written_anew_are_still_added_to(run: RunDir) -> None:
    disk = FaultyDisk()
    desk = Desk(RunDir(run.path, disk))
    await desk.publish(a_record("a"))
    disk.trouble = failing(errno.ENOSPC, "create", times=1)
    await desk.hand.publish_tasks(PublishTasks(records=(a_record("a"), a_record("b"))), desk.said.append)

    async with asyncio.timeout(5):
        await desk.publish(a_record("c"))
    desk.hand.close()

    assert [ArtifactWritten, ArtifactFailed, ArtifactWritten] == [type(signal) for signal in desk.said]
    assert ["a", "c"] == desk.task_ids()


async def test_lines_that_are_written_anew_hold_each_record_once(desk: Desk) -> None:
    await desk.publish(a_record("a"))
    await desk.hand.publish_tasks(PublishTasks(records=(a_record("a"), a_record("b"))), desk.said.append)
    await desk.publish(a_record("b"), a_record("c"))

    assert ["a", "b", "c"] == desk.task_ids()


async def test_a_summary_is_put_in_place_whole_and_again_if_asked_again(desk: Desk) -> None:
    record = a_run(a_record("a", ended_at=AT + 11))
    exact = msgspec.structs.replace(record.tasks[0], started_at=AT + 0.333333)
    for _ in range(2):
        await desk.hand.publish_run(PublishRun(record=record), desk.said.append)

    assert msgspec.structs.replace(record, tasks=(exact,)) == decode_run(desk.run.summary.read_bytes())
    assert [ArtifactWritten(at=AT, path=str(desk.run.summary))] * 2 == desk.said


async def test_a_summary_that_does_not_fit_on_the_disk_leaves_none(desk: Desk) -> None:
    with files_limited_to(100):
        await desk.hand.publish_run(PublishRun(record=a_run()), desk.said.append)

    assert not desk.run.summary.exists()
    (failed,) = desk.said
    assert isinstance(failed, ArtifactFailed)
    assert failed.message.startswith(f"cannot write {desk.run.summary}: ")


async def test_the_stores_of_all_layers_are_one_picture(desk: Desk) -> None:
    def entry(path: str, value: Value) -> Entry:
        return Entry(path=path, value=value, version=1, written_by="boss", written_at=AT, size_bytes=value.size)

    picture = PublishStore(
        at=AT,
        root="boss",
        entries={
            "boss": (entry("/shared/b", Value(text="B")), entry("/shared/a", Value(data=b"\xff"))),
            "sublead-1": (entry("/shared/a", Value(text="other")),),
        },
        leases=(Lease(scope="", name="push", lease_id="l", holder="boss", acquired_at=AT, expires_at=AT + 9),),
    )
    await desk.hand.publish_store(picture, desk.said.append)

    told = msgspec.json.decode(desk.run.shared_store.read_bytes())
    assert [("/shared/a", "/w=="), ("/shared/b", "Qg==")] == [
        (one["path"], one["value_b64"]) for one in told["entries"]
    ]
    assert ["other"] == [base64.b64decode(one["value_b64"]).decode() for one in told["layers"]["sublead-1"]]
    assert ("push", "2026-01-01T00:00:09Z") == (told["leases"][0]["name"], told["leases"][0]["expires_at"])


async def test_the_sessions_of_sub_leads_are_written_anew_each_time(desk: Desk) -> None:
    for sessions in ({"sublead-1": "s1"}, {"sublead-1": "s1", "sublead-2": "s2"}):
        named = {ActorId(name): session for name, session in sessions.items()}
        await desk.hand.publish_subleads(PublishSubleads(sessions=named), desk.said.append)

    lines = desk.run.subleads.read_bytes().splitlines()
    assert {"session_id": "s2", "sublead_id": "sublead-2"} == msgspec.json.decode(lines[1])
    assert 2 == len(lines)
