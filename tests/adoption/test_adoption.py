"""A run of Pitboss 0.9 becomes ours whole or not at all, wherever the power is cut."""

from __future__ import annotations

import random
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pitboss import adoption
from pitboss.core.state import RunState, evolve
from pitboss.engine.ids import mint_run_id
from pitboss.errors import WorldError
from pitboss.journal.entries import LARGEST_BYTES
from pitboss.journal.legacy import is_legacy
from pitboss.journal.reader import replay
from pitboss.journal.rundir import RunDir
from pitboss.model import facts as f
from pitboss.model.run import ActorId, Phase, Status
from pitboss.testing.faulty_disk import Call, Dead, FaultyDisk
from support.legacy import a_record, a_resolved_task, write_legacy


def of_old(base: Path, disk: FaultyDisk) -> RunDir:
    """Two tasks, one with a record; a prompt that is too long for a line of the journal."""
    tasks = [a_resolved_task("a", prompt="x" * (LARGEST_BYTES + 1)), a_resolved_task("b")]
    path = write_legacy(base, tasks, [a_record("a", "Failed")], run_id=mint_run_id(), ended=False)
    return RunDir(path, disk)


def told(run: RunDir) -> RunState:
    state = RunState()
    for entry in replay(run.journal):
        state = evolve(state, entry.fact)
    return state


@pytest.mark.parametrize("seed", range(3))
def test_wherever_the_power_is_cut_it_is_as_0_9_left_it_or_whole_as_one_of_ours(tmp_path: Path, seed: int) -> None:
    outcomes = set()
    for number in count(1):
        disk = FaultyDisk()
        run = of_old(tmp_path / str(number), disk)
        found = adoption.survey(run, "/bin/claude")

        def strike(call: Call, when: str, *, disk: FaultyDisk = disk, number: int = number) -> None:
            if call.number == number and when == "after":
                disk.die()

        disk.strike = strike
        with suppress(Dead, WorldError):
            adoption.write(run, found)
        if len(disk.calls) < number:
            break
        disk.lose_power(random.Random(seed))
        disk.revive()

        outcomes.add(is_legacy(run))
        if is_legacy(run):
            assert not run.journal.exists()
            again = RunDir(run.path)
            adoption.write(again, adoption.survey(again, "/bin/claude"))
        assert set(found.state.actors) == set(told(run).actors)
        assert [Phase.SETTLED, Phase.QUEUED] == [actor.phase for actor in told(run).actors.values()]
        assert LARGEST_BYTES < len(told(run).spec.tasks[0].prompt)
    assert {True, False} == outcomes


def test_what_a_run_was_asked_for_is_taken_over_with_its_names(tmp_path: Path) -> None:
    server = {"id": "db", "command": "db-mcp", "args": [], "env": {"K": "V"}}
    more: dict[str, Any] = {
        "effort": "max",
        "tools": ["Read"],
        "timeout_secs": 9,
        "env": {"A": "b"},
        "branch": "team/fix",
    }
    tasks = [a_resolved_task("a", **more), a_resolved_task("b", resume_session_id="from-before")]
    keys: dict[str, Any] = {"mcp_servers": [server], "worktree_cleanup": "never", "halt_on_failure": True}
    path = write_legacy(tmp_path, tasks, [], run_id=mint_run_id(), manifest="/m/fix.toml", name=" nightly ", **keys)

    spec = adoption.survey(RunDir(path), "/bin/claude").state.spec

    a, b = spec.tasks
    assert ("max", ("Read",), 9, {"A": "b"}, "team/fix") == (a.effort, a.tools, a.timeout_secs, a.env, a.branch)
    assert ("nightly", "/m/fix.toml", 2, "never", True) == (
        spec.name,
        spec.manifest_path,
        spec.max_parallel,
        spec.worktree_cleanup,
        spec.halt_on_failure,
    )
    assert (path.name, str(path), "/bin/claude") == (spec.run_id, spec.run_dir, spec.claude_binary)
    assert ["db"] == [one.id for one in spec.mcp_servers]
    assert b.resume_session_id is None, "a session that it was to continue is told of by a fact"
    assert a.session_id != b.session_id


def test_a_session_that_0_9_itself_was_to_continue_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    (tmp_path / "claude" / "projects" / "p").mkdir(parents=True)
    (tmp_path / "claude" / "projects" / "p" / "from-before.jsonl").touch()
    tasks = [a_resolved_task("a", resume_session_id="from-before")]
    path = write_legacy(tmp_path / "runs", tasks, [], run_id=mint_run_id(), ended=False)

    found = adoption.survey(RunDir(path), "/bin/claude")

    (adopted,) = [fact for fact in found.facts if isinstance(fact, f.ActorAdopted)]
    assert ("from-before", True, 0) == (adopted.session_id, adopted.resume, adopted.attempt)
    assert Phase.QUEUED is found.state.actors[ActorId("a")].phase


def test_of_several_records_the_last_counts_and_a_stranger_is_left_out(tmp_path: Path) -> None:
    records = [a_record("a", "Cancelled"), a_record("zzz"), a_record("a")]
    path = write_legacy(tmp_path, [a_resolved_task("a")], records, run_id=mint_run_id())

    found = adoption.survey(RunDir(path), "/bin/claude")

    assert [Status.SUCCESS] == [actor.status for actor in found.state.actors.values()]
    assert any("the record of 'zzz' is of no task" in warning for warning in found.warnings)
