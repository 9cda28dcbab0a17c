"""Sessions over several processes, and the ends a process can come to."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from conformance.harness import COST_PER_CALL, PER_CALL, Start
from pitboss.wire.claude import Ended, Ready, Retrying, ToolAsked


@pytest.mark.parametrize("where", ["same", "other"])
async def test_a_resumed_session_goes_on_with_its_account(start: Start, tmp_path: Path, where: str) -> None:
    first = await start("three-turns")
    await first.open()
    await first.ask()
    assert await first.leave() == 0
    cwd = Path(first.session.cwd) if where == "same" else tmp_path
    second = await start("three-turns", cwd=cwd, skip=1, session_id=first.session.session_id, resume=True)
    await second.open()
    ended = await second.ask()
    assert ended.result.text == "two"
    assert ended.usage == PER_CALL
    assert ended.result.session_usage == PER_CALL + PER_CALL
    assert pytest.approx(2 * COST_PER_CALL) == ended.result.session_cost_usd
    assert await second.leave() == 0


async def test_a_session_ended_by_sigterm_in_its_first_turn_can_be_resumed(start: Start) -> None:
    first = await start("busy")
    await first.open()
    first.say()
    await first.next(ToolAsked)
    first.terminate()
    assert await first.exit_code() == 143
    second = await start("three-turns", session_id=first.session.session_id, resume=True)
    await second.open()
    assert not (await second.ask()).result.is_error


async def test_an_unknown_session_cannot_be_resumed(start: Start) -> None:
    session_id = str(uuid.uuid4())
    talk = await start("three-turns", session_id=session_id, resume=True)
    ended = await talk.next(Ended)
    message = f"No conversation found with session ID: {session_id}"
    assert ("error_during_execution", True, message) == (
        ended.result.subtype,
        ended.result.is_error,
        ended.result.text,
    )
    assert await talk.exit_code() == 1
    assert message in talk.stderr.decode()
    assert not talk.all(Ready)


async def test_a_session_id_is_not_given_twice(start: Start) -> None:
    first = await start("three-turns")
    await first.open()
    await first.ask()
    await first.leave()
    second = await start("three-turns", session_id=first.session.session_id)
    assert await second.exit_code() == 1
    assert b"already in use" in second.stderr
    assert not second.events


async def test_a_budget_stops_the_turn_after_the_call_that_crossed_it(start: Start) -> None:
    talk = await start("over-budget", budget_usd=1.5 * COST_PER_CALL)
    await talk.open()
    ended = await talk.ask()
    assert (ended.result.subtype, ended.result.is_error) == ("error_max_budget_usd", True)
    assert ended.result.terminal_reason == "budget_exhausted"
    assert ended.usage == PER_CALL + PER_CALL
    assert pytest.approx(2 * COST_PER_CALL) == ended.result.session_cost_usd
    again = await talk.ask()
    assert ("error_max_budget_usd", ended.usage) == (again.result.subtype, again.usage)
    assert await talk.leave() == 1


@pytest.mark.parametrize("status", [401, 429, 529])
async def test_an_api_error_is_retried_reported_and_left_with(start: Start, status: int) -> None:
    talk = await start(f"error-{status}")
    await talk.open()
    ended = await talk.ask()
    (retry,) = talk.all(Retrying)
    assert status == retry.status
    assert retry.delay_secs > 0
    assert (True, status, "api_error") == (
        ended.result.is_error,
        ended.result.api_error_status,
        ended.result.terminal_reason,
    )
    assert ended.result.subtype == "success"
    assert ended.final_message is None
    assert await talk.leave() == 1


async def test_a_turn_is_finished_after_stdin_was_closed(start: Start) -> None:
    talk = await start("closed-in-turn")
    await talk.open()
    talk.say()
    await talk.next(ToolAsked)
    assert await talk.leave() == 0
    (ended,) = talk.all(Ended)
    assert ended.result.text == "finished"
    assert (Path(talk.session.cwd) / "made.txt").exists()


async def test_an_idle_session_leaves_when_stdin_is_closed(start: Start) -> None:
    talk = await start("three-turns")
    await talk.open()
    assert await talk.leave() == 0
    assert not talk.all(Ended)


async def test_sigterm_in_a_turn_ends_the_process_without_a_result(start: Start) -> None:
    talk = await start("busy")
    await talk.open()
    talk.say()
    await talk.next(ToolAsked)
    talk.terminate()
    assert await talk.exit_code() == 143
    assert not talk.all(Ended)
