"""Any order of calls: a state machine that holds a plain dict against the shared store.

The model knows nothing of paths, patterns or maps: it keeps what each key holds, who may read it, and every version a
key ever had. All hostile spellings of a path are ways of naming one of its keys.
"""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pitboss.core import paths, store
from pitboss.core.paths import Caller
from pitboss.core.store import Change, Limits, Store, Written
from pitboss.model import calls
from pitboss.model.answers import Answer, Refused
from support.kv import a_wait, content

MEMBERS = ("lead", "ann", "bob")
CALLERS = st.sampled_from([Caller(name, "lead") for name in (*MEMBERS, "")] + [Caller("root", "lead", overseer=True)])
KEYS = st.sampled_from(
    ["/ref/a", "/shared/a", "/shared/b/c", "/shared", "/leases/a", "/other/a", "/peer"]
    + [f"/peer/{name}{rest}" for name in MEMBERS for rest in ("", "/a", "/a/b")]
)
TEXTS = st.text(alphabet="aü€", max_size=6) | st.lists(st.integers(0, 255), max_size=6)
GLOBS = st.sampled_from(
    [
        "/**",
        "/*/*",
        "/shared/*",
        "/shared/**",
        "/peer/**",
        "/p*/**",
        "/[p]eer/*/a",
        "**/a",
        "/peer/self/**",
        "/peer/ann/*",
    ]
)
LIMITS = Limits(value_bytes=8, keys=5, total_bytes=24, remembered=4)


class Known(NamedTuple):
    data: bytes
    version: int
    by: str


@st.composite
def spelled(draw: st.DrawFn, key: str, caller: Caller) -> str:
    """One of the ways to write a path."""
    own = f"/peer/{caller.actor}"
    if caller.actor and (key == own or key.startswith(own + "/")) and draw(st.booleans()):
        key = "/peer/self" + key.removeprefix(own)
    slashes = st.sampled_from(["/", "//", "/./", "/././/"])
    return "".join(draw(slashes) + part for part in key.split("/")[1:]) + draw(st.sampled_from(["", "/", "/."]))


def may_read(caller: Caller, key: str) -> bool:
    parts = key.split("/")
    if parts[1] != "peer" or len(parts) < 3:
        return True
    return caller.overseer or caller.actor in {"lead", parts[2]}


def may_write(caller: Caller, key: str, override: bool) -> bool:
    parts = key.split("/")
    if caller.actor not in MEMBERS:
        return False
    allowed = {"shared": True, "ref": caller.actor == "lead"}
    if parts[1] == "peer" and len(parts) > 2:
        return parts[2] == caller.actor or (caller.actor == "lead" and override)
    return allowed.get(parts[1], False)


class Machine(RuleBasedStateMachine):
    """A store, and what a dict says of it."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(limits=LIMITS)
        self.changes: list[Change] = []
        self.known: dict[str, Known] = {}
        self.highest: dict[str, int] = {}
        self.at = 1000.0

    def do(
        self, caller: Caller, key: str, call: calls.KvSet | calls.KvCas | calls.KvDelete
    ) -> Written | Answer | Refused:
        self.at += 1
        before = self.store
        done = store.write(self.store, caller, call, self.at)
        assert may_write(caller, key, call.override_flag) == (
            not (isinstance(done, Refused) and done.code == "forbidden")
        )
        if isinstance(done, Written):
            assert done.change.path == key
            self.store = store.evolved(self.store, done.change)
            self.changes.append(done.change)
        else:
            assert before == self.store
        return done

    def room(self, key: str, data: bytes) -> bool:
        rest = sum(len(known.data) for path, known in self.known.items() if path != key)
        keys = len(self.known.keys() | {key})
        return len(data) <= 8 and (key in self.known or keys <= 5) and rest + len(data) <= 24

    def written(self, key: str, data: bytes, caller: Caller, version: object) -> None:
        assert isinstance(version, int)
        before = self.known.get(key)
        if before is not None:
            assert version == before.version + 1
        elif self.store.floor == 0:
            assert version == self.highest.get(key, 0) + 1
        assert version > self.highest.get(key, 0), "versions never restart"
        self.highest[key] = version
        self.known[key] = Known(data, version, caller.actor)

    @rule(data=st.data(), caller=CALLERS, key=KEYS, value=TEXTS, override=st.booleans())
    def set(self, data: st.DataObject, caller: Caller, key: str, value: str | list[int], override: bool) -> None:
        path = data.draw(spelled(key, caller))
        done = self.do(caller, key, calls.KvSet(path=path, value=value, override_flag=override))
        raw = value.encode() if isinstance(value, str) else bytes(value)
        if not may_write(caller, key, override):
            return
        assert self.room(key, raw) == isinstance(done, Written), done
        if isinstance(done, Written):
            self.written(key, raw, caller, done.answer.content["version"])

    @rule(data=st.data(), caller=CALLERS, key=KEYS, value=TEXTS, off=st.sampled_from([0, 0, 0, 1]))
    def cas(self, data: st.DataObject, caller: Caller, key: str, value: str | list[int], off: int) -> None:
        path = data.draw(spelled(key, caller))
        actual = self.known[key].version if key in self.known else 0
        done = self.do(caller, key, calls.KvCas(path=path, expected_version=actual + off, new_value=value))
        raw = value.encode() if isinstance(value, str) else bytes(value)
        if not may_write(caller, key, override=False):
            return
        if off and len(raw) <= 8:
            assert Answer({"ok": False, "current_version": actual}) == done
        else:
            assert self.room(key, raw) == isinstance(done, Written), done
        if isinstance(done, Written):
            assert done.answer.content["ok"] is True
            self.written(key, raw, caller, done.answer.content["current_version"])

    @rule(data=st.data(), caller=CALLERS, key=KEYS, expected=st.none() | st.integers(1, 3), override=st.booleans())
    def delete(self, data: st.DataObject, caller: Caller, key: str, expected: int | None, override: bool) -> None:
        path = data.draw(spelled(key, caller))
        done = self.do(caller, key, calls.KvDelete(path=path, expected_version=expected, override_flag=override))
        if not may_write(caller, key, override):
            return
        known = self.known.get(key)
        assert (known is not None and expected in {None, known.version}) == isinstance(done, Written)
        if isinstance(done, Written):
            del self.known[key]

    @rule(data=st.data(), caller=CALLERS, key=KEYS)
    def a_reader_sees_what_the_dict_holds_and_only_what_it_may(
        self, data: st.DataObject, caller: Caller, key: str
    ) -> None:
        path = data.draw(spelled(key, caller))
        found = store.read(self.store, caller, calls.KvGet(path=path))
        waited = store.waited(self.store, caller, a_wait(path))
        if not may_read(caller, key):
            assert isinstance(found, Refused)
            assert isinstance(waited, Refused)
            return
        known, entry = self.known.get(key), content(found)["entry"]
        assert (known is None) == (entry is None) == (waited is None)
        if known is not None:
            assert (list(known.data), known.version, known.by) == (
                entry["value"],
                entry["version"],
                entry["written_by"],
            )
            assert content(waited) == entry

    @rule(caller=CALLERS, glob=GLOBS)
    def a_pattern_shows_no_more_than_single_reads_would(self, caller: Caller, glob: str) -> None:
        found = store.listing(self.store, caller, calls.KvList(glob=glob))
        whole = paths.normalise_glob(glob, caller)
        if isinstance(found, Refused):
            assert not caller.is_lead
            return
        assert isinstance(whole, str)
        expected = [key for key in self.known if may_read(caller, key) and paths.fits(whole, key)]
        listed = [entry["path"] for entry in content(found)["entries"]]
        assert sorted(expected) == listed
        assert len(expected) == content(found)["total_matched"]
        for path in listed:
            assert content(store.read(self.store, caller, calls.KvGet(path=path)))["entry"] is not None
        woken = [key for key, entry in self.store.entries.items() if store.woken(caller, a_wait(glob), entry)]
        assert sorted(woken) == listed, "a wait is woken by what its list would show"

    @invariant()
    def sizes_are_exact(self) -> None:
        assert self.store.total_bytes == sum(len(known.data) for known in self.known.values()) <= 24
        assert {key: len(known.data) for key, known in self.known.items()} == {
            path: entry.size_bytes for path, entry in self.store.entries.items()
        }
        assert len(self.store.entries) <= 5
        assert len(self.store.last_versions) <= 4

    @invariant()
    def the_changes_alone_rebuild_the_store(self) -> None:
        rebuilt = Store(limits=LIMITS)
        for change in self.changes:
            rebuilt = store.evolved(rebuilt, change)
        assert rebuilt == self.store


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
