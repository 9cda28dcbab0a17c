"""Trees whose dispatcher is killed, and that go on: the same end, everything exactly once, and nobody left."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, cast

import pytest

from stories.test_random_kills import check_journal, check_nobody_left
from support.parts import (
    FOREVER,
    Step,
    bash,
    call,
    commit,
    hear,
    say,
    spawn,
    spawn_sublead,
    steer,
    wait,
    wait_sublead,
)
from support.pit import Json, Pit, Run

pytestmark = pytest.mark.slow

UNTIL_RESUMED = bash("while ! [ -e $GO ]; do sleep 0.02; done")
"""Goes on only in a second life."""

STUBBORN: list[Step] = [say("/shared/at", "work"), {"ignore_term": 1}, {"hang": 1}]

SUBLEADS = "[sublead_defaults]\nread_down = true"


class Shape(NamedTuple):
    """A tree, the moment its dispatcher is killed, and what it comes to."""

    parts: dict[str, list[Step]]
    moment: Callable[[Run], object]
    end: dict[str, str]
    """Status by label."""
    attempts: dict[str, int]
    """How many, of those whose number is certain."""
    stored: Mapping[str, str]
    """The lead's store."""
    lead: Mapping[str, object] = MappingProxyType({})
    """Keys of the manifest's ``[lead]``."""


def waits(kind: str, run: Run, label: str = "lead") -> bool:
    """An actor has begun to wait for something of this kind."""
    began = run.told("WaitBegan", run.actor(label))
    return any(cast("Json", fact["awaited"])["type"] == kind for fact in began)


def ends(reason: str) -> Callable[[Run], object]:
    """Somebody is being ended for this reason."""
    return lambda run: [fact for fact in run.told("StopBegan") if fact["reason"] == reason]


SUCCESS = {"lead": "Success", "w": "Success"}

SHAPES: dict[str, Shape] = {
    "fan-out": Shape(
        parts={
            "quick": [commit("quick"), say("/shared/quick", "done")],
            "w": [commit("one"), UNTIL_RESUMED, commit("two"), say("/shared/w", "done")],
            "lead": [spawn("quick"), spawn("w"), wait("quick"), wait("w"), say("/shared/all", "{{w_record.status}}")],
        },
        moment=lambda run: run.told("ActorSettled", run.actor("quick")) and waits("actors", run),
        end={"lead": "Success", "quick": "Success", "w": "Success"},
        attempts={"lead": 2, "quick": 1, "w": 2},
        stored={"/shared/quick": "done", "/shared/w": "done", "/shared/all": "Success"},
    ),
    "pipeline": Shape(
        parts={
            "w": [
                call("run_lease_acquire", key="board", ttl_secs=600),
                *(say("/shared/w", "has it"), UNTIL_RESUMED, call("run_lease_release", "gave", key="board")),
                say("/shared/gave", "back: {{gave.released}}"),
            ],
            "next": [
                *(hear("/shared/w"), call("run_lease_acquire", "mine", key="board", ttl_secs=600, wait_secs=60)),
                say("/shared/next", "{{heard_w.text}}, then I: {{mine.acquired}}"),
            ],
            "lead": [spawn("next"), spawn("w"), wait("w"), wait("next")],
        },
        moment=lambda run: waits("lease", run, "next"),
        end={"lead": "Success", "w": "Success", "next": "Success"},
        attempts={"lead": 2, "w": 2, "next": 2},
        stored={"/shared/w": "has it", "/shared/gave": "back: true", "/shared/next": "has it, then I: true"},
    ),
    "sub-leads": Shape(
        parts={
            **{f"{side}-w": [say("/shared/at", side), UNTIL_RESUMED, commit(side)] for side in ("left", "right")},
            **{side: [spawn(f"{side}-w"), wait(f"{side}-w")] for side in ("left", "right")},
            "lead": [
                *(spawn_sublead("left", budget_usd=1.0), spawn_sublead("right", budget_usd=2.0)),
                *(wait_sublead("left"), wait_sublead("right"), say("/shared/all", "{{right_record.outcome}}")),
            ],
        },
        moment=lambda run: all(run.stored(side) for side in ("left", "right")) and waits("actors", run),
        end=dict.fromkeys(("lead", "left", "right", "left-w", "right-w"), "Success"),
        attempts=dict.fromkeys(("lead", "left", "right", "left-w", "right-w"), 2),
        stored={"/shared/all": "success"},
        lead={"allow_subleads": True, "budget_usd": 8.0},
    ),
    "redirect": Shape(
        parts={
            "w": [say("/shared/at", "work"), FOREVER],
            "right": [say("/shared/right", "begun"), UNTIL_RESUMED, commit("right"), say("/shared/told", "{{heard}}")],
            "lead": [spawn("w"), hear("/shared/at"), steer("reprompt_worker", "w", prompt="PLAY: right"), wait("w")],
            "lead/2": [wait("w")],
        },
        moment=lambda run: "/shared/right" in run.stored() and waits("actors", run),
        end=SUCCESS,
        attempts={"lead": 2, "w": 2},
        stored={"/shared/at": "work", "/shared/right": "begun"},
    ),
    "freeze": Shape(
        parts={
            "w": [say("/shared/at", "work"), FOREVER],
            "w/2": [say("/shared/told", "{{heard}}")],
            "lead": [
                *(spawn("w"), hear("/shared/at"), steer("pause_worker", "w", mode="freeze"), UNTIL_RESUMED),
                *(steer("continue_worker", "w", prompt="Go on."), wait("w")),
            ],
        },
        moment=lambda run: run.told("ActorFrozen"),
        end=SUCCESS,
        attempts={"lead": 2, "w": 2},
        stored={"/shared/at": "work", "/shared/told": "Go on."},
    ),
    "pause": Shape(
        parts={
            "w": [say("/shared/at", "work"), FOREVER],
            "w/2": [say("/shared/told", "{{heard}}")],
            "lead": [
                *(spawn("w"), hear("/shared/at"), steer("pause_worker", "w"), UNTIL_RESUMED),
                *(steer("continue_worker", "w", prompt="Go on."), wait("w")),
            ],
        },
        moment=lambda run: run.told("ActorPaused"),
        end=SUCCESS,
        attempts={"lead": 2, "w": 2},
        stored={"/shared/at": "work", "/shared/told": "Go on."},
    ),
    "cancel": Shape(
        parts={
            "w": STUBBORN,
            "sub": [spawn("w"), wait("w"), wait("w"), say("/shared/ended", "{{w_record.status}}")],
            "lead": [
                *(spawn_sublead("sub", read_down=True), hear("/shared/sub"), call("list_workers", "all")),
                call("cancel_worker", target="{{all.workers.0.task_id}}", reason="nonsense"),
                *(wait_sublead("sub"), say("/shared/all", "{{sub_record.outcome}}")),
            ],
        },
        moment=ends("cancel"),
        end={"lead": "Success", "sub": "Success", "w": "Cancelled"},
        attempts={"lead": 2, "sub": 2, "w": 1},
        stored={"/shared/all": "success"},
        lead={"allow_subleads": True, "budget_usd": 8.0},
    ),
    "lead-ends": Shape(
        parts={"w": STUBBORN, "lead": [spawn("w"), hear("/shared/at"), {"text": "enough"}]},
        moment=ends("cancel"),
        end={"lead": "Success", "w": "Cancelled"},
        attempts={"lead": 1, "w": 1},
        stored={"/shared/at": "work"},
    ),
    "time-out": Shape(
        parts={"w": STUBBORN, "lead": [spawn("w"), wait("w")]},
        moment=lambda run: ends("timeout")(run) and ends("cancel")(run),
        end={"lead": "TimedOut", "w": "Cancelled"},
        attempts={"lead": 1, "w": 1},
        stored={"/shared/at": "work"},
        lead={"timeout_secs": 4},
    ),
    "budget": Shape(
        parts={
            "w": STUBBORN,
            "dear": [hear("/shared/at"), {"usage": {"output": 200_000}}, bash("true"), FOREVER],
            "lead": [spawn("w"), spawn("dear"), wait("w")],
        },
        moment=lambda run: [fact for fact in run.told("StopBegan", run.actor("w")) if fact["reason"] == "budget"],
        end={"lead": "Failed", "w": "Failed", "dear": "Failed"},
        attempts={"w": 1, "dear": 1},
        stored={"/shared/at": "work"},
        lead={"budget_usd": 0.5},
    ),
}
SHAPES["cancel"].parts["sub"].insert(0, say("/shared/at", "sub"))
SHAPES["cancel"].parts["lead"][1] = bash("while ! [ -e $UP ]; do sleep 0.02; done")


def manifest(pit: Pit, shape: Shape) -> Path:
    """The shape's manifest; its actors go on only when ``go`` is there."""
    pit.env |= {"GO": str(pit.place / "go"), "UP": str(pit.place / "up")}
    return pit.tree(SUBLEADS, parts=shape.parts, **shape.lead)


def kill(pit: Pit, process: subprocess.Popen[str]) -> None:
    """``kill -9`` of the dispatcher; its guardian ends what it has started."""
    process.kill()
    process.communicate()


def check_end(pit: Pit, shape: Shape) -> None:
    """The end of an undisturbed run, once."""
    run = pit.run
    assert shape.end == run.labelled()
    assert shape.stored.items() <= run.stored().items()
    check_journal(run)
    check_nobody_left(pit, run)
    state = run.state
    assert not state.waits
    assert not state.leases.held
    assert len(shape.end) == len(run.told("ActorSpawned")) + 1, "nobody was spawned twice"
    for label in shape.end:
        actor = run.actor(label)
        admitted = run.told("ActorAdmitted", actor)
        assert list(range(1, len(admitted) + 1)) == [fact["attempt"] for fact in admitted]
        assert 1 == len({fact["session_id"] for fact in admitted}), f"{label} has one session"
        assert 1 == len(run.told("ActorSettled", actor)), f"{label} has one end"
        assert shape.attempts.get(label, len(admitted)) == len(admitted), label
    lines = (run.path / "summary.jsonl").read_text().splitlines()
    assert len(shape.end) == len(lines)


@pytest.mark.parametrize("name", SHAPES)
def test_a_tree_whose_dispatcher_is_killed_comes_to_the_same_end(pit: Pit, name: str) -> None:
    shape = SHAPES[name]
    process = pit.dispatching(manifest(pit, shape))
    if name == "cancel":
        pit.until(lambda run: "/shared/at" in run.stored("sub") and run.told("ToolUsed", run.actor("w")))
        (pit.place / "up").touch()
    pit.until(shape.moment)
    before = pit.run.stored()
    kill(pit, process)
    assert before.items() <= pit.run.stored().items(), "what was acknowledged is there"
    (pit.place / "go").touch()

    ended = pit.pitboss("resume", "--run-dir", str(pit.runs))

    assert int("Failed" in shape.end.values() or "TimedOut" in shape.end.values()) == ended.code, ended.err
    check_end(pit, shape)


def test_a_redirection_outlives_its_dispatcher(pit: Pit) -> None:
    """What it is told after the crash names the last direction it was given, not only the first."""
    shape = SHAPES["redirect"]
    process = pit.dispatching(manifest(pit, shape))
    pit.until(shape.moment)
    kill(pit, process)
    (pit.place / "go").touch()
    assert 0 == pit.pitboss("resume", "--run-dir", str(pit.runs)).code

    told = pit.run.stored()["/shared/told"]
    assert told is not None
    assert "You were cut off" in told
    assert "PLAY: right" in told.partition("The last thing you were told was")[2]


def test_a_stopped_tree_goes_on_where_it_was_stopped(pit: Pit) -> None:
    shape = SHAPES["fan-out"]
    process = pit.dispatching(manifest(pit, shape))
    pit.until(shape.moment)
    process.send_signal(signal.SIGTERM)
    assert 130 == pit.finish(process).code
    assert {"lead": "Cancelled", "quick": "Success", "w": "Cancelled"} == pit.run.labelled()
    (pit.place / "go").touch()

    assert 0 == pit.pitboss("resume", "--run-dir", str(pit.runs)).code

    run = pit.run
    assert shape.end == run.labelled()
    assert shape.stored == run.stored()
    assert 3 == len((run.path / "summary.jsonl").read_text().splitlines())
    assert 1 == len(run.told("ActorAdmitted", run.actor("quick")))
    check_nobody_left(pit, run)


def test_a_drain_ends_with_its_dispatcher(pit: Pit) -> None:
    """One Ctrl-C, then a kill: who takes the run over wants it to go on, spawns included."""
    parts: dict[str, list[Step]] = {
        "w": [say("/shared/at", "work"), UNTIL_RESUMED],
        "more": [say("/shared/more", "done")],
        "lead": [spawn("w"), hear("/shared/at"), UNTIL_RESUMED, spawn("more"), wait("w"), wait("more")],
    }
    shape = Shape(
        parts,
        moment=lambda run: "/shared/at" in run.stored(),
        end={"lead": "Success", "w": "Success", "more": "Success"},
        attempts={"lead": 2, "w": 2, "more": 1},
        stored={"/shared/at": "work", "/shared/more": "done"},
    )
    process = pit.dispatching(manifest(pit, shape))
    pit.until(shape.moment)
    process.send_signal(signal.SIGINT)
    pit.until(lambda run: run.told("DrainBegan"))
    kill(pit, process)
    (pit.place / "go").touch()

    assert 0 == pit.pitboss("resume", "--run-dir", str(pit.runs)).code

    check_end(pit, shape)


def test_a_stop_that_was_cut_off_leaves_everybody_to_go_on(pit: Pit) -> None:
    parts: dict[str, list[Step]] = {
        "w": [*STUBBORN],
        "w/2": [commit("two"), {"text": "after all"}],
        "lead": [spawn("w"), hear("/shared/at"), *STUBBORN[1:]],  # else it would have ended before the kill
        "lead/2": [wait("w")],
    }
    shape = Shape(
        parts,
        moment=lambda run: run.told("StopOrdered"),
        end=SUCCESS,
        attempts={"lead": 2, "w": 2},
        stored={"/shared/at": "work"},
    )
    process = pit.dispatching(manifest(pit, shape))
    pit.until(lambda run: "/shared/at" in run.stored() and run.told("WaitEnded", "lead"))
    for kind in ("DrainBegan", "StopOrdered"):
        process.send_signal(signal.SIGINT)
        pit.until(lambda run: run.told(kind))  # noqa: B023 - asked at once
    kill(pit, process)

    assert 0 == pit.pitboss("resume", "--run-dir", str(pit.runs)).code

    check_end(pit, shape)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_tree_that_is_killed_at_random_moments_comes_to_the_same_end(pit: Pit, seed: int) -> None:
    chance, stages = random.Random(seed), ("one", "two", "three")
    parts: dict[str, object] = {
        name: [
            *(hear(f"/shared/{before}"), call("run_lease_acquire", key="board", ttl_secs=600, wait_secs=60)),
            *(commit(name), say(f"/shared/{name}", "done"), {"delay": 0.3}, call("run_lease_release", key="board")),
        ]
        for before, name in zip(("start", *stages), stages, strict=False)
    }
    parts["sub"] = [*map(spawn, stages), say("/shared/start", "go"), *map(wait, stages)]
    parts["lead"] = [
        spawn_sublead("sub", max_workers=3),
        wait_sublead("sub"),
        say("/shared/all", "{{sub_record.outcome}}"),
    ]
    process = pit.dispatching(pit.tree(SUBLEADS, parts=parts, allow_subleads=True, budget_usd=8.0))
    pit.until(lambda run: run.told("RunOpened"))
    moments: list[float] = []
    for _ in range(5):
        moments.append(chance.uniform(0.0, 1.3))
        try:
            process.wait(moments[-1])
        except subprocess.TimeoutExpired:
            kill(pit, process)
            process = pit.start("resume", "--run-dir", str(pit.runs))
    ended = pit.finish(process)

    run = pit.run
    known = (moments, ended.err, run.labelled())
    assert dict.fromkeys(("lead", "sub", *stages), "Success") == run.labelled(), known
    assert {"/shared/all": "success"} == run.stored(), known
    assert dict.fromkeys(("/shared/start", *(f"/shared/{name}" for name in stages))).keys() == run.stored("sub").keys()
    for name in stages:
        assert name == pit.git("log", "--format=%s", f"main..{run.record(run.actor(name))['branch']}"), known
    assert 4 == len(run.told("ActorSpawned")), known
    check_journal(run)
    check_nobody_left(pit, run)


def test_workers_that_failed_under_a_lead_that_did_well_are_not_said_to_have_ended_well(pit: Pit) -> None:
    parts: dict[str, object] = {"one": [{"exit": 3}], "lead": [spawn("one"), wait("one"), {"text": "done without"}]}
    pit.dispatch(pit.tree(parts=parts, use_worktree=False))
    assert {"one": "Failed", "lead": "Success"} == pit.run.labelled()

    refused = pit.pitboss("resume", "--failed", "--run-dir", str(pit.runs))

    assert 2 == refused.code
    assert "its lead has ended well, and how a worker ended is its lead's to answer for" in refused.err
    assert "with --all, the lead begins once more" in refused.err
