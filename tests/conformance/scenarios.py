"""What the model says in each scenario, written once and turned into both formats: a rehearsal and a fake's script.

A scenario is a list of turns, a turn a list of replies of the model. The real CLI asks the scripted model for one reply
after the other; the fake plays the steps they come down to. Both are called an actor by the scenario's name.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import tomlkit


class Reply(NamedTuple):
    """One message of the model, or the API's refusal of it."""

    text: str = ""
    tool: str = ""
    input: dict[str, object] | None = None
    delay_secs: float = 0.0
    error: int = 0
    subagent: tuple[Reply, ...] = ()
    """What the subagent says that this reply's Agent call starts."""


def bash(command: str, *, in_background: bool = False) -> Reply:
    """A shell command."""
    arguments: dict[str, object] = {"command": command, "description": "a command"}
    return Reply(tool="Bash", input=arguments | ({"run_in_background": True} if in_background else {}))


AGENT: dict[str, object] = {"description": "a helper", "prompt": "go", "subagent_type": "general-purpose"}

SCENARIOS: dict[str, list[list[Reply]]] = {
    "three-turns": [[Reply("one")], [Reply("two")], [Reply("three")]],
    "allowed": [[bash("echo hi > made.txt"), Reply("made")]],
    "denied": [[bash("echo hi > made.txt"), Reply("not made")]],
    "slow": [[Reply("too late", delay_secs=30)]],
    "busy": [[bash("tail -f /dev/null")], [Reply("redirected")]],
    "busy-with-a-note": [[bash("tail -f /dev/null")], [Reply("noted")], [Reply("redirected")]],
    "woven": [[bash("sleep 0.5"), Reply("heard both")], [Reply("alone")]],
    "too-late-to-weave": [[Reply("first", delay_secs=0.7)], [Reply("second")]],
    "our-tool": [[Reply(tool="mcp__pitboss__lookup", input={"key": "answer"}), Reply("it is 42")]],
    "our-tool-woven": [
        [Reply(tool="mcp__pitboss__lookup", input={"key": "answer"}), Reply("heard both")],
        [Reply("alone")],
    ],
    "our-tool-waits": [[Reply(tool="mcp__pitboss__lookup", input={"key": "answer"})], [Reply("never mind")]],
    "shell-behind": [[bash("sleep 0.8", in_background=True), Reply("started")], [Reply("all done")]],
    "subagent": [
        [Reply(tool="Agent", input=AGENT, subagent=(bash("echo sub > sub.txt"), Reply("helped"))), Reply("started")],
        [Reply("all done")],
    ],
    "over-budget": [[bash("true"), bash("true"), bash("true"), Reply("never said")]],
    "error-401": [[Reply(error=401)]],
    "error-429": [[Reply(error=429)]],
    "error-529": [[Reply(error=529)]],
    "closed-in-turn": [[bash("sleep 0.5; echo hi > made.txt"), Reply("finished")]],
}


def rehearsal() -> str:
    """All scenarios as one script of ``pitboss.rehearsal``."""
    actors: list[dict[str, object]] = []
    for name, turns in SCENARIOS.items():
        replies = [reply for turn in turns for reply in turn]
        actor: dict[str, object] = {"id": name, "turn": [_rehearsed(reply) for reply in replies]}
        if subagents := [reply.subagent for reply in replies if reply.subagent]:
            actor["subagent"] = [{"turn": [_rehearsed(reply) for reply in subagent]} for subagent in subagents]
        actors.append(actor)
    return tomlkit.dumps({"actor": actors})


def _rehearsed(reply: Reply) -> dict[str, object]:
    if reply.error:
        return {"error": {"status": reply.error, "times": 99}}
    turn: dict[str, object] = {"delay_ms": int(reply.delay_secs * 1000)}
    if reply.text:
        turn["text"] = reply.text
    if reply.tool:
        turn["tools"] = [{"name": reply.tool, "input": reply.input or {}}]
    return turn


def fake_script(name: str, *, skip: int = 0) -> str:
    """One scenario as the fake's script, without the turns an earlier process has taken."""
    steps: list[dict[str, object]] = []
    for turn in SCENARIOS[name][skip:]:
        steps += [step for reply in turn for step in _steps(reply)]
        steps.append({"end": True})
    return json.dumps({name: steps})


def _steps(reply: Reply) -> list[dict[str, object]]:
    if reply.error:
        return [{"retry": reply.error, "delay": 0.1}, {"api_error": reply.error}]
    steps: list[dict[str, object]] = [{"delay": reply.delay_secs}] if reply.delay_secs else []
    if reply.text:
        steps.append({"text": reply.text})
    if reply.subagent:
        inner = [step for each in reply.subagent for step in _steps(each)]
        steps.append({"agent": inner, "description": AGENT["description"]})
    elif reply.tool:
        steps.append({"tool": reply.tool, "input": reply.input or {}})
    return steps
