"""Paths of the shared store, patterns over them, and who may read and write which.

The order is the safety: a path is normalised first, then authorised, then used. There is one spelling of a key, so no
spelling gets past the rights. A pattern is authorised as it is written and each of its results once more. Called by
``core.store``.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from pitboss.model.answers import Refused, refused

PATH_BYTES = 1024
"""Longest path or pattern, normalised, in bytes of UTF-8. The keys themselves take memory too."""

_WILD = frozenset("*?[")
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f]")


class Caller(NamedTuple):
    """Who calls, in which layer."""

    actor: str
    """Its id; empty for a connection without identity."""
    lead: str
    """Id of the layer's lead."""
    overseer: bool = False
    """May read everything of this layer and write nothing: the root lead in a layer it was given with ``read_down``."""

    @property
    def is_lead(self) -> bool:
        """True for the lead of the layer."""
        return bool(self.actor) and self.actor == self.lead and not self.overseer


class BadGlob(ValueError):
    """A pattern that means nothing; says why."""


def normalise(path: str, caller: Caller) -> str | Refused:
    """The one spelling of ``path``: no empty and no ``.`` parts, no slash at its end, ``/peer/self`` resolved.

    For patterns too, whose wildcards are left alone. ``..`` is refused rather than resolved: nothing good is ever
    meant by it.
    """
    if not path.startswith("/"):
        return refused("invalid_arg", f"path must be absolute: write {shown('/shared/' + path)} or another namespace.")
    if _UNWRITABLE.search(path) or not encodable(path):
        return refused("invalid_arg", f"path must be text without control characters: {shown(path)} has some.")
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if ".." in parts:
        return refused("invalid_arg", f'path must not contain "..": write {shown(path)} out in full.')
    if parts[:2] == ["peer", "self"]:
        if not caller.actor:
            return refused("invalid_arg", "/peer/self requires caller identity, and this connection has none.")
        parts[1] = caller.actor
    whole = "/" + "/".join(parts)
    if len(whole.encode()) > PATH_BYTES:
        message = f"path must have at most {PATH_BYTES} bytes and has {len(whole.encode())}: choose a shorter one."
        return refused("invalid_arg", message)
    return whole


def normalise_glob(glob: str, caller: Caller) -> str | Refused:
    """The one spelling of a pattern, which is then known to be a legal one; a leading ``**`` may lack its slash."""
    whole = normalise("/" + glob if glob.startswith("**") else glob, caller)
    if isinstance(whole, Refused):
        return whole
    try:
        _compiled(whole)
    except BadGlob as error:
        return refused("invalid_arg", f"bad glob {shown(glob)}: {error}.")
    return whole


def is_glob(path: str) -> bool:
    """True if a path has wildcards, so that it may stand for many."""
    return not _WILD.isdisjoint(path)


def fits(glob: str, path: str) -> bool:
    """True if a normalised path is, or fits, a normalised pattern.

    Linear in practice and never exponential, whatever the pattern: an agent chose it, and the one loop waits for it.

    Raises:
        BadGlob: The pattern means nothing; one that `normalise_glob` gave always means something.
    """
    return path == glob or _compiled(glob).match(path) is not None


def may_read(caller: Caller, path: str) -> bool:
    """True if ``caller`` may read this normalised path; for a pattern, if it may ask for it."""
    owner = _owner(path)
    return owner is None or caller.is_lead or caller.overseer or owner == caller.actor


def unreadable(caller: Caller, path: str) -> Refused | None:
    """Why ``caller`` may not read this normalised path or ask for this pattern; ``None`` if it may."""
    if may_read(caller, path):
        return None
    reader = caller.actor or "a connection without identity"
    message = (
        f"strict peer visibility: {shown(path)} can be read by {shown(_owner(path) or '')} and the lead {caller.lead}, "
        f"not by {reader}; have it written to /shared/... instead."
    )
    return refused("forbidden", message)


def unwritable(caller: Caller, path: str, *, override: bool) -> Refused | None:
    """Why ``caller`` may not write this normalised path; ``None`` if it may."""
    if not caller.actor or caller.overseer:
        return refused("forbidden", f"only members of the layer of {caller.lead} write to its store.")
    parts = path.split("/")
    match parts[1]:
        case "shared":
            return None
        case "ref" if caller.is_lead:
            return None
        case "ref":
            message = f"/ref is lead-write-only and {caller.actor} is no lead: write to /peer/self/... or /shared/..."
        case "peer" if len(parts) > 2:
            return _foreign_slot(caller, parts[2], override=override)
        case "leases":
            message = "/leases holds no entries: use lease_acquire."
        case _:
            message = (
                f"unknown namespace in {shown(path)}: write to /shared/..., /peer/self/... or, as a lead, /ref/..."
            )
    return refused("forbidden", message)


def _foreign_slot(caller: Caller, owner: str, *, override: bool) -> Refused | None:
    if owner == caller.actor or (caller.is_lead and override):
        return None
    if caller.is_lead:
        message = f"the slot of {shown(owner)} is written by {caller.actor} only with override=true: set override_flag."
    else:
        message = f"worker tried to write /peer/{shown(owner)} as {caller.actor}: write to /peer/self/... instead."
    return refused("forbidden", message)


def encodable(text: str) -> bool:
    """False if ``text`` has lone surrogates, which no file and no JSON can carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(text: str) -> str:
    """``text`` for a message: short, and on one line."""
    clean = _UNWRITABLE.sub("?", text).encode(errors="replace").decode()
    return clean if len(clean) <= 120 else clean[:117] + "..."


def _owner(path: str) -> str | None:
    """Whose slot a normalised path or pattern is in, as it is written; ``None`` if in nobody's."""
    parts = path.split("/", 3)
    return parts[2] if len(parts) > 2 and parts[1] == "peer" else None


@lru_cache(maxsize=512)
def _compiled(glob: str) -> re.Pattern[str]:
    """The pattern as a regular expression over whole paths.

    What precedes the last ``*`` of a part, and the last ``**`` of the whole, is in atomic groups: for these the
    earliest fit is as good as any, so the engine never goes back to try others.
    """
    chunks: list[str] = [""]
    for part in glob.split("/")[1:]:
        if part == "**":
            chunks.append("")
        elif "**" in part:
            raise BadGlob(f"** must be a whole part of the path, and {shown(part)} is not")
        else:
            chunks[-1] += f"/{_part(part)}(?=/|\\Z)"
    first, *middle = chunks
    if not middle:
        return re.compile(first + r"\Z")
    last = middle.pop()
    skipped = "".join(f"(?>(?:/[^/]++)*?{chunk})" for chunk in middle)
    end = f"(?:/[^/]++)*{last}" if last else "(?:/[^/]++)+"
    return re.compile(first + skipped + end + r"\Z")


def _part(part: str) -> str:
    """One part of a pattern, without its slash."""
    pieces: list[str] = [""]
    at = 0
    while at < len(part):
        match part[at]:
            case "*":
                pieces.append("")
            case "?":
                pieces[-1] += "[^/]"
            case "[":
                at, text = _character_class(part, at)
                pieces[-1] += text
            case letter:
                pieces[-1] += re.escape(letter)
        at += 1
    first, *middle = pieces
    if not middle:
        return first
    last = middle.pop()
    return first + "".join(f"(?>[^/]*?{piece})" for piece in middle) + f"[^/]*{last}"


def _character_class(part: str, start: int) -> tuple[int, str]:
    """The class that begins at ``start``: where its bracket closes, and what it is as a regular expression."""
    negated = part.startswith("!", start + 1)
    body = start + 1 + negated
    end = part.find("]", body + 1)  # a bracket in first place stands for itself
    if end < 0:
        raise BadGlob(f"the class in {shown(part)} has no closing bracket; a class cannot contain a slash")
    text, at = "", body
    while at < end:
        low = high = part[at]
        if at + 2 < end and part[at + 1] == "-":
            high = part[at + 2]
            at += 2
        at += 1
        if low <= high:  # a range the wrong way round has nothing in it
            text += f"{re.escape(low)}-{re.escape(high)}"
    if not text:
        return end, "[^/]" if negated else "(?!)"
    return end, f"(?!/)[{'^' if negated else ''}{text}]"
