"""An actor begins again from the start: all it has done is kept, and nothing of it is in its way."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from pitboss.drivers.git_restore import find_saved, restore_worktree
from pitboss.drivers.git_tidy import start_over
from pitboss.model.effects import PrepareWorktree
from pitboss.model.signals import WorktreePrepared, WorktreeTidied
from support.git import Repository, folder, git, new_repository, snapshot, write

REF = "refs/pitboss/run/a"


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    return new_repository(tmp_path, monkeypatch)


def commit(made: WorktreePrepared, message: str = "work") -> str:
    git(folder(made), "add", "--all")
    git(folder(made), "commit", "--quiet", "--allow-empty", "-m", message)
    return git(folder(made), "rev-parse", "HEAD")


async def worked(repo: Repository, *, branch: str | None = None) -> tuple[WorktreePrepared, str]:
    """A first attempt that has committed, staged and left undone; and what it committed."""
    made = await repo.worktree(branch=branch)
    write(folder(made), {"done": "done\n"})
    work = commit(made)
    write(folder(made), {"README": "staged\n"})
    git(folder(made), "add", "--all")
    write(folder(made), {"README": "later\n", "draft": "draft\n"})
    return made, work


def fresh(repo: Repository, made: WorktreePrepared, report: WorktreeTidied | None = None) -> PrepareWorktree:
    effect = repo.again(made, report)
    assert effect.earlier is not None
    return replace(effect, fresh=True, earlier=replace(effect.earlier, set_aside=None))


def refs(repo: Repository) -> list[str]:
    return repo("for-each-ref", "--format=%(refname)", "refs/pitboss").split()


def reachable(repo: Repository, commit: str) -> bool:
    """From what is set aside for the actor."""
    return commit in repo("rev-list", *refs(repo)).split()


def untouched(repo: Repository, made: WorktreePrepared) -> bool:
    """Its worktree is as the first attempt found it."""
    top = folder(made)
    return (made.base, "") == (git(top, "rev-parse", "HEAD"), git(top, "status", "--porcelain")) and not (
        top / "done"
    ).exists()


async def test_everything_it_has_done_is_kept_and_its_branch_made_anew_at_its_base(repo: Repository) -> None:
    made, work = await worked(repo)
    repo.commit("the operator goes on")

    again = await repo.prepare(fresh(repo, made))

    assert untouched(repo, again)
    assert (made.base, True, made.branch) == (again.base, again.created_branch, again.branch)
    assert f"it began again from the start; what it had done is kept as {REF}" == again.message
    assert again.set_aside is not None
    assert ([REF], work) == (refs(repo), repo("rev-parse", f"{REF}^"))
    kept = [repo("show", f"{name}:README") for name in (REF, f"{REF}^2")]
    assert (["later", "staged"], "draft") == (kept, repo("show", f"{REF}:draft"))


async def test_a_branch_of_the_operators_is_put_back_to_where_it_stood(repo: Repository) -> None:
    repo("branch", "theirs")
    made, work = await worked(repo, branch="theirs")
    again = await repo.prepare(fresh(repo, made))
    assert (made.base, False) == (repo("rev-parse", "theirs"), again.created_branch)
    assert untouched(repo, again)
    assert reachable(repo, work)
    assert work in repo("log", "-g", "--format=%H", "theirs").split(), "its own log still knows it"


async def test_commits_alone_are_kept_too(repo: Repository, tmp_path: Path) -> None:
    made = await repo.worktree()
    write(folder(made), {"done": "done\n"})
    work = commit(made)
    again = await repo.prepare(fresh(repo, made))
    assert untouched(repo, again)
    (saved,) = await find_saved(str(repo.top), REF, "run/a")
    assert (work, ()) == (saved.parent, saved.changes)
    back = await restore_worktree(str(repo.top), saved, str(tmp_path / "back"))
    assert "done\n" == (back / "done").read_text()


async def test_commits_of_a_worktree_that_was_removed_long_ago_are_kept(repo: Repository) -> None:
    made = await repo.worktree()
    write(folder(made), {"done": "done\n"})
    work = commit(made)
    report = await repo.tidy(made)
    assert (True, None) == (report.removed, report.set_aside)
    again = await repo.prepare(fresh(repo, made, report))
    assert untouched(repo, again)
    assert reachable(repo, work)


async def test_what_was_set_aside_already_is_not_set_aside_twice(repo: Repository) -> None:
    made, work = await worked(repo)
    report = await repo.tidy(made)
    again = await repo.prepare(fresh(repo, made, report))
    assert untouched(repo, again)
    assert (None, report.set_aside) == (again.brought_back, again.set_aside)
    assert [REF] == refs(repo)
    assert reachable(repo, work)


@pytest.mark.parametrize("removed", [False, True])
async def test_one_that_did_nothing_leaves_nothing(repo: Repository, removed: bool) -> None:
    made = await repo.worktree()
    report = await repo.tidy(made) if removed else None
    repo.commit("the operator goes on")
    again = await repo.prepare(fresh(repo, made, report))
    assert untouched(repo, again)
    assert (made.base, True, None, "") == (again.base, again.created_branch, again.set_aside, again.message)
    assert [] == refs(repo)


async def test_commits_that_only_the_log_of_its_branch_remembers_are_kept(repo: Repository) -> None:
    made = await repo.worktree()
    first = commit(made, "first")
    git(folder(made), "commit", "--quiet", "--amend", "--allow-empty", "-m", "better")
    better = git(folder(made), "rev-parse", "HEAD")
    report = await repo.tidy(made)
    await repo.prepare(fresh(repo, made, report))
    assert reachable(repo, first)
    assert reachable(repo, better)


async def test_a_branch_left_behind_by_a_detached_head_is_kept_with_it(repo: Repository) -> None:
    made = await repo.worktree()
    work = commit(made)
    git(folder(made), "switch", "--quiet", "--detach", made.base)
    other = commit(made, "on no branch")
    again = await repo.prepare(fresh(repo, made))
    assert untouched(repo, again)
    assert [REF] == refs(repo)
    assert {other, work} == set(repo("rev-parse", f"{REF}^@").split())


async def test_asking_twice_ends_the_same_and_saves_once(repo: Repository) -> None:
    made, work = await worked(repo)
    effect = fresh(repo, made)
    first = await repo.prepare(effect)
    assert first == await repo.prepare(effect)
    later = replace(effect, attempt=7, cookie="run/a/7")
    assert replace(first, attempt=7) == replace(await repo.prepare(later), attempt=7)
    assert untouched(repo, first)
    assert [REF] == refs(repo)
    assert reachable(repo, work)


@pytest.mark.parametrize("branch", [None, "theirs"])
async def test_killed_at_any_step_it_is_finished_by_the_next_dispatcher(repo: Repository, branch: str | None) -> None:
    if branch:
        repo("branch", branch)
    made, work = await worked(repo, branch=branch)
    admin, entry, copy = repo.top / ".git" / "worktrees" / "a", repo.top.parent / "entry", repo.top.parent / "copy"
    shutil.copytree(admin, entry)
    shutil.copytree(made.path, copy, symlinks=True)
    effect = fresh(repo, made)

    # After everything was put away, and before anything was made.
    first = await start_over(repo.hands._locks, effect, 1.0)
    assert first is not None
    assert first == await start_over(repo.hands._locks, effect, 2.0)

    # After the saving: worktree and branch are still there.
    repo("update-ref", f"refs/heads/{made.branch}", work)
    shutil.copytree(entry, admin)
    shutil.copytree(copy, made.path, symlinks=True)
    assert first == await start_over(repo.hands._locks, effect, 3.0)

    # In the middle of the removal: some files are gone.
    repo("update-ref", f"refs/heads/{made.branch}", work)
    shutil.copytree(entry, admin)
    shutil.copytree(copy, made.path, symlinks=True)
    note = admin / "pitboss.json"
    note.write_text(note.read_text().replace('"leaving":false', '"leaving":true'))
    (folder(made) / "done").unlink()
    assert first == await start_over(repo.hands._locks, effect, 4.0)

    # After the removal: only the branch is still there.
    repo("update-ref", f"refs/heads/{made.branch}", work)
    assert first == await start_over(repo.hands._locks, effect, 5.0)

    again = await repo.prepare(effect)
    assert untouched(repo, again)
    assert ([REF], first) == (refs(repo), again.set_aside)
    assert reachable(repo, work)


@pytest.mark.parametrize("step", ["folder", "registered", "half checked out"])
async def test_killed_while_the_new_one_was_made_nothing_of_that_is_set_aside(repo: Repository, step: str) -> None:
    made, _ = await worked(repo)
    effect = fresh(repo, made)
    again = await repo.prepare(effect)
    admin = repo.top / ".git" / "worktrees" / "a"
    match step:
        case "half checked out":
            note = admin / "pitboss.json"
            note.write_text(note.read_text().replace('"ready":true', '"ready":false'))
            (admin / "index").unlink()
            (folder(again) / "README").unlink()
        case "registered":
            repo("worktree", "remove", again.path)
            repo("worktree", "add", "--quiet", "--no-checkout", again.path, again.branch)
        case _:
            repo("worktree", "remove", again.path)
            folder(again).mkdir()
    assert again == await repo.prepare(effect)
    assert untouched(repo, again)
    assert [REF] == refs(repo)


async def test_a_branch_that_is_checked_out_elsewhere_is_refused_before_anything_is_done(
    repo: Repository, tmp_path: Path
) -> None:
    made, work = await worked(repo)
    git(folder(made), "switch", "--quiet", "--detach")
    repo("worktree", "add", "--quiet", str(tmp_path / "mine"), made.branch)
    before = snapshot(folder(made))
    said = await repo.refuse(fresh(repo, made))
    assert f"It cannot begin again from the start: Branch {made.branch} is already checked out in" in said
    assert (before, work) == (snapshot(folder(made)), repo("rev-parse", made.branch))
    assert [] == refs(repo)


async def test_a_base_that_is_gone_is_refused_before_anything_is_done(repo: Repository) -> None:
    made, work = await worked(repo)
    lost = replace(made, base="1" * 40)
    said = await repo.refuse(fresh(repo, lost))
    assert f"the commit 111111111111, where branch {made.branch} began, is not there any more" in said
    assert work == repo("rev-parse", made.branch)
    assert (folder(made) / "draft").exists()


@pytest.mark.parametrize("committed", [True, False])
async def test_what_cannot_be_saved_stays_where_it_is(repo: Repository, committed: bool) -> None:
    made, work = await worked(repo)
    repo("init", "--quiet", str(folder(made) / "inner"))
    write(folder(made), {"inner/file": "precious\n"})
    if committed:
        git(folder(made) / "inner", "add", "--all")
        git(folder(made) / "inner", "commit", "--quiet", "-m", "inner")
    assert "It contains the repository inner" in await repo.refuse(fresh(repo, made))
    assert work == repo("rev-parse", made.branch)
    assert (folder(made) / "inner" / "file").exists()


async def test_a_worktree_of_the_operators_in_its_place_is_left_alone(repo: Repository) -> None:
    made, work = await worked(repo)
    report = await repo.tidy(made)
    repo("worktree", "add", "--quiet", made.path, made.branch)
    assert "is a worktree, but not ours" in await repo.refuse(fresh(repo, made, report))
    assert work == git(folder(made), "rev-parse", "HEAD")


async def test_a_folder_deleted_by_hand_keeps_its_commits_and_what_was_staged(repo: Repository) -> None:
    made, work = await worked(repo)
    shutil.rmtree(made.path)
    again = await repo.prepare(fresh(repo, made))
    assert untouched(repo, again)
    assert reachable(repo, work)
    assert "staged" == repo("show", f"{REF}:README")


async def test_if_none_can_be_made_afterwards_it_says_where_the_old_work_is(repo: Repository) -> None:
    write(repo.top, {"packages/api/main": "main\n"})
    made, work = await worked(repo)
    effect = replace(fresh(repo, made), directory=str(repo.top / "packages" / "api"))
    assert f"What it had done is kept as {REF}." in await repo.refuse(effect)
    assert reachable(repo, work)


async def test_a_commit_that_comes_in_the_last_moment_keeps_its_branch(
    repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, work = await worked(repo)
    tree = repo("rev-parse", "HEAD^{tree}")
    late = repo("commit-tree", tree, "-p", work, "-m", "in the last moment")
    real = shutil.which("git")
    shim = tmp_path / "bin" / "git"
    write(shim.parent, {"git": f'#!/bin/sh\ncase "$*" in *"begun again"*)\n"{real}" -C "{repo.top}" update-ref '})
    with shim.open("a") as script:
        script.write(f'refs/heads/{made.branch} {late} ;;\nesac\nexec "{real}" "$@"\n')
    shim.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{shim.parent}:/usr/bin:/bin")
        assert f"Branch {made.branch} could not be put back to" in await repo.refuse(fresh(repo, made))
    assert late == repo("rev-parse", made.branch)

    assert untouched(repo, await repo.prepare(fresh(repo, made)))
    assert reachable(repo, late)
    assert [REF, f"{REF}.2"] == refs(repo)
