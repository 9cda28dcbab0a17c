"""A shared store under test: callers, a store that takes in what it grants, and answers unwrapped."""

from __future__ import annotations

from typing import Any

from pitboss.core import store
from pitboss.core.paths import Caller
from pitboss.core.store import Limits, Store, Written
from pitboss.model import arguments, calls
from pitboss.model.answers import Answer, Refused

LEAD = Caller("lead", "lead")
ANN = Caller("ann", "lead")
BOB = Caller("bob", "lead")
NOBODY = Caller("", "lead")


class Pit:
    """A store that takes in what it grants, one second later each time."""

    def __init__(self, **limits: int) -> None:
        self.store = Store(limits=Limits(**limits))
        self.at = 1000.0

    def write(self, caller: Caller, call: calls.KvSet | calls.KvCas | calls.KvDelete) -> dict[str, Any]:
        self.at += 1
        done = store.write(self.store, caller, call, self.at)
        if isinstance(done, Written):
            self.store = store.evolved(self.store, done.change)
            done = done.answer
        return content(done)

    def set(self, path: str, value: arguments.StoreBytes = "x", caller: Caller = LEAD) -> dict[str, Any]:
        return self.write(caller, calls.KvSet(path=path, value=value))

    def cas(self, path: str, expected: int, value: str = "x", caller: Caller = LEAD) -> dict[str, Any]:
        return self.write(caller, calls.KvCas(path=path, expected_version=expected, new_value=value))

    def delete(self, path: str, expected: int | None = None, caller: Caller = LEAD) -> dict[str, Any]:
        return self.write(caller, calls.KvDelete(path=path, expected_version=expected))

    def get(self, path: str, caller: Caller = LEAD, **more: Any) -> dict[str, Any] | None:
        found = content(store.read(self.store, caller, calls.KvGet(path=path, **more)))["entry"]
        assert found is None or isinstance(found, dict)
        return found

    def listed(self, glob: str, caller: Caller = LEAD, offset: int = 0) -> dict[str, Any]:
        return content(store.listing(self.store, caller, calls.KvList(glob=glob, offset=offset)))

    def paths(self, glob: str, caller: Caller = LEAD) -> list[str]:
        return [entry["path"] for entry in self.listed(glob, caller)["entries"]]


def content(result: Answer | Refused | Written | None) -> dict[str, Any]:
    assert isinstance(result, Answer), result
    return result.content


def refusal(result: Answer | Refused | Written | None) -> Refused:
    assert isinstance(result, Refused), result
    assert result.message.isprintable()
    return result


def a_wait(path: str, version: int | None = None, form: arguments.Form | None = None) -> calls.KvWait:
    return calls.KvWait(path=path, timeout_secs=5, min_version=version, form=form)
