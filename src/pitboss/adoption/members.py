"""Whom a lead of Pitboss 0.9 had spawned: no manifest names them, and only traces are left.

They become settled members of the tree, so that their account counts and whoever leads it can ask how they ended. None
of them can go on: 0.9 kept no prompt and no directory of theirs. A sub-lead's session can, if the lead spawns one with
it. Called by ``adoption``; blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from pitboss.adoption.traces import Traces, is_session, recorded
from pitboss.core import store
from pitboss.drivers.claude import has_transcript
from pitboss.errors import OperatorError
from pitboss.journal.legacy import Subleads, branch_of, default_name, read_subleads
from pitboss.model import facts as f
from pitboss.model import tree_facts as t
from pitboss.model.answers import Refused
from pitboss.model.records import TaskRecord
from pitboss.model.run import ActorId, Role, Status, TaskSpec
from pitboss.model.store import Value
from pitboss.wire.resolved import ResolvedLead

__all__ = ["SUBLEADS_KEY", "Members"]

SUBLEADS_KEY = "/resume/subleads"
"""Where the lead's store has the sessions of its sub-leads; the name is that of Pitboss 0.9."""

_CHANGED = """\
Pitboss, which runs you, was exchanged for a newer version meanwhile: what was in the shared store is gone, and nobody \
holds a lease.\
"""
_SPOKEN = 20
"""So many names are said in one sentence at most."""


class Members:
    """Those below the lead."""

    def __init__(self, traces: Traces, lead: ResolvedLead, records: dict[ActorId, TaskRecord]) -> None:
        self._traces = traces
        self._run = traces.run
        self._lead = lead
        self._noted = self._read_subleads()
        known = {name: record for name, record in records.items() if name != lead.id and self._is_plain(name)}
        others = [name for name in self._begun() if name not in {*known, lead.id}]
        self._names = frozenset({*known, *others})
        self._facts = [
            *(self._settled(name, record) for name, record in known.items()),
            *(self._cut_off(name) for name in others),
        ]
        if lost := self._lost():
            traces.warnings.append(
                f"{_named(lost)} had no record and cannot go on, as Pitboss 0.9 kept no definition of what a "
                f"lead had spawned; what they left stays where it is, and the lead is told"
            )

    def facts(self) -> list[f.AnyFact]:
        """What is known of them, in the order they ended, and what their lead's store is to hold."""
        return [*self._facts, *self._resumable()]

    def briefing(self, *, plan_required: bool) -> str:
        """What the lead is to know about the change: what is gone, and what it can go on with."""
        parts = [_CHANGED]
        if lost := self._lost():
            parts.append(
                f"Cut off for good, with nobody to go on with what they did: {_named(lost)}. See what they "
                "left, and spawn others for what is still to be done."
            )
        if self._sessions():
            parts.append(
                f"Your sub-leads' sessions can be gone on with: kv_get {SUBLEADS_KEY} has them as JSON, sub-lead id to "
                "session id. Pass one to spawn_sublead as resume_session_id, if that sub-lead has more to do."
            )
        if plan_required:
            parts.append("A plan that was approved before is to be proposed again.")
        return " ".join(parts)

    # --- each of them -------------------------------------------------------------------------------------------------

    def _settled(self, name: ActorId, record: TaskRecord) -> f.ActorAdopted:
        session = record.session_id or self._traces.opening(name).session_id
        fact = recorded(
            record,
            session_id=session if is_session(session) else "",
            branch=branch_of(name, self._run.run_id, record.worktree_path or "") or "",
        )
        # Below a sub-lead there are workers only. Whom nobody names that there is counts as the lead's own.
        parent = record.parent_task_id if record.parent_task_id in self._names else None
        below = parent is not None and self._role(parent) == "sublead" and self._role(name) == "worker"
        return self._introduced(fact, record.model or "", parent if below else None)

    def _cut_off(self, name: ActorId) -> f.ActorAdopted:
        opening = self._traces.opening(name)
        account = self._traces.account(name, opening.model)
        began, ended = self._span(name)
        place = self._sidecar(name)
        fact = f.ActorAdopted(
            at=ended,
            actor=name,
            attempt=1,
            status=Status.CANCELLED,
            started_at=began,
            session_id=opening.session_id if is_session(opening.session_id) else "",
            worktree=place,
            branch=(branch_of(name, self._run.run_id, place) or "") if place else "",
            worktree_removed=place is not None and not Path(place).is_dir(),
            usage=account.usage,
            cost_usd=account.cost_usd,
            note="cut off under Pitboss 0.9, which kept no record of it and nothing to go on with",
            unrecorded=True,
        )
        return self._introduced(fact, opening.model)

    def _introduced(self, fact: f.ActorAdopted, model: str, parent: ActorId | None = None) -> f.ActorAdopted:
        """The fact, with who it was: all that there is to know."""
        spec = TaskSpec(
            id=fact.actor,
            directory=self._lead.directory,
            prompt="",
            model=model,
            tools=(),
            use_worktree=fact.worktree is not None,
        )
        parent = parent or ActorId(self._lead.id)
        return msgspec.structs.replace(fact, spec=spec, role=self._role(fact.actor), parent=parent)

    def _role(self, name: str) -> Role:
        return "sublead" if name.startswith("sublead-") or name in self._noted.sessions else "worker"

    def _is_plain(self, name: str) -> bool:
        try:
            self._run.task(name)
        except OperatorError:
            self._traces.warnings.append(f"the record of {name!r} is of nobody that can be; it is left out")
            return False
        return True

    def _begun(self) -> list[ActorId]:
        tasks = self._run.tasks
        return sorted(ActorId(one.name) for one in tasks.iterdir() if one.is_dir()) if tasks.is_dir() else []

    def _span(self, name: str) -> tuple[float, float]:
        """When an actor without a record began and ended, as far as its files tell."""
        folder = self._run.task(name)
        times = [file.stat().st_mtime for file in folder.iterdir() if file.is_file()] or [folder.stat().st_mtime]
        return min(times), max(times)

    def _sidecar(self, name: str) -> str | None:
        """Where 0.9 says that a worker's worktree is."""
        try:
            text = (self._run.task(name) / "worktree.path").read_text().strip()
        except (OSError, UnicodeDecodeError):
            return None
        named_so = text.endswith(f"-{default_name(name, self._run.run_id, 'worker-')}")
        return text if named_so and Path(text).is_absolute() else None

    def _lost(self) -> list[str]:
        return [fact.actor for fact in self._facts if fact.unrecorded]

    # --- sub-leads ----------------------------------------------------------------------------------------------------

    def _read_subleads(self) -> Subleads:
        path = self._run.path / "subleads.jsonl"
        noted = read_subleads(path, is_session)
        if noted.damaged:
            self._traces.warnings.append(f"{noted.damaged} of the lines in {path} cannot be used and are left out")
        return noted

    def _sessions(self) -> dict[str, str]:
        """Sub-lead -> session: what 0.9 has noted at their ends, and of the others what can be gone on with."""
        found = {
            fact.actor: fact.session_id
            for fact in self._facts
            if fact.role == "sublead" and has_transcript(fact.session_id, self._lead.env)
        }
        return found | self._noted.sessions

    def _resumable(self) -> Iterator[t.StoreWritten]:
        sessions = self._sessions()
        if not sessions:
            return
        value = Value(text=msgspec.json.encode(sessions).decode())
        at = max((fact.at for fact in self._facts), default=self._run.path.stat().st_mtime)
        entry = store.seeded(store.Store(), SUBLEADS_KEY, value, by="pitboss", at=at)
        if isinstance(entry, Refused):
            self._traces.warnings.append(f"the lead is not told of its sub-leads' sessions: {entry.message}")
            return
        yield t.StoreWritten(at=at, layer=self._lead.id, entry=entry)


def _named(names: list[str]) -> str:
    more = len(names) - _SPOKEN
    return ", ".join(names[:_SPOKEN]) + (f" and {more} more" if more > 0 else "")
