"""Golden conversations: what we say is byte for byte what was said, and what we understand is what was understood.

After a change on purpose: ``make record`` if the CLI or our side of the talk changed, then
``python tests/wire/record.py --accept`` and a look at the difference.
"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitboss.model.run import Usage
from pitboss.wire import mcp
from pitboss.wire.claude import Conversation, Ended, Event, JsonObject, McpAsked, UsageSeen, command
from wire.archive import RECORDINGS, Line, expected, heard, load, session_of, understood
from wire.scenes import SCENES
from wire.stage import TOOLS

NAMES = sorted(SCENES)


def as_data(events: list[Event]) -> list[object]:
    return msgspec.json.decode(msgspec.json.encode(events), type=list[object])


def test_every_scene_has_its_recording() -> None:
    assert NAMES == sorted(path.stem for path in RECORDINGS.glob("*.jsonl"))
    assert NAMES == sorted(path.name.removesuffix(".events.json") for path in RECORDINGS.glob("*.events.json"))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_understood_is_what_was_understood(name: str) -> None:
    assert expected(name) == as_data(understood(name))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_a_recording_is_odd(name: str) -> None:
    _, talk = heard(name)
    assert {} == talk.oddities


@pytest.mark.parametrize("name", NAMES)
def test_what_we_say_is_what_was_said(name: str) -> None:
    lines = load(name)
    talk = Conversation(session_of(lines))
    asked: dict[str, JsonObject] = {}
    for line in lines:
        if line.dir == "<":
            events = talk.feed(bytes(line.msg) + b"\n")
            asked |= {event.request_id: event.message for event in events if isinstance(event, McpAsked)}
        elif line.dir == ">":
            message = msgspec.json.decode(line.msg, type=dict[str, object])
            assert msgspec.json.encode(message) + b"\n" == said(talk, message, asked)


def said(talk: Conversation, message: JsonObject, asked: dict[str, JsonObject]) -> bytes:
    """Say anew what was said, through the call that must have said it."""
    match message:
        case {"request": {"subtype": "initialize"}}:
            return talk.hello()
        case {"request": {"subtype": "interrupt"}}:
            return talk.interrupt()
        case {"request": {"subtype": "set_model", "model": str(model)}}:
            return talk.set_model(model)
        case {"request": {"subtype": "set_permission_mode", "mode": str(mode)}}:
            return talk.set_permission_mode(mode)
        case {"type": "user", "message": {"content": str(text)}}:
            return talk.prompt(text)
        case {"response": {"subtype": "error", "request_id": str(request), "error": str(reason)}}:
            return talk.refuse(request, reason)
        case {"response": {"request_id": str(request), "response": dict(answer)}}:
            return answered(talk, request, answer, asked)
        case _:
            raise AssertionError(f"nobody says {message}")


def answered(talk: Conversation, request: str, answer: JsonObject, asked: dict[str, JsonObject]) -> bytes:
    match answer:
        case {"hookSpecificOutput": {"permissionDecisionReason": str(reason)}}:
            return talk.deny(request, reason)
        case {"behavior": "allow", "updatedInput": dict(permitted)}:
            return talk.permit(request, permitted)
        case {"behavior": "deny", "message": str(reason)}:
            return talk.forbid(request, reason)
        case {"mcp_response": dict(response)}:
            reply = mcp.answer(asked[request], TOOLS)
            if isinstance(reply, mcp.Call):
                reply = mcp.result(reply.call_id, response["result"])
            return talk.mcp_answer(request, reply)
        case _:
            assert {} == answer
            return talk.allow(request)


def argv_of(lines: list[Line]) -> list[str]:
    return msgspec.json.decode(next(line.msg for line in lines if line.dir == "argv"), type=list[str])


@pytest.mark.parametrize("name", [name for name in NAMES if name != "permission_question_over_stdio"])
def test_a_session_is_started_as_it_was_started(name: str) -> None:
    lines = load(name)
    argv = argv_of(lines)
    tools = TOOLS if any('"sdk"' in argument for argument in argv) else ()
    assert ["claude", *argv] == command(session_of(lines), tools=tools)


@pytest.mark.parametrize("name", NAMES)
def test_the_account_never_runs_backwards_and_never_ahead_of_the_result(name: str) -> None:
    seen = Usage()
    for event in understood(name):
        if isinstance(event, UsageSeen):
            assert Usage() == seen - event.usage
            seen = event.usage
        elif isinstance(event, Ended):
            assert Usage() == seen - event.usage


def test_a_resumed_session_is_charged_for_its_own_process_only() -> None:
    (ended,) = (event for event in understood("resume_same_directory") if isinstance(event, Ended))
    assert Usage(input=100, output=20, cache_read=5000, cache_creation=1000) == ended.usage
    assert Usage(input=200, output=40, cache_read=10000, cache_creation=2000) == ended.result.session_usage


def test_subagents_are_in_the_account_and_not_in_the_final_message() -> None:
    *_, last = (event for event in understood("subagent_waited_for") if isinstance(event, Ended))
    assert Usage(input=500, output=100, cache_read=25000, cache_creation=5000) == last.usage
    assert "now the subagent is done" == last.final_message


@settings(deadline=None)
@given(name=st.sampled_from(NAMES), data=st.data())
def test_a_recording_cut_anywhere_says_the_same(name: str, data: st.DataObject) -> None:
    def cut(lines: list[bytes]) -> list[bytes]:
        stream = b"".join(lines)
        places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=3)))
        return [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]

    events, talk = heard(name, cut)

    assert expected(name) == as_data(events)
    assert {} == talk.oddities


GARBAGE = st.one_of(
    st.binary(min_size=1, max_size=60).map(lambda raw: raw.replace(b"\n", b" ")),
    st.sampled_from(
        [
            b"[1, 2]",
            b"null",
            b'{"type": "result"',
            b'{"type": 5}',
            b'{"type": "from_the_future", "x": 1}',
            b'{"type": "assistant", "message": "text"}',
            b'{"type": "stream_event", "event": {"type": "message_start", "message": {"id": 3}}}',
            b'{"type": "control_response", "response": {"subtype": "success", "request_id": "nobodys"}}',
            b'{"type": "user", "message": "\xff\xfe"}',
            b"[" * 5000,
        ]
    ),
)


@settings(deadline=None)
@given(name=st.sampled_from(NAMES), data=st.data())
def test_garbage_between_lines_changes_nothing_but_the_oddities(name: str, data: st.DataObject) -> None:
    def spoil(lines: list[bytes]) -> list[bytes]:
        for garbage in data.draw(st.lists(GARBAGE, max_size=2)):
            lines.insert(data.draw(st.integers(0, len(lines))), garbage + b"\n")
        return lines

    events, _ = heard(name, spoil)

    assert expected(name) == as_data(events)


def test_no_recording_gives_away_where_it_was_made() -> None:
    for path in RECORDINGS.iterdir():
        text = path.read_text()
        assert not [word for word in ("/tmp/", "/root", "bunfs", "pitboss-record", "cc-socks") if word in text], path
