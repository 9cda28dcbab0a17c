"""What runs at rest still owe: sent with real deliveries to receivers on loopback, and written into real journals."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pitboss.drivers.notify import CUT_SHORT, Notifier, Rules
from pitboss.journal.lock import is_held
from pitboss.manifest.receivers import filled, may_reach
from pitboss.model.effects import FinishNotices, Notify
from pitboss.model.run import RunId
from pitboss.model.signals import NoticeReported, Signal
from pitboss.services.owed import send_owed
from support.pictures import RUN, START
from support.receivers import OK, receiver, status
from support.untold import DONE, owing, sink_at, state_of

LATER = status(429, "Retry-After: 3600")


def test_sending_by_hand_ends_in_time_and_what_has_not_arrived_can_be_sent_again(tmp_path: Path) -> None:
    said: list[str] = []
    with receiver(LATER) as one:
        run = owing(tmp_path, one)

        (late,) = send_owed(run.path, said.append, within_secs=0.2)
        assert "undelivered" == late.outcome
        assert 1 == len(state_of(run).outbox.owed)
        assert None is is_held(run.lock)

        one.answers[:] = [OK]
        (sent,) = send_owed(run.path, said.append)
        assert "delivered" == sent.outcome
    assert [] == state_of(run).outbox.owed
    assert [] == said


async def test_what_is_cut_short_between_two_tries_says_how_the_last_one_went() -> None:
    waiting, reports = asyncio.Event(), list[Signal]()

    async def sleep(_secs: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    with receiver(LATER) as one:
        hand = Notifier(lambda: START, Rules(lambda sink: filled(sink, {}), may_reach, print), sleep=sleep)
        async with asyncio.TaskGroup() as group:
            group.create_task(hand.notify(Notify(notice=DONE, sink=sink_at(one), run_id=RunId(RUN)), reports.append))
            await waiting.wait()
            await hand.finish(FinishNotices(within_secs=0.0), reports.append)

    (report,) = reports
    assert isinstance(report, NoticeReported)
    assert ("undelivered", 1, f"it answers 429; {CUT_SHORT}") == (report.outcome, report.tries, report.error)
