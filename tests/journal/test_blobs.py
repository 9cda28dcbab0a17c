"""Large values: files beside the journal, on disk before the line that refers to them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pitboss.errors import WorldError
from pitboss.journal.blobs import Blobs
from pitboss.journal.entries import LARGEST_BYTES
from pitboss.journal.log import Journal, replay
from pitboss.model.facts import RunOpened, TurnFinished
from pitboss.model.run import ActorId, Usage
from pitboss.testing.doubles import a_result, a_run, a_task

LONG = "ö" * LARGEST_BYTES


def ended(text: str, at: float = 1.0) -> TurnFinished:
    return TurnFinished(
        at=at,
        actor=ActorId("a"),
        attempt=1,
        result=a_result(),
        usage=Usage(),
        cost_usd=None,
        final_message=text,
    )


def write(path: Path, *facts: TurnFinished | RunOpened) -> None:
    journal = Journal.create(path, {})
    for fact in facts:
        journal.append(fact, cause=0, by="Test")
    asyncio.run(journal.sync())
    journal.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_a_long_text_is_a_file_of_its_own_and_comes_back_in_its_place(path: Path) -> None:
    write(path, ended(LONG))

    line = json.loads(path.read_bytes().splitlines()[1])

    assert {"blob", "bytes"} == set(line["final_message"])
    assert LONG.encode() == (path.with_name("blobs") / line["final_message"]["blob"]).read_bytes()
    assert [ended(LONG)] == [entry.fact for entry in replay(path)]


def test_what_a_line_can_hold_stays_on_it(path: Path) -> None:
    write(path, ended("x" * LARGEST_BYTES))

    assert not path.with_name("blobs").exists()


def test_the_same_value_is_kept_once(path: Path) -> None:
    write(path, ended(LONG), ended(LONG, at=2.0))

    assert 1 == len(list(path.with_name("blobs").iterdir()))


def test_a_long_prompt_inside_a_task_comes_back_too(path: Path) -> None:
    opened = RunOpened(at=1.0, run=a_run(a_task("a", prompt=LONG)), pid=1, pitboss_version="test")
    write(path, opened)

    assert len(path.read_bytes()) < LARGEST_BYTES
    assert [opened] == [entry.fact for entry in replay(path)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1), times=st.integers(1, 6000))
def test_any_text_comes_back_as_it_was(tmp_path: Path, text: str, times: int) -> None:
    blobs = Blobs(tmp_path / "blobs")
    data = (text * times).encode()
    name = blobs.put(data)
    blobs.flush()

    assert data == blobs.get(name)


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_lost_value_is_told_with_the_line_that_needs_it(path: Path, damage: str) -> None:
    write(path, ended("short"), ended(LONG))
    (blob,) = path.with_name("blobs").iterdir()
    if damage == "missing":
        blob.unlink()
    else:
        blob.write_bytes(b"other")

    with pytest.raises(WorldError, match=r"journal\.jsonl:3: .*; the journal is sound up to fact 1") as caught:
        list(replay(path))

    assert blob.name in str(caught.value)
    assert "truncate -s" in caught.value.hint
