"""A run with a lead: it spawns four workers and a sub-lead, redirects one, cancels one, and merges what they did."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from pitboss.model.run import Status
from pitboss.model.views import RunView
from pitboss.surfaces import words
from pitboss.surfaces.demo.flat import SHOP
from pitboss.surfaces.demo.stage import Play, Scene

__all__ = ["LEAD"]

CANCELLED = "benchmark"

_MANUAL = '''"""Renders the manual, a page every few seconds. There are many pages."""

import time

for page in range(1, 400):
    print(f"page {page}", flush=True)
    time.sleep(3)
'''

_BENCHMARK = '''"""Measures the shop under load, for as long as it is let."""

import time

while True:
    time.sleep(1)
'''


def _worth_a_look(scene: Scene, view: RunView) -> Iterator[str]:
    repository = shlex.quote(str(scene.repository))
    run, base = words.short_id(view.run_id), words.at(str(scene.runs))
    yield f"git -C {repository} log --oneline --graph demo/shop  # what the lead has merged"
    yield f"{words.program()} why {run} readme{base}  # how it was redirected"


def _went_well(code: int, view: RunView) -> bool:
    other = [(actor.label, actor.status) for actor in view.actors if actor.status is not Status.SUCCESS]
    return code == 0 and other == [(CANCELLED, Status.CANCELLED)]


LEAD = Play(
    name="lead",
    files={**SHOP, "manual/render.py": _MANUAL, "bench/load.py": _BENCHMARK},
    opening=(
        "A lead and all it brings about: four workers, each in a git worktree, and a sub-lead with",
        "money and two workers of its own. They share a store and a lease. One worker drifts and is",
        "redirected, one is cancelled; in the end the lead merges their branches in its own worktree.",
        "A scripted model answers: nothing is spent.",
    ),
    worth_a_look=_worth_a_look,
    went_well=_went_well,
)
"""The play of ``pitboss demo --lead``."""
