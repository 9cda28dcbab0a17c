"""The journal: what is appended is on disk after a sync, once, in order, and readable by any tool."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from pitboss.errors import WorldError
from pitboss.journal.entries import FORMAT, Entry
from pitboss.journal.log import Journal, replay, write_whole
from pitboss.model.facts import AnyFact, GuardianLost, GuardianStarted, SessionOpened, StopOrdered
from pitboss.model.notices import Notice, Settled, Sink
from pitboss.model.run import ActorId, Frozen
from pitboss.model.store import Value

KINDS: tuple[type[AnyFact], ...] = get_args(AnyFact)


def any_of(kind: type[Struct]) -> st.SearchStrategy[Struct]:
    """A struct with every field filled in at random."""
    fields = {field.name: st.from_type(field.type) for field in msgspec.structs.fields(kind)}
    return st.fixed_dictionaries(fields).map(lambda values: kind(**values))


# JSON has no infinity, and no two readers agree on integers beyond 53 bits: facts have neither.
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(int, st.integers(-(2**53), 2**53))
st.register_type_strategy(Value, st.text(max_size=8).map(lambda text: Value(text=text)) | st.binary().map(Value.of))
STRUCTS: list[type[Struct]] = [Sink, Notice, Settled, *Frozen.__subclasses__()]
for struct in STRUCTS:
    if struct.__module__.startswith("pitboss.model") and struct is not Value:
        st.register_type_strategy(struct, any_of(struct))


def opened(at: float = 1.0) -> SessionOpened:
    return SessionOpened(at=at, actor=ActorId("fix"), attempt=1)


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """The disk is full at ``size`` bytes of a file: for this process, and without being root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_what_was_synced_is_read_back_in_order(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "journal.jsonl", {"run_id": "r"})

    numbers = [
        journal.append(GuardianStarted(at=1.0, pid=7), cause=0, by="GuardianUp"),
        journal.append(opened(2.5), cause=1, by="SessionReady"),
    ]
    await journal.sync()
    journal.close()

    assert [1, 2] == numbers
    assert [
        Entry(1, 0, "GuardianUp", GuardianStarted(at=1.0, pid=7)),
        Entry(2, 1, "SessionReady", opened(2.5)),
    ] == list(replay(tmp_path / "journal.jsonl"))


async def test_a_line_can_be_read_by_any_json_tool_and_its_checksum_recomputed(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal.create(path, {"run_id": "r", "epoch": 1})
    journal.append(StopOrdered(at=3.0, by="SIGTERM"), cause=0, by="Stop")
    await journal.sync()
    journal.close()

    header, line = path.read_bytes().splitlines()

    assert {"pitboss": "journal", "format": FORMAT, "run_id": "r", "epoch": 1} == {
        key: value for key, value in json.loads(header).items() if key != "sum"
    }
    text = b'{"seq":1,"cause":0,"via":"Stop","fact":"StopOrdered","at":3.0,"by":"SIGTERM"'
    assert text + b',"sum":"%08x"}' % zlib.crc32(text) == line


def test_no_fact_has_a_field_that_the_envelope_needs() -> None:
    fields = {name for kind in KINDS for name in kind.__struct_fields__}

    assert not fields & {"seq", "cause", "via", "sum"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(facts=st.lists(st.sampled_from(KINDS).flatmap(any_of), max_size=8), by=st.text(max_size=8))
def test_every_fact_comes_back_as_it_was(tmp_path: Path, facts: list[AnyFact], by: str) -> None:
    path = tmp_path / f"{os.urandom(8).hex()}.jsonl"
    journal = Journal.create(path, {})
    for fact in facts:
        journal.append(fact, cause=0, by=by)
    asyncio.run(journal.sync())
    journal.close()

    assert [Entry(n, 0, by, fact) for n, fact in enumerate(facts, 1)] == list(replay(path))


async def test_a_name_that_is_not_utf8_is_written_down_with_marks_in_place(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "journal.jsonl", {})
    journal.append(GuardianLost(at=1.0, message=os.fsdecode(b"caf\xe9")), cause=0, by="GuardianDown")
    await journal.sync()
    journal.close()

    (entry,) = replay(tmp_path / "journal.jsonl")

    assert GuardianLost(at=1.0, message="caf�") == entry.fact


async def test_nothing_is_on_disk_before_the_sync(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal.create(path, {})
    journal.append(opened(), cause=0, by="SessionReady")

    assert [] == list(replay(path))

    await journal.sync()

    assert 1 == len(list(replay(path)))
    journal.close()


async def test_what_was_never_synced_is_not_written_at_close(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal.create(path, {})
    journal.append(opened(), cause=0, by="SessionReady")
    journal.close()

    assert [] == list(replay(path))


async def test_many_who_sync_at_once_share_commits_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal.create(path, {})

    async def write(number: int) -> bool:
        seq = journal.append(opened(number), cause=0, by="SessionReady")
        await journal.sync()
        return any(entry.seq == seq for entry in replay(path))

    assert all(await asyncio.gather(*(write(number) for number in range(50))))
    assert list(range(1, 51)) == [entry.seq for entry in replay(path)]
    journal.close()


async def test_a_cancelled_sync_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal.create(path, {})
    for _ in range(20):
        journal.append(opened(), cause=0, by="SessionReady")
        impatient = asyncio.create_task(journal.sync())
        await asyncio.sleep(0)
        impatient.cancel()
        journal.append(opened(), cause=0, by="SessionReady")
    await journal.sync()
    journal.close()

    assert 40 == len(list(replay(path)))


async def test_a_full_disk_is_told_and_the_facts_are_kept_for_the_next_try(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal.create(path, {})
    journal.append(opened(), cause=0, by="SessionReady")
    await journal.sync()
    for number in range(50):
        journal.append(opened(number), cause=1, by="SessionReady")

    with files_limited_to(1000), pytest.raises(WorldError, match=r"cannot write .*journal\.jsonl: File too large; "):
        await journal.sync()
    journal.append(opened(99.0), cause=1, by="SessionReady")
    await journal.sync()
    journal.close()

    again = replay(path)
    assert list(range(1, 53)) == [entry.seq for entry in again]
    assert again.torn is None


async def test_what_a_full_disk_left_half_written_is_a_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal.create(path, {})
    for number in range(50):
        journal.append(opened(number), cause=0, by="SessionReady")
    with files_limited_to(1000), pytest.raises(WorldError):
        await journal.sync()
    journal.close()

    story = replay(path)

    assert 0 < len(list(story)) < 50
    assert story.torn is not None


def test_a_journal_is_private_whatever_the_umask_and_never_begun_twice(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    before = os.umask(0)
    try:
        Journal.create(path, {}).close()
    finally:
        os.umask(before)

    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    with pytest.raises(WorldError, match=r"cannot create .*: File exists"):
        Journal.create(path, {})


async def test_a_journal_that_is_written_whole_is_gone_on_with_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    first = [opened(1), StopOrdered(at=2.0, by="x" * 5000), opened(3)]

    write_whole(path, {"run_id": "r"}, first, by="Adoption")

    past = replay(path)
    assert [(1, 0, first[0]), (2, 1, first[1]), (3, 1, first[2])] == [(e.seq, e.cause, e.fact) for e in past]
    assert past.header is not None
    assert "r" == past.header["run_id"]
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    journal = Journal.reopen(path, past)
    assert 4 == journal.append(opened(4), cause=0, by="SessionReady")
    await journal.sync()
    journal.close()
    assert 4 == len(list(replay(path)))


def test_a_journal_that_cannot_be_written_whole_is_not_there_at_all(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with files_limited_to(1000), pytest.raises(WorldError):
        write_whole(path, {}, [opened(number) for number in range(50)], by="Adoption")
    assert [] == list(tmp_path.iterdir())
