"""Worktrees are made: at the right place, on the right branch, once, and with nothing left behind if not."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest

from pitboss.drivers.git import GitWorktrees
from pitboss.model.signals import Signal, WorktreePrepared, WorktreeRefused
from support.children import until
from support.git import Repository, folder, git, new_repository, snapshot, write


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    return new_repository(tmp_path, monkeypatch)


async def test_a_worktree_gets_a_branch_of_its_own_at_the_checkouts_head(repo: Repository) -> None:
    made = await repo.worktree("a")
    assert ("pitboss-a-run", repo("rev-parse", "HEAD"), True) == (made.branch, made.base, made.created_branch)
    assert str(repo.pit / "a") == made.path == made.cwd
    assert snapshot(repo.top / "src") == snapshot(folder(made) / "src")
    assert git(folder(made), "status", "--porcelain") == ""


async def test_a_missing_branch_is_created_and_an_existing_one_reused(repo: Repository) -> None:
    first = repo("rev-parse", "HEAD")
    repo("branch", "old")
    head = repo.commit("second")
    new, old = await repo.worktree("n", branch="team/new"), await repo.worktree("o", branch="old")
    assert (head, True, "team/new") == (new.base, new.created_branch, new.branch)
    assert (first, False, "old") == (old.base, old.created_branch, old.branch)
    assert first == git(folder(old), "rev-parse", "HEAD")


async def test_a_branch_is_reused_although_a_tag_has_its_name(repo: Repository) -> None:
    first = repo("rev-parse", "HEAD")
    repo("branch", "v1")
    repo.commit("second")
    repo("tag", "v1")
    made = await repo.worktree("a", branch="v1")
    assert (first, "refs/heads/v1") == (made.base, git(folder(made), "symbolic-ref", "HEAD"))
    assert first == git(folder(made), "rev-parse", "HEAD")


async def test_an_agent_works_in_the_same_folder_of_the_repository(repo: Repository) -> None:
    made = await repo.prepare(repo.wants(directory=repo.top / "src" / "lib"))
    assert str(repo.pit / "a" / "src" / "lib") == made.cwd
    assert (Path(made.cwd) / "deep.txt").read_text() == "deep\n"


async def test_a_folder_that_was_never_committed_is_refused_by_name(repo: Repository) -> None:
    (repo.top / "fresh").mkdir()
    said = await repo.refuse(repo.wants(directory=repo.top / "fresh"))
    assert "The folder fresh is not in commit" in said
    assert {"main"} == repo.branches()
    assert not repo.entries()


async def test_a_worktree_starts_from_the_linked_or_detached_checkout_it_was_asked_from(repo: Repository) -> None:
    first = repo("rev-parse", "HEAD")
    repo.commit("second")
    linked = repo.top.parent / "linked"
    repo("worktree", "add", "--quiet", "--detach", str(linked), first)
    made = await repo.prepare(repo.wants(directory=linked))
    assert first == made.base
    assert (repo.top / ".git" / "worktrees" / "a").is_dir()


@pytest.mark.parametrize("name", ["with space", "ünïcödé-日本", "-dash", "quote'\"$x", "per%cent"])
async def test_paths_may_have_any_characters(repo: Repository, name: str) -> None:
    top = repo.top.parent / name
    odd = Repository(top, repo.top.parent / f"{name} pit")
    made = await odd.prepare(msgspec.structs.replace(odd.wants(), path=str(odd.pit / name)))
    assert snapshot(top / "src") == snapshot(folder(made) / "src")
    assert (await odd.tidy(made)).removed


async def test_a_sparse_checkout_stays_sparse(repo: Repository) -> None:
    repo("sparse-checkout", "set", "src/lib")
    made = await repo.worktree()
    assert {"README", "src/app.py", "src/lib/deep.txt"} == set(snapshot(folder(made)))
    repo("sparse-checkout", "set", "--no-cone", "/README")
    made = await repo.worktree("b")
    assert {"README"} == set(snapshot(folder(made)))


async def test_asking_twice_gives_the_same_answer_and_touches_nothing(repo: Repository) -> None:
    effect = repo.wants(branch="work")
    first = await repo.prepare(effect)
    write(folder(first), {"README": "changed by the agent\n", "new": "new\n"})
    repo.commit("HEAD moves on")
    assert first == await repo.prepare(effect)
    assert (folder(first) / "README").read_text() == "changed by the agent\n"
    assert (folder(first) / "new").exists()


async def test_an_agent_that_switched_branches_gets_its_worktree_back(repo: Repository) -> None:
    effect = repo.wants()
    first = await repo.prepare(effect)
    git(folder(first), "switch", "--quiet", "--detach")
    assert first == await repo.prepare(effect)


async def test_a_branch_that_is_checked_out_elsewhere_is_refused_with_the_place(repo: Repository) -> None:
    await repo.worktree("a", branch="shared")
    assert f"Branch main is already checked out in {repo.top}" in await repo.refuse(repo.wants("b", branch="main"))
    assert f"checked out in {repo.pit / 'a'}" in await repo.refuse(repo.wants("b", branch="shared"))
    assert {"a"} == repo.entries()
    assert not (repo.pit / "b").exists()


async def test_a_path_that_is_taken_is_refused_and_leaves_no_branch(repo: Repository) -> None:
    write(repo.pit, {"a/precious": "mine\n"})
    assert "already exists and is no worktree" in await repo.refuse(repo.wants("a", branch="new"))
    assert {"main"} == repo.branches()
    assert (repo.pit / "a" / "precious").read_text() == "mine\n"


async def test_an_operators_worktree_at_the_path_is_never_taken_for_ours(repo: Repository) -> None:
    repo("worktree", "add", "--quiet", "-b", "pitboss-a-run", str(repo.pit / "a"))
    assert "is already a worktree, but not ours" in await repo.refuse(repo.wants("a"))
    assert (repo.pit / "a" / "README").exists()


@pytest.mark.parametrize("name", ["-x", "@{-1}", "a..b", "a b", "HEAD", "x.lock", "/x", "x/"])
async def test_a_name_that_is_no_branch_is_refused(repo: Repository, name: str) -> None:
    assert "cannot be the name of a branch" in await repo.refuse(repo.wants(branch=name))


async def test_a_branch_below_another_branch_is_refused_with_gits_reason(repo: Repository) -> None:
    repo("branch", "team")
    said = await repo.refuse(repo.wants(branch="team/x"))
    assert "Branch team/x cannot be created" in said
    assert "refs/heads/team" in said


async def test_a_checkout_that_fails_leaves_nothing_behind(repo: Repository) -> None:
    write(repo.top, {".gitattributes": "*.big filter=broken\n", "x.big": "big\n"})
    repo.commit("needs a filter")
    repo("config", "filter.broken.smudge", "false")
    repo("config", "filter.broken.required", "true")
    assert "could not be checked out" in await repo.refuse(repo.wants())
    assert {"main"} == repo.branches()
    assert not repo.entries()
    assert not (repo.pit / "a").exists()


async def test_the_operators_checkout_is_unchanged_byte_for_byte(repo: Repository) -> None:
    write(repo.top, {"README": "half done\n", "note": "untracked\n"})
    repo("stash", "--quiet")
    write(repo.top, {"README": "again half done\n"})
    repo("add", "README")
    before, files = repo.operators_state(), snapshot(repo.top / "src")
    made = await repo.worktree()
    write(folder(made), {"more": "work\n"})
    assert (await repo.tidy(made)).set_aside is not None
    assert before == repo.operators_state()
    assert files == snapshot(repo.top / "src")


HOOKS = ("post-checkout", "pre-commit", "commit-msg", "reference-transaction", "post-index-change", "post-commit")


async def test_no_hook_of_the_repository_runs(repo: Repository, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for place in (repo.top / ".git" / "hooks", repo.top / "hooks"):
        place.mkdir(exist_ok=True)
        for name in HOOKS:
            (place / name).write_text(f"#!/bin/sh\necho {name} >> '{ran}'\n")
            (place / name).chmod(0o755)
    made = await repo.worktree()
    write(folder(made), {"more": "work\n"})
    await repo.tidy(made)
    repo("config", "core.hooksPath", "hooks")
    assert (await repo.tidy(await repo.worktree("b"))).branch_deleted
    assert not ran.exists()
    repo("branch", "control")
    assert ran.read_text().startswith("reference-transaction")


async def test_variables_that_point_git_elsewhere_are_ignored(
    repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.bare")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    made = await repo.worktree()
    monkeypatch.undo()
    assert (folder(made) / "README").exists()


async def test_every_git_child_carries_the_cookie(repo: Repository, tmp_path: Path) -> None:
    write(repo.top, {".gitattributes": "*.x filter=tell\n", "a.x": "x\n"})
    repo.commit("a filter that tells")
    repo("config", "filter.tell.smudge", f"echo $PITBOSS_COOKIE $GIT_TERMINAL_PROMPT $LC_ALL > '{tmp_path}/told'; cat")
    await repo.worktree()
    assert "run/a/1 0 C\n" == (tmp_path / "told").read_text()


async def test_a_missing_git_is_said_in_one_sentence(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repo.pit))
    assert "git was not found: install git and put it on PATH." == await repo.refuse(repo.wants())


async def test_submodule_folders_stay_empty_and_removal_works(repo: Repository, tmp_path: Path) -> None:
    part = Repository(tmp_path / "part", tmp_path / "unused")
    repo("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(part.top), "part")
    repo.commit("a submodule")
    made = await repo.worktree()
    assert [] == list((folder(made) / "part").iterdir())
    report = await repo.tidy(made)
    assert (True, None, True) == (report.removed, report.set_aside, report.branch_deleted)


async def test_twenty_prepares_at_once_all_succeed(repo: Repository) -> None:
    made = await asyncio.gather(*(repo.worktree(f"t{n}") for n in range(20)))
    assert 20 == len({one.path for one in made}) == len(repo.entries())
    assert all(git(folder(one), "status", "--porcelain") == "" for one in made)
    reports = await asyncio.gather(*(repo.tidy(one) for one in made))
    assert [(True, True, "")] * 20 == [(one.removed, one.branch_deleted, one.message) for one in reports]
    assert ({"main"}, set()) == (repo.branches(), repo.entries())


async def test_one_branch_wanted_by_ten_at_once_goes_to_one(repo: Repository) -> None:
    signals: list[Signal] = []
    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(repo.hands.prepare(repo.wants(f"t{number}", branch="one"), signals.append))
    kinds = [type(one) for one in signals]
    assert (1, 9) == (kinds.count(WorktreePrepared), kinds.count(WorktreeRefused))
    refused = [one.message for one in signals if isinstance(one, WorktreeRefused)]
    assert all("Branch one is already checked out in" in message for message in refused)
    assert 1 == len(repo.entries())


ANOTHER = """
import asyncio, sys
from pathlib import Path
from pitboss.drivers.git import GitWorktrees
from pitboss.model.effects import PrepareWorktree
from pitboss.model.run import ActorId

async def main(top: str, pit: str, who: str, count: str) -> None:
    hands, signals = GitWorktrees(lambda: 0.0), []
    await asyncio.gather(*(hands.prepare(PrepareWorktree(actor=ActorId(f"{who}{n}"), attempt=1, directory=top,
        path=f"{pit}/{who}{n}", name=f"pitboss-{who}{n}", branch=None, ref=f"refs/pitboss/{who}{n}", cookie="c"),
        signals.append)
        for n in range(int(count))))
    for signal in signals:
        print(type(signal).__name__, getattr(signal, "message", ""))

asyncio.run(main(*sys.argv[1:]))
"""


def dispatcher(repo: Repository, who: str, count: int) -> subprocess.Popen[str]:
    """Another process that prepares worktrees in the same repository."""
    words = [sys.executable, "-c", ANOTHER, str(repo.top), str(repo.pit), who, str(count)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.slow
async def test_two_dispatchers_at_once_do_not_get_in_each_others_way(repo: Repository) -> None:
    others = [dispatcher(repo, who, 10) for who in "xy"]
    said = [(await asyncio.to_thread(other.communicate))[0] for other in others]
    assert ["WorktreePrepared \n" * 10] * 2 == said
    assert 20 == len(repo.entries())


async def test_git_commands_of_others_at_the_same_time_do_no_harm(repo: Repository) -> None:
    """An operator or agent takes none of our locks."""

    async def stranger(number: int) -> None:
        path = str(repo.pit / f"s{number}")
        for words in (("add", "--quiet", "--detach", path), ("prune",), ("remove", "--force", path)):
            child = await asyncio.create_subprocess_exec(
                "git", "-C", str(repo.top), "worktree", *words, stderr=asyncio.subprocess.DEVNULL
            )
            await child.wait()

    async def ours(number: int) -> None:
        assert (await repo.tidy(await repo.worktree(f"t{number}"))).removed

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(stranger(number))
            group.create_task(ours(number))


async def test_a_worktree_that_was_only_registered_is_completed(repo: Repository) -> None:
    """As after a crash between registration and checkout."""
    repo("worktree", "add", "--quiet", "--no-checkout", "-b", "pitboss-a-run", str(repo.pit / "a"))
    made = await repo.worktree()
    assert (True, repo("rev-parse", "HEAD")) == (made.created_branch, made.base)
    assert "" == git(folder(made), "status", "--porcelain")


async def test_a_checkout_that_was_cut_short_is_completed(repo: Repository) -> None:
    first = await repo.worktree()
    admin = repo.top / ".git" / "worktrees" / "a"
    note = admin / "pitboss.json"
    note.write_text(note.read_text().replace('"ready":true', '"ready":false'))
    (admin / "index").rename(admin / "index.lock")
    (folder(first) / "README").write_text("hel")
    (folder(first) / "src" / "app.py").unlink()
    assert first.base == (await repo.worktree()).base
    assert snapshot(repo.top / "src") == snapshot(folder(first) / "src")
    assert "" == git(folder(first), "status", "--porcelain")


async def test_an_entry_git_died_on_is_made_anew(repo: Repository) -> None:
    await repo.worktree()
    admin = repo.top / ".git" / "worktrees" / "a"
    for name in ("HEAD", "index", "pitboss.json", "commondir"):
        (admin / name).unlink()
    (admin / "locked").write_text("initializing")
    for file in sorted((repo.pit / "a").rglob("*"), reverse=True):
        if file.name != ".git":
            file.rmdir() if file.is_dir() else file.unlink()
    made = await repo.worktree()
    assert "" == git(folder(made), "status", "--porcelain")
    assert {"a"} == repo.entries()


async def test_a_worktree_whose_folder_was_deleted_by_hand_is_made_anew(repo: Repository) -> None:
    made = await repo.worktree()
    await asyncio.to_thread(subprocess.run, ["rm", "-r", made.path], check=True)
    again = await repo.worktree()
    assert made.path == again.path
    assert "" == git(folder(again), "status", "--porcelain")


@pytest.mark.slow
@pytest.mark.parametrize("after", ["branch", "entry", "note"])
async def test_a_dispatcher_killed_on_the_way_is_followed_by_one_that_finishes(repo: Repository, after: str) -> None:
    seen = {
        "branch": repo.top / ".git" / "refs" / "heads" / "pitboss-x0",
        "entry": repo.top / ".git" / "worktrees" / "x0",
        "note": repo.top / ".git" / "worktrees" / "x0" / "pitboss.json",
    }[after]
    other = await asyncio.to_thread(dispatcher, repo, "x", 1)
    await until(lambda: seen.exists() or other.poll() is not None)
    os.kill(other.pid, signal.SIGKILL)
    await asyncio.to_thread(other.communicate)
    signals: list[Signal] = []
    await repo.hands.prepare(msgspec.structs.replace(repo.wants("x0"), name="pitboss-x0"), signals.append)
    (made,) = signals
    assert isinstance(made, WorktreePrepared), made
    assert (True, "") == (made.created_branch, git(folder(made), "status", "--porcelain"))


async def test_a_prepare_waits_for_the_lock_of_another_process(repo: Repository) -> None:
    with (repo.top / ".git" / "pitboss.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        task = asyncio.create_task(repo.worktree())
        done, _ = await asyncio.wait({task}, timeout=0.3)
        assert not done
        assert not repo.entries()
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert "pitboss-a-run" == (await task).branch


async def test_a_cancelled_prepare_lets_go_of_everything(repo: Repository) -> None:
    with (repo.top / ".git" / "pitboss.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        task = asyncio.create_task(repo.worktree())
        await asyncio.wait({task}, timeout=0.1)
        task.cancel()
        assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
    assert "pitboss-a-run" == (await repo.worktree()).branch


async def test_a_cancelled_checkout_ends_its_git_and_is_completed_later(repo: Repository, tmp_path: Path) -> None:
    write(repo.top, {".gitattributes": "*.slow filter=slow\n", "x.slow": "slow\n"})
    repo.commit("a slow filter")
    started = tmp_path / "started"
    repo("config", "filter.slow.smudge", f"echo $$ > '{started}'; exec sleep 60")
    task = asyncio.create_task(repo.worktree())
    await until(lambda: started.exists() and bool(started.read_text()))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    filters = int(started.read_text())
    # Dead at once; it is its new parent's business when it is collected.
    await until(lambda: not psutil.pid_exists(filters) or psutil.Process(filters).status() == psutil.STATUS_ZOMBIE)
    repo("config", "filter.slow.smudge", "cat")
    made = await repo.worktree()
    assert "" == git(folder(made), "status", "--porcelain")


async def test_locks_may_lie_in_a_folder_of_ones_own(repo: Repository, tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    locks.mkdir()
    repo.hands = GitWorktrees(lambda: 0.0, locks_dir=locks)
    await repo.worktree()
    assert 1 == len(list(locks.iterdir()))
    assert not (repo.top / ".git" / "pitboss.lock").exists()
