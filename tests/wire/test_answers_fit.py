"""What the core tells, as the wire sends it: no answer is too large for a model to see, and the rest is always had."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.model import calls as c
from pitboss.model.answers import LONGEST_ANSWER, Answer
from pitboss.model.calls import AnyCall
from pitboss.testing.doubles import Story, a_tree
from pitboss.wire.seat import Asked, Seat

SPOILED = ["x", '"', "\n", "\0", "é", "😀", '\\"\x01']
"""From one byte of JSON a character to six."""


def sent(story: Story, call: AnyCall, caller: str = "lead") -> dict[str, Any]:
    """The answer's structure as it travels; it must be an answer, and no apology for its size."""
    answer = story.calls(caller, call)
    assert isinstance(answer, Answer), answer
    return received(answer, call)


def received(answer: Answer, call: AnyCall) -> dict[str, Any]:
    payload: Any = Seat(()).payload(Asked("", 1, "tool", call), answer)["result"]
    assert not payload["isError"], payload["content"][0]["text"][:300]
    assert len(payload["content"][0]["text"].encode()) <= LONGEST_ANSWER
    told = payload["structuredContent"]
    assert isinstance(told, dict)
    return told


def at_work() -> Story:
    story = Story(a_tree(max_workers=None, budget_usd=None))
    story.working("lead")
    return story


def pieces(story: Story, form: Any) -> Iterator[str | list[int]]:
    offset: int | None = 0
    while offset is not None:
        entry = sent(story, c.KvGet(path="/shared/a", form=form, offset=offset))["entry"]
        yield entry["text"] if "text" in entry else entry["value"]
        offset = entry.get("truncated_at")


@pytest.mark.parametrize("spoiled", SPOILED)
@pytest.mark.parametrize("form", [None, "text", "bytes"])
@pytest.mark.parametrize("count", [1_000, 8_000, 12_000, 60_000])
def test_a_value_of_any_length_is_read_whole(spoiled: str, form: str | None, count: int) -> None:
    story, text = at_work(), (spoiled * count)[:count]
    story.calls("lead", c.KvSet(path="/shared/a", value=text))

    found = list(pieces(story, form))

    if isinstance(found[0], str):
        assert text == "".join(map(str, found))
    else:
        assert text.encode() == b"".join(bytes(piece) for piece in found if isinstance(piece, list))


@given(st.text(min_size=1, max_size=40), st.integers(1, 3_000))
def test_whatever_a_text_is_made_of(unit: str, times: int) -> None:
    story, text = at_work(), unit * times
    story.calls("lead", c.KvSet(path="/shared/a", value=text))
    assert text == "".join(map(str, pieces(story, "text")))


def test_a_wait_for_a_long_value_is_answered_with_its_beginning() -> None:
    story = at_work()
    story.calls("lead", c.KvSet(path="/shared/a", value="x" * 100_000))
    told = sent(story, c.KvWait(path="/shared/a", timeout_secs=1))
    assert "kv_get with offset" in told["note"]


def whole_list(story: Story, kind: type[Any], key: str, **arguments: object) -> list[dict[str, Any]]:
    offset: int | None = 0
    found: list[dict[str, Any]] = []
    while offset is not None:
        page = sent(story, kind(offset=offset, **arguments))
        found += page[key]
        offset = page.get("next_offset")
    return found


def test_long_lists_are_had_page_by_page() -> None:
    story = at_work()
    for number in range(300):
        story.calls("lead", c.SpawnWorker(prompt='"' * 500, label=f"worker {number}" + '"' * 40))
        story.calls("lead", c.KvSet(path=f"/shared/{number:03}/" + '"' * 500, value="x"))
        story.calls("lead", c.LeaseAcquire(name=f"lease-{number:03}" + '"' * 200, ttl_secs=60))
    assert 300 == len(whole_list(story, c.ListWorkers, "workers"))
    assert 300 == len(whole_list(story, c.KvList, "entries", glob="/shared/**"))
    assert 300 == len(whole_list(story, c.LeaseList, "leases"))


@pytest.mark.parametrize("spoiled", SPOILED)
def test_the_end_of_one_who_has_much_to_say_is_told(spoiled: str) -> None:
    story = at_work()
    worker = story.spawns("lead")
    said = (spoiled * 100_000)[:100_000]
    story.turn_ends(worker, final_message=said)
    story.gone(worker)
    if story.phases()[worker] == "tidying":
        story.tidied(worker)
    for call in (
        c.WaitForWorker(task_id=worker),
        c.WaitActor(actor_id=worker),
        c.WaitForAny(task_ids=[worker]),
        c.WorkerStatus(task_id=worker),
    ):
        told = sent(story, call)
        assert "more characters; an answer holds no more" in str(told) or isinstance(call, c.WorkerStatus)


@pytest.mark.parametrize("spoiled", SPOILED)
def test_the_end_of_a_sub_lead_is_told_too(spoiled: str) -> None:
    story = at_work()
    led = story.calls("lead", c.SpawnSublead(prompt="x", model="m", budget_usd=2.0, max_workers=3))
    assert isinstance(led, Answer)
    name = str(led.content["sublead_id"])
    story.working(name)
    story.turn_ends(name, final_message=(spoiled * 100_000)[:100_000])
    story.gone(name)
    if story.phases()[name] == "tidying":
        story.tidied(name)
    assert "more characters" in str(sent(story, c.WaitActor(actor_id=name)))
