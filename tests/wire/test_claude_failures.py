"""Why an attempt failed: from what the session itself said, never from what a tool printed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitboss.model.run import Failure, TurnResult
from pitboss.wire.claude import Ended
from pitboss.wire.claude_failures import classify, reset_time
from wire.archive import load, understood

NOW = datetime(2026, 11, 23, 14, 0, tzinfo=UTC).timestamp()
BERLIN_SECS = 3600


def failed(text: str = "", status: int | None = None, subtype: str = "success") -> TurnResult:
    return TurnResult(subtype=subtype, is_error=True, api_error_status=status, text=text)


def kind_of(result: TurnResult | None, exit_code: int | None = 1, signal: int | None = None, stderr: str = "") -> str:
    failure = classify(result, exit_code, signal, stderr)
    assert failure is not None
    return failure.kind


CLEAN = TurnResult(subtype="success", is_error=False, text="done")


def test_a_clean_result_and_exit_is_no_failure() -> None:
    assert classify(CLEAN, 0, None, "a warning on stderr") is None


def test_an_error_is_a_failure_whatever_the_subtype_and_the_exit_code() -> None:
    assert "unknown" == kind_of(failed("it went wrong"), exit_code=0)
    assert "unknown" == kind_of(TurnResult(subtype="error_during_execution", is_error=False), exit_code=0)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (429, "Request rejected (429)", "rate_limit"),
        (529, "Overloaded", "overloaded"),
        (500, "Internal server error", "overloaded"),
        (503, "", "overloaded"),
        (401, "Failed to authenticate", "auth_failure"),
        (403, "", "auth_failure"),
        (413, "Request too large", "context_exceeded"),
        (400, "Prompt is too long · limit 200000", "context_exceeded"),
        (400, "input length and max_tokens exceed context limit", "context_exceeded"),
        (400, "Credit balance is too low", "invalid_argument"),
        (404, "model: no-such-model", "invalid_argument"),
        (302, "", "unknown"),
        (529, "your token expired: please run /login", "overloaded"),
    ],
)
def test_the_status_of_the_api_decides_first(status: int, text: str, kind: str) -> None:
    assert kind == kind_of(failed(text, status))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("You've hit your limit · resets 3pm", "rate_limit"),
        ("You've hit your session limit · resets 3pm", "rate_limit"),
        ("Claude AI usage limit reached|1764000000", "rate_limit"),
        ("Invalid API key · Please run /login", "auth_failure"),
        ("OAuth token has expired", "auth_failure"),
        ("Prompt is too long", "context_exceeded"),
        ("API Error: Connection error.", "network_error"),
        ("Unable to connect to API (ECONNREFUSED)", "network_error"),
        ("getaddrinfo EAI_AGAIN api.example.com", "network_error"),
        ('{"type":"invalid_request_error"}', "invalid_argument"),
        ("No conversation found with session ID: x", "unknown"),
    ],
)
def test_without_a_status_the_sessions_own_words_decide(text: str, kind: str) -> None:
    assert kind == kind_of(failed(text))


def test_a_budget_stop_is_a_failure_of_its_own() -> None:
    assert "budget_exceeded" == kind_of(failed("Reached maximum budget ($0.002)", subtype="error_max_budget_usd"))


def test_an_interrupted_turn_is_unknown_and_says_what_is_known() -> None:
    result = TurnResult(
        subtype="error_during_execution",
        is_error=True,
        text="[ede_diagnostic] result_type=user",
        terminal_reason="aborted_tools",
    )
    assert Failure(kind="unknown", message="aborted_tools") == classify(result, 0, None, "")


@pytest.mark.parametrize(
    ("exit_code", "signal", "stderr", "expected"),
    [
        (0, None, "", Failure(kind="no_result", message="The session ended without a result.")),
        (None, 9, "noise", Failure(kind="process_died", message="killed by SIGKILL")),
        (None, 250, "", Failure(kind="process_died", message="killed by signal 250")),
        (1, None, "one\nlast words\n\n", Failure(kind="process_died", message="last words")),
        (143, None, "", Failure(kind="process_died", message="exited with code 143")),
        (None, None, "", Failure(kind="process_died", message="How the process ended is not known.")),
    ],
)
def test_without_a_result_the_death_speaks(
    exit_code: int | None, signal: int | None, stderr: str, expected: Failure
) -> None:
    assert expected == classify(None, exit_code, signal, stderr)


def test_a_process_that_dies_after_a_clean_result_has_died() -> None:
    assert Failure(kind="process_died", message="killed by SIGKILL") == classify(CLEAN, None, 9, "")


def test_a_message_is_the_end_of_the_last_line_and_never_long() -> None:
    failure = classify(failed("first\n" + "x" * 300 + "end\n\n"), 1, None, "")
    assert failure is not None
    assert 240 == len(failure.message)
    assert failure.message.endswith("end")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("api_error_400", "context_exceeded"),
        ("api_error_401", "auth_failure"),
        ("api_error_429", "rate_limit"),
        ("api_error_529", "overloaded"),
        ("budget_stops_the_turn", "budget_exceeded"),
        ("unknown_session", "unknown"),
        ("one_turn_with_a_tool", None),
    ],
)
def test_recorded_sessions_are_told_apart(name: str, kind: str | None) -> None:
    *_, last = (event for event in understood(name) if isinstance(event, Ended))
    exit_code = 1 if b'"code": 1' in bytes(load(name)[-1].msg) else 0
    failure = classify(last.result, exit_code, None, "")
    assert kind == (failure.kind if failure else None)


def at(*when: int, offset: int = 0) -> float:
    year, month, day, hour, minute = when
    return datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp() - offset


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("usage limit reached|1764000000", 1764000000.0),
        ("usage limit reached|1764000000123", 1764000000.0),
        ("resets at 2026-11-23T16:30:00Z", at(2026, 11, 23, 16, 30)),
        ("resets 3pm", at(2026, 11, 24, 15, 0, offset=BERLIN_SECS)),
        ("resets 3:45pm", at(2026, 11, 23, 15, 45, offset=BERLIN_SECS)),
        ("resets at 4 p.m.", at(2026, 11, 23, 16, 0, offset=BERLIN_SECS)),
        ("resets 12am", at(2026, 11, 24, 0, 0, offset=BERLIN_SECS)),
        ("resets 12pm", at(2026, 11, 24, 12, 0, offset=BERLIN_SECS)),
        ("resets 23:15 (Europe/Berlin)", at(2026, 11, 23, 23, 15, offset=BERLIN_SECS)),
        ("· resets Nov 24, 3:45pm", at(2026, 11, 24, 15, 45, offset=BERLIN_SECS)),
        ("resets November 25th at 9am", at(2026, 11, 25, 9, 0, offset=BERLIN_SECS)),
        ("resets Nov 22, 3pm", at(2026, 11, 22, 15, 0, offset=BERLIN_SECS)),
        ("resets Mar 3, 3pm", None),
        ("resets Feb 30, 3pm", None),
        ("resets 13pm", None),
        ("resets 25:00", None),
        ("resets 3", None),
        ("resets soon", None),
        ("presets 3pm", None),
        ("", None),
    ],
)
def test_a_reset_time_is_read_as_the_local_time_it_is(text: str, expected: float | None) -> None:
    """It is 15:00 in Berlin, an hour ahead of UTC."""
    assert expected == reset_time(text, now=NOW, utc_offset_secs=BERLIN_SECS)


def test_a_reset_time_at_the_turn_of_the_year_is_the_next_years() -> None:
    new_years_eve = at(2026, 12, 31, 23, 0)
    assert at(2027, 1, 1, 3, 0) == reset_time("resets Jan 1, 3am", now=new_years_eve)
    assert at(2027, 1, 1, 1, 0) == reset_time("resets 1am", now=new_years_eve)


def test_without_a_clock_only_complete_times_are_understood() -> None:
    assert reset_time("resets 3pm", now=None) is None
    assert 1764000000.0 == reset_time("|1764000000", now=None)


def test_only_a_rate_limit_has_a_reset_time() -> None:
    limited = classify(failed("You've hit your limit · resets 4pm", 429), 1, None, "", now=NOW)
    other = classify(failed("Overloaded · resets 4pm", 529), 1, None, "", now=NOW)
    assert limited is not None
    assert other is not None
    assert at(2026, 11, 23, 16, 0) == limited.resets_at
    assert other.resets_at is None


@settings(deadline=None)
@given(
    hour=st.integers(0, 99),
    minute=st.none() | st.integers(0, 99),
    half=st.sampled_from(["", "am", "pm", " PM"]),
    offset=st.integers(-12 * 3600, 14 * 3600),
    now=st.floats(0, 4e9),
)
def test_a_time_without_a_date_is_never_more_than_a_day_ahead(
    hour: int, minute: int | None, half: str, offset: int, now: float
) -> None:
    text = f"resets {hour}" + ("" if minute is None else f":{minute:02}") + half
    found = reset_time(text, now=now, utc_offset_secs=offset)
    assert found is None or 0 < found - now <= timedelta(days=1).total_seconds()


@settings(deadline=None)
@given(st.text(max_size=60))
def test_no_text_upsets_it(text: str) -> None:
    classify(failed("resets " + text, 429), 1, None, text, now=NOW)
