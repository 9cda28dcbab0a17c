from __future__ import annotations

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from pitboss.errors import ManifestError
from pitboss.model.run import Usage
from pitboss.rehearsal.places import Places
from pitboss.rehearsal.reader import read_script

FULL = """\
[defaults]
delay_ms = 5
usage = { input = 1 }

[[actor]]
id = "fix-*"
[[actor.turn]]
text = "Let me look."
delay_ms = 200
tools = [ { name = "Write", input = { file_path = "hello.txt", content = "hi" } } ]
usage = { input = 100, output = 20, cache_read = 5000, cache_creation = 1000 }
[[actor.turn]]
error = { status = 429, headers = { "retry-after" = "1" }, times = 2 }
[[actor.turn]]
text = "Done."
[[actor.subagent]]
prompt = "*tests*"
[[actor.subagent.turn]]
text = "They pass."

[[actor]]
id = "fix-parser"
[[actor.turn]]
text = "By name."
"""


def problems(script: str) -> list[str]:
    with pytest.raises(ManifestError) as refused:
        read_script(script, "s.toml")
    return str(refused.value).splitlines()


def test_a_script_is_read_as_written() -> None:
    script = read_script(FULL, "s.toml")
    first, second, third = script.actors[0].turns

    assert 5 == script.defaults.delay_ms
    assert Usage(input=1) == script.defaults.usage
    assert ("Let me look.", 200) == (first.text, first.delay_ms)
    assert [("Write", {"file_path": "hello.txt", "content": "hi"})] == [(call.name, call.input) for call in first.tools]
    assert Usage(input=100, output=20, cache_read=5000, cache_creation=1000) == first.usage
    assert second.error is not None
    assert ("rate_limit_error", 2, {"retry-after": "1"}) == (
        second.error.kind,
        second.error.times,
        second.error.headers,
    )
    assert third.usage is None


def test_an_exact_id_comes_before_a_pattern_that_is_earlier_in_the_file() -> None:
    script = read_script(FULL, "s.toml")

    assert ["By name."] == [turn.text for turn in script.turns_of("fix-parser", "go") or ()]
    assert 3 == len(script.turns_of("fix-lexer", "go") or ())
    assert script.turns_of("other", "go") is None


def test_an_actor_whose_id_nobody_knows_is_found_by_its_prompt() -> None:
    script = read_script(
        """
        [[actor]]
        id = "*"
        prompt = "write one*"
        turn = [{ text = "one" }]
        [[actor]]
        id = "*"
        turn = [{ text = "whoever" }]
        """,
        "s.toml",
    )

    assert ["one"] == [turn.text for turn in script.turns_of("worker-1", "write one\nplease") or ()]
    assert ["whoever"] == [turn.text for turn in script.turns_of("worker-1", "write two") or ()]


def test_a_subagent_is_found_by_its_prompt() -> None:
    script = read_script(FULL, "s.toml")

    assert ["They pass."] == [turn.text for turn in script.subagents_turns("fix-lexer", "run the tests\nplease") or ()]
    assert script.subagents_turns("fix-lexer", "something else") is None


def test_subagent_turns_need_no_table_of_their_own() -> None:
    script = read_script('[[actor]]\nid = "a"\n[[actor.subagent.turn]]\ntext = "any"', "s.toml")

    assert ["any"] == [turn.text for turn in script.subagents_turns("a", "whatever") or ()]


def test_an_empty_script_is_a_script() -> None:
    assert () == read_script("", "s.toml").actors


def test_all_problems_are_told_at_once_with_their_lines() -> None:
    script = '''\
nonsense = 1
[[actor]]
id = "a"
[[actor.turn]]
txt = "hello"
[[actor.turn]]
text = """
[[actor]] in a text
"""
delay_ms = "soon"
tools = [
  { name = "Bash", input = { command = "x" } },
  { nmae = "Bash" },
  { name = "Bash", input = { command = "{{actor.x}}" } },
]
[[actor.turn]]
error.status = 200
[[actor.subagent.turn]]
text = "ok"
[[actor.subagent.turn]]
text = " "
[[actor]]
id = "a"
'''

    assert [
        "s.toml:1: error: unknown key 'nonsense' in the script: known are actor, defaults",
        "s.toml:5: error: unknown key 'txt' in actor[0].turn[0]: did you mean 'text'?",
        "s.toml:10: error: actor[0].turn[1].delay_ms: expected a whole number, got a text",
        "s.toml:13: error: unknown key 'nmae' in actor[0].turn[1].tools[1]: did you mean 'name'?",
        "s.toml:13: error: actor[0].turn[1].tools[1] needs a key 'name'",
        "s.toml:14: error: actor[0].turn[1].tools[2].input: {{actor.x}} has nothing inside it: write {{actor}}",
        "s.toml:17: error: actor[0].turn[2].error.status: expected a whole number >= 400",
        "s.toml:20: error: actor[0].subagent.turn[1]: an empty turn: give it text, tools or an error",
    ] == problems(script)


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("actor = 1", "s.toml:1: error: actor must be an array of tables"),
        ("actor = [1]", "s.toml:1: error: actor[0] must be a table, not a whole number"),
        ('actor = ["a"]', "s.toml:1: error: actor[0] must be a table, not a text"),
        ("[[actor]]", "s.toml:1: error: actor[0] needs a key 'id'"),
        ('[[actor]]\nid = "a"\n[[actor]]\nid = "a"', "is there twice"),
        ("defaults = 1", "s.toml:1: error: defaults must be a table, not a whole number"),
        ("[defaults]\nusage.input = -1", "s.toml:2: error: defaults.usage.input: must not be below 0"),
        ('[[actor]]\nid="a"\n[[actor.turn]]\ntext="x"\nerror={}', "an error comes instead of an answer"),
        (
            '[[actor]]\nid="a"\n[[actor.turn]]\nerror.headers={"bad name"="x"}',
            "s.toml:4: error: actor[0].turn[0].error.",
        ),
        ('[[actor]]\nid="a"\n[[actor.turn]]\nerror.headers={a="\\n"}', "holds printable ASCII only"),
        ("x = = 1", "s.toml:1: error: not TOML: Invalid value"),
        ('x = "', "s.toml: error: not TOML: Unterminated string"),
    ],
)
def test_a_problem_is_one_clear_sentence(script: str, problem: str) -> None:
    [told] = problems(script)

    assert problem in told


KEYS = st.text(min_size=1, max_size=8)
VALUES = st.recursive(
    st.text(max_size=12) | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_every_key_is_found_on_a_line_that_has_it(data: dict[str, object]) -> None:
    text = tomlkit.dumps(data)
    lines = text.split("\n")
    places = Places(text)

    for key in data:
        line = places.line((key,))
        assert line is not None
        assert tomlkit.key(key).as_string().strip('"') in lines[line - 1]
