"""Orders as a real session obeys them: the real CLI, a scripted model, an operator at the run's socket."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import tomlkit

from pitboss.journal.rundir import RunDir
from pitboss.surfaces import operator
from pitboss.wire import control as wire
from support.pit import Json, Pit
from support.rehearsal import Model, start_model

pytestmark = [pytest.mark.slow, pytest.mark.claude]

WAITING = "touch up; while [ ! -e go ]; do sleep 0.05; done; rm up go"


def bash(command: str) -> Json:
    return {"tools": [{"name": "Bash", "input": {"command": command}}]}


def say(text: str) -> Json:
    return {"text": text}


@contextmanager
def scripted(pit: Pit, *turns: Json) -> Iterator[Model]:
    """The real CLI, and what its model says."""
    with start_model(pit.place / "model", tomlkit.dumps({"actor": [{"id": "a", "turn": list(turns)}]})) as model:
        pit.use_real_claude(model.url)
        yield model


def a_task(pit: Pit, model: Model, **run: object) -> subprocess.Popen[str]:
    task = {
        "id": "a",
        "directory": str(pit.repo),
        "prompt": "go",
        "model": "claude-haiku-4-5",
        "use_worktree": False,
        "env": {"ANTHROPIC_BASE_URL": model.actor("a")},
    }
    path = pit.place / "pit.toml"
    path.write_text(tomlkit.dumps({"run": run, "task": [task]}))
    return pit.dispatching(path)


def order(pit: Pit, op: wire.Op) -> operator.Event:
    answer = operator.tell(RunDir(pit.run.path), op)
    assert answer is not None, "nobody answers"
    assert "op_acked" == answer["event"], answer
    return answer


def at_work(pit: Pit) -> None:
    """Wait until the first command runs."""
    pit.until(lambda _: (pit.repo / "up").exists(), timeout=60)


def let_go(pit: Pit) -> None:
    (pit.repo / "go").touch()


def test_a_session_at_work_takes_another_model_other_rules_and_a_note(pit: Pit) -> None:
    turns = (bash(WAITING), bash("touch made"), say("heard: {{last}}"))
    with scripted(pit, *turns) as model:
        process = a_task(pit, model)
        at_work(pit)
        no_files = wire.WireRule(action="auto_reject", match=wire.RuleMatch(tool="Bash"), reason="no files today")
        order(pit, wire.UpdatePolicy(rules=(no_files,), version=0))
        order(pit, wire.SetModel(task_id="a", model="claude-sonnet-4-6"))
        order(pit, wire.NoteWorker(task_id="a", text="mind the gap"))
        log = pit.run.path / "tasks" / "a" / "stdout.log"
        pit.until(lambda _: b'"response":{"model":"claude-sonnet-4-6"' in log.read_bytes())  # it first tries the model
        let_go(pit)
        ended = pit.finish(process)
        models = turns_of(model)

    assert 0 == ended.code, ended.err
    # Claude Code 2.1.330 asks the new model "Hi" first: whether it is there.
    assert ["claude-haiku-4-5", "claude-sonnet-4-6", "claude-sonnet-4-6"] == models
    transcripts = [path.read_text() for path in (pit.home / ".claude" / "projects").rglob("*.jsonl")]
    assert any("mind the gap" in text for text in transcripts), "it is woven in behind the tool that ran"
    assert not (pit.repo / "made").exists(), "the new rule holds for a session that was at work"
    assert "no files today" in str(pit.run.record("a")["final_message"])
    taken = [fact["order"] for fact in pit.run.told("OrderTaken")]
    assert ["ReplacePolicy", "SetModel", "NoteActor"] == [each["order"] for each in taken]  # type: ignore[index]


def turns_of(model: Model) -> list[object]:
    """The model of each request that is a turn of the conversation."""
    return [request["model"] for request in model.requests() if request["kind"] == "turn"]


def test_a_flat_task_is_frozen_paused_and_redirected_in_its_own_session(pit: Pit) -> None:
    turns = (bash(WAITING), bash(WAITING), say("heard: {{prompt}}"))
    with scripted(pit, *turns) as model:
        process = a_task(pit, model)
        at_work(pit)
        assert "frozen" == order(pit, wire.PauseWorker(task_id="a", mode="freeze"))["state"]
        assert "running" == order(pit, wire.ContinueWorker(task_id="a"))["state"]
        order(pit, wire.PauseWorker(task_id="a"))
        pit.until(lambda run: run.told("ActorPaused"))
        (pit.repo / "up").unlink()
        order(pit, wire.ContinueWorker(task_id="a", prompt="go on there"))
        at_work(pit)
        order(pit, wire.RepromptWorker(task_id="a", prompt="do this instead"))
        let_go(pit)
        ended = pit.finish(process)

    run = pit.run
    assert (0, {"a": "Success"}) == (ended.code, run.statuses()), ended.err
    first, second = run.told("ActorAdmitted", "a")
    assert first["session_id"] == second["session_id"]
    assert "do this instead" == model.requests()[-1]["heard"]
    assert [] == pit.with_cookie()
