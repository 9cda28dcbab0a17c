from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.model.run import Usage
from pitboss.rehearsal.messages import Reply, encode_reply
from pitboss.rehearsal.prompter import CLOSING, Answer, Caller, Prompter
from pitboss.rehearsal.reader import read_script
from support.conversations import Said, assistant, environment, opening, request, text, tool_result, tool_use, user

SCRIPT = """
[[actor]]
id = "a"
[[actor.turn]]
text = "zero"
[[actor.turn]]
error = { status = 429, times = 2 }
[[actor.turn]]
error = { status = 529 }
[[actor.turn]]
text = "one"
[[actor.turn]]
tools = [ { name = "Bash", input = { command = "echo {{last.json.id}} {{cwd}}" } } ]
usage = { input = 7 }
[[actor.subagent]]
prompt = "*tests*"
[[actor.subagent.turn]]
text = "sub zero"
"""


ACTOR = Caller("a", "s1")


@pytest.fixture
def prompter() -> Prompter:
    return Prompter(read_script(SCRIPT, "s.toml"))


def said(answer: Answer) -> str:
    """The text of an answer, or the status of a refusal."""
    if answer.error is not None:
        return str(answer.error.status)
    assert answer.reply is not None
    return answer.reply.text


def ask(prompter: Prompter, said_before: list[str], caller: Caller = ACTOR, prompt: str = "Go") -> str:
    """One request of a conversation that has gone so far."""
    messages = opening(prompt)
    for words in said_before:
        messages += [assistant([text(words)]), user([text("Go on")])]
    return said(prompter.answer(caller, request(messages), "msg_1"))


def test_the_place_in_the_script_is_read_from_the_conversation(prompter: Prompter) -> None:
    assert "zero" == ask(prompter, [])
    assert CLOSING == ask(prompter, ["x"] * 3)
    assert "zero" == ask(prompter, [])


def test_what_the_cli_puts_into_the_models_mouth_at_a_resume_is_no_reply(prompter: Prompter) -> None:
    messages: list[Said] = [
        *opening("Go"),
        assistant([text("zero")]),
        user([text("[Request interrupted by user for tool use]")]),
        assistant([text("No response requested.")]),
        user("more"),
    ]

    assert 1 == prompter.answer(Caller("a"), request(messages), "msg_1").position


def test_errors_come_as_often_as_written_and_then_the_reply(prompter: Prompter) -> None:
    assert ["429", "429", "529", "one", "one"] == [ask(prompter, ["zero"]) for _ in range(5)]


def test_a_parallel_session_meets_the_errors_too(prompter: Prompter) -> None:
    other = Caller("a", "s2")
    answers = [ask(prompter, ["zero"], caller) for _ in range(4) for caller in (ACTOR, other)]

    assert ["429", "429", "429", "429", "529", "529", "one", "one"] == answers


@given(st.lists(st.integers(0, 3), max_size=60))
def test_sessions_in_any_order_each_hear_the_whole_script(turns: list[int]) -> None:
    prompter = Prompter(read_script(SCRIPT.replace("{{last.json.id}}", ""), "s.toml"))
    heard: dict[int, list[str]] = {session: [] for session in range(4)}
    kept: dict[int, list[str]] = {session: [] for session in range(4)}
    for session in turns:
        answer = ask(prompter, kept[session], Caller("a", f"s{session}"))
        heard[session].append(answer)
        if not answer.isdigit():
            kept[session].append(answer)

    whole = ["zero", "429", "429", "529", "one", "", *itertools.repeat(CLOSING, 60)]
    for answers in heard.values():
        assert whole[: len(answers)] == answers


def test_arguments_are_filled_in_from_what_the_tools_answered(prompter: Prompter) -> None:
    result = tool_result("t2", [text('{"id": "w-1"}\n\n<system-reminder>\nnote\n</system-reminder>')])
    messages: list[Said] = [
        *opening("Go", cwd="/before"),
        assistant([text("zero"), tool_use("t1"), tool_use("t2")]),
        user([result, tool_result("t1", "first")]),
        assistant([text("one")]),
        user("more"),
        user(environment("/work tree")),
    ]
    reply = prompter.answer(Caller("a"), request(messages), "msg_1").reply

    assert reply is not None
    assert {"command": "echo w-1 /work tree"} == reply.calls[0].input
    assert Usage(input=7) == reply.usage


def test_a_reference_to_nothing_is_told_to_the_session_as_an_error(prompter: Prompter) -> None:
    messages = [*opening("Go"), *[assistant("x"), user("y")] * 2]
    answer = prompter.answer(Caller("a"), request(messages), "msg_1")

    assert answer.error is not None
    assert 400 == answer.error.status
    assert (
        "The script of a, reply 2: {{last.json.id}}: the conversation has 0 tool calls so far." == answer.error.message
    )


def test_a_subagent_has_a_script_of_its_own(prompter: Prompter) -> None:
    subagent = Caller("a", "s1", "agent-1")

    assert "sub zero" == ask(prompter, [], subagent, prompt="Run the tests")
    assert CLOSING == ask(prompter, ["sub zero"], subagent, prompt="Run the tests")
    assert "Rehearsal: Write docs" == ask(prompter, [], subagent, prompt="Write docs\nin full")


def test_an_actor_without_a_script_reads_each_prompt_back(prompter: Prompter) -> None:
    assert "Rehearsal: First line" == ask(prompter, [], Caller("unknown"), prompt="First line\nsecond line")
    assert "Rehearsal: Go on" == ask(prompter, ["x"], Caller("unknown"))


def test_after_an_interrupt_the_new_prompt_is_read_back(prompter: Prompter) -> None:
    told = user([text("old"), text("[Request interrupted by user]\n"), text("new\nprompt"), text("<system-reminder>")])

    assert "Rehearsal: new" == said(prompter.answer(Caller("unknown"), request([told]), "msg_1"))


@pytest.mark.parametrize(
    ("fields", "last"),
    [
        ({"max_tokens": 1}, "quota"),
        ({"tools": [], "thinking": {"type": "disabled"}}, "Summarize this page"),
        ({}, "[SUGGESTION MODE: Suggest what the user might naturally type next into Claude Code.]"),
    ],
)
def test_side_questions_take_no_turn_of_the_script(prompter: Prompter, fields: dict[str, object], last: str) -> None:
    answer = prompter.answer(Caller("a"), request([*opening("Go"), user(last)], **fields), "msg_1")

    assert ("side", "Rehearsal") == (answer.kind, said(answer))


def test_a_session_without_tools_is_not_a_side_question(prompter: Prompter) -> None:
    answer = prompter.answer(Caller("a"), request(opening("Go"), tools=[], thinking={"type": "enabled"}), "msg_1")

    assert ("turn", "zero") == (answer.kind, said(answer))


def test_a_side_question_that_wants_json_gets_json(prompter: Prompter) -> None:
    schema = {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "kind": {"enum": ["bug", "idea"]},
            "n": {"type": ["integer", "null"]},
        },
        "required": ["title", "kind", "n"],
    }
    fields: dict[str, object] = {"tools": [], "output_config": {"format": {"type": "json_schema", "schema": schema}}}
    answer = prompter.answer(Caller("a"), request([user("Write a title")], **fields), "msg_1")

    assert {"title": "Rehearsal", "kind": "bug", "n": None} == json.loads(said(answer))


def test_a_compacted_conversation_keeps_its_place(prompter: Prompter) -> None:
    before = [
        *opening("Go"),
        assistant("zero"),
        user("y"),
        assistant("one"),
        user("CRITICAL: Respond with TEXT ONLY. ..."),
    ]
    summary = said(prompter.answer(Caller("a"), request(before), "msg_1"))
    continued = user(f"This session is being continued.\n\n{summary}")
    without_kept = [continued, user("go on"), assistant("two"), user("go on")]
    with_kept = [continued, assistant("one"), user("go on"), assistant("two"), user("go on")]

    assert CLOSING == said(prompter.answer(Caller("a"), request(without_kept), "msg_2"))
    assert CLOSING == said(prompter.answer(Caller("a"), request(with_kept), "msg_2"))
    assert 2 == prompter.answer(Caller("a"), request([continued, assistant("one"), user("y")]), "msg_3").position


def test_tool_ids_are_made_from_the_message_id() -> None:
    reply = Prompter(read_script(SCRIPT.replace("{{last.json.id}}", ""), "s.toml")).answer(
        Caller("a"), request([*opening("Go"), *[assistant("x"), user("y")] * 2]), "msg_boot000007"
    )

    assert isinstance(reply.reply, Reply)
    assert ["toolu_boot000007_0"] == [block["id"] for block in json.loads(encode_reply(reply.reply))["content"]]
