"""What a manifest may ask of the machine it is read on, and how its paths are expanded with it.

All of it comes in as data or as one function, so that reading a manifest can be repeated anywhere.
Called by whoever loads a manifest, and by ``resolve``.
"""

from __future__ import annotations

import enum
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["PathError", "PathKind", "Surroundings", "expand"]

_LONGEST_PATH = 4095
_VARIABLE = re.compile(r"\$(?:\$|(?P<plain>[A-Za-z_]\w*)|\{(?P<braced>[^}]*)\}|(?P<open>\{))", re.ASCII)
_BRACED = re.compile(r"(?P<name>[A-Za-z_]\w*)(?P<fallback>:-.*)?", re.ASCII | re.DOTALL)


class PathKind(enum.StrEnum):
    """What is found at a path."""

    MISSING = "missing"
    FILE = "file"
    DIRECTORY = "directory"
    REPOSITORY = "repository"
    """A directory inside a git work-tree."""


@dataclass(frozen=True)
class Surroundings:
    """The machine and the moment, as far as a manifest can see them."""

    environ: Mapping[str, str]
    home: str
    """The user's home directory; empty if there is none."""
    cwd: str
    """The absolute working directory of the caller: relative paths start here."""
    cores: int
    kind_of: Callable[[str], PathKind]
    """Looks at an absolute path."""
    has_secrets: bool = True
    """The variables of receivers are set here; if not, that one is unset is no error."""


class PathError(ValueError):
    """A path that cannot be expanded; the message says why."""


def expand(path: str, surroundings: Surroundings) -> str:
    """Expand ``~``, ``$VAR``, ``${VAR}`` and ``${VAR:-fallback}``, and make the path absolute.

    A relative path starts at the working directory, as it always has; ``$$`` is a literal dollar sign.

    Raises:
        PathError: A variable is not set, or nothing is left of the path.
    """
    expanded = _VARIABLE.sub(lambda match: _variable(match, surroundings.environ), _tilde(path, surroundings.home))
    if not expanded.strip():
        raise PathError("it is empty")
    absolute = posixpath.join(surroundings.cwd, expanded)
    if "\0" in absolute or len(absolute) > _LONGEST_PATH or any(len(part) > 255 for part in absolute.split("/")):
        raise PathError("no file system has such a path; shorten it")
    # `link/..` is the parent of where the link leads: only the kernel may shorten that.
    return absolute if ".." in absolute.split("/") else "/" + posixpath.normpath(absolute).lstrip("/")


def _tilde(path: str, home: str) -> str:
    if path != "~" and not path.startswith("~/"):
        if path.startswith("~"):
            raise PathError("only your own home directory is known as ~; write the other one in full")
        return path
    if not home:
        raise PathError("HOME is not set, so ~ means nothing")
    return home + path[1:]


def _variable(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match["open"]:
        raise PathError("a ${ is never closed")
    if match["plain"] is None and match["braced"] is None:
        return "$"
    braced = _BRACED.fullmatch(match["plain"] or match["braced"])
    if braced is None:
        raise PathError(f"{match.group()} is not a variable; write ${{NAME}} or ${{NAME:-fallback}}")
    value, fallback = environ.get(braced["name"]), braced["fallback"]
    if fallback is not None:
        return value or str(fallback).removeprefix(":-")
    if value is None:
        raise PathError(
            f"the environment variable {braced['name']} is not set; set it or write ${{{braced['name']}:-fallback}}"
        )
    return value
