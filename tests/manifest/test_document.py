"""From bytes to tables, and back to lines."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from pitboss.errors import ManifestError
from pitboss.manifest.document import MAX_BYTES, read
from pitboss.manifest.positions import Path as KeyPath
from pitboss.manifest.positions import locate, place_at

HERE = Path(__file__).parent


def test_a_byte_order_mark_and_windows_line_ends_are_read_over() -> None:
    text = b'\xef\xbb\xbf[run]\r\nname = """a\r\nb"""\r\n'

    assert {"run": {"name": "a\nb"}} == read(text, "m").raw


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("a = { x = 1,\n y = 2,\n}", {"a": {"x": 1, "y": 2}}),
        (r'a = "\e\x41"', {"a": "\x1bA"}),
    ],
)
def test_toml_1_1_is_read(text: str, raw: object) -> None:
    assert raw == read(text, "m").raw


@pytest.mark.parametrize("text", ["a.b = 1\na = 2\n", "a = { x = 1, x = 2 }", "[a]\nb.c = 1\n[a.b]\nd = 1"])
def test_keys_that_clash_are_refused_by_whichever_parser_sees_them(text: str) -> None:
    with pytest.raises(ManifestError, match="not valid TOML"):
        read(text, "m")


def test_the_largest_manifest_is_read_and_one_byte_more_is_not() -> None:
    largest = b"#" * MAX_BYTES

    assert {} == read(largest, "m").raw
    with pytest.raises(ManifestError, match="larger than 8 MiB"):
        read(largest + b"#", "m")


def test_every_form_of_key_is_found_where_it_is_written() -> None:
    text = """\
# c
"a b".'c' = 1
[run] # comment = 1
name = "x = [" # hi
inline = { x = 1, y = { z = [1, { q = 2 }] } }
[[task]]
prompt = \"""
[fake]
k = 1 ""\\" \"""\"
env.FOO = '''[[no]]'''
[task.vars]
z = 1.5
when = 2020-01-01 12:30:00
[[task]]
list = [
  "a", # c ]
  [1, 2],
]
[[task.sub]]
k = 1
[[task.sub]]
k = 2
"""
    lines = {path: place_at(text, offset).line for path, offset in locate(text).items()}

    assert tomllib.loads(text)
    assert {
        ("a b",): 2,
        ("a b", "c"): 2,
        ("run",): 3,
        ("run", "name"): 4,
        ("run", "inline"): 5,
        ("run", "inline", "x"): 5,
        ("run", "inline", "y"): 5,
        ("run", "inline", "y", "z"): 5,
        ("run", "inline", "y", "z", 0): 5,
        ("run", "inline", "y", "z", 1): 5,
        ("run", "inline", "y", "z", 1, "q"): 5,
        ("task",): 6,
        ("task", 0): 6,
        ("task", 0, "prompt"): 7,
        ("task", 0, "env"): 10,
        ("task", 0, "env", "FOO"): 10,
        ("task", 0, "vars"): 11,
        ("task", 0, "vars", "z"): 12,
        ("task", 0, "vars", "when"): 13,
        ("task", 1): 14,
        ("task", 1, "list"): 15,
        ("task", 1, "list", 0): 16,
        ("task", 1, "list", 1): 17,
        ("task", 1, "list", 1, 0): 17,
        ("task", 1, "list", 1, 1): 17,
        ("task", 1, "sub"): 19,
        ("task", 1, "sub", 0): 19,
        ("task", 1, "sub", 0, "k"): 20,
        ("task", 1, "sub", 1): 21,
        ("task", 1, "sub", 1, "k"): 22,
    } == lines


def paths_in(value: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, item in items:
        yield from paths_in(item, (*path, part))


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
VALUE = st.recursive(
    TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.slow
@settings(deadline=None)
@given(st.dictionaries(TEXT, VALUE, max_size=4))
def test_every_key_of_any_document_has_a_place(raw: dict[str, object]) -> None:
    text = tomlkit.dumps(raw)
    try:
        document = read(text, "m")
    except ManifestError:  # tomlkit writes some odd keys that cannot be read back
        return

    assert set(paths_in(document.raw)) == set(locate(document.text))


@pytest.mark.parametrize("path", sorted(HERE.rglob("*.toml")), ids=lambda path: path.stem)
def test_every_key_of_our_manifests_has_a_place(path: Path) -> None:
    document = read(path.read_bytes(), str(path))

    assert set(paths_in(document.raw)) == set(locate(document.text))


@settings(deadline=None)
@given(st.text(alphabet="ab.=[]{},\"'# \n\\"))
def test_the_scanner_ends_on_any_text(text: str) -> None:
    assert locate(text) is not None
