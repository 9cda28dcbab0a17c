"""The stage of ``pitboss demo``: a temporary folder with a repository, a manifest and a script, and its words.

What is played is a ``Play``: ``flat`` and ``lead`` have one each. Nothing outside the folder is written or read: git
gets an identity and a home directory of its own. Whether the real Claude Code or its stand-in plays is the caller's
choice. Called by ``commands``, which also carries the run out.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from pitboss.errors import WorldError
from pitboss.model.views import RunView
from pitboss.surfaces.scripted import Claude

__all__ = ["NOWHERE", "Play", "Scene", "build", "epilogue", "fake_claude", "introduction", "verdict"]

NOWHERE = "http://127.0.0.1:9"
"""Where no model listens: the stand-in for Claude Code asks none."""


class Play(NamedTuple):
    """What one demonstration shows."""

    name: str
    """Of its manifest and its script, here and in the folder, without their endings."""
    files: Mapping[str, str]
    """The repository, before anybody has worked on it."""
    opening: tuple[str, ...]
    """What is about to be seen."""
    worth_a_look: Callable[[Scene, RunView], Iterator[str]]
    """Commands that show what has come of it, and what they show."""
    went_well: Callable[[int, RunView], bool]
    """Whether a run with this exit code is what was meant to be shown."""


class Scene(NamedTuple):
    """Where everything of one demonstration is."""

    play: Play
    folder: Path
    manifest: Path
    script: Path
    repository: Path
    runs: Path


def build(play: Play, *, keep_worktrees: bool) -> Scene:
    """Make the folder, the repository in it, and the files beside it.

    Raises:
        WorldError: Git is missing or refuses.
    """
    folder = Path(tempfile.mkdtemp(prefix="pitboss-demo-")).resolve()
    manifest, script = folder / f"{play.name}.toml", folder / f"{play.name}.script.toml"
    scene = Scene(play, folder, manifest, script, folder / "repository", folder / "runs")
    (folder / "home").mkdir()
    text = _data(manifest.name).replace("@FOLDER@", str(folder))
    if keep_worktrees:
        text = text.replace('worktree_cleanup = "on_success"', 'worktree_cleanup = "never"     ')
    scene.manifest.write_text(text, encoding="utf-8")
    scene.script.write_text(_data(script.name), encoding="utf-8")
    _make_repository(scene)
    return scene


def fake_claude(scene: Scene) -> dict[str, str]:
    """Put the stand-in for Claude Code into the folder; gives the environment that makes it play its part."""
    script = scene.folder / f"{scene.play.name}.fake.json"
    script.write_text(_data(script.name), encoding="utf-8")
    double = resources.files("pitboss").joinpath("testing", "fake_claude.py")
    binary = scene.folder / "fake-claude"
    command = shlex.join([sys.executable, "-I", "-S", str(double)])
    binary.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    binary.chmod(0o755)
    return {"PITBOSS_CLAUDE_BINARY": str(binary), "PITBOSS_FAKE_SCRIPT": str(script)}


def introduction(scene: Scene, claude: Claude | None) -> Iterator[str]:
    """What is about to be seen."""
    who = f"claude is {claude.path} ({claude.source})" if claude else "a stand-in plays Claude Code (--fake)"
    yield from scene.play.opening
    yield f"{who}; everything is in {scene.folder}"


def epilogue(scene: Scene, view: RunView | None) -> Iterator[str]:
    """What there is to look at afterwards."""
    if view is None:
        return
    yield "Also worth a look:"
    yield from (f"  {line}" for line in scene.play.worth_a_look(scene, view))
    yield f"  {scene.manifest}: what was asked for; {scene.script.name} beside it: what the model said"
    yield f"Everything stays in {scene.folder} until you delete it."


def verdict(play: Play, code: int, view: RunView | None) -> int:
    """The demonstration's exit code: 0 if everything went as it was meant to, what was meant to fail included."""
    return 0 if view is not None and play.went_well(code, view) else code or 1


def _data(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _make_repository(scene: Scene) -> None:
    for name, text in scene.play.files.items():
        path = scene.repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for arguments in (
        ["init", "--quiet", "--initial-branch=main"],
        ["config", "user.name", "Pitboss Demo"],
        ["config", "user.email", "demo@example.invalid"],
        ["add", "--all"],
        ["commit", "--quiet", "--message=A small shop"],
    ):
        _git(scene, arguments)


def _git(scene: Scene, arguments: list[str]) -> None:
    # Variables such as GIT_DIR would make git work on the repository that this command was started from.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment = clean | {"HOME": str(scene.folder / "home"), "GIT_CONFIG_NOSYSTEM": "1"}
    argv = ["git", "-C", str(scene.repository), *arguments]
    try:
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise WorldError("git was not found; the demonstration needs it to make a repository") from error
    if done.returncode:
        raise WorldError(f"git {arguments[0]} failed in {scene.repository}: {done.stderr.strip()}")
