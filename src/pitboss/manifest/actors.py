"""Rules for tasks and the lead: names, places, branches, environment. Called by ``load``."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from pitboss.manifest.findings import Findings, shown
from pitboss.manifest.positions import Path
from pitboss.manifest.schema import Manifest
from pitboss.manifest.surroundings import PathKind, Surroundings
from pitboss.model.run import RunSpec, TaskSpec

__all__ = ["LONGEST_ID", "check_actors", "check_environment", "check_id", "check_places"]

LONGEST_ID = 64
"""Ids become parts of directory, branch and worktree names, which have limits of their own."""

_ID = re.compile(r"[A-Za-z0-9_-]+")
_VARIABLE_NAME = re.compile(r"[^=\0]+")
# What `git check-ref-format --branch` refuses.
_BAD_BRANCH = re.compile(r"^[-/.]|[/.]$|\.\.|//|@\{|^@$|[\0-\x20\x7f~^:?*\[\\]|/\.|\.lock(/|$)")


class _Placed(NamedTuple):
    """An actor and the path of its table."""

    spec: TaskSpec
    subject: Path


def _actors(run: RunSpec) -> Iterator[_Placed]:
    for index, task in enumerate(run.tasks):
        yield _Placed(task, ("task", index))
    if run.tree is not None:
        yield _Placed(run.tree.lead, ("lead",))


def check_actors(manifest: Manifest, run: RunSpec, findings: Findings) -> None:
    """Everything about tasks and the lead that can be told without looking at the disk."""
    _check_modes(manifest, findings)
    for actor in _actors(run):
        _check_actor(actor, findings)
    check_environment(manifest.defaults.env, ("defaults", "env"), findings)
    _check_tools(manifest.defaults.tools, ("defaults", "tools"), findings)
    _check_model(manifest.defaults.model, ("defaults", "model"), findings)
    _check_unique(run, findings)
    _check_branches_apart(run, findings)


def _check_modes(manifest: Manifest, findings: Findings) -> None:
    if manifest.task and manifest.lead is not None:
        findings.error("cannot combine [[task]] and [lead]; keep the tasks or the lead", ("lead",), ("task",))
    elif not manifest.task and manifest.lead is None and not any(map(findings.is_broken, (("task",), ("lead",)))):
        findings.error("empty manifest: it has no [[task]] and no [lead]; add one")


def _check_actor(actor: _Placed, findings: Findings) -> None:
    spec, subject = actor
    if subject == ("lead",):
        if not spec.id.strip():
            findings.error("lead id is required; name the lead", ("lead", "id"))
        if not spec.prompt.strip():
            findings.error("[lead].prompt is required but is empty; say what is to be done", ("lead", "prompt"))
    elif not spec.id.strip():
        findings.error(f"empty task id in {findings.name(subject)}; name the task", (*subject, "id"))
    check_id(spec.id, (*subject, "id"), findings)
    _check_branch(spec.branch, (*subject, "branch"), findings)
    check_environment(_own(findings, (*subject, "env")), (*subject, "env"), findings)
    _check_tools(spec.tools, (*subject, "tools"), findings)
    _check_model(spec.model, (*subject, "model"), findings)


def _own(findings: Findings, path: Path) -> Mapping[str, object]:
    """A table as written, without what it inherits."""
    table = findings.document.value(path)
    return table if isinstance(table, dict) else {}


def check_id(own_id: str, subject: Path, findings: Findings) -> None:
    """Refuse an id that could not be a file name, a branch name or an argument; an empty one is another rule's."""
    name = findings.name(subject[:-1])
    if not own_id.strip():
        return
    if not _ID.fullmatch(own_id):
        findings.error(f"the id of {name} contains invalid characters; use ASCII letters, digits, _ and -", subject)
    elif own_id.startswith("-"):
        findings.error(
            f"the id of {name} starts with -, which commands take for an option; start it otherwise", subject
        )
    elif len(own_id) > LONGEST_ID:
        findings.error(f"the id of {name} has {len(own_id)} characters; shorten it to {LONGEST_ID}", subject)


def _check_branch(branch: str | None, subject: Path, findings: Findings) -> None:
    if branch is not None and (not branch or _BAD_BRANCH.search(branch)):
        findings.error(
            f"{findings.name(subject)} {shown(branch)} is not a name git allows for a branch; change it", subject
        )


def check_environment(env: Mapping[str, object], subject: Path, findings: Findings) -> None:
    """Refuse names that no environment can hold."""
    for name in env:
        if not _VARIABLE_NAME.fullmatch(name):
            findings.error(
                f"{findings.name(subject)} has the variable {shown(name)}; a name cannot be empty or hold =", subject
            )


def _check_tools(tools: Iterable[str], subject: Path, findings: Findings) -> None:
    if findings.document.value(subject) is None:
        return
    for index, tool in enumerate(tools):
        if not tool.strip():
            findings.error(f"{findings.name(subject)} has an empty name; take it out", (*subject, index))


def _check_model(model: str, subject: Path, findings: Findings) -> None:
    if findings.document.value(subject) is not None and (not model.strip() or model.startswith("-")):
        findings.error(f"{findings.name(subject)} {shown(model)} is not the name of a model", subject)


def _check_unique(run: RunSpec, findings: Findings) -> None:
    """No two tasks of one name; names that differ only by case share a folder on some file systems."""
    seen: dict[str, _Placed] = {}
    for actor in _actors(run):
        own_id = actor.spec.id
        first = seen.setdefault(own_id.casefold(), actor)
        if first is actor or not own_id.strip():
            continue
        subjects = ((*actor.subject, "id"), (*first.subject, "id"))
        if first.spec.id == own_id:
            findings.error(f"duplicate task id {shown(own_id)}{_see(findings, subjects[1])}; rename one", *subjects)
        else:
            both = f"{shown(first.spec.id)} and {shown(own_id)}"
            findings.warn(f"the ids {both} differ only by case; on some file systems they share a folder", *subjects)


def _see(findings: Findings, path: Path) -> str:
    place = findings.document.place(path)
    return f" (first in line {place.line})" if place else ""


def _check_branches_apart(run: RunSpec, findings: Findings) -> None:
    """No two worktrees on one branch of one directory; other ways to clash show only in git."""
    seen: dict[tuple[str, str], _Placed] = {}
    for actor in _actors(run):
        spec = actor.spec
        if not (spec.use_worktree and spec.branch and spec.directory):
            continue
        first = seen.setdefault((spec.directory, spec.branch), actor)
        if first is not actor:
            names = f"{findings.name(first.subject)} and {findings.name(actor.subject)}"
            findings.error(
                f"{names} have the same directory + branch {shown(spec.branch)}; give one another branch",
                (*actor.subject, "branch"),
                (*first.subject, "branch"),
            )


def check_places(manifest: Manifest, run: RunSpec, surroundings: Surroundings, findings: Findings) -> None:
    """Look whether every directory is there and can have worktrees.

    With a ``[container]`` the directories are those inside it, so what is missing here is only a warning.
    """
    kind_of = functools.cache(surroundings.kind_of)
    tell = findings.error if manifest.container is None else findings.warn
    for spec, subject in _actors(run):
        if not spec.directory:
            continue
        who = "lead" if subject == ("lead",) else findings.name(subject)
        complaint = _complaint(kind_of(spec.directory), spec, who)
        if complaint:
            tell(complaint, (*subject, "directory"))
    bases = {("run", "run_dir"): run.run_dir, ("run", "worktree_root"): run.worktree_root}
    for subject, place in bases.items():
        if place and kind_of(place) is PathKind.FILE:
            findings.error(f"{findings.name(subject)} {place} is a file; name a directory", subject)


def _complaint(kind: PathKind, spec: TaskSpec, who: str) -> str:
    """What is wrong with an actor's directory; empty if nothing is."""
    match kind:
        case PathKind.MISSING:
            return f"{who} directory does not exist: {spec.directory}; create it or correct the path"
        case PathKind.FILE:
            return f"{who} directory is not a directory: {spec.directory}; name the folder"
        case PathKind.DIRECTORY if spec.use_worktree:
            return (
                f"{who} directory is not a git work-tree: {spec.directory}; "
                "run git init there, or set use_worktree = false"
            )
        case PathKind.DIRECTORY | PathKind.REPOSITORY:
            return ""
