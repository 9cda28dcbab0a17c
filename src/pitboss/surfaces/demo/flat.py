"""A flat run: six tasks, three at once. One hangs and is stopped, one meets an overloaded API; the others do well."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from types import MappingProxyType

from pitboss.model.run import Status
from pitboss.model.views import RunView
from pitboss.surfaces.demo.stage import Play, Scene

__all__ = ["FLAT", "SHOP"]

SHOP = MappingProxyType(
    {
        ".gitignore": "__pycache__/\n",
        "README.md": "# Shop\n\nYou will recieve your order within three days.\n",
        "shop/__init__.py": "",
        "shop/cart.py": (
            "def total(prices: list[float]) -> float:\n"
            '    """The sum of all prices."""\n'
            "    return sum(prices)\n\n\n"
            "def discount(total: float, percent: float) -> float:\n"
            "    return total * (1 - percent / 100)\n"
        ),
        "tests/__init__.py": "",
    }
)
"""A small repository with something to do."""

MEANT_TO_FAIL = "dev-server"


def _worth_a_look(scene: Scene, view: RunView) -> Iterator[str]:
    repository = shlex.quote(str(scene.repository))
    yield f"git -C {repository} log --oneline --all"
    for actor in view.actors:
        if actor.set_aside:
            yield f"git -C {repository} show {actor.set_aside.ref}"


def _went_well(code: int, view: RunView) -> bool:
    failed = [actor.id for actor in view.actors if actor.status is not Status.SUCCESS]
    return code == 1 and failed == [MEANT_TO_FAIL]


FLAT = Play(
    name="demo",
    files=SHOP,
    opening=(
        "Six tasks, three at once, each in a git worktree of its own. A scripted model answers: nothing is spent.",
    ),
    worth_a_look=_worth_a_look,
    went_well=_went_well,
)
"""The play of ``pitboss demo``."""
