"""Everything that is wrong or odd in one manifest, gathered until all rules have looked.

A rule names what it talks about by key path; the line is looked up here. A path that is known to be broken
silences what other rules would say about it, so that one mistake is one message. Called by every rule.
"""

from __future__ import annotations

from pitboss.errors import ManifestError, Problem
from pitboss.manifest.document import Document
from pitboss.manifest.fields import field_at
from pitboss.manifest.positions import Path

__all__ = ["Findings", "shown"]

_LONGEST = 60
_HUGE = 10**30


def shown(value: object) -> str:
    """A value from the manifest for a message: quoted, short, and never the secret part of a URL."""
    if isinstance(value, int) and abs(value) >= _HUGE:
        return "a huge integer"  # Python refuses to write out more than some thousands of digits
    text = str(value)
    if "://" in text:
        scheme = text.partition("://")[0]
        text = f"{scheme if scheme.isalpha() else '...'}://<redacted>"
    elif len(text) > _LONGEST:
        text = text[:_LONGEST] + "…"
    return repr(text) if isinstance(value, str) else text


def _element_depth(path: Path) -> int:
    """How much of ``path`` names one of several tables, such as ``[[task]]``; 0 if it is in a single table."""
    for depth in range(1, len(path)):
        shape = field_at(path[:depth])
        if isinstance(path[depth], int) and shape is not None and shape.section is not None:
            return depth + 1
    return 0


class Findings:
    """The problems of one manifest, errors and warnings."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._problems: list[Problem] = []
        self._broken: set[Path] = set()

    def error(self, message: str, *subjects: Path) -> None:
        """Report what must be put right; ``subjects`` are the keys it is about, the first gives the line."""
        self._add(message, subjects, "error")

    def warn(self, message: str, *subjects: Path) -> None:
        """Report what is legal but probably not meant."""
        self._add(message, subjects, "warning")

    def mark_broken(self, path: Path) -> None:
        """Say nothing more about ``path`` and what is under it."""
        self._broken.add(path)

    def is_broken(self, path: Path) -> bool:
        """True if ``path`` or a table around it has been reported already."""
        return any(path[:depth] in self._broken for depth in range(1, len(path) + 1))

    def _add(self, message: str, subjects: tuple[Path, ...], severity: str) -> None:
        if any(self.is_broken(subject) for subject in subjects):
            return
        place = self.document.place(subjects[0]) if subjects else None
        line, column = place or (None, None)
        self._problems.append(Problem(message, line=line, column=column, severity=severity))

    def raise_errors(self, path: str) -> None:
        """Raise all errors at once, if there are any.

        Raises:
            ManifestError: There is at least one error.
        """
        if errors := self._sorted("error"):
            raise ManifestError(path, errors)

    @property
    def warnings(self) -> list[Problem]:
        """The warnings, in the order of the text."""
        return self._sorted("warning")

    def _sorted(self, severity: str) -> list[Problem]:
        chosen = [problem for problem in self._problems if problem.severity == severity]
        return sorted(chosen, key=lambda problem: problem.line or 0)

    def name(self, path: Path) -> str:
        """``path`` as a person would say it: ``[run].max_starts``, ``[[task]] 'build': env.HOME``."""
        depth = _element_depth(path)
        head = f"[{path[0]}]"
        if depth:
            table = ".".join(str(part) for part in path[: depth - 1])
            head = f"[[{table}]] {self._element(path[:depth])}"
        rest = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path[max(depth, 1) :])
        return f"{head}: {rest[1:]}" if depth and rest else head + rest

    def _element(self, path: Path) -> str:
        """An element of an array of tables: by its id if it has one, else by number."""
        own_id = self.document.value((*path, "id"))
        if isinstance(own_id, str) and own_id.strip():
            return shown(own_id)
        index = path[-1]
        return f"#{index + 1}" if isinstance(index, int) else str(index)
