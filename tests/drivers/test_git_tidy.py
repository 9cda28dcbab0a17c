"""Worktrees are tidied: what only they hold is set aside first, and what cannot be saved is not removed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pitboss.model.run import SetAside
from pitboss.model.signals import WorktreePrepared, WorktreeTidied
from support.git import Repository, folder, git, new_repository, restore, snapshot, write


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    return new_repository(tmp_path, monkeypatch)


def saved(report: WorktreeTidied) -> SetAside:
    """What was set aside by a removal that went well."""
    assert report.removed, report.message
    assert report.set_aside is not None
    return report.set_aside


def commit(made: WorktreePrepared, message: str = "work") -> str:
    git(folder(made), "add", "--all")
    git(folder(made), "commit", "--quiet", "--allow-empty", "-m", message)
    return git(folder(made), "rev-parse", "HEAD")


async def test_a_worktree_to_keep_is_left_alone(repo: Repository) -> None:
    made = await repo.worktree()
    write(folder(made), {"new": "new\n"})
    report = await repo.tidy(made, remove=False)
    assert (False, None, False, "") == (report.removed, report.set_aside, report.branch_deleted, report.message)
    assert (folder(made) / "new").exists()


async def test_an_unused_worktree_goes_with_its_branch(repo: Repository) -> None:
    made = await repo.worktree()
    report = await repo.tidy(made)
    assert (True, None, True, "") == (report.removed, report.set_aside, report.branch_deleted, report.message)
    assert ({"main"}, set()) == (repo.branches(), repo.entries())
    assert not folder(made).exists()


async def test_a_branch_with_commits_stays(repo: Repository) -> None:
    made = await repo.worktree()
    write(folder(made), {"new": "new\n"})
    work = commit(made)
    report = await repo.tidy(made)
    assert (True, None, False) == (report.removed, report.set_aside, report.branch_deleted)
    assert work == repo("rev-parse", made.branch)


async def test_a_branch_of_the_operator_stays(repo: Repository) -> None:
    repo("branch", "theirs")
    report = await repo.tidy(await repo.worktree(branch="theirs"))
    assert (True, False) == (report.removed, report.branch_deleted)
    assert "theirs" in repo.branches()


async def test_everything_uncommitted_is_set_aside_exactly(repo: Repository, tmp_path: Path) -> None:
    write(
        repo.top,
        {"gone": "1\n", "old-name": "2\n" * 20, "tool": "#!/bin/sh\n", "to-link": "3\n", ".gitignore": "*.o\n"},
    )
    repo.commit("material")
    made = await repo.worktree()
    top = folder(made)
    write(
        top, {"README": "changed\n", "new/ünï cödé\n": "new\n", "staged": "staged\n", "x.o": "ignored\n", "-dash": "x"}
    )
    (top / "empty").touch()
    (top / "binary").write_bytes(bytes(range(256)))
    (top / "gone").unlink()
    (top / "old-name").rename(top / "new-name")
    (top / "tool").chmod(0o755)
    (top / "to-link").unlink()
    (top / "to-link").symlink_to("README")
    (top / "dangling").symlink_to("nowhere/at/all")
    git(top, "add", "staged")
    expected = snapshot(top)
    del expected["x.o"]
    aside = saved(await repo.tidy(made))
    assert ("refs/pitboss/run/a", 12, 1) == (aside.ref, aside.files, aside.ignored)
    assert expected == restore(repo, aside.commit, tmp_path / "restored")
    assert (aside.commit, made.base) == (repo("rev-parse", aside.ref), repo("rev-parse", f"{aside.ref}^"))
    assert made.branch in repo.branches()


async def test_commits_of_ours_need_no_identity_and_no_signature(repo: Repository, tmp_path: Path) -> None:
    write(tmp_path / "home", {".gitconfig": "[user]\n useConfigOnly = true\n[commit]\n gpgSign = true\n"})
    made = await repo.worktree()
    write(folder(made), {"new": "new\n"})
    aside = saved(await repo.tidy(made))
    assert "Pitboss <pitboss@localhost>" == repo("log", "-1", "--format=%an <%ae>", aside.commit)


async def test_commits_on_a_detached_head_are_set_aside(repo: Repository) -> None:
    made = await repo.worktree()
    git(folder(made), "switch", "--quiet", "--detach")
    write(folder(made), {"new": "new\n"})
    work = commit(made)
    aside = saved(await repo.tidy(made))
    assert work == repo("rev-parse", f"{aside.ref}^")
    assert 1 == aside.files


async def test_commits_on_another_branch_are_set_aside_too(repo: Repository) -> None:
    made = await repo.worktree()
    git(folder(made), "switch", "--quiet", "-c", "elsewhere")
    work = commit(made)
    assert work == repo("rev-parse", f"{saved(await repo.tidy(made)).ref}^")


async def test_commits_that_only_head_remembers_are_set_aside(repo: Repository) -> None:
    """Made on a detached HEAD and left, or reset away from a branch that is going to be deleted."""
    made = await repo.worktree()
    top = folder(made)
    git(top, "switch", "--quiet", "--detach")
    left = commit(made, "left")
    git(top, "switch", "--quiet", made.branch)
    reset = commit(made, "reset")
    git(top, "reset", "--quiet", "--hard", made.base)
    aside = saved(await repo.tidy(made))
    assert {made.base, left, reset} == set(repo("rev-parse", f"{aside.ref}^@").split())


async def test_an_amended_commit_stays_in_the_log_of_its_branch(repo: Repository) -> None:
    made = await repo.worktree()
    first = commit(made)
    git(folder(made), "commit", "--quiet", "--amend", "--allow-empty", "-m", "better")
    assert (await repo.tidy(made)).set_aside is None
    assert first in repo("log", "-g", "--format=%H", made.branch).split()


async def test_what_was_staged_is_saved_beside_what_lies_in_the_folder(repo: Repository) -> None:
    made = await repo.worktree()
    write(folder(made), {"README": "staged\n"})
    git(folder(made), "add", "README")
    write(folder(made), {"README": "in the folder\n"})
    aside = saved(await repo.tidy(made))
    assert "in the folder" == repo("show", f"{aside.ref}:README")
    assert "staged" == repo("show", f"{aside.ref}^2:README")


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
async def test_files_git_was_told_to_look_past_are_saved(repo: Repository, flag: str) -> None:
    made = await repo.worktree()
    git(folder(made), "update-index", flag, "README")
    write(folder(made), {"README": "changed behind git's back\n"})
    assert "changed behind git's back" == repo("show", f"{saved(await repo.tidy(made)).ref}:README")


async def test_a_merge_with_conflicts_is_set_aside(repo: Repository) -> None:
    made = await repo.worktree()
    top = folder(made)
    write(top, {"README": "ours\n"})
    work = commit(made)
    write(repo.top, {"README": "theirs\n"})
    theirs = repo.commit("theirs")
    with pytest.raises(AssertionError, match="merge"):
        git(top, "merge", "main")
    aside = saved(await repo.tidy(made))
    assert "<<<<<<<" in repo("show", f"{aside.ref}:README")
    assert [work] == repo("rev-parse", f"{aside.ref}^@").split()
    assert theirs == repo("rev-parse", "main")
    assert "A merge was not finished." in repo("log", "-1", "--format=%B", aside.ref)


async def test_an_interrupted_rebase_is_set_aside(repo: Repository) -> None:
    made = await repo.worktree()
    top = folder(made)
    for text in ("one\n", "two\n"):
        write(top, {"README": text})
        commit(made)
    write(repo.top, {"README": "theirs\n"})
    repo.commit("theirs")
    with pytest.raises(AssertionError, match="rebase"):
        git(top, "rebase", "main")
    head = git(top, "rev-parse", "HEAD")
    assert head == repo("rev-parse", f"{saved(await repo.tidy(made)).ref}^")


async def test_an_orphan_branch_without_a_commit_is_set_aside(repo: Repository) -> None:
    made = await repo.worktree()
    git(folder(made), "switch", "--quiet", "--orphan", "new-world")
    write(folder(made), {"only": "this\n"})
    aside = saved(await repo.tidy(made))
    assert "only" == repo("ls-tree", "--name-only", aside.ref)


async def test_a_sparse_worktree_loses_nothing_and_records_no_deletions(repo: Repository, tmp_path: Path) -> None:
    repo("sparse-checkout", "set", "--no-cone", "/README")
    made = await repo.worktree()
    assert (await repo.tidy(made)).branch_deleted
    made = await repo.worktree()
    write(folder(made), {"README": "changed\n", "src/outside.txt": "outside\n"})
    aside = saved(await repo.tidy(made))
    assert 2 == aside.files
    repo("sparse-checkout", "disable")
    assert {"README", "src/app.py", "src/lib/deep.txt", "src/outside.txt"} == set(
        restore(repo, aside.commit, tmp_path / "restored")
    )


async def test_a_broken_index_does_not_hinder_saving(repo: Repository) -> None:
    made = await repo.worktree()
    write(folder(made), {"README": "changed\n"})
    (repo.top / ".git" / "worktrees" / "a" / "index").write_bytes(b"DIRC broken")
    assert 1 == saved(await repo.tidy(made)).files


async def test_lock_files_of_a_killed_agent_do_not_hinder_saving(repo: Repository) -> None:
    made = await repo.worktree()
    write(folder(made), {"README": "changed\n"})
    for name in ("index.lock", "HEAD.lock"):
        (repo.top / ".git" / "worktrees" / "a" / name).touch()
    assert 1 == saved(await repo.tidy(made)).files


async def test_a_worktree_without_its_pointer_is_saved_and_removed(repo: Repository) -> None:
    made = await repo.worktree()
    write(folder(made), {"README": "changed\n"})
    (folder(made) / ".git").unlink()
    assert 1 == saved(await repo.tidy(made)).files
    assert not folder(made).exists()


@pytest.mark.parametrize("committed", [True, False])
async def test_a_repository_inside_is_kept_with_its_worktree(repo: Repository, committed: bool) -> None:
    made = await repo.worktree()
    inner = folder(made) / "new" / "inner"
    repo("init", "--quiet", str(inner))
    write(inner, {"file": "precious\n"})
    if committed:
        git(inner, "add", "--all")
        git(inner, "commit", "--quiet", "-m", "inner")
    report = await repo.tidy(made)
    assert (False, None) == (report.removed, report.set_aside)
    assert "new/inner" in report.message
    assert (inner / "file").exists()


async def test_a_submodule_with_work_of_its_own_is_kept(repo: Repository, tmp_path: Path) -> None:
    part = Repository(tmp_path / "part", tmp_path / "unused")
    repo("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(part.top), "part")
    repo.commit("a submodule")
    fetch = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init")
    made = await repo.worktree()
    git(folder(made), *fetch)
    assert (await repo.tidy(made)).branch_deleted
    made = await repo.worktree()
    git(folder(made), *fetch)
    write(folder(made), {"part/new": "in the submodule\n"})
    report = await repo.tidy(made)
    assert not report.removed
    assert "Its submodule part has changes" in report.message
    git(folder(made) / "part", "switch", "--quiet", "-c", "local")
    git(folder(made) / "part", "add", "new")
    git(folder(made) / "part", "commit", "--quiet", "-m", "local")
    assert not (await repo.tidy(made)).removed
    assert (folder(made) / "part" / "new").exists()


async def test_a_repository_that_took_the_worktrees_place_is_kept(repo: Repository) -> None:
    made = await repo.worktree()
    (folder(made) / ".git").unlink()
    repo("init", "--quiet", made.path)
    assert "a repository of its own" in (await repo.tidy(made)).message
    assert (folder(made) / "README").exists()


async def test_a_locked_worktree_is_kept_with_the_reason(repo: Repository) -> None:
    made = await repo.worktree()
    repo("worktree", "lock", "--reason", "on a stick", made.path)
    report = await repo.tidy(made)
    assert not report.removed
    assert "it is locked (on a stick)" in report.message


async def test_a_link_in_the_worktrees_place_is_not_followed(repo: Repository, tmp_path: Path) -> None:
    made = await repo.worktree()
    folder(made).rename(tmp_path / "moved")
    folder(made).symlink_to(tmp_path / "moved")
    assert not (await repo.tidy(made)).removed
    assert (tmp_path / "moved" / "README").exists()


async def test_files_that_cannot_be_saved_are_kept(repo: Repository) -> None:
    made = await repo.worktree()
    write(folder(made), {".gitattributes": "*.x filter=broken\n", "new.x": "precious\n"})
    repo("config", "filter.broken.clean", "false")
    repo("config", "filter.broken.required", "true")
    report = await repo.tidy(made)
    assert (False, None) == (report.removed, report.set_aside)
    assert "Not everything in it can be saved" in report.message
    assert (folder(made) / "new.x").exists()


async def test_a_vanished_worktree_is_forgotten_and_what_was_staged_is_saved(repo: Repository) -> None:
    made = await repo.worktree()
    write(folder(made), {"README": "staged\n"})
    git(folder(made), "add", "README")
    shutil.rmtree(made.path)
    report = await repo.tidy(made)
    assert "had vanished" in report.message
    assert "staged" == repo("show", f"{saved(report).ref}:README")
    assert not repo.entries()


async def test_a_half_made_worktree_is_removed_without_a_trace(repo: Repository) -> None:
    made = await repo.worktree()
    assert (await repo.tidy(made)).branch_deleted
    repo("worktree", "add", "--quiet", "--no-checkout", "-b", made.branch, made.path)
    report = await repo.tidy(made)
    assert (True, None, True) == (report.removed, report.set_aside, report.branch_deleted)


async def test_an_entry_git_died_on_is_removed(repo: Repository) -> None:
    made = await repo.worktree()
    repo("worktree", "remove", made.path)
    admin = repo.top / ".git" / "worktrees" / "a"
    admin.mkdir(parents=True)
    (admin / "gitdir").write_text(f"{made.path}/.git\n")
    (admin / "locked").write_text("initializing")
    assert (await repo.tidy(made)).removed
    assert not repo.entries()


async def test_asking_twice_gives_the_same_report(repo: Repository) -> None:
    for actor in ("clean", "dirty"):
        made = await repo.worktree(actor)
        if actor == "dirty":
            write(folder(made), {"new": "new\n"})
        assert await repo.tidy(made) == await repo.tidy(made)


async def test_a_removal_cut_short_is_finished_and_keeps_what_was_saved(repo: Repository) -> None:
    made = await repo.worktree()
    write(folder(made), {"README": "staged\n"})
    git(folder(made), "add", "README")
    write(folder(made), {"new": "new\n", "README": "changed\n"})
    copy = repo.top.parent / "copy"
    shutil.copytree(repo.top / ".git" / "worktrees" / "a", copy)
    whole = await repo.tidy(made)
    # What a git killed in the middle of `worktree remove` leaves: some files, perhaps no pointer, and the entry.
    note = copy / "pitboss.json"
    note.write_text(note.read_text().replace('"leaving":false', '"leaving":true'))
    shutil.copytree(copy, repo.top / ".git" / "worktrees" / "a")
    write(folder(made), {"new": "new\n"})
    assert whole == await repo.tidy(made)
    assert not repo.entries()
    assert "refs/pitboss/run/a" == repo("for-each-ref", "--format=%(refname)", "refs/pitboss")


async def test_a_worktree_used_again_after_a_removal_began_is_saved_again(repo: Repository) -> None:
    made = await repo.worktree()
    note = repo.top / ".git" / "worktrees" / "a" / "pitboss.json"
    note.write_text(note.read_text().replace('"leaving":false', '"leaving":true'))
    assert made == await repo.worktree()
    (folder(made) / "README").unlink()
    assert "D\tREADME" == repo("diff", "--name-status", made.base, saved(await repo.tidy(made)).commit)


async def test_a_crash_between_saving_and_removing_saves_once(repo: Repository, tmp_path: Path) -> None:
    made = await repo.worktree()
    write(folder(made), {"README": "staged\n"})
    git(folder(made), "add", "README")
    write(folder(made), {"README": "changed\n"})
    shutil.copytree(made.path, tmp_path / "copy", symlinks=True)
    shutil.copytree(repo.top / ".git" / "worktrees" / "a", tmp_path / "entry")
    first = saved(await repo.tidy(made))
    shutil.copytree(tmp_path / "entry", repo.top / ".git" / "worktrees" / "a")
    shutil.copytree(tmp_path / "copy", made.path, symlinks=True)
    assert first == saved(await repo.tidy(made))


async def test_a_later_attempt_never_replaces_what_an_earlier_one_left(repo: Repository) -> None:
    made = await repo.worktree()
    write(folder(made), {"new": "first\n"})
    first = saved(await repo.tidy(made))
    again = await repo.worktree()
    write(folder(again), {"new": "second\n"})
    second = saved(await repo.tidy(again, attempt=2))
    assert ("refs/pitboss/run/a", "refs/pitboss/run/a.2") == (first.ref, second.ref)
    assert ("first", "second") == (repo("show", f"{first.ref}:new"), repo("show", f"{second.ref}:new"))


async def test_a_branch_somebody_has_checked_out_meanwhile_is_kept(repo: Repository, tmp_path: Path) -> None:
    made = await repo.worktree()
    repo("worktree", "remove", made.path)
    repo("worktree", "add", "--quiet", str(tmp_path / "mine"), made.branch)
    report = await repo.tidy(made)
    assert (True, False) == (report.removed, report.branch_deleted)
    assert f"Branch {made.branch} was kept" in report.message


async def test_a_repository_that_is_gone_is_said(repo: Repository, tmp_path: Path) -> None:
    made = await repo.worktree()
    repo.top.rename(tmp_path / "elsewhere")
    report = await repo.tidy(made)
    assert (False, None) == (report.removed, report.set_aside)
    assert report.message.startswith(f"The worktree {made.path} was kept: ")


async def test_a_removal_that_met_a_neighbour_on_its_way_out_is_tried_again(
    repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As git 2.39 says it, once in some hundred removals of twenty at the same time; seen on a busy machine."""
    made = await repo.worktree("a")
    real, bin_, tries = shutil.which("git"), tmp_path / "bin", tmp_path / "tries"
    bin_.mkdir()
    said = "fatal: failed to read .git/worktrees/t5/commondir: No such file or directory"
    (bin_ / "git").write_text(
        f"#!/bin/sh\ncase \"$*\" in *'worktree remove'*) echo x >> '{tries}';\n"
        f"[ $(wc -l < '{tries}') -lt 3 ] && {{ echo '{said}' >&2; exit 128; }};; esac\nexec {real} \"$@\"\n"
    )
    (bin_ / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")

    report = await repo.tidy(made)

    assert (True, "") == (report.removed, report.message)
    assert 3 == len(tries.read_text().splitlines())
