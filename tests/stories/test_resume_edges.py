"""Resumes that hardly can be, and those that must not be: files gone, a copy, no money left."""

import shutil

import pytest

from stories.test_resume import CUT_OFF, cut_off, resume
from support.parts import until_exists
from support.pit import Pit

pytestmark = pytest.mark.slow


def test_every_file_that_the_journal_can_tell_anew_may_be_gone(pit: Pit) -> None:
    cut_off(pit, {"a": CUT_OFF, "b": "go"})
    (pit.place / "pit.toml").unlink()
    for name in ("summary.jsonl", "meta.json", "resolved.json", "manifest.snapshot.toml"):
        (pit.run.path / name).unlink()

    ended = resume(pit)

    assert (0, {"a": "Success", "b": "Success"}) == (ended.code, pit.run.statuses()), ended.err
    assert 2 == len((pit.run.path / "summary.jsonl").read_text().splitlines())


def test_a_copy_is_refused_and_leaves_the_original_alone(pit: Pit) -> None:
    go = pit.place / "go"
    process = pit.dispatching(pit.manifest({"a": [until_exists(go)]}))
    pit.until(lambda run: run.told("SessionOpened"))
    copied = pit.place / "copy" / pit.run.path.name
    copied.mkdir(parents=True)
    (copied / "journal.jsonl").write_bytes((pit.run.path / "journal.jsonl").read_bytes())

    refused = pit.pitboss("resume", "--run-dir", str(copied.parent))
    go.touch()

    assert 2 == refused.code
    assert f"was begun in {pit.run.path}" in refused.err
    assert 0 == pit.finish(process).code


def test_of_a_worktree_that_could_not_be_made_again_only_the_branch_is_named(pit: Pit) -> None:
    gate = pit.place / "never"
    process = pit.dispatching(pit.manifest({"a": [until_exists(gate)]}))
    pit.until(lambda run: run.told("ToolUsed", "a"))
    process.kill()
    process.communicate()
    tree = pit.run.path / "worktrees" / "a"
    pit.until(lambda _: not pit.with_cookie())
    branch = pit.git("branch", "--show-current", cwd=tree)
    shutil.rmtree(tree)
    pit.git("worktree", "prune")
    pit.git("worktree", "add", "-q", str(pit.place / "mine"), branch)

    ended = resume(pit)
    shown = pit.pitboss("status", "--run-dir", str(pit.runs)).out

    assert "SpawnFailed" == pit.run.record("a")["status"], ended.err
    for told in (ended.err, shown):
        assert f"  a: branch {branch}\n" in told
        assert str(tree) not in told.partition("Where the work is:")[2]
    assert "its worktree was deleted by hand" in pit.pitboss("restore", "latest", "a", "--run-dir", str(pit.runs)).err


def test_a_run_whose_money_is_spent_goes_on_when_it_is_given_more(pit: Pit) -> None:
    dear = [{"usage": {"input": 1_000_000, "output": 200_000}}, *[{"tool": "Bash", "input": {"command": "echo"}}] * 2]
    pit.dispatch(pit.manifest({"a": dear, "b": "go"}, budget_usd=1.0, max_parallel_tasks=1))
    before = pit.run.record("a")
    assert "Failed" == before["status"]

    refused = resume(pit)

    assert (2, True) == (refused.code, "the money it may spend is spent" in refused.err)
    assert f"pitboss budget {pit.run.path.name} USD" in refused.err
    assert before == pit.run.record("a"), "and nothing was changed"

    given = pit.pitboss("budget", "latest", "50", "--run-dir", str(pit.runs))
    assert (0, True) == (given.code, "when the run is resumed" in given.out), given.err
    assert "complete" in pit.pitboss("list", "--run-dir", str(pit.runs)).out
    assert 0 == resume(pit).code
    assert {"a": "Success", "b": "Success"} == pit.run.statuses()
