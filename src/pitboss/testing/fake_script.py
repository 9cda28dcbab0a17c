"""Scripts of the fake: where they are found, which steps there are, and how they fall into turns.

A script is a JSON list of steps, each an object whose first key is its verb::

    [{"text": "Let me look."}, {"tool": "Bash", "input": {"command": "ls"}}, {"text": "done"}]

It is looked for in the prompt first (``FAKE: `` and the list; whatever follows the list is ignored), then in the file
named by ``PITBOSS_FAKE_SCRIPT``: ``{"<pattern>": [steps], ...}``. A pattern is matched against ``<name>`` and
``<name>/<attempt>``; the name is the actor's, of ``PITBOSS_COOKIE`` (``<run>/<actor>/<attempt>``), unless a prompt has
said ``PLAY: <name>`` on its first line: then it is that one for the rest of the session, resumed ones included, so that
actors whose id is minted at run time have scripts too. The exact name goes first, with its attempt before without, then
the order of the file counts. The steps up to an ``end`` are a turn; a turn beyond the script answers "done".

Any text may refer to what was answered before and to what the session was told last: see ``fake_memory``.

=================  ====================================================================================================
step               what it does
=================  ====================================================================================================
text               says it; ``text`` and the tool call that follows belong to one message, as the model would send them
tool, input        calls a tool: past the hook, then for real (Bash, with ``run_in_background`` too, Write, Read), or
                   over the pipe (``mcp__<server>__<tool>``); any other tool answers with its name
call, input, as    calls ``mcp__pitboss__<call>``; the answer is kept under the name ``as``, if there is one, a refusal
                   as ``{"error": <its message>}``
background         a Bash call that goes on for so many seconds after it was answered, or for ever (``"endless"``)
agent              a subagent in the background that plays these steps after the turn; ``description``
usage              tokens of every later call: ``input``, ``output``, ``cache_read``, ``cache_creation``
delay              seconds without a word; an interrupt ends it, stdin's end does not
retry, delay       reports a retry after this API status, ``delay`` (0.5) seconds long
api_error          ends the turn with this API status; ``message``
noise, bytes       so many lines of so many ``bytes`` (300), in one write
big_line           one line of so many MiB
garbage            these bytes (base64), as they are
stderr             text for stderr
spawn              a child that leaves the session, ignores SIGTERM and lives so many seconds; with ``"hold": 1``
                   it keeps our stdout and stderr open
ignore_term        SIGTERM does nothing from now on
hang               never says or reads anything again
exit               ends the process with this code and no result
end                ends the turn here; what follows is for the next
=================  ====================================================================================================
"""

from __future__ import annotations

import json
import os
from fnmatch import fnmatchcase

__all__ = ["INLINE", "BadScript", "Script", "Step", "part_in", "read_steps"]

INLINE = "FAKE: "
"""Before a script in a prompt."""

_PART = "PLAY: "
_ORDINARY = ("text", "tool", "call", "background", "agent", "usage", "delay", "retry", "api_error", "end")
_TROUBLE = ("noise", "big_line", "garbage", "stderr", "spawn", "ignore_term", "hang", "exit")
_VERBS = frozenset(_ORDINARY + _TROUBLE)


class BadScript(Exception):
    """A script cannot be played; the message says why."""


class Step:
    """One step: its verb, the verb's value, and the fields beside it."""

    __slots__ = ("_fields", "value", "verb")

    def __init__(self, fields: dict[str, object]) -> None:
        self.verb = next(iter(fields))
        self.value = fields[self.verb]
        self._fields = fields

    def text(self, key: str = "", default: str = "") -> str:
        """The verb's value, or the field ``key``, as text."""
        return str(self._fields.get(key or self.verb, default))

    def number(self, key: str = "", default: float = 0.0) -> float:
        """The verb's value, or the field ``key``, as a number."""
        value = self._fields.get(key or self.verb, default)
        if not isinstance(value, int | float):
            raise BadScript(f"step {json.dumps(self._fields)}: {key or self.verb!r} is not a number.")
        return value

    def mapping(self, key: str = "") -> dict[str, object]:
        """The verb's value, or the field ``key``, as an object."""
        value = self._fields.get(key or self.verb, {})
        if not isinstance(value, dict):
            raise BadScript(f"step {json.dumps(self._fields)}: {key or self.verb!r} is not an object.")
        return value


def read_steps(steps: object, where: str) -> list[Step]:
    """Steps from JSON, or ``BadScript`` naming the first that is none."""
    if not isinstance(steps, list):
        raise BadScript(f"{where}: the script is not a list of steps.")
    for step in steps:
        if not isinstance(step, dict) or not step or next(iter(step)) not in _VERBS:
            raise BadScript(f"{where}: no step begins like {json.dumps(step)}; see pitboss.testing.fake_script.")
    return [Step(step) for step in steps]


class Script:
    """What one actor does, turn by turn."""

    def __init__(self, scripts: dict[str, list[Step]]) -> None:
        _, self._actor, self._attempt = [*os.environ.get("PITBOSS_COOKIE", "").split("/"), "", "", ""][:3]
        self._scripts = scripts
        self._steps: list[Step] | None = None

    @classmethod
    def of_environment(cls) -> Script:
        """The scripts this process may follow; none if no file is named."""
        path = os.environ.get("PITBOSS_FAKE_SCRIPT")
        if not path:
            return cls({})
        try:
            with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib would double the time to start
                scripts = json.load(file)
        except (OSError, ValueError) as error:
            raise BadScript(f"PITBOSS_FAKE_SCRIPT={path} cannot be read: {error}") from error
        return cls({pattern: read_steps(steps, f"{path}, {pattern!r}") for pattern, steps in scripts.items()})

    def next_turn(self, part: str, prompt: str = "") -> list[Step]:
        """The steps of the turn that answers ``prompt`` in a session that plays ``part``."""
        if prompt.startswith(INLINE):
            return _steps_in(prompt)
        begins = self._steps is None or prompt.startswith(_PART)
        steps = self._find(part or self._actor) if begins else self._steps or []
        verbs = [step.verb for step in steps]
        end = verbs.index("end") if "end" in verbs else len(verbs)
        self._steps = steps[end + 1 :]
        return steps[:end]

    def _find(self, name: str) -> list[Step]:
        names = (f"{name}/{self._attempt}", name)
        for pattern in (*names, *self._scripts):
            if pattern in self._scripts and any(fnmatchcase(each, pattern) for each in names):
                return self._scripts[pattern]
        return []


def part_in(prompt: str) -> str:
    """Whose part a prompt says is played; empty if it says nothing."""
    return prompt[len(_PART) :].partition("\n")[0].strip() if prompt.startswith(_PART) else ""


def _steps_in(prompt: str) -> list[Step]:
    text = prompt[len(INLINE) :].lstrip()
    try:
        steps, _ = json.JSONDecoder().raw_decode(text)
    except ValueError as error:
        raise BadScript(f"the script in the prompt is no JSON: {error}") from error
    return read_steps(steps, "the prompt")
