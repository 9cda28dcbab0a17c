from __future__ import annotations

import json
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from pitboss.model.run import Usage
from pitboss.rehearsal.messages import Call, Reply, encode_reply, stream_events

Data = dict[str, object]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
CALLS = st.builds(Call, name=st.text(min_size=1), input=st.dictionaries(st.text(), JSON, max_size=4))
TOKENS = st.integers(0, 10**7)
REPLIES = st.builds(
    Reply,
    id=st.just("msg_x000001"),
    model=st.just("claude-haiku-4-5"),
    text=st.text(max_size=200),
    calls=st.lists(CALLS, max_size=3).map(tuple),
    usage=st.builds(Usage, input=TOKENS, output=TOKENS, cache_read=TOKENS, cache_creation=TOKENS),
)


def parse(stream: bytes) -> list[Data]:
    """The events of a stream, read as a browser would read it."""
    assert stream.endswith(b"\n\n")
    events = []
    for chunk in stream.removesuffix(b"\n\n").split(b"\n\n"):
        name, data = chunk.split(b"\n")
        event = cast("Data", json.loads(data.removeprefix(b"data: ")))
        assert name.removeprefix(b"event: ").decode() == event["type"]
        events.append(event)
    return events


def assemble(events: list[Data]) -> list[Data]:
    """The content blocks that a client builds from the events, checked for order on the way."""
    blocks: list[Data] = []
    pieces: list[str] = []
    for event in events:
        match event["type"]:
            case "content_block_start":
                assert len(blocks) == event["index"]
                blocks.append(dict(cast("Data", event["content_block"])))
                pieces = []
            case "content_block_delta":
                assert len(blocks) - 1 == event["index"]
                delta = cast("dict[str, str]", event["delta"])
                pieces.append(delta["text" if delta["type"] == "text_delta" else "partial_json"])
            case "content_block_stop":
                block, whole = blocks[-1], "".join(pieces)
                block |= {"text": whole} if block["type"] == "text" else {"input": json.loads(whole)}
            case other:
                raise AssertionError(f"{other} among the content blocks")
    return blocks


@given(REPLIES)
def test_a_streamed_message_is_well_formed_and_says_what_the_whole_one_says(reply: Reply) -> None:
    events = parse(b"".join(stream_events(reply)))
    whole = cast("Data", json.loads(encode_reply(reply)))
    delta = cast("Data", events[-2]["delta"])
    usage = cast("Data", cast("Data", events[0]["message"])["usage"]) | cast("Data", events[-2]["usage"])

    assert ["message_start", "message_delta", "message_stop"] == [
        event["type"] for event in (events[0], events[-2], events[-1])
    ]
    assert whole["content"] == assemble(events[1:-2])
    assert whole["stop_reason"] == delta["stop_reason"]
    assert whole["usage"] == usage


def test_a_long_text_comes_in_a_few_pieces() -> None:
    events = parse(b"".join(stream_events(Reply(id="msg_1", model="m", text="word " * 200))))

    assert 4 == [event["type"] for event in events].count("content_block_delta")


def test_the_model_waits_for_its_tools() -> None:
    assert "tool_use" == Reply(id="msg_1", model="m", calls=(Call(name="Bash"),)).stop_reason
    assert "end_turn" == Reply(id="msg_1", model="m", text="Done.").stop_reason
