"""The conversations worth recording: what the model says, and what we do.

One function per scene; its name is the recording's. Played by ``record.py``.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import NamedTuple

from pitboss.wire.claude import (
    Background,
    Ended,
    McpAsked,
    PermissionAsked,
    ToolAsked,
    ToolCancelled,
    UsageSeen,
)
from wire.stage import TOOLS, Theatre

Turn = dict[str, object]


def say(text: str, *calls: Turn, **more: object) -> Turn:
    """One reply of the scripted model."""
    return {"text": text, "tools": list(calls), **more}


def call(tool: str, **arguments: object) -> Turn:
    """One tool call in a reply."""
    return {"name": tool, "input": arguments}


def bash(line: str, **more: object) -> Turn:
    """A call of Bash."""
    return call("Bash", command=line, description="x", **more)


def refusal(status: int, message: str) -> Turn:
    """A refusal of the API that does not go away."""
    return {"error": {"status": status, "message": message, "times": 99}}


class Scene(NamedTuple):
    """A conversation worth recording."""

    turns: list[Turn]
    play: Callable[[Theatre], None]
    subagent: tuple[Turn, ...] = ()


SCENES: dict[str, Scene] = {}


def scene(*turns: Turn, subagent: tuple[Turn, ...] = ()) -> Callable[[Callable[[Theatre], None]], None]:
    """Declare a scene: what the model says, and, below, what we do."""

    def declare(play: Callable[[Theatre], None]) -> None:
        SCENES[play.__name__] = Scene(list(turns), play, subagent)

    return declare


@scene(say("Let me look.", bash("echo hi")), say("finished"))
def one_turn_with_a_tool(theatre: Theatre) -> None:
    with theatre.stage() as stage:
        stage.open()
        stage.prompt("Say hi.")
        stage.until(Ended)
        stage.finish()


@scene(say("turn 0"), say("turn 1"), say("turn 2"))
def three_turns(theatre: Theatre) -> None:
    with theatre.stage() as stage:
        stage.open()
        for number in range(3):
            stage.prompt(f"Number {number}.")
            stage.until(Ended)
        stage.finish()


@scene(say("first"), say("again"))
def resume_same_directory(theatre: Theatre) -> None:
    _two_processes(theatre, "repo")


@scene(say("first"), say("I remember"))
def resume_in_another_directory(theatre: Theatre) -> None:
    _two_processes(theatre, "elsewhere")


def _two_processes(theatre: Theatre, where: str) -> None:
    for resume in (False, True):
        with theatre.stage(resume=resume, where=where if resume else "repo") as stage:
            stage.open()
            stage.prompt("Go on.")
            stage.until(Ended)
            stage.finish()


@scene(say("never said"))
def unknown_session(theatre: Theatre) -> None:
    with theatre.stage(resume=True, session_id="11111111-2222-4333-8444-555555555555") as stage:
        stage.write(stage.talk.hello())
        stage.until(Ended)
        stage.finish()


@scene(say("", call("mcp__pitboss__spawn_worker", prompt="x")), say("ok"))
def mcp_tool_over_the_pipe(theatre: Theatre) -> None:
    with theatre.stage(tools=TOOLS, built_in=()) as stage:
        stage.open()
        stage.prompt("Start a worker.")
        stage.until(Ended)
        stage.finish()


@scene(
    say("", *(call("mcp__pitboss__worker_status", task_id=task) for task in ("worker-1", "worker-2"))),
    say("ok"),
)
def two_of_our_tools_at_once(theatre: Theatre) -> None:
    with theatre.stage(tools=TOOLS, built_in=()) as stage:
        stage.open()
        stage.prompt("Ask for both.")
        stage.until(Ended)
        stage.finish()


@scene(say("", bash("echo forbidden")), say("ok"))
def hook_denies_a_tool_call(theatre: Theatre) -> None:
    with theatre.stage() as stage:
        stage.open()
        stage.prompt("Do it.")
        asked = stage.until(ToolAsked)
        stage.write(stage.talk.deny(asked.request_id, "policy rule 1 forbids it"))
        stage.until(Ended)
        stage.finish()


@scene(say("", bash("echo unanswered")), say("ok"))
def hook_answered_with_an_error(theatre: Theatre) -> None:
    with theatre.stage() as stage:
        stage.open()
        stage.prompt("Do it.")
        asked = stage.until(ToolAsked)
        stage.write(stage.talk.refuse(asked.request_id, "the policy broke"))
        stage.until(Ended)
        stage.finish()


@scene(say("", bash("touch forbidden")), say("", bash("touch fine")), say("ok"))
def permission_question_over_stdio(theatre: Theatre) -> None:
    with theatre.stage(flags=("--permission-mode=default", "--permission-prompt-tool=stdio")) as stage:
        stage.open()
        stage.prompt("Touch both.")
        asked = stage.until(PermissionAsked)
        stage.write(stage.talk.forbid(asked.request_id, "the operator said no"))
        stage.until(Ended)
        stage.finish()


@scene(say("a long answer that is broken off", delay_ms=30_000))
def interrupt_before_the_first_word(theatre: Theatre) -> None:
    with theatre.stage() as stage:
        stage.open()
        stage.prompt("Think long.")
        stage.until_line('"init"')
        stage.write(stage.talk.interrupt())
        stage.until(Ended)
        stage.finish()


@scene(say("one two three four five six seven eight nine ten " * 4, chunk_ms=400), say("redirected"))
def interrupt_while_the_model_speaks(theatre: Theatre) -> None:
    with theatre.stage() as stage:
        stage.open()
        stage.prompt("Talk long.")
        stage.until(UsageSeen)
        stage.until_line("text_delta")
        stage.write(stage.talk.interrupt())
        stage.until(Ended)
        stage.prompt("Something else.")
        stage.until(Ended)
        stage.finish()


@scene(say("", call("mcp__pitboss__spawn_worker", prompt="x")), say("after"))
def interrupt_while_our_tool_waits(theatre: Theatre) -> None:
    with theatre.stage(tools=TOOLS, built_in=()) as stage:
        stage.holds_calls = True
        stage.open()
        stage.prompt("Start a worker.")
        stage.until(McpAsked, lambda asked: asked.message.get("method") == "tools/call")
        stage.write(stage.talk.interrupt())
        stage.until(ToolCancelled)
        stage.until(Ended)
        stage.prompt("Go on.")
        stage.until(Ended)
        stage.finish()


@scene(say("", bash("timeout 1 tail -f /dev/null; echo slow")), say("first"))
def message_while_a_turn_runs(theatre: Theatre) -> None:
    with theatre.stage() as stage:
        stage.open()
        stage.prompt("Be slow.")
        stage.answer(stage.until(ToolAsked))
        stage.prompt("Also this.")
        stage.until(Ended)
        stage.finish()


@scene(say("first"), say("second"))
def message_during_the_last_words(theatre: Theatre) -> None:
    with theatre.stage() as stage:
        stage.open()
        stage.prompt("Be short.")
        stage.until_line("message_start")
        stage.prompt("Also this.")
        stage.until(Ended)
        stage.finish()


@scene(say("", bash("timeout 60 tail -f /dev/null")), say("of the note"), say("of the other thing"))
def message_then_interrupt(theatre: Theatre) -> None:
    with theatre.stage() as stage:
        stage.open()
        stage.prompt("Be slow.")
        stage.answer(stage.until(ToolAsked))
        stage.prompt("A note.")
        stage.until_line('"queued"')
        stage.write(stage.talk.interrupt())
        stage.until(Ended)
        stage.prompt("Something else.")
        stage.until(Ended)
        stage.finish()


@scene(say("", call("mcp__pitboss__spawn_worker", prompt="x")), say("ok"))
def message_while_our_tool_waits(theatre: Theatre) -> None:
    with theatre.stage(tools=TOOLS, built_in=()) as stage:
        stage.open()
        stage.prompt("Start a worker.")
        asked = stage.until(McpAsked, lambda asked: asked.message.get("method") == "tools/call")
        stage.prompt("Are you there?")
        stage.serve(asked)
        stage.until(Ended)
        stage.finish()


@scene(say("", bash("timeout 1 tail -f /dev/null; echo slow")), say("end"))
def stdin_closed_in_a_turn(theatre: Theatre) -> None:
    with theatre.stage() as stage:
        stage.open()
        stage.prompt("Be slow.")
        stage.answer(stage.until(ToolAsked))
        stage.close()
        stage.finish(closed=True)


@scene(*(say("", bash("true")) for _ in range(4)))
def budget_stops_the_turn(theatre: Theatre) -> None:
    with theatre.stage(budget_usd=0.002) as stage:
        stage.open()
        stage.prompt("Spend.")
        stage.until(Ended)
        stage.finish()


@scene(say("1"), say("2"), say("3"))
def budget_after_resume(theatre: Theatre) -> None:
    for resume in (False, True):
        with theatre.stage(resume=resume, budget_usd=0.003) as stage:
            stage.open()
            for _ in range(2 if resume else 1):
                stage.prompt("Spend.")
                stage.until(Ended)
            stage.finish()


def _api_error(theatre: Theatre) -> None:
    with theatre.stage() as stage:
        stage.open()
        stage.prompt("Hello.")
        stage.until(Ended)
        stage.finish()


for _status in (400, 401, 429, 529):
    _text = "prompt is too long: 210000 tokens > 200000 maximum" if _status == 400 else f"scripted {_status}"
    SCENES[f"api_error_{_status}"] = Scene([refusal(_status, _text)], _api_error)


@scene(say("ok"))
def set_model_and_mode(theatre: Theatre) -> None:
    with theatre.stage() as stage:
        stage.open()
        stage.write(stage.talk.set_model("claude-sonnet-4-5"))
        stage.write(stage.talk.set_permission_mode("plan"))
        stage.prompt("Hello.")
        stage.until(Ended)
        stage.finish()


@scene(say("ok"))
def a_prompt_that_looks_like_a_command(theatre: Theatre) -> None:
    with theatre.stage() as stage:
        stage.open()
        stage.prompt("/cost is a word, too.")
        stage.until(Ended)
        stage.finish()


@scene(say("never", delay_ms=30_000))
def killed_by_sigterm(theatre: Theatre) -> None:
    with theatre.stage() as stage:
        stage.open()
        stage.prompt("Hello.")
        stage.until_line('"init"')
        stage.signal(signal.SIGTERM)
        stage.finish(closed=True)


AGENT = call("Agent", description="sub", prompt="Say hi.", subagent_type="general-purpose")
SUBAGENT = (say("", bash("echo from sub"), delay_ms=300), say("sub done"))


@scene(say("", AGENT), say("ok"), say("now the subagent is done"), subagent=SUBAGENT)
def subagent_waited_for(theatre: Theatre) -> None:
    with theatre.stage() as stage:
        stage.open()
        stage.prompt("Delegate.")
        stage.until(Ended)
        stage.until(Background, lambda event: not event.tasks)
        stage.until(Ended)
        stage.finish()


@scene(say("", AGENT), say("ok", delay_ms=1500), say("about the subagent"), subagent=(say("sub done"),))
def subagent_done_just_before_the_result(theatre: Theatre) -> None:
    """The trap: no background task is left at the first result, and still another turn follows."""
    with theatre.stage() as stage:
        stage.open()
        stage.prompt("Delegate.")
        stage.until(Ended)
        stage.finish()


@scene(say("", AGENT), say("ok"), say("done"), subagent=SUBAGENT)
def stdin_closed_before_the_subagent_is_done(theatre: Theatre) -> None:
    with theatre.stage() as stage:
        stage.open()
        stage.prompt("Delegate.")
        stage.until(Ended)
        stage.close()
        stage.finish(closed=True)


@scene(
    say("", bash("timeout 2 tail -f /dev/null; echo x > bg.txt", run_in_background=True)),
    say("ok"),
    say("after notice"),
)
def background_shell_and_result(theatre: Theatre) -> None:
    with theatre.stage() as stage:
        stage.open()
        stage.prompt("Start it.")
        stage.until(Ended)
        stage.until(Background, lambda event: not event.tasks)
        stage.until(Ended)
        stage.finish()
