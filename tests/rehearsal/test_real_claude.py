"""The real Claude Code against the scripted model: real tools, real files, no account."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from support.claude import Claude
from support.rehearsal import Model

pytestmark = [pytest.mark.claude, pytest.mark.slow]

Start = Callable[[str], Model]


def test_a_scripted_tool_call_writes_a_real_file_and_its_answer_comes_back(model: Start, claude: Claude) -> None:
    running = model("""
[[actor]]
id = "fix-*"
[[actor.turn]]
text = "Let me write."
tools = [
  { name = "Write", input = { file_path = "{{cwd}}/hello.txt", content = "hi from {{actor}}" } },
  { name = "Bash", input = { command = "printf '{\\"n\\": 41}'", description = "count" } },
]
[[actor.turn]]
tools = [ { name = "Bash", input = { command = "echo $(( {{result[1].json.n}} + 1 )); pwd", description = "add" } } ]
[[actor.turn]]
text = "It says: {{last}}"
""")
    session = claude.run(running.actor("fix-parser"), "Do it")

    assert "hi from fix-parser" == (claude.cwd / "hello.txt").read_text()
    assert f"It says: 42\n{claude.cwd.resolve()}" == session.result["result"]
    assert [("turn", 0), ("turn", 1), ("turn", 2)] == [(line["kind"], line["position"]) for line in running.requests()]
    assert "Do it" == running.requests()[0]["heard"]


def test_the_session_recovers_from_a_scripted_error(model: Start, claude: Claude) -> None:
    running = model("""
[[actor]]
id = "a"
[[actor.turn]]
error = { status = 529, headers = { "retry-after" = "0" }, times = 2 }
[[actor.turn]]
text = "Recovered."
usage = { input = 1000000 }
""")
    session = claude.run(running.actor("a"), "Go")
    retries = [line["error_status"] for line in session.lines if line.get("subtype") == "api_retry"]

    assert [529, 529] == retries
    assert ("Recovered.", 1.0) == (session.result["result"], session.result["total_cost_usd"])
    assert [529, 529, 200] == [line["status"] for line in running.requests()]


def test_a_subagent_follows_a_script_of_its_own(model: Start, claude: Claude) -> None:
    running = model("""
[[actor]]
id = "a"
[[actor.turn]]
tools = [ { name = "Agent", input = { description = "d", prompt = "Write tests", subagent_type = "general-purpose" } } ]
[[actor.turn]]
text = "Waiting."
[[actor.turn]]
text = "All done."
[[actor.subagent]]
prompt = "*tests*"
[[actor.subagent.turn]]
tools = [ { name = "Write", input = { file_path = "{{cwd}}/test.txt", content = "by a subagent" } } ]
[[actor.subagent.turn]]
text = "Written."
""")
    session = claude.run(running.actor("a"), "Go")

    assert "by a subagent" == (claude.cwd / "test.txt").read_text()
    assert "All done." == session.result["result"]
    assert [0, 1] == [line["position"] for line in running.requests() if line["kind"] == "subagent"]
    assert [0, 1, 2] == [line["position"] for line in running.requests() if line["kind"] == "turn"]


def test_a_resumed_a_forked_and_a_compacted_session_go_on_where_they_were(model: Start, claude: Claude) -> None:
    turns = "".join(f'[[actor.turn]]\ntext = "reply {n}"\n' for n in range(5))
    base = model(f'[[actor]]\nid = "a"\n{turns}').actor("a")
    session_id = str(uuid.uuid4())

    assert "reply 0" == claude.run(base, "one", "--session-id", session_id).result["result"]
    assert "reply 1" == claude.run(base, "two", "--resume", session_id).result["result"]
    assert "reply 2" == claude.run(base, "other two", "--resume", session_id, "--fork-session").result["result"]
    assert 0 == claude.run(base, "/compact", "--resume", session_id).exit_code
    assert "reply 2" == claude.run(base, "three", "--resume", session_id).result["result"]
