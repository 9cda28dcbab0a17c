"""Killed at every point there is, a run comes to the end of one that nobody disturbed.

Points lie before and after each call of the disk, each effect, each report that comes home, each step of an agent. An
operator gives orders meanwhile, and gives them again under their ids until it is answered: each is carried out once.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from engine.mortal import DEEDS, ORDERS, STEP, STEPS, End, Machine, power_cut
from pitboss.model.order_facts import OrderTaken

pytestmark = pytest.mark.slow

AFTER: dict[str, Callable[[Machine, int], None]] = {
    "kill": lambda machine, point: machine.disk.revive(),
    "power cut": lambda machine, point: power_cut(machine, None),
    "power cut that keeps some": lambda machine, point: power_cut(machine, random.Random(point)),
}
"""What the next dispatcher finds -> how it comes about."""


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> End:
    """The end of a run that nobody disturbed."""
    machine = Machine(tmp_path_factory.mktemp("calm"))
    assert machine.dispatch()
    return machine.end()


def test_the_undisturbed_run_is_what_it_should_be(calm: End) -> None:
    assert {"a": "Success", "b": "Success", "c": "Failed", "d": "Success"} == calm.statuses
    assert dict.fromkeys("abcd", len(STEPS) * STEP.input) == calm.tokens
    assert calm.statuses == calm.lines
    assert {len(STEPS)} == set(calm.sessions.values())
    assert 1 == calm.exit_code
    assert {name: "not_found" if name == "nobody" else "ok" for name in ORDERS} == calm.orders
    assert {kind.__name__: len(ORDERS) if kind is OrderTaken else 1 for kind in DEEDS} == calm.deeds
    assert {"run_dispatched", "task_failed", "run_finished"} == calm.told


@pytest.mark.parametrize("after", AFTER)
def test_whatever_point_it_is_killed_at_a_run_comes_to_the_same_end(tmp_path: Path, calm: End, after: str) -> None:
    for point in count(1):
        machine = Machine(tmp_path / str(point))
        finished = machine.dispatch(kill_at=point)
        if finished:
            assert not machine.knife.struck
            break
        where = f"point {point}, {machine.knife.struck}"
        AFTER[after](machine, point)
        assert machine.resume(), where
        assert calm == machine.end(), where
    print(f"{point - 1} kill points, each followed by: {after}")
    assert point > 200


def test_a_resume_may_be_killed_at_any_point_too(tmp_path: Path, calm: End) -> None:
    """Twice killed: anywhere in the first life, at every point of the second, with and without power."""
    chance = random.Random(4)
    for point in count(1):
        machine = Machine(tmp_path / str(point))
        machine.dispatch(kill_at=chance.randint(20, 150))
        first = machine.knife.struck
        AFTER[chance.choice(list(AFTER))](machine, point)
        finished = machine.resume(kill_at=point)
        where = f"point {point}, {first}, then {machine.knife.struck}"
        if not finished:
            AFTER[chance.choice(list(AFTER))](machine, point)
            assert machine.resume(), where
        assert calm == machine.end(), where
        if finished and point > 200:
            break
    print(f"{point} double kills")
