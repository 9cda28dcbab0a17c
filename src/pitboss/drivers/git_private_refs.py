"""The private refs that keep what was set aside: found, and added to; never moved, never deleted.

Each is a commit of ours whose message says for which attempt it was made. What may not come in: what is worth saving.
`git_set_aside` and `git_tidy` call it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

from pitboss.drivers.git_command import Git
from pitboss.model.effects import TidyWorktree
from pitboss.model.run import SetAside

_COOKIE, _FILES, _IGNORED = "Pitboss-Attempt", "Pitboss-Files", "Pitboss-Ignored"


class Found(NamedTuple):
    """One commit that was set aside earlier."""

    ref: str
    commit: str
    tree: str
    parents: list[str]
    trailers: dict[str, str]

    @property
    def cookie(self) -> str:
        """The attempt whose work it is."""
        return self.trailers.get(_COOKIE, "")

    def as_report(self) -> SetAside:
        """The same in the words of the record."""
        files, ignored = (int(self.trailers.get(key, "0")) for key in (_FILES, _IGNORED))
        return SetAside(ref=self.ref, commit=self.commit, files=files, ignored=ignored)


class Kept(NamedTuple):
    """What is to be recorded."""

    tree: str
    parents: list[str]
    subject: str
    files: int = 0
    ignored: int = 0


async def find_set_aside(git: Git, effect: TidyWorktree) -> SetAside | None:
    """What an earlier request of the same attempt has set aside last, if it did."""
    found = await last(git, effect)
    return found.as_report() if found else None


async def refs_of_actor(git: Git, effect: TidyWorktree) -> list[Found]:
    """What was set aside for exactly this actor so far, oldest first."""
    owner = effect.cookie.rpartition("/")[0]
    return [found for found in await refs(git, effect) if found.cookie.rpartition("/")[0] == owner]


async def last(git: Git, effect: TidyWorktree) -> Found | None:
    """The commit this attempt has set aside last."""
    mine = [found for found in await refs(git, effect) if found.cookie == effect.cookie]
    return mine[-1] if mine else None


async def refs(git: Git, effect: TidyWorktree) -> list[Found]:
    """What was set aside for this actor so far, by this attempt or an earlier one; and for one called ``<actor>.2``."""
    shown = "%(refname)%00%(objectname)%00%(tree)%00%(parent)%00%(contents)%00"
    output = await git.ask("for-each-ref", f"--format={shown}", effect.ref, f"{effect.ref}.*")
    words = [word.removeprefix("\n") for word in output.text.split("\0")[:-1]]
    found = [_found(*words[first : first + 5]) for first in range(0, len(words), 5)]
    return sorted(found, key=lambda one: (len(one.ref), one.ref))


def _found(ref: str, commit: str, tree: str, parents: str, message: str) -> Found:
    trailers = dict(re.findall(r"^(Pitboss-\w+): (.*)$", message, re.MULTILINE))
    return Found(ref, commit, tree, parents.split(), trailers)


async def record(git: Git, admin: Path, effect: TidyWorktree, kept: Kept, at: float) -> SetAside:
    """Make the commit and its ref; the same state of the same attempt is recorded once, and nothing is replaced."""
    parents = list(dict.fromkeys(kept.parents))
    earlier = await refs(git, effect)
    for found in earlier:
        if (found.cookie, found.tree, found.parents) == (effect.cookie, kept.tree, parents):
            return found.as_report()
    saving = git.on(admin, durable=True)
    trailers = f"{_COOKIE}: {effect.cookie}\n{_FILES}: {kept.files}\n{_IGNORED}: {kept.ignored}\n"
    commit = await commit_tree(saving, kept.tree, parents, f"{kept.subject}\n\n{trailers}", at)
    taken = {found.ref for found in earlier}
    ref = next(name for name in _names(effect.ref) if name not in taken)
    await saving.ask("update-ref", "-m", "pitboss: set aside", ref, commit, "")
    return SetAside(ref=ref, commit=commit, files=kept.files, ignored=kept.ignored)


def _names(ref: str) -> Iterator[str]:
    """Where to put it: an actor that is tidied again, after a resume, gets the next name."""
    yield ref
    for number in count(2):
        yield f"{ref}.{number}"


async def commit_tree(git: Git, tree: str, parents: list[str], message: str, at: float) -> str:
    """Make a commit of ours, on no branch."""
    named = [word for parent in parents for word in ("-p", parent)]
    return (await git.ask("commit-tree", tree, *named, "-F", "-", stdin=os.fsencode(message), at=at)).text
