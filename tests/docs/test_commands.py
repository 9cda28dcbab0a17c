"""Every command that a page shows can be typed: its verb, its options and the number of its arguments are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pitboss.surfaces.cli import cli

TOP = Path(__file__).parents[2]
PAGES = [TOP / "README.md", TOP / "CHANGELOG.md", *sorted((TOP / "docs").rglob("*.md"))]


def shown(page: Path) -> Iterator[str]:
    """The commands of a page: what is typed in its sessions, and what its text names in full."""
    text = page.read_text()
    sessions = "\n".join(re.findall(r"^```(?:console|sh)\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    yield from re.findall(r"^\$ (?:\w+=\S+ )*pitboss (.+)$", sessions, re.MULTILINE)
    yield from (said for said in re.findall(r"`pitboss ([^`\n]+)`", text) if said.split()[0].isalpha())


def typed(said: str) -> list[str]:
    """The words the shell would give to ``pitboss``."""
    lexer = shlex.shlex(said, posix=True, punctuation_chars="|&;>")
    lexer.whitespace_split = True
    words = list(lexer)
    ends = [index for index, word in enumerate(words) if word in {"|", "&&", ";", ">", "||"}]
    return words[: ends[0]] if ends else words


def problem(words: list[str]) -> str:
    """Why the words are no command; empty if they are one."""
    command: click.Command = cli
    context = click.Context(cli, info_name="pitboss")
    while isinstance(command, click.Group) and words:
        found = command.commands.get(words[0])
        if found is None:
            return f"there is no command {words[0]!r}"
        command, words = found, words[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    try:
        _, left, _ = command.make_parser(context).parse_args(args=words)
    except click.UsageError as error:
        return error.format_message()
    return f"{left} is too much" if left else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_every_command_of_a_page_can_be_typed(page: Path) -> None:
    said = {one: problem(typed(one.replace("[", "").replace("]", ""))) for one in shown(page)}
    assert {} == {one: why for one, why in said.items() if why}


def test_a_command_that_is_none_is_found() -> None:
    assert "no command 'halt'" in problem(["halt", "latest"])
    assert "--gently" in problem(["stop", "latest", "--gently"])
    assert "too much" in problem(["stop", "latest", "now", "please"])
