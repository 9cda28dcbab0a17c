"""Somebody asks before it acts, and an operator answers from another terminal: the real CLI, a scripted model."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tomlkit

from support.pit import Ended, Json, Pit, Run
from support.rehearsal import Model, start_model

pytestmark = [pytest.mark.slow, pytest.mark.claude]


def call(tool: str, **arguments: object) -> Json:
    """A turn in which the model calls a tool."""
    return {"tools": [{"name": tool, "input": arguments}]}


def ask(**arguments: object) -> Json:
    return call("mcp__pitboss__request_approval", **{"summary": "push to main"} | arguments)


DUG: Json = {"text": "dug"}
HEARD: Json = {"text": "heard: {{last}}"}
SPAWN = call("mcp__pitboss__spawn_worker", prompt="dig", directory=".")


@contextmanager
def scripted(pit: Pit, **actors: list[Json]) -> Iterator[Model]:
    """The real CLI, and what each actor's model says."""
    script = {"actor": [{"id": name, "turn": turns} for name, turns in actors.items()]}
    with start_model(pit.place / "model", tomlkit.dumps(script)) as model:
        pit.use_real_claude(model.url)
        yield model


def manifest(pit: Pit, model: Model, *, lead: bool = True, rules: tuple[Json, ...] = (), **more: Json) -> Path:
    """A manifest with one lead, or one task, called ``boss``."""
    boss: Json = {
        "id": "boss",
        "directory": str(pit.repo),
        "prompt": "go",
        "use_worktree": False,
        "env": {"ANTHROPIC_BASE_URL": model.actor("boss")},
    }
    caps: Json = {"max_workers": 2, "budget_usd": 5.0} | more.get("lead", {})
    whole: Json = {
        "run": more.get("run", {}),
        "defaults": {"model": "claude-haiku-4-5"},
        "approval_policy": list(rules),
    }
    whole |= {"lead": boss | caps} if lead else {"task": [boss]}
    path = pit.place / "pit.toml"
    path.write_text(tomlkit.dumps(whole))
    return path


def asked(pit: Pit, count: int = 1) -> str:
    """Wait until so many requests were made; the last one's id."""
    run = pit.until(lambda run: len(run.told("ApprovalRequested")) >= count, timeout=60)
    approval = run.told("ApprovalRequested")[count - 1]["approval"]
    assert isinstance(approval, dict)
    return str(approval["request_id"])


def approvals(pit: Pit, verb: str, *words: str) -> Ended:
    return pit.pitboss("approvals", verb, *words, "--run-dir", str(pit.runs))


def words_of(run: Run, actor: str = "boss") -> str:
    return str(run.record(actor)["final_message"])


def ruling(run: Run) -> Json:
    (decided,) = run.told("ApprovalDecided")
    found = decided["ruling"]
    assert isinstance(found, dict)
    return found


def test_a_lead_waits_until_another_terminal_approves(pit: Pit) -> None:
    with scripted(pit, boss=[ask(), HEARD]) as model:
        process = pit.dispatching(manifest(pit, model))
        name = asked(pit)

        listed = approvals(pit, "list")
        status = pit.pitboss("status", "latest", "--run-dir", str(pit.runs))
        done = approvals(pit, "approve", "latest", name[:-2], "--comment", "go", "--edit", "push to next")
        ended = pit.finish(process)

    assert name in listed.out
    assert "push to main" in listed.out
    assert status.out.startswith("1 approval waits: "), status.out
    assert (0, f"approved {name}: boss is told\n") == (done.code, done.out), done.err
    assert 0 == ended.code, ended.err
    assert "1 approval waits" not in pit.pitboss("status", "latest", "--run-dir", str(pit.runs)).out
    heard = words_of(pit.run)
    assert '"approved":true' in heard
    assert "push to next" in heard
    assert "with pitboss" in str(ruling(pit.run)["via"])
    assert not (pit.run.path / "control.path").exists()


def test_a_lead_is_told_why_it_may_not(pit: Pit) -> None:
    with scripted(pit, boss=[ask(), HEARD]) as model:
        process = pit.dispatching(manifest(pit, model))
        name = asked(pit)
        done = approvals(pit, "reject", "latest", name, "--reason", "not on a Friday")
        again = approvals(pit, "approve", "latest", name)
        pit.finish(process)

    assert 0 == done.code, done.err
    assert 1 == again.code
    assert "answered already: rejected by operator" in again.err or "has ended" in again.err
    assert "not on a Friday" in words_of(pit.run)
    record = pit.run.record("boss")
    assert "ApprovalRejected" == record["status"]
    reason = "it gave up when its request for approval was rejected by operator: not on a Friday"
    assert {"kind": "unknown", "message": reason, "pitboss_kind": "unknown"} == record["failure_reason"]


PUSHING: Json = {"match": {"tool": "Bash", "args": {"command": "*touch made*"}}, "action": "block"}


@pytest.mark.parametrize("approved", [True, False])
def test_a_rule_holds_a_real_tool_call_until_somebody_has_looked(pit: Pit, approved: bool) -> None:
    bash = [call("Bash", command="touch free"), call("Bash", command="touch made"), HEARD]
    with scripted(pit, boss=bash) as model:
        process = pit.dispatching(manifest(pit, model, lead=False, rules=(PUSHING,)))
        name = asked(pit)
        assert not (pit.repo / "made").exists()
        listed = approvals(pit, "list").out
        words = ("approve", "latest", name) if approved else ("reject", "latest", name, "--reason", "no")
        assert 0 == approvals(pit, *words).code
        ended = pit.finish(process)

    assert (pit.repo / "free").exists(), "other calls are let through"
    assert approved == (pit.repo / "made").exists()
    assert "touch made" in listed
    assert "[[approval_policy]] #1: block if tool" in listed
    assert "approvals list" in ended.err, "a run without a terminal says how to answer"
    if not approved:
        assert "no" in words_of(pit.run)
    (used,) = [fact for fact in pit.run.told("ToolUsed") if "touch made" in str(fact["summary"])]
    assert ("allow" if approved else "deny") == used["verdict"]


def test_a_rule_that_refuses_tells_the_model_why(pit: Pit) -> None:
    rule: Json = {
        "match": {"tool": "Bash", "args": {"command": "*made*"}},
        "action": "auto_reject",
        "reason": "no files",
    }
    with scripted(pit, boss=[call("Bash", command="touch made"), HEARD]) as model:
        ended = pit.dispatch(manifest(pit, model, lead=False, rules=(rule,)))

    assert 0 == ended.code, ended.err
    assert "no files" in words_of(pit.run)
    assert not (pit.repo / "made").exists()


def test_an_approved_plan_opens_the_gate(pit: Pit) -> None:
    plan = {"summary": "dig a hole", "risks": ["water"]}
    turns = [SPAWN, call("mcp__pitboss__propose_plan", plan=plan), SPAWN, HEARD]
    with scripted(pit, boss=turns, **{"*": [DUG]}) as model:
        process = pit.dispatching(manifest(pit, model, run={"require_plan_approval": True}))
        name = asked(pit)
        assert [] == pit.run.told("ActorSpawned")
        listed = approvals(pit, "list").out
        assert 0 == approvals(pit, "approve", "latest", name).code
        pit.finish(process)

    assert "RISK:      water" in listed
    assert "[PRE-FLIGHT PLAN]" in listed
    assert 1 == len(pit.run.told("ActorSpawned"))
    assert '"task_id"' in words_of(pit.run)


def test_nobody_answers_in_time(pit: Pit) -> None:
    with scripted(pit, boss=[ask(timeout_secs=1), HEARD]) as model:
        pit.dispatch(manifest(pit, model))

    assert "TTL expired" in words_of(pit.run)
    assert "expiry" == ruling(pit.run)["by"]
    assert "ApprovalTimedOut" == pit.run.record("boss")["status"]


def cut_off(pit: Pit, process: subprocess.Popen[str]) -> None:
    """``kill -9``, and wait until its guardian has stopped what it had started."""
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 60
    while left := pit.with_cookie():
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def later(turn: Json) -> Json:
    """The model takes so long that a session whose dispatcher is dead does not live to hear it."""
    return turn | {"delay_ms": 3000}


@pytest.mark.parametrize("approved", [True, False])
def test_an_answer_given_while_no_dispatcher_lives_is_heard_after_a_resume(pit: Pit, approved: bool) -> None:
    with scripted(pit, boss=[ask(), later(ask()), HEARD]) as model:
        process = pit.dispatching(manifest(pit, model))
        name = asked(pit)
        cut_off(pit, process)

        listed = approvals(pit, "list", "--json")
        words = ("approve", "latest", name) if approved else ("reject", "latest", name, "--reason", "no")
        done = approvals(pit, *words)
        again = approvals(pit, "approve", "latest", name)
        resumed = pit.pitboss("resume", "--run-dir", str(pit.runs))

    assert [name] == [shape["request_id"] for shape in json.loads(listed.out)]
    assert 0 == done.code, done.err
    assert "boss hears it when the run is resumed" in done.out
    assert 1 == again.code
    assert "answered already" in again.err
    assert approved == (0 == resumed.code), resumed.err
    run = pit.run
    assert f'"approved":{json.dumps(approved)}' in words_of(run)
    assert 1 == len(run.told("ApprovalRequested")), "it is the same request"
    (taken,) = run.told("ApprovalTakenUp")
    assert True is taken["heard"]
    assert 1 == approvals(pit, "approve", "latest", name).code
    assert "has ended" in approvals(pit, "list").out.replace("It has ended", "has ended")


def test_a_tool_call_that_was_held_is_let_through_after_a_resume(pit: Pit) -> None:
    touch = call("Bash", command="touch made")
    with scripted(pit, boss=[touch, later(touch), HEARD]) as model:
        process = pit.dispatching(manifest(pit, model, lead=False, rules=(PUSHING,)))
        name = asked(pit)
        cut_off(pit, process)
        assert not (pit.repo / "made").exists(), "nobody has let it"
        assert 0 == approvals(pit, "approve", "latest", name).code
        resumed = pit.pitboss("resume", "--run-dir", str(pit.runs))

    assert 0 == resumed.code, resumed.err
    assert (pit.repo / "made").exists()
    assert 1 == len(pit.run.told("ApprovalRequested"))


def test_a_request_outlives_its_dispatcher_and_is_answered_in_the_next(pit: Pit) -> None:
    with scripted(pit, boss=[ask(), later(ask()), HEARD]) as model:
        first = pit.dispatching(manifest(pit, model))
        name = asked(pit)
        cut_off(pit, first)
        process = pit.start("resume", "--run-dir", str(pit.runs))
        pit.until(lambda run: run.told("ApprovalTakenUp"), timeout=60)
        assert 0 == approvals(pit, "approve", "latest", name).code
        ended = pit.finish(process)

    assert 0 == ended.code, ended.err
    assert '"approved":true' in words_of(pit.run)
