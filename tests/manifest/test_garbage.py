"""Whatever is written, the answer is a run or a list of problems."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pitboss.errors import ManifestError
from pitboss.manifest.fields import fields_of
from pitboss.manifest.load import PathKind, Surroundings, load, reference
from pitboss.manifest.schema import Manifest

AROUND = Surroundings(
    environ={"X": "/x", "PITBOSS_NOTIFY_X": "x"},
    home="/home/ada",
    cwd="/work",
    cores=2,
    kind_of=lambda path: list(PathKind)[len(path) % len(PathKind)],
)

KEYS = sorted(
    {key.name for section in reference() for key in section.keys} | {*fields_of(Manifest), "promt", "x y", ""}
)
HEADERS = [section.header for section in reference()] + ["[task]", "[[lead]]", "[task.env]", "[lead.env]", "[[run]]"]
VALUES = [
    "1", "0", "-1", "1.5", "nan", "inf", "true", '""', '"a"', '"/x"', '"$X"', '"${NOPE}"', '"~"', "'{a} {'", "'\\{'",
    '"https://x.example/${PITBOSS_NOTIFY_X}"', '"path_b"', '"block"', '"log"', "[]", "[1]", '["Bash"]', "{}",
    '{ a = "b" }', "{ a = 1,\n }", "[{}]", "2020-01-01", "0xffffffffffffffffffffffff", '"\\u0000"', "[[[]]]", "x",
    '"""',
    '[{ kind = "log" }]', "1e400",
]  # fmt: skip

LINE = st.one_of(
    st.sampled_from(HEADERS),
    st.builds(
        lambda keys, value: f"{'.'.join(key if key.isidentifier() else repr(key) for key in keys)} = {value}",
        st.lists(st.sampled_from(KEYS), min_size=1, max_size=2),
        st.sampled_from(VALUES),
    ),
)


def answer(text: str | bytes) -> None:
    """Load ``text``; anything but a run or problems is a failure."""
    try:
        problems = load(text, "m.toml", AROUND).warnings
    except ManifestError as error:
        problems = error.problems
        severity = "error"
    else:
        severity = "warning"

    assert all(problem.severity == severity for problem in problems)
    assert problems or severity == "warning", "a refusal without a reason"


@settings(deadline=None)
@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    answer(text)


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_have_an_answer(data: bytes) -> None:
    answer(data)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@example("[[mcp_server]]\nvars.command = 1")
@given(st.lists(LINE, max_size=12).map("\n".join))
def test_any_mixture_of_headers_keys_and_values_has_an_answer(text: str) -> None:
    answer(text)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES)), max_size=8, unique_by=lambda pair: pair[0]))
def test_any_task_has_an_answer(pairs: list[tuple[str, str]]) -> None:
    keys = "\n".join(f"{key if key.isidentifier() else repr(key)} = {value}" for key, value in pairs)

    answer(f"[[task]]\n{keys}\n")
    answer(f"[lead]\n{keys}\n")
