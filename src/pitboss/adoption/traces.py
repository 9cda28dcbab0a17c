"""What Pitboss 0.9 has left of one actor, as the fact that it becomes. Called by ``adoption``; blocks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import msgspec

from pitboss.core import prices
from pitboss.drivers.claude import has_transcript
from pitboss.drivers.recount import count_again
from pitboss.journal.legacy import default_name, sibling_worktree
from pitboss.journal.rundir import RunDir
from pitboss.model import facts as f
from pitboss.model.records import TaskRecord
from pitboss.model.run import ActorId, Heard, Status, Usage
from pitboss.wire.resolved import ResolvedActor, ResolvedLead

__all__ = ["Account", "Opening", "Traces", "is_session", "recorded"]

_SESSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,127}", re.ASCII)
"""What may be handed to the agent as a session's id, or looked for as a file's name."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


class Account(NamedTuple):
    """What an actor has used, by its log."""

    usage: Usage
    cost_usd: float


class Opening(msgspec.Struct):
    """The line in an agent's stream that names its session."""

    type: str = ""
    subtype: str = ""
    session_id: str = ""
    model: str = ""


def is_session(text: str) -> bool:
    """True for what may be used as a session's id."""
    return _SESSION.fullmatch(text) is not None


def recorded(record: TaskRecord, **more: object) -> f.ActorAdopted:
    """What a record says; ``more`` are further fields of the fact."""
    place = record.worktree_path if record.worktree_path and Path(record.worktree_path).is_absolute() else None
    fact = f.ActorAdopted(
        at=record.ended_at,
        actor=record.task_id,
        attempt=1,
        status=record.status,
        started_at=record.started_at,
        worktree=place,
        worktree_removed=place is not None and not Path(place).is_dir(),
        exit_code=record.exit_code,
        usage=record.usage,
        cost_usd=record.cost_usd,
        failure=record.failure,
        note=record.note,
        final_message=record.final_message,
        pauses=record.pause_count,
        reprompts=record.reprompt_count,
        asked=record.approvals_requested,
        approved=record.approvals_approved,
        rejected=record.approvals_rejected,
    )
    return msgspec.structs.replace(fact, **more)


class Traces:
    """Looks for what is left of the actors of one run, those that its manifest names and those it does not."""

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.warnings: list[str] = []

    def settled(self, asked: ResolvedActor, record: TaskRecord) -> f.ActorAdopted:
        """One that a manifest names, and that has a record."""
        session = self._session(asked, record.session_id or self.opening(asked.id).session_id)
        known = has_transcript(session, asked.env)
        if session and not known and record.status is not Status.SUCCESS:
            self._warn_of_transcript(asked, session)
        fact = recorded(record)
        return msgspec.structs.replace(
            fact,
            # Without a transcript the next attempt starts it anew under its id, and for that only a UUID will do.
            session_id=session if known or _UUID.fullmatch(session) else "",
            branch=self._branch(asked) if fact.worktree else "",
        )

    def unsettled(self, asked: ResolvedActor, began: float) -> f.ActorAdopted | None:
        """One that a manifest names, and that was cut off or whose turn never came; of the latter there may be nothing.

        Args:
            asked: What it was asked.
            began: When its run did.
        """
        begun = self.run.task(asked.id).is_dir()
        session = self._session(asked, self.opening(asked.id).session_id or asked.resume_session_id or "")
        resume = has_transcript(session, asked.env)
        if session and not resume:
            self._warn_of_transcript(asked, session)
        if not begun and not resume:
            return None
        place = sibling_worktree(asked.id, self.run.run_id, asked.directory, _role(asked))
        there = begun and asked.use_worktree and place.is_dir()
        account = self.account(asked.id, asked.model)
        return f.ActorAdopted(
            at=began,
            actor=ActorId(asked.id),
            attempt=int(begun),
            started_at=began if begun else 0.0,
            session_id=session if resume else "",
            resume=resume,
            log_offset=_size(self.run.stdout_log(asked.id)),
            worktree=str(place) if there else None,
            branch=self._branch(asked) if there else "",
            usage=account.usage,
            cost_usd=account.cost_usd,
        )

    def account(self, actor: str, model: str) -> Account:
        """What an actor without a record has used."""
        heard = count_again(self.run.stdout_log(actor), 0) or Heard(usage=Usage())
        return Account(heard.usage, heard.exact_cost_usd + prices.estimate(heard.usage - heard.exact_usage, model))

    def opening(self, actor: str) -> Opening:
        """How the agent's own stream began, the last time: 0.9 wrote a session down only after a result had come."""
        last, path = Opening(), self.run.stdout_log(actor)
        try:
            with path.open("rb") as log:
                for line in log:
                    if b'"init"' in line:
                        last = _opening(line) or last
        except FileNotFoundError:
            return last  # it never spoke
        except OSError as problem:
            self.warnings.append(f"{path} cannot be read, so {actor}'s session is not known: {problem.strerror}")
        return last

    def _warn_of_transcript(self, asked: ResolvedActor, session: str) -> None:
        self.warnings.append(f"the transcript of {asked.id!r}'s session {session} is not there; it starts afresh")

    def _branch(self, asked: ResolvedActor) -> str:
        return asked.branch or default_name(asked.id, self.run.run_id, _role(asked))

    def _session(self, asked: ResolvedActor, told: str) -> str:
        if not told or is_session(told):
            return told
        self.warnings.append(f"the session id of {asked.id!r} is none that can be used; it starts afresh")
        return ""


def _opening(line: bytes) -> Opening | None:
    try:
        said = msgspec.json.decode(line, type=Opening)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return said if (said.type, said.subtype) == ("system", "init") and said.session_id else None


def _role(asked: ResolvedActor) -> str:
    return "lead-" if isinstance(asked, ResolvedLead) else ""


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0
