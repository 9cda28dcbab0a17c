from __future__ import annotations

import pytest

from pitboss.rehearsal.references import ReferenceFailed, Scene, complaints, render_table, render_text

SCENE = Scene(
    actor="fix-parser",
    cwd="/repo",
    model="claude-haiku-4-5",
    prompt="Fix it",
    results=["plain words", '{"task_id": "w-1", "n": 3, "tags": ["a", "b"]}', None],
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{{actor}} in {{ cwd }}", "fix-parser in /repo"),
        ("{{model}}: {{prompt}}", "claude-haiku-4-5: Fix it"),
        ("<{{result[0]}}>", "<plain words>"),
        ("<{{result[0].text}}>", "<plain words>"),
        ("{{result[1].json.task_id}}!", "w-1!"),
        ("{{result[-2].json.tags[1]}}", "b"),
        ("{{result[-2].json.tags[-1]}}", "b"),
        ("n={{result[1].json.n}}", "n=3"),
        ("{{result[1].json.tags}} ", '["a","b"] '),
        (r"\{{actor}} {{actor}}", "{{actor}} fix-parser"),
        ("{{ not a reference }} {{}} {x} }}", "{{ not a reference }} {{}} {x} }}"),
    ],
)
def test_a_reference_becomes_what_it_names(written: str, expected: str) -> None:
    assert expected == render_text(written, SCENE)


def test_a_reference_on_its_own_keeps_its_type_at_any_depth() -> None:
    written: dict[str, object] = {
        "n": "{{result[1].json.n}}",
        "deep": [{"tags": "{{result[1].json.tags}}"}],
        "flag": True,
    }

    assert {"n": 3, "deep": [{"tags": ["a", "b"]}], "flag": True} == render_table(written, SCENE)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("{{result[7]}}", "has 3 tool calls so far"),
        ("{{last}}", "that tool call has no answer"),
        ("{{result[0].json.x}}", "the answer is not JSON"),
        ("{{result[1].json.nope}}", "there is no 'nope' in"),
        ("{{result[1].json.tags[2]}}", "there is no 2 in"),
    ],
)
def test_a_reference_to_nothing_says_what_is_missing(written: str, reason: str) -> None:
    with pytest.raises(ReferenceFailed, match=reason):
        render_text(written, SCENE)


def test_a_missing_working_directory_is_named() -> None:
    scene = Scene(actor="a", cwd=None, model="m", prompt="p", results=[])

    with pytest.raises(ReferenceFailed, match="does not say where the session works"):
        render_text("{{cwd}}/x", scene)


@pytest.mark.parametrize(
    "good", ["{{last}}", "{{last.text}}", "{{last.json}}", "{{result[0].json.a.b[0]}}", r"\{{nonsense}}"]
)
def test_a_possible_reference_passes_without_complaint(good: str) -> None:
    assert [] == complaints({"command": [good]})


@pytest.mark.parametrize(
    ("bad", "advice"),
    [
        ("{{lst}}", "is not a reference: there are {{actor}}"),
        ("{{result}}", "does not say which tool call it means"),
        ("{{result.json}}", "does not say which tool call it means"),
        ("{{last.yaml}}", "comes nothing, .text or .json"),
        ("{{last.text.more}}", "comes nothing, .text or .json"),
        ("{{actor.name}}", "has nothing inside it"),
    ],
)
def test_an_impossible_reference_is_refused_before_the_run(bad: str, advice: str) -> None:
    [complaint] = complaints({"command": [{"deep": bad}]})

    assert advice in complaint
