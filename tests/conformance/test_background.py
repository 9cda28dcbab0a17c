"""Work in the background: a result is not the end while a task is listed."""

from __future__ import annotations

from pathlib import Path

from conformance.harness import PER_CALL, Start, Talk
from pitboss.wire.claude import Background, Ended, ToolAsked


def outline(talk: Talk) -> list[str]:
    """The results' texts and the numbers of tasks, in order."""
    lines = []
    for event in talk.events:
        if isinstance(event, Background):
            lines.append(f"{len(event.tasks)} tasks")
        elif isinstance(event, Ended):
            lines.append(event.result.text)
    return lines


async def test_a_shell_in_the_background_starts_a_turn_when_it_ends(start: Start) -> None:
    talk = await start("shell-behind")
    await talk.open()
    await talk.ask()
    await talk.next(Ended)
    assert outline(talk) == ["1 tasks", "started", "0 tasks", "all done"]
    assert talk.all(Background)[0].tasks == ("local_bash: a command",)
    assert await talk.leave() == 0


async def test_a_session_whose_stdin_is_closed_waits_for_its_background_shell(start: Start) -> None:
    talk = await start("shell-behind")
    await talk.open()
    await talk.ask()
    assert await talk.leave() == 0
    assert outline(talk) == ["1 tasks", "started", "0 tasks", "all done"]


async def test_a_subagent_passes_the_hook_and_is_paid_for(start: Start) -> None:
    talk = await start("subagent")
    await talk.open()
    await talk.ask()
    last = await talk.next(Ended)
    assert outline(talk) == ["1 tasks", "started", "0 tasks", "all done"]
    assert talk.all(Background)[0].tasks == ("local_agent: a helper",)
    of_actor, of_subagent = talk.all(ToolAsked)
    assert (of_actor.tool, of_actor.subagent) == ("Agent", None)
    assert (of_subagent.tool, bool(of_subagent.subagent)) == ("Bash", True)
    assert (Path(talk.session.cwd) / "sub.txt").exists()
    assert sum((PER_CALL for _ in range(4)), PER_CALL) == last.usage
    assert last.final_message == "all done"


async def test_sigterm_takes_a_background_shell_along(start: Start) -> None:
    talk = await start("shell-behind")
    await talk.open()
    await talk.ask()
    talk.terminate()
    assert await talk.exit_code() == 143
    assert outline(talk)[:2] == ["1 tasks", "started"]
    assert len(talk.all(Ended)) == 1
