from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitboss.surfaces import activity
from pitboss.surfaces.activity import Tail, follow, plain, render


def line(kind: str, **fields: object) -> bytes:
    return json.dumps({"type": kind, **fields}).encode()


def said(text: str, **fields: object) -> bytes:
    return line("assistant", message={"content": [{"type": "text", "text": text}]}, **fields)


def test_a_text_shows_its_first_line_that_is_not_blank() -> None:
    assert ["> I look at it."] == render(said("\n  \nI look at it.\nAnd more."))


def test_a_tool_call_shows_its_input_as_compact_json() -> None:
    call = {"type": "tool_use", "id": "1", "name": "Bash", "input": {"command": "ls -l", "n": 1}}
    assert ['* Bash {"command":"ls -l","n":1}'] == render(line("assistant", message={"content": [call]}))


@pytest.mark.parametrize("content", ["a\nb", [{"type": "text", "text": "a\nb"}]])
def test_a_result_of_a_tool_is_one_line(content: object) -> None:
    result = {"type": "tool_result", "tool_use_id": "1", "content": content}
    assert ["< a b"] == render(line("user", message={"content": [result]}))


def test_the_end_of_a_turn_shows_its_tokens() -> None:
    usage = {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 4}
    assert ["v result (in=1 out=2 cache_r=3 cache_c=4)"] == render(line("result", subtype="success", usage=usage))


def test_a_failed_turn_says_why() -> None:
    shown = render(line("result", subtype="success", is_error=True, result="API Error: 401"))
    assert ["! result success: API Error: 401", "v result (in=0 out=0 cache_r=0 cache_c=0)"] == shown


def test_trouble_with_the_api_is_shown() -> None:
    retry = line("system", subtype="api_retry", error_status=529, retry_delay_ms=619, attempt=1)
    limit = {"status": "rejected", "rateLimitType": "five_hour", "resetsAt": 1764000000}
    assert ["! api retry 529, again in 0.6 s"] == render(retry)
    assert ["! rate-limit rejected (five_hour) resets=2025-11-24T16:00:00Z"] == render(
        line("rate_limit_event", rate_limit_info=limit)
    )


def test_what_a_subagent_does_is_indented() -> None:
    assert ["  > Hello."] == render(said("Hello.", parent_tool_use_id="toolu_1"))


@pytest.mark.parametrize(
    "data",
    [
        line("stream_event", event={"type": "content_block_delta"}),
        line("system", subtype="init", tools=[]),
        line("control_request", request={}),
        line("something_new"),
        line("user", message={"role": "user", "content": "the prompt"}),
        b'{"type": "assistant", "message": {"conte',
        b"[1, 2]",
        b"\xff\xfe",
        b"",
    ],
)
def test_what_nobody_wants_to_read_is_left_out(data: bytes) -> None:
    assert [] == render(data)


@settings(max_examples=40)
@given(
    st.binary()
    | st.recursive(st.none() | st.text() | st.integers(), lambda x: st.dictionaries(st.text(), x)).map(
        lambda value: json.dumps({"type": "assistant", "message": value}).encode()
    )
)
def test_no_line_breaks_the_viewer(data: bytes) -> None:
    assert isinstance(render(data), list)


def test_long_lines_are_cut_and_say_so() -> None:
    shown = render(said("x" * 10_000_000))
    assert ["> " + "x" * 2000 + " … +9998000 chars"] == shown


def test_control_characters_of_an_agent_do_not_reach_the_terminal() -> None:
    assert ["> a[2Jb"] == render(said("a\x1b[2Jb"))


# --- following ------------------------------------------------------------------------------------------------------


def raw(path: Path) -> Tail:
    return Tail(path, plain(careful=False))


def test_the_last_lines_come_first_and_then_what_is_added(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("1\n2\n3\n")
    tail = raw(path)

    assert ["2", "3"] == tail.last(2)
    with path.open("a") as file:
        file.write("4\n")
    assert ["4"] == tail.more()
    assert [] == tail.more()


def test_a_line_that_is_still_being_written_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("1\nhal")
    tail = raw(path)

    assert ["1"] == tail.last(5)
    with path.open("a") as file:
        file.write("f\n")
    assert ["half"] == tail.more()


def test_a_line_that_nobody_will_finish_is_shown_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("1\nhal")
    assert ["1", "hal"] == list(follow(raw(path), lines=5, ended=lambda: True))


def test_a_log_that_begins_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("1\n2\n3\n")
    tail = raw(path)
    tail.last(1)

    path.write_text("4\n")

    assert ["4"] == tail.more()


def test_a_log_that_does_not_exist_yet_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = raw(path)
    assert [] == tail.last(5)
    path.write_text("1\n")
    assert ["1"] == tail.more()


@pytest.mark.parametrize("count", [0, 1, 3, 50])
def test_the_end_of_a_large_log_is_found_without_reading_all_of_it(tmp_path: Path, count: int) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"{number:0200}\n" for number in range(20_000)) + "torn")
    tail = raw(path)

    assert [f"{number:0200}" for number in range(20_000 - count, 20_000)] == tail.last(count)
    with path.open("a") as file:
        file.write("!\n")
    assert ["torn!"] == tail.more()


def test_a_line_longer_than_every_window_is_still_found(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"1\n" + said("x" * 9_000_000) + b"\n")
    assert ["> " + "x" * 2000 + " … +8998000 chars"] == Tail(path, activity.render).last(1)


def test_following_ends_with_the_task_and_misses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("1\n")
    states = iter([False, False, True])

    def write() -> None:
        with path.open("a") as file:
            file.write("more\n")

    assert ["1", "more", "more"] == list(follow(raw(path), lines=9, ended=lambda: next(states), wait=write))
