"""Work that was set aside comes back, and clearing up destroys nothing: both as an operator meets them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from pitboss import upkeep
from pitboss.errors import OperatorError, WorldError
from pitboss.journal.discovery import discover
from pitboss.journal.lock import RunLock
from pitboss.journal.rundir import RunDir
from pitboss.model import facts as f
from pitboss.model.effects import TidyWorktree
from pitboss.model.run import ActorId, SetAside
from pitboss.model.signals import WorktreePrepared, WorktreeTidied
from pitboss.surfaces import pruning, pruning_report
from pitboss.surfaces.pruning import Asked, Outcome, Plan, carry_out, plan
from support.git import Repository, new_repository
from support.pictures import RUN, START, append, begun, done, opened, write_run
from support.pit import Ended, Pit

DAY = 86400.0
OLD = "0190aaaa-1111-7222-8333-444455556666"
RECORD = {
    "task_id": "one",
    "status": "Success",
    "exit_code": 0,
    "started_at": "2025-11-24T16:00:00Z",
    "ended_at": "2025-11-24T16:01:00Z",
    "duration_ms": 60000,
    "worktree_path": None,
    "log_path": "/x/stdout.log",
    "token_usage": {"input": 1, "output": 2, "cache_read": 3, "cache_creation": 4},
    "claude_session_id": None,
    "final_message_preview": None,
}


class Tidier:
    """Stands in for git: notes what it was asked, and answers as told."""

    def __init__(self, *, kept: str = "", saved: SetAside | None = None) -> None:
        self.runs: list[str] = []
        self.trees: list[TidyWorktree] = []
        self._kept = kept
        self._saved = saved

    def __call__(self, run_id: str, trees: Sequence[TidyWorktree]) -> list[WorktreeTidied]:
        self.runs.append(run_id)
        self.trees += trees
        return [
            WorktreeTidied(
                at=0,
                actor=tree.actor,
                attempt=tree.attempt,
                removed=not self._kept,
                set_aside=self._saved,
                message=self._kept,
            )
            for tree in trees
        ]


def interrupted(base: Path, *, run_id: str = RUN) -> RunDir:
    """A run that was cut off: `a` is done and put away, `b` was at work."""
    return write_run(base, [opened(base, "a", "b", run_id=run_id), *begun("a"), *done("a"), *begun("b")], run_id=run_id)


def ended(base: Path) -> RunDir:
    folder = write_run(base, [opened(base, "a"), *begun("a"), *done("a")])
    append(folder, [f.RunEnded(at=START + 9, exit_code=0, was_interrupted=False)])
    return folder


def of_old(base: Path, lines: Sequence[str] | None, *, age: float = 5 * 3600) -> RunDir:
    """A run of Pitboss 0.9 that was cut off so long ago."""
    run = RunDir(base / OLD)
    (run.tasks / "one").mkdir(parents=True)
    meta = {"run_id": OLD, "manifest_path": "old.toml", "pitboss_version": "0.9.2", "claude_version": "2.0"}
    run.meta.write_text(json.dumps(meta | {"started_at": "2025-11-24T16:00:00Z", "env": {}}))
    run.resolved.write_text(json.dumps({"name": "old"}))
    if lines is not None:
        run.summary_lines.write_text("".join(lines))
    backdate(run, age)
    return run


def backdate(run: RunDir, age: float) -> None:
    for path in [*run.path.rglob("*"), run.path]:
        os.utime(path, (time.time() - age,) * 2)


def see(base: Path, **asked: object) -> Plan:
    return plan(base, Asked(**asked), time.time())  # type: ignore[arg-type]  # each test names what it asks for


def apply(planned: Plan, tidy: Tidier) -> Outcome:
    """Carry out the only thing that is planned."""
    (found,) = planned.found
    return carry_out(found, tidy, time.time())


# --- which runs -----------------------------------------------------------------------------------------------------


def test_a_run_that_was_cut_off_is_found_and_without_remove_only_named(tmp_path: Path) -> None:
    run = interrupted(tmp_path)
    (found,) = see(tmp_path).found
    assert ("none", "interrupted") == (found.action, found.entry.state)
    assert f"`pitboss resume {RUN} --run-dir {tmp_path}` goes on with it" in found.why
    before = sorted(run.path.rglob("*"))
    assert carry_out(found, Tidier(), time.time()).ok
    assert before == sorted(run.path.rglob("*"))


def test_a_live_run_is_left_alone(tmp_path: Path) -> None:
    run = interrupted(tmp_path)
    with RunLock.acquire(run.lock):
        planned = see(tmp_path, remove=True)
    assert ([], "it is running") == (planned.found, planned.left[0][1])


def test_a_run_that_came_to_life_since_is_not_touched(tmp_path: Path) -> None:
    run, tidy = interrupted(tmp_path), Tidier()
    planned = see(tmp_path, remove=True)
    with RunLock.acquire(run.lock):
        outcome = apply(planned, tidy)
    assert (False, []) == (outcome.ok, tidy.runs)
    assert "being worked on" in outcome.message
    assert run.journal.exists()


def test_a_run_that_was_resumed_and_has_ended_since_is_not_touched(tmp_path: Path) -> None:
    run, tidy = interrupted(tmp_path), Tidier()
    planned = see(tmp_path, remove=True)
    append(run, [*done("b"), f.RunEnded(at=START + 9, exit_code=0, was_interrupted=False)])
    outcome = apply(planned, tidy)
    assert (False, [], True) == (outcome.ok, tidy.runs, run.journal.exists())
    assert "prune again" in outcome.message


def test_a_live_run_with_a_damaged_summary_is_left_alone(tmp_path: Path) -> None:
    run = interrupted(tmp_path)
    run.summary.write_text("{")
    with RunLock.acquire(run.lock):
        planned = see(tmp_path, remove=True, aborted=True)
    assert ([], "it is running") == (planned.found, planned.left[0][1])


def test_a_run_that_did_not_get_to_its_first_fact_is_not_said_to_be_resumable(tmp_path: Path) -> None:
    write_run(tmp_path, [])
    (found,) = see(tmp_path).found
    assert "it cannot be resumed, --remove clears it away" == found.why
    assert apply(see(tmp_path, remove=True), Tidier()).ok


def test_aborted_and_complete_runs_are_taken_up_only_when_asked(tmp_path: Path) -> None:
    ended(tmp_path)
    of_old(tmp_path, None)
    assert [] == see(tmp_path, remove=True).found
    assert [OLD] == [found.entry.run_id for found in see(tmp_path, remove=True, aborted=True).found]
    assert [RUN] == [found.entry.run_id for found in see(tmp_path, remove=True, complete=True).found]


def test_the_age_of_a_run_counts_from_what_was_written_last(tmp_path: Path) -> None:
    run = interrupted(tmp_path)
    backdate(run, 3 * DAY)
    with RunLock.acquire(run.lock):
        pass  # somebody looked at it
    assert 1 == len(see(tmp_path, older_than=2 * DAY).found)
    (run.tasks / "b").mkdir()
    run.stdout_log("b").write_text("a word\n")
    ((_, why),) = see(tmp_path, older_than=2 * DAY).left
    assert "it is not old enough" == why


def test_a_run_of_old_that_still_writes_a_log_is_taken_for_alive(tmp_path: Path) -> None:
    run = of_old(tmp_path, [json.dumps(RECORD) + "\n"])
    run.stdout_log("one").write_text("a word\n")
    ((entry, why),) = see(tmp_path, remove=True).left
    assert "stale" == entry.state
    assert "may be running" in why


def test_a_run_whose_journal_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    run = interrupted(tmp_path)
    run.journal.write_bytes(run.journal.read_bytes().replace(b"ActorAdmitted", b"ActorAdopted!"))
    ((_, why),) = see(tmp_path, remove=True).left
    assert why.startswith("it cannot be read: ")


@pytest.mark.parametrize(
    ("text", "secs"), [("90", 90), (" 90s ", 90), ("15m", 900), ("4h", 14400), ("7d", 7 * DAY), ("0", 0)]
)
def test_an_age_is_a_number_and_a_unit(text: str, secs: float) -> None:
    assert secs == pruning.age_in_secs(text)


@pytest.mark.parametrize("text", ["", "7D", "1h30m", "-1d", "1.5h", "d", "٣d"])
def test_any_other_age_is_refused(text: str) -> None:
    with pytest.raises(OperatorError, match="--older-than"):
        pruning.age_in_secs(text)


# --- removing -------------------------------------------------------------------------------------------------------


def test_a_run_is_removed_after_its_worktrees(tmp_path: Path) -> None:
    run, tidy = interrupted(tmp_path), Tidier()
    outcome = apply(see(tmp_path, remove=True), tidy)
    assert outcome.ok, outcome.message
    assert [RUN] == tidy.runs, "its processes are seen to"
    (tree,) = tidy.trees
    assert ("b", "/w/b", "b", f"refs/pitboss/{RUN}/b", f"{RUN}/b/1", True) == (
        tree.actor,
        tree.path,
        tree.branch,
        tree.ref,
        tree.cookie,
        tree.remove,
    )
    assert not run.path.exists()


def test_a_run_whose_worktree_must_stay_stays(tmp_path: Path) -> None:
    run, aside = interrupted(tmp_path), SetAside(ref="refs/pitboss/x/b", commit="c0ffee", files=2)
    outcome = apply(see(tmp_path, remove=True), Tidier(kept="The worktree /w/b is locked.", saved=aside))
    assert (False, ((ActorId("b"), "/repo", aside),)) == (outcome.ok, outcome.saved)
    assert "/w/b is locked" in outcome.message
    assert run.journal.exists()


def test_a_worktree_that_was_being_made_is_put_away_too(tmp_path: Path) -> None:
    tidy = Tidier()
    write_run(tmp_path, [opened(tmp_path, "a"), begun("a")[0]])
    assert apply(see(tmp_path, remove=True), tidy).ok
    (tree,) = tidy.trees
    assert (f"{tmp_path}/{RUN}/worktrees/a", f"pitboss-a-{RUN}", False) == (tree.path, tree.branch, tree.created_branch)


def test_a_repository_in_the_run_that_nobody_told_of_is_kept(tmp_path: Path) -> None:
    run = interrupted(tmp_path)
    (run.worktrees / "stray").mkdir(parents=True)
    (run.worktrees / "stray" / ".git").write_text("gitdir: /elsewhere\n")
    outcome = apply(see(tmp_path, remove=True), Tidier())
    assert not outcome.ok
    assert str(run.worktrees / "stray") in outcome.message
    assert run.journal.exists()


def test_a_copy_of_a_run_does_not_lead_to_the_worktrees_of_the_original(tmp_path: Path) -> None:
    run, tidy = interrupted(tmp_path / "runs"), Tidier()
    shutil.copytree(run.path, tmp_path / "copies" / RUN)
    outcome = apply(see(tmp_path / "copies", remove=True), tidy)
    assert (False, []) == (outcome.ok, tidy.runs)
    assert "is a copy of the run in" in outcome.message


def test_what_cannot_be_proven_dead_is_kept(tmp_path: Path) -> None:
    def still_there(run_id: str, trees: Sequence[TidyWorktree]) -> list[WorktreeTidied]:
        raise WorldError(f"processes of {run_id} are still there, beside {len(trees)} worktree")

    run = interrupted(tmp_path)
    (found,) = see(tmp_path, remove=True).found
    assert f"processes of {RUN} are still there, beside 1 worktree" == carry_out(found, still_there, 0.0).message
    assert run.journal.exists()


def test_a_run_of_old_goes_with_what_it_left_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, sockets = of_old(tmp_path / "runs", [json.dumps(RECORD) + "\n"]), tmp_path / "run" / "pitboss"
    sockets.mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    for relic in (sockets / f"{OLD}.control.sock", sockets / f"{OLD}.sock", tmp_path / "runs" / f"{OLD}.bg-stderr.log"):
        relic.touch()
    assert apply(see(tmp_path / "runs", remove=True), Tidier()).ok
    assert ([], []) == (list(sockets.iterdir()), list((tmp_path / "runs").iterdir()))
    assert not run.path.exists()


async def prepared(repo: Repository, actor: str) -> WorktreePrepared:
    """A worktree where the run in `RUN` would have it, with a draft in it."""
    want = replace(repo.wants(actor), name=f"pitboss-{actor}-{RUN}", cookie=f"{RUN}/{actor}/1")
    made = await repo.prepare(want)
    (Path(made.path) / "draft").write_text("draft\n")
    return made


async def test_git_saves_what_is_in_a_worktree_whose_making_was_not_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, base = new_repository(tmp_path, monkeypatch), tmp_path / "runs"
    repo.pit = base / RUN / "worktrees"
    first = opened(base, "a")
    spec = replace(first.run, tasks=tuple(replace(task, directory=str(repo.top)) for task in first.run.tasks))
    run = write_run(base, [replace(first, run=spec), begun("a")[0]])
    await prepared(repo, "a")

    (found,) = see(base, remove=True).found
    outcome = await asyncio.to_thread(carry_out, found, upkeep.prune, time.time())

    assert outcome.ok, outcome.message
    (aside,) = outcome.saved
    assert (f"refs/pitboss/{RUN}/a", 1) == (aside.saved.ref, aside.saved.files)
    assert "draft" == repo("show", f"{aside.saved.ref}:draft")
    assert (False, set()) == (run.path.exists(), repo.entries())


def test_the_worktrees_of_a_run_of_old_stay_and_are_named(tmp_path: Path) -> None:
    run, tree = of_old(tmp_path / "runs", [json.dumps(RECORD) + "\n"]), tmp_path / "repo-task-one"
    tree.mkdir()
    (run.tasks / "one" / "worktree.path").write_bytes(os.fsencode(tree))
    backdate(run, DAY)
    asked = Asked(remove=True)
    planned = plan(tmp_path / "runs", asked, time.time())
    assert f"its worktree {tree} stays" in "\n".join(pruning_report.plan_lines(planned, asked, None))
    assert apply(planned, Tidier()).ok
    assert (True, False) == (tree.exists(), run.path.exists())


# --- a summary for runs of 0.9 --------------------------------------------------------------------------------------


def test_a_stale_run_gets_the_summary_it_lacks(tmp_path: Path) -> None:
    run = of_old(tmp_path, [json.dumps(RECORD) + "\n", '{"task_id": "tw'])
    outcome = apply(see(tmp_path), Tidier())
    assert outcome.ok, outcome.message
    summary = json.loads(run.summary.read_bytes())
    told = [summary[key] for key in ("run_id", "manifest_name", "was_interrupted", "tasks_total", "ended_at")]
    assert [OLD, "old", True, 1, "2025-11-24T16:01:00Z"] == told
    (entry,) = discover(tmp_path)
    assert ("complete", True) == (entry.state, entry.was_interrupted)


def test_a_run_of_old_that_never_began_gets_an_empty_one(tmp_path: Path) -> None:
    run = of_old(tmp_path, None)
    assert apply(see(tmp_path, aborted=True), Tidier()).ok
    assert 0 == json.loads(run.summary.read_bytes())["tasks_total"]


def test_a_damaged_summary_is_put_beside_the_new_one(tmp_path: Path) -> None:
    run = of_old(tmp_path, [json.dumps(RECORD) + "\n"])
    run.summary.write_text("{")
    backdate(run, DAY)
    assert apply(see(tmp_path, aborted=True), Tidier()).ok
    assert ("{", 1) == (
        (run.path / "summary.json.damaged").read_text(),
        json.loads(run.summary.read_bytes())["tasks_total"],
    )


def test_a_damaged_summary_of_ours_is_made_again_from_the_journal(tmp_path: Path) -> None:
    run = ended(tmp_path)
    run.summary.write_text("{")
    assert apply(see(tmp_path, aborted=True), Tidier()).ok
    assert "Success" == json.loads(run.summary.read_bytes())["tasks"][0]["status"]


def test_a_summary_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    run = of_old(tmp_path, [json.dumps(RECORD) + "\n"])
    run.meta.unlink()
    outcome = apply(see(tmp_path), Tidier())
    assert (False, False) == (outcome.ok, run.summary.exists())
    assert str(run.meta) in outcome.message


# --- what is said ---------------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_go_and_what_stays_and_why(tmp_path: Path) -> None:
    run = interrupted(tmp_path)
    of_old(tmp_path, None)
    (run.path / "big").write_bytes(b"x" * 100_000)
    backdate(run, 3 * DAY)
    asked = Asked(remove=True)
    lines = pruning_report.plan_lines(plan(tmp_path, asked, time.time()), asked, None)
    assert "pitboss prune (dry-run) — action: remove run directory" == lines[0]
    assert "Matched 1 run(s):" == lines[1]
    assert lines[2].startswith(f"  {RUN[:12]}… state=interrupted age=3d tasks=0 failed=0 size=1")
    assert "      b: its worktree /w/b is set aside, then removed by git" == lines[3]
    assert "  1 aborted: --include-aborted takes it up" in lines
    assert lines[-1].startswith("Nothing was changed; --apply does it and frees 1")


def test_nothing_to_do_is_said_in_one_sentence(tmp_path: Path) -> None:
    assert "No orphaned runs to prune." == pruning_report.plan_lines(see(tmp_path / "none"), Asked(), None)[1]


def test_results_are_counted_and_say_how_to_have_the_work_back(tmp_path: Path) -> None:
    interrupted(tmp_path)
    asked, aside = Asked(remove=True), SetAside(ref="refs/pitboss/x/b", commit="c0ffee", files=2)
    planned = plan(tmp_path, asked, time.time())
    lines = pruning_report.plan_lines(planned, asked, [apply(planned, Tidier(saved=aside))])
    assert "Results: 1 succeeded, 0 failed." in lines
    assert lines[-1].endswith("b: set aside now, 2 files: git -C /repo worktree add DIR refs/pitboss/x/b")


def test_what_was_set_aside_earlier_is_named_before_the_run_that_knows_of_it_goes(tmp_path: Path) -> None:
    aside = SetAside(ref="refs/pitboss/x/a", commit="c0ffee", files=1)
    facts = [fact for fact in done("a") if not isinstance(fact, f.WorktreeLeft | f.ActorSettled)]
    left = f.WorktreeLeft(at=START + 5, actor=ActorId("a"), attempt=1, removed=True, set_aside=aside)
    write_run(tmp_path, [opened(tmp_path, "a"), *begun("a"), *facts, left])
    asked = Asked(remove=True)
    lines = pruning_report.plan_lines(plan(tmp_path, asked, time.time()), asked, None)
    assert "      a: set aside before, 1 file" in "\n".join(lines)
    assert "git -C /repo worktree add DIR refs/pitboss/x/a" in "\n".join(lines)


def test_json_says_the_same(tmp_path: Path) -> None:
    interrupted(tmp_path)
    asked = Asked(remove=True)
    planned = plan(tmp_path, asked, time.time())
    told = json.loads(pruning_report.plan_json(planned, asked, [apply(planned, Tidier())]))
    (run,) = told["runs"]
    assert (True, True, RUN, "remove", True) == (
        told["applied"],
        told["remove"],
        run["run_id"],
        run["action"],
        run["ok"],
    )
    assert [{"actor": "b", "path": "/w/b"}] == run["worktrees"]
    assert 0 < run["bytes"]


# --- as a user would ------------------------------------------------------------------------------------------------

DRAFT = [{"tool": "Bash", "input": {"command": "echo draft > draft; echo mine > README; chmod +x README"}}]


@pytest.fixture
def pit(tmp_path: Path) -> Iterator[Pit]:
    pit = Pit(tmp_path)
    yield pit
    pit.close()


def restore(pit: Pit, *words: str) -> Ended:
    return pit.pitboss("restore", "latest", *words, "--run-dir", str(pit.runs))


def prune(pit: Pit, *words: str) -> Ended:
    return pit.pitboss("prune", *words, "--run-dir", str(pit.runs))


def refs(pit: Pit) -> str:
    return pit.git("for-each-ref", "--format=%(refname)", "refs/pitboss")


@pytest.mark.slow
def test_restore_brings_back_what_a_task_left_uncommitted(pit: Pit) -> None:
    assert 0 == pit.dispatch(pit.manifest({"alpha": DRAFT, "beta": "go"})).code
    before = pit.git("status", "--porcelain"), pit.git("rev-parse", "HEAD")

    shown = restore(pit, "al")
    assert (0, "") == (shown.code, shown.err)
    for told in (f"refs/pitboss/{pit.run.path.name}/alpha", "M README", "A draft", "restore", "--into DIR"):
        assert told in shown.out

    back = pit.place / "back"
    done = restore(pit, "alpha", "--into", "back")
    assert 0 == done.code, done.err
    assert f"alpha: 2 files back in {back}, uncommitted on" in done.out
    assert "M README\n?? draft" == pit.git("status", "--porcelain", cwd=back)
    assert ("draft\n", True) == ((back / "draft").read_text(), os.access(back / "README", os.X_OK))

    shape = cast("dict[str, object]", json.loads(restore(pit, "alpha", "--branch", "rescue", "--json").out))
    assert (pit.git("rev-parse", "rescue"), "rescue") == (shape["commit"], shape["branch"])
    assert before == (pit.git("status", "--porcelain"), pit.git("rev-parse", "HEAD"))


@pytest.mark.slow
def test_restore_refuses_what_cannot_be_and_says_why(pit: Pit) -> None:
    pit.dispatch(pit.manifest({"alpha": DRAFT, "beta": "go"}))
    (pit.place / "full").mkdir()
    (pit.place / "full" / "mine").touch()
    refusals = {
        ("gamma",): (2, "no task 'gamma'"),
        ("beta",): (2, "nothing of beta was set aside"),
        ("alpha", "--into", "full"): (2, "is not empty"),
        ("alpha", "--branch", "main"): (2, "there is a branch main"),
        ("alpha", "--branch", "x", "--into", "y"): (2, "exclude each other"),
    }
    for words, (code, message) in refusals.items():
        refused = restore(pit, *words)
        assert (code, "") == (refused.code, refused.out)
        assert message in refused.err
    pit.git("update-ref", "-d", refs(pit))
    gone = restore(pit, "alpha", "--into", "back")
    assert 1 == gone.code
    assert "is gone" in gone.err
    assert not (pit.place / "back").exists()
    pit.repo.rename(pit.place / "moved")
    assert "put the repository back" in restore(pit, "alpha").err


@pytest.mark.slow
def test_a_run_that_was_cut_off_is_pruned_without_losing_its_work(pit: Pit) -> None:
    process = pit.dispatching(pit.manifest({"a": [*DRAFT, {"delay": 60}]}))
    run = pit.until(lambda run: (run.path / "worktrees" / "a" / "draft").exists())
    live = prune(pit, "--remove", "--apply")
    assert (0, True) == (live.code, (run.path / "worktrees" / "a" / "draft").exists()), live.err
    process.kill()
    process.communicate()

    dry = prune(pit, "--remove")
    assert (0, True, "") == (dry.code, run.path.exists(), refs(pit)), dry.err
    done = prune(pit, "--remove", "--apply", "--json")

    assert 0 == done.code, done.out + done.err
    assert not run.path.exists()
    (told,) = json.loads(done.out)["runs"]
    assert refs(pit) == told["set_aside"][0]["ref"]
    assert "draft" == pit.git("show", f"{refs(pit)}:draft")
    assert 1 == len(pit.git("worktree", "list").splitlines())
    assert [] == pit.with_cookie()


@pytest.mark.slow
def test_a_run_whose_work_cannot_be_saved_is_kept(pit: Pit) -> None:
    assert 0 == pit.dispatch(pit.manifest({"a": DRAFT}, worktree_cleanup="never")).code
    tree = pit.run.path / "worktrees" / "a"
    pit.git("worktree", "lock", str(tree))
    assert f"its worktree is still there: {tree}" in restore(pit, "a").err
    kept = prune(pit, "--remove", "--include-complete", "--apply")
    assert (1, True) == (kept.code, (tree / "draft").exists())
    assert "it is locked" in kept.out
    pit.git("worktree", "unlock", str(tree))
    assert 0 == prune(pit, "--remove", "--include-complete", "--apply").code
    assert "draft" == pit.git("show", f"{refs(pit)}:draft")
