"""Flat runs of the real CLI against the scripted model."""

import json
from pathlib import Path

import pytest

from support.pit import Pit
from support.rehearsal import start_model

pytestmark = [pytest.mark.slow, pytest.mark.claude]

SCRIPT = """
[[actor]]
id = "writer"
[[actor.turn]]
text = "Let me write it down."
tools = [{ name = "Write", input = { file_path = "{{cwd}}/made.txt", content = "made\\n" } }]
[[actor.turn]]
tools = [{ name = "Bash", input = { command = "git add -A && $COMMIT", description = "commit" } }]
[[actor.turn]]
text = "It is written down, and committed."

[[actor]]
id = "retried"
[[actor.turn]]
error = { status = 529, type = "overloaded_error", message = "busy", times = 1 }
[[actor.turn]]
text = "After all."

[[actor]]
id = "limited"
[[actor.turn]]
error = { status = 429, type = "rate_limit_error", message = "no more", times = 99 }

[[actor]]
id = "server"
[[actor.turn]]
tools = [{ name = "Bash", input = { command = "sleep 600", description = "serve", run_in_background = true } }]
[[actor.turn]]
text = "It serves."

[[actor]]
id = "slow"
[[actor.turn]]
delay_ms = 60000
text = "late"

[[actor]]
id = "reader"
[[actor.turn]]
tools = [{ name = "Bash", input = { command = "touch forbidden", description = "x" } }]
[[actor.turn]]
text = "I could not."

[[actor]]
id = "dear"
[[actor.turn]]
tools = [{ name = "Bash", input = { command = "true", description = "x" } }]
usage = { output = 100000 }
[[actor.turn]]
text = "never said"

[[actor]]
id = "cheap"
[[actor.turn]]
text = "That was little."

[[actor]]
id = "thorough"
[[actor.turn]]
tools = [{ name = "Bash", input = { command = "true", description = "x" } }]
usage = { output = 10000 }
[[actor.turn]]
tools = [{ name = "Bash", input = { command = "true", description = "x" } }]
usage = { output = 10000 }
[[actor.turn]]
tools = [{ name = "Bash", input = { command = "true", description = "x" } }]
usage = { output = 10000 }
[[actor.turn]]
text = "That was much."
"""


def rehearse(pit: Pit, manifest: Path) -> int:
    """Dispatch with the real CLI; each task asks the model under its own name."""
    with start_model(pit.place / "model", SCRIPT) as model:
        pit.use_real_claude(model.url)
        pit.env["COMMIT"] = "git -c user.name=a -c user.email=a@b commit -qm made"
        pit.env["CLAUDE_CODE_MAX_RETRIES"] = "2"
        parts = manifest.read_text().split("[[task]]")
        for n, part in enumerate(parts[1:], start=1):
            address = json.dumps(model.actor(part.split('"')[1]))
            parts[n] = f"{part.rstrip()}\nenv = {{ ANTHROPIC_BASE_URL = {address} }}\n"
        manifest.write_text("[[task]]".join(parts))
        return pit.dispatch(manifest).code


def test_real_sessions_work_commit_retry_and_fail_as_scripted(pit: Pit) -> None:
    tasks = {name: {"prompt": "go", "model": "claude-haiku-4-5"} for name in ("writer", "retried", "limited")}

    code = rehearse(pit, pit.manifest(tasks))

    run = pit.run
    assert (1, {"writer": "Success", "retried": "Success", "limited": "Failed"}) == (code, run.statuses())
    assert "made" == pit.git("show", f"pitboss-writer-{run.path.name}:made.txt")
    assert [529] == [fact["status"] for fact in run.told("ApiPushedBack", "retried")]
    assert {"kind": "rate_limit"}.items() <= dict(run.record("limited")["failure_reason"]).items()  # type: ignore[call-overload]
    assert ["Write", "Bash"] == [fact["tool"] for fact in run.told("ToolUsed", "writer")]
    assert "It is written down, and committed." == run.record("writer")["final_message"]
    cost = sum(float(str(run.record(name)["cost_usd"])) for name in tasks)
    assert cost == pytest.approx(float(str(run.summary["total_cost_usd"])))


def test_a_real_shell_in_the_background_is_stopped_after_its_grace(pit: Pit) -> None:
    code = rehearse(pit, pit.manifest({"server": {"prompt": "go"}}, background_grace_secs=1))

    assert (0, "Success") == (code, pit.run.record("server")["status"])
    assert "background" in str(pit.run.record("server")["note"])
    assert [] == pit.with_cookie()


def test_a_real_session_that_times_out_ends_with_its_account(pit: Pit) -> None:
    code = rehearse(pit, pit.manifest({"slow": {"prompt": "go", "timeout_secs": 6}}))

    assert (1, "TimedOut") == (code, pit.run.record("slow")["status"])
    assert ["interrupt", "close_stdin"] == [fact["rung"] for fact in pit.run.told("RungReached")]


def test_tools_restrict(pit: Pit) -> None:
    tasks = {"reader": {"prompt": "go", "tools": ["Read"]}}
    rehearse(pit, pit.manifest(tasks, worktree_cleanup="never"))

    tree = Path(str(pit.run.record("reader")["worktree_path"]))
    assert not (tree / "forbidden").exists()
    init = next(json.loads(line) for line in pit.run.log("reader").splitlines() if b'"subtype":"init"' in line)
    assert ["Read"] == [tool for tool in init["tools"] if not tool.startswith("mcp__pitboss__")]


def test_the_runs_budget_ends_a_real_session(pit: Pit) -> None:
    tasks = {"dear": {"prompt": "go", "model": "claude-haiku-4-5"}}
    code = rehearse(pit, pit.manifest(tasks, budget_usd=0.1))

    (ended,) = pit.run.told("ProcessEnded")
    failure = ended["failure"]
    assert isinstance(failure, dict)
    assert (1, "budget_exceeded") == (code, failure["kind"])
    assert 0.5 <= float(str(pit.run.record("dear")["cost_usd"])) < 0.6


def test_a_real_session_that_has_spent_its_share_goes_on_with_what_another_did_not_need(pit: Pit) -> None:
    tasks = {name: {"prompt": "go", "model": "claude-haiku-4-5"} for name in ("cheap", "thorough")}
    code = rehearse(pit, pit.manifest(tasks, budget_usd=0.24, max_parallel_tasks=2))

    run = pit.run
    assert (0, "That was much.") == (code, run.record("thorough")["final_message"])
    assert [True] == [fact["goes_on"] for fact in run.told("ActorPaused", "thorough")]
    first, second = run.told("ActorAdmitted", "thorough")
    assert first["session_id"] == second["session_id"]
    assert 0.12 < float(str(run.record("thorough")["cost_usd"])) < 0.24


def test_hooks_of_the_repository_do_not_run_in_the_pit(pit: Pit) -> None:
    hooks = {"hooks": {"PreToolUse": [{"hooks": [{"type": "command", "command": f"touch {pit.place}/hooked"}]}]}}
    settings = pit.repo / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps(hooks))
    pit.git("add", "-A")
    pit.git("commit", "-qm", "a hook")

    assert 0 == rehearse(pit, pit.manifest({"writer": {"prompt": "go"}}))
    assert not (pit.place / "hooked").exists()
