"""Trees of the real CLI, its models scripted; each actor is known to the script by its prompt."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import psutil
import pytest

from stories.test_random_kills import check_journal, check_nobody_left
from stories.test_tree_steering import stands_still, until
from support.pit import Json, Pit, Run
from support.rehearsal import Model, start_model

pytestmark = [pytest.mark.slow, pytest.mark.claude]

Turn = str | Json
"""A text, or one tool call."""


def ours(tool: str, **arguments: object) -> Json:
    """A call of a tool of ours."""
    return {"name": f"mcp__pitboss__{tool}", "input": arguments}


def bash(command: str) -> Json:
    """A shell command."""
    return {"name": "Bash", "input": {"command": command, "description": "work"}}


def commit(name: str) -> Json:
    """Commit a file."""
    return bash(f"echo done > {name} && git add {name} && $COMMIT {name}")


BUSY = bash("timeout 60 tail -f /dev/null")
"""Goes on until it is interrupted; the CLI takes no long sleep."""


def result(number: int, path: str) -> str:
    """What the actor's call number so many, from 0, was answered."""
    return f"{{{{result[{number}].json.{path}}}}}"


@contextmanager
def played(pit: Pit, parts: Mapping[str, Sequence[Turn]]) -> Iterator[Model]:
    """Have the real CLI play these parts, each that of the actor whose prompt begins so."""
    lines = []
    for prompt, turns in parts.items():
        lines += ["[[actor]]", 'id = "*"', f'prompt = "{prompt}*"']
        for turn in turns:
            said = f"text = {json.dumps(turn)}" if isinstance(turn, str) else f"tools = [{_toml(turn)}]"
            lines += ["[[actor.turn]]", said]
    with start_model(pit.place / "model", "\n".join(lines)) as model:
        pit.use_real_claude(model.url)
        yield model


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(item)}' for key, item in value.items())} }}"
    return json.dumps(value)


def turns_of(model: Model, run: Run, label: str) -> list[Json]:
    """What an actor's model was asked, in order."""
    session = run.told("ActorAdmitted", run.actor(label))[0]["session_id"]
    return [each for each in model.requests() if each["session"] == session and each["kind"] == "turn"]


def killed_and_resumed(pit: Pit, manifest: Path, moment: Callable[[Run], object]) -> tuple[int, Run]:
    """``kill -9`` at a moment, then a resume: its exit code, and the run.

    The sessions stand still by then. Else one whose pipe is gone goes on asking its model until the guardian ends it:
    no tool call of that can run, but on a busy machine eight replies of the script were gone with it.
    """
    process = pit.dispatching(manifest)
    pit.until(moment)
    for session in pit.with_cookie():
        session.suspend()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    ended = pit.pitboss("resume", "--run-dir", str(pit.runs))
    return ended.code, pit.run


def check_taken_over(pit: Pit, run: Run, labels: Sequence[str]) -> None:
    """Everyone was spawned once, went on in the session it had, and settled once."""
    for name in map(run.actor, labels):
        assert [1, 2] == [fact["attempt"] for fact in run.told("ActorAdmitted", name)]
        assert 1 == len({fact["session_id"] for fact in run.told("ActorAdmitted", name)})
        assert 1 == len(run.told("ActorSettled", name))
    assert len(run.statuses()) - 1 == len(run.told("ActorSpawned"))
    check_journal(run)
    check_nobody_left(pit, run)


def test_real_workers_are_fanned_out_and_gathered(pit: Pit) -> None:
    parts: dict[str, list[Turn]] = {
        "lead": [
            ours("spawn_worker", prompt="one", label="one"),
            ours("spawn_worker", prompt="two", label="two"),
            ours("wait_for_worker", task_id=result(0, "task_id")),
            ours("wait_for_worker", task_id=result(1, "task_id")),
            ours("kv_set", path="/shared/all", value=f"{result(2, 'status')} {result(3, 'final_message')}"),
            "gathered",
        ],
        "one": [commit("one"), ours("kv_set", path="/shared/one", value="done"), "one is written"],
        "two": [ours("kv_wait", path="/shared/one", timeout_secs=30), commit("two"), "two is written"],
    }
    with played(pit, parts):
        ended = pit.dispatch(pit.tree(prompt="lead"))

    run = pit.run
    assert (0, dict.fromkeys(("lead", "one", "two"), "Success")) == (ended.code, run.labelled()), ended.err
    assert {"/shared/one": "done", "/shared/all": "Success two is written"} == run.stored()
    for name in ("one", "two"):
        assert "done" == pit.git("show", f"{run.record(run.actor(name))['branch']}:{name}")
    check_journal(run)
    check_nobody_left(pit, run)


def test_a_real_worker_drops_what_it_does_when_it_is_redirected(pit: Pit) -> None:
    parts: dict[str, list[Turn]] = {
        "lead": [
            ours("spawn_worker", prompt="drift", label="w"),
            ours("kv_wait", path="/shared/at", timeout_secs=30),
            bash(f"until [ -e {pit.place}/drifts ]; do sleep 0.02; done"),
            ours("reprompt_worker", task_id=result(0, "task_id"), prompt="Rather do this."),
            ours("wait_for_worker", task_id=result(0, "task_id")),
            "ended",
        ],
        "drift": [
            ours("kv_set", path="/shared/at", value="work"),
            bash(f"touch {pit.place}/drifts; timeout 60 tail -f /dev/null"),
            commit("right"),
            "did that",
        ],
    }
    with played(pit, parts) as model:
        ended = pit.dispatch(pit.tree(prompt="lead"))

        run = pit.run
        worker = run.actor("w")
        assert (0, {"w": "Success", "lead": "Success"}) == (ended.code, run.labelled()), ended.err
        assert "Rather do this." in [turn["heard"] for turn in turns_of(model, run, "w")]
    assert 1 == len(run.told("ProcessStarted", worker)), "nothing was killed"
    subtypes = [cast("Json", fact["result"])["subtype"] for fact in run.told("TurnFinished", worker)]
    assert ["error_during_execution", "success"] == subtypes
    record = run.record(worker)
    assert (1, "did that") == (record["reprompt_count"], record["final_message"])
    assert "right" == pit.git("log", "--format=%s", f"main..{record['branch']}")
    check_nobody_left(pit, run)


def test_a_real_worker_is_frozen_paused_and_goes_on_in_its_session(pit: Pit) -> None:
    drifts = [f"until [ -e {pit.place}/{name} ]; do sleep 0.02; done" for name in ("drifts", "thaw")]
    parts: dict[str, list[Turn]] = {
        "lead": [
            ours("spawn_worker", prompt="drift", label="w"),
            bash(drifts[0]),
            ours("pause_worker", task_id=result(0, "task_id"), mode="freeze"),
            bash(drifts[1]),
            ours("continue_worker", task_id=result(0, "task_id")),
            ours("pause_worker", task_id=result(0, "task_id")),
            bash(f"until [ -e {pit.place}/paused ]; do sleep 0.02; done"),
            ours("continue_worker", task_id=result(0, "task_id"), prompt="Finish it."),
            ours("wait_for_worker", task_id=result(0, "task_id")),
            "ended",
        ],
        "drift": [
            commit("started"),
            bash(f"touch {pit.place}/drifts; timeout 60 tail -f /dev/null"),
            bash("cat started && git add -A && $COMMIT more --allow-empty"),
            "finished",
        ],
    }
    with played(pit, parts) as model:
        process = pit.dispatching(pit.tree(prompt="lead"))
        run = pit.until(lambda run: run.told("ActorFrozen"))
        session = psutil.Process(int(str(run.told("ProcessStarted", run.actor("w"))[0]["pid"])))
        until(lambda: stands_still(pit, run.actor("w")))
        (pit.place / "thaw").touch()
        pit.until(lambda run: run.told("ActorPaused"))
        assert not session.is_running()
        (pit.place / "paused").touch()
        ended = pit.finish(process)
        heard = [turn["heard"] for turn in turns_of(model, run, "w")]

    worker = run.actor("w")
    assert (0, {"w": "Success", "lead": "Success"}) == (ended.code, run.labelled()), ended.err
    record = run.record(worker)
    assert ("finished", 2) == (record["final_message"], record["pause_count"])
    assert "Finish it." in heard
    assert 1 == len({fact["session_id"] for fact in run.told("ActorAdmitted", worker)})
    assert "more\nstarted" == pit.git("log", "--format=%s", f"main..{record['branch']}")
    check_nobody_left(pit, run)


def test_real_sub_leads_have_stores_of_their_own(pit: Pit) -> None:
    envelope: Json = {"model": "claude-haiku-4-5", "budget_usd": 1.0, "max_workers": 1}
    parts: dict[str, list[Turn]] = {
        "lead": [
            *(ours("spawn_sublead", prompt=side, label=side, **envelope) for side in ("left", "right")),
            ours("wait_actor", actor_id=result(0, "sublead_id")),
            ours("wait_actor", actor_id=result(1, "sublead_id")),
            "both are done",
        ],
        "worker": [ours("kv_get", path="/shared/plan", form="text"), result(0, "entry.text")],
    }
    for side in ("left", "right"):
        parts[side] = [
            ours("kv_set", path="/shared/plan", value=side),
            ours("spawn_worker", prompt="worker", label=f"{side}-w"),
            ours("wait_for_worker", task_id=result(1, "task_id")),
            f"{side}: {result(2, 'final_message')}",
        ]
    with played(pit, parts):
        shared = "[sublead_defaults]\nread_down = true"
        ended = pit.dispatch(pit.tree(shared, prompt="lead", allow_subleads=True, budget_usd=8.0, use_worktree=False))

    run = pit.run
    assert (0, 5, {"Success"}) == (ended.code, len(run.statuses()), set(run.labelled().values())), ended.err
    told = {side: run.record(run.actor(side))["final_message"] for side in ("left", "right")}
    assert {"left": "left: left", "right": "right: right"} == told
    assert ({"/shared/plan": "left"}, {"/shared/plan": "right"}) == (run.stored("left"), run.stored("right"))
    check_nobody_left(pit, run)


def test_a_real_tree_whose_dispatcher_is_killed_goes_on(pit: Pit) -> None:
    """The lead was cut off in its wait, the worker in its shell; both go on in their sessions."""
    wait = ours("wait_for_worker", task_id=result(0, "task_id"))
    second = bash("[ -e two ] || { echo done > two && git add two && $COMMIT two; }")
    parts: dict[str, list[Turn]] = {
        # A call that was cut off is made again, and any wait after the end is answered at once.
        "lead": [ours("spawn_worker", prompt="work", label="w"), *([wait] * 6), "ended"],
        "work": [
            commit("one"),
            ours("kv_set", path="/shared/one", value="kept"),
            BUSY,
            *([second] * 4),
            "both written",
        ],
    }
    with played(pit, parts) as model:
        code, run = killed_and_resumed(
            pit,
            pit.tree(prompt="lead"),
            lambda run: len(run.told("ToolUsed", run.actor("w"))) == 3 and run.told("WaitBegan", "lead"),
        )
        heard = [str(turn["heard"]) for turn in turns_of(model, pit.run, "lead")]

    worker = run.actor("w")
    assert (0, {"w": "Success", "lead": "Success"}) == (code, run.labelled())
    assert any(f"You were waiting for the end of {worker}" in each for each in heard)
    assert {"/shared/one": "kept"} == run.stored()
    assert "two\none" == pit.git("log", "--format=%s", f"main..{run.record(worker)['branch']}")
    check_taken_over(pit, run, ("lead", "w"))


def test_a_real_sub_lead_and_its_worker_go_on_after_a_kill(pit: Pit) -> None:
    envelope: Json = {"model": "claude-haiku-4-5", "budget_usd": 1.0, "max_workers": 1}
    last = ours("kv_set", path="/shared/done", value="yes")
    parts: dict[str, list[Turn]] = {
        "lead": [
            ours("spawn_sublead", prompt="left", label="left", **envelope),
            *([ours("wait_actor", actor_id=result(0, "sublead_id"))] * 6),
            "all done",
        ],
        "left": [
            ours("kv_set", path="/shared/plan", value="left"),
            ours("spawn_worker", prompt="work", label="w"),
            *([ours("wait_for_worker", task_id=result(1, "task_id"))] * 6),
            "left is done",
        ],
        "work": [ours("kv_set", path="/shared/at", value="work"), BUSY, *([last] * 4), "worked"],
    }
    with played(pit, parts):
        shared = "[sublead_defaults]\nread_down = true"
        manifest = pit.tree(shared, prompt="lead", allow_subleads=True, budget_usd=8.0, use_worktree=False)
        code, run = killed_and_resumed(
            pit,
            manifest,
            lambda run: len(run.told("WaitBegan")) == 2 and len(run.told("ToolUsed", run.actor("w"))) == 2,
        )

    assert (0, {"left": "Success", "w": "Success", "lead": "Success"}) == (code, run.labelled())
    assert {"/shared/plan": "left", "/shared/at": "work", "/shared/done": "yes"} == run.stored("left")
    check_taken_over(pit, run, ("lead", "left", "w"))


def test_a_real_pipeline_goes_on_after_a_kill_and_its_lease_has_one_holder_at_a_time(pit: Pit) -> None:
    log = pit.place / "log"

    def note(name: str) -> Json:
        return bash(f"grep -qs {name} {log} || echo {name} >> {log}")

    lease = ours("run_lease_acquire", key="log", ttl_secs=600, wait_secs=60)
    free = ours("run_lease_release", key="log")
    turn = ours("kv_wait", path="/shared/one", timeout_secs=60)
    parts: dict[str, list[Turn]] = {
        "lead": [
            ours("spawn_worker", prompt="first", label="first"),
            ours("spawn_worker", prompt="second", label="second"),
            *([ours("wait_for_worker", task_id=result(1, "task_id"))] * 6),
            "all done",
        ],
        "first": [lease, BUSY, *([note("first")] * 4), ours("kv_set", path="/shared/one", value="1"), free, "first"],
        "second": [*([turn] * 6), lease, note("second"), free, "second"],
    }
    with played(pit, parts):
        code, run = killed_and_resumed(
            pit,
            pit.tree(prompt="lead", use_worktree=False),
            lambda run: len(run.told("WaitBegan")) == 2 and len(run.told("ToolUsed", run.actor("first"))) == 2,
        )

    assert (0, {"first": "Success", "second": "Success", "lead": "Success"}) == (code, run.labelled())
    assert ["first", "second"] == log.read_text().split()
    changes = [str(fact["fact"]) for fact in run.facts if fact["fact"] in {"LeaseTaken", "LeaseOver"}]
    assert ["LeaseTaken", "LeaseOver"] * 2 == changes
    check_taken_over(pit, run, ("lead", "first", "second"))


def test_a_real_lead_whose_budget_runs_out_is_told_and_lives_with_what_it_has(pit: Pit) -> None:
    parts: dict[str, list[Turn]] = {
        "lead": [
            ours("spawn_worker", prompt="work", label="one", model="claude-opus-4-5"),
            ours("spawn_worker", prompt="work", label="two", model="claude-opus-4-5"),
            ours("kv_set", path="/shared/told", value="{{last}}"),
            ours("wait_for_worker", task_id=result(0, "task_id")),
            "made do with one",
        ],
        "work": ["worked"],
    }
    with played(pit, parts):
        ended = pit.dispatch(pit.tree(prompt="lead", budget_usd=3.0, use_worktree=False))

    run = pit.run
    assert (0, {"one": "Success", "lead": "Success"}) == (ended.code, run.labelled()), ended.err
    told = run.stored()["/shared/told"]
    assert told is not None
    assert "budget exceeded" in told
    spent = sum(float(str(run.record(name)["cost_usd"])) for name in run.statuses())
    assert spent == pytest.approx(float(str(run.summary["total_cost_usd"])))
    check_journal(run)
    check_nobody_left(pit, run)
