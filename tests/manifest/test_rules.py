"""The rules of a run by themselves: what a manifest says of them, with a manifest's complaints."""

import pytest

from pitboss.errors import ManifestError
from pitboss.manifest.rules import load_rules

GOOD = """
[run]
default_approval_policy = "auto_reject"

[[approval_policy]]
action = "block"
reason = "look first"
[approval_policy.match]
tool = "Bash"
args = { command = "*push*" }
"""


def test_rules_read_as_in_a_manifest() -> None:
    book = load_rules(GOOD, "r.toml")
    (rule,) = book.rules
    assert ("auto_reject", "block", "Bash", {"command": "*push*"}, "look first") == (
        book.default_action,
        rule.action,
        rule.tool,
        rule.args,
        rule.reason,
    )


def test_nothing_written_is_no_rules_and_the_same_default() -> None:
    assert ((), None, []) == load_rules("", "r.toml")


def test_what_is_odd_is_a_warning() -> None:
    rule = '[[approval_policy]]\naction = "block"\n'
    (problem,) = load_rules(rule + rule, "r.toml").warnings
    assert "never asked" in problem.message


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('[[approval_policy]]\naction = "auto_rejec"\n', 2, "did you mean 'auto_reject'?"),
        ('[[approval_policy]]\naction = "block"\nmatch = { tol = "Bash" }\n', 3, "unknown key 'tol'"),
        ("[[approval_policy\n", 1, "not valid TOML"),
        ("[run]\nmax_starts = 3\n", 2, "'max_starts' cannot be changed here"),
        ('[lead]\nid = "x"\n', 1, "'lead' cannot be changed here"),
        ("[runn]\n", 1, "'runn' cannot be changed here"),
    ],
)
def test_a_mistake_is_told_once_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        load_rules(text, "r.toml")
    (problem,) = caught.value.problems
    assert (line, True) == (problem.line, message in problem.message), problem.message
