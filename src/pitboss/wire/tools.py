"""Our tools, in data: the table, who has which, and the way from the arguments a model sent to a checked call.

Everything a model reads about a tool comes from its struct in ``model.calls``. Nothing is carried out here. Called by
whoever serves the messages of ``wire.mcp``; answers are built by ``wire.tool_answers``.
"""

from __future__ import annotations

import math
import re
from typing import Final, NamedTuple, get_args

import msgspec

from pitboss.model import calls
from pitboss.model.calls import AnyCall
from pitboss.model.run import Role
from pitboss.wire import mcp
from pitboss.wire.claude_events import JsonObject
from pitboss.wire.tool_schemas import fault_of, nearest, properties_of, schema_of, shown

__all__ = ["INSTRUCTIONS", "TOOLS", "BadArguments", "name_of", "parse", "tools_for"]

INSTRUCTIONS: Final = (
    "You are one actor of a Pitboss run: one dispatcher starts, watches and pays for all of its sessions, and these "
    "tools are how you act on it; which of them you have depends on your role. Other actors see nothing of your "
    "conversation: what they need goes into their prompt or into the shared store (kv_set, kv_get). To wait, call a "
    "tool that waits (wait_for_worker, wait_for_any, wait_actor, kv_wait, or wait_secs of a lease) instead of asking "
    "again and again: waiting costs nothing. A wait that returns interrupted = true has not failed: a message for you "
    "has come in, and comes with it; act on it, then call the same wait again."
)
"""What a client is told about this server as a whole; Claude Code puts it into the system prompt."""

_EVERYONE: Final[tuple[Role, ...]] = ("task", "lead", "sublead", "worker")
_LEADS: Final[tuple[Role, ...]] = ("lead", "sublead")
_IN_A_TREE: Final[tuple[Role, ...]] = ("lead", "sublead", "worker")


class _Row(NamedTuple):
    roles: tuple[Role, ...]
    read_only: bool = False


_ROWS: Final[dict[type[AnyCall], _Row]] = {
    calls.SpawnWorker: _Row(_LEADS),
    calls.SpawnSublead: _Row(("lead",)),
    calls.WorkerStatus: _Row(_LEADS, read_only=True),
    calls.ListWorkers: _Row(_LEADS, read_only=True),
    # The client runs read-only calls side by side: several waits at once are what a lead wants.
    calls.WaitForWorker: _Row(_LEADS, read_only=True),
    calls.WaitActor: _Row(_LEADS, read_only=True),
    calls.WaitForAny: _Row(_LEADS, read_only=True),
    calls.CancelWorker: _Row(_LEADS),
    calls.PauseWorker: _Row(_LEADS),
    calls.ContinueWorker: _Row(_LEADS),
    calls.RepromptWorker: _Row(_LEADS),
    calls.RequestApproval: _Row(_IN_A_TREE),
    calls.ProposePlan: _Row(_LEADS),
    calls.PermissionPrompt: _Row(_EVERYONE),
    calls.KvGet: _Row(_EVERYONE, read_only=True),
    calls.KvSet: _Row(_EVERYONE),
    calls.KvCas: _Row(_EVERYONE),
    calls.KvDelete: _Row(_EVERYONE),
    calls.KvList: _Row(_EVERYONE, read_only=True),
    calls.KvWait: _Row(_EVERYONE, read_only=True),
    calls.LeaseAcquire: _Row(_EVERYONE),
    calls.LeaseRelease: _Row(_EVERYONE),
    calls.LeaseList: _Row(_EVERYONE, read_only=True),
    calls.RunLeaseAcquire: _Row(_EVERYONE),
    calls.RunLeaseRelease: _Row(_EVERYONE),
}


def name_of(kind: type[AnyCall]) -> str:
    """Return the name of the tool that a struct describes: ``KvGet`` is ``kv_get``."""
    return re.sub(r"(?<=.)([A-Z])", r"_\1", kind.__name__).lower()


def _tool(kind: type[AnyCall], row: _Row) -> mcp.Tool:
    paragraphs = (kind.__doc__ or "").split("\n\n")
    return mcp.Tool(
        name=name_of(kind),
        description="\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs),
        input_schema=schema_of(kind),
        read_only=row.read_only,
        roles=row.roles,
    )


_KINDS: Final[dict[str, type[AnyCall]]] = {name_of(kind): kind for kind in get_args(AnyCall)}

TOOLS: Final[tuple[mcp.Tool, ...]] = tuple(
    sorted((_tool(kind, _ROWS[kind]) for kind in _KINDS.values()), key=lambda tool: tool.name)
)
"""Every tool of ours, by name, which is the order clients are shown them in."""

_SCHEMAS: Final = {tool.name: tool.input_schema for tool in TOOLS}


def tools_for(role: Role, *, allow_subleads: bool, path_b: bool) -> tuple[mcp.Tool, ...]:
    """Return the tools an actor has; for its session all others do not exist.

    Args:
        role: What it is.
        allow_subleads: The manifest allows sub-leads.
        path_b: The agent's own permission questions go to the policy and the operator.
    """
    closed = {"spawn_sublead": not allow_subleads, "permission_prompt": not path_b}
    return tuple(tool for tool in mcp.for_role(TOOLS, role) if not closed.get(tool.name, False))


# --- from arguments to a call ---------------------------------------------------------------------------------------


class BadArguments(msgspec.Struct, frozen=True, kw_only=True):
    """A call that cannot be understood; ``tool_answers.refusal`` makes an answer of it."""

    code: str
    """``invalid_params`` or ``unknown_tool``."""
    message: str
    """One sentence that says which argument, what is wrong with it, and what is allowed."""
    argument: str | None = None
    """The argument it is about, if it is about one."""


class _Either(NamedTuple):
    """Two arguments of which only one may be given."""

    first: str
    second: str
    needed: bool
    """One of them must be."""


_EITHER: Final[dict[str, _Either]] = {
    "kv_set": _Either("value", "json", needed=True),
    "kv_cas": _Either("new_value", "json", needed=True),
    "cancel_worker": _Either("target", "task_id", needed=True),
    "request_approval": _Either("timeout_secs", "ttl_secs", needed=False),
    "permission_prompt": _Either("tool_input", "input", needed=False),
}

_DEEPEST: Final = 100
"""Levels of nesting an argument may have. What we accept must pass every encoder behind us, and those recurse."""


def parse(name: str, arguments: JsonObject) -> AnyCall | BadArguments:
    """Check what a model sent, and give it its type.

    Models write ``"60"`` for 60, ``"true"`` for true, ``null`` for an argument they leave out, and an object or array
    as a string of its JSON: where the tool's schema leaves no doubt what is meant, it is taken so. ``_meta``, which
    other transports add, is not an argument. Never raises, whatever the JSON.

    Args:
        name: The tool, without the client's prefix.
        arguments: Its arguments, decoded.
    """
    kind = _KINDS.get(name)
    if kind is None:
        close = nearest(name, _KINDS)
        hint = f" (did you mean {close}?)" if close else ""
        message = f"tool not found: {shown(name)}{hint}; known are {', '.join(sorted(_KINDS))}."
        return BadArguments(code="unknown_tool", message=message)
    given = {key: value for key, value in arguments.items() if key != "_meta"}
    for key, value in given.items():
        if (unfit := _unfit(key) or _unfit(value)) is not None:
            return _bad(f"{shown(key)} {unfit}", None)
    schema, rule = _SCHEMAS[name], _EITHER.get(name)
    given = _eased(given, schema)
    try:
        # Not strict: a number in quotes is a number. An argument that takes text keeps its text, "60" or "null".
        call = msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as problem:
        fault = fault_of(str(problem), given, schema)
        is_json = rule is not None and rule.second == "json" and fault.sentence.startswith(f"{rule.first} is ")
        return _bad(fault.sentence + ("; other JSON goes into json" if is_json else ""), fault.argument)
    if rule is not None and (choice := _not_one(rule, given)) is not None:
        return _bad(choice, rule.first)
    return call


def _bad(sentence: str, argument: str | None) -> BadArguments:
    # The first words are those of Pitboss 0.9, which clients may look for.
    message = f"failed to deserialize parameters: {sentence}."
    return BadArguments(code="invalid_params", message=message, argument=argument)


def _eased(given: JsonObject, schema: JsonObject) -> JsonObject:
    """Leave out what is null and need not be there; read an object or array that came as a string."""
    required = schema.get("required")
    needed = required if isinstance(required, list) else []
    eased: JsonObject = {}
    for key, value in given.items():
        kind = properties_of(schema).get(key, {}).get("type")
        if value is None and key in properties_of(schema) and key not in needed and key != "json":
            continue  # null as JSON value is a value
        eased[key] = _read(value) if isinstance(value, str) and kind in {"array", "object"} else value
    return eased


def _read(text: str) -> object:
    try:
        value: object = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text
    return value if isinstance(value, list | dict) and _unfit(value) is None else text


def _not_one(rule: _Either, given: JsonObject) -> str | None:
    names = (rule.first, rule.second)
    chosen = [name for name in names if given.get(name) is not None]
    if not chosen and "json" in names and "json" in given:
        return None
    if len(chosen) == 2:
        return f"{rule.first} and {rule.second} are both given; give only one of them"
    if rule.needed and not chosen:
        return f"neither {rule.first} nor {rule.second} is given; give exactly one of them"
    return None


def _unfit(value: object) -> str | None:
    """Say what keeps a value from being written down as JSON, if anything does."""
    level = [value]
    for _ in range(_DEEPEST):
        below: list[object] = []
        for each in level:
            match each:
                case float() if not math.isfinite(each):
                    return "holds a number that is not finite, which JSON cannot say; give a finite one"
                case int() if each.bit_length() > 64:
                    return "holds an integer of more than 64 bits, which few can read; give it as text"
                case str() if not _is_text(each):
                    return "holds half a surrogate pair, which is no character; leave it out"
                case dict():
                    below += [*each.keys(), *each.values()]
                case list():
                    below += each
                case _:
                    pass
        if not below:
            return None
        level = below
    return f"is nested deeper than {_DEEPEST} levels; make it flatter, or give it as text"


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
