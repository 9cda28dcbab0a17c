"""What a mistake was probably meant to be: keys that moved, tables of the wrong kind, near misses, the sub-table trap.

Works on the parsed structure, so inline and dotted forms are seen and text inside prompts is not.
A hint is the second half of an error's sentence; it never decides anything. Called by ``conform`` and ``rules``.
"""

from __future__ import annotations

from typing import NamedTuple

from pitboss.manifest.fields import field_at, fields_of, section_at
from pitboss.manifest.findings import Findings
from pitboss.manifest.positions import Path
from pitboss.manifest.schema import Manifest

__all__ = ["Hint", "nearest", "nearest_value", "swallowed", "swallowing_tables", "trap", "unknown_key", "wrong_type"]

_MOVED: dict[Path, str] = {
    ("run", "max_workers"): "[lead].max_workers",
    ("run", "lead_timeout_secs"): "[lead].lead_timeout_secs",
    ("run", "max_parallel"): "[run].max_parallel_tasks",
    ("run", "approval_policy"): "[run].default_approval_policy",
    ("lead", "max_workers_across_tree"): "[lead].max_total_workers",
    ("lead", "sublead_defaults"): "the top-level table [sublead_defaults]",
}
"""Where keys of schemas before v0.9 went. (``[run].budget_usd`` moved too, but is a key of its own again.)"""

_SWALLOWING = ("env", "vars", "match", "args", "notify")
"""Sub-tables that take every key written after their header."""


class Hint(NamedTuple):
    """The rest of a sentence about an unknown key."""

    text: str = ""
    meant: Path | None = None
    """The key that was probably meant: nothing else need be said about it."""


def unknown_key(path: Path, findings: Findings) -> Hint:
    """What an unknown key was probably meant to be."""
    *parents, last = path
    table, name = tuple(parents), str(last)
    if (new := _MOVED.get(path)) is not None:
        return Hint(f": this is the pre-v0.9 schema; write it as {new}")
    if (outer := _outer_with(table, name)) is not None:
        return Hint(trap(name, table, outer, findings), (*outer, name))
    section = section_at(table)
    known = list(fields_of(section)) if section is not None else []
    if (close := nearest(name, known)) is not None:
        return Hint(f"; did you mean {_as_written(table, close)}?", (*table, close))
    if homes := _homes_of(name):
        return Hint(f"; it is a key of {' and '.join(homes)}")
    return Hint(f"; known are {', '.join(known)}")


def _as_written(table: Path, name: str) -> str:
    """A key by its name, a table of the top level by its header."""
    return name if table else _header(name)


def _header(name: str) -> str:
    shape = fields_of(Manifest)[name]
    return f"[[{name}]]" if shape.is_array else f"[{name}]"


def _outer_with(table: Path, name: str) -> Path | None:
    """The table around ``table`` that has a key of this name."""
    outer = table[:-2] if table and isinstance(table[-1], int) else table[:-1]
    section = section_at(outer) if outer else None
    return outer if section is not None and name in fields_of(section) else None


def trap(name: str, table: Path, outer: Path, findings: Findings) -> str:
    """What happened to a key that was written below a sub-table's header."""
    inner = ".".join(str(part) for part in table if isinstance(part, str))
    return (
        f"; {name} is a key of {findings.name(outer)}, but TOML gives every key below the header of {inner} "
        f"to {inner}: write it above that header"
    )


def _homes_of(name: str) -> list[str]:
    """The top-level sections that have such a key."""
    shapes = fields_of(Manifest).values()
    return [_header(shape.name) for shape in shapes if shape.section and name in fields_of(shape.section)]


def nearest(name: str, known: list[str]) -> str | None:
    """The known name that looks most like ``name``, if any is near."""
    import difflib  # only a manifest with a mistake pays for it

    longer = [candidate for candidate in known if len(name) > 2 and candidate.startswith(name)]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return longer[0] if len(longer) == 1 else close[0] if close else None


def nearest_value(value: str, choices: tuple[str, ...]) -> str:
    """``; did you mean ...?`` for a wrong word of an enumeration."""
    close = nearest(value, list(choices))
    return f"; did you mean {close!r}?" if close else ""


def wrong_type(path: Path, value: object, findings: Findings) -> str:
    """The rest of a sentence about a value of the wrong type."""
    shape = field_at(path)
    if shape is not None and shape.section is not None and not any(isinstance(part, int) for part in path):
        return _wrong_brackets(path, value)
    if len(path) > 1 and path[-2] in _SWALLOWING:
        outer = path[:-2]
        section = section_at(outer)
        if section is not None and path[-1] in fields_of(section):
            return trap(str(path[-1]), path[:-1], outer, findings)
        if path[-2] == "args" and isinstance(value, dict):
            return (
                f'; a name that leads into nested arguments is written in quotes: "{path[-1]}.{next(iter(value), "")}"'
            )
    return ""


def _wrong_brackets(path: Path, value: object) -> str:
    """``[task]`` for ``[[task]]``, or the other way round."""
    name = ".".join(map(str, path))
    if isinstance(value, dict):
        return f": write [[{name}]] instead of [{name}]"
    if isinstance(value, list) and path == ("lead",):
        return ": [[lead]] is the pre-v0.9 schema; write a single [lead]"
    return f": write [{name}] instead of [[{name}]]" if isinstance(value, list) else ""


def swallowing_tables(path: Path, findings: Findings) -> list[Path]:
    """The sub-tables of the table at ``path`` that may have taken keys meant for it."""
    tables = [(*path, name) for name in _SWALLOWING]
    return [table for table in tables if isinstance(findings.document.value(table), dict)]


def swallowed(path: Path, findings: Findings) -> str:
    """Where a missing key ended up, if a sub-table above it took it."""
    *parents, name = path
    tables = swallowing_tables(tuple(parents), findings)
    tables += [inner for table in tables for inner in swallowing_tables(table, findings)]
    for table in tables:
        place = findings.document.place((*table, name))
        if findings.document.value((*table, name)) is not None and place is not None:
            inner = table[-1]
            return f"; the one in line {place.line} is below the header of {inner}: write it above that header"
    return ""
