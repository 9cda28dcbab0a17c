"""The real CLI, started as we start it: what a repository or a user has set up does not run in the pit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomlkit

from pitboss.wire.claude import Ended
from support.rehearsal import start_model
from wire.scenes import bash, say
from wire.stage import Theatre

pytestmark = [pytest.mark.claude, pytest.mark.slow]


@pytest.fixture
def theatre(tmp_path: Path) -> Iterator[Theatre]:
    script = tomlkit.dumps({"actor": [{"id": "*", "turn": [say("", bash("env > env.txt")), say("done")]}]})
    with start_model(tmp_path / "model", script) as model:
        yield Theatre("isolated", tmp_path, model.actor("isolated"))


def booby_trap(settings: Path, traps: Path, name: str) -> None:
    """Write settings that leave a file behind if any hook of theirs runs, and a variable if they are read."""
    hooks = [{"hooks": [{"type": "command", "command": f"touch {traps}/{name}"}]}]
    settings.parent.mkdir(parents=True, exist_ok=True)
    events = dict.fromkeys(("PreToolUse", "PostToolUse", "SessionStart", "UserPromptSubmit", "Stop"), hooks)
    settings.write_text(json.dumps({"hooks": events, "env": {f"SETTINGS_OF_{name.upper()}": "1"}}))


def test_nobodys_hooks_run_and_no_setting_of_the_project_is_read(theatre: Theatre, tmp_path: Path) -> None:
    traps, repo = tmp_path / "traps", tmp_path / "repo"
    traps.mkdir()
    booby_trap(tmp_path / "home/.claude/settings.json", traps, "user")
    booby_trap(repo / ".claude/settings.json", traps, "project")
    booby_trap(repo / ".claude/settings.local.json", traps, "local")
    with theatre.stage() as stage:
        stage.open()
        stage.prompt("Go.")
        end = stage.until(Ended)
        stage.finish()
    assert "done" == end.result.text
    assert [] == list(traps.iterdir())
    seen = (repo / "env.txt").read_text()
    assert "SETTINGS_OF_USER" in seen, "some people log in through their own settings"
    assert "SETTINGS_OF_PROJECT" not in seen
    assert "SETTINGS_OF_LOCAL" not in seen


def test_the_projects_instructions_still_reach_the_model(theatre: Theatre, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "CLAUDE.md").write_text("Always say please.\n")
    with theatre.stage() as stage:
        stage.open()
        ask = {"type": "control_request", "request_id": "ctx", "request": {"subtype": "get_context_usage"}}
        stage.write(json.dumps(ask).encode() + b"\n")
        stage.until_line("memoryFiles")
        stage.finish()
    answer = next(message for _, _, message in stage.lines if "memoryFiles" in json.dumps(message))
    assert str(repo / "CLAUDE.md") in json.dumps(answer)


def test_a_session_without_tools_has_none_and_one_with_tools_has_no_other(theatre: Theatre) -> None:
    for tools in ((), ("Read", "Grep")):
        with theatre.stage(built_in=tools, session_id=f"00000000-0000-4000-8000-00000000000{len(tools)}") as stage:
            stage.open()
            stage.prompt("Go.")
            stage.until_line('"init"')
            stage.until(Ended)
            stage.finish()
        init = next(message for _, _, message in stage.lines if isinstance(message, dict) and "tools" in message)
        assert sorted(tools) == sorted(init["tools"])
