"""The talk with one process: how it opens, what it asks, what it tells."""

from __future__ import annotations

import json

import pytest

from pitboss.wire.claude import (
    Background,
    Conversation,
    JsonObject,
    McpAsked,
    PermissionAsked,
    Ready,
    Refused,
    Retrying,
    ToolAsked,
    ToolCancelled,
    Unanswerable,
    summarize,
)
from wire.lines_of_claude import SESSION, assistant, control, hear, hook, line, mcp_message

# Opening.


def test_a_session_that_answers_hello_is_ready() -> None:
    talk = Conversation(SESSION)
    talk.hello()
    welcome = {"subtype": "success", "request_id": "req_1", "response": {"claude_code_version": "2.1.330"}}
    answer = line({"type": "control_response", "response": welcome})
    assert [Ready(claude_version="2.1.330")] == hear(answer, talk=talk)
    assert [] == hear(answer, talk=talk), "a second answer changes nothing"


def test_a_session_that_refuses_hello_says_why() -> None:
    talk = Conversation(SESSION)
    talk.hello()
    refusal = {"subtype": "error", "request_id": "req_1", "error": "too old"}
    expected = Refused(message="Claude Code refused to open the session: too old")
    assert [expected] == hear(line({"type": "control_response", "response": refusal}), talk=talk)


def test_a_session_that_does_not_take_our_hook_is_not_held() -> None:
    talk = Conversation(SESSION)
    talk.hello()
    welcome = {"subtype": "success", "request_id": "req_1", "response": {"hooks_applied": False}}
    (event,) = hear(line({"type": "control_response", "response": welcome}), talk=talk)
    assert isinstance(event, Refused)


def test_every_tool_call_is_put_to_us_and_blocked_if_we_fail() -> None:
    message = json.loads(Conversation(SESSION).hello())
    (matcher,) = message["request"]["hooks"]["PreToolUse"]
    assert matcher["matcher"] is None
    assert "block" == matcher["onFailure"]


def test_a_refused_order_is_counted() -> None:
    talk = Conversation(SESSION)
    talk.set_model("nonsense")
    refusal = {"subtype": "error", "request_id": "req_1", "error": "no such model"}
    assert [] == hear(line({"type": "control_response", "response": refusal}), talk=talk)
    assert {"refused: set_model": 1} == talk.oddities


def test_a_prompt_that_begins_with_a_slash_reaches_the_model_as_it_is() -> None:
    talk = Conversation(SESSION)
    assert json.loads(talk.prompt(" /tmp is full"))["client_composed"] is True
    assert "client_composed" not in json.loads(talk.prompt("Look at /tmp."))


def test_what_we_say_is_one_line_whatever_is_in_it() -> None:
    said = Conversation(SESSION).prompt("one\ntwo\r\u2028three")
    assert 1 == said.count(b"\n")
    assert said.endswith(b"\n")


# What asks.


def test_a_tool_call_asks() -> None:
    (asked,) = hear(hook(tool_use_id="toolu_1"))
    expected = ToolAsked(
        request_id="r1", tool="Bash", input={"command": "ls"}, summary="ls", tool_use_id="toolu_1", subagent=None
    )
    assert expected == asked


def test_a_subagents_call_names_the_subagent() -> None:
    (asked,) = hear(hook(agent_id="a1", agent_type="general-purpose"))
    assert isinstance(asked, ToolAsked)
    assert "a1" == asked.subagent


def test_half_an_emoji_in_a_tool_call_does_not_make_it_wait_for_ever() -> None:
    talk = Conversation(SESSION)
    lone = hook(tool_input={"command": "echo \ud83d"})
    assert rb"\ud83d" in lone
    (asked,) = hear(lone, talk=talk)
    assert isinstance(asked, ToolAsked)
    assert {"command": "echo \ufffd"} == asked.input
    assert {"mended text": 1} == talk.oddities


def test_whole_emojis_and_escaped_backslashes_are_left_alone_by_mending() -> None:
    text = "\\ud83d \U0001f600 \ud83d"
    (asked,) = hear(hook(tool_input={"command": text}))
    assert isinstance(asked, ToolAsked)
    assert {"command": "\\ud83d \U0001f600 \ufffd"} == asked.input


def test_invalid_utf_8_in_a_text_costs_only_the_bytes_concerned() -> None:
    talk = Conversation(SESSION)
    hear(assistant("caf?").replace(b"caf?", b"caf\xe9"), talk=talk)
    assert "caf\ufffd" == talk.final_message


def test_a_permission_question_asks() -> None:
    (asked,) = hear(control(subtype="can_use_tool", tool_name="Write", input={"file_path": "/x"}, tool_use_id="t"))
    expected = PermissionAsked(request_id="r1", tool="Write", input={"file_path": "/x"}, summary="/x", tool_use_id="t")
    assert expected == asked


def test_a_message_for_our_server_asks() -> None:
    expected = McpAsked(request_id="r1", message={"jsonrpc": "2.0", "method": "ping", "id": 0})
    assert [expected] == hear(mcp_message(method="ping", id=0))


def test_a_cancelled_call_names_the_request_that_needs_no_answer() -> None:
    talk = Conversation(SESSION)
    hear(mcp_message("r1", method="tools/call", id=7, params={"name": "x"}), talk=talk)
    notice = mcp_message("r2", method="notifications/cancelled", params={"requestId": 7, "reason": "abort"})
    cancelled, asked = hear(notice, talk=talk)
    assert ToolCancelled(request_id="r1", call_id=7, reason="abort") == cancelled
    assert isinstance(asked, McpAsked), "the notice itself is to be acknowledged"
    assert "r2" == asked.request_id


def test_a_call_that_was_answered_cannot_be_cancelled_any_more() -> None:
    talk = Conversation(SESSION)
    hear(mcp_message("r1", method="tools/call", id=7, params={"name": "x"}), talk=talk)
    talk.mcp_answer("r1", {})
    cancelled, _ = hear(mcp_message("r2", method="notifications/cancelled", params={"requestId": 7}), talk=talk)
    assert ToolCancelled(request_id=None, call_id=7) == cancelled


def test_a_withdrawn_request_is_told() -> None:
    assert [ToolCancelled(request_id="r9")] == hear(line({"type": "control_cancel_request", "request_id": "r9"}))


@pytest.mark.parametrize(
    ("request_line", "subtype"),
    [
        (control(subtype="read_minds"), "read_minds"),
        (control(), ""),
        (control(subtype="hook_callback", callback_id="hook_9", input={}), "hook_callback"),
        (control(subtype="hook_callback", callback_id="hook_0", input="text"), "hook_callback"),
        (control(subtype="hook_callback", callback_id="hook_0", input={"tool_name": 5}), "hook_callback"),
        (hook(tool_input="rm -rf /"), "hook_callback"),
        (control(subtype="can_use_tool", input={}), "can_use_tool"),
        (control(subtype="mcp_message", server_name="other", message={}), "mcp_message"),
        (control(subtype="mcp_message", server_name="pitboss", message=[1]), "mcp_message"),
    ],
)
def test_a_request_we_cannot_answer_is_told_so_that_it_is_refused(request_line: bytes, subtype: str) -> None:
    assert Unanswerable(request_id="r1", subtype=subtype) in hear(request_line)


# The rest of what it tells.


def test_a_retry_tells_status_and_delay() -> None:
    retry = {
        "type": "system",
        "subtype": "api_retry",
        "error_status": 529,
        "retry_delay_ms": 1500,
        "error": "overloaded",
    }
    assert [Retrying(status=529, delay_secs=1.5, error="overloaded")] == hear(line(retry))


def test_a_retry_after_a_lost_connection_has_no_status() -> None:
    assert [Retrying(status=None, delay_secs=0.0)] == hear(line({"type": "system", "subtype": "api_retry"}))


def test_background_tasks_are_told_with_their_type() -> None:
    tasks = [{"task_type": "local_bash", "description": "run\nit"}, {"task_type": "local_agent"}]
    expected = Background(tasks=("local_bash: run it", "local_agent: "))
    assert [expected] == hear(line({"type": "system", "subtype": "background_tasks_changed", "tasks": tasks}))


# Summaries.


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        ("Bash", {"command": "ls  -l\n\tgrep x", "description": "d"}, "ls -l grep x"),
        ("Edit", {"file_path": "/repo/a.py", "old_string": "x"}, "/repo/a.py"),
        ("Grep", {"pattern": "TODO", "path": "/repo"}, "TODO"),
        ("Agent", {"description": "look", "prompt": "..."}, "look"),
        ("Bash", {}, "{}"),
        ("mcp__pitboss__kv_get", {"path": "a", "n": 1}, '{"path":"a","n":1}'),
        ("Bash", {"command": "\x1b[31mred\x07 \u202eevil\u200b"}, "[31mred evil"),
        ("Bash", {"command": "x" * 200}, "x" * 200),
        ("Bash", {"command": "x" * 201}, "x" * 199 + "…"),
    ],
)
def test_a_tool_call_is_summed_up_in_one_safe_line(tool: str, arguments: JsonObject, expected: str) -> None:
    assert expected == summarize(tool, arguments)
