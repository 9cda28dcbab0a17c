"""Any order of rivals: a state machine that holds what holders believe against the leases; never two holders."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pitboss.core import leases
from pitboss.core.leases import Granted, Key, Leases, Released
from pitboss.core.paths import Caller
from pitboss.model import calls
from pitboss.model.answers import Answer, Refused
from pitboss.model.store import RUN_WIDE, Lease, LeaseEnded
from support.desk import ANN, BOB, LEAD, SAM, SUB, Desk, content

CALLERS = st.sampled_from([LEAD, ANN, BOB, SUB, SAM])
NAMES = st.sampled_from(["a", "b"])


class Rivals(RuleBasedStateMachine):
    """Many who want the same few names, each believing what it was told until its time is over."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.believed: dict[Key, tuple[str, str, float]] = {}
        """Holder, id and end of what was granted and neither given back nor over."""
        self.fences: dict[Key, int] = {}
        self.changes: list[Lease | LeaseEnded] = []

    def take(self, done: Granted | Released | Answer | Refused) -> Answer | Refused:
        if isinstance(done, Granted):
            self.changes.append(done.lease)
        if isinstance(done, Released):
            self.changes.append(done.ended)
        return self.desk.taken(done)

    def granted(self, key: Key, lease: Lease) -> None:
        if self.fences.get(key, 0) != lease.fence or key not in self.believed:
            assert lease.fence > self.fences.get(key, 0), "a fencing number only grows"
        self.fences[key] = lease.fence
        self.believed[key] = (lease.holder, lease.lease_id, lease.expires_at)

    @rule(caller=CALLERS, name=NAMES, ttl=st.integers(1, 20))
    def acquire(self, caller: Caller, name: str, ttl: int) -> None:
        key, self.desk.ids = Key(caller.lead, name), self.desk.ids + 1
        call = calls.LeaseAcquire(name=name, ttl_secs=ttl)
        done = leases.acquire(self.desk.leases, caller, call, self.desk.at, f"id-{self.desk.ids}")
        assert (key not in self.believed) == isinstance(done, Granted), "never two holders"
        self.take(done)
        if isinstance(done, Granted):
            self.granted(key, done.lease)
        else:
            assert self.believed[key][0] == content(done)["holder"]

    @rule(caller=CALLERS, name=NAMES, ttl=st.integers(1, 20))
    def acquire_run_wide(self, caller: Caller, name: str, ttl: int) -> None:
        key, self.desk.ids = Key(RUN_WIDE, name), self.desk.ids + 1
        call = calls.RunLeaseAcquire(key=name, ttl_secs=ttl)
        done = leases.acquire_run_wide(self.desk.leases, caller, call, self.desk.at, f"id-{self.desk.ids}")
        mine = key not in self.believed or self.believed[key][0] == caller.actor
        assert mine == isinstance(done, Granted), "never two holders"
        self.take(done)
        if isinstance(done, Granted):
            assert done.lease.expires_at >= self.believed.get(key, ("", "", 0.0))[2]
            self.granted(key, done.lease)

    @rule(caller=CALLERS, number=st.integers(1, 40))
    def release(self, caller: Caller, number: int) -> None:
        call = calls.LeaseRelease(lease_id=f"id-{number}")
        done = leases.release(self.desk.leases, caller, call, self.desk.at)
        mine = [
            key
            for key, (holder, lease_id, _) in self.believed.items()
            if (holder, lease_id, key.scope) == (caller.actor, call.lease_id, caller.lead)
        ]
        assert bool(mine) == isinstance(done, Released)
        self.take(done)
        for key in mine:
            del self.believed[key]

    @rule(caller=CALLERS, name=NAMES)
    def release_run_wide(self, caller: Caller, name: str) -> None:
        key = Key(RUN_WIDE, name)
        done = leases.release_run_wide(self.desk.leases, caller, calls.RunLeaseRelease(key=name), self.desk.at)
        mine = key in self.believed and self.believed[key][0] == caller.actor
        assert mine == content(self.take(done))["released"] == isinstance(done, Released)
        if mine:
            del self.believed[key]

    @rule(secs=st.sampled_from([0.5, 1.0, 5.0, 30.0]))
    def time_passes(self, secs: float) -> None:
        self.desk.at += secs
        self.believed = {key: held for key, held in self.believed.items() if held[2] > self.desk.at}

    @rule()
    def what_is_over_is_noted_down(self) -> None:
        for lease in leases.expired(self.desk.leases, self.desk.at):
            self.changes.append(leases.end_of(lease, "expired"))
            self.desk.end(lease)
        assert set(self.desk.leases.held) == set(self.believed)

    @rule(caller=CALLERS)
    def an_actor_ends(self, caller: Caller) -> None:
        for lease in leases.held_by(self.desk.leases, caller.actor):
            self.changes.append(leases.end_of(lease, "holder_ended"))
            self.desk.end(lease)
        self.believed = {key: held for key, held in self.believed.items() if held[0] != caller.actor}

    @invariant()
    def the_list_is_what_the_holders_believe(self) -> None:
        for caller in (LEAD, ANN, SUB):
            expected = {
                (key.name, key.scope == RUN_WIDE, holder, end)
                for key, (holder, _, end) in self.believed.items()
                if key.scope in {caller.lead, RUN_WIDE}
            }
            told = self.desk.listed(caller)
            assert expected == {(it["name"], it["run_wide"], it["holder"], it["expires_at"]) for it in told}
            assert len(expected) == len(told)

    @invariant()
    def the_indexes_are_exact_and_the_changes_alone_rebuild_them(self) -> None:
        held = self.desk.leases.held
        assert {lease.lease_id: key for key, lease in held.items()} == dict(self.desk.leases.keys)
        assert min((lease.expires_at for lease in held.values()), default=None) == leases.next_expiry(self.desk.leases)
        rebuilt = Leases()
        for change in self.changes:
            rebuilt = leases.evolved(rebuilt, change)
        assert rebuilt == self.desk.leases


TestRivals = Rivals.TestCase
TestRivals.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
