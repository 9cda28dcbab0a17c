"""Arguments and environment of a session's process."""

from __future__ import annotations

import json

import msgspec
import pytest

from pitboss.model.run import ActorId, McpServer, Session
from pitboss.wire.claude import SIDE_DOORS, command, environment, servers
from pitboss.wire.mcp import Tool

SESSION = Session(
    actor=ActorId("fix"),
    attempt=2,
    cookie="0198-run/fix/2",
    binary="/opt/claude",
    cwd="/repo",
    prompt="the secret prompt",
    session_id="11111111-2222-4333-8444-555555555555",
    model="claude-sonnet-4-6",
    tools=("Read", "Bash"),
    log_dir="/log",
)
TOOL = Tool(name="kv_get", description="Read.", input_schema={"type": "object"})


def session(**changes: object) -> Session:
    return msgspec.structs.replace(SESSION, **changes)


def value_of(argv: list[str], flag: str) -> str | None:
    return next((argument.partition("=")[2] for argument in argv if argument.startswith(flag + "=")), None)


def test_the_binary_comes_first_and_the_prompt_never_comes() -> None:
    argv = command(SESSION)
    assert "/opt/claude" == argv[0]
    assert not any("secret prompt" in argument for argument in argv)


def test_a_new_session_gets_our_id_and_a_resumed_one_goes_on() -> None:
    assert f"--session-id={SESSION.session_id}" in command(SESSION)
    resumed = command(session(resume=True))
    assert f"--resume={SESSION.session_id}" in resumed
    assert value_of(resumed, "--session-id") is None


def test_model_and_effort_are_passed_on() -> None:
    argv = command(session(model="-odd", effort="max"))
    assert "--model=-odd" in argv, "one token: it cannot become a flag"
    assert "--effort=max" in argv


@pytest.mark.parametrize(("tools", "expected"), [(("Read", "Bash"), "Read,Bash"), ((), "")])
def test_tools_restrict_and_none_means_none(tools: tuple[str, ...], expected: str) -> None:
    assert expected == value_of(command(session(tools=tools)), "--tools")


def test_side_doors_are_closed() -> None:
    assert ",".join(SIDE_DOORS) == value_of(command(SESSION), "--disallowedTools")


def test_a_side_door_that_the_manifest_names_is_open() -> None:
    closed = value_of(command(session(tools=("Bash", "SendMessage"))), "--disallowedTools")
    assert closed is not None
    assert "SendMessage" not in closed
    assert "ListAgents" in closed


def test_with_every_side_door_open_nothing_is_disallowed() -> None:
    assert value_of(command(session(tools=SIDE_DOORS)), "--disallowedTools") is None


def test_without_servers_and_tools_there_is_no_mcp_config() -> None:
    argv = command(SESSION)
    assert "--strict-mcp-config" in argv
    assert value_of(argv, "--mcp-config") is None


def test_the_manifests_servers_and_ours_are_announced() -> None:
    server = McpServer(id="db", command="db-mcp", args=("--ro",), env={"URL": "${DB_URL}"})
    config = json.loads(value_of(command(session(mcp_servers=(server,)), tools=[TOOL]), "--mcp-config") or "")
    expected = {
        "db": {"type": "stdio", "command": "db-mcp", "args": ["--ro"], "env": {"URL": "${DB_URL}"}},
        "pitboss": {"type": "sdk", "name": "pitboss"},
    }
    assert expected == config["mcpServers"]


@pytest.mark.parametrize(
    ("budget", "expected"), [(None, None), (5.0, "5.000000"), (0.00001, "0.000010"), (0.0, "0.000001")]
)
def test_a_budget_is_a_plain_number_above_zero(budget: float | None, expected: str | None) -> None:
    assert expected == value_of(command(session(budget_usd=budget)), "--max-budget-usd")


def test_settings_of_the_project_and_hooks_of_anybody_stay_outside() -> None:
    argv = command(SESSION)
    assert "user" == value_of(argv, "--setting-sources")
    assert {"disableAllHooks": True} == json.loads(value_of(argv, "--settings") or "")
    assert "/repo" == value_of(argv, "--add-dir")


def test_what_is_inherited_goes_on_but_the_marks_of_an_outer_session_do_not() -> None:
    inherited = {"PATH": "/bin", "CLAUDECODE": "1", "CLAUDE_CODE_MESSAGING_TOKEN": "t", "CLAUDE_CODE_MAX_RETRIES": "3"}
    env = environment(SESSION, inherited)
    assert ("/bin", "3") == (env["PATH"], env["CLAUDE_CODE_MAX_RETRIES"])
    assert {"CLAUDECODE", "CLAUDE_CODE_MESSAGING_TOKEN"}.isdisjoint(env)


def test_our_defaults_win_over_what_is_inherited_and_the_manifest_wins_over_both() -> None:
    inherited = {"ENABLE_TOOL_SEARCH": "true", "CLAUDE_CODE_ENTRYPOINT": "cli"}
    env = environment(SESSION, inherited)
    assert ("false", "sdk-ts") == (env["ENABLE_TOOL_SEARCH"], env["CLAUDE_CODE_ENTRYPOINT"])
    wanted = {"ENABLE_TOOL_SEARCH": "auto", "CLAUDE_CODE_ENTRYPOINT": "mine", "PATH": "/opt"}
    assert wanted.items() <= environment(session(env=wanted), inherited | {"PATH": "/bin"}).items()


def test_retries_are_the_operators_choice() -> None:
    assert "CLAUDE_CODE_MAX_RETRIES" not in environment(SESSION, {})


@pytest.mark.parametrize(("is_root", "expected"), [(True, "1"), (False, None)])
def test_root_is_told_that_it_is_contained(is_root: bool, expected: str | None) -> None:
    assert expected == environment(SESSION, {}, is_root=is_root).get("IS_SANDBOX")


def test_no_manifest_can_hide_an_actor_from_its_guardian() -> None:
    hidden = session(env={"PITBOSS_COOKIE": "none", "PITBOSS_RUN_ID": "none"})
    env = environment(hidden, {"PITBOSS_COOKIE": "outer/run/1"})
    assert ("0198-run/fix/2", "0198-run") == (env["PITBOSS_COOKIE"], env["PITBOSS_RUN_ID"])


def test_a_tool_with_a_pattern_is_not_closed_by_it() -> None:
    """``--tools=Bash(git:*)`` leaves no Bash at all (tried)."""
    patterned = msgspec.structs.replace(SESSION, tools=("Bash(git:*)", "Bash(ls)", "Read", "mcp__x__y"))
    assert "--tools=Bash,Read" in command(patterned)


def test_mcp_servers_can_be_named_by_a_file_so_that_no_secret_is_in_the_arguments() -> None:
    server = McpServer(id="x", command="serve", env={"TOKEN": "secret"})
    guarded = msgspec.structs.replace(SESSION, mcp_servers=(server,))

    words = command(guarded, mcp_config="/run/mcp-config.json")

    assert "--mcp-config=/run/mcp-config.json" in words
    assert "secret" not in " ".join(words)
    assert "secret" in servers(guarded)
