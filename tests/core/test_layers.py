from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pitboss.core import layers
from pitboss.core.views import in_tree_order, run_view
from pitboss.model.run import ActorId, Status
from pitboss.model.tree import Envelope
from pitboss.model.views import ActorView, LayerView, LeaseView, RunView
from support.pictures import CART, DOCS, QUALITY, START, UNIT, grown, opened, settled, spawned, state_of, waiting

LEAD = ActorId("coordinator")


def view() -> RunView:
    return run_view(state_of(grown(Path("/runs"))))


def test_everyone_stands_below_whoever_leads_them_and_sub_leads_come_last() -> None:
    rows = [(actor.depth, actor.id, actor.name) for actor in view().actors]
    assert [
        (0, LEAD, "coordinator"),
        (1, CART, "cart"),
        (1, DOCS, "docs"),
        (1, QUALITY, "quality"),
        (2, UNIT, "worker-019ab004"),
    ] == rows


def test_the_layers_tell_their_money_caps_and_store() -> None:
    lead, quality = view().layers
    trunk = LeaseView(name="trunk", run_wide=False, holder=DOCS, acquired_at=START + 5, expires_at=START + 65)
    assert lead == LayerView(
        lead=LEAD,
        pool=LEAD,
        budget_usd=2.0,
        spent_usd=0.01,
        reserved_usd=0.6,
        left_usd=2.0 - 0.01 - 0.6,
        live_workers=1,
        max_workers=4,
        plan_required=False,
        plan_approved=False,
        keys=1,
        leases=(trunk,),
    )
    assert (0.5, 0.1, 1, 2, 0) == (
        quality.budget_usd,
        quality.reserved_usd,
        quality.live_workers,
        quality.max_workers,
        quality.keys,
    )
    assert not quality.is_shared
    assert ["gpu"] == [lease.name for lease in view().run_leases]


def test_a_sub_lead_without_an_envelope_shares_the_layer_above() -> None:
    facts = [fact for fact in grown(Path("/runs")) if getattr(fact, "actor", LEAD) in {LEAD, CART}]
    sharing = replace(spawned(QUALITY, "quality"), envelope=Envelope(read_down=True))
    lead, quality = run_view(state_of([*facts, sharing, spawned(UNIT, by=QUALITY)])).layers

    assert quality.is_shared
    assert (lead.budget_usd, lead.left_usd, lead.live_workers, lead.max_workers) == (
        quality.budget_usd,
        quality.left_usd,
        quality.live_workers,
        quality.max_workers,
    )


def test_a_flat_run_has_no_layers() -> None:
    assert () == run_view(state_of([opened(Path("/runs"), "a")])).layers


def test_what_is_waited_for_is_told_by_name() -> None:
    assert "waits for the end of cart or quality" == view().actors[0].doing


def test_whom_the_end_of_a_successful_lead_has_cancelled_does_not_count_as_failed() -> None:
    lead = replace(settled("coordinator"), role="lead")
    worker = replace(settled("w", Status.CANCELLED), role="worker", parent=LEAD)
    one = replace(view(), actors=(lead, worker))
    other = replace(view(), actors=(replace(lead, status=Status.FAILED), worker))

    assert (1, 0) == (one.succeeded, one.failed)
    assert (0, 2) == (other.succeeded, other.failed)


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_short_id_is_the_shortest_beginning_that_is_nobody_elses() -> None:
    short = layers.short_ids(["worker-019ab000-11", "worker-019ab000-12", "worker-0200", "sublead-0200ab", "cart"])
    assert {
        "worker-019ab000-11": "worker-019ab000-11",
        "worker-019ab000-12": "worker-019ab000-12",
        "worker-0200": "worker-0200",
        "sublead-0200ab": "sublead-0200",
        "cart": "cart",
    } == short


@given(st.lists(st.text("0123abc-", min_size=4, max_size=12), unique=True, max_size=12))
def test_no_two_actors_have_the_same_short_id_and_each_finds_its_own(rests: list[str]) -> None:
    ids = [f"worker-{rest}" for rest in rests]
    short = layers.short_ids(ids)
    for name in ids:
        assert name == short[name] or [name] == [other for other in ids if other.startswith(short[name])]


def test_a_label_that_two_have_names_neither() -> None:
    a, b, c = (ActorId(f"worker-{n}{n}{n}{n}0000") for n in "123")
    assert {a: "worker-1111", b: "worker-2222", c: "mine"} == layers.names({a: "same", b: "same", c: "mine"})
    assert "worker-1111" == layers.names({a: "lead", ActorId("lead"): ""})[a]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), unique_by=lambda pair: pair[0]))
def test_nobody_is_lost_whatever_the_records_say_of_parents(pairs: list[tuple[int, int]]) -> None:
    actors: list[ActorView] = [replace(waiting(str(name)), parent=ActorId(str(parent))) for name, parent in pairs]
    listed = in_tree_order(actors)
    assert sorted(actor.id for actor in actors) == sorted(actor.id for actor in listed)


def test_the_limit_of_the_whole_run_bounds_the_leads_layer_too() -> None:
    facts = grown(Path("/runs"))
    state = state_of(facts)
    poorer = replace(state, run=replace(state.spec, budget_usd=1.0))
    assert (1.0, 0.5) == tuple(layer.budget_usd for layer in run_view(poorer).layers)
