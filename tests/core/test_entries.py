"""Values of the shared store: what can be stored, how an answer shows it, and how a long one comes in pieces."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pitboss.core import store
from pitboss.core.store import Store
from pitboss.model import arguments, calls
from pitboss.model.answers import LONGEST_ANSWER, Instant
from pitboss.model.store import Entry, Removed, Value
from support.kv import LEAD, Pit, refusal

KiB = 1024


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("", Value(text="")),
        ("text", Value(text="text")),
        ([], Value(text="")),
        ([104, 105], Value(text="hi")),
        ([255, 0], Value(data=b"\xff\x00")),
    ],
)
def test_a_value_is_text_or_an_array_of_bytes(given: arguments.StoreBytes, stored: Value) -> None:
    pit = Pit()
    pit.set("/shared/a", given)

    assert stored == pit.store.entries["/shared/a"].value


@pytest.mark.parametrize(
    ("given", "stored"), [({"a": [1, None]}, '{"a":[1,null]}'), (False, "false"), ("", '""'), (0, "0")]
)
def test_json_is_stored_as_its_compact_text(given: arguments.JsonValue, stored: str) -> None:
    pit = Pit()
    pit.write(LEAD, calls.KvSet(path="/shared/a", json=given))
    pit.write(LEAD, calls.KvCas(path="/shared/a", expected_version=1, json=given))

    assert (stored, 2) == (pit.store.entries["/shared/a"].value.text, pit.store.entries["/shared/a"].version)
    found = pit.get("/shared/a", form="json")
    assert found is not None
    assert given == found["json"]
    assert not {"value", "text"} & set(found)


def too_deep() -> list[Any]:
    nest: list[Any] = []
    for _ in range(50_000):
        nest = [nest]
    return nest


@pytest.mark.parametrize(
    "call",
    [
        calls.KvSet(path="/shared/a"),
        calls.KvSet(path="/shared/a", value="x", json=1),
        calls.KvSet(path="/shared/a", value="\ud800"),
        calls.KvSet(path="/shared/a", value=[256]),
        calls.KvSet(path="/shared/a", value=[-1]),
        calls.KvSet(path="/shared/a", json={"a": "\ud800"}),
        calls.KvSet(path="/shared/a", json=too_deep()),
        calls.KvCas(path="/shared/a", expected_version=0),
        calls.KvCas(path="/shared/a", expected_version=0, new_value="x", json=1),
    ],
)
def test_what_cannot_be_stored_is_refused(call: calls.KvSet | calls.KvCas) -> None:
    assert "invalid_arg" == refusal(store.write(Store(), LEAD, call, 1.0)).code


def test_an_entry_is_shown_as_bytes_and_text_with_all_that_is_known_of_it() -> None:
    pit = Pit()
    pit.set("/shared/a", "hü")

    assert {
        "path": "/shared/a",
        "value": [104, 195, 188],
        "text": "hü",
        "version": 1,
        "written_by": "lead",
        "written_at": 1001.0,
        "size_bytes": 3,
    } == pit.get("/shared/a")


def test_bytes_that_are_no_text_have_no_text() -> None:
    pit = Pit()
    pit.set("/shared/a", [255])
    found = pit.get("/shared/a")

    assert found is not None
    assert ([255], False) == (found["value"], "text" in found)
    for form in ("text", "json"):
        result = store.read(pit.store, LEAD, calls.KvGet(path="/shared/a", form=form))
        assert ("invalid_arg", 1) == (refusal(result).code, refusal(result).extra["current_version"])


def test_times_in_an_answer_are_found_by_their_type() -> None:
    pit = Pit()
    pit.write(LEAD, calls.KvSet(path="/shared/a", json={"written_at": 1.5}))
    found = pit.get("/shared/a", form="json")

    assert found is not None
    assert isinstance(found["written_at"], Instant)
    plain = msgspec.to_builtins(found, enc_hook=lambda at: f"at {float(at)}")
    assert ("at 1001.0", {"written_at": 1.5}) == (plain["written_at"], plain["json"])


def test_a_large_text_comes_as_text_alone_and_says_so() -> None:
    pit = Pit()
    pit.set("/shared/a", "x" * 7_000)
    pit.set("/shared/b", "x" * 9_000)
    small, large = pit.get("/shared/a"), pit.get("/shared/b")

    assert small is not None
    assert large is not None
    assert (7_000, 7_000) == (len(small["value"]), len(small["text"]))
    assert (False, 9_000) == ("value" in large, len(large["text"]))
    assert "form bytes" in large["note"]


@pytest.mark.parametrize("form", [None, "text", "bytes"])
@pytest.mark.parametrize(
    "value", ["ü€😀x" * 20_000, "x" + "😀" * 40_000, "y" * (64 * KiB), '"\n' * 50_000, "\0" * 40_000, [255, 1] * 30_000]
)
def test_the_pieces_of_a_long_value_are_the_value(value: arguments.StoreBytes, form: arguments.Form | None) -> None:
    if form == "text" and not isinstance(value, str):
        return
    pit = Pit()
    pit.set("/shared/a", value)
    whole, offset = b"", 0
    while True:
        found = pit.get("/shared/a", form=form, offset=offset)
        assert found is not None
        assert offset == found.get("offset", 0)
        piece = found["text"].encode() if "text" in found else bytes(found["value"])
        assert len(msgspec.json.encode(found, enc_hook=str)) <= LONGEST_ANSWER
        whole += piece
        if "truncated_at" not in found:
            break
        assert f"offset {found['truncated_at']}" in found["note"]
        offset = found["truncated_at"]

    assert whole == pit.store.entries["/shared/a"].value.raw


def test_an_offset_inside_a_character_goes_back_to_its_beginning() -> None:
    pit = Pit()
    pit.set("/shared/a", "a😀b")
    found = pit.get("/shared/a", offset=3)

    assert found is not None
    assert ("😀b", list("😀b".encode()), 1) == (found["text"], found["value"], found["offset"])
    beyond = pit.get("/shared/a", offset=99)
    assert beyond is not None
    assert ("", 6) == (beyond["text"], beyond["size_bytes"])


def test_json_is_never_cut() -> None:
    pit = Pit()
    pit.write(LEAD, calls.KvSet(path="/shared/a", json="x" * (64 * KiB)))

    for more in (0, 1):
        result = store.read(pit.store, LEAD, calls.KvGet(path="/shared/a", form="json", offset=more))
        assert "form text" in refusal(result).message


def test_a_value_is_one_thing() -> None:
    with pytest.raises(ValueError, match="either text or data"):
        Value()
    with pytest.raises(ValueError, match="either text or data"):
        Value(text="", data=b"")


def test_what_is_noted_down_of_a_change_survives_the_journal() -> None:
    pit = Pit()
    pit.set("/shared/a", [255, 0])
    entry = pit.store.entries["/shared/a"]
    removed = Removed(path="/shared/a", last_version=1, removed_by="lead", removed_at=1.0)

    assert entry == msgspec.json.decode(msgspec.json.encode(entry), type=Entry)
    assert removed == msgspec.json.decode(msgspec.json.encode(removed), type=Removed)
