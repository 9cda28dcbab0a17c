"""What only the fake can do: its misbehaviour, and the ways a script reaches it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import psutil
import pytest

from conformance.harness import PER_CALL, Talk, a_session
from pitboss.model.run import Usage
from pitboss.testing import fake_claude
from pitboss.wire.claude import Ended, McpAsked, ToolAsked

Play = Callable[..., Awaitable[Talk]]


@pytest.fixture
async def play(fake_binary: Path, tmp_path: Path) -> AsyncIterator[Play]:
    """Starts the fake with these scripts by pattern, or with these steps for everybody, and opens the session."""
    talks: list[Talk] = []

    async def begin(
        *steps: dict[str, object], attempt: int = 1, after: Talk | None = None, **scripts: list[dict[str, object]]
    ) -> Talk:
        script = tmp_path / "script.json"
        script.write_text(json.dumps(scripts or {"*": list(steps)}), encoding="utf-8")
        inherited = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PITBOSS_FAKE_SCRIPT": str(script)}
        session = a_session("a", str(fake_binary), tmp_path, cookie=f"{tmp_path.name}/a/{attempt}")
        if after is not None:
            session = msgspec.structs.replace(session, session_id=after.session.session_id, resume=True)
        talks.append(await Talk.start(session, inherited))
        await talks[-1].open()
        return talks[-1]

    yield begin
    for talk in talks:
        await talk.clear_away()
    for process in with_cookie(f"{tmp_path.name}/a/1"):
        process.kill()


def with_cookie(cookie: str) -> list[psutil.Process]:
    """Every process that carries the cookie in its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PITBOSS_COOKIE") == cookie:
                found.append(process)
        except psutil.Error:  # gone meanwhile, or somebody else's
            continue
    return found


async def test_without_a_script_a_turn_says_done(play: Play) -> None:
    talk = await play()
    ended = await talk.ask("anything")
    assert (ended.result.text, ended.usage) == ("done", PER_CALL)
    assert await talk.leave() == 0


async def test_a_prompt_can_bring_its_own_steps(play: Play) -> None:
    talk = await play({"text": "from the file"})
    assert (await talk.ask('FAKE: [{"text": "from the prompt"}] and whatever follows')).result.text == "from the prompt"
    assert (await talk.ask("go on")).result.text == "from the file"


async def test_the_exact_actor_goes_before_a_pattern(play: Play) -> None:
    talk = await play(**{"*": [{"text": "anybody"}], "a": [{"text": "me"}]})
    assert (await talk.ask()).result.text == "me"


async def test_a_pattern_can_mean_one_attempt(play: Play) -> None:
    talk = await play(attempt=2, **{"a/1": [{"text": "first"}], "a/2": [{"text": "second"}]})
    assert (await talk.ask()).result.text == "second"


@pytest.mark.parametrize("script", ['{"*": [{"sing": 1}]}', '{"*": 7}', "no JSON"])
async def test_a_script_that_cannot_be_played_is_refused_with_a_reason(
    fake_binary: Path, tmp_path: Path, script: str
) -> None:
    path = tmp_path / "script.json"
    path.write_text(script, encoding="utf-8")
    inherited = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PITBOSS_FAKE_SCRIPT": str(path)}
    talk = await Talk.start(a_session("a", str(fake_binary), tmp_path), inherited)
    assert await talk.exit_code() == 2
    assert talk.stderr.startswith(b"fake-claude: ")
    assert str(path) in talk.stderr.decode()


async def test_an_end_parts_two_turns(play: Play) -> None:
    talk = await play({"text": "one"}, {"end": True}, {"text": "two"})
    assert [(await talk.ask()).result.text for _ in range(3)] == ["one", "two", "done"]


async def test_a_call_step_calls_a_tool_of_ours(play: Play) -> None:
    talk = await play({"call": "lookup", "input": {"key": "answer"}})
    await talk.ask()
    assert [asked.tool for asked in talk.all(ToolAsked)] == ["mcp__pitboss__lookup"]
    assert talk.all(McpAsked)[-1].message["method"] == "tools/call"


LOOK = {"call": "lookup", "input": {"key": "answer"}, "as": "found"}


async def test_an_answer_can_be_referred_to(play: Play) -> None:
    talk = await play(LOOK, {"text": "it is {{found}}, and I was told {{heard}}"})
    assert (await talk.ask("hello")).result.text == "it is 42, and I was told hello"


async def test_a_reference_to_nothing_ends_it_with_a_reason(play: Play) -> None:
    talk = await play({"text": "{{nothing.at.all}}"})
    talk.say()
    assert await talk.exit_code() == 2
    assert b"{{nothing.at.all}} refers to nothing" in talk.stderr


async def test_a_refused_call_is_kept_as_an_error(play: Play) -> None:
    talk = await play({"call": "no_such_tool", "as": "it"}, {"text": "{{it.error}}"})
    assert "tool not found" in (await talk.ask()).result.text


async def test_what_was_said_while_a_tool_ran_is_heard_after_it(play: Play) -> None:
    talk = await play({"tool": "Bash", "input": {"command": "sleep 0.3"}}, {"text": "{{heard}}"})
    talk.say("first")
    await talk.next(ToolAsked)
    talk.say("second")
    assert (await talk.next(Ended)).result.text == "second"


async def test_a_prompt_can_say_whose_part_is_played(play: Play) -> None:
    scripts = {"a": [{"text": "me"}], "one": [{"text": "first"}, {"end": 1}, {"text": "second"}], "two/*": []}
    talk = await play(**scripts)
    assert [(await talk.ask(prompt)).result.text for prompt in ("PLAY: one\nplease", "go on")] == ["first", "second"]
    assert (await talk.ask("PLAY: two")).result.text == "done"


async def test_a_resumed_session_knows_its_part_and_its_answers(play: Play) -> None:
    scripts = {"one": [LOOK, {"text": "found"}], "one/2": [{"text": "it was {{found}}"}]}
    first = await play(**scripts)
    await first.ask("PLAY: one")
    assert await first.leave() == 0
    second = await play(attempt=2, after=first, **scripts)
    assert (await second.ask("you were cut off")).result.text == "it was 42"


async def test_usage_counts_for_every_later_call(play: Play) -> None:
    talk = await play({"usage": {"input": 7, "output": 3}}, {"text": "cheap"})
    assert (await talk.ask()).usage == Usage(input=7, output=3)
    assert (await talk.ask()).usage == Usage(input=14, output=6)


async def test_noise_garbage_and_a_huge_line_do_not_end_the_reading(play: Play) -> None:
    garbage = base64.b64encode(b'\xff\xfe{"type": "resu\n').decode()
    talk = await play({"noise": 1000, "bytes": 400}, {"garbage": garbage}, {"big_line": 4}, {"text": "still here"})
    assert (await talk.ask()).result.text == "still here"
    assert sum(talk.oddities.values()) == 1


async def test_an_exit_step_leaves_no_result(play: Play) -> None:
    talk = await play({"stderr": "it broke\n"}, {"exit": 7})
    talk.say()
    assert await talk.exit_code() == 7
    assert talk.stderr == b"it broke\n"
    assert not talk.all(Ended)


async def test_a_hanging_process_that_ignores_sigterm_has_to_be_killed(play: Play) -> None:
    talk = await play({"ignore_term": True}, {"tool": "Bash", "input": {"command": "true"}}, {"hang": True})
    talk.say()
    await talk.next(ToolAsked)
    talk.close()
    talk.terminate()
    with pytest.raises(psutil.TimeoutExpired):
        psutil.Process(talk.pid).wait(timeout=0.2)


async def test_a_spawned_child_outlives_the_process_and_sigterm(play: Play, tmp_path: Path) -> None:
    talk = await play({"spawn": 60})
    await talk.ask()
    assert await talk.leave() == 0
    (child,) = with_cookie(f"{tmp_path.name}/a/1")
    assert os.getsid(child.pid) == child.pid
    child.terminate()
    with pytest.raises(psutil.TimeoutExpired):
        child.wait(timeout=0.2)


async def test_endless_background_work_keeps_the_process(play: Play) -> None:
    talk = await play({"background": "endless"}, {"text": "serving"})
    await talk.ask()
    talk.close()
    with pytest.raises(psutil.TimeoutExpired):
        psutil.Process(talk.pid).wait(timeout=0.2)
    talk.terminate()
    assert await talk.exit_code() == 143


async def test_written_files_appear(play: Play, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    talk = await play({"tool": "Write", "input": {"file_path": str(path), "content": "hello"}})
    assert (await talk.ask()).result.text == "done"
    assert path.read_text() == "hello"


def test_it_says_its_version(fake_binary: Path) -> None:
    said = subprocess.run([fake_binary, "--version"], capture_output=True, check=True)
    assert said.stdout == b"fake-claude 0.0.0\n"


def test_a_start_imports_nothing_dear(tmp_path: Path) -> None:
    """Hundreds of them are started in the measurements: each such module costs more than the rest of a start."""
    argv = [sys.executable, "-I", "-S", "-X", "importtime", fake_claude.__file__]
    run = subprocess.run(argv, input=b"", capture_output=True, check=True, env={"HOME": str(tmp_path)})
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.decode().splitlines()}
    assert "pitboss.testing.fake_turn" in imported
    assert not imported & {
        "pathlib",
        "typing",
        "subprocess",
        "argparse",
        "uuid",
        "tempfile",
        "msgspec",
        "pitboss.model",
    }
