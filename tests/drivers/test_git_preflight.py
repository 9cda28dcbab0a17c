"""Everything that is wrong with the worktrees of a run is told at once, before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from pitboss.drivers.git import Refusal, Want, preflight
from support.git import Repository, git, new_repository


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    return new_repository(tmp_path, monkeypatch)


async def problem(directory: Path, branch: str | None = None) -> str:
    (refusal,) = await preflight([Want("a", str(directory), branch)])
    assert "a" == refusal.actor
    return refusal.message


async def test_wants_that_can_be_met_are_not_mentioned(repo: Repository) -> None:
    repo("branch", "free")
    repo("branch", "team")
    wants = [
        Want("a", str(repo.top), None),
        Want("b", str(repo.top / "src"), None),
        Want("c", str(repo.top), "free"),
        Want("d", str(repo.top), "new"),
    ]
    assert [] == await preflight(wants)
    assert [] == await preflight([])


async def test_all_problems_are_told_at_once_in_the_order_of_the_wants(repo: Repository, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    wants = [Want("z", missing, None), Want("ok", str(repo.top), None), Want("a", str(repo.top), "main")]
    refusals = await preflight(wants)
    assert ["z", "a"] == [refusal.actor for refusal in refusals]
    assert Refusal("z", f"{missing} is not a directory: create it, or correct `directory`.") == refusals[0]


async def test_a_folder_outside_any_repository(tmp_path: Path, repo: Repository) -> None:
    assert "is not inside a git repository: run `git init` there and commit" in await problem(tmp_path)
    assert "inside a repository's own git directory" in await problem(repo.top / ".git")


async def test_a_bare_repository(repo: Repository, tmp_path: Path) -> None:
    repo("clone", "--quiet", "--bare", str(repo.top), str(tmp_path / "bare.git"))
    assert "bare.git is a bare repository" in await problem(tmp_path / "bare.git")


async def test_a_repository_without_a_commit(repo: Repository, tmp_path: Path) -> None:
    repo("init", "--quiet", str(tmp_path / "fresh"))
    assert "has no commit at its HEAD" in await problem(tmp_path / "fresh")


async def test_a_folder_that_is_not_in_the_commit(repo: Repository) -> None:
    (repo.top / "fresh").mkdir()
    assert "The folder fresh is not in commit" in await problem(repo.top / "fresh")


async def test_a_branch_checked_out_elsewhere_is_refused_with_the_place(repo: Repository, tmp_path: Path) -> None:
    repo("worktree", "add", "--quiet", "-b", "linked", str(tmp_path / "linked tree"))
    assert f"Branch linked is already checked out in {tmp_path / 'linked tree'}:" in await problem(repo.top, "linked")
    assert f"Branch main is already checked out in {repo.top}:" in await problem(tmp_path / "linked tree", "main")


async def test_a_branch_held_by_a_vanished_worktree_is_explained(repo: Repository, tmp_path: Path) -> None:
    repo("worktree", "add", "--quiet", "-b", "lost", str(tmp_path / "lost"))
    (tmp_path / "lost").rename(tmp_path / "moved")
    assert "no longer exists: run `git worktree prune`" in await problem(repo.top, "lost")


async def test_two_wants_for_one_branch_also_through_different_folders(repo: Repository, tmp_path: Path) -> None:
    git(repo.top, "worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    places = [repo.top, repo.top / "src", tmp_path / "linked"]
    refusals = await preflight([Want(f"t{n}", str(place), "same") for n, place in enumerate(places)])
    assert ["t1", "t2"] == [refusal.actor for refusal in refusals]
    assert all("Branch same is already wanted by t0" in refusal.message for refusal in refusals)


async def test_one_branch_name_in_two_repositories_is_fine(repo: Repository, tmp_path: Path) -> None:
    other = Repository(tmp_path / "other", tmp_path / "pit")
    assert [] == await preflight([Want("a", str(repo.top), "same"), Want("b", str(other.top), "same")])


@pytest.mark.parametrize("name", ["-x", "@{-1}", "a..b", "a b", "HEAD", ".x", "a~1"])
async def test_a_malformed_branch_name(repo: Repository, name: str) -> None:
    assert "cannot be the name of a branch" in await problem(repo.top, name)


async def test_a_missing_git_is_told_to_every_actor(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repo.pit))
    refusals = await preflight([Want("a", str(repo.top), None), Want("b", str(repo.top), None)])
    assert [Refusal(who, "git was not found: install git and put it on PATH.") for who in "ab"] == refusals


async def test_an_old_git_is_named_with_what_is_needed(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    old = repo.pit / "git"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho git version 2.30.2\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(repo.pit), prepend=":")
    assert "git 2.30 is too old: Pitboss needs 2.36 or newer; install a newer git." == await problem(repo.top)


async def test_a_preflight_changes_nothing(repo: Repository) -> None:
    before = repo.operators_state()
    await preflight([Want("a", str(repo.top), "main"), Want("b", str(repo.top), "new")])
    assert (before, {"main"}, set()) == (repo.operators_state(), repo.branches(), repo.entries())
