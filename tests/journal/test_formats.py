"""Journals of every format that was ever written stay readable, and are gone on with in their own format."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from journal.golden import PLACE
from pitboss.core.state import rebuilt
from pitboss.journal.entries import FORMAT, LARGEST_BYTES
from pitboss.journal.log import Journal, replay
from pitboss.model.facts import StopOrdered
from pitboss.model.run import ActorId, Status

FORMATS = range(1, FORMAT + 1)


def golden(version: int) -> Path:
    return PLACE / f"format-{version}" / "journal.jsonl"


@pytest.mark.parametrize("version", FORMATS)
def test_a_journal_of_each_format_tells_the_same_story(version: int) -> None:
    past = replay(golden(version))
    state = rebuilt(entry.fact for entry in past)

    assert version == past.format_version
    assert past.torn is None
    told = {str(name): (actor.status, actor.attempt, actor.all_cost_usd) for name, actor in state.actors.items()}
    assert {
        "a": (Status.SUCCESS, 1, 0.5),
        "b": (Status.FAILED, 2, 0.500375),
        "c": (Status.CANCELLED, 2, 0.1),
        "d": (None, 0, None),
    } == told
    assert 130 == state.exit_code
    assert (version > 1) == (len(state.actors[ActorId("d")].spec.prompt) > LARGEST_BYTES)


@pytest.mark.parametrize("version", FORMATS)
async def test_a_journal_is_gone_on_with_in_its_own_format(tmp_path: Path, version: int) -> None:
    path = tmp_path / "journal.jsonl"
    shutil.copytree(golden(version).parent, tmp_path, dirs_exist_ok=True)
    past = replay(path)
    before = list(past)
    said = StopOrdered(at=1.0, by="x" * (LARGEST_BYTES + 1))

    journal = Journal.reopen(path, past)
    journal.append(said, cause=1, by="Test")
    await journal.sync()
    journal.close()

    assert (version > 1) == (tmp_path / "blobs").is_dir()
    assert [*(entry.fact for entry in before), said] == [entry.fact for entry in replay(path)]
