"""A worktree that vanished is made again: from its branch, and with what was set aside of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

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


def state(made: WorktreePrepared) -> tuple[object, ...]:
    """All that an agent can see of how its worktree stands."""
    top = folder(made)
    asked = (("status", "--porcelain", "-uall"), ("diff", "--cached"), ("rev-parse", "HEAD"), ("symbolic-ref", "HEAD"))
    return snapshot(top), *(git(top, *words) for words in asked)


async def drafted(repo: Repository, *, branch: str | None = None) -> WorktreePrepared:
    """A first attempt that has committed, staged and left undone."""
    made = await repo.worktree(branch=branch)
    write(folder(made), {"done": "done\n"})
    commit(made)
    write(folder(made), {"README": "staged\n", "born": "staged\n"})
    git(folder(made), "add", "--all")
    write(folder(made), {"README": "later\n", "draft": "draft\n"})
    (folder(made) / "src/app.py").unlink()
    return made


async def removed(repo: Repository, made: WorktreePrepared) -> WorktreeTidied:
    report = await repo.tidy(made)
    assert report.removed, report.message
    return report


@pytest.mark.parametrize("branch", [None, "mine"])
async def test_what_was_set_aside_is_uncommitted_again_on_its_own_branch(repo: Repository, branch: str | None) -> None:
    made = await drafted(repo, branch=branch)
    before = state(made)
    report = await removed(repo, made)
    repo.commit("the operator goes on")

    again = await repo.prepare(repo.again(made, report))

    assert before == state(again)
    assert (report.set_aside, None, "") == (again.brought_back, again.set_aside, again.message)
    assert REF == repo("for-each-ref", "--format=%(refname)", "refs/pitboss"), "the ref stays"


async def test_the_base_of_its_branch_stays_where_the_first_attempt_began(repo: Repository) -> None:
    made = await drafted(repo)
    again = await repo.prepare(repo.again(made, await removed(repo, made)))
    assert (made.base, made.created_branch) == (again.base, again.created_branch)


async def test_what_nobody_wrote_down_that_it_was_set_aside_is_brought_back_too(repo: Repository) -> None:
    """As after a `prune` that had to keep the run, or was killed."""
    made = await drafted(repo)
    before = state(made)
    await removed(repo, made)

    effect = repo.again(made)
    again = await repo.prepare(effect)

    assert before == state(again)
    assert (None, None) == (again.brought_back, again.set_aside)
    assert f"it had been put away; what was set aside then as {REF} is uncommitted in it again" == again.message
    assert again == await repo.prepare(effect)
    assert REF == repo("for-each-ref", "--format=%(refname)", "refs/pitboss")


async def test_asking_twice_brings_it_back_once(repo: Repository) -> None:
    made = await drafted(repo)
    effect = repo.again(made, await removed(repo, made))
    first = await repo.prepare(effect)
    write(folder(first), {"draft": "the agent went on\n"})
    assert first == await repo.prepare(effect)
    assert "the agent went on\n" == (folder(first) / "draft").read_text()
    later = await repo.prepare(replace(effect, attempt=3, earlier=None))
    assert (None, first.base) == (later.brought_back, later.base), "it lies there, but not for this attempt"


async def test_killed_after_the_registration_it_is_brought_back_all_the_same(repo: Repository) -> None:
    made = await drafted(repo)
    before = state(made)
    effect = repo.again(made, await removed(repo, made))
    repo("worktree", "add", "--quiet", "--no-checkout", made.path, made.branch)
    again = await repo.prepare(effect)
    assert before == state(again)
    assert (made.base, True) == (again.base, again.created_branch)


@pytest.mark.parametrize("index", ["none", "set aside", "parent"])
async def test_killed_while_the_files_were_written_it_is_finished(repo: Repository, index: str) -> None:
    made = await drafted(repo)
    before = state(made)
    report = await removed(repo, made)
    effect = repo.again(made, report)
    again = await repo.prepare(effect)
    admin = repo.top / ".git" / "worktrees" / "a"
    note = admin / "pitboss.json"
    note.write_text(note.read_text().replace('"ready":true', '"ready":false'))
    assert report.set_aside is not None
    match index:
        case "none":
            (admin / "index").unlink()
        case "set aside":
            git(folder(again), "read-tree", report.set_aside.commit)
        case _:
            git(folder(again), "read-tree", "HEAD")
    (admin / "index.lock").touch()
    write(folder(again), {"draft": "dra", "README": "lat"})
    (folder(again) / "done").unlink()
    assert again == await repo.prepare(effect)
    assert before == state(again)


async def test_a_branch_deleted_by_hand_comes_back_where_the_worktree_stood(repo: Repository) -> None:
    made = await drafted(repo)
    before, tip = state(made), git(folder(made), "rev-parse", "HEAD")
    report = await removed(repo, made)
    repo("branch", "-D", made.branch)
    repo.commit("the operator goes on")

    again = await repo.prepare(repo.again(made, report))

    assert (before, tip) == (state(again), repo("rev-parse", made.branch))
    assert (report.set_aside, made.base) == (again.brought_back, again.base)


async def test_on_a_branch_that_has_moved_on_nothing_is_overwritten(repo: Repository, tmp_path: Path) -> None:
    made = await drafted(repo)
    report = await removed(repo, made)
    repo("worktree", "add", "--quiet", str(tmp_path / "mine"), made.branch)
    write(tmp_path / "mine", {"draft": "the operator's\n"})
    git(tmp_path / "mine", "add", "--all")
    git(tmp_path / "mine", "commit", "--quiet", "-m", "by hand")
    tip = git(tmp_path / "mine", "rev-parse", "HEAD")
    repo("worktree", "remove", str(tmp_path / "mine"))

    effect = repo.again(made, report)
    again = await repo.prepare(effect)

    assert (tip, "") == (git(folder(again), "rev-parse", "HEAD"), git(folder(again), "status", "--porcelain"))
    assert (None, made.base) == (again.brought_back, again.base)
    assert f"what was set aside as {REF} could not be laid over its new worktree: it was saved on" in again.message
    assert f"branch {made.branch} is at {tip[:12]} now" in again.message
    assert again == await repo.prepare(effect), "asked twice, it says the same"


async def test_a_state_saved_on_a_detached_head_is_not_laid_over_the_branch(repo: Repository) -> None:
    made = await repo.worktree()
    git(folder(made), "switch", "--quiet", "--detach")
    commit(made)
    again = await repo.prepare(repo.again(made, await removed(repo, made)))
    assert made.base == git(folder(again), "rev-parse", "HEAD")
    assert "could not be laid over" in again.message


@pytest.mark.parametrize("branch_too", [False, True])
async def test_a_ref_that_is_gone_is_said(repo: Repository, branch_too: bool) -> None:
    made = await drafted(repo)
    tip = git(folder(made), "rev-parse", "HEAD")
    report = await removed(repo, made)
    repo("update-ref", "-d", REF)
    if branch_too:
        repo("branch", "-D", made.branch)
    again = await repo.prepare(repo.again(made, report))
    assert f"what was set aside as {REF} could not be laid over its new worktree: the ref is gone" == again.message
    assert (repo("rev-parse", "HEAD") if branch_too else tip) == git(folder(again), "rev-parse", "HEAD")
    assert "" == git(folder(again), "status", "--porcelain")


async def test_a_branch_that_went_with_its_worktree_is_made_anew_from_the_checkout(repo: Repository) -> None:
    made = await repo.worktree()
    report = await removed(repo, made)
    assert report.branch_deleted
    head = repo.commit("the operator goes on")
    again = await repo.prepare(repo.again(made, report))
    assert (head, True) == (again.base, again.created_branch)


async def test_a_second_attempt_that_does_nothing_never_deletes_what_the_first_committed(repo: Repository) -> None:
    """Killed between the registration and our note, the branch's tip was once taken for its base."""
    made = await repo.worktree()
    work = commit(made)
    report = await removed(repo, made)
    repo("worktree", "add", "--quiet", "--no-checkout", made.path, made.branch)
    again = await repo.prepare(repo.again(made, report))
    assert not (await repo.tidy(again, attempt=2)).branch_deleted
    assert work == repo("rev-parse", made.branch)


async def test_a_checkout_that_fails_leaves_an_earlier_attempts_commits(repo: Repository) -> None:
    made = await repo.worktree()
    write(folder(made), {".gitattributes": "*.big filter=broken\n", "x.big": "big\n"})
    work = commit(made)
    report = await removed(repo, made)
    repo("config", "filter.broken.smudge", "false")
    repo("config", "filter.broken.required", "true")
    assert "could not be checked out" in await repo.refuse(repo.again(made, report))
    assert (work, set()) == (repo("rev-parse", made.branch), repo.entries())


@pytest.mark.parametrize("pruned", [False, True])
async def test_a_folder_deleted_by_hand_is_made_again_from_its_branch(repo: Repository, pruned: bool) -> None:
    made = await repo.worktree()
    work = commit(made)
    shutil.rmtree(made.path)
    if pruned:
        repo("worktree", "prune")
    again = await repo.prepare(repo.again(made))
    assert (work, made.base) == (git(folder(again), "rev-parse", "HEAD"), again.base)
    assert (None, "") == (again.set_aside, again.message)


async def test_a_file_in_its_place_is_named_for_what_it_is(repo: Repository) -> None:
    made = await repo.worktree()
    shutil.rmtree(made.path)
    write(Path(made.path).parent, {Path(made.path).name: "mine\n"})
    assert f"{made.path} is not a folder any more" in await repo.refuse(repo.again(made))
    assert {"a"} == set(snapshot(Path(made.path).parent))


async def test_that_its_branch_was_deleted_too_is_not_passed_over(repo: Repository) -> None:
    made = await repo.worktree()
    commit(made)
    shutil.rmtree(made.path)
    repo("worktree", "prune")
    repo("branch", "-D", made.branch)

    again = await repo.prepare(repo.again(made))

    assert made.base == git(folder(again), "rev-parse", "HEAD")
    assert again.message.startswith(f"its branch was gone and begins at {made.base[:12]} again; ")


async def test_what_was_staged_in_a_folder_deleted_by_hand_is_set_aside_once(repo: Repository) -> None:
    made = await repo.worktree()
    write(folder(made), {"README": "staged\n"})
    git(folder(made), "add", "README")
    shutil.rmtree(made.path)
    shutil.copytree(repo.top / ".git" / "worktrees" / "a", repo.top.parent / "entry")

    again = await repo.prepare(repo.again(made))

    assert again.set_aside is not None
    assert "staged" == repo("show", f"{again.set_aside.ref}:README")
    assert f"its folder had vanished; what git still knew of it is kept as {REF}" == again.message
    assert "" == git(folder(again), "status", "--porcelain")

    # As after a kill between the saving and the removal, and two attempts later.
    repo("worktree", "remove", again.path)
    shutil.copytree(repo.top.parent / "entry", repo.top / ".git" / "worktrees" / "a")
    third = await repo.prepare(repo.again(made, attempt=4))
    assert (again.set_aside, again.message) == (third.set_aside, third.message)
    assert REF == repo("for-each-ref", "--format=%(refname)", "refs/pitboss")


async def test_commits_on_no_branch_in_a_folder_deleted_by_hand_are_set_aside(repo: Repository) -> None:
    made = await repo.worktree()
    git(folder(made), "switch", "--quiet", "--detach")
    work = commit(made)
    shutil.rmtree(made.path)
    again = await repo.prepare(repo.again(made))
    assert work == repo("rev-parse", f"{REF}^")
    assert made.base == git(folder(again), "rev-parse", "HEAD")


async def test_a_sparse_checkout_hides_nothing_of_what_is_brought_back(repo: Repository) -> None:
    repo("sparse-checkout", "set", "src/lib")
    made = await repo.worktree()
    write(folder(made), {"outside/draft": "draft\n"})
    again = await repo.prepare(repo.again(made, await removed(repo, made)))
    assert "draft\n" == (folder(again) / "outside" / "draft").read_text()


async def test_a_folder_that_is_not_there_after_the_checkout_leaves_nothing_behind(repo: Repository) -> None:
    repo("sparse-checkout", "set", "src/lib")
    write(repo.top, {"packages/api/main": "main\n"})
    repo("add", "--sparse", "--all")
    repo("commit", "--quiet", "-m", "a folder outside of the sparse checkout")
    assert "was not checked out" in await repo.refuse(repo.wants(directory=repo.top / "packages" / "api"))
    assert ({"main"}, set()) == (repo.branches(), repo.entries())
