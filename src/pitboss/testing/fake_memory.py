# ruff: noqa: PTH118, PTH123
"""What a fake session remembers over its turns and processes: which part it plays, and what its tools have said.

Steps refer to it: ``{{w.task_id}}`` is a field of the answer that was kept ``as`` ``w``, ``{{heard}}`` what the session
was told last. A string that is one reference and nothing else becomes the value itself, as in the scripts of the
scripted model. Kept beside the session's account, so that a resumed session still knows the actors it has spawned.
"""

from __future__ import annotations

import json
import os
import re

from pitboss.testing.fake_ledger import home, keep
from pitboss.testing.fake_script import INLINE, BadScript

TYPE_CHECKING = False
if TYPE_CHECKING:  # the names are for annotations only, and their modules are dear
    from pitboss.testing.fake_pipe import Frame

__all__ = ["Memory"]

_REFERENCE = re.compile(r"\{\{([\w-]+)((?:\.[\w-]+)*)\}\}")


class Memory:
    """The memory of one session."""

    def __init__(self, session_id: str) -> None:
        self._path = os.path.join(home(), f"{session_id}.memory.json")
        self.part = ""
        """Whose script it follows, if a prompt has named one."""
        self._answers: Frame = {}

    def load(self) -> None:
        """Takes over what earlier processes of the session have kept."""
        try:
            with open(self._path, encoding="utf-8") as file:
                kept = json.load(file)
        except FileNotFoundError:
            return
        self.part, self._answers = kept["part"], kept["answers"]

    def play(self, part: str) -> None:
        """From now on it follows this script."""
        self.part = part
        self._save()

    def note(self, name: str, answer: object) -> None:
        """Keeps an answer under a name."""
        self._answers[name] = answer
        self._save()

    def hear(self, prompt: str) -> None:
        """The session was told something."""
        self._answers["heard"] = prompt

    def fill(self, value: object) -> object:
        """``value`` with every reference in it filled in, at any depth; a script for somebody else is left alone."""
        if isinstance(value, str) and "{{" in value and not value.startswith(INLINE):
            whole = _REFERENCE.fullmatch(value)
            return self._found(whole) if whole else _REFERENCE.sub(lambda each: _text(self._found(each)), value)
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        return self.fill_all(value) if isinstance(value, dict) else value

    def fill_all(self, table: Frame) -> Frame:
        """The same for each value of an object."""
        return {key: self.fill(item) for key, item in table.items()}

    def _found(self, reference: re.Match[str]) -> object:
        value: object = self._answers
        for key in (reference[1], *reference[2].split(".")[1:]):
            if isinstance(value, list) and key.isdigit() and int(key) < len(value):
                value = value[int(key)]
            elif isinstance(value, dict) and key in value:
                value = value[key]
            else:
                raise BadScript(f"{reference[0]} refers to nothing: there is no {key!r} in {json.dumps(value)}.")
        return value

    def _save(self) -> None:
        keep(self._path, {"part": self.part, "answers": self._answers})


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
