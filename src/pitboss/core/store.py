"""The shared store of one layer: what a call reads, writes or waits for, and how a change alters the store.

Pure rules over frozen data. A write comes back as a change to note down and an answer to give; ``evolved`` takes the
change in, in a run and in its replay alike. No write costs more than O(log n). Which layer's store a call is about,
and when a waiting call is looked at again, is decided elsewhere; rights are those of ``core.paths``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import msgspec
from immutables import Map
from msgspec.structs import replace

from pitboss.core import entries, paths
from pitboss.core.bounds import first_that_fit
from pitboss.core.paths import Caller
from pitboss.model import calls
from pitboss.model.answers import Answer, Refused, refused
from pitboss.model.run import Frozen
from pitboss.model.store import Entry, Removed, Value

LIST_PAGE = 1000
"""So many entries a list has at most; the rest is had with ``offset``."""

Change: TypeAlias = Entry | Removed
"""What a write does to a store."""


class Limits(Frozen, frozen=True, kw_only=True):
    """How much a store takes."""

    value_bytes: int = 1024 * 1024
    keys: int = 10_000
    total_bytes: int = 64 * 1024 * 1024
    """Of all values together."""
    remembered: int = 100_000
    """Removed keys whose last version is remembered one by one."""


class Store(Frozen, frozen=True, kw_only=True):
    """The store of one layer."""

    entries: Map[str, Entry] = msgspec.field(default_factory=Map)
    total_bytes: int = 0
    """Of all values."""
    last_versions: Map[str, int] = msgspec.field(default_factory=Map)
    """Of removed keys: versions go on where they were."""
    floor: int = 0
    """No forgotten key ever had a higher version."""
    limits: Limits = Limits()


class Written(NamedTuple):
    """A write that is granted: the change to note down, and the answer to give after that."""

    change: Change
    answer: Answer


def read(store: Store, caller: Caller, call: calls.KvGet) -> Answer | Refused:
    """The entry at a path, or ``None`` in its place."""
    path = _readable(caller, call.path)
    if isinstance(path, Refused):
        return path
    entry = store.entries.get(path)
    if entry is None:
        return Answer({"entry": None})
    told = entries.show(entry, call.form, call.offset)
    return told if isinstance(told, Refused) else Answer({"entry": told})


def write(
    store: Store, caller: Caller, call: calls.KvSet | calls.KvCas | calls.KvDelete, at: float
) -> Written | Answer | Refused:
    """What a write comes to. An `Answer` alone means that nothing changes: another version, or nothing to remove."""
    path = paths.normalise(call.path, caller)
    if isinstance(path, Refused):
        return path
    if refusal := paths.unwritable(caller, path, override=call.override_flag):
        return refusal
    if isinstance(call, calls.KvDelete):
        return _removed(store, caller, path, call.expected_version, at)
    given = call.new_value if isinstance(call, calls.KvCas) else call.value
    value = entries.taken(given, call.json)
    if isinstance(value, Refused):
        return value
    size = value.size
    if too_large := _too_large(store, size):
        return too_large
    actual = _version(store, path)
    if isinstance(call, calls.KvCas) and call.expected_version != actual:
        return Answer({"ok": False, "current_version": actual})
    entry = _entry(store, path, value, size, caller.actor, at)
    if isinstance(entry, Refused):
        return entry
    if isinstance(call, calls.KvCas):
        return Written(entry, Answer({"ok": True, "current_version": entry.version}))
    return Written(entry, Answer({"version": entry.version}))


def seeded(store: Store, path: str, value: Value, by: str, at: float) -> Entry | Refused:
    """The entry that the run itself writes, whatever the rights, such as the ``initial_ref`` of a sub-lead."""
    whole = paths.normalise(path, Caller(by, by))
    if isinstance(whole, Refused):
        return whole
    size = value.size
    return _too_large(store, size) or _entry(store, whole, value, size, by, at)


def listing(store: Store, caller: Caller, call: calls.KvList) -> Answer | Refused:
    """The entries that fit a pattern and that ``caller`` may read, without values, by path, a page at a time."""
    glob = _readable(caller, call.glob, glob=True)
    if isinstance(glob, Refused):
        return glob
    # UTF-8 sorts as its code points do, so this is the order of the bytes.
    found = sorted(entry.path for entry in _matching(store, caller, glob))
    listed = [entries.meta(store.entries[path]) for path in found[call.offset : call.offset + LIST_PAGE]]
    page = first_that_fit(listed)
    end = call.offset + len(page)
    told: dict[str, object] = {
        "entries": page,
        "truncated": end < len(found),
        "total_matched": len(found),
    }
    if end < len(found):
        told["next_offset"] = end
    return Answer(told)


def waited(store: Store, caller: Caller, call: calls.KvWait) -> Answer | Refused | None:
    """The answer to a wait that is fulfilled already, ``None`` while it is not.

    Of several keys that fit a pattern, the one written last.
    """
    topic = topic_of(caller, call)
    if isinstance(topic, Refused):
        return topic
    if paths.is_glob(call.path):
        found: Iterable[Entry] = _matching(store, caller, topic)
    else:
        exact = store.entries.get(topic)
        found = [] if exact is None else [exact]
    enough = (entry for entry in found if entry.version >= (call.min_version or 1))
    latest = max(enough, key=lambda entry: (entry.written_at, entry.path), default=None)
    return None if latest is None else _shown(latest, call)


def woken(caller: Caller, call: calls.KvWait, entry: Entry) -> Answer | Refused | None:
    """The answer to a wait that this new entry fulfils, else ``None``; costs nothing however large the store is."""
    topic = topic_of(caller, call)
    if isinstance(topic, Refused):
        return topic
    concerned = paths.fits(topic, entry.path) if paths.is_glob(call.path) else topic == entry.path
    fulfilled = concerned and paths.may_read(caller, entry.path) and entry.version >= (call.min_version or 1)
    return _shown(entry, call) if fulfilled else None


def topic_of(caller: Caller, call: calls.KvWait) -> str | Refused:
    """What a wait is for, normalised and authorised: a path, or a pattern. Waits can be kept in order by it."""
    return _readable(caller, call.path, glob=paths.is_glob(call.path))


def timed_out(call: calls.KvWait) -> Refused:
    """The answer to a wait whose time is over."""
    message = (
        f"timeout: {paths.shown(call.path)} did not reach version {call.min_version or 1} in {call.timeout_secs} "
        f"seconds; look with kv_list, or wait again."
    )
    return refused("timeout", message)


def evolved(store: Store, change: Change) -> Store:
    """The store after a change."""
    before = store.entries.get(change.path)
    total = store.total_bytes - (0 if before is None else before.size_bytes)
    match change:
        case Entry():
            forgotten = store.last_versions
            return replace(
                store,
                entries=store.entries.set(change.path, change),
                total_bytes=total + change.size_bytes,
                last_versions=forgotten.delete(change.path) if change.path in forgotten else forgotten,
            )
        case Removed():
            if before is None:
                return store
            last, floor = store.last_versions.set(change.path, change.last_version), store.floor
            if len(last) > store.limits.remembered:
                # Memory is bounded: from now on keys we know nothing of begin above all that were forgotten.
                last, floor = Map(), max(floor, *last.values())
            kept = store.entries.delete(change.path)
            return replace(store, entries=kept, total_bytes=total, last_versions=last, floor=floor)


def _readable(caller: Caller, path: str, *, glob: bool = False) -> str | Refused:
    whole = paths.normalise_glob(path, caller) if glob else paths.normalise(path, caller)
    if isinstance(whole, Refused):
        return whole
    return paths.unreadable(caller, whole) or whole


def _matching(store: Store, caller: Caller, glob: str) -> Iterable[Entry]:
    """Entries that fit and may be read: a pattern never shows more than its reader could read one by one."""
    return (entry for path, entry in store.entries.items() if paths.fits(glob, path) and paths.may_read(caller, path))


def _shown(entry: Entry, call: calls.KvWait) -> Answer | Refused:
    told = entries.show(entry, call.form)
    return told if isinstance(told, Refused) else Answer(told)


def _version(store: Store, path: str) -> int:
    entry = store.entries.get(path)
    return 0 if entry is None else entry.version


def _too_large(store: Store, size: int) -> Refused | None:
    if size <= store.limits.value_bytes:
        return None
    message = (
        f"store limit exceeded: the value has {size} bytes, and at most {store.limits.value_bytes} are allowed; write "
        f"it to a file and store its path."
    )
    return refused("store_limit_exceeded", message, which="value")


def _entry(store: Store, path: str, value: Value, size: int, by: str, at: float) -> Entry | Refused:
    """The next version of a key, if there is room for it."""
    before = store.entries.get(path)
    limits = store.limits
    if before is None and len(store.entries) >= limits.keys:
        message = f"store limit exceeded: it has {limits.keys} keys already; remove some with kv_delete."
        return refused("store_limit_exceeded", message, which="count")
    if store.total_bytes - (0 if before is None else before.size_bytes) + size > limits.total_bytes:
        message = (
            f"store limit exceeded: all values together may have {limits.total_bytes} bytes; remove some with "
            f"kv_delete, or write the value to a file and store its path."
        )
        return refused("store_limit_exceeded", message, which="total")
    last = store.last_versions.get(path, store.floor) if before is None else before.version
    return Entry(path=path, value=value, version=last + 1, written_by=by, written_at=at, size_bytes=size)


def _removed(store: Store, caller: Caller, path: str, expected: int | None, at: float) -> Written | Answer:
    entry = store.entries.get(path)
    if entry is None or expected not in {None, entry.version}:
        return Answer({"deleted": False, "current_version": _version(store, path)})
    removed = Removed(path=path, last_version=entry.version, removed_by=caller.actor, removed_at=at)
    return Written(removed, Answer({"deleted": True, "current_version": 0}))
