"""A worktree that Pitboss 0.9 made is taken over exactly as it is, and only if it is what it is said to be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from pitboss.model.effects import PrepareWorktree
from pitboss.model.run import EarlierWork
from support.git import Repository, git, new_repository, snapshot

BRANCH = "pitboss-a-run"


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    return new_repository(tmp_path, monkeypatch)


def of_old(repo: Repository) -> Path:
    """Beside the repository, on a branch of its own with a commit, and with work that is not committed."""
    path = repo.top.with_name(f"repo-{BRANCH}")
    repo("worktree", "add", "--quiet", "-b", BRANCH, str(path), "HEAD")
    (path / "done.txt").write_text("done\n")
    git(path, "add", "--all")
    git(path, "commit", "--quiet", "-m", "work")
    (path / "draft.txt").write_text("draft\n")
    return path


def wanting(repo: Repository, path: Path, *, branch: str | None = None) -> PrepareWorktree:
    left = EarlierWork(cookie="run/a/1", base="", created_branch=False)
    plain = repo.wants("a", branch=branch)
    return replace(plain, attempt=2, cookie="run/a/2", path=str(path), adopt=True, earlier=left)


async def test_it_is_taken_over_with_all_that_is_in_it(repo: Repository) -> None:
    path = of_old(repo)
    before, state = snapshot(path), repo.operators_state()

    made = await repo.prepare(wanting(repo, path))

    assert (str(path), BRANCH, False) == (made.path, made.branch, made.created_branch)
    assert before == snapshot(path)
    assert state == repo.operators_state()


async def test_it_is_ours_from_then_on_and_asked_for_again_it_is_only_reported(repo: Repository) -> None:
    path = of_old(repo)
    first = await repo.prepare(wanting(repo, path))
    git(path, "commit", "--quiet", "--allow-empty", "-m", "more")
    again = await repo.prepare(replace(wanting(repo, path), adopt=False))
    assert first == again

    tidied = await repo.tidy(again)

    assert tidied.removed
    assert tidied.set_aside is not None
    assert "draft" == repo("show", f"{tidied.set_aside.ref}:draft.txt")
    assert BRANCH in repo.branches(), "where it began is not known, so it is kept"


async def test_without_the_journals_word_a_stranger_is_refused(repo: Repository) -> None:
    path = of_old(repo)
    message = await repo.refuse(replace(wanting(repo, path), adopt=False))
    assert "not ours for branch" in message


async def test_one_on_another_branch_is_refused_and_left_alone(repo: Repository) -> None:
    path = of_old(repo)
    git(path, "switch", "--quiet", "-c", "elsewhere")
    before = snapshot(path)
    assert f"is not on branch {BRANCH} any more" in await repo.refuse(wanting(repo, path))
    assert "is not on branch team/fix any more" in await repo.refuse(wanting(repo, path, branch="team/fix"))
    assert before == snapshot(path)


async def test_one_of_another_repository_is_refused_and_left_alone(repo: Repository, tmp_path: Path) -> None:
    other = Repository(tmp_path / "other", tmp_path / "pit")
    path = of_old(other)
    before = snapshot(path)
    assert "is no worktree of this repository" in await repo.refuse(wanting(repo, path))
    assert before == snapshot(path)


async def test_one_that_was_locked_or_lost_its_way_back_is_refused(repo: Repository) -> None:
    path = of_old(repo)
    repo("worktree", "lock", str(path))
    assert "is locked" in await repo.refuse(wanting(repo, path))
    repo("worktree", "unlock", str(path))
    (path / ".git").write_text(f"gitdir: {repo.top / '.git'}\n")
    assert "is damaged" in await repo.refuse(wanting(repo, path))
    assert "draft\n" == (path / "draft.txt").read_text()


async def test_one_that_was_deleted_is_made_anew_on_its_branch(repo: Repository) -> None:
    path = of_old(repo)
    tip = git(path, "rev-parse", "HEAD")
    git(path, "checkout", "--quiet", ".")
    for child in path.iterdir():
        if child.is_file():
            child.unlink()
    for folder in sorted((item for item in path.rglob("*")), reverse=True):
        folder.rmdir() if folder.is_dir() else folder.unlink()
    path.rmdir()

    made = await repo.prepare(wanting(repo, path))

    assert tip == git(Path(made.path), "rev-parse", "HEAD")


async def test_what_was_staged_in_one_that_was_deleted_is_set_aside_in_the_name_of_its_attempt(
    repo: Repository,
) -> None:
    path = of_old(repo)
    git(path, "add", "--all")
    shutil.rmtree(path)

    made = await repo.prepare(wanting(repo, path))

    assert made.set_aside is not None
    assert "draft" == repo("show", f"{made.set_aside.ref}:draft.txt")
    assert "Pitboss-Attempt: run/a/1" in repo("show", "--no-patch", made.set_aside.ref)
    assert "had vanished" in made.message
    assert BRANCH in repo.branches()


async def test_it_cannot_begin_again_from_the_start_and_is_left_alone(repo: Repository) -> None:
    path = of_old(repo)
    before, state = snapshot(path), repo.operators_state()
    tip = git(path, "rev-parse", "HEAD")

    message = await repo.refuse(replace(wanting(repo, path), fresh=True))

    assert "cannot begin again from the start: Pitboss 0.9 did not tell where its branch began" in message
    assert (before, state, tip) == (snapshot(path), repo.operators_state(), git(path, "rev-parse", "HEAD"))


async def test_one_that_was_deleted_is_finished_after_a_kill_and_the_branch_is_never_ours(repo: Repository) -> None:
    path = of_old(repo)
    tip = git(path, "rev-parse", "HEAD")
    shutil.rmtree(path)
    repo("worktree", "prune")
    repo("worktree", "add", "--quiet", "--no-checkout", str(path), BRANCH)  # as far as a killed attempt of ours got

    made = await repo.prepare(wanting(repo, path))

    assert (tip, False) == (made.base, made.created_branch)
    assert "done\n" == (path / "done.txt").read_text()
    assert (await repo.tidy(made)).removed
    assert BRANCH in repo.branches(), "what 0.9 had committed to it is there and nowhere else"


async def test_the_same_where_nothing_but_the_branch_told_that_there_was_an_attempt(repo: Repository) -> None:
    path = of_old(repo)
    repo("worktree", "remove", "--force", str(path))
    plain = repo.wants("a")
    repo("worktree", "add", "--quiet", "--no-checkout", plain.path, BRANCH)

    made = await repo.prepare(plain)

    assert not made.created_branch
    assert (await repo.tidy(made)).removed
    assert BRANCH in repo.branches()


async def test_one_that_was_deleted_with_nothing_on_its_branch_leaves_that_too(repo: Repository) -> None:
    path = repo.top.with_name(f"repo-{BRANCH}")
    repo("branch", BRANCH)
    made = await repo.prepare(wanting(repo, path))
    assert not made.created_branch
    assert (await repo.tidy(made)).removed
    assert BRANCH in repo.branches()
