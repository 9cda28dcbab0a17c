"""Prompts with places for values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.manifest.templates import TemplateError, names_in, render


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("plain", {}, "plain"),
        ("{a}-{b}-{a}", {"a": "1", "b": "2", "unused": "3"}, "1-2-1"),
        ("{ a }", {" a ": "spaces count"}, "spaces count"),
        ("{}", {"": "the empty name"}, "the empty name"),
        ("{a{b}", {"a{b": "up to the next brace"}, "up to the next brace"),
        ("{a}", {"a": "{b} \\{"}, "{b} \\{"),
        (r"\{a\}", {}, "{a}"),
        (r"\n \\ \{", {}, r"\n \\ {"),
        (r"\\{a\}", {}, r"\{a}"),
        ("a } b }", {}, "a } b }"),
        ("{a\nb}", {"a\nb": "lines too"}, "lines too"),
    ],
)
def test_a_template_is_rendered_in_one_pass(template: str, values: dict[str, str], text: str) -> None:
    assert text == render(template, values)


def test_all_missing_values_are_named_at_once() -> None:
    with pytest.raises(TemplateError, match="undeclared var 'b', 'c'"):
        render("{a}{b}{c}{b}", {"a": ""})


@pytest.mark.parametrize("template", ["{", "x {a} {b", "\\}{"])
def test_a_brace_that_is_never_closed_is_refused(template: str) -> None:
    with pytest.raises(TemplateError, match="unclosed"):
        render(template, {"a": ""})


@given(st.text())
def test_a_text_with_its_braces_escaped_renders_to_itself(text: str) -> None:
    escaped = text.replace("{", "\\{").replace("}", "\\}")

    assert text == render(escaped, {})
    assert [] == names_in(escaped)
