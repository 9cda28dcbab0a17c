"""What ended runs owe, sent by later commands: when it is tried, when again, and that nobody waits for it in vain."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from pitboss.journal.lock import is_held
from pitboss.journal.notice_lines import mark
from pitboss.journal.rundir import RunDir
from pitboss.services.leftover import PAUSES_SECS, WAITING, LeftOver, LeftOvers
from pitboss.surfaces import telling
from pitboss.testing.doubles import HandTurnedClock
from support.pictures import RUN, START
from support.receivers import OK, Receiver, receiver, status
from support.untold import owing, state_of


def ended(base: Path, one: Receiver, run_id: str = RUN) -> RunDir:
    """A run that has ended, and left a mark that it could not say so."""
    run = owing(base, one, run_id)
    run.summary.write_text("{}")
    mark(run)
    return run


def send(base: Path, clock: HandTurnedClock) -> list[LeftOver]:
    return LeftOvers(base, print, within_secs=0.2, now=clock.now).end(print)


def test_after_each_try_in_vain_the_next_is_later(tmp_path: Path) -> None:
    clock = HandTurnedClock(START)
    with receiver(status(500)) as one:
        run = ended(tmp_path, one)
        for pause in (*PAUSES_SECS, PAUSES_SECS[-1]):
            (left,) = send(tmp_path, clock)
            assert ["undelivered"] == [each.outcome for each in left.settled]
            assert clock.now() + pause == left.again_at
            clock.turn(pause - 1)
            assert [] == send(tmp_path, clock)
            clock.turn(1)

        one.answers[:] = [OK]
        (left,) = send(tmp_path, clock)
    assert ["delivered"] == [each.outcome for each in left.settled]
    assert not run.notices_due.exists()


def test_a_mark_that_cannot_be_right_holds_nothing_up(tmp_path: Path) -> None:
    with receiver() as one:
        for text in (b"garbage", b'{"tries": 3, "not_before": 99999999999.0}'):
            run = ended(tmp_path, one, f"{text[:3].hex()}")
            run.notices_due.write_bytes(text)

        lefts = LeftOvers(tmp_path, print, now=HandTurnedClock(START).now).end(print)

    assert [["delivered"]] * 2 == [[each.outcome for each in left.settled] for left in lefts]


def test_ctrl_c_ends_the_waiting_and_the_message_is_still_owed(tmp_path: Path) -> None:
    said: list[str] = []

    def interrupt(why: str) -> None:
        said.append(why)
        signal.raise_signal(signal.SIGINT)

    def hold(peer: socket.socket) -> None:
        peer.recv(1)

    with receiver(hold) as one:
        run = ended(tmp_path, one)
        left_overs = LeftOvers(tmp_path, print, within_secs=600, patience_secs=0.0, now=HandTurnedClock(START).now)
        left_overs.begin()
        one.until(1)

        assert [] == left_overs.end(interrupt)

    assert [WAITING] == said
    assert 1 == len(state_of(run).outbox.owed)
    assert run.notices_due.exists()
    assert None is is_held(run.lock)


def test_a_run_that_somebody_is_at_work_on_is_left_to_them(tmp_path: Path) -> None:
    with receiver() as one:
        run = ended(tmp_path, one)
        run.summary.unlink()

        assert [] == LeftOvers(tmp_path, print, now=HandTurnedClock(START).now).end(print)
    assert [] == one.heard


def test_what_did_not_arrive_of_many_runs_is_one_line(tmp_path: Path) -> None:
    with receiver(status(404)) as one:
        for number in range(3):
            ended(tmp_path, one, f"019ab00{number}-1111-7222-8333-444455556666")
        broken = ended(tmp_path, one, "broken")
        broken.journal.write_bytes(b"no journal\nat all\n")
        lefts = LeftOvers(tmp_path, print, now=HandTurnedClock(START).now).end(print)

    (line,) = telling.left_lines(lefts)
    assert "3 notifications of 3 earlier runs did not reach ops: it answers 404" in line
    assert "what run broken still has to tell could not be sent" in telling.trouble_line(lefts)
