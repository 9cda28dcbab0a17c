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


def test_a_soft_cap_above_the_hard_limit_is_told(warnings: Warnings) -> None:
    text = f"{LEAD}[run]\nbudget_usd = 0.5"

    assert "6: [lead].budget_usd is above [run].budget_usd, the hard limit, which stops the run first" in warnings(text)


RULES = """\
[[approval_policy]]
action = "auto_approve"
match = { tool = "Bash", args = { command = "git *" } }

[[approval_policy]]
action = "auto_reject"
match = { tool = "Bash" }
reason = "Only git."

[[approval_policy]]
action = "block"
match = { actor = "root→**" }

[[approval_policy]]
action = "block"
match = { tool_name = "Bash", cost_over = 0 }

[[approval_policy]]
action = "block"
"""


def test_rules_that_each_see_something_are_not_doubted(warnings: Warnings) -> None:
    assert [] == warnings(f"{LEAD}{RULES}")


@pytest.mark.parametrize("rule", ['category = "plan"', ""])
@pytest.mark.parametrize("default", ["auto_approve", "auto_reject"])
def test_a_plan_gate_that_a_rule_sees_to_is_not_doubted(warnings: Warnings, rule: str, default: str) -> None:
    action = "auto_reject" if default == "auto_approve" else "auto_approve"
    gate = f'[run]\nrequire_plan_approval = true\ndefault_approval_policy = "{default}"\n'

    assert [] == warnings(f'{gate}{LEAD}[[approval_policy]]\naction = "{action}"\nmatch = {{ {rule} }}')


def test_an_unusable_concurrency_in_the_environment_is_told(warnings: Warnings) -> None:
    assert [
        "None: ANTHROPIC_MAX_CONCURRENT='lots' is not a number and was ignored; unset it or give a number"
    ] == warnings(TASK, environ={"ANTHROPIC_MAX_CONCURRENT": "lots"})


def test_the_plain_starting_manifest_is_not_doubted(warnings: Warnings) -> None:
    text = (Path(__file__).parent / "examples" / "simple.toml").read_text(encoding="utf-8")

    assert [] == warnings(text)
