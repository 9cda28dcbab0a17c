"""Answers to calls of our tools: what a client gets, with times as it was promised, and never too much."""

from __future__ import annotations

import mcp_types
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitboss.model.answers import LONGEST_ANSWER, Instant
from pitboss.model.run import Usage
from pitboss.wire import mcp
from pitboss.wire.claude import JsonObject
from pitboss.wire.scalars import from_timestamp
from pitboss.wire.tool_answers import refusal, result_of

AT = 1_700_000_000.5
AT_TEXT = "2023-11-14T22:13:20.500Z"


def structure_of(answer: JsonObject) -> JsonObject:
    """The structure of a result, which its text says too."""
    whole = mcp_types.JSONRPCResponse.model_validate(mcp.result(1, answer))
    result = mcp_types.CallToolResult.model_validate(whole.result)
    (text,) = result.content
    assert isinstance(text, mcp_types.TextContent)
    structure = answer["structuredContent"]
    assert msgspec.json.decode(text.text) == structure
    assert isinstance(structure, dict)
    return structure


def error_of(answer: JsonObject) -> mcp_types.ErrorData:
    return mcp_types.JSONRPCError.model_validate(answer).error


def test_a_result_is_the_same_json_twice_and_no_error() -> None:
    expected = {
        "content": [{"type": "text", "text": '{"version":3}'}],
        "structuredContent": {"version": 3},
        "isError": False,
    }
    assert expected == result_of({"version": 3})


def test_times_become_what_clients_are_promised_at_any_depth() -> None:
    given_ = {"expires_at": None, "begun": Instant(1.7e9), "entries": [{"written_at": Instant(AT)}], "seen_at": 1}
    expected = {
        "expires_at": None,
        "begun": "2023-11-14T22:13:20Z",
        "entries": [{"written_at": AT_TEXT}],
        "seen_at": 1,
    }
    assert expected == structure_of(result_of(given_))


def test_what_somebody_stored_stays_as_it_was_written() -> None:
    theirs = {"created_at": 5, "deep": [{"seen_at": 6.5}]}
    answer = result_of({"entry": {"json": theirs, "value": [1, 2], "written_at": Instant(AT)}})
    assert {"entry": {"json": theirs, "value": [1, 2], "written_at": AT_TEXT}} == structure_of(answer)


@pytest.mark.parametrize("at", [float("inf"), float("nan"), 1e300, -1e300])
def test_a_time_that_no_calendar_has_is_null(at: float) -> None:
    assert {"expires_at": None} == structure_of(result_of({"expires_at": Instant(at)}))


def test_structs_and_spoiled_text_are_answers_too() -> None:
    usage = {"input": 1, "output": 0, "cache_read": 0, "cache_creation": 0}
    assert {"usage": usage, "path": "\ufffd"} == structure_of(result_of({"usage": Usage(input=1), "path": "\udcff"}))


def test_an_answer_as_large_as_it_may_be_is_given() -> None:
    text = "x" * (LONGEST_ANSWER - len('{"text":""}'))
    assert {"text": text} == structure_of(result_of({"text": text}))


def test_a_larger_one_is_replaced_by_how_to_ask_for_less() -> None:
    answer = result_of({"text": "x" * LONGEST_ANSWER}, tool="list_workers")
    size = LONGEST_ANSWER + len('{"text":""}')
    expected = {
        "code": "answer_too_large",
        "message": f"The answer has {size} bytes, the limit is {LONGEST_ANSWER}: go on from an offset.",
        "size_bytes": size,
        "limit_bytes": LONGEST_ANSWER,
    }
    assert expected == structure_of(answer)
    assert answer["isError"] is True


@pytest.mark.parametrize(
    ("code", "tool", "number"),
    [
        ("conflict", "kv_set", -32600),
        ("invalid_arg", "kv_set", -32600),
        ("invalid_params", "kv_set", -32602),
        ("unknown_tool", "", -32602),
        ("internal", "", -32603),
        ("budget_exceeded", "spawn_worker", -32600),
        ("budget_exceeded", "spawn_sublead", -32603),
        ("forbidden", "spawn_sublead", -32600),
        ("invalid_params", "spawn_sublead", -32602),
    ],
)
def test_a_refusal_has_the_number_of_the_contract_and_always_a_word(code: str, tool: str, number: int) -> None:
    error = error_of(refusal(7, code, "No.", tool=tool))
    assert (number, "No.", {"code": code}) == (error.code, error.message, error.data)


def test_a_refusal_says_more_to_programs() -> None:
    error = error_of(refusal("a", "rate_limited", "Wait.", resets_at=Instant(AT), which="value", gone="\udcff"))
    assert {"code": "rate_limited", "resets_at": AT_TEXT, "which": "value", "gone": "\ufffd"} == error.data


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.just("x_at"), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.text(max_size=4) | st.sampled_from(["a_at", "json"]), VALUES, max_size=4))
def test_any_answer_is_json_that_a_client_takes(structured: JsonObject) -> None:
    structure_of(result_of(structured))
    assert {"code": "x"} == error_of(refusal(1, "x", "y")).data


@settings(deadline=None)
@given(st.floats(0, 4e9))
def test_a_time_survives_the_way_there_and_back(at: float) -> None:
    told = structure_of(result_of({"written_at": Instant(at)}))["written_at"]
    assert isinstance(told, str)
    assert at == pytest.approx(from_timestamp(told), abs=1e-6)
