"""An operator steers runs from another terminal: every command against a live run, flat and with a lead."""

from __future__ import annotations

import json
import os
import signal
from typing import cast

import pytest

from support.parts import FOREVER, bash, call, commit, hear, say, spawn, spawn_sublead, until_exists, wait, wait_sublead
from support.pit import Ended, Json, Pit, Run

pytestmark = pytest.mark.slow


def order(pit: Pit, *words: str) -> Ended:
    """A command about the newest run."""
    verb, *rest = words
    return pit.pitboss(verb, "latest", *rest, "--run-dir", str(pit.runs))


def asked_on_a_terminal(pit: Pit, verb: str, *, answer: str) -> Ended:
    """A command whose standard input is a terminal, where its question is answered."""
    keyboard, stdin = os.openpty()
    try:
        process = pit.start(verb, "latest", "--run-dir", str(pit.runs), stdin=stdin)
        os.write(keyboard, f"{answer}\n".encode())
        return pit.finish(process)
    finally:
        os.close(keyboard)
        os.close(stdin)


def done(pit: Pit, *words: str) -> str:
    """What a command says that was carried out."""
    ended = order(pit, *words)
    assert 0 == ended.code, (words, ended.err)
    return ended.out


def busy(pit: Pit, count: int) -> Run:
    """Wait until so many tool calls were let through."""
    return pit.until(lambda run: len(run.told("ToolUsed")) >= count)


def ordered(run: Run) -> list[str]:
    """The orders that were taken and carried out, by kind."""
    return [str(cast("Json", fact["order"])["order"]) for fact in run.told("OrderTaken") if "code" not in fact]


def texts(run: Run, actor: str) -> str:
    """Everything that an actor was told while it was at work."""
    return "\n".join(str(cast("Json", fact["message"])["text"]) for fact in run.told("MessageSent", actor))


def test_tasks_of_a_flat_run_are_cancelled_paused_and_told(pit: Pit) -> None:
    pit.env["COMMIT"] = "git -c user.name=a -c user.email=a@b commit -qm"
    tasks: dict[str, object] = {
        "slow": [commit("some"), bash("echo draft > draft"), FOREVER],
        "torn": [FOREVER],
        "cold": [until_exists(pit.place / "go")],
        "later": "go",
    }
    process = pit.dispatching(pit.manifest(tasks, max_parallel_tasks=3, worktree_cleanup="always"))
    run = busy(pit, 5)

    cancelled = done(pit, "cancel", "slow", "--reason", "too slow")
    again = json.loads(done(pit, "cancel", "slow", "--json"))
    paused = done(pit, "pause", "torn")
    frozen = done(pit, "pause", "cold", "--freeze")
    told_when_frozen = order(pit, "tell", "cold", "hurry", "--now")
    thawed = done(pit, "continue", "cold")
    note = done(pit, "tell", "cold", "use tabs")
    done(pit, "continue", "torn", 'FAKE: [{"text": "tried again"}]')
    (pit.place / "go").touch()
    ended = pit.finish(process)

    branch = run.record("slow")["branch"]
    assert cancelled.startswith("cancelled slow after "), cancelled
    assert f"spent; its work is on branch {branch} (1 file set aside: pitboss restore " in cancelled
    assert ("done", False, "Cancelled") == (again["state"], again["changed"], again["status"])
    assert "paused torn; " in paused
    assert "froze cold; " in frozen
    assert (1, True) == (told_when_frozen.code, "pitboss continue" in told_when_frozen.err)
    assert ("cold goes on where it stood\n", True) == (thawed, note.startswith("cold hears it as soon as"))
    assert 1 == ended.code
    wanted = {"slow": "Cancelled", "torn": "Success", "cold": "Success", "later": "Success"}
    assert wanted == run.statuses()
    assert "tried again" == run.record("torn")["final_message"]
    assert "use tabs" in texts(run, "cold")
    assert 2 == run.told("TurnFinished", "cold")[-1]["heard"], "its task, and the note"
    assert "cancelled by operator: too slow" in pit.pitboss("why", "latest", "slow", "--run-dir", str(pit.runs)).out
    assert [] == pit.with_cookie()


def test_rules_limits_and_models_change_while_a_run_is_at_work(pit: Pit) -> None:
    go, rules = pit.place / "go", pit.place / "rules.toml"
    rules.write_text(
        '[[approval_policy]]\naction = "auto_reject"\nreason = "no touching"\n'
        '[approval_policy.match]\ntool = "Bash"\nargs = { command = "touch*" }\n'
    )
    steps = [until_exists(go), bash(f"touch {pit.place}/touched"), {"text": "end"}]
    process = pit.dispatching(pit.manifest({"a": steps}))
    run = busy(pit, 1)

    shown = done(pit, "policy")
    changed = done(pit, "policy", "--set", str(rules))
    late = order(pit, "policy", "--set", str(rules), "--if-version", "0", "--json")
    money = done(pit, "budget", "5")
    time = done(pit, "limits", "a", "--timeout", "900")
    model = done(pit, "model", "a", "claude-opus-4-7")
    go.touch()
    assert 0 == pit.finish(process).code

    assert "version 0" in shown
    assert "has 1 rule now, version 1" in changed
    assert (1, "conflict", 1) == (late.code, *(json.loads(late.out)[key] for key in ("code", "version")))
    assert "has a budget of $5.00" in money
    assert "a has a time-out of 900 s\n" == time
    assert "a goes on with claude-opus-4-7 from its next request on\n" == model
    assert not (pit.place / "touched").exists(), "the new rule refused it"
    assert "claude-opus-4-7" == run.record("a")["model"]
    assert ["ReplacePolicy", "ChangeLimits", "ChangeLimits", "SetModel"] == ordered(run)


def test_actors_of_a_tree_are_steered_by_label_and_the_rest_is_stopped(pit: Pit) -> None:
    parts: dict[str, object] = {
        "w": [say("/shared/at", "work"), FOREVER],
        "right": [say("/shared/right", "{{heard}}"), FOREVER],
        "s": [spawn("u"), wait("u")],
        "u": [say("/shared/u", "x"), FOREVER],
        "lead": [spawn("w"), spawn_sublead("s"), hear("/shared/right"), wait_sublead("s"), FOREVER],
    }
    caps: Json = {"allow_subleads": True, "max_subleads": 1, "max_workers": 2, "budget_usd": 5.0}
    process = pit.dispatching(
        pit.tree("[sublead_defaults]", "budget_usd = 1.0", "max_workers = 1", parts=parts, use_worktree=False, **caps)
    )
    run = pit.until(lambda run: len(run.told("StoreWritten")) == 2)

    redirected = done(pit, "tell", "w", "PLAY: right\nDo this.", "--now")
    pit.until(lambda run: len(run.told("StoreWritten")) == 3)
    raised = done(pit, "budget", "s", "2")
    both = json.loads(done(pit, "limits", "lead", "--budget", "9", "--workers", "3", "--json"))
    cancelled = done(pit, "cancel", "s", "--reason", "enough")
    unasked, declined = order(pit, "cancel"), asked_on_a_terminal(pit, "cancel", answer="n")
    stopped = done(pit, "stop", "--reason", "home")
    again = done(pit, "stop")
    ended = pit.finish(process)

    assert redirected.startswith("w drops what it does")
    assert "PLAY: right\nDo this." == run.stored()["/shared/right"]
    assert "s has a budget of $2.00" in raised
    assert (9.0, 3, True) == (both["budget_usd"], both["max_workers"], both["changed"])
    assert cancelled.startswith("cancelled s and 1 below it after ")
    assert (2, True) == (unasked.code, "--yes" in unasked.err)
    assert (1, f"End all of run {run.path.name}? [y/N]: Aborted!") == (declined.code, " ".join(declined.err.split()))
    assert stopped.startswith(f"stopped run {run.path.name[:13]} after "), stopped
    assert "0 successful, 4 not; $" in stopped
    assert "go on with: pitboss resume" in stopped
    assert "has ended already; nothing was changed" in again
    assert 130 == ended.code
    assert {"w", "s", "u", "lead"} == {name for name, status in run.labelled().items() if status == "Cancelled"}
    assert "Reason: enough" in texts(run, "lead"), "whoever leads it is told why"
    assert [] == pit.with_cookie()


def test_a_drain_is_waited_for_and_whoever_stops_waiting_stops_nothing(pit: Pit) -> None:
    go = pit.place / "go"
    process = pit.dispatching(pit.manifest({"a": [until_exists(go)], "never": "go"}, max_parallel_tasks=1))
    run = busy(pit, 1)

    first = pit.start("drain", "latest", "--reason", "lunch", "--run-dir", str(pit.runs))
    pit.until(lambda run: run.told("DrainBegan"))
    second = pit.start("drain", "latest", "--json", "--run-dir", str(pit.runs))
    pit.until(lambda run: len(run.told("OrderTaken")) == 2)
    first.send_signal(signal.SIGINT)
    gone = pit.finish(first)
    go.touch()
    drained, ended = pit.finish(second), pit.finish(process)

    assert (130, "") == (gone.code, gone.out)
    assert "the order was given and holds; only the waiting has ended" in gone.err
    told = json.loads(drained.out)
    assert (0, False, "ended", 130) == (drained.code, told["changed"], told["state"], told["exit_code"])
    assert "1 successful, 1 never started" in told["message"]
    assert 130 == ended.code
    assert {"a": "Success"} == run.statuses()
    (began,) = run.told("DrainBegan")
    assert "operator: lunch" == began["by"]


def test_who_asks_is_answered_and_a_run_that_was_cut_off_keeps_what_it_was_told(pit: Pit) -> None:
    ask = call("request_approval", summary="push to main", timeout_secs=60)
    process = pit.dispatching(pit.tree(parts={"lead": [ask, FOREVER], "lead/2": [{"text": "heard: {{heard}}"}]}))
    run = pit.until(lambda run: run.told("ApprovalRequested"))
    (asked,) = run.told("ApprovalRequested")
    name = str(cast("Json", asked["approval"])["request_id"])

    approved = done(pit, "approve", name[:-1], "--comment", "fine")
    late = order(pit, "reject", name, "--json")
    busy(pit, 2)
    process.kill()
    process.communicate()
    note = done(pit, "tell", "lead", "the branch has moved")
    held = order(pit, "pause", "lead")
    resumed = pit.pitboss("resume", "--run-dir", str(pit.runs))

    assert f"approved {name}: lead is told\n" == approved
    assert (1, "conflict") == (late.code, json.loads(late.out)["code"])
    assert "lead hears it when the run is resumed; nothing is interrupted\n" == note
    assert (1, True) == (held.code, "pitboss resume" in held.err)
    assert 0 == resumed.code, resumed.err
    assert "the branch has moved" in str(run.record("lead")["final_message"])
