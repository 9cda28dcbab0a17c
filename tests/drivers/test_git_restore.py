"""Set-aside work comes back as it was: what is put away and brought back is the same, to the last bit."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pitboss.drivers.git_command import GitFailed
from pitboss.drivers.git_restore import Change, Saved, find_saved, restore_branch, restore_worktree
from pitboss.errors import OperatorError
from pitboss.model.signals import WorktreePrepared
from support.git import Repository, folder, git, new_repository, snapshot, write

REF = "refs/pitboss/run/a"


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    return new_repository(tmp_path, monkeypatch)


async def found(repo: Repository, actor: str = "a") -> list[Saved]:
    return await find_saved(str(repo.top), f"refs/pitboss/run/{actor}", f"run/{actor}")


async def put_away(repo: Repository, made: WorktreePrepared, *, attempt: int = 1) -> Saved:
    """Tidy a worktree, and find what that has set aside."""
    report = await repo.tidy(made, attempt=attempt)
    assert report.removed, report.message
    assert report.set_aside is not None
    last = (await found(repo, made.actor))[-1]
    assert report.set_aside.commit == last.commit
    return last


async def a_draft(repo: Repository, text: str = "draft\n") -> Saved:
    made = await repo.worktree()
    write(folder(made), {"draft": text})
    return await put_away(repo, made)


async def test_a_worktree_comes_back_with_modes_links_deletions_and_untracked_files(
    repo: Repository, tmp_path: Path
) -> None:
    made = await repo.worktree()
    top = folder(made)
    write(top, {"README": "changed\n", "new/deep/file": "new\n", "bytes\udcff": "odd\n", "a b\nc": "name\n"})
    (top / "src/app.py").chmod(0o755)
    (top / "src/lib/deep.txt").unlink()
    (top / "link").symlink_to("nowhere/at/all")
    files, status = snapshot(top), git(top, "status", "--porcelain", "-uall")
    head = git(top, "rev-parse", "HEAD")
    saved = await put_away(repo, made)

    back = await restore_worktree(str(repo.top), saved, str(tmp_path / "back"))

    assert tmp_path / "back" == back
    assert files == snapshot(back)
    assert status == git(back, "status", "--porcelain", "-uall")
    assert head == git(back, "rev-parse", "HEAD")
    assert "HEAD" == git(back, "rev-parse", "--abbrev-ref", "HEAD"), "no branch is taken"


async def test_it_stands_on_what_the_agent_had_committed(repo: Repository, tmp_path: Path) -> None:
    made = await repo.worktree()
    write(folder(made), {"done": "done\n"})
    git(folder(made), "add", "--all")
    git(folder(made), "commit", "--quiet", "-m", "work")
    write(folder(made), {"draft": "draft\n"})
    saved = await put_away(repo, made)
    back = await restore_worktree(str(repo.top), saved, str(tmp_path / "back"))
    assert repo("rev-parse", made.branch) == saved.parent == git(back, "rev-parse", "HEAD")
    assert "?? draft" == git(back, "status", "--porcelain")


async def test_what_was_staged_separately_is_staged_again(repo: Repository, tmp_path: Path) -> None:
    made = await repo.worktree()
    write(folder(made), {"README": "staged\n", "born": "staged\n"})
    git(folder(made), "add", "--all")
    write(folder(made), {"README": "later\n"})
    status, staged = (git(folder(made), *words) for words in (("status", "--porcelain"), ("diff", "--cached")))
    saved = await put_away(repo, made)
    assert saved.staged is not None
    back = await restore_worktree(str(repo.top), saved, str(tmp_path / "back"))
    assert (status, staged) == (git(back, "status", "--porcelain"), git(back, "diff", "--cached"))


async def test_a_commit_nobody_else_knew_is_not_taken_for_what_was_staged(repo: Repository, tmp_path: Path) -> None:
    made = await repo.worktree()
    git(folder(made), "commit", "--quiet", "--allow-empty", "-m", "What was staged")
    lost = git(folder(made), "rev-parse", "HEAD")
    git(folder(made), "reset", "--quiet", "--hard", "HEAD^")
    write(folder(made), {"draft": "draft\n"})
    saved = await put_away(repo, made)
    assert (None, (lost,)) == (saved.staged, saved.others)
    back = await restore_worktree(str(repo.top), saved, str(tmp_path / "back"))
    assert "?? draft" == git(back, "status", "--porcelain")


async def test_an_empty_folder_is_filled(repo: Repository, tmp_path: Path) -> None:
    saved = await a_draft(repo)
    (tmp_path / "back").mkdir()
    back = await restore_worktree(str(repo.top), saved, str(tmp_path / "back"))
    assert "draft\n" == (back / "draft").read_text()


async def test_a_sparse_checkout_hides_nothing_of_it(repo: Repository, tmp_path: Path) -> None:
    repo("sparse-checkout", "set", "src/lib")
    made = await repo.worktree()
    write(folder(made), {"outside/draft": "draft\n"})
    back = await restore_worktree(str(repo.top), await put_away(repo, made), str(tmp_path / "back"))
    assert "draft\n" == (back / "outside" / "draft").read_text()


async def test_it_says_what_is_there(repo: Repository) -> None:
    write(repo.top, {".gitignore": "*.log\n"})
    repo.commit("ignore logs")
    made = await repo.worktree()
    write(folder(made), {"README": "changed\n", "draft": "draft\n", "noise.log": "noise\n"})
    (folder(made) / "src/app.py").unlink()
    saved = await put_away(repo, made)
    assert (REF, 1, 1_700_000_000.0) == (saved.ref, saved.ignored, saved.at)
    assert (Change("M", "README"), Change("A", "draft"), Change("D", "src/app.py")) == saved.changes


async def test_later_states_follow_earlier_ones_and_other_actors_are_left_out(repo: Repository) -> None:
    first = await a_draft(repo)
    made = await repo.worktree()
    write(folder(made), {"draft": "second\n"})
    second = await put_away(repo, made, attempt=2)
    other = await repo.worktree("a.3")
    write(folder(other), {"draft": "somebody else's\n"})
    await put_away(repo, other)
    assert [first, second] == await found(repo)
    assert [REF, f"{REF}.2"] == [first.ref, second.ref]


async def test_a_branch_is_put_at_the_commit(repo: Repository) -> None:
    saved = await a_draft(repo)
    await restore_branch(str(repo.top), saved, "rescue/draft")
    assert saved.commit == repo("rev-parse", "rescue/draft")
    assert "draft" == repo("show", "rescue/draft:draft")


async def test_the_operators_checkout_is_not_touched(repo: Repository, tmp_path: Path) -> None:
    saved = await a_draft(repo)
    write(repo.top, {"README": "the operator's own\n", "staged": "staged\n"})
    repo("add", "staged")
    before = repo.operators_state(), snapshot(repo.top / "src"), repo("status", "--porcelain"), repo(*REFS)
    await restore_worktree(str(repo.top), saved, str(tmp_path / "back"))
    assert before == (repo.operators_state(), snapshot(repo.top / "src"), repo("status", "--porcelain"), repo(*REFS))


REFS = ("for-each-ref", "--format=%(refname) %(objectname)")


async def test_no_hook_of_the_repository_runs(repo: Repository, tmp_path: Path) -> None:
    saved = await a_draft(repo)
    hook = repo.top / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    hook.chmod(0o755)
    await restore_worktree(str(repo.top), saved, str(tmp_path / "back"))
    assert not (tmp_path / "hooked").exists()


@pytest.mark.parametrize("kind", ["full", "file", "link"])
async def test_a_place_that_is_taken_is_refused_and_left_alone(repo: Repository, tmp_path: Path, kind: str) -> None:
    saved = await a_draft(repo)
    place = tmp_path / "back"
    match kind:
        case "full":
            write(place, {"mine": "mine\n"})
        case "file":
            place.write_text("mine\n")
        case _:
            (tmp_path / "elsewhere").mkdir()
            place.symlink_to(tmp_path / "elsewhere")
    before = os.lstat(place)
    with pytest.raises(OperatorError, match=r"back is (not empty|there already)"):
        await restore_worktree(str(repo.top), saved, str(place))
    assert before.st_ino == os.lstat(place).st_ino
    assert set() == repo.entries()


async def test_a_worktree_that_cannot_be_filled_leaves_nothing_behind(repo: Repository, tmp_path: Path) -> None:
    saved = (await a_draft(repo))._replace(commit="0" * 40)
    with pytest.raises(GitFailed, match="read-tree"):
        await restore_worktree(str(repo.top), saved, str(tmp_path / "back"))
    assert (False, set()) == ((tmp_path / "back").exists(), repo.entries())


async def test_a_branch_that_exists_is_refused(repo: Repository) -> None:
    saved = await a_draft(repo)
    before = repo("rev-parse", "main")
    with pytest.raises(OperatorError, match="there is a branch main"):
        await restore_branch(str(repo.top), saved, "main")
    assert before == repo("rev-parse", "main")


@pytest.mark.parametrize("name", ["-d", "a..b", "main/below"])
async def test_a_name_that_cannot_be_a_branch_is_refused(repo: Repository, name: str) -> None:
    saved = await a_draft(repo)
    with pytest.raises((OperatorError, GitFailed), match=r"cannot be"):
        await restore_branch(str(repo.top), saved, name)
    assert {"main"} == {branch for branch in repo.branches() if not branch.startswith("pitboss")}


async def test_a_repository_that_is_gone_is_told(repo: Repository) -> None:
    saved = await a_draft(repo)
    shutil.rmtree(repo.top / ".git")
    with pytest.raises(GitFailed, match="cannot be used as a repository"):
        await restore_branch(str(repo.top), saved, "rescue")
    shutil.rmtree(repo.top)
    with pytest.raises(GitFailed, match="is gone"):
        await found(repo)


async def test_nothing_set_aside_is_nothing_found(repo: Repository) -> None:
    assert [] == await found(repo)
