"""Leases under test: who wants them, leases that take in what they grant, and answers unwrapped."""

from __future__ import annotations

from typing import Any

from pitboss.core import leases
from pitboss.core.leases import Granted, Leases, Released
from pitboss.core.paths import Caller
from pitboss.model import calls
from pitboss.model.answers import Answer, Refused
from pitboss.model.store import Lease

LEAD = Caller("lead", "lead")
ANN = Caller("ann", "lead")
BOB = Caller("bob", "lead")
SUB = Caller("sub", "sub")
SAM = Caller("sam", "sub")
NOBODY = Caller("", "lead")
OVERSEER = Caller("lead", "sub", overseer=True)


class Desk:
    """Leases that take in what they grant; every acquisition has a fresh id."""

    def __init__(self) -> None:
        self.leases = Leases()
        self.at = 1000.0
        self.ids = 0

    def taken(self, done: Granted | Released | Answer | Refused) -> Answer | Refused:
        if isinstance(done, Granted):
            self.leases = leases.evolved(self.leases, done.lease)
            return done.answer
        if isinstance(done, Released):
            self.leases = leases.evolved(self.leases, done.ended)
            return done.answer
        return done

    def acquire(self, caller: Caller, name: str = "build", ttl: int = 10) -> dict[str, Any]:
        self.ids += 1
        call = calls.LeaseAcquire(name=name, ttl_secs=ttl)
        return content(self.taken(leases.acquire(self.leases, caller, call, self.at, f"id-{self.ids}")))

    def acquire_run_wide(self, caller: Caller, key: str = "push", ttl: int = 10) -> Answer | Refused:
        self.ids += 1
        call = calls.RunLeaseAcquire(key=key, ttl_secs=ttl)
        return self.taken(leases.acquire_run_wide(self.leases, caller, call, self.at, f"id-{self.ids}"))

    def release(self, caller: Caller, lease_id: str) -> Answer | Refused:
        return self.taken(leases.release(self.leases, caller, calls.LeaseRelease(lease_id=lease_id), self.at))

    def release_run_wide(self, caller: Caller, key: str = "push") -> dict[str, Any]:
        call = calls.RunLeaseRelease(key=key)
        return content(self.taken(leases.release_run_wide(self.leases, caller, call, self.at)))

    def listed(self, caller: Caller) -> list[dict[str, Any]]:
        found = content(leases.listing(self.leases, caller, calls.LeaseList(), self.at))["leases"]
        assert isinstance(found, list)
        return found

    def end(self, *over: Lease) -> None:
        for lease in over:
            self.leases = leases.evolved(self.leases, leases.end_of(lease, "expired"))


def content(result: object) -> dict[str, Any]:
    assert isinstance(result, Answer), result
    return result.content


def refusal(result: object) -> Refused:
    assert isinstance(result, Refused), result
    return result
