"""Turns: their results and accounts, interrupts, and messages that come while one runs."""

from __future__ import annotations

import pytest

from conformance.harness import COST_PER_CALL, PER_CALL, Start, Talk
from pitboss.model.run import Usage
from pitboss.wire.claude import Ended, Ready, ToolAsked, UsageSeen


def told(talk: Talk) -> list[str]:
    """The texts of all results so far."""
    return [ended.result.text for ended in talk.all(Ended)]


async def test_a_session_says_its_version_when_it_is_ready(start: Start) -> None:
    talk = await start("three-turns")
    ready = await talk.open()
    assert ready.claude_version
    assert await talk.leave() == 0


async def test_turns_have_results_of_their_own_and_one_growing_account(start: Start) -> None:
    talk = await start("three-turns")
    await talk.open()
    spent = Usage()
    for count, text in enumerate(("one", "two", "three"), start=1):
        ended = await talk.ask()
        spent += PER_CALL
        assert (text, "success", False) == (ended.result.text, ended.result.subtype, ended.result.is_error)
        assert spent == ended.usage == ended.result.session_usage
        assert pytest.approx(count * COST_PER_CALL) == ended.result.session_cost_usd
        assert ended.result.num_turns == 1
    assert talk.all(Ended)[-1].final_message == "three"
    assert await talk.leave() == 0


async def test_another_model_speaks_and_is_paid_from_the_next_turn_on(start: Start) -> None:
    talk = await start("three-turns")
    await talk.open()
    first = await talk.ask()
    talk.set_model("claude-sonnet-4-5")
    second = await talk.ask()
    models = dict.fromkeys(event.model for event in talk.all(UsageSeen) if event.model)
    assert list(models) == ["claude-haiku-4-5", "claude-sonnet-4-5"]
    assert first.result.session_cost_usd is not None
    assert second.result.session_cost_usd == pytest.approx(first.result.session_cost_usd + 3 * COST_PER_CALL)


async def test_a_model_that_is_set_before_the_session_has_answered_speaks_from_the_start(start: Start) -> None:
    talk = await start("three-turns")
    talk.set_model("claude-sonnet-4-5", hello=True)
    await talk.next(Ready)
    await talk.ask()
    assert {"claude-sonnet-4-5"} == {event.model for event in talk.all(UsageSeen) if event.model}


async def test_tokens_are_exact_before_the_result_and_never_shrink(start: Start) -> None:
    talk = await start("three-turns")
    await talk.open()
    await talk.ask()
    ended = await talk.ask()
    seen = [event.usage for event in talk.all(UsageSeen)]
    assert ended.usage == seen[-1]
    assert seen == sorted(seen, key=lambda usage: (usage.input, usage.output))
    assert talk.events.index(talk.all(UsageSeen)[-1]) < talk.events.index(ended)


async def test_an_interrupt_ends_the_turn_and_the_process_leaves_with_an_error(start: Start) -> None:
    talk = await start("slow")
    await talk.open()
    talk.say()
    talk.interrupt()
    ended = await talk.next(Ended)
    assert (ended.result.subtype, ended.result.is_error) == ("error_during_execution", True)
    assert ended.result.terminal_reason == "aborted_streaming"
    assert await talk.leave() == 1


async def test_an_interrupted_session_takes_a_new_direction(start: Start) -> None:
    talk = await start("busy")
    await talk.open()
    talk.say()
    await talk.next(ToolAsked)
    talk.interrupt()
    interrupted = await talk.next(Ended)
    assert interrupted.result.subtype == "error_during_execution"
    assert (await talk.ask("rather do this")).result.text == "redirected"
    assert await talk.leave() == 0


async def test_an_interrupt_of_an_idle_session_changes_nothing(start: Start) -> None:
    talk = await start("three-turns")
    await talk.open()
    talk.interrupt()
    assert (await talk.ask()).result.text == "one"
    assert await talk.leave() == 0
    assert told(talk) == ["one"]


async def test_a_message_during_a_tool_call_is_woven_into_the_turn(start: Start) -> None:
    talk = await start("woven")
    await talk.open()
    talk.say("first")
    await talk.next(ToolAsked)
    talk.say("and this")
    assert (await talk.next(Ended)).heard == 2
    assert (await talk.ask("third")).heard == 3
    assert await talk.leave() == 0
    assert told(talk) == ["heard both", "alone"]


async def test_a_message_after_the_last_call_gets_a_turn_of_its_own(start: Start) -> None:
    talk = await start("too-late-to-weave")
    await talk.open()
    assert (await talk.ask("first")).heard == 1
    talk.say("second")
    assert (await talk.next(Ended)).heard == 2
    assert await talk.leave() == 0
    assert told(talk) == ["first", "second"]


async def test_the_end_of_a_turn_says_what_was_read_and_an_interrupted_one_waits_for_no_other(start: Start) -> None:
    talk = await start("busy-with-a-note")
    await talk.open()
    talk.say("first")
    await talk.next(ToolAsked)
    talk.say("a note")
    talk.interrupt()
    interrupted = await talk.next(Ended)
    assert (interrupted.result.subtype, interrupted.heard) == ("error_during_execution", 1)
    talk.say("rather do this")
    while (await talk.next(Ended)).heard != 3:
        pass  # the note may have a turn and an end of its own
    assert await talk.leave() == 0
