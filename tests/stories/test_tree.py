"""Hierarchical runs from the outside: what a lead, its sub-leads and workers leave behind."""

from __future__ import annotations

import json
from typing import cast

import pytest

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
    until_exists,
    wait,
    wait_sublead,
)
from support.pit import Json, Pit, Run

pytestmark = pytest.mark.slow

SHARED = "[sublead_defaults]\nread_down = true"
"""A sub-lead shares the lead's money unless it is given some of its own."""

NAMES = ("one", "two", "three", "four", "five", "six")


def money(run: Run) -> dict[str, float]:
    """What every record says it has cost."""
    return {
        str(record["task_id"]): float(str(record["cost_usd"])) for record in cast("list[Json]", run.summary["tasks"])
    }


def nobody_is_left(pit: Pit) -> bool:
    """No process of any run of this place is there, and the certificates say so too."""
    certificates = [cast("Json", fact["certificate"]) for fact in pit.run.told("ProcessEnded")]
    return pit.with_cookie() == [] and all(each["cookie_empty"] and each["group_empty"] for each in certificates)


def test_a_lead_fans_out_and_gathers(pit: Pit) -> None:
    gathered = " ".join(f"{{{{{name}_record.final_message}}}}" for name in NAMES)
    parts: dict[str, object] = {name: [commit(name), {"text": f"{name} is done"}] for name in NAMES}
    parts["lead"] = [*map(spawn, NAMES), *map(wait, NAMES), say("/shared/all", gathered), {"text": "gathered"}]

    ended = pit.dispatch(pit.tree(parts=parts, max_workers=6))

    run = pit.run
    assert (0, dict.fromkeys(("lead", *NAMES), "Success")) == (ended.code, run.labelled()), ended.err
    assert {"/shared/all": " ".join(f"{name} is done" for name in NAMES)} == run.stored()
    for name in NAMES:
        record = run.record(run.actor(name))
        assert ("lead", name) == (record["parent_task_id"], record["label"])
        assert "done" == pit.git("show", f"{record['branch']}:{name}")
        assert 1 == len(run.told("ActorAdmitted", run.actor(name)))
    assert 7 == len((run.path / "summary.jsonl").read_text().splitlines())
    assert sum(money(run).values()) == pytest.approx(float(str(run.summary["total_cost_usd"])))
    assert min(money(run).values()) > 0
    assert nobody_is_left(pit)


def test_a_hundred_workers_are_led_by_one(pit: Pit) -> None:
    names = [f"w{number}" for number in range(100)]
    parts: dict[str, object] = {"w*": [say("/peer/self/done", "yes")]}
    parts["lead"] = [*map(spawn, names), *map(wait, names), call("kv_list", "listed", glob="/peer/**")]

    ended = pit.dispatch(pit.tree(parts=parts, use_worktree=False))

    run = pit.run
    assert 0 == ended.code, ended.err
    assert {"Success"} == set(run.labelled().values())
    assert 101 == len(run.statuses())
    assert {f"/peer/{run.actor(name)}/done" for name in names} == set(run.stored())
    assert nobody_is_left(pit)


def pipeline(names: tuple[str, ...]) -> dict[str, object]:
    """Each stage waits for the key of the one before; all of them write the same file, one at a time."""
    parts: dict[str, object] = {}
    for before, name in zip(("start", *names), names, strict=False):
        parts[name] = [
            hear(f"/shared/{before}"),
            call("run_lease_acquire", "lease", key="the-log", ttl_secs=60, wait_secs=60),
            bash(f"echo {name} >> $LOG"),
            say(f"/shared/{name}", f"after {{{{heard_{before}.text}}}}"),
            call("run_lease_release", key="the-log"),
        ]
    parts["lead"] = [*map(spawn, reversed(names)), say("/shared/start", "start"), *map(wait, names)]
    return parts


def test_a_pipeline_hands_on_by_keys_and_leases(pit: Pit) -> None:
    names = NAMES[:4]
    pit.env["LOG"] = str(pit.place / "log")

    ended = pit.dispatch(pit.tree(parts=pipeline(names), use_worktree=False))

    run = pit.run
    assert (0, {"Success"}) == (ended.code, set(run.labelled().values())), ended.err
    assert list(names) == (pit.place / "log").read_text().split()
    assert "after after start" == run.stored()["/shared/two"]
    changes = [fact for fact in run.facts if fact["fact"] in {"LeaseTaken", "LeaseOver"}]
    assert ["LeaseTaken", "LeaseOver"] * 4 == [fact["fact"] for fact in changes], "one holder at a time"
    taken = [cast("Json", fact["lease"]) for fact in run.told("LeaseTaken")]
    assert [run.actor(name) for name in names] == [lease["holder"] for lease in taken]
    assert sorted({int(str(lease["fence"])) for lease in taken}) == [lease["fence"] for lease in taken]
    assert not run.state.leases.held
    assert not run.state.waits


def test_a_lease_waits_for_its_holder_and_goes_to_the_next_when_that_ends(pit: Pit) -> None:
    take = call("lease_acquire", "lease", name="board", ttl_secs=60, wait_secs=60)
    parts: dict[str, object] = {
        "first": [take, say("/shared/taken", "yes"), until_exists(pit.place / "go")],
        "second": [hear("/shared/taken"), take, say("/shared/second", "is mine: {{lease.acquired}}")],
        "lead": [spawn("first"), spawn("second"), wait("first"), wait("second")],
    }
    process = pit.dispatching(pit.tree(parts=parts, use_worktree=False))
    run = pit.until(lambda run: any(cast("Json", wait["awaited"])["type"] == "lease" for wait in run.told("WaitBegan")))
    assert [run.actor("first")] == [cast("Json", fact["lease"])["holder"] for fact in run.told("LeaseTaken")]

    (pit.place / "go").touch()

    assert 0 == pit.finish(process).code
    assert "is mine: true" == run.stored()["/shared/second"]
    assert "holder_ended" in [cast("Json", fact["ended"])["reason"] for fact in run.told("LeaseOver")]


def test_sub_leads_have_their_own_money_and_their_own_store(pit: Pit) -> None:
    look: list[Step] = [call("kv_get", "plan", path="/shared/plan"), {"text": "{{plan.entry.text}}"}]
    parts: dict[str, object] = {"left-w": look, "right-w": look}
    for side in ("left", "right"):
        parts[side] = [say("/shared/plan", f"go {side}"), spawn(f"{side}-w"), wait(f"{side}-w"), {"text": side}]
    parts["lead"] = [
        spawn_sublead("left", budget_usd=1.0, initial_ref={"task": "left"}),
        spawn_sublead("right", budget_usd=2.0, read_down=True),
        call("spawn_sublead", "third", prompt="PLAY: left", model="claude-haiku-4-5", budget_usd=9.0, max_workers=1),
        wait_sublead("left"),
        wait_sublead("right"),
        call("kv_get", "plan", path="/shared/plan"),
        say("/shared/seen", "{{plan.entry}} {{third.error}} {{left_record.outcome}}"),
    ]

    ended = pit.dispatch(pit.tree(SHARED, parts=parts, allow_subleads=True, budget_usd=10.0, use_worktree=False))

    run = pit.run
    assert (0, 5, {"Success"}) == (ended.code, len(run.statuses()), set(run.labelled().values())), ended.err
    assert {"/ref/task": '"left"', "/shared/plan": "go left"} == run.stored("left")
    assert {"/shared/plan": "go right"} == run.stored("right")
    assert ["go left", "go right"] == [run.record(run.actor(name))["final_message"] for name in ("left-w", "right-w")]
    (seen,) = run.stored().values()
    assert seen is not None
    assert seen.startswith("null ")
    assert seen.endswith(" success")
    assert "budget exceeded: $0.0059 spent + $3.00 reserved + $9.00 estimated > $10.00 budget" in seen
    assert {
        "lead": None,
        "left": "lead",
        "right": "lead",
        "left-w": run.actor("left"),
        "right-w": run.actor("right"),
    } == {
        name: run.record(run.actor(name))["parent_task_id"] for name in ("lead", "left", "right", "left-w", "right-w")
    }
    assert nobody_is_left(pit)


# --- how a tree ends ------------------------------------------------------------------------------------------------


def test_workers_end_with_their_lead(pit: Pit) -> None:
    parts: dict[str, object] = {
        "slow": [say("/shared/up", "yes"), FOREVER],
        "lead": [spawn("slow"), hear("/shared/up"), {"text": "that is enough"}],
    }
    ended = pit.dispatch(pit.tree(parts=parts))

    run = pit.run
    assert (0, {"slow": "Cancelled", "lead": "Success"}) == (ended.code, run.labelled())
    assert "cancelled when lead exited" in str(run.record(run.actor("slow"))["note"])
    assert nobody_is_left(pit)


def test_a_lead_that_times_out_takes_its_workers_along(pit: Pit) -> None:
    parts: dict[str, object] = {"slow": [say("/shared/up", "yes"), FOREVER], "lead": [spawn("slow"), wait("slow")]}
    ended = pit.dispatch(pit.tree(parts=parts, timeout_secs=4))

    run = pit.run
    assert (1, {"slow": "Cancelled", "lead": "TimedOut"}) == (ended.code, run.labelled())
    assert ["dropped"] == [fact["how"] for fact in run.told("WaitEnded", "lead")]
    assert nobody_is_left(pit)


def test_a_cancelled_worker_takes_its_grandchildren_along_and_its_lead_hears_why(pit: Pit) -> None:
    parts: dict[str, object] = {
        "bad": [{"spawn": 600}, say("/shared/up", "yes"), FOREVER],
        "sub": [
            spawn("bad"),
            wait("bad"),
            say("/shared/told", "{{heard}}"),
            wait("bad"),
            {"text": "{{bad_record.status}}"},
        ],
        "lead": [
            spawn_sublead("sub", read_down=True),
            until_exists(pit.place / "up"),
            call("list_workers", "all"),
            call("cancel_worker", target="{{all.workers.0.task_id}}", reason="it writes nonsense"),
            wait_sublead("sub"),
        ],
    }
    process = pit.dispatching(pit.tree(SHARED, parts=parts, allow_subleads=True, use_worktree=False, budget_usd=5.0))
    run = pit.until(lambda run: run.told("StoreWritten") and run.told("WaitBegan"))  # it hears while it waits
    (pit.place / "up").touch()

    ended = pit.finish(process)

    assert (0, {"bad": "Cancelled", "sub": "Success", "lead": "Success"}) == (ended.code, run.labelled()), ended.err
    told = run.stored("sub")["/shared/told"]
    assert told is not None
    assert "was killed by lead" in told
    assert "Reason: it writes nonsense" in told
    assert "Cancelled" == run.record(run.actor("sub"))["final_message"]
    (gone,) = run.told("ProcessEnded", run.actor("bad"))
    certificate = cast("Json", gone["certificate"])
    assert len(cast("list[object]", certificate["stopped"])) >= 1
    assert nobody_is_left(pit)


def test_a_spawn_beyond_the_budget_is_refused_and_told_what_is_left(pit: Pit) -> None:
    parts: dict[str, object] = {
        "one": [{"text": "cheap"}],
        "lead": [
            spawn("one"),
            spawn("two"),
            spawn("three"),
            wait("one"),
            wait("two"),
            say("/shared/no", "{{three.error}}"),
        ],
    }
    ended = pit.dispatch(pit.tree(parts=parts, budget_usd=0.25, use_worktree=False))

    run = pit.run
    assert (0, 3) == (ended.code, len(run.statuses())), ended.err
    refusal = str(run.stored()["/shared/no"])
    assert "budget exceeded: $0.0" in refusal
    assert "> $0.25 budget" in refusal


def test_a_tree_that_spends_all_of_its_money_is_stopped(pit: Pit) -> None:
    dear: list[Step] = [{"usage": {"output": 30_000}}, bash("true"), bash("true"), FOREVER]
    parts: dict[str, object] = {
        "one": dear,
        "two": dear,
        "lead": [spawn("one"), spawn("two"), wait("one")],
    }
    ended = pit.dispatch(pit.tree(parts=parts, budget_usd=0.5, use_worktree=False))

    run = pit.run
    assert 1 == ended.code
    assert {"lead": "Failed", "one": "Failed", "two": "Failed"} == run.labelled()
    for name in ("lead", "one", "two"):
        assert "budget_exceeded" == cast("Json", run.record(run.actor(name))["failure_reason"])["pitboss_kind"]
    assert nobody_is_left(pit)


def test_a_worker_has_no_tools_to_steer_with(pit: Pit) -> None:
    """A worker may not steer, and a refusal of that is an answer like any other."""
    parts: dict[str, object] = {
        "w": [steer("cancel_worker", "w") | {"input": {"task_id": "lead"}}, {"text": "{{w_cancel_worker.error}}"}],
        "lead": [spawn("w"), wait("w")],
    }
    ended = pit.dispatch(pit.tree(parts=parts, use_worktree=False))

    assert 0 == ended.code
    assert "tool not found" in str(pit.run.record(pit.run.actor("w"))["final_message"])
    init = next(json.loads(line) for line in pit.run.log(pit.run.actor("w")).splitlines() if b'"init"' in line)
    assert "mcp__pitboss__kv_set" in init["tools"]
    assert "mcp__pitboss__spawn_worker" not in init["tools"]
