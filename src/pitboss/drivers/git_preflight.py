"""All that is wrong with the worktrees a run wants, told before anything is started.

What may not come in: changing a repository. `compose` calls it once, before the run opens; what changes afterwards
is found again when each worktree is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pitboss.drivers.git_command import Git, check_version
from pitboss.drivers.git_repository import Checkout, check_branch_name, holders, survey, taken
from pitboss.errors import PitbossError

_AT_ONCE = 4
"""Repositories looked at side by side."""


class Want(NamedTuple):
    """One worktree that will be asked for."""

    actor: str
    directory: str
    branch: str | None


class Refusal(NamedTuple):
    """Why one actor cannot have its worktree, in a sentence that says what to do."""

    actor: str
    message: str


async def preflight(wants: Sequence[Want]) -> list[Refusal]:
    """Find every worktree that could not be made, in the order they are wanted.

    Args:
        wants: The worktrees of a whole run.

    Returns:
        One refusal for each actor that has a problem; empty if all is well.
    """
    git = Git()
    try:
        if wants:
            await check_version(git)
    except PitbossError as error:
        return [Refusal(want.actor, str(error)) for want in wants]
    places = await _places(git, {want.directory for want in wants})
    branches = await _branches(git, [place for place in places.values() if isinstance(place, Checkout)])
    claimed: dict[tuple[Path, str], str] = {}
    problems = [(want, _problem(want, places[want.directory], branches, claimed)) for want in wants]
    return [Refusal(want.actor, problem) for want, problem in problems if problem is not None]


async def _places(git: Git, directories: set[str]) -> dict[str, Checkout | str]:
    """What each directory is, or the sentence that says why it will not do."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def look(directory: str) -> Checkout | str:
        async with gate:
            try:
                checkout = await survey(git, directory)
                await checkout.require_prefix(git, checkout.head)
            except PitbossError as error:
                return str(error)
            return checkout

    ordered = sorted(directories)
    return dict(zip(ordered, await asyncio.gather(*map(look, ordered)), strict=True))


async def _branches(git: Git, checkouts: list[Checkout]) -> dict[Path, dict[str, str]]:
    """For each repository: which branch is checked out where."""
    one_each = {checkout.common: checkout for checkout in checkouts}
    return {common: await holders(git.at(checkout.directory)) for common, checkout in one_each.items()}


def _problem(
    want: Want, place: Checkout | str, branches: dict[Path, dict[str, str]], claimed: dict[tuple[Path, str], str]
) -> str | None:
    """The one thing to tell about a want; claims its branch if there is nothing."""
    if isinstance(place, str):
        return place
    if not want.branch:
        return None
    try:
        check_branch_name(want.branch)
    except PitbossError as error:
        return str(error)
    holder = branches[place.common].get(want.branch)
    if holder is not None:
        return taken(want.branch, holder)
    first = claimed.setdefault((place.common, want.branch), want.actor)
    if first != want.actor:
        return (
            f"Branch {want.branch} is already wanted by {first} in the same repository, "
            "and a branch can be checked out only once: give one of the two another branch."
        )
    return None
