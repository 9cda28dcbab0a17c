"""Leases: what an acquire, a release and the end of a lease come to."""

from __future__ import annotations

import msgspec
import pytest

from pitboss.core import leases
from pitboss.core.leases import Granted, Key, Leases
from pitboss.core.paths import Caller
from pitboss.model import calls
from pitboss.model.answers import Answer, Instant
from pitboss.model.store import RUN_WIDE, Lease, LeaseEnded
from support.desk import ANN, BOB, LEAD, NOBODY, OVERSEER, SAM, SUB, Desk, content, refusal

# --- leases of a layer


def test_a_free_name_is_granted_with_all_that_its_holder_needs() -> None:
    expected = {"acquired": True, "lease_id": "id-1", "expires_at": Instant(1010.0), "holder": "ann", "fence": 1}

    assert expected == Desk().acquire(ANN)


def test_a_held_name_is_refused_without_an_error_and_with_its_holder() -> None:
    desk = Desk()
    desk.acquire(ANN)

    expected = {
        "acquired": False,
        "lease_id": None,
        "expires_at": None,
        "holder": "ann",
        "held_until": Instant(1010.0),
    }
    assert expected == desk.acquire(BOB)


def test_its_holder_cannot_take_it_twice_but_is_told_the_id_it_may_have_lost() -> None:
    desk = Desk()
    desk.acquire(ANN)
    again = desk.acquire(ANN)

    assert (False, None) == (again["acquired"], again["lease_id"])
    assert "id-1" in again["note"]
    assert "note" not in desk.acquire(BOB)


def test_a_lease_is_over_at_its_last_instant_and_not_before() -> None:
    desk = Desk()
    desk.acquire(ANN)

    desk.at = 1009.999
    assert not desk.acquire(BOB)["acquired"]
    desk.at = 1010.0
    assert desk.acquire(BOB)["acquired"]


def test_layers_do_not_share_names() -> None:
    desk = Desk()

    assert desk.acquire(ANN)["acquired"]
    assert desk.acquire(SAM)["acquired"]
    assert isinstance(desk.acquire_run_wide(BOB, "build"), Answer)


def test_a_lease_given_back_is_free_at_once() -> None:
    desk = Desk()
    desk.acquire(ANN)

    assert {"ok": True} == content(desk.release(ANN, "id-1"))
    assert desk.acquire(BOB)["acquired"]


def test_a_lease_is_given_back_by_its_holder_alone_and_once() -> None:
    desk = Desk()
    desk.acquire(ANN)

    for caller in (BOB, LEAD, NOBODY):
        found = refusal(desk.release(caller, "id-1"))
        assert ("forbidden", True) == (found.code, "only the holder can release" in found.message)
    for caller in (SAM, SUB, OVERSEER):
        assert "not held or already released" in refusal(desk.release(caller, "id-1")).message
    content(desk.release(ANN, "id-1"))
    found = refusal(desk.release(ANN, "id-1"))
    assert ("forbidden", True) == (found.code, "not held or already released" in found.message)


def test_a_lease_whose_time_is_over_cannot_be_given_back_whether_or_not_another_has_it() -> None:
    desk = Desk()
    desk.acquire(ANN)
    desk.at = 1010.0

    assert "not held" in refusal(desk.release(ANN, "id-1")).message
    desk.acquire(BOB)
    assert "not held" in refusal(desk.release(ANN, "id-1")).message


def test_the_id_of_a_run_wide_lease_does_not_give_it_back() -> None:
    desk = Desk()
    desk.acquire_run_wide(ANN)

    assert "push is a lease of the whole run: use run_lease_release." == refusal(desk.release(ANN, "id-1")).message
    assert "not held" in refusal(desk.release(BOB, "id-1")).message


# --- leases of the run


def test_a_run_wide_lease_is_one_for_all_layers() -> None:
    desk = Desk()
    expected = {"acquired": True, "key": "push", "holder": "ann", "expires_at": Instant(1010.0), "fence": 1}
    assert expected == content(desk.acquire_run_wide(ANN))

    found = refusal(desk.acquire_run_wide(SAM))
    assert ("conflict", True) == (found.code, "currently held by ann" in found.message)
    assert {"holder": "ann", "expires_at": Instant(1010.0)} == found.extra


def test_its_holder_renews_it_and_never_brings_its_end_nearer() -> None:
    desk = Desk()
    desk.acquire_run_wide(ANN, ttl=10)
    desk.at = 1005.0

    renewed = content(desk.acquire_run_wide(ANN, ttl=10))
    assert (1015.0, 1) == (renewed["expires_at"], renewed["fence"])
    assert 1015.0 == content(desk.acquire_run_wide(ANN, ttl=1))["expires_at"]
    assert (1000.0, "id-1") == (desk.listed(ANN)[0]["acquired_at"], desk.listed(ANN)[0]["lease_id"])


def test_who_takes_its_own_lease_anew_after_its_end_has_a_new_acquisition() -> None:
    desk = Desk()
    desk.acquire_run_wide(ANN)
    desk.at = 1010.0

    assert 2 == content(desk.acquire_run_wide(ANN))["fence"]
    assert 1010.0 == desk.listed(ANN)[0]["acquired_at"]


def test_a_run_wide_release_says_whether_it_was_the_callers() -> None:
    desk = Desk()
    desk.acquire_run_wide(ANN)

    assert [False, False, True, False] == [
        desk.release_run_wide(caller)["released"] for caller in (BOB, NOBODY, ANN, ANN)
    ]
    desk.acquire_run_wide(ANN)
    desk.at = 1010.0
    assert {"released": False} == desk.release_run_wide(ANN)


# --- both


@pytest.mark.parametrize("caller", [NOBODY, OVERSEER])
def test_who_is_no_member_takes_no_leases(caller: Caller) -> None:
    call = calls.LeaseAcquire(name="a", ttl_secs=1)
    assert "forbidden" == refusal(leases.acquire(Leases(), caller, call, 1.0, "id")).code
    assert "forbidden" == refusal(Desk().acquire_run_wide(caller)).code


def test_a_name_that_no_json_can_carry_is_refused() -> None:
    call = calls.LeaseAcquire(name="\ud800", ttl_secs=1)

    assert "invalid_arg" == refusal(leases.acquire(Leases(), ANN, call, 1.0, "id")).code


def test_there_is_a_most_of_leases_and_those_that_are_over_do_not_count() -> None:
    desk = Desk()
    for number in range(leases.MOST):
        desk.acquire(ANN, f"n{number}", ttl=10 if number else 5)
    call = calls.LeaseAcquire(name="more", ttl_secs=1)

    found = refusal(leases.acquire(desk.leases, BOB, call, desk.at, "id"))
    assert ("store_limit_exceeded", "count") == (found.code, found.extra["which"])
    assert isinstance(leases.acquire(desk.leases, BOB, call, 1005.0, "id"), Granted)


def test_the_list_shows_the_layer_and_the_run_and_ids_to_their_holder_alone() -> None:
    desk = Desk()
    desk.acquire(BOB, "b")
    desk.acquire(ANN, "a", ttl=5)
    desk.acquire(SAM, "s")
    desk.acquire_run_wide(SAM, "push")

    assert [("push", True, "sam"), ("a", False, "ann"), ("b", False, "bob")] == [
        (told["name"], told["run_wide"], told["holder"]) for told in desk.listed(ANN)
    ]
    assert [None, "id-2", None] == [told.get("lease_id") for told in desk.listed(ANN)]
    assert {"name", "run_wide", "holder", "acquired_at", "expires_at", "fence"} == set(desk.listed(ANN)[0])
    desk.at = 1005.0
    assert ["push", "b"] == [told["name"] for told in desk.listed(ANN)]


def test_fencing_numbers_grow_for_every_name_and_survive_the_end_of_all_leases() -> None:
    desk = Desk()
    fences = []
    for caller in (ANN, BOB, ANN):
        told = desk.acquire(caller)
        fences.append(told["fence"])
        desk.release(caller, told["lease_id"])

    assert [1, 2, 3] == fences


def test_what_is_over_is_told_in_the_order_it_ended_and_when_to_look_next() -> None:
    desk = Desk()
    assert leases.next_expiry(desk.leases) is None
    desk.acquire(ANN, "late", ttl=20)
    desk.acquire(ANN, "soon", ttl=5)
    desk.acquire_run_wide(SAM, "run", ttl=10)

    assert 1005.0 == leases.next_expiry(desk.leases)
    assert () == leases.expired(desk.leases, 1004.9)
    over = leases.expired(desk.leases, 1010.0)
    assert ["soon", "run"] == [lease.name for lease in over]
    desk.end(*over)
    assert (1020.0, ()) == (leases.next_expiry(desk.leases), leases.expired(desk.leases, 1010.0))


def test_a_renewal_moves_the_time_to_look() -> None:
    desk = Desk()
    desk.acquire_run_wide(ANN, ttl=5)
    desk.acquire_run_wide(ANN, ttl=50)

    assert 1050.0 == leases.next_expiry(desk.leases)


def test_everything_an_actor_or_a_layer_holds_can_be_ended_with_it() -> None:
    desk = Desk()
    desk.acquire(SAM, "a")
    desk.acquire(SUB, "b")
    desk.acquire(ANN, "c")
    desk.acquire_run_wide(SAM, "push")

    assert ["push", "a"] == [lease.name for lease in leases.held_by(desk.leases, "sam")]
    assert ["a", "b"] == [lease.name for lease in leases.of_layer(desk.leases, "sub")]
    desk.end(*leases.held_by(desk.leases, "sam"))
    assert leases.is_free(desk.leases, Key("sub", "a"), desk.at)
    assert leases.is_free(desk.leases, Key(RUN_WIDE, "push"), desk.at)
    assert not leases.is_free(desk.leases, Key("sub", "b"), desk.at)


def test_the_late_end_of_an_overtaken_lease_does_not_touch_the_next_holder() -> None:
    desk = Desk()
    desk.acquire(ANN)
    old = desk.leases.held[Key("lead", "build")]
    desk.at = 1010.0
    desk.acquire(BOB)

    before = desk.leases
    desk.end(old)

    assert before == desk.leases


def test_a_waiting_acquire_whose_time_is_over_is_answered_like_one_that_did_not_wait() -> None:
    desk = Desk()
    call = calls.LeaseAcquire(name="build", ttl_secs=1, wait_secs=3)
    nothing = {"acquired": False, "lease_id": None, "expires_at": None}

    assert nothing == content(leases.timed_out(desk.leases, BOB, call, desk.at))
    desk.acquire(ANN)
    assert nothing | {"holder": "ann", "held_until": Instant(1010.0)} == content(
        leases.timed_out(desk.leases, BOB, call, desk.at)
    )


def test_what_is_noted_down_of_a_lease_survives_the_journal() -> None:
    desk = Desk()
    desk.acquire(ANN)
    lease = desk.leases.held[Key("lead", "build")]
    ended = leases.end_of(lease, "holder_ended")

    assert lease == msgspec.json.decode(msgspec.json.encode(lease), type=Lease)
    assert ended == msgspec.json.decode(msgspec.json.encode(ended), type=LeaseEnded)
