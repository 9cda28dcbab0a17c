"""Tool calls: past the hook, and over the pipe to a server of ours."""

from __future__ import annotations

from pathlib import Path

from conformance.harness import Start
from pitboss.wire.claude import Ended, McpAsked, ToolAsked, ToolCancelled


def methods(asked: list[McpAsked]) -> list[object]:
    """What the client wanted, in order."""
    return [event.message["method"] for event in asked]


async def test_an_allowed_tool_call_runs_in_the_working_directory(start: Start) -> None:
    talk = await start("allowed")
    await talk.open()
    ended = await talk.ask()
    (asked,) = talk.all(ToolAsked)
    assert (asked.tool, asked.summary, asked.subagent) == ("Bash", "echo hi > made.txt", None)
    assert (Path(talk.session.cwd) / "made.txt").read_text() == "hi\n"
    assert (ended.result.text, ended.result.num_turns) == ("made", 2)


async def test_a_denied_tool_call_does_not_run_and_the_turn_goes_on(start: Start) -> None:
    talk = await start("denied")
    talk.denied["Bash"] = "rule 1 forbids it"
    await talk.open()
    ended = await talk.ask()
    assert ended.result.text == "not made"
    assert not ended.result.is_error
    assert not (Path(talk.session.cwd) / "made.txt").exists()


async def test_a_hook_that_fails_stops_the_tool_call(start: Start) -> None:
    talk = await start("denied")
    talk.fails_hooks = True
    await talk.open()
    ended = await talk.ask()
    assert ended.result.text == "not made"
    assert not (Path(talk.session.cwd) / "made.txt").exists()


async def test_our_server_is_met_first_and_its_tool_passes_the_hook(start: Start) -> None:
    talk = await start("our-tool")
    await talk.open()
    ended = await talk.ask()
    asked = talk.all(McpAsked)
    assert methods(asked) == ["initialize", "notifications/initialized", "tools/list", "tools/call"]
    assert [event.tool for event in talk.all(ToolAsked)] == ["mcp__pitboss__lookup"]
    params = asked[-1].message["params"]
    assert isinstance(params, dict)
    assert (params["name"], params["arguments"]) == ("lookup", {"key": "answer"})
    assert ended.result.text == "it is 42"


async def test_an_interrupt_cancels_a_waiting_call_of_our_tool(start: Start) -> None:
    talk = await start("our-tool-waits")
    talk.holds_calls = True
    await talk.open()
    talk.say()
    called = await talk.next_call()
    talk.interrupt()
    cancelled = await talk.next(ToolCancelled)
    ended = await talk.next(Ended)
    assert (called.request_id, called.message["id"]) == (cancelled.request_id, cancelled.call_id)
    assert (ended.result.subtype, ended.result.terminal_reason) == ("error_during_execution", "aborted_tools")
    assert (await talk.ask()).result.text == "never mind"
    assert await talk.leave() == 0


async def test_an_answer_that_comes_after_the_interrupt_is_ignored(start: Start) -> None:
    talk = await start("our-tool-waits")
    talk.holds_calls = True
    await talk.open()
    talk.say()
    called = await talk.next_call()
    talk.interrupt()
    await talk.next(Ended)
    talk.answer_call(called)
    assert (await talk.ask()).result.text == "never mind"
    assert await talk.leave() == 0
    assert talk.oddities == {}


async def test_a_message_while_our_tool_waits_is_heard_with_its_answer(start: Start) -> None:
    talk = await start("our-tool-woven")
    talk.holds_calls = True
    await talk.open()
    talk.say("first")
    called = await talk.next_call()
    talk.say("and this")
    assert talk.all(Ended) == []
    talk.answer_call(called)
    assert (await talk.next(Ended)).result.text == "heard both"
    assert (await talk.ask("third")).result.text == "alone"
    assert await talk.leave() == 0
    assert len(talk.all(Ended)) == 2
