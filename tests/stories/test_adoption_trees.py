"""Runs of Pitboss 0.9 with a lead that `pitboss resume` goes on with, as far as their files allow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.legacy import Json, a_record
from support.old_run import SESSION, Legacy, refused, resume
from support.parts import bash, call, say, spawn, spawn_sublead, wait, wait_sublead
from support.pit import Pit

pytestmark = pytest.mark.slow

QUICK, CUT, SUB = "worker-0197d000-0001", "worker-0197d000-0002", "sublead-0197d000-0003"
DONE = a_record(QUICK, parent_task_id="boss", cost_usd=0.5)


def cut_short(old: Legacy) -> tuple[Path, Path]:
    """A tree that was killed: a worker and a sub-lead had ended, a worker and the lead had not.

    Returns:
        The worktrees of the lead and of that worker.
    """
    place, workers = old.worktree("lead-boss"), old.worktree(f"worker-{CUT}")
    ended = a_record(SUB, parent_task_id="boss", claude_session_id=SESSION.format(3), cost_usd=1.0)
    below = a_record("worker-0197d000-0004", "Failed", parent_task_id=SUB, cost_usd=0.125)
    lead: Json = {"use_worktree": True}
    folder = old.led([DONE, below, ended], lead=lead, ended=False, begun=["boss", CUT], budget_usd=9.0, max_workers=3)
    old.heard("boss", old.transcript(1))
    old.heard(CUT, old.transcript(2))
    (folder / "tasks" / CUT / "worktree.path").write_text(str(workers))
    lines = [
        json.dumps({"sublead_id": SUB, "session_id": SESSION.format(9)}),
        "no json",
        json.dumps({"sublead_id": SUB, "session_id": old.transcript(3)}),
        json.dumps({"sublead_id": "sublead-x", "session_id": "--dangerous"}),
        json.dumps({"sublead_id": 7}),
        '{"sublead_id":',
    ]
    (folder / "subleads.jsonl").write_text("\n".join(lines))
    return place, workers


def test_a_lead_that_was_cut_off_goes_on_with_its_sub_leads_and_everyone_counts_once(pit: Pit, old: Legacy) -> None:
    place, workers = cut_short(old)
    commit = "cat draft && echo two >> draft && git add -A && $COMMIT two"
    old.play(
        [],
        boss=[
            *(bash(commit), call("kv_get", "subs", path="/resume/subleads")),
            *(say("/shared/subs", "{{subs.entry.text}}"), say("/shared/told", "{{heard}}")),
            call("wait_actor", "cut", actor_id=CUT, timeout_secs=60),
            *(say("/shared/cut", "{{cut.status}}"), spawn("again"), wait("again")),
            *(spawn_sublead("third", resume_session_id=SESSION.format(3)), wait_sublead("third")),
        ],
    )

    ended = resume(pit)

    run, state = pit.run, pit.run.state
    assert 1 == ended.code, "a worker had failed under 0.9"
    assert {"boss": "Success", QUICK: "Success", CUT: "Cancelled", SUB: "Success"}.items() <= run.statuses().items()
    assert f"4 of the lines in {run.path}/subleads.jsonl cannot be used and are left out" in ended.err
    assert f"{CUT} had no record and cannot go on" in ended.err
    # the lead, in its own place and session, knows what it can go on with
    assert [str(place)] == [fact["path"] for fact in run.told("WorktreeMade", "boss")]
    assert "one\ntwo" == pit.git("show", f"pitboss-lead-boss-{old.id}:draft")
    assert SESSION.format(1) == run.record("boss")["claude_session_id"]
    stored = run.stored("boss")
    assert {SUB: SESSION.format(3)} == json.loads(stored["/shared/subs"] or "")
    told = stored["/shared/told"] or ""
    assert told.startswith("You were cut off")
    assert f"Cut off for good, with nobody to go on with what they did: {CUT}." in told
    assert "kv_get /resume/subleads" in told
    assert told.endswith("do boss")
    assert "Cancelled" == stored["/shared/cut"]
    assert "pitboss" == state.store("boss").entries["/resume/subleads"].written_by
    third = run.actor("third")
    assert SESSION.format(3) == run.record(third)["claude_session_id"]
    # nobody else's place is touched, and all money is in one ledger
    assert not place.exists()
    assert "one\n" == (workers / "draft").read_text()
    costs = [float(str(run.record(name)["cost_usd"])) for name in run.statuses()]
    assert abs(state.spent_usd - sum(costs)) < 1e-9
    assert float(str(run.record(CUT)["cost_usd"])) > 0, "what it had used is counted by its log"
    usage = run.record(CUT)["token_usage"]
    assert isinstance(usage, dict)
    assert 120 == usage["input"] + usage["output"]
    assert ["boss", SUB] == [run.record(name)["parent_task_id"] for name in (SUB, "worker-0197d000-0004")]


def test_a_lead_that_failed_is_taken_up_and_what_is_recorded_stays(pit: Pit, old: Legacy) -> None:
    session = old.transcript(1)
    bad = a_record("worker-x", "TimedOut", exit_code=None, parent_task_id="boss", pause_count=1, reprompt_count=2)
    asked = {"approvals_requested": 3, "approvals_approved": 2, "approvals_rejected": 1}
    boss = a_record("boss", "Failed", claude_session_id=session) | asked
    old.led([DONE, bad, boss])

    ended = resume(pit)

    run = pit.run
    assert (1, ["boss"]) == (ended.code, [fact["actor"] for fact in run.told("ActorAdmitted")])
    for before in (DONE, bad):
        after = run.record(str(before["task_id"]))
        same = set(before) - {"log_path"}
        assert {key: before[key] for key in same} == {key: after[key] for key in same}
    after = run.record("boss")
    assert ("Success", session, asked) == (
        after["status"],
        after["claude_session_id"],
        {key: after[key] for key in asked},
    )
    assert float(str(after["cost_usd"])) > 0.25, "money of both attempts adds up"
    assert "/resume/subleads" not in run.stored("boss")
    assert "nothing to resume" in resume(pit).err
    assert 1 == resume(pit, "--all").code
    assert ["boss", "boss"] == [fact["actor"] for fact in run.told("ActorAdmitted")], "workers are the lead's affair"


def test_it_can_be_killed_resumed_told_and_compared(pit: Pit, old: Legacy) -> None:
    cut_short(old)
    old.play([], boss=[{"delay": 60}])
    before = pit.pitboss("status", old.id, "--json", "--run-dir", str(pit.runs)).out
    process = pit.start("resume", "--run-dir", str(pit.runs))
    pit.until(lambda run: run.told("SessionOpened", "boss"))
    process.kill()
    process.communicate()
    old.play([], boss=[say("/shared/told", "{{heard}}")])

    ended = resume(pit)

    assert (1, {QUICK, CUT, SUB, "worker-0197d000-0004", "boss"}) == (ended.code, set(pit.run.statuses()))
    assert "carry no mark" not in ended.err, "it is adopted once"
    assert "kv_get /resume/subleads" in (pit.run.stored("boss")["/shared/told"] or ""), "it is said again"
    words = ("--run-dir", str(pit.runs))
    story = pit.pitboss("why", old.id, CUT, *words).out
    assert "boss had spawned it; it was cut off under Pitboss 0.9, for good, having used" in story
    assert "by the record of Pitboss 0.9, it ended as Success" in pit.pitboss("why", old.id, QUICK, *words).out
    status = pit.pitboss("status", old.id, *words)
    assert (0, True) == (status.code, QUICK[:12] in status.out), status.out
    assert json.loads(before)
    compared = pit.pitboss("diff", old.id, old.id, *words)
    assert (0, True) == (compared.code, "A and B are the same run" in compared.out)


def test_a_lead_that_ended_well_has_nothing_to_resume(pit: Pit, old: Legacy) -> None:
    old.led([DONE, a_record("boss")])
    assert "nothing to resume" in refused(pit)


def test_what_a_lead_had_spawned_cannot_begin_again(pit: Pit, old: Legacy) -> None:
    old.led([DONE, a_record("boss", "Failed")])
    why = refused(pit, "--fresh", QUICK)
    assert f"{QUICK} in run {old.id} cannot begin again from the start" in why
    assert "or with which prompt" in why


def test_a_lead_whose_money_is_gone_is_refused_while_its_budget_can_be_changed(pit: Pit, old: Legacy) -> None:
    folder = old.led([DONE, a_record("boss", "Failed")], budget_usd=0.7)
    assert "it has spent $0.75 of its budget of $0.70" in refused(pit)
    resolved = folder / "resolved.json"
    resolved.write_text(json.dumps(json.loads(resolved.read_text()) | {"budget_usd": 5.0}))
    assert 0 == resume(pit).code


def test_a_lead_in_a_relative_directory_is_refused(pit: Pit, old: Legacy) -> None:
    old.led([], lead={"directory": "."}, ended=False)
    assert "the directory '.' of lead 'boss' is relative" in refused(pit)
