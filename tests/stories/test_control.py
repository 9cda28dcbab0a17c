"""Operators over the socket of a real dispatcher: they come late, leave, return, are two, and outlive it."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from support.parts import FOREVER, call, until_exists
from support.pit import Json, Pit, Run

pytestmark = pytest.mark.slow

HELLO: Json = {"op": "hello", "client_version": "story", "capabilities": ["several"]}
ANSWERS = {"workers_snapshot", "approvals_snapshot", "snapshot", "delta"}


class Line:
    """A connection to a run's socket."""

    def __init__(self, run: Run) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect((run.path / "control.path").read_text().strip())
        self._file = self._socket.makefile("rb")
        self.send(HELLO)
        self.hello = self.hear()

    def send(self, *ops: Json) -> None:
        self._socket.sendall(b"".join(json.dumps(op).encode() + b"\n" for op in ops))

    def hear(self) -> Json:
        line = self._file.readline()
        assert line, "the line was cut"
        return cast("Json", json.loads(line))

    def hear_of(self, kind: str) -> Json:
        while (event := self.hear())["event"] != kind:
            pass
        return event

    def ask(self, op: str, **fields: object) -> Json:
        self.send({"op": op, **fields})
        return self.answer(op)

    def answer(self, op: str) -> Json:
        """What is said to an order that was sent."""
        while (event := self.hear()).get("op") != op and event["event"] not in ANSWERS:
            pass
        return event

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@contextmanager
def line(run: Run) -> Iterator[Line]:
    one = Line(run)
    try:
        yield one
    finally:
        one.close()


def test_operators_come_late_leave_return_and_are_two(pit: Pit) -> None:
    go, ask = pit.place / "go", call("request_approval", "ok", summary="push")
    parts: dict[str, object] = {"lead": [ask, until_exists(go), {"text": "{{ok.approved}}"}]}
    process = pit.dispatching(pit.tree(parts=parts, use_worktree=False))
    run = pit.until(lambda run: run.told("ApprovalRequested"))

    with line(run) as late:
        name = late.hear_of("approval_request")["request_id"]
        shown = late.ask("subscribe")
    with line(run) as again, line(run) as other:
        assert (
            name == again.hear_of("approval_request")["request_id"] == other.hear_of("approval_request")["request_id"]
        )
        since = again.ask("subscribe", cursor=shown["cursor"], epoch=shown["epoch"])
        assert ("delta", shown["cursor"]) == (since["event"], since["from"]), "only what it has missed"
        first = again.ask("approve", request_id=name, approved=True, order_id="mine")
        second = other.ask("approve", request_id=name, approved=False)

        assert ("op_acked", "op_failed") == (first["event"], second["event"])
        assert "already answered by operator" in str(second["error"])
        go.touch()
        ends = [one.hear_of("run_finished") for one in (again, other)]
        assert [0, 0] == [end["exit_code"] for end in ends]

    ended = pit.finish(process)
    assert (0, "True") == (ended.code, run.record("lead")["final_message"]), ended.err
    assert ["", "not_found"] == [fact.get("code", "") for fact in run.told("OrderTaken")]
    assert not (run.path / "control.path").exists()
    assert [] == pit.with_cookie()


ORDERS: dict[str, Json] = {
    "note": {"op": "note_worker", "task_id": "a", "text": "mind the gap"},
    "pause": {"op": "pause_worker", "task_id": "b"},
    "model": {"op": "set_model", "task_id": "a", "model": "claude-opus-4-7"},
    "rules": {"op": "update_policy", "rules": [{"match": {"category": "plan"}, "action": "auto_approve"}]},
    "limits": {"op": "set_limits", "task_id": "a", "timeout_secs": 77},
    "late": {"op": "continue_worker", "task_id": "a"},
}


def test_what_was_acknowledged_before_a_kill_holds_after_it_and_is_not_done_again_under_its_id(pit: Pit) -> None:
    pit.script({"a": [until_exists(pit.place / "go")], "b": [FOREVER]})
    process = pit.dispatching(pit.manifest({"a": "go", "b": "go"}, max_parallel_tasks=2))
    run = pit.until(lambda run: len(run.told("SessionOpened")) == 2)
    with line(run) as one:
        answers = {name: one.ask(**order, order_id=name) for name, order in ORDERS.items()}  # type: ignore[arg-type]
        os.kill(process.pid, signal.SIGKILL)  # in the moment of the last answer
    pit.finish(process)
    assert {name: "op_acked" if name != "late" else "op_unknown_state" for name in ORDERS} == {
        name: answer["event"] for name, answer in answers.items()
    }

    process = pit.start("resume", run.path.name, "--run-dir", str(pit.runs))
    pit.until(lambda run: len(run.told("SessionOpened", "a")) == 2)
    facts = len(run.told("OrderTaken"))
    with line(run) as one:
        again = {name: one.ask(**order, order_id=name) for name, order in ORDERS.items()}  # type: ignore[arg-type]
        assert answers == again
        other = one.ask("note_worker", task_id="a", text="something else", order_id="note")
        assert "was used for another order" in str(other["error"])
        assert facts == len(run.told("OrderTaken"))
        workers = cast("list[Json]", one.ask("list_workers")["workers"])
        assert {"a": "running", "b": "paused"} == {str(each["task_id"]): each["state"] for each in workers}
        assert 1 == one.hello["policy_version"]

        (pit.place / "go").touch()
        pit.until(lambda run: run.told("ActorSettled", "a"))
        again_for_ever = f"FAKE: {json.dumps([FOREVER])}"
        assert "op_acked" == one.ask("continue_worker", task_id="b", prompt=again_for_ever)["event"]
        pit.until(lambda run: len(run.told("SessionOpened", "b")) == 2)
        one.send({"op": "cancel_run"}, {"op": "pause_worker", "task_id": "b"})  # in one breath: the run ends soon
        assert "op_acked" == one.answer("cancel_run")["event"]
        assert "op_unknown_state" == one.answer("pause_worker")["event"], "a run that is ending"

    assert 130 == pit.finish(process).code
    assert {"a": "Success", "b": "Cancelled"} == run.statuses()
    assert 1 == len(run.told("MessageSent", "a")) == len(run.told("MessagesDelivered", "a"))
    spec = run.state.actors[run.state.order[0]].spec
    assert ("claude-opus-4-7", 77) == (spec.model, spec.timeout_secs)
    assert [] == pit.with_cookie()


def test_a_run_goes_on_whoever_holds_a_line_and_never_reads_or_says_anything(pit: Pit) -> None:
    tasks = {f"t{n}": [{"text": "x" * 500}] for n in range(6)}
    process = pit.dispatching(pit.manifest({**tasks, "last": [until_exists(pit.place / "go")]}, max_parallel_tasks=3))
    run = pit.until(lambda run: (run.path / "control.path").exists())
    path = (run.path / "control.path").read_text().strip()
    rude = [socket.socket(socket.AF_UNIX) for _ in range(40)]
    words = [b"", b"\x00" * 4000, b'{"op":', json.dumps(HELLO).encode() + b'\n{"op":"subscribe","every_ms":0}\n' * 50]
    for number, one in enumerate(rude):
        one.connect(path)
        one.sendall(words[number % len(words)])
    with line(run) as good:
        assert "workers_snapshot" == good.ask("list_workers")["event"]
        threading.Timer(0, (pit.place / "go").touch).start()
        assert 0 == good.hear_of("run_finished")["exit_code"]
    assert 0 == pit.finish(process).code
    for one in rude:
        one.close()
    assert not Path(path).exists()


# --- orders that cross with what happens ------------------------------------------------------------------------------

LINGERS: list[Json] = [{"spawn": 600, "hold": 1}, {"text": "done"}]
"""Its work is done, and what it has left behind has still to be stopped, which takes a while."""


def test_a_cancel_that_comes_while_an_actor_is_accounted_for_takes_nothing_back(pit: Pit) -> None:
    process = pit.dispatching(pit.manifest({"a": LINGERS, "b": [until_exists(pit.place / "go"), {"text": "ok"}]}))
    with line(pit.until(lambda run: run.told("StopBegan", "a"))) as one:
        answer = one.ask("cancel_worker", task_id="a", reason="too late")
        (pit.place / "go").touch()
        ended = pit.finish(process)

    assert ("op_acked", False) == (answer["event"], answer["changed"])
    assert answer["state"] in {"ending", "done"}
    assert (0, {"a": "Success", "b": "Success"}) == (ended.code, pit.run.statuses()), ended.err
    assert [] == pit.with_cookie()


def test_of_an_expiry_and_an_answer_the_first_counts_and_the_second_is_told(pit: Pit) -> None:
    go = pit.place / "go"
    ask = call("request_approval", "ok", summary="push", timeout_secs=3)
    parts: dict[str, object] = {"lead": [ask, until_exists(go), {"text": "{{ok.approved}} by {{ok.decided_by}}"}]}
    process = pit.dispatching(pit.tree(parts=parts))
    with line(pit.until(lambda run: run.told("ApprovalRequested"))) as one:
        name = one.hear_of("approval_request")["request_id"]
        assert "expiry" == one.hear_of("approval_resolved")["decided_by"]
        answer = one.ask("approve", request_id=name, approved=True)
        go.touch()
        pit.finish(process)

    assert "op_failed" == answer["event"]
    assert "already answered by expiry: rejected" in str(answer["error"])
    assert 1 == len(pit.run.told("ApprovalDecided"))
    assert "expiry" in str(pit.run.record("lead")["final_message"])


def test_nobody_goes_on_who_has_ended(pit: Pit) -> None:
    process = pit.dispatching(pit.manifest({"a": "go", "b": [{"delay": 60}]}))
    with line(pit.until(lambda run: run.told("ActorSettled", "a"))) as one:
        answers = [
            one.ask("continue_worker", task_id="a"),
            one.ask("reprompt_worker", task_id="a", prompt="more"),
            one.ask("pause_worker", task_id="a"),
            one.ask("note_worker", task_id="a", text="more"),
        ]
        one.ask("cancel_run")
        pit.finish(process)

    assert [("not_paused", "done"), ("invalid", "done"), ("done", "done"), (None, "done")] == [
        (answer.get("current_state"), answer["state"]) for answer in answers
    ]
    assert "Success" == pit.run.statuses()["a"]
    assert 1 == len(pit.run.told("ActorAdmitted", "a"))


def test_the_time_out_of_a_frozen_actor_waits_until_it_goes_on(pit: Pit) -> None:
    slow = {"prompt": [{"delay": 60}], "timeout_secs": 4, "use_worktree": False}
    process = pit.dispatching(pit.manifest({"a": slow, "clock": [{"delay": 5}, {"text": "five seconds"}]}))
    with line(pit.until(lambda run: len(run.told("SessionOpened")) == 2)) as one:
        assert "frozen" == one.ask("pause_worker", task_id="a", mode="freeze")["state"]
        run = pit.until(lambda run: run.told("ActorSettled", "clock"))
        assert [] == run.told("StopBegan", "a"), "its clock stands still with it"
        one.ask("continue_worker", task_id="a")
        ended = pit.finish(process)

    assert (1, "TimedOut") == (ended.code, run.statuses()["a"]), ended.err
    assert [] == pit.with_cookie()
