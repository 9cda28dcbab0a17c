"""A repository, a HOME and the hands that make worktrees in it: the small world of the git driver's tests."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import TypeVar

import pytest
from msgspec.structs import replace

from pitboss.drivers.git import GitWorktrees
from pitboss.model.effects import PrepareWorktree, TidyWorktree
from pitboss.model.run import ActorId, EarlierWork
from pitboss.model.signals import Signal, WorktreePrepared, WorktreeRefused, WorktreeTidied

S = TypeVar("S", bound=Signal)


class Repository:
    """A repository of the operator's, and what is asked of the driver about it."""

    def __init__(self, top: Path, pit: Path) -> None:
        self.top = top
        self.pit = pit
        """Where the worktrees go."""
        self.hands = GitWorktrees(lambda: 1_700_000_000.0)
        git(top.parent, "init", "--quiet", "--initial-branch=main", "--", str(top))
        write(top, {"README": "hello\n", "src/app.py": "print(1)\n", "src/lib/deep.txt": "deep\n"})
        self.commit("first")

    def __call__(self, *args: str) -> str:
        return git(self.top, *args)

    def commit(self, message: str) -> str:
        self("add", "--all")
        self("commit", "--quiet", "--allow-empty", "-m", message)
        return self("rev-parse", "HEAD")

    def wants(self, actor: str = "a", *, branch: str | None = None, directory: Path | None = None) -> PrepareWorktree:
        return PrepareWorktree(
            actor=ActorId(actor),
            attempt=1,
            directory=str(directory or self.top),
            path=str(self.pit / actor),
            name=f"pitboss-{actor}-run",
            branch=branch,
            ref=f"refs/pitboss/run/{actor}",
            cookie=f"run/{actor}/1",
        )

    async def prepare(self, effect: PrepareWorktree) -> WorktreePrepared:
        return await self._one(effect, WorktreePrepared)

    async def refuse(self, effect: PrepareWorktree) -> str:
        return (await self._one(effect, WorktreeRefused)).message

    async def worktree(self, actor: str = "a", *, branch: str | None = None) -> WorktreePrepared:
        return await self.prepare(self.wants(actor, branch=branch))

    async def _one(self, effect: PrepareWorktree, kind: type[S]) -> S:
        signals: list[Signal] = []
        await self.hands.prepare(effect, signals.append)
        (signal,) = signals
        assert isinstance(signal, kind), signal
        return signal

    def again(
        self, made: WorktreePrepared, report: WorktreeTidied | None = None, *, attempt: int = 2
    ) -> PrepareWorktree:
        """What is asked for the next attempt of an actor, after its worktree was tidied or not."""
        earlier = EarlierWork(
            cookie=f"run/{made.actor}/{made.attempt}",
            base=made.base,
            created_branch=made.created_branch,
            branch_deleted=report is not None and report.branch_deleted,
            set_aside=report.set_aside if report else None,
        )
        branch = None if made.branch.startswith("pitboss-") else made.branch
        cookie = f"run/{made.actor}/{attempt}"
        return replace(self.wants(made.actor, branch=branch), attempt=attempt, cookie=cookie, earlier=earlier)

    def tidying(self, made: WorktreePrepared, *, remove: bool = True, attempt: int = 1) -> TidyWorktree:
        return TidyWorktree(
            actor=made.actor,
            attempt=attempt,
            directory=str(self.top),
            path=made.path,
            branch=made.branch,
            base=made.base,
            created_branch=made.created_branch,
            remove=remove,
            ref=f"refs/pitboss/run/{made.actor}",
            cookie=f"run/{made.actor}/{attempt}",
        )

    async def tidy(self, made: WorktreePrepared, *, remove: bool = True, attempt: int = 1) -> WorktreeTidied:
        signals: list[Signal] = []
        await self.hands.tidy(self.tidying(made, remove=remove, attempt=attempt), signals.append)
        (signal,) = signals
        assert isinstance(signal, WorktreeTidied)
        return signal

    def branches(self) -> set[str]:
        return set(self("for-each-ref", "--format=%(refname:short)", "refs/heads").split())

    def entries(self) -> set[str]:
        folder = self.top / ".git" / "worktrees"
        return {entry.name for entry in folder.iterdir()} if folder.exists() else set()

    def operators_state(self) -> dict[str, bytes]:
        """All that is the operator's own in the git directory, byte for byte."""
        inside = self.top / ".git"
        names = ["HEAD", "index", "config", "ORIG_HEAD", "logs/HEAD", "logs/refs/heads/main", "logs/refs/stash"]
        return {name: (inside / name).read_bytes() for name in names if (inside / name).exists()}


def new_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository whose operator has a HOME of the test's own."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n name = Operator\n email = operator@example.org\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return Repository(tmp_path / "repo", tmp_path / "pit")


def git(where: Path, *args: str) -> str:
    """Run git as the operator or an agent would; fails loudly."""
    done = subprocess.run(["git", "-C", str(where), *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"git {args}: {done.stderr}"
    return done.stdout.removesuffix("\n")


def folder(made: WorktreePrepared) -> Path:
    """Where a worktree is."""
    return Path(made.path)


def write(top: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)


def snapshot(top: Path) -> dict[str, tuple[str, bytes]]:
    """Every file and link below a folder, but for git's pointer: its kind and its content."""
    found: dict[str, tuple[str, bytes]] = {}
    for folder, folders, files in os.walk(top):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for path in (Path(folder, name) for name in [*files, *links]):
            name = os.path.relpath(path, top)
            if path.is_symlink():
                found[name] = ("link", os.fsencode(path.readlink()))
            elif name != ".git":
                executable = path.stat().st_mode & stat.S_IXUSR
                found[name] = ("executable" if executable else "file", path.read_bytes())
    return found


def restore(repository: Repository, commit: str, where: Path) -> dict[str, tuple[str, bytes]]:
    """Check a commit out elsewhere and say what is in it."""
    repository("worktree", "add", "--quiet", "--detach", "--", str(where), commit)
    found = snapshot(where)
    repository("worktree", "remove", "--force", "--", str(where))
    return found
