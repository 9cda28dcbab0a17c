"""How a run with a lead is shown: its table, its floor, its end, and by which names its actors are found."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pitboss.core.views import run_view
from pitboss.errors import OperatorError
from pitboss.model.run import ActorId, Phase, Status
from pitboss.model.views import RunView
from pitboss.surfaces import client, render, watching, words
from pitboss.surfaces.floor import floor
from support.legacy import OLD, a_record, a_resolved_task, write_legacy
from support.pictures import (
    CART,
    QUALITY,
    RUN,
    START,
    UNIT,
    done,
    grown,
    opened_tree,
    picture,
    spawned,
    state_of,
    waiting,
    write_run,
)

NOW = START + 123


def at_work(**changes: object) -> RunView:
    return replace(run_view(state_of(grown(Path("/runs")))), **changes)


def test_status_shows_the_tree_and_what_each_layer_may_still_use() -> None:
    assert [
        f"Run: {RUN}",
        "State: running · shop · started 2025-11-24 16:00:00 UTC · running for 2m03s",
        "TASK_ID                        STATUS             DURATION STARTED                    EXIT       COST",
        "-" * 101,
        "coordinator                    ● Running             2m02s 2025-11-24 16:00:01           —          —",
        "  cart (worker-019ab001)       ✓ Success                3s 2025-11-24 16:00:04           0      $0.01",
        "  docs (worker-019ab002)       … Pending                 — —                             —          —",
        "  quality (sublead-019a)       ● Running             1m59s 2025-11-24 16:00:04           —          —",
        "    worker-019ab004            … Pending                 — —                             —          —",
        "-" * 101,
        "Total: 5  Failed: 0  Running: 2  Queued: 2  Cost: $0.01 of $2.00",
        "LAYER           SPENT  RESERVED      LEFT      WORKERS   KEYS",
        "coordinator     $0.01     $0.60     $1.39       1 of 4      1",
        "  quality       $0.00     $0.10     $0.40       1 of 2      0",
        "Leases:",
        "  run-wide gpu: quality, since 16:00:05, until 16:01:05 UTC at the latest",
        "  trunk: docs, since 16:00:05, until 16:01:05 UTC at the latest",
    ] == list(render.status_lines(at_work(), state="running", now=NOW))


def test_a_floor_shows_the_means_of_each_layer_and_indents_those_who_are_led() -> None:
    assert [
        "shop · 019ab000-1111 · 2m03s · 2 running · 2 queued · 1 done · $0.01 of $2.00",
        "coordinator 1 of 4 workers, $1.39 left, trunk leased │ quality 1 of 2 workers, $0.40 left",
        "● Running     coordinator         waits for the end of cart or quality        2m02s               —       —",
        "✓ Success       cart                                                             3s        100/20/0   $0.01",
    ] == floor(at_work(), width=107, height=20, now=NOW).plain.split("\n")[:4]


def test_ids_in_what_an_actor_does_are_names_on_the_floor() -> None:
    view = at_work()
    lead = replace(view.actors[0], doing=f'reprompt_worker {{"task_id":"{CART}"}}')
    shown = floor(replace(view, actors=(lead, *view.actors[1:])), width=110, height=9, now=NOW).plain
    assert 'reprompt_worker {"task_id":"cart"}' in shown


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_has_its_word(phase: Phase) -> None:
    assert words.label(replace(waiting("a"), phase=phase))


def test_a_plan_that_is_still_to_be_approved_is_told() -> None:
    view = run_view(state_of([opened_tree(Path("/runs"), require_plan_approval=True)]))
    assert "no plan approved" in floor(view, width=100, height=9, now=NOW).plain
    assert any(line.endswith("no plan approved yet") for line in render.layer_lines(view))


def test_the_end_counts_the_cancelled_apart_and_names_everyone_by_label() -> None:
    facts = [*grown(Path("/runs")), *done(QUALITY, 9.0)]
    view = run_view(state_of([*facts, *done("coordinator", 10.0)]))
    cancelled = [
        replace(actor, phase=Phase.SETTLED, status=Status.CANCELLED, note=f"cancelled by {QUALITY}", started_at=START)
        if actor.status is None
        else actor
        for actor in view.actors
    ]
    ended = replace(view, actors=tuple(cancelled), ended_at=START + 11)

    lines = list(render.closing_lines(ended, width=80))

    assert lines[0].startswith("Run shop: 3 of 5 actors successful, 2 cancelled, 11s, $0.03 of $2.00, ")
    assert "  ✓ Success       cart (worker-019ab001)        3s    $0.01" in lines
    assert "  docs: cancelled by quality" in lines
    assert "  cart: branch worker-019ab001-2222-7222-8333-000000000001" in lines


def test_a_run_opens_with_its_lead_and_its_cap_or_its_tasks() -> None:
    assert watching.opening_line(at_work()).startswith(f"Run {RUN}: lead coordinator with at most 4 workers, in ")
    unlimited = run_view(state_of([opened_tree(Path("/runs"), max_workers=None)]))
    assert "lead coordinator with any number of workers" in watching.opening_line(unlimited)
    assert ": 1 task, at most 2 at once, in " in watching.opening_line(picture(waiting("a")))


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [CART, "cart", "worker-019ab001", "worker-019ab001…"])
def test_a_worker_is_found_by_its_id_its_label_or_the_beginning_of_its_id(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, grown(tmp_path))
    assert client.find_actor(client.open_run(tmp_path, RUN), name) == CART


def test_a_label_that_two_have_is_refused_with_their_ids(tmp_path: Path) -> None:
    write_run(tmp_path, [*grown(tmp_path), spawned(ActorId("worker-019ab009-1"), "cart")])
    run = client.open_run(tmp_path, RUN)
    with pytest.raises(OperatorError, match=rf"2 actors .* are called 'cart': {CART}, worker-019ab009-1"):
        client.find_actor(run, "cart")
    with pytest.raises(OperatorError, match=r"no actor 'x' .*: coordinator, quality \(sublead-019a\), "):
        client.find_actor(run, "x")


def test_the_run_as_json_has_whole_ids_and_the_layers(tmp_path: Path) -> None:
    write_run(tmp_path, grown(tmp_path))
    told = client.run_json(client.open_run(tmp_path, RUN))
    assert f'"id": "{UNIT}"' in told
    assert '"left_usd"' in told


def test_a_tree_of_pitboss_0_9_is_shown_and_counted_as_one(tmp_path: Path) -> None:
    write_legacy(
        tmp_path,
        [],
        [
            a_record("lead"),
            a_record("worker-1", parent_task_id="lead", status="Cancelled"),
            a_record("worker-2", parent_task_id="sublead-1"),
            a_record("sublead-1", parent_task_id="lead"),
        ],
        ended=False,
        lead=a_resolved_task("lead"),
    )
    run = client.open_run(tmp_path, OLD)
    assert [("lead", 0), ("worker-1", 1), ("sublead-1", 1), ("worker-2", 2)] == [
        (a.id, a.depth) for a in run.view.actors
    ]
    assert 0 == run.view.failed
    assert [0] == [entry.tasks_failed for entry in client.list_runs(tmp_path)]
