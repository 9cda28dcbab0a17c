"""The real CLI with our tools: all are announced, calls arrive as the model made them, and it reads our answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tomlkit

from pitboss.model import calls
from pitboss.model.answers import LONGEST_ANSWER
from pitboss.wire import mcp
from pitboss.wire.claude import Ended, McpAsked
from pitboss.wire.tool_answers import refusal, result_of
from pitboss.wire.tools import BadArguments, parse, tools_for
from support.rehearsal import start_model
from wire.scenes import call, say
from wire.stage import Stage, Theatre

pytestmark = [pytest.mark.claude, pytest.mark.slow]

TOOLS = tools_for("lead", allow_subleads=True, path_b=False)


@pytest.fixture
def theatre(tmp_path: Path) -> Iterator[Theatre]:
    turns = [
        say("", call("mcp__pitboss__kv_set", path="/shared/a", json={"b": [1, "x"]}, override_flag="false")),
        say("", call("mcp__pitboss__wait_for_worker", task_id="worker-1", timeout=5)),
        say("", call("mcp__pitboss__kv_list", glob="/**")),
        say("done"),
    ]
    with start_model(tmp_path / "model", tomlkit.dumps({"actor": [{"id": "*", "turn": turns}]})) as model:
        yield Theatre("lead", tmp_path, model.actor("lead"))


def next_call(stage: Stage) -> tuple[str, mcp.Call]:
    """The next call that waits for us: the request that carries it, and what it is."""
    asked = stage.until(McpAsked, lambda event: event.message.get("method") == "tools/call")
    made = mcp.answer(asked.message, TOOLS)
    assert isinstance(made, mcp.Call)
    return asked.request_id, made


def answers_read(stage: Stage) -> list[object]:
    """What the model was given as answers to its calls."""
    read: list[object] = []
    for _, direction, line in stage.lines:
        match direction, line:
            case "<", {"type": "user", "message": {"content": list(blocks)}}:
                read += [block["content"] for block in blocks if block.get("type") == "tool_result"]
            case _:
                pass
    return read


def test_a_lead_has_its_tools_and_reads_what_they_answer(theatre: Theatre) -> None:
    whole = result_of({"text": "x" * (LONGEST_ANSWER - len('{"text":""}'))})
    with theatre.stage(tools=TOOLS, built_in=()) as stage:
        stage.open()
        stage.prompt("Go.")

        request, made = next_call(stage)
        assert calls.KvSet(path="/shared/a", json={"b": [1, "x"]}) == parse(made.tool, made.arguments)
        stage.write(stage.talk.mcp_answer(request, mcp.result(made.call_id, result_of({"version": 1}))))

        request, made = next_call(stage)
        bad = parse(made.tool, made.arguments)
        assert isinstance(bad, BadArguments)
        stage.write(stage.talk.mcp_answer(request, refusal(made.call_id, bad.code, bad.message)))

        request, made = next_call(stage)
        stage.write(stage.talk.mcp_answer(request, mcp.result(made.call_id, whole)))
        end = stage.until(Ended)
        stage.finish()

    assert "done" == end.result.text
    announced = next(line for _, _, line in stage.lines if isinstance(line, dict) and line.get("subtype") == "init")
    assert {f"mcp__pitboss__{tool.name}" for tool in TOOLS} == set(announced["tools"])
    written, refused, listed = answers_read(stage)
    assert '{"version":1}' == written
    assert bad.message == refused, "the model reads the sentence, and nothing of the error's data"
    assert isinstance(listed, str)
    assert LONGEST_ANSWER == len(listed), "an answer at the limit reaches the model whole"
