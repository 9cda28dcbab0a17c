"""Every exception we raise on purpose, by blame: the operator's, the world's, ours.

Each says in one sentence what was wrong, where, and what to do; ``exit_code`` is what the command ends with.
A refused order is an answer, not an exception.
"""

from __future__ import annotations

__all__ = [
    "ManifestError",
    "OperatorError",
    "OurFault",
    "PitbossError",
    "Problem",
    "RunBusy",
    "RunNotFound",
    "WorldError",
]


class PitbossError(Exception):
    """Something went wrong that we know how to explain."""

    exit_code = 1
    hint = ""
    code = "failed"
    """A word a program may match on; where a refused order could have it too, it is the same word."""

    def __init__(self, message: str, *, hint: str = "", exit_code: int | None = None, code: str = "") -> None:
        super().__init__(message)
        self.hint = hint or type(self).hint
        self.code = code or type(self).code
        if exit_code is not None:
            self.exit_code = exit_code


class OperatorError(PitbossError):
    """What was asked for cannot be: the operator can put it right."""

    exit_code = 2
    code = "invalid_arg"


class RunNotFound(OperatorError):
    """No run, or more than one, goes by that name."""

    exit_code = 1
    code = "not_found"


class RunBusy(OperatorError):
    """Another dispatcher is at work on this run."""

    code = "unavailable"


class Problem:
    """One thing that is wrong with a manifest, and where."""

    __slots__ = ("column", "line", "message", "severity")

    def __init__(
        self, message: str, *, line: int | None = None, column: int | None = None, severity: str = "error"
    ) -> None:
        self.message = message
        self.line = line
        self.column = column
        self.severity = severity

    def render(self, path: str) -> str:
        """``path:line: message``, the form editors and CI logs link to."""
        where = path if self.line is None else f"{path}:{self.line}"
        return f"{where}: {self.severity}: {self.message}"

    def shape(self) -> dict[str, object]:
        """The same as JSON has it."""
        return {"severity": self.severity, "line": self.line, "column": self.column, "message": self.message}


class ManifestError(OperatorError):
    """A manifest with at least one problem; all of them are here at once."""

    def __init__(self, path: str, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        super().__init__("\n".join(problem.render(path) for problem in problems))


class WorldError(PitbossError):
    """The machine, the disk or another program failed us."""

    code = "unavailable"


class OurFault(PitbossError):
    """A bug in Pitboss: please report it with the text of this message."""

    exit_code = 70
    code = "internal"
