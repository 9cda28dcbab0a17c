"""Writes the reference pages from the code, so that they cannot lie: commands, manifest keys, facts, tools, the socket.

    python docs/reference.py            write docs/reference/*.md
    python docs/reference.py --check    exit 1 if a page differs from the code, or something has no help

Nothing else is written and the order is the code's own, so the same code gives the same bytes. Called by
``make docs`` and ``make check``.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import click

from pitboss.manifest.reference import KeyEntry, SectionEntry, reference
from pitboss.model import facts
from pitboss.surfaces import cli as commands
from pitboss.surfaces.cli import cli
from pitboss.wire import control, control_events, views
from pitboss.wire.mcp import SERVER_NAME, Tool
from pitboss.wire.tool_schemas import allowed, properties_of
from pitboss.wire.tools import TOOLS

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/reference.py; change the code, not this page. -->"


class Gap(Exception):
    """Something has no help; the message names it."""


# --- commands -------------------------------------------------------------------------------------------------------


def commands_page() -> str:
    """Every command with its arguments and options."""
    shared = [option for option in cli.params if isinstance(option, click.Option)]
    codes = next(
        part for part in inspect.cleandoc(str(commands.__doc__)).split("\n\n") if part.startswith("Exit codes")
    )
    parts = ["# Commands", NOTE, str(inspect.getdoc(cli.callback)), _options(shared), codes]
    return "\n\n".join([*parts, *(_command(name, command) for name, command in _all_commands(cli))]) + "\n"


def _all_commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command by its whole name; those of a group behind it."""
    for name, command in sorted(group.commands.items()):
        yield prefix + name, command
        if isinstance(command, click.Group):
            yield from _all_commands(command, f"{prefix}{name} ")


def _command(name: str, command: click.Command) -> str:
    if not command.help:
        raise Gap(f"the command {name} has no help")
    usage = " ".join(["pitboss", name, *_usage(command)])
    options = [option for option in command.params if isinstance(option, click.Option)]
    return "\n\n".join([f"## {name}", f"```\n{usage}\n```", inspect.cleandoc(command.help), _options(options)])


def _usage(command: click.Command) -> Iterator[str]:
    if isinstance(command, click.Group):
        yield "COMMAND"
        return
    if any(isinstance(parameter, click.Option) for parameter in command.params):
        yield "[OPTIONS]"
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            name = parameter.metavar or str(parameter.name).upper()
            yield name if parameter.required else f"[{name}]"


def _options(options: list[click.Option]) -> str:
    rows = ["| option | what it does |", "|---|---|"]
    for option in options:
        if not option.help:
            raise Gap(f"the option {option.opts[0]} has no help")
        takes_value = not (option.is_flag or option.count)
        value = f" {option.metavar or str(option.type.name).upper()}" if takes_value else ""
        names = ", ".join(f"`{name}{value}`" for name in option.opts)
        default = f" Default: {option.default}." if option.show_default else ""
        rows.append(f"| {names} | {_cell(option.help)}{default} |")
    return "\n".join(rows)


# --- manifest -------------------------------------------------------------------------------------------------------


def manifest_page() -> str:
    """Every section and key of the manifest."""
    head = ["# Manifest", NOTE, "Every key there is. A key marked *hierarchical* belongs to runs with a `[lead]`."]
    return "\n\n".join([*head, *(_section(section) for section in reference())]) + "\n"


def _section(section: SectionEntry) -> str:
    if not section.help:
        raise Gap(f"the section {section.header} has no help")
    rows = ["| key | type | default | what it does |", "|---|---|---|---|"]
    rows += [_key(section, key) for key in section.keys]
    return "\n\n".join([f"## `{section.header}`", inspect.cleandoc(section.help), "\n".join(rows)])


def _key(section: SectionEntry, key: KeyEntry) -> str:
    if not key.help:
        raise Gap(f"the key {key.name} of {section.header} has no help")
    kind = " or ".join(f"`{choice}`" for choice in key.choices) or key.type.replace("_", " ")
    bounds = f", {key.bounds}" if key.bounds else ""
    default = "*required*" if key.required else _code(key.default)
    mode = " *(hierarchical)*" if str(key.mode) == "hierarchical" else ""
    return f"| `{key.name}` | {_cell(kind + bounds)} | {_cell(default)} | {_cell(key.help)}{mode} |"


def _code(default: str) -> str:
    """A default as it would be written; one in words (with code or a blank in it) stays as it is."""
    in_words = "`" in default or default == "none" or (" " in default and default[0] not in '["{')
    return default if in_words else f"`{default}`"


# --- facts ----------------------------------------------------------------------------------------------------------


class _Field(NamedTuple):
    name: str
    type: str
    default: str
    help: str


def facts_page() -> str:
    """Every kind of fact a journal can hold."""
    intro = (
        "What `journal.jsonl` of a run holds, one object a line: `seq`, `cause` (the `seq` of the fact it follows "
        "from, or 0), `via` (what brought it about), `fact` (one of the kinds below), `at` (seconds since the epoch), "
        "the fact's own fields, and `sum`, a checksum. Fields with their default value are left out."
    )
    parts = ["# Facts", NOTE, intro]
    for title, kinds in (("About the run", facts.RunFact), ("About one attempt of one actor", facts.AnyActorFact)):
        parts.append(f"## {title}")
        if kinds is facts.AnyActorFact:
            parts.append("All of them also have `actor` and `attempt`.")
        parts += [_fact(_source(kind)) for kind in get_args(kinds)]
    return "\n\n".join(parts) + "\n"


def _source(kind: type) -> ast.ClassDef:
    (node,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(node, ast.ClassDef)
    return node


def _fact(node: ast.ClassDef) -> str:
    help_ = ast.get_docstring(node)
    if not help_:
        raise Gap(f"the fact {node.name} has no docstring")
    parts = [f"### {node.name}", help_]
    if rows := [f"| `{each.name}` | `{each.type}` | {each.default} | {each.help} |" for each in _fields(node)]:
        parts.append("\n".join(["| field | type | default | |", "|---|---|---|---|", *rows]))
    return "\n\n".join(parts)


def _fields(node: ast.ClassDef) -> Iterator[_Field]:
    """The fields of a class with the strings below them, which Python itself forgets."""
    for item, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            said = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            default = f"`{ast.unparse(item.value)}`" if item.value is not None else ""
            kind = ast.unparse(item.annotation).replace("|", "\\|")
            yield _Field(item.target.id, kind, default, _cell(str(said)))


# --- tools ----------------------------------------------------------------------------------------------------------

ROLES = {"lead": "lead", "sublead": "sub-lead", "worker": "worker", "task": "flat run's task"}
ONLY_IF = {
    "spawn_sublead": "if `[lead].allow_subleads` is set",
    "permission_prompt": 'with `[run].permission_routing = "path_b"`',
}


def tools_page() -> str:
    """Every tool an actor has of us."""
    intro = (
        f"What actors ask of the pit. A model sees each as `mcp__{SERVER_NAME}__<name>`, with the words and the schema "
        "that this page is made of. Arguments in bold are required. A tool that *only reads* changes nothing: Claude "
        "Code may run several such calls at once."
    )
    head = ["| tool | " + " | ".join(ROLES.values()) + " |", "|---" * (len(ROLES) + 1) + "|"]
    matrix = [
        _cells(f"[{tool.name}](#{tool.name})", *("yes" if role in tool.roles else "" for role in ROLES))
        for tool in TOOLS
    ]
    return "\n\n".join(["# Tools", NOTE, intro, "\n".join(head + matrix), *map(_tool, TOOLS)]) + "\n"


def _tool(tool: Tool) -> str:
    if not tool.description:
        raise Gap(f"the tool {tool.name} has no docstring")
    who = ", ".join(f"{name}s" for role, name in ROLES.items() if role in tool.roles)
    condition = f", {ONLY_IF[tool.name]}" if tool.name in ONLY_IF else ""
    reads = " Only reads." if tool.read_only else ""
    parts = [f"## {tool.name}", f"*For {who}{condition}.{reads}*", _plain(tool.description)]
    if rows := [_argument(tool, name, schema) for name, schema in properties_of(tool.input_schema).items()]:
        parts.append("\n".join(["| argument | type | default | what it is |", "|---|---|---|---|", *rows]))
    return "\n\n".join(parts)


def _argument(tool: Tool, name: str, schema: dict[str, object]) -> str:
    said = schema.get("description")
    if not said:
        raise Gap(f"the argument {name} of the tool {tool.name} has no description")
    required = tool.input_schema.get("required")
    is_required = isinstance(required, list) and name in required
    default = f"`{json.dumps(schema['default'])}`" if "default" in schema else ""
    kind = f"a string that matches `{schema['pattern']}`" if "pattern" in schema else allowed(schema)
    return _cells(f"**`{name}`**" if is_required else f"`{name}`", kind, default, _plain(str(said)))


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: patterns have stars, placeholders have angle brackets."""
    return text.replace("*", r"\*").replace("<", "&lt;")


def _cells(*texts: str) -> str:
    return f"| {' | '.join(map(_cell, texts))} |"


def _cell(text: str) -> str:
    """Text that fits into a table."""
    return " ".join(text.split()).replace("|", "\\|")


# --- the control socket ---------------------------------------------------------------------------------------------


def socket_page() -> str:
    """Everything that is said on a run's control socket."""
    intro = (
        "What operators' programs and a run say to each other: one JSON object a line, over the Unix socket that "
        "`control.path` in the run's folder names. A client says `hello` first, and is answered with `hello`. Its ops "
        "are carried out one after another, and each is answered once, with `op_acked`, `op_failed` or "
        "`op_unknown_state` unless it asks for something that has an event of its own. What is marked *ours* is not in "
        "Pitboss 0.9; unknown keys and events are to be passed over."
    )
    parts = ["# The control socket", NOTE, intro, "## Ops"]
    parts.append("Each may have an `order_id`: given again under the same id, it is answered again, not done again.")
    parts += [_op(kind) for kind in get_args(control.Op)]
    parts += [_struct("match", _source(control.RuleMatch)), "## Events"]
    parts += [_event(name) for name in control_events.__all__ if name not in _NO_EVENTS]
    return "\n\n".join([*parts, "## Views", _plain(str(inspect.getdoc(views)))]) + "\n"


_NO_EVENTS = {"Event", "RunKind", "approval_shape", "encode", "parse_event"}
_OP_EVENTS = {"acked": "op_acked", "failed": "op_failed", "unknown_state": "op_unknown_state"}


def _op(kind: type) -> str:
    name = str(kind.__struct_config__.tag)  # type: ignore[attr-defined]  # every op is a struct
    inherited = [_source(base) for base in kind.__mro__[1:] if issubclass(base, control.AboutOne)]
    node = _source(kind)
    more = [item for base in inherited for item in base.body if isinstance(item, ast.AnnAssign)]
    node.body = [*node.body[:1], *more, *node.body[1:]]  # behind the docstring
    return _struct(name, node)


def _struct(name: str, node: ast.ClassDef) -> str:
    return _fact(node).replace(f"### {node.name}", f"### {name}", 1)


def _event(name: str) -> str:
    function = getattr(control_events, name)
    said = inspect.getdoc(function)
    if not said:
        raise Gap(f"the event {name} has no docstring")
    keys = ", ".join(f"`{key}`" for key in dict.fromkeys(_keys(name)) if key != "event")
    return "\n\n".join(filter(None, [f"### {_OP_EVENTS.get(name, name)}", _plain(said), keys and f"Keys: {keys}."]))


def _keys(name: str) -> Iterator[str]:
    """The keys of an event, as they stand in the function that makes it and in those it calls."""
    tree = ast.parse(inspect.getsource(getattr(control_events, name)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            yield from (str(key.value) for key in node.keys if isinstance(key, ast.Constant))
        elif isinstance(node, ast.Name) and node.id not in {name, "encode"}:
            called = vars(control_events).get(node.id)
            if inspect.isfunction(called) and called.__module__ == control_events.__name__:
                yield from _keys(node.id)


# --- the pages ------------------------------------------------------------------------------------------------------

PAGES: dict[str, Callable[[], str]] = {
    "cli.md": commands_page,
    "manifest.md": manifest_page,
    "facts.md": facts_page,
    "tools.md": tools_page,
    "control-socket.md": socket_page,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or check them; gives the exit code."""
    try:
        pages = {name: page() for name, page in PAGES.items()}
    except Gap as gap:
        print(f"docs/reference.py: {gap}; write it beside the code", file=sys.stderr)
        return 1
    if "--check" in arguments:
        return _check(pages)
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


def _check(pages: dict[str, str]) -> int:
    stale = [name for name, text in pages.items() if not _is_current(FOLDER / name, text)]
    for name in stale:
        print(f"docs/reference/{name} is not what the code says; run: python docs/reference.py", file=sys.stderr)
    return 1 if stale else 0


def _is_current(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
