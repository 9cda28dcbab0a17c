"""Runs of Pitboss 0.9 that `pitboss resume` goes on with, in their own folder and under their own id."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from support.legacy import a_record, a_resolved_task
from support.old_run import CONTINUED, SESSION, Legacy, refused, resume
from support.pit import Pit
from support.rehearsal import start_model

pytestmark = pytest.mark.slow


def test_what_failed_goes_on_in_its_own_worktree_branch_and_session(pit: Pit, old: Legacy) -> None:
    tree, session = old.worktree("a"), old.transcript(1)
    failed = a_record("a", "Failed", claude_session_id=session, worktree_path=str(tree), cost_usd=0.5)
    old.write([old.task("a"), old.task("b")], [a_record("b"), failed])

    ended = resume(pit)

    run = pit.run
    assert (0, {"a": "Success", "b": "Success"}) == (ended.code, run.statuses()), ended.err
    assert [old.id] == [path.name for path in pit.runs.iterdir()]
    assert "was begun by Pitboss 0.9.2, whose processes carry no mark" in ended.err
    (admitted,) = run.told("ActorAdmitted")
    assert ("a", 2, session) == (admitted["actor"], admitted["attempt"], admitted["session_id"])
    (made,) = run.told("WorktreeMade")
    assert (str(tree), f"pitboss-a-{old.id}", False) == (
        made["path"],
        made["branch"],
        made["created_branch"],
    )
    assert "one\ntwo" == pit.git("show", f"pitboss-a-{old.id}:draft"), "the agent found the file it had left"
    assert not tree.exists(), "it succeeded, so its worktree is put away as 0.9 would have"
    assert float(str(run.record("a")["cost_usd"])) > 0.5, "money of both attempts adds up"
    assert "2025-11-24T16:00:00Z" == run.record("a")["started_at"]
    assert "old.toml" == run.summary["manifest_path"]


def test_records_are_kept_as_they_were(pit: Pit, old: Legacy) -> None:
    session, failure = old.transcript(1), {"kind": "unknown", "message": "broke"}
    good = a_record("a", claude_session_id=session, worktree_path=f"/gone-pitboss-a-{old.id}")
    bad = a_record("b", "TimedOut", exit_code=None, failure_reason=failure, cost_usd=None)
    tasks = [old.task(name, use_worktree=False) for name in ("a", "b", "c")]
    old.write(tasks, [good, bad], ended=False, name="nightly")

    assert 1 == resume(pit).code

    run = pit.run
    assert {"a": "Success", "b": "TimedOut", "c": "Success"} == run.statuses()
    assert "nightly" == run.summary["manifest_name"]
    for before in (good, bad):
        after = run.record(str(before["task_id"]))
        same = set(before) - {"log_path", "model", "failure_reason"}
        assert {key: before[key] for key in same} == {key: after[key] for key in same}
    assert ["c"] == [fact["actor"] for fact in run.told("ActorAdmitted")], "a task without a record is not dropped"


def test_a_run_without_a_summary_goes_on_where_its_tasks_were_cut_off(pit: Pit, old: Legacy) -> None:
    tree, session = old.worktree("a", branch="team/fix"), old.transcript(7)
    old.write([old.task("a", branch="team/fix"), old.task("b")], [], ended=False, begun=["a"])
    old.heard("a", session)

    ended = resume(pit)

    run = pit.run
    assert (0, {"a": "Success", "b": "Success"}) == (ended.code, run.statuses()), ended.err
    (first,) = run.told("WorktreeMade", "a")
    assert (str(tree), "team/fix") == (first["path"], first["branch"])
    assert session == run.record("a")["claude_session_id"]
    assert "one\ntwo" == pit.git("show", "team/fix:draft")
    usage = run.record("a")["token_usage"]
    assert isinstance(usage, dict)
    assert 120 + 100 <= usage["input"] + usage["output"], "what it had used before is in the account"


def test_what_a_task_used_under_0_9_is_counted_once_however_often_it_is_killed(pit: Pit, old: Legacy) -> None:
    tree, session = old.worktree("a"), old.transcript(5)
    old.write([old.task("a")], [], ended=False, begun=["a"])
    old.heard("a", session)
    old.play([*CONTINUED, {"delay": 60}])
    process = pit.start("resume", "--run-dir", str(pit.runs))
    pit.until(lambda run: run.told("ToolUsed", "a"))
    process.kill()
    process.communicate()
    old.play([])

    ended = resume(pit)

    usage = pit.run.record("a")["token_usage"]
    assert isinstance(usage, dict)
    assert (0, 300) == (ended.code, usage["input"]), "100 under 0.9, 100 until the kill, 100 after it"
    assert not tree.exists()


def test_a_session_whose_transcript_is_gone_starts_afresh_and_says_so(pit: Pit, old: Legacy) -> None:
    old.write([old.task("a", use_worktree=False)], [], ended=False, begun=["a"])
    old.heard("a", SESSION.format(3))

    ended = resume(pit)

    assert 0 == ended.code
    assert f"session {SESSION.format(3)} is not there; it starts afresh" in ended.err
    assert SESSION.format(3) != pit.run.record("a")["claude_session_id"]


def test_a_session_id_that_is_none_is_never_used(pit: Pit, old: Legacy) -> None:
    bad = a_record("a", "Failed", claude_session_id="--dangerous", worktree_path=None)
    old.write([old.task("a", use_worktree=False)], [bad])

    ended = resume(pit)

    assert (0, True) == (ended.code, "the session id of 'a' is none that can be used" in ended.err)
    assert "--dangerous" != pit.run.record("a")["claude_session_id"]


def test_a_worktree_that_stands_on_another_branch_is_left_alone_and_named(pit: Pit, old: Legacy) -> None:
    tree = old.worktree("a")
    pit.git("switch", "-qc", "elsewhere", cwd=tree)
    old.write([old.task("a")], [a_record("a", "Failed", worktree_path=str(tree))], worktree_cleanup="always")

    ended = resume(pit)

    assert (1, {"a": "SpawnFailed"}) == (ended.code, pit.run.statuses())
    assert f"is not on branch pitboss-a-{old.id} any more" in str(pit.run.record("a")["failure_reason"])
    assert "one\n" == (tree / "draft").read_text()


def test_an_adopted_run_can_be_killed_resumed_told_and_compared(pit: Pit, old: Legacy) -> None:
    tree, session = old.worktree("a"), old.transcript(1)
    failed = a_record("a", "Failed", claude_session_id=session, worktree_path=str(tree))
    old.write([old.task("a")], [failed])
    old.play([*CONTINUED, {"delay": 60}])
    process = pit.start("resume", "--run-dir", str(pit.runs))
    pit.until(lambda run: run.told("ToolUsed", "a"))
    process.kill()
    process.communicate()
    old.play([])

    ended = resume(pit)

    assert (0, {"a": "Success"}) == (ended.code, pit.run.statuses()), ended.err
    assert "carry no mark" not in ended.err, "it is adopted once"
    assert [str(tree)] * 2 == [fact["path"] for fact in pit.run.told("WorktreeMade")]
    story = pit.pitboss("why", old.id, "a", "--run-dir", str(pit.runs)).out
    assert "(by Pitboss 0.9.2)" in story
    assert "by the record of Pitboss 0.9, it ended as Failed" in story
    assert 0 == pit.pitboss("status", old.id, "--run-dir", str(pit.runs)).code
    assert "= out" in pit.pitboss("diff", old.id, old.id, "--run-dir", str(pit.runs)).out


def test_an_adoption_that_was_killed_before_its_journal_is_begun_again(pit: Pit, old: Legacy) -> None:
    folder = old.write([old.task("a", use_worktree=False)], [], ended=False)
    (folder / "dispatcher.lock").write_text('{"pid":1,"epoch":1,"host":"x"}\n')

    assert 0 == resume(pit).code

    assert {"a": "Success"} == pit.run.statuses()
    assert [2] == [fact["epoch"] for fact in pit.run.told("RunReopened")]


def test_a_worktree_that_was_not_taken_over_survives_the_run_it_belonged_to(pit: Pit, old: Legacy) -> None:
    tree = old.worktree("a")
    kept = a_record("a", worktree_path=str(tree))
    old.write([old.task("a"), old.task("b", use_worktree=False)], [kept])
    assert 0 == resume(pit).code

    pruned = pit.pitboss("prune", "--remove", "--apply", "--include-complete", "--run-dir", str(pit.runs))

    assert (0, []) == (pruned.code, list(pit.runs.iterdir())), pruned.err
    assert f"its worktree {tree} stays" in pruned.out
    assert "one\n" == (tree / "draft").read_text()


@pytest.mark.claude
def test_a_real_session_of_0_9_goes_on_in_its_worktree(pit: Pit, old: Legacy) -> None:
    script = """
[[actor]]
id = "*"
[[actor.turn]]
tools = [{ name = "Bash", input = { command = "echo two >> draft", description = "draft" } }]
"""
    tree = old.worktree("a")
    with start_model(pit.place / "model", script) as model:
        pit.use_real_claude(model.actor("a"))
        session = SESSION.format(9)
        words = ["-p", "go", "--session-id", session, "--model", "claude-haiku-4-5", "--output-format", "json"]
        once = [pit.env["PITBOSS_CLAUDE_BINARY"], *words]
        subprocess.run(once, cwd=tree, env=pit.env, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        failed = a_record("a", "Failed", claude_session_id=session, worktree_path=str(tree))
        old.write([old.task("a")], [failed])

        ended = resume(pit)
        turns = [request for request in model.requests() if request["kind"] == "turn"]

    assert (0, "Success") == (ended.code, pit.run.record("a")["status"]), ended.err
    assert [session] == list({turn["session"] for turn in turns})
    assert int(str(turns[-1]["position"])) > 1, "the model sees the conversation that 0.9 had"


def test_what_ended_well_has_nothing_to_resume(pit: Pit, old: Legacy) -> None:
    old.write([old.task("a")], [a_record("a")])
    assert "nothing to resume" in refused(pit)


def test_what_0_9_began_in_a_worktree_cannot_begin_again_from_the_start(pit: Pit, old: Legacy) -> None:
    tree = old.worktree("a")
    old.write([old.task("a")], [a_record("a", "Failed", worktree_path=str(tree))])
    why = "a in run {} cannot begin again from the start: Pitboss 0.9 began there"
    assert why.format(old.id) in refused(pit, "--fresh", "a")
    assert "one\n" == (tree / "draft").read_text()

    assert 0 == resume(pit).code
    again = resume(pit, "--fresh", "a")
    assert 2 == again.code
    assert why.format(old.id) in again.err, "where it was taken over is not where it began"
    assert {"a": "Success"} == pit.run.statuses()


def test_without_a_worktree_what_0_9_did_can_begin_again_in_a_new_session(pit: Pit, old: Legacy) -> None:
    session = old.transcript(1)
    done = a_record("a", claude_session_id=session)
    old.write([old.task("a", use_worktree=False), old.task("b")], [done, a_record("b", "Failed")])
    old.play([])

    ended = resume(pit, "--fresh", "a")

    assert (1, {"a": "Success", "b": "Failed"}) == (ended.code, pit.run.statuses()), ended.err
    (admitted,) = pit.run.told("ActorAdmitted")
    assert ("a", True) == (admitted["actor"], admitted["session_id"] != session)


def test_a_schema_of_a_later_version_is_refused(pit: Pit, old: Legacy) -> None:
    old.write([old.task("a")], [], ended=False, manifest_schema_version=2)
    assert "it has schema version 2, and this Pitboss knows 1" in refused(pit)


@pytest.mark.parametrize("text", [None, "{", '{"tasks":[{}]}'])
def test_a_resolved_manifest_that_cannot_be_used_is_refused(pit: Pit, old: Legacy, text: str | None) -> None:
    path = old.write([old.task("a")], [], ended=False) / "resolved.json"
    path.unlink() if text is None else path.write_text(text)
    assert "resolved.json" in refused(pit)


def test_a_relative_directory_is_refused_because_nobody_knows_to_what(pit: Pit, old: Legacy) -> None:
    old.write([a_resolved_task("a", ".")], [], ended=False)
    assert "the directory '.' of task 'a' is relative" in refused(pit)


def test_a_copy_of_a_run_is_refused(pit: Pit, old: Legacy) -> None:
    folder = old.write([old.task("a")], [], ended=False)
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"run_id": "another"}))
    assert "its folder is a copy or was renamed" in refused(pit)


def test_a_run_whose_dispatcher_answers_is_refused(pit: Pit, old: Legacy) -> None:
    old.write([old.task("a")], [], ended=False)
    # A socket's path must be short.
    with socket.socket(socket.AF_UNIX) as listener, tempfile.TemporaryDirectory() as runtime:
        Path(runtime, "pitboss").mkdir()
        listener.bind(f"{runtime}/pitboss/{old.id}.control.sock")
        listener.listen()
        pit.env["XDG_RUNTIME_DIR"] = runtime
        assert "its control socket answers" in refused(pit)


def test_a_run_that_still_has_an_agent_is_refused(pit: Pit, old: Legacy) -> None:
    old.write([old.task("a")], [], ended=False)
    waits = [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"]
    environment = pit.env | {"PITBOSS_RUN_ID": old.id}
    with subprocess.Popen(waits, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        agent.stdout.readline()
        assert f"processes of run {old.id} are still there: {agent.pid}" in refused(pit)
        agent.communicate()
