"""The account of one process: tokens, results, the end of the work and the final message."""

from __future__ import annotations

import pytest

from pitboss.model.run import Usage
from pitboss.wire.claude import Background, Conversation, Ended, UsageSeen
from wire.lines_of_claude import (
    FIRST,
    SESSION,
    assistant,
    background,
    hear,
    line,
    message_delta,
    message_start,
    model_usage,
    result,
    state,
    the_end,
)

# The account.


def test_a_message_is_counted_once_however_many_lines_repeat_it() -> None:
    talk = Conversation(SESSION)
    hear(message_start("a"), assistant("x", message_id="a"), assistant("y", message_id="a"), talk=talk)
    assert talk.usage == FIRST


def test_output_comes_from_the_message_delta() -> None:
    events = hear(message_start("a"), message_delta(20), assistant("x", message_id="a"))
    grown = Usage(input=10, output=20, cache_read=5, cache_creation=3)
    assert [UsageSeen(usage=FIRST, model="m"), UsageSeen(usage=grown, model="m")] == events


def test_a_subagent_counts_from_its_assistant_lines() -> None:
    talk = Conversation(SESSION)
    hear(message_start("a"), assistant("x", message_id="b", parent="toolu_1"), talk=talk)
    assert talk.usage == FIRST + FIRST


def test_a_result_replaces_the_estimate_by_the_sessions_own_account() -> None:
    exact = Usage(input=30, output=70, cache_read=9, cache_creation=4)
    end = the_end(message_start("a"), message_delta(20), result(model_usage_since_last_result=model_usage(m=exact)))
    assert exact == end.usage


def test_models_are_summed() -> None:
    end = the_end(result(modelUsage=model_usage(m=FIRST, small=FIRST)))
    assert FIRST + FIRST == end.result.session_usage
    assert FIRST + FIRST == end.usage


def test_what_the_session_used_before_is_not_charged_again() -> None:
    before, both = Usage(input=100, output=50), Usage(input=130, output=55)
    talk = Conversation(SESSION, baseline=before)
    assert Usage(input=30, output=5) == the_end(result(modelUsage=model_usage(m=both)), talk=talk).usage


def test_the_sessions_word_on_this_process_needs_no_baseline() -> None:
    both, ours = Usage(input=130, output=55), Usage(input=30, output=5)
    report = result(modelUsage=model_usage(m=both), model_usage_since_last_result=model_usage(m=ours))
    talk = Conversation(SESSION)
    assert ours == the_end(report, talk=talk).usage
    assert ours + ours == the_end(report, talk=talk).usage


def test_a_result_without_an_account_settles_the_estimate() -> None:
    end = the_end(message_start("a"), message_delta(20), result())
    assert Usage(input=10, output=20, cache_read=5, cache_creation=3) == end.usage
    assert end.result.session_usage is None


def test_a_late_line_about_a_settled_message_changes_nothing() -> None:
    talk = Conversation(SESSION)
    hear(message_start("a"), result(model_usage_since_last_result=model_usage(m=FIRST)), talk=talk)
    assert [] == hear(assistant("x", message_id="a", usage=Usage(input=999)), message_delta(999), talk=talk)
    assert talk.usage == FIRST


def test_an_estimate_that_was_corrected_downwards_is_not_repeated() -> None:
    less = Usage(input=5, output=1)
    talk = Conversation(SESSION)
    hear(message_start("a"), message_delta(50), result(model_usage_since_last_result=model_usage(m=less)), talk=talk)
    assert less == talk.usage
    assert [] == hear(message_start("b", Usage(input=1)), talk=talk)
    assert Usage(input=6, output=1) == talk.usage


def test_negative_and_missing_tokens_count_as_none() -> None:
    usage = {"input_tokens": -5, "output_tokens": None}
    talk = Conversation(SESSION)
    hear(line({"type": "assistant", "message": {"id": "a", "usage": usage}}), talk=talk)
    assert Usage() == talk.usage


# The result.


def test_a_result_is_told_in_our_words() -> None:
    end = the_end(
        result(
            is_error=True,
            api_error_status=529,
            result="API Error: 529",
            total_cost_usd=0.25,
            num_turns=3,
            terminal_reason="api_error",
        )
    ).result
    assert (True, 529, "API Error: 529") == (end.is_error, end.api_error_status, end.text)
    assert (0.25, 3, "api_error") == (end.session_cost_usd, end.num_turns, end.terminal_reason)


def test_a_result_without_text_tells_its_errors() -> None:
    end = the_end(line({"type": "result", "subtype": "error_max_budget_usd", "is_error": True, "errors": ["a", "b"]}))
    assert "a\nb" == end.result.text


def test_a_result_of_an_unexpected_shape_still_ends_the_turn() -> None:
    talk = Conversation(SESSION)
    end = the_end(result(num_turns="three", total_cost_usd={}, modelUsage=[1], result="kept"), talk=talk)
    assert "kept" == end.result.text
    assert 0 == end.result.num_turns
    assert {"unexpected Result.modelUsage", "unexpected Result.num_turns", "unexpected Result.total_cost_usd"} == set(
        talk.oddities
    )


def test_a_last_line_without_newline_is_heard_at_the_end() -> None:
    talk = Conversation(SESSION)
    assert [] == talk.feed(result().rstrip())
    (event,) = talk.eof()
    assert isinstance(event, Ended)
    assert [] == talk.eof()


# The end of the work.


def test_a_turns_end_waits_until_the_session_is_idle() -> None:
    talk = Conversation(SESSION)
    assert [] == hear(state("running"), result(), talk=talk)
    (event,) = hear(state("idle"), talk=talk)
    assert isinstance(event, Ended)


def test_turns_without_a_pause_between_them_have_one_end() -> None:
    last = the_end(state("running"), result(result="ok"), result(result="about the subagent"), state("idle"))
    assert "about the subagent" == last.result.text


def test_a_turns_end_is_told_at_once_while_background_tasks_run() -> None:
    assert isinstance(hear(state("running"), background("look"), result())[-1], Ended)
    *_, ended, tasks = hear(state("running"), result(), background("look"))
    assert isinstance(ended, Ended)
    assert isinstance(tasks, Background)


def test_a_session_that_never_speaks_of_its_state_is_not_waited_for() -> None:
    assert isinstance(the_end(result()), Ended)


def test_a_turns_end_that_waits_is_told_when_the_output_ends() -> None:
    talk = Conversation(SESSION)
    assert [] == hear(state("running"), result(), talk=talk)
    (event,) = talk.eof()
    assert isinstance(event, Ended)


# The final message.


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["short", "the longest", "middle"], "the longest"),
        (["same 1", "same 2"], "same 1"),
        (["aaa", "éé"], "éé"),
        (["    x     ", "yy"], "yy"),
        (["  kept as it is \n"], "  kept as it is \n"),
        (["   ", "\n"], None),
        ([], None),
    ],
)
def test_the_final_message_is_the_longest_text(texts: list[str], expected: str | None) -> None:
    talk = Conversation(SESSION)
    hear(*(assistant(text) for text in texts), talk=talk)
    assert expected == talk.final_message


def test_what_a_subagent_or_the_cli_itself_writes_is_not_the_final_message() -> None:
    synthetic = {"model": "<synthetic>", "content": [{"type": "text", "text": "API Error: a long explanation"}]}
    end = the_end(
        assistant("mine"),
        assistant("a subagent's long report", parent="toolu_1"),
        line({"type": "assistant", "message": synthetic}),
        result(),
    )
    assert "mine" == end.final_message


def test_money_the_session_spent_before_is_not_charged_again() -> None:
    talk = Conversation(SESSION, baseline_usd=0.5)
    assert 0.25 == the_end(result(total_cost_usd=0.75), talk=talk).result.cost_usd


def test_the_money_of_this_process_adds_up_over_its_turns() -> None:
    talk = Conversation(SESSION)
    turn = {"m": {"inputTokens": 1, "costUSD": 0.25}}
    first = the_end(result(total_cost_usd=7.25, model_usage_since_last_result=turn), talk=talk).result
    second = the_end(result(total_cost_usd=7.5, model_usage_since_last_result=turn), talk=talk).result
    assert (0.25, 0.5, 7.5) == (first.cost_usd, second.cost_usd, second.session_cost_usd)
