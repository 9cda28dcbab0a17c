"""One run, seen from outside: live, ended, cut short, or written by Pitboss 0.9; and orders to it.

Whatever is left of a run becomes the same ``RunView`` that a live floor shows, so that every command reads every
run alike. Nothing is written here. Called by ``commands`` and by whatever shows a run that another process carries out;
free of asyncio, the engine and the manifest, so that ``status`` starts fast.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from pitboss.core.attention import Need
from pitboss.core.views import task_record
from pitboss.errors import OperatorError
from pitboss.journal.discovery import RunEntry, State, discover, resolve
from pitboss.journal.entries import Entry
from pitboss.journal.lock import is_held
from pitboss.journal.reader import replay
from pitboss.journal.rundir import RunDir, runs_base
from pitboss.model.run import ActorId, Phase
from pitboss.model.views import RunView
from pitboss.surfaces import notice, words
from pitboss.surfaces.found import Journal, Run, as_it_is
from pitboss.wire.artifacts import encode_tasks
from pitboss.wire.scalars import to_timestamp

if TYPE_CHECKING:
    from pitboss.surfaces.following import Following
    from pitboss.surfaces.operator import Event
    from pitboss.wire.control import Op

__all__ = [
    "Run",
    "RunClient",
    "TaskWatch",
    "base",
    "entries",
    "find_actor",
    "list_json",
    "list_runs",
    "log_path",
    "open_run",
    "records_json",
    "run_json",
]


MOST_NAMED = 20
"""So many actors are named to whoever has named none; `status` has them all."""


class RunClient:
    """One run: what it looks like, what it looks like from now on, and orders to it.

    The same for a run at work in another process, one that was cut off, one that has ended, and one of Pitboss 0.9. For
    one thread at a time, but for ``order`` and ``close``, which may be called from any: closing ends a ``follow`` that
    waits in another thread.
    """

    def __init__(self, path: Path) -> None:
        """A client of the run in the folder ``path``; nothing is read yet."""
        self.path = path
        self._run = RunDir(path)
        self._journal = Journal(self._run)
        self._closed = threading.Event()
        self._following: Following | None = None

    @classmethod
    def open(cls, folder: Path, name: str) -> Self:
        """A client of the run that goes by ``name``: an id, the beginning of one, or ``latest``.

        Raises:
            RunNotFound: None does, or more than one.
        """
        return cls(resolve(folder, name))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Have done with it: whoever follows is shown nothing more. A second call does nothing."""
        self._closed.set()
        if self._following is not None:
            self._following.hang_up()

    def look(self) -> Run:
        """Everything there is to know of the run: how it stands, the view, the records, the requests.

        A later call reads only what is new.

        Raises:
            WorldError: What is there cannot be read.
        """
        # The lock is asked first: a dispatcher that ends in between has written its last fact by then.
        held = is_held(self._run.lock) is not None
        self._journal.read_on()
        if not self._journal.is_open:
            return _old_run(self.path)  # killed, or looked at, before its first fact was on disk
        state, view = self._journal.state, self._journal.view()
        return Run(
            path=self.path,
            state=_state(view, held=held),
            view=as_it_is(view),
            records=tuple(task_record(state, actor) for actor in state.order),
            asked=state.approvals,
        )

    def snapshot(self) -> RunView:
        """The run as it stands now.

        Raises:
            WorldError: What is there cannot be read.
        """
        return self.look().view

    def is_at_work(self) -> bool:
        """A dispatcher is at work on the run, as far as can be told; cheap, the journal is not read.

        Raises:
            WorldError: What is there cannot be read.
        """
        if self._run.journal.exists() or self._run.lock.exists():
            return is_held(self._run.lock) is not None
        return _old_run(self.path).state == "running"

    def state_of(self, view: RunView) -> State:
        """How the run stands by now, of which ``view`` is the newest view; cheap, the journal is not read.

        Raises:
            WorldError: What is there cannot be read.
        """
        if view.cursor:  # the first fact was there
            return _state(view, held=is_held(self._run.lock) is not None)
        return _old_run(self.path).state

    def fate(self, actor: ActorId) -> tuple[bool, bool]:
        """Whether an actor has its final status, and whether the run is over; cheap, only what is new is read.

        Raises:
            WorldError: What is there cannot be read.
        """
        # The lock is asked first: see ``look``.
        held = is_held(self._run.lock) is not None
        self._journal.read_on()
        state = self._journal.state
        if self._journal.is_open:
            one = state.actors.get(actor)
            return one is not None and one.phase is Phase.SETTLED, bool(state.ended_at) or not held
        run = _old_run(self.path)
        return any(record.task_id == actor for record in run.records), run.state != "running"

    def follow(self, *, every_ms: int = 100, patience_secs: float = 0.0) -> Iterator[RunView]:
        """The run as it stands, then as it stands after each change, until it has ended or nobody is at work on it.

        Changes come through the run's socket, several at once where they come fast; where there is no socket that shows
        them, from the journal. If the dispatcher is another one by then, this one is followed.

        Args:
            every_ms: Least time between two views, in milliseconds.
            patience_secs: How long to wait for somebody to resume a run that was at work and is cut off under our eyes.

        Raises:
            WorldError: What is there cannot be read.
        """
        from pitboss.surfaces.following import Following, follow_old

        if not self._run.journal.exists() and not self._run.lock.exists():
            yield from follow_old(lambda: _old_run(self.path), self._closed)
            return
        self._following = Following(self._run, self._closed, every_ms=every_ms, patience_secs=patience_secs)
        count = 0
        for count, view in enumerate(self._following.views(), 1):  # noqa: B007 - counted for what comes behind
            yield view
        if not count and not self._closed.is_set():
            yield self.snapshot()  # it came to no first fact

    def order(self, order: Op) -> Event | None:
        """Give the run an order, if it lives.

        Returns:
            What it answered; ``None`` if nobody is there to answer: no dispatcher lives, or it ends just now.

        Raises:
            WorldError: It is there, and says nothing that can be understood.
        """
        from pitboss.surfaces import operator

        return operator.tell(self._run, order)


def base(override: str | None) -> Path:
    """The folder of all runs, by the one rule that every command follows."""
    return runs_base(os.environ, os.environ.get("HOME", ""), override)


def open_run(folder: Path, name: str) -> Run:
    """Look at the run that goes by ``name`` (an id, the beginning of one, or ``latest``).

    Raises:
        RunNotFound: None does, or more than one.
        WorldError: What is there cannot be read.
    """
    return RunClient.open(folder, name).look()


def _old_run(path: Path) -> Run:
    from pitboss.surfaces.legacy import old_run

    return old_run(path)


def _state(view: RunView, *, held: bool) -> State:
    if view.ended_at:
        return "complete"
    return "running" if held else "interrupted"


def entries(path: Path) -> list[Entry]:
    """Every fact of a run.

    Raises:
        OperatorError: It was written by a Pitboss that kept no journal.
        WorldError: The journal is damaged.
    """
    journal = RunDir(path).journal
    if not journal.exists():
        raise OperatorError(f"the run {path.name} has no journal, so it has no story: Pitboss 0.9 kept none")
    return list(replay(journal))


def find_actor(run: Run, name: str) -> ActorId:
    """The actor that goes by ``name`` in this run: its id, else its label, else the beginning of exactly one id.

    Raises:
        OperatorError: None does, or more than one; the message names the ones there are.
    """
    known = sorted(run.view.actors, key=lambda actor: actor.id)
    start = name.rstrip("…")
    matches = (
        [actor for actor in known if actor.id == name]
        or [actor for actor in known if name and actor.label == name]
        or [actor for actor in known if start and actor.id.startswith(start)]
    )
    if len(matches) == 1:
        return matches[0].id
    noun = "actors" if any(actor.parent for actor in known) else "tasks"
    if matches:
        how = "are called" if matches[0].label == name else "begin with"
        listed = _listed([actor.id for actor in matches])
        raise OperatorError(f"{len(matches)} {noun} of run {run.path.name} {how} {name!r}: {listed}", code="not_found")
    there = _listed([words.full_name(actor) for actor in known]) or "nothing is recorded of any yet"
    raise OperatorError(
        f"no {noun.removesuffix('s')} {name!r} in run {run.path.name}; there are: {there}", code="not_found"
    )


def _listed(names: list[str]) -> str:
    more = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def log_path(run: Run, actor: ActorId, *, stderr: bool = False) -> Path:
    """Where an actor's log is, or will be.

    Raises:
        OperatorError: The path leads out of the run's directory.
    """
    folder = RunDir(run.path)
    path = folder.stderr_log(actor) if stderr else folder.stdout_log(actor)
    if not path.resolve().is_relative_to(folder.tasks.resolve()):
        raise OperatorError(f"the log {path} is a link that leads out of its run; it is not followed")
    return path


# --- as JSON --------------------------------------------------------------------------------------------------------


def records_json(run: Run) -> str:
    """The records of the settled actors: an array, as ever."""
    return encode_tasks(run.records).decode()


def run_json(run: Run, needs: Iterable[Need] = (), runs_dir: str | None = None) -> str:
    """The run as a whole, with every actor, and what of it needs a person, most urgent first."""
    attention = [notice.need_shape(need, run.view, runs_dir) for need in needs]
    shape = {"version": 1, "state": run.state, "attention": attention, **msgspec.structs.asdict(run.view)}
    return msgspec.json.format(msgspec.json.encode(shape), indent=2).decode()


def list_runs(folder: Path, *, active: bool = False) -> list[RunEntry]:
    """All runs, or those that someone is at work on; newest first."""
    return [entry for entry in discover(folder) if not active or entry.state == "running"]


def list_json(found: Iterable[RunEntry]) -> str:
    """An array of runs: the keys of 0.9, and then ours."""
    shape = [
        {
            "run_id": entry.run_id,
            "run_dir": str(entry.path),
            "started_at": to_timestamp(entry.started_at),
            "tasks_total": entry.tasks_total,
            "tasks_failed": entry.tasks_failed,
            "status": entry.state,
            "name": entry.name,
            "ended_at": None if entry.ended_at is None else to_timestamp(entry.ended_at),
            "was_interrupted": entry.was_interrupted,
            "total_cost_usd": entry.total_cost_usd,
            "rehearsal": entry.rehearsal,
            "pid": entry.pid,
        }
        for entry in found
    ]
    return msgspec.json.format(msgspec.json.encode(shape), indent=2).decode()


# --- one actor -----------------------------------------------------------------------------------------------------


class TaskWatch:
    """Tells when nothing more will be written about one actor."""

    def __init__(self, seen: RunClient, actor: ActorId) -> None:
        self._seen = seen
        self._actor = actor
        self.settled = False
        """True once the actor has its final status; false if its run ended, or died, before that."""

    def ended(self) -> bool:
        """True if the actor is settled or its run is over. Cheap: only what is new is read."""
        self.settled, over = self._seen.fate(self._actor)
        return self.settled or over
