"""A row of random runs, of steps and orders nobody has thought of: the tests' own worlds, with new chance each time.

``make test`` walks through the same runs each time, so that it says the same of the same code.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from bench.ground import Row

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from core import test_machine, test_tree_machine

WORLDS: dict[str, tuple[type[RuleBasedStateMachine], int]] = {
    "flat": (test_machine.World, 4000),
    "with a lead": (test_tree_machine.World, 1500),
}
"""Kind of run -> the world it is in, and how many of it."""

STEPS = 60
"""At most so many steps each."""


def random_runs(place: Path) -> Row:
    """Random schedules of news, crashes, resumes and orders, each held against the laws."""
    began = time.monotonic()
    with ProcessPoolExecutor(2) as pool:
        broken = [found for found in pool.map(_walk, WORLDS) if found]
    count = sum(many for _, many in WORLDS.values())
    detail = "; ".join([f"{time.monotonic() - began:.0f} s", *broken])
    return Row(f"{count:,} random runs against the laws", "0 break one", f"{len(broken)} found", not broken, detail)


def _walk(kind: str) -> str:
    """Walk through random runs of a kind; the shortest that breaks a law, if any does."""
    world, many = WORLDS[kind]
    try:
        run_state_machine_as_test(
            world,
            settings=settings(
                max_examples=many,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    except Exception as broken:  # noqa: BLE001 - whatever it is that breaks, it is a figure
        return "\n".join([f"{kind}: {broken}", *getattr(broken, "__notes__", [])])
    return ""


ROWS: dict[str, Callable[[Path], Row]] = {"laws": random_runs}
"""Name on the command line -> measurement."""
