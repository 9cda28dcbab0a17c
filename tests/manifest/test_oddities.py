"""What is legal but probably not meant gets a warning, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Warnings = Callable[..., list[str]]

TASK = '[[task]]\nid = "a"\ndirectory = "/repo"\nprompt = "Go."\n'  # four lines
LEAD = '[lead]\nid = "l"\ndirectory = "/repo"\nprompt = "Go."\nmax_workers = 2\nbudget_usd = 1\n'  # six lines


def test_something_odd_is_one_warning_with_its_line(warnings: Warnings, text: str, oddity: str) -> None:
    assert [oddity] == warnings(text)


TEMPLATE_WITH_A_VAR_NAMED_LIKE_A_KEY = """\
[[template]]
id = "t"
prompt = "Use {model}."

[[task]]
id = "a"
directory = "/repo"
template = "t"
vars = { model = "x" }
"""


@pytest.mark.parametrize(
    "text",
    [
        TASK,
        LEAD,
        f"{LEAD}timeout_secs = 5\nlead_timeout_secs = 5",
        TEMPLATE_WITH_A_VAR_NAMED_LIKE_A_KEY,
        f'{TASK}[[mcp_server]]\nid = "docs"\ncommand = "docs"',
    ],
)
def test_what_is_as_it_should_be_is_not_doubted(warnings: Warnings, text: str) -> None:
    assert [] == warnings(text)


def test_an_unusable_concurrency_in_the_environment_is_told(warnings: Warnings) -> None:
    assert [
        "None: ANTHROPIC_MAX_CONCURRENT='lots' is not a number and was ignored; unset it or give a number"
    ] == warnings(TASK, environ={"ANTHROPIC_MAX_CONCURRENT": "lots"})


def test_the_plain_starting_manifest_is_not_doubted(warnings: Warnings) -> None:
    text = (Path(__file__).parent / "examples" / "simple.toml").read_text(encoding="utf-8")

    assert [] == warnings(text)
