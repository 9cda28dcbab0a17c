"""The shared store: versions, rights, limits, lists and waits."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pitboss.core import store
from pitboss.core.paths import Caller
from pitboss.core.store import Store, Written
from pitboss.model import calls
from pitboss.model.answers import Refused
from pitboss.model.store import Entry, Value
from support.kv import ANN, BOB, LEAD, NOBODY, Pit, a_wait, content, refusal

KiB = 1024

# --- versions


def test_the_first_write_is_version_1_and_each_write_adds_one() -> None:
    pit = Pit()

    assert {"version": 1} == pit.set("/shared/a")
    assert {"version": 2} == pit.set("/shared/a")
    assert {"ok": True, "current_version": 3} == pit.cas("/shared/a", 2)
    assert {"version": 1} == pit.set("/shared/b")


def test_a_write_that_expected_another_version_changes_nothing_and_says_which_is_there() -> None:
    pit = Pit()
    pit.set("/shared/a", "old")

    assert {"ok": False, "current_version": 1} == pit.cas("/shared/a", 7, "new")
    assert {"ok": False, "current_version": 1} == pit.cas("/shared/a", 0, "new")
    assert {"ok": False, "current_version": 0} == pit.cas("/shared/b", 1, "new")
    assert {"ok": True, "current_version": 1} == pit.cas("/shared/c", 0)
    found = pit.get("/shared/a")
    assert found is not None
    assert "old" == found["text"]


def test_versions_go_on_after_a_removal() -> None:
    pit = Pit()
    pit.set("/shared/a")
    pit.set("/shared/a")

    assert {"deleted": True, "current_version": 0} == pit.delete("/shared/a")
    assert pit.get("/shared/a") is None
    assert {"ok": False, "current_version": 0} == pit.cas("/shared/a", 2)
    assert {"ok": True, "current_version": 3} == pit.cas("/shared/a", 0)


def test_a_removal_may_expect_a_version_and_may_find_nothing() -> None:
    pit = Pit()
    pit.set("/shared/a")

    assert {"deleted": False, "current_version": 1} == pit.delete("/shared/a", 2)
    assert {"deleted": True, "current_version": 0} == pit.delete("/shared/a", 1)
    assert {"deleted": False, "current_version": 0} == pit.delete("/shared/a")
    assert 0 == pit.store.total_bytes


def test_what_is_remembered_of_removed_keys_is_bounded_and_versions_still_never_restart() -> None:
    pit = Pit(remembered=3)
    for _ in range(5):
        pit.set("/shared/much")
    for name in ("much", "b", "c", "d"):
        pit.set(f"/shared/{name}")
        pit.delete(f"/shared/{name}")

    assert 0 == len(pit.store.last_versions)
    assert {"version": 7} == pit.set("/shared/much")
    assert {"ok": True, "current_version": 7} == pit.cas("/shared/b", 0)


def test_what_is_forgotten_later_does_not_lower_where_versions_begin() -> None:
    pit = Pit(remembered=1)
    for name in ("much", "much", "much", "b", "c", "d"):
        pit.set(f"/shared/{name}")
    for name in ("much", "b", "c", "d"):
        pit.delete(f"/shared/{name}")

    assert {"version": 4} == pit.set("/shared/much")


# --- rights and spellings


@pytest.mark.parametrize("path", ["/peer/bob/k", "//peer/bob/k", "/./peer/bob/k", "/peer//bob/k/", "/peer/bob/./k"])
def test_no_spelling_reaches_the_slot_of_another(path: str) -> None:
    pit = Pit()
    pit.set("/peer/self/k", "secret", caller=BOB)

    for result in (
        store.read(pit.store, ANN, calls.KvGet(path=path)),
        store.waited(pit.store, ANN, a_wait(path)),
        store.listing(pit.store, ANN, calls.KvList(glob=path)),
        store.write(pit.store, ANN, calls.KvSet(path=path, value="x", override_flag=True), 1.0),
        store.write(pit.store, ANN, calls.KvCas(path=path, expected_version=0, new_value="x"), 1.0),
        store.write(pit.store, ANN, calls.KvDelete(path=path), 1.0),
        store.read(pit.store, NOBODY, calls.KvGet(path=path)),
    ):
        assert "forbidden" == refusal(result).code
    found = pit.get(path)
    assert found is not None
    assert ("/peer/bob/k", "secret", "bob") == (found["path"], found["text"], found["written_by"])


@pytest.mark.parametrize("glob", ["/**", "/p*/**", "/[p]eer/**", "**/k", "/?eer/bob/*", "/*/*/k", "/**/bob/**"])
def test_no_pattern_shows_the_slot_of_another(glob: str) -> None:
    pit = Pit()
    pit.set("/peer/self/k", caller=BOB)

    assert [] == pit.paths(glob, ANN)
    assert 0 == pit.listed(glob, ANN)["total_matched"]
    assert store.waited(pit.store, ANN, a_wait(glob)) is None
    assert store.woken(ANN, a_wait(glob), pit.store.entries["/peer/bob/k"]) is None
    assert ["/peer/bob/k"] == pit.paths(glob, BOB) == pit.paths(glob, LEAD)


def test_spellings_of_one_path_are_one_key() -> None:
    pit = Pit()
    pit.set("/shared/./a/")

    assert {"version": 2} == pit.set("//shared/a")
    assert ["/shared/a"] == pit.paths("/**")


def test_a_lead_writes_and_removes_in_the_slot_of_another_with_the_flag() -> None:
    pit = Pit()
    for flag in (False, True):
        done = store.write(pit.store, LEAD, calls.KvSet(path="/peer/ann/k", value="x", override_flag=flag), 1.0)
        assert flag == isinstance(done, Written)
    pit.set("/peer/self/k", caller=ANN)
    for flag in (False, True):
        gone = store.write(pit.store, LEAD, calls.KvDelete(path="/peer/ann/k", override_flag=flag), 1.0)
        assert flag == isinstance(gone, Written)


def test_an_overseer_reads_everything_of_the_layer_and_writes_nothing() -> None:
    pit = Pit()
    pit.set("/peer/self/k", caller=BOB)
    root = Caller("root", "lead", overseer=True)

    assert pit.get("/peer/bob/k", root) is not None
    assert ["/peer/bob/k"] == pit.paths("/peer/**", root)
    assert "forbidden" == refusal(store.write(pit.store, root, calls.KvSet(path="/shared/a", value="x"), 1.0)).code


def test_the_run_itself_seeds_any_namespace_within_the_rules() -> None:
    seeded = store.seeded(Store(), "/resume/subleads", Value(text="{}"), "pitboss", 5.0)

    assert isinstance(seeded, Entry)
    assert ("/resume/subleads", 1, "pitboss", 2) == (seeded.path, seeded.version, seeded.written_by, seeded.size_bytes)
    for path, value in (("/ref/../x", Value(text="")), ("/ref/x", Value(data=b"\xff" * (KiB * KiB + 1)))):
        assert isinstance(store.seeded(Store(), path, value, "sub", 5.0), Refused)


# --- limits


def limited(pit: Pit, path: str, value: str, expected: int | None = None) -> object:
    call: calls.KvSet | calls.KvCas = calls.KvSet(path=path, value=value)
    if expected is not None:
        call = calls.KvCas(path=path, expected_version=expected, new_value=value)
    found = refusal(store.write(pit.store, LEAD, call, 1.0))
    assert "store_limit_exceeded" == found.code
    return found.extra["which"]


def test_each_limit_is_inclusive_and_names_itself() -> None:
    pit = Pit(value_bytes=4, keys=3, total_bytes=10)
    pit.set("/shared/a", "1234")
    pit.set("/shared/b", "1234")

    assert "value" == limited(pit, "/shared/c", "12345")
    assert "total" == limited(pit, "/shared/c", "123")
    pit.set("/shared/c", "12")
    assert "count" == limited(pit, "/shared/d", "")
    assert {"version": 2} == pit.set("/shared/a", "4321")
    pit.delete("/shared/c")
    assert {"version": 1} == pit.set("/shared/d", "12")


def test_limits_count_bytes_and_not_characters() -> None:
    assert "value" == limited(Pit(value_bytes=4), "/shared/a", "üüü")


def test_the_value_is_measured_before_its_version_is_looked_at_and_the_total_after() -> None:
    pit = Pit(value_bytes=4, total_bytes=4)
    pit.set("/shared/a", "1234")

    assert "value" == limited(pit, "/shared/a", "12345", expected=7)
    assert {"ok": False, "current_version": 0} == pit.cas("/shared/b", 7, "1234")
    assert "total" == limited(pit, "/shared/b", "1", expected=0)


def test_rights_come_before_limits_and_the_path_before_rights() -> None:
    pit = Pit(value_bytes=4)

    assert "forbidden" == refusal(store.write(pit.store, ANN, calls.KvSet(path="/ref/a", value="12345"), 1.0)).code
    assert "invalid_arg" == refusal(store.write(pit.store, ANN, calls.KvSet(path="ref/a", value="1"), 1.0)).code


def test_the_limits_of_a_store_are_those_of_the_contract() -> None:
    limits = Store().limits

    assert (1_048_576, 10_000, 67_108_864) == (limits.value_bytes, limits.keys, limits.total_bytes)


# --- lists


def test_a_list_is_in_the_order_of_its_bytes_and_without_values() -> None:
    pit = Pit()
    for name in ("b", "a", "é", "z", "B", "a/c", "a-b"):
        pit.set(f"/shared/{name}", "four")

    found = pit.listed("/**")
    assert [f"/shared/{name}" for name in ("B", "a", "a-b", "a/c", "b", "z", "é")] == pit.paths("/**")
    assert (False, 7) == (found["truncated"], found["total_matched"])
    assert {"path", "version", "written_by", "written_at", "size_bytes"} == set(found["entries"][0])
    assert 4 == found["entries"][0]["size_bytes"]


def test_a_long_list_comes_in_pages() -> None:
    pit = Pit()
    for number in range(2100):
        pit.set(f"/shared/{number:04}")

    pages = [pit.listed("/shared/*")]
    while "next_offset" in pages[-1]:
        pages.append(pit.listed("/shared/*", offset=pages[-1]["next_offset"]))

    found = [entry["path"] for page in pages for entry in page["entries"]]
    assert [f"/shared/{number:04}" for number in range(2100)] == found
    assert [True] * (len(pages) - 1) + [False] == [page["truncated"] for page in pages]
    assert {2100} == {page["total_matched"] for page in pages}
    assert [] == pit.listed("/shared/*", offset=3000)["entries"]


def test_a_pattern_without_meaning_lists_nothing_but_says_why() -> None:
    assert "bad glob" in refusal(store.listing(Store(), LEAD, calls.KvList(glob="/a**"))).message


# --- waits


def test_a_wait_for_what_is_there_is_over_at_once_and_gives_the_bare_entry() -> None:
    pit = Pit()
    pit.set("/shared/a", "hi")

    for version in (None, 0, 1):
        found = content(store.waited(pit.store, ANN, a_wait("//shared/a", version)))
        assert ("/shared/a", "hi", 1) == (found["path"], found["text"], found["version"])
    assert store.waited(pit.store, ANN, a_wait("/shared/a", 2)) is None
    assert store.waited(pit.store, ANN, a_wait("/shared/b")) is None


def test_a_write_wakes_those_it_concerns() -> None:
    pit = Pit()
    pit.set("/shared/a")
    entry = pit.store.entries["/shared/a"]

    assert content(store.woken(ANN, a_wait("/shared/a"), entry))
    assert content(store.woken(ANN, a_wait("/shared/*"), entry))
    assert store.woken(ANN, a_wait("/shared/a", 2), entry) is None
    assert content(store.woken(ANN, a_wait("/shared/a", 2), replace(entry, version=5)))
    assert store.woken(ANN, a_wait("/shared/b"), entry) is None


def test_of_many_keys_that_fit_a_wait_gives_the_one_written_last() -> None:
    pit = Pit()
    for name in ("a", "c", "b"):
        pit.set(f"/shared/{name}")

    assert "/shared/b" == content(store.waited(pit.store, ANN, a_wait("/shared/*")))["path"]
    pit.set("/shared/a")
    assert "/shared/a" == content(store.waited(pit.store, ANN, a_wait("/shared/?", 2)))["path"]


def test_a_wait_without_wildcards_is_for_one_key_whatever_it_is_called() -> None:
    pit = Pit()
    pit.set("/shared/a[1]?")

    assert content(store.waited(pit.store, ANN, a_wait("/shared/a[1]?")))
    assert "/peer/ann/x" == store.topic_of(ANN, a_wait("/peer/self/x"))
    odd = Caller("worker[", "lead")
    assert "/peer/worker[/x" == store.topic_of(odd, a_wait("/peer/self/x"))
    pit.set("/peer/self/x", caller=odd)
    assert content(store.waited(pit.store, odd, a_wait("/peer/self/x")))
    assert content(store.woken(odd, a_wait("/peer/self/x"), pit.store.entries["/peer/worker[/x"]))


def test_a_wait_is_authorised_before_it_waits() -> None:
    for path in ("/peer/bob/x", "/peer/**", "/peer/*/x"):
        for result in (
            store.waited(Store(), ANN, a_wait(path)),
            store.topic_of(ANN, a_wait(path)),
        ):
            assert isinstance(result, Refused)
            assert "strict peer visibility" in result.message


def test_a_wait_whose_time_is_over_says_for_what() -> None:
    found = refusal(store.timed_out(a_wait("/shared/a", 3)))

    assert "timeout" == found.code
    assert "/shared/a did not reach version 3 in 5 seconds" in found.message
