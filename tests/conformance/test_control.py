"""The operators' socket against the contract of Pitboss 0.9, section by section of its description.

A client of 0.9 says the hello of 0.9 here, knows none of our keys, and finds what it knows. Where 0.9 fell short, the
test says so and shows what ours does. What is not here: the audit lines of 0.9 in ``tasks/<id>/events.jsonl`` (6.3) are
facts of the journal, which say who ordered what, and more; where the socket lies and who may connect (2, 3) is in
``tests/services/test_control.py``, with real files and real strangers.
"""

from __future__ import annotations

import json
import os
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pitboss.journal.rundir import RunDir
from pitboss.model import calls as c
from pitboss.model import order_facts as of
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model.run import ActorId, Failure, Rule
from pitboss.testing.doubles import RUN, a_run, a_tree
from support.operators import HELLO, OLD_HELLO, Caller, Desk, Event, hang_up, led, until

A_RULE = {"match": {"category": "tool_use"}, "action": "auto_approve"}


@pytest.fixture
def rundir() -> Iterator[RunDir]:
    with tempfile.TemporaryDirectory(prefix="pb-", dir="/tmp") as folder:
        yield RunDir.create(Path(folder, "runs"), RUN, snapshot=b"", resolved=b"{}", meta=b"{}")


@pytest.fixture(autouse=True)
async def _hang_up() -> AsyncIterator[None]:
    yield
    await hang_up()


@pytest.fixture
async def tree(rundir: RunDir) -> AsyncIterator[Desk]:
    """A lead at work, with a worker and a sub-lead with a worker of its own, all at work."""
    desk = led(Desk(rundir, a_tree()))
    desk.story.spawns("lead")
    answer = desk.story.calls("lead", c.SpawnSublead(prompt="x", model="m", budget_usd=2.0, max_workers=3))
    assert answer is not None
    desk.story.working(desk.names[2])
    desk.story.spawns(desk.names[2])
    async with desk.open():
        yield desk


@pytest.fixture
async def flat(rundir: RunDir) -> AsyncIterator[Desk]:
    """Two tasks at work, and one that waits."""
    desk = Desk(rundir, a_run("a", "b", "c", max_parallel=2, max_starts=2))
    desk.story.working("a", "b")
    async with desk.open():
        yield desk


# --- 1, 2: purpose and place ------------------------------------------------------------------------------------------


async def test_1_gap_a_flat_run_is_reached_and_steered_for_its_whole_life(flat: Desk) -> None:
    """In 0.9 its socket went away as soon as it was set up."""
    old = await Caller.connect(flat.path, says=OLD_HELLO)
    assert "op_acked" == (await old.ask("cancel_worker", task_id="a"))["event"]
    assert "stopping" == flat.story.actor("a").phase


async def test_2_gap_the_socket_of_a_run_that_lives_is_never_swept_away(rundir: RunDir) -> None:
    """In 0.9 any start unlinked each socket of more than 24 h, and a socket's age is its run's."""
    runtime = rundir.path / "runtime"
    runtime.mkdir()
    with socket.socket(socket.AF_UNIX) as other:
        (runtime / "pitboss").mkdir()
        neighbour = runtime / "pitboss" / "other.control.sock"
        other.bind(str(neighbour))
        os.utime(neighbour, (0, 0))
        async with Desk(rundir, a_run("a"), runtime_dir=str(runtime)).open():
            assert neighbour.is_socket()


# --- 4: framing -------------------------------------------------------------------------------------------------------


async def test_4_every_line_is_one_object_with_an_event_and_ends_in_one_newline(tree: Desk) -> None:
    old = await Caller.connect(tree.path, says=OLD_HELLO)
    old.send({"op": "list_workers"}, {"op": "cancel_run"}, b"nonsense\n")
    for _ in range(3):
        line = await old.reader.readline()
        assert line.endswith(b"}\n")
        assert not line.endswith(b"\r\n")
        assert isinstance(json.loads(line)["event"], str)


async def test_4_a_carriage_return_and_keys_that_are_not_known_are_passed_over(tree: Desk) -> None:
    old = await Caller.connect(tree.path, hello=False)
    old.send(b'{"op":"hello","client_version":"0.9.2","shoe_size":[44]}\r\n')
    assert "hello" == (await old.hear())["event"]
    assert "op_acked" == (await old.ask("update_policy", rules=[], new={"x": 1}))["event"]


async def test_4_what_is_absent_is_left_out_and_not_null(tree: Desk) -> None:
    old = await Caller.connect(tree.path, says=OLD_HELLO)
    tree.ask()
    events = [await old.hear_of("approval_request"), await old.ask("list_workers"), await old.ask("dance")]
    assert "null" not in json.dumps(events)


async def test_4_gap_a_path_places_requests_and_failures_in_the_tree(tree: Desk) -> None:
    """In 0.9 ``actor_path`` was thought of, and dropped before it was sent."""
    *_, deep = tree.names
    old = await Caller.connect(tree.path, says=OLD_HELLO)
    tree.story.fails(deep)
    tree.see()
    assert ["lead", tree.names[2], deep] == (await old.hear_of("worker_failed"))["actor_path"]


# --- 5: handshake -----------------------------------------------------------------------------------------------------


async def test_5_the_hello_comes_first_and_says_who_the_run_is(tree: Desk) -> None:
    tree.story.when(s.OrderGiven(at=tree.story.at, order=o.ReplacePolicy(rules=(Rule(action="block"),))))
    tree.see()
    tree.ask()
    old = await Caller.connect(tree.path, hello=False)
    old.send(OLD_HELLO)
    hello = await old.hear()
    rule = {"match": {"actor": None, "category": None, "tool_name": None, "cost_over": None}, "action": "block"}
    assert {
        "event": "hello",
        "run_id": RUN,
        "run_kind": "hierarchical",
        "policy_rules": [rule],
    }.items() <= hello.items()
    assert {"lead", tree.names[1], tree.names[2]} == set(hello["workers"])  # type: ignore[call-overload]
    assert "approval_request" == (await old.hear())["event"]


async def test_5_rules_are_left_out_of_the_hello_if_there_are_none(flat: Desk) -> None:
    old = await Caller.connect(flat.path, hello=False)
    old.send(OLD_HELLO)
    assert "policy_rules" not in await old.hear()


@pytest.mark.parametrize(
    ("line", "op", "error"),
    [
        (b'{"op":"cancel_run"}\n', "cancel_run", "expected hello as first message"),
        (b"garbage\n", "hello", "parse error: "),
        (b'{"op":"hello"}\n', "hello", "parse error: "),
    ],
)
async def test_5_a_first_line_that_is_no_hello_is_told_so_and_nothing_is_done(
    flat: Desk, line: bytes, op: str, error: str
) -> None:
    old = await Caller.connect(flat.path, hello=False)
    old.send(line)
    failed = await old.hear()
    assert ("op_failed", op) == (failed["event"], failed["op"])
    assert str(failed["error"]).startswith(error)
    assert await old.ended()
    assert not flat.posted


async def test_5_who_leaves_without_a_word_is_let_go(flat: Desk) -> None:
    silent = await Caller.connect(flat.path, hello=False)
    silent.writer.write_eof()
    assert await silent.ended()


async def test_5_a_second_hello_is_acknowledged_and_replays_nothing(tree: Desk) -> None:
    tree.ask()
    old = await Caller.connect(tree.path, says=OLD_HELLO)
    await old.hear_of("sublead_spawned")
    old.send(OLD_HELLO, {"op": "list_workers"})
    assert {"event": "op_acked", "op": "hello"} == await old.hear()
    assert "workers_snapshot" == (await old.hear())["event"]


async def test_5_gap_six_hundred_requests_are_delivered_once_each_oldest_first_and_again_after_a_restart(
    rundir: RunDir,
) -> None:
    """In 0.9 each came twice, and more than 256 of them wedged the connection for good."""
    desk = led(Desk(rundir, a_tree()))
    names = [desk.ask(str(number)) for number in range(600)]
    async with desk.open():
        old = await Caller.connect(desk.path, says=OLD_HELLO)
        assert names == [(await old.hear_of("approval_request"))["request_id"] for _ in names]
        assert "op_acked" == (await old.ask("approve", request_id=names[0], approved=True))["event"]
    desk.story.killed()
    desk.story.reopened("lead")
    again = Desk(rundir, a_tree(), story=desk.story)
    async with again.open():
        old = await Caller.connect(again.path, says=OLD_HELLO)
        assert names[1:] == [(await old.hear_of("approval_request"))["request_id"] for _ in names[1:]]
        assert "op_failed" == (await old.ask("dance"))["event"], "and nothing more comes before the next answer"


async def test_5_gap_who_joins_late_is_told_of_sub_leads_and_of_what_has_failed(tree: Desk) -> None:
    """In 0.9 it could learn neither."""
    tree.story.fails(tree.names[1])
    tree.see()
    old = await Caller.connect(tree.path, says=OLD_HELLO)
    spawned, failed = await old.hear_of("sublead_spawned"), await old.hear_of("worker_failed")
    assert {
        "sublead_id": tree.names[2],
        "budget_usd": 2.0,
        "max_workers": 3,
        "read_down": False,
    }.items() <= spawned.items()
    assert tree.names[1] == failed["task_id"]


# --- 6: ops -----------------------------------------------------------------------------------------------------------


async def test_6_ops_are_carried_out_one_after_another_and_answered_once_each_in_order(flat: Desk) -> None:
    old = await Caller.connect(flat.path, says=OLD_HELLO)
    ops = ["pause_worker", "continue_worker", "cancel_worker", "list_workers", "dance", "cancel_run"]
    for op in ops:
        old.send({"op": op, "task_id": "a", "mode": "freeze"})
    heard = [await old.hear() for _ in ops]
    assert [op if op != "list_workers" else None for op in ops] == [event.get("op") for event in heard]


@pytest.mark.parametrize(
    ("op", "fields", "names_its_target"),
    [
        ("cancel_worker", {"task_id": "a"}, True),
        ("pause_worker", {"task_id": "a"}, True),
        ("pause_worker", {"task_id": "a", "mode": "freeze"}, True),
        ("reprompt_worker", {"task_id": "a", "prompt": "that way"}, True),
        ("update_policy", {"rules": [A_RULE]}, False),
        ("cancel_run", {}, False),
    ],
)
async def test_6_an_op_that_succeeds_is_acknowledged(
    flat: Desk, op: str, fields: Event, names_its_target: bool
) -> None:
    old = await Caller.connect(flat.path, says=OLD_HELLO)
    acked = await old.ask(op, **fields)
    assert ("op_acked", op) == (acked["event"], acked["op"])
    assert ("a" if names_its_target else None) == acked.get("task_id")


@pytest.mark.parametrize("op", ["cancel_worker", "pause_worker", "continue_worker", "reprompt_worker"])
async def test_6_2_a_target_that_is_not_known_is_named(flat: Desk, op: str) -> None:
    old = await Caller.connect(flat.path, says=OLD_HELLO)
    failed = await old.ask(op, task_id="nobody", prompt="x")
    assert {
        "event": "op_failed",
        "op": op,
        "task_id": "nobody",
        "error": "unknown task_id: nobody",
    }.items() <= failed.items()


@pytest.mark.parametrize(
    ("op", "before", "word"),
    [
        ("pause_worker", "c", "pending"),
        ("pause_worker", "paused", "paused"),
        ("pause_worker", "done", "done"),
        ("continue_worker", "a", "not_paused"),
        ("continue_worker", "c", "not_paused"),
        ("reprompt_worker", "c", "invalid"),
        ("reprompt_worker", "frozen", "invalid"),
        ("reprompt_worker", "done", "invalid"),
    ],
)
async def test_6_2_a_state_that_stands_in_the_way_is_told_in_the_words_of_0_9(
    flat: Desk, op: str, before: str, word: str
) -> None:
    target = before if before in {"a", "c"} else "b"
    old = await Caller.connect(flat.path, says=OLD_HELLO)
    if before == "done":
        flat.story.succeeds("b")
        flat.see()
    elif before in {"paused", "frozen"}:
        await old.ask("pause_worker", task_id="b", mode="freeze" if before == "frozen" else "cancel")
    told = await old.ask(op, task_id=target, prompt="x")
    assert {"event": "op_unknown_state", "op": op, "task_id": target, "current_state": word}.items() <= told.items()


async def test_6_2_what_is_spawning_cannot_be_paused_yet(flat: Desk) -> None:
    flat.story.succeeds("a")
    flat.story.prepared("c")
    flat.see()
    old = await Caller.connect(flat.path, says=OLD_HELLO)
    assert "spawning" == (await old.ask("pause_worker", task_id="c"))["current_state"]


async def test_6_2_cancelling_what_is_done_and_ending_the_run_twice_are_harmless(flat: Desk) -> None:
    flat.story.succeeds("a")
    flat.see()
    old = await Caller.connect(flat.path, says=OLD_HELLO)
    for op in ("cancel_worker", "cancel_run", "cancel_run"):
        assert "op_acked" == (await old.ask(op, task_id="a"))["event"]
    assert "Success" == flat.story.actor("a").status


async def test_6_2_gap_a_pause_is_a_pause_and_the_worker_goes_on_in_its_session(flat: Desk) -> None:
    """In 0.9 the end of its process made a done worker of it, and it could never go on."""
    old = await Caller.connect(flat.path, says=OLD_HELLO)
    await old.ask("pause_worker", task_id="a")
    flat.story.gone("a")
    flat.see()
    assert "op_acked" == (await old.ask("continue_worker", task_id="a"))["event"]
    assert 1 == flat.story.actor("a").pauses


async def test_6_gap_the_lead_and_a_sub_lead_are_steered_like_anyone(tree: Desk) -> None:
    """In 0.9 they could not be cancelled alone, and a lead at work was said to be spawning."""
    old = await Caller.connect(tree.path, says=OLD_HELLO)
    for target in ("lead", tree.names[2]):
        assert "op_acked" == (await old.ask("reprompt_worker", task_id=target, prompt="that way"))["event"]
        assert "op_acked" == (await old.ask("pause_worker", task_id=target, mode="freeze"))["event"]
    assert "op_acked" == (await old.ask("cancel_worker", task_id=tree.names[2]))["event"]
    assert "stopping" == tree.story.actor(tree.names[3]).phase


async def test_6_2_the_first_answer_to_a_request_wins_whoever_gives_it(tree: Desk) -> None:
    name = tree.ask()
    older = await Caller.connect(tree.path, says=OLD_HELLO)
    newer = await Caller.connect(tree.path, says=OLD_HELLO)
    assert (
        "op_acked" == (await older.ask("approve", request_id=name, approved=False, reason="no", comment="c"))["event"]
    )
    failed = await newer.ask("approve", request_id=name, approved=True)
    assert str(failed["error"]).startswith(f"unknown request_id: {name}")
    ruling = tree.story.state.approvals[name].ruling
    assert ruling is not None
    assert (False, "no", "c", "operator") == (ruling.approved, ruling.reason, ruling.comment, ruling.by)


async def test_6_3_gap_every_order_is_written_down_with_who_gave_it_and_what_came_of_it(flat: Desk) -> None:
    """In 0.9 no line said which client had acted, and a cancel or other rules left none."""
    old = await Caller.connect(flat.path, says=OLD_HELLO)
    await old.ask("cancel_worker", task_id="a")
    await old.ask("continue_worker", task_id="b")
    first, second = flat.story.told(of.OrderTaken)
    assert first.given_by.endswith(" with 0.9.2")
    assert (o.CancelActor(actor=ActorId("a")), "") == (first.order, first.code)
    assert "conflict" == second.code


async def test_6_2_gap_rules_that_would_match_more_than_was_meant_are_refused_and_others_hear_of_new_ones(
    flat: Desk,
) -> None:
    """In 0.9 any list was taken, unknown members were passed over, and no other client was told."""
    one, other = await Caller.connect(flat.path), await Caller.connect(flat.path)
    refused = await one.ask("update_policy", rules=[{"match": {"categori": "plan"}, "action": "block"}])
    assert "parse error" in str(refused["error"])
    assert "op_acked" == (await one.ask("update_policy", rules=[A_RULE], version=0))["event"]
    assert 1 == (await other.hear_of("policy_changed"))["version"]
    late = await other.ask("update_policy", rules=[], version=0)
    assert ("op_failed", "conflict", 1) == (late["event"], late["code"], late["version"])


async def test_who_comes_late_is_told_only_the_rules_that_hold(flat: Desk) -> None:
    """What was in force in between is past: it would be taken for the rules of now, after those in ``hello``."""
    one = await Caller.connect(flat.path)
    for version in (0, 1):
        await one.ask("update_policy", rules=[A_RULE] * (version + 1), version=version)
        assert version + 1 == (await one.hear_of("policy_changed"))["version"]
    late = await Caller.connect(flat.path, hello=False)
    late.send(HELLO)
    assert 2 == (await late.hear())["policy_version"]
    await one.ask("update_policy", rules=[], version=2)
    assert 3 == (await late.hear_of("policy_changed"))["version"]


# --- 7: parse errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "tag"),
    [
        (b"\n", "parse_error"),
        (b"[1]\n", "parse_error"),
        (b'{"op":7}\n', "parse_error"),
        (b'{"op":"dance"}\n', "dance"),
        (b'{"op":"pause_worker","task_id":"a","mode":"nap"}\n', "pause_worker"),
        (b'{"op":"subscribe","every_ms":' + b"9" * 400 + b"}\n", "subscribe"),
        (b"\xff\xfe\n", "parse_error"),
    ],
)
async def test_7_what_cannot_be_understood_is_said_under_its_name_and_the_talk_goes_on(
    flat: Desk, line: bytes, tag: str
) -> None:
    """Bytes that are no UTF-8 too, which ended the connection in 0.9."""
    old = await Caller.connect(flat.path, says=OLD_HELLO)
    old.send(line)
    failed = await old.hear()
    assert ("op_failed", tag) == (failed["event"], failed["op"])
    assert str(failed["error"]).startswith("parse error: ")
    assert "workers_snapshot" == (await old.ask("list_workers"))["event"]


# --- 8: events --------------------------------------------------------------------------------------------------------


async def test_8_a_request_has_the_keys_of_0_9(tree: Desk) -> None:
    name = tree.ask("push")
    plan = tree.story.calls("lead", c.ProposePlan(plan=c.Plan(summary="all of it", risks=["none"])))
    assert plan is None
    tree.see()
    old = await Caller.connect(tree.path, says=OLD_HELLO)
    action, proposal = await old.hear_of("approval_request"), await old.hear_of("approval_request")
    assert {"request_id": name, "task_id": "lead", "summary": "push"}.items() <= action.items()
    assert "kind" not in action
    assert ("plan", {"summary": "all of it", "risks": ["none"]}) == (proposal["kind"], proposal["plan"])


async def test_8_a_snapshot_has_everyone_with_the_words_and_keys_of_0_9(tree: Desk) -> None:
    _, worker, sublead, deep = tree.names
    tree.story.succeeds(deep)
    tree.see()
    old = await Caller.connect(tree.path, says=OLD_HELLO)
    await old.ask("pause_worker", task_id=worker, mode="freeze")
    workers: list[Event] = (await old.ask("list_workers"))["workers"]  # type: ignore[assignment]
    by_name = {str(one["task_id"]): one for one in workers}
    assert {"lead": "running", worker: "frozen", sublead: "running", deep: "done_success"} == {
        name: one["state"] for name, one in by_name.items()
    }
    assert [None, "lead", "lead", sublead] == [by_name[name].get("parent_task_id") for name in tree.names]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", str(by_name[worker]["started_at"])), "not the time of its pause"
    assert all(len(str(one["prompt_preview"])) <= 80 for one in workers)


async def test_8_a_failure_has_its_reason(tree: Desk) -> None:
    old = await Caller.connect(tree.path, says=OLD_HELLO)
    tree.story.fails(tree.names[1], Failure(kind="rate_limit"))
    tree.see()
    failed = await old.hear_of("worker_failed")
    assert {"task_id": tree.names[1], "parent_task_id": "lead"}.items() <= failed.items()
    assert {"kind": "rate_limit", "resets_at": None}.items() <= failed["reason"].items()  # type: ignore[attr-defined]


async def test_8_gap_what_was_ordered_is_no_failure(flat: Desk) -> None:
    """In 0.9 cancelled workers were said to have failed, for an unknown reason."""
    old = await Caller.connect(flat.path)
    await old.ask("cancel_worker", task_id="a")
    flat.story.gone("a", code=1, failure=Failure(kind="unknown"))
    flat.story.fails("b")
    flat.see()
    assert "b" == (await old.hear_of("worker_failed"))["task_id"]


async def test_8_the_store_is_told_of_every_second_even_if_nothing_happens(flat: Desk) -> None:
    old = await Caller.connect(flat.path, says=OLD_HELLO)
    assert {"event": "store_activity", "counters": []} == await old.hear()


async def test_8_gap_the_runs_end_is_told_and_then_the_line_is_cut(flat: Desk) -> None:
    """The event was in the vocabulary of 0.9, and never sent."""
    old = await Caller.connect(flat.path, says=OLD_HELLO)
    for name in ("a", "b"):
        flat.story.succeeds(name)
    flat.story.working("c")
    flat.story.fails("c")
    flat.see()
    flat.close()
    finished = await old.hear_of("run_finished")
    assert {"tasks_total": 3, "tasks_failed": 1} == finished["summary"]
    assert await old.ended()


# --- 9: several clients -----------------------------------------------------------------------------------------------


async def test_9_of_clients_of_0_9_only_the_newest_is_told_and_the_older_is_still_served(tree: Desk) -> None:
    older = await Caller.connect(tree.path, says=OLD_HELLO)
    await older.hear_of("sublead_spawned")
    newer = await Caller.connect(tree.path, says=OLD_HELLO)
    assert {"event": "superseded"} == await older.hear()
    name = tree.ask()
    assert name == (await newer.hear_of("approval_request"))["request_id"]
    older.send({"op": "list_workers"})
    assert "workers_snapshot" == (await older.hear())["event"], "and no request before it"
    assert "store_activity" == (await older.hear())["event"]


async def test_9_the_older_client_does_not_get_its_place_back(tree: Desk) -> None:
    older = await Caller.connect(tree.path, says=OLD_HELLO)
    newer = await Caller.connect(tree.path, says=OLD_HELLO)
    await older.hear_of("superseded")
    newer.writer.close()
    await until(lambda: len(tree.control._clients) == 1)
    tree.ask()
    for _ in range(3):
        older.send({"op": "list_workers"})
        assert "workers_snapshot" == (await older.hear())["event"], "no request comes before or between"


async def test_9_requests_survive_a_disconnect_and_come_to_the_next_client(tree: Desk) -> None:
    name = tree.ask()
    for _ in range(2):
        old = await Caller.connect(tree.path, says=OLD_HELLO)
        assert name == (await old.hear_of("approval_request"))["request_id"]
        old.writer.close()


async def test_9_gap_clients_that_say_so_are_all_told_whoever_else_comes(tree: Desk) -> None:
    """In 0.9 opening the web console silenced the terminal, and the reverse."""
    ours = [await Caller.connect(tree.path, says=HELLO) for _ in range(3)]
    old = await Caller.connect(tree.path, says=OLD_HELLO)
    name = tree.ask()
    for caller in (*ours, old):
        assert name == (await caller.hear_of("approval_request"))["request_id"]


# --- 10: approvals ----------------------------------------------------------------------------------------------------


async def test_10_gap_a_request_says_when_its_time_is_up_and_what_holds_then(tree: Desk) -> None:
    tree.ask(timeout_secs=60, fallback="auto_approve")
    old = await Caller.connect(tree.path, says=OLD_HELLO)
    asked = await old.hear_of("approval_request")
    assert "auto_approve" == asked["fallback"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", str(asked["expires_at"]))


async def test_10_rules_and_the_default_decide_with_nobody_there(rundir: RunDir) -> None:
    desk = led(Desk(rundir, a_tree()))
    rules = o.ReplacePolicy(rules=(Rule(action="auto_reject", category="tool_use"),), default_action="auto_approve")
    async with desk.open():
        desk._post(s.OrderGiven(at=desk.story.at, order=rules))
        for call, approved in (
            (c.RequestApproval(summary="x", category="tool_use"), False),
            (c.RequestApproval(summary="x", category="plan"), True),
        ):
            answer = desk.story.calls("lead", call)
            assert approved is answer.content["approved"]  # type: ignore[union-attr]
