"""Lines nobody should write, and lines nobody can count: the reader survives both."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitboss.wire.claude import Conversation, Ended
from wire.lines_of_claude import SESSION, hear, hook, line


@pytest.mark.parametrize(
    ("garbage", "oddity"),
    [
        (b"Segmentation fault\n", "broken json"),
        (b'{"type": "result"\n', "broken json"),
        (b'{"type": "result", "n": 1}}\n', "broken json"),
        (b"\x00\xff\xfe\n", "broken json"),
        (b'{"a":' * 10_000 + b"\n", "broken json"),
        (b"[1]\n", "not an object"),
        (b'"text"\n', "not an object"),
        (b"{}\n", "no type"),
        (b'{"type": 5\n', "broken json"),
        (b'{"type": "from_the_future"}\n', "unknown type: from_the_future"),
        (b'{"type": "control_request", "request": {}}\n', "request without id"),
    ],
)
def test_an_odd_line_is_counted_and_skipped(garbage: bytes, oddity: str) -> None:
    talk = Conversation(SESSION)
    assert [] == hear(garbage, talk=talk)
    assert {oddity: 1} == talk.oddities
    assert 1 == len(hear(hook(), talk=talk)), "the talk goes on"


def test_a_type_of_the_wrong_type_is_no_type() -> None:
    talk = Conversation(SESSION)
    assert [] == hear(b'{"type": 5}\n', talk=talk)
    assert {"unexpected Frame.type": 1, "no type": 1} == talk.oddities


def test_a_subtype_of_the_wrong_type_does_not_cost_the_result() -> None:
    (event,) = hear(b'{"type": "result", "subtype": 5, "result": "ok"}\n')
    assert isinstance(event, Ended)
    assert "ok" == event.result.text


def test_blank_lines_and_what_we_know_and_do_not_need_are_no_oddities() -> None:
    talk = Conversation(SESSION)
    quiet = (line({"type": kind}) for kind in ("user", "keep_alive", "tool_progress", "rate_limit_event"))
    assert [] == hear(b"\n", b" \r\n", *quiet, line({"type": "system", "subtype": "init"}), talk=talk)
    assert {} == talk.oddities


def test_a_flood_of_new_kinds_does_not_fill_the_memory() -> None:
    talk = Conversation(SESSION)
    hear(*(line({"type": f"{number}" * 500}) for number in range(1000)), talk=talk)
    assert len(talk.oddities) <= 65
    assert 1000 == sum(talk.oddities.values())


WORDS = st.sampled_from(
    [
        "type",
        "subtype",
        "message",
        "event",
        "usage",
        "content",
        "id",
        "text",
        "input",
        "request",
        "request_id",
        "response",
        "model_usage",
        "modelUsage",
        "errors",
        "result",
        "assistant",
        "stream_event",
        "system",
        "control_request",
        "control_response",
        "message_start",
        "message_delta",
        "hook_callback",
        "mcp_message",
        "can_use_tool",
        "tool_name",
        "tool_input",
        "server_name",
        "pitboss",
        "callback_id",
        "hook_0",
        "method",
        "params",
        "tasks",
        "api_retry",
        "background_tasks_changed",
        "input_tokens",
        "output_tokens",
        "success",
        "initialize",
        "req_1",
    ]
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)
FRAMES = st.builds(
    lambda kind, body: {"type": kind} | body,
    st.sampled_from(["result", "assistant", "stream_event", "system", "control_request", "control_response"]),
    st.dictionaries(WORDS, ANY_JSON, max_size=6),
)


TORN = st.builds(lambda raw, end: raw[:end] + b"\n", FRAMES.map(line), st.integers(1, 120))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=80) | FRAMES.map(line) | TORN, max_size=6))
def test_nothing_it_can_write_raises(chunks: list[bytes]) -> None:
    talk = Conversation(SESSION)
    talk.hello()
    hear(*chunks, talk=talk)
    talk.eof()
    assert talk.usage.input >= 0


@pytest.mark.parametrize(
    "each",
    [
        line(
            {
                "type": "stream_event",
                "event": {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x" * 90}},
                "session_id": "4fda11ff-d69b-4bb8-93c3-62912fbf72da",
                "parent_tool_use_id": None,
                "uuid": "91f38eac-f3bd-465d-900a-ea129aaf74d4",
            }
        ),
        line({"type": "user", "message": {"role": "user", "content": [{"type": "tool_result", "content": "x" * 200}]}}),
    ],
    ids=["stream_event", "user"],
)
def test_lines_that_do_not_matter_leave_nothing_behind(each: bytes) -> None:
    stream, talk = each * 1_000, Conversation(SESSION)

    for start in range(0, len(stream), 65536):
        assert [] == talk.feed(stream[start : start + 65536])

    assert {} == talk.oddities
