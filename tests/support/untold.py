"""Runs that could not tell their receivers something."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from pitboss.core.state import RunState, rebuilt
from pitboss.journal.log import replay
from pitboss.journal.rundir import RunDir
from pitboss.model import notice_facts as n
from pitboss.model.notices import Notice, Sink
from support.pictures import RUN, START, opened, write_run
from support.receivers import Receiver

DONE = Notice(key=f"{RUN}:run_finished", kind="run_finished", severity="info", at=START, event={"kind": "end"})


def sink_at(one: Receiver) -> Sink:
    return Sink(id="ops", kind="webhook", url=f"http://127.0.0.1:{one.port}/", allow_private=True)


def owing(base: Path, one: Receiver, run_id: str = RUN) -> RunDir:
    """A run that could not say that it has ended."""
    first = opened(base, "a", run_id=run_id)
    spec = replace(first.run, sinks=(sink_at(one),))
    return write_run(
        base, [replace(first, run=spec), n.NoticeRaised(at=START, notice=DONE, sinks=("ops",))], run_id=run_id
    )


def state_of(run: RunDir) -> RunState:
    return rebuilt(entry.fact for entry in replay(run.journal))
