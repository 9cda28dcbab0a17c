from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from pitboss.journal.reader import replay
from pitboss.model import facts as f
from pitboss.model import tree_facts as t
from pitboss.model.run import ActorId, Certificate, Usage
from pitboss.model.store import RUN_WIDE, Entry, Lease, LeaseEnded, Removed, Value
from pitboss.model.tree import ForActors, Message
from pitboss.surfaces import chronicle, client
from support.pictures import CART, QUALITY, RUN, START, UNIT, done, grown, spawned, write_run

LEASE = Lease(scope="lead", name="trunk", lease_id="l", holder="a", acquired_at=0, expires_at=9)
ENTRY = Entry(path="/shared/x", value=Value(text="yes"), version=2, written_by="a", written_at=0, size_bytes=3)
A = ActorId("a")

FACTS: list[tuple[f.AnyFact, str]] = [
    (spawned(CART, "cart"), "coordinator spawned it (cart), $0.10 set apart: Do cart."),
    (spawned(QUALITY), "coordinator made it its sub-lead, with $0.50 of its own: Do ."),
    (
        t.ActorPaused(at=0, actor=A, attempt=1, certificate=Certificate(exit_code=0), usage=Usage(), resume=True),
        "it is paused: its processes are gone, its place and its session are kept",
    ),
    (
        t.ActorPaused(at=0, actor=A, attempt=1, certificate=Certificate(exit_code=0), goes_on=True),
        "there is more: it goes on in its own place and session, with a new share",
    ),
    (
        t.ActorFrozen(at=0, actor=A, attempt=1, by="lead"),
        "lead froze it: its processes stand still, and so does its clock",
    ),
    (t.ActorThawed(at=0, actor=A, attempt=1), "it goes on"),
    (t.ActorContinued(at=0, actor=A, attempt=1, prompt="go", by="lead"), "lead lets it go on: go"),
    (
        t.MessageSent(at=0, actor=A, attempt=1, message=Message(text="not that", by="lead", interrupts=True)),
        "lead interrupts it to say: not that",
    ),
    (t.MessagesDelivered(at=0, actor=A, attempt=1), "it was told"),
    (
        t.SeatOpened(at=0, actor=A, attempt=1, taken_by="ann with pitboss 1"),
        "ann with pitboss 1 took a seat: a program may call its tools in its name",
    ),
    (t.InterruptAsked(at=0, actor=A, attempt=1), "its turn is being ended, so that it hears"),
    (
        t.WaitBegan(
            at=0, actor=A, attempt=1, call_id=1, awaited=ForActors(ids=(CART, UNIT), shape="any"), deadline=None
        ),
        f"it waits for the end of {CART} or {UNIT}",
    ),
    (t.WaitEnded(at=0, actor=A, attempt=1, call_id=1, how="message"), "its wait ends early, for a message"),
    (t.StoreWritten(at=0, layer="lead", entry=ENTRY), "a wrote /shared/x, version 2 (3 bytes)"),
    (
        t.StoreRemoved(at=0, layer="lead", removed=Removed(path="/x", last_version=1, removed_by="a", removed_at=0)),
        "a removed /x",
    ),
    (t.LeaseTaken(at=0, lease=LEASE), "a has the lease trunk"),
    (
        t.LeaseOver(at=0, ended=LeaseEnded(scope=RUN_WIDE, name="trunk", lease_id="l", reason="holder_ended")),
        "the lease trunk is free: holder ended",
    ),
]


@pytest.mark.parametrize(("fact", "words"), FACTS, ids=lambda value: type(value).__name__)
def test_every_kind_of_fact_about_a_tree_has_a_sentence(fact: f.AnyFact, words: str) -> None:
    assert words == chronicle.sentence(fact)


def test_no_kind_of_fact_is_left_out_above() -> None:
    assert {*get_args(t.TreeFact), *get_args(t.SharedFact)} == {type(fact) for fact, _ in FACTS}


def test_the_story_of_a_worker_has_its_keys_and_its_leases_and_calls_others_by_their_names(tmp_path: Path) -> None:
    folder = write_run(tmp_path, grown(tmp_path))
    names = client.open_run(tmp_path, RUN).view.names

    told = "\n".join(chronicle.story_lines(replay(folder.journal), CART, names))
    assert "cart wrote /shared/cart, version 1 (4 bytes)" in told
    assert f"its worktree stands at /w/{CART}, on new branch" in told, "a path stays what it is"

    leads = "\n".join(chronicle.story_lines(replay(folder.journal), ActorId("coordinator"), names))
    assert "it waits for the end of cart or quality" in leads


def test_a_lease_is_part_of_its_holders_story_until_it_is_free(tmp_path: Path) -> None:
    ended = t.LeaseOver(
        at=START + 9, ended=LeaseEnded(scope=RUN_WIDE, name="gpu", lease_id="l2", reason="holder_ended")
    )
    folder = write_run(tmp_path, [*grown(tmp_path), *done(QUALITY, 9.0), ended])
    told = "\n".join(chronicle.story_lines(replay(folder.journal), QUALITY))
    assert "has the run-wide lease gpu" in told
    assert told.endswith("the lease gpu is free: holder ended")
