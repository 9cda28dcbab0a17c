"""What runs at rest still owe: sent with real deliveries to receivers on loopback, and written into real journals."""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec.structs import replace

from pitboss.core.state import RunState, rebuilt
from pitboss.drivers.notify import CUT_SHORT, Notifier, Rules
from pitboss.journal.lock import is_held
from pitboss.journal.log import replay
from pitboss.journal.rundir import RunDir
from pitboss.manifest.receivers import filled, may_reach
from pitboss.model import notice_facts as n
from pitboss.model.effects import FinishNotices, Notify
from pitboss.model.notices import Notice, Sink
from pitboss.model.run import RunId
from pitboss.model.signals import NoticeReported, Signal
from pitboss.services.owed import send_owed
from support.pictures import RUN, START, opened, write_run
from support.receivers import OK, Receiver, receiver, status

LATER = status(429, "Retry-After: 3600")


DONE = Notice(key=f"{RUN}:run_finished", kind="run_finished", severity="info", at=START, event={"kind": "end"})


def sink_at(one: Receiver) -> Sink:
    return Sink(id="ops", kind="webhook", url=f"http://127.0.0.1:{one.port}/", allow_private=True)


def owing(base: Path, one: Receiver) -> RunDir:
    """A run that has ended and could not say so."""
    first = opened(base, "a")
    spec = replace(first.run, sinks=(sink_at(one),))
    return write_run(base, [replace(first, run=spec), n.NoticeRaised(at=START, notice=DONE, sinks=("ops",))])


def state_of(run: RunDir) -> RunState:
    return rebuilt(entry.fact for entry in replay(run.journal))


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
