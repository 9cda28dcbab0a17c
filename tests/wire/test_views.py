from __future__ import annotations

import json
from typing import cast

import msgspec
import pytest
from hypothesis import given
from msgspec.structs import replace

from pitboss.errors import WorldError
from pitboss.model.views import RunView
from pitboss.wire import views as wire
from pitboss.wire.control_events import parse_event
from support import sights
from support.pictures import picture, settled, waiting, working


def said(line: bytes | None) -> dict[str, object]:
    assert line is not None
    event = parse_event(line)
    assert event is not None
    return event


def applied(old: RunView, new: RunView) -> RunView:
    line = wire.encode_delta(old, new)
    return old if line is None else wire.apply(old, said(line))


@given(sights.views)
def test_a_snapshot_carries_a_whole_view(view: RunView) -> None:
    assert view == wire.apply(None, said(wire.encode_snapshot(view, "one")))


@given(sights.views, sights.views)
def test_a_delta_makes_any_view_of_any_other(old: RunView, new: RunView) -> None:
    assert new == applied(old, new)


@given(sights.changes())
def test_a_delta_makes_the_next_view_of_a_view(pair: tuple[RunView, RunView]) -> None:
    old, new = pair
    assert new == applied(old, new)


@given(sights.views)
def test_equal_views_have_no_delta(view: RunView) -> None:
    twin = msgspec.json.decode(msgspec.json.encode(view), type=RunView)
    assert None is wire.encode_delta(view, view)
    assert None is wire.encode_delta(view, twin)


@given(sights.changes())
def test_an_actor_that_is_not_told_of_stays_the_same_object(pair: tuple[RunView, RunView]) -> None:
    old, new = pair
    line = wire.encode_delta(old, new)
    if line is None:
        return
    told = {actor["id"] for actor in cast("list[dict[str, object]]", said(line)["actors"])}
    before = {actor.id: actor for actor in old.actors}

    assert all(actor is before[actor.id] for actor in applied(old, new).actors if actor.id not in told)


# --- what is said -----------------------------------------------------------------------------------------------------


def test_a_delta_names_only_what_has_changed() -> None:
    old = replace(picture(working("a"), working("b"), waiting("c")), cursor=7)
    new = replace(old, actors=(old.actors[0], settled("b"), old.actors[2]), spent_usd=0.5, cursor=9)

    event = said(wire.encode_delta(old, new))

    assert {"event": "delta", "from": 7, "cursor": 9, "run": {"spent_usd": 0.5}, "gone": []} == {
        key: value for key, value in event.items() if key != "actors"
    }
    assert ["b"] == [actor["id"] for actor in cast("list[dict[str, object]]", event["actors"])]


def test_a_newcomer_at_the_end_needs_no_order() -> None:
    old = picture(working("a"), working("b"))
    assert "order" not in said(wire.encode_delta(old, replace(old, actors=(*old.actors, waiting("c")))))


def test_a_newcomer_in_between_is_told_with_the_order() -> None:
    old = picture(working("a"), working("b"))
    new = replace(old, actors=(old.actors[0], waiting("c"), old.actors[1]))
    assert ["a", "c", "b"] == said(wire.encode_delta(old, new))["order"]


def test_that_only_the_cursor_has_moved_is_told_in_a_short_line() -> None:
    old = picture(*(working(f"t{n}") for n in range(50)))
    line = wire.encode_delta(old, replace(old, cursor=3))
    assert line is not None
    assert len(line) < 100


def test_what_a_later_pitboss_adds_is_passed_over() -> None:
    old = picture(working("a"))
    event = said(wire.encode_delta(old, replace(old, spent_usd=2.0, actors=(settled("a"),))))
    event["run"] = {"mood": "cheerful"} | cast("dict[str, object]", event["run"])
    event["actors"] = [{"hat": "red"} | cast("list[dict[str, object]]", event["actors"])[0]]

    assert 2.0 == wire.apply(old, event | {"weather": "fine"}).spent_usd


def test_a_name_that_is_no_utf8_does_not_end_the_show() -> None:
    view = replace(picture(waiting("a")), manifest_path="caf\udce9.toml")
    assert "caf�.toml" == wire.apply(None, said(wire.encode_snapshot(view, "one"))).manifest_path


@pytest.mark.parametrize(
    "spoilt",
    [
        {"from": 4},
        {"cursor": "soon"},
        {"cursor": None},
        {"run": {"spent_usd": "much"}},
        {"run": 5},
        {"actors": [{"id": "a"}]},
        {"gone": [4]},
        {"order": ["a", "nobody"]},
    ],
)
def test_what_makes_no_sense_is_refused(spoilt: dict[str, object]) -> None:
    old = picture(working("a"))
    event = said(wire.encode_delta(old, replace(old, spent_usd=2.0))) | spoilt
    with pytest.raises(WorldError, match="the run"):
        wire.apply(old, event)


def test_a_change_of_what_was_never_shown_is_refused() -> None:
    view = picture(working("a"))
    with pytest.raises(WorldError, match="had not shown"):
        wire.apply(None, said(wire.encode_delta(view, replace(view, spent_usd=2.0))))


def test_the_view_in_a_snapshot_is_plain_json() -> None:
    view = picture(settled("a"))
    line = json.loads(wire.encode_snapshot(view, "one"))
    assert json.loads(msgspec.json.encode(view)) == line["view"]
