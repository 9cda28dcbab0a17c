"""A run of Pitboss 0.9 becomes ours whole or not at all, wherever the power is cut."""

from __future__ import annotations

import random
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pitboss import adoption
from pitboss.core.state import RunState, rebuilt
from pitboss.engine.ids import mint_run_id
from pitboss.errors import WorldError
from pitboss.journal.entries import LARGEST_BYTES
from pitboss.journal.legacy import is_legacy
from pitboss.journal.reader import replay
from pitboss.journal.rundir import RunDir
from pitboss.model import facts as f
from pitboss.model.run import ActorId, Phase, Policy, Rule, Status, SubleadDefaults, TreeSpec
from pitboss.testing.doubles import a_task
from pitboss.testing.faulty_disk import Call, Dead, FaultyDisk
from pitboss.testing.laws import check_laws
from support.legacy import a_record, a_resolved_task, write_legacy


def of_old(base: Path, disk: FaultyDisk) -> RunDir:
    """Two tasks, one with a record; a prompt that is too long for a line of the journal."""
    tasks = [a_resolved_task("a", prompt="x" * (LARGEST_BYTES + 1)), a_resolved_task("b")]
    path = write_legacy(base, tasks, [a_record("a", "Failed")], run_id=mint_run_id(), ended=False)
    return RunDir(path, disk)


def told(run: RunDir) -> RunState:
    return rebuilt(entry.fact for entry in replay(run.journal))


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


# --- trees ------------------------------------------------------------------------------------------------------------


def of_a_tree(base: Path, *records: dict[str, Any] | str, **more: Any) -> RunDir:
    lead = a_resolved_task("boss", use_worktree=False) | more.pop("lead", {})
    return RunDir(write_legacy(base, [], list(records), run_id=mint_run_id(), lead=lead, **more))


def test_the_caps_and_the_policy_of_a_tree_are_taken_over(tmp_path: Path) -> None:
    lead: dict[str, Any] = {
        "permission_routing": "path_b",
        "allow_subleads": True,
        "max_subleads": 2,
        "max_sublead_budget_usd": 1.5,
        "max_workers_across_tree": 7,
        "sublead_defaults": {"budget_usd": 1.0, "max_workers": 2, "lead_timeout_secs": None, "read_down": True},
    }
    match: dict[str, Any] = {"actor": "root", "category": "cost", "tool_name": None, "cost_over": 2.0}
    run = of_a_tree(
        tmp_path,
        lead=lead,
        max_workers=5,
        budget_usd=9.0,
        lead_timeout_secs=60,
        approval_policy="auto_reject",
        require_plan_approval=True,
        dump_shared_store=True,
        approval_rules=[{"match": match, "action": "block"}, {"match": {}, "action": "auto_approve"}],
    )

    spec = adoption.survey(run, "/bin/claude").state.spec

    assert (
        TreeSpec(
            lead=spec.tree.lead if spec.tree else a_task(),
            max_workers=5,
            budget_usd=9.0,
            lead_timeout_secs=60,
            permission_routing="path_b",
            allow_subleads=True,
            max_subleads=2,
            max_sublead_budget_usd=1.5,
            max_total_workers=7,
            sublead_defaults=SubleadDefaults(budget_usd=1.0, max_workers=2, read_down=True),
            require_plan_approval=True,
        )
        == spec.tree
    )
    rules = (Rule(action="block", actor="root", category="cost", cost_over=2.0), Rule(action="auto_approve"))
    assert (Policy(rules=rules, default_action="auto_reject"), None, True) == (
        spec.policy,
        spec.budget_usd,
        spec.dump_shared_store,
    )


def test_each_record_of_a_worker_that_was_sent_on_counts_and_one_written_twice_does_not(tmp_path: Path) -> None:
    first = a_record("worker-a", "Cancelled", parent_task_id="boss", worktree_path="/gone", cost_usd=0.5)
    later = {"started_at": "2025-11-24T16:02:00Z", "ended_at": "2025-11-24T16:03:00Z"}
    second = a_record("worker-a", parent_task_id="boss", cost_usd=0.25) | later
    run = of_a_tree(tmp_path, first, second, second, a_record("boss", cost_usd=1.0))

    state = adoption.survey(run, "/bin/claude").state

    worker = state.actors[ActorId("worker-a")]
    assert (Status.SUCCESS, 0.75, 200) == (worker.status, worker.all_cost_usd, worker.all_usage.input)
    assert worker.worktree is not None, "where it was sent on, its record names none"
    assert 1.75 == state.spent_usd
    assert 0 == state.exit_code


def test_who_is_whose_is_told_by_the_records_as_far_as_it_can_be(tmp_path: Path) -> None:
    run = of_a_tree(
        tmp_path,
        a_record("worker-a", parent_task_id="sublead-s"),
        a_record("worker-b", parent_task_id="sublead-unknown"),
        a_record("worker-c", parent_task_id="worker-c"),
        a_record("sublead-s", parent_task_id="sublead-s"),
        a_record("worker-d", parent_task_id="sublead-cut-off"),
        a_record("."),
        "garbage",
        begun=["sublead-cut-off"],
        ended=False,
    )
    (run.tasks / "stray").touch()

    found = adoption.survey(run, "/bin/claude")

    actors = found.state.actors
    assert {
        "boss": ("lead", None),
        "worker-a": ("worker", "sublead-s"),
        "worker-b": ("worker", "boss"),
        "worker-c": ("worker", "boss"),
        "worker-d": ("worker", "sublead-cut-off"),
        "sublead-s": ("sublead", "boss"),
        "sublead-cut-off": ("sublead", "boss"),
    } == {str(name): (actor.role, actor.parent) for name, actor in actors.items()}
    assert Phase.QUEUED is actors[ActorId("boss")].phase
    check_laws(found.state)
    told = "\n".join(found.warnings)
    assert "the record of '.' is of nobody that can be; it is left out" in told
    assert "those actors count as cut off" in told
    assert "sublead-cut-off had no record and cannot go on" in told
