"""In-memory parts for tests of the core: builders, a hand-turned clock, and a story that checks the laws.

A ``Story`` is given signals and keeps what followed. After every signal it checks the invariants and that the
journal alone, encoded and decoded, rebuilds the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

from pitboss.core.decide import Outcome, decide
from pitboss.core.state import Actor, RunState, rebuilt
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import signals as s
from pitboss.model.answers import Answer, Refused
from pitboss.model.calls import AnyCall, SpawnWorker
from pitboss.model.run import (
    ActorId,
    Certificate,
    Failure,
    Heard,
    Phase,
    ResumeScope,
    RunId,
    RunSpec,
    SetAside,
    TaskSpec,
    TreeSpec,
    TurnResult,
    Usage,
)
from pitboss.model.tree import CallId
from pitboss.testing.laws import check_laws, check_rebuild, check_step

RUN = RunId("0192f0c1-0000-7000-8000-000000000001")

FactT = TypeVar("FactT", bound=f.Fact)
EffectT = TypeVar("EffectT", bound=e.Effect)


def a_task(name: str = "a", **changes: object) -> TaskSpec:
    """A task with a worktree, a session id and nothing special; ``changes`` are fields of ``TaskSpec``."""
    plain = TaskSpec(id=ActorId(name), directory="/repo", prompt=f"do {name}", session_id=f"session-{name}")
    return msgspec.structs.replace(plain, **changes)


def a_run(*tasks: TaskSpec | str, **changes: object) -> RunSpec:
    """A run of ``tasks`` (names or specifications); ``changes`` are fields of ``RunSpec``."""
    specs = tuple(a_task(task) if isinstance(task, str) else task for task in tasks or ("a",))
    plain = RunSpec(run_id=RUN, run_dir=f"/runs/{RUN}", manifest_path="pit.toml", tasks=specs)
    return msgspec.structs.replace(plain, **changes)


def a_tree(**changes: object) -> RunSpec:
    """A run with a lead called ``lead``; ``changes`` are fields of ``TreeSpec``."""
    lead = a_task("lead", model="claude-haiku-4-5", use_worktree=False)
    plain = TreeSpec(lead=lead, max_workers=4, budget_usd=10.0, allow_subleads=True)
    return msgspec.structs.replace(a_run(), tasks=(), tree=msgspec.structs.replace(plain, **changes))


def a_result(cost: float | None = 0.5, *, is_error: bool = False, subtype: str = "success") -> TurnResult:
    """The end of a turn."""
    return TurnResult(subtype=subtype, is_error=is_error, cost_usd=cost, session_cost_usd=cost, text="done")


class HandTurnedClock:
    """A clock that stands still until it is turned."""

    def __init__(self, at: float = 1_000_000.0) -> None:
        self.at = at

    def now(self) -> float:
        """The time it was turned to."""
        return self.at

    def turn(self, secs: float) -> float:
        """Move on by ``secs`` and return the new time."""
        self.at += secs
        return self.at


class Story:
    """Signals given to the core, and everything that followed from them."""

    def __init__(self, run: RunSpec | None = None, *, guarded: bool = True) -> None:
        self.clock = HandTurnedClock()
        self.state = RunState()
        self.facts: list[f.AnyFact] = []
        self.effects: list[e.Effect] = []
        self.made = 0
        """How many tool calls were made; the last one's number."""
        self.last = Outcome(self.state, (), ())
        if run is not None:
            self.when(s.Opened(at=self.at, run=run, pid=1, pitboss_version="test"))
            if guarded:
                self.when(s.GuardianUp(at=self.at, pid=2))

    @property
    def at(self) -> float:
        """The time now."""
        return self.clock.now()

    def when(self, signal: s.AnySignal) -> Outcome:
        """Give the core a signal; check the laws afterwards."""
        before = self.state
        self.last = decide(before, signal)
        self.state = self.last.state
        self.facts += self.last.facts
        self.effects += self.last.effects
        check_laws(self.state)
        if not isinstance(signal, s.Reopened):  # whom a resume takes up again is not asked for room
            check_step(before, self.state)
        check_rebuild(before, self.last)
        return self.last

    def calls(self, name: str, call: AnyCall) -> Answer | Refused | None:
        """An actor calls a tool; what it is answered at once, ``None`` if it has to wait."""
        self.made += 1
        outcome = self.when(
            s.CallMade(
                at=self.at,
                actor=ActorId(name),
                attempt=self.actor(name).attempt,
                call_id=self.made,
                call=call,
                minted=str(self.made),
                session_id=f"session-{self.made}",
            )
        )
        return next((answer for number, answer in self._answers(outcome.effects) if number == self.made), None)

    def answers(self) -> dict[CallId, Answer | Refused]:
        """What every call so far was answered, by its number."""
        return dict(self._answers(self.effects))

    @staticmethod
    def _answers(effects: Iterable[e.Effect]) -> Iterator[tuple[CallId, Answer | Refused]]:
        return ((effect.call_id, effect.answer) for effect in effects if isinstance(effect, e.AnswerCall))

    def spawns(self, name: str, **arguments: object) -> str:
        """An actor spawns a worker, which is then at work; the worker's id."""
        answer = self.calls(name, msgspec.convert({"prompt": "go"} | arguments, SpawnWorker))
        assert isinstance(answer, Answer), answer
        worker = str(answer.content["task_id"])
        self.working(worker)
        return worker

    def after(self, secs: float) -> Outcome:
        """Let time pass, then the clock's signal arrive."""
        self.clock.turn(secs)
        return self.when(s.Tick(at=self.at))

    def actor(self, name: str) -> Actor:
        """An actor as the core sees it now."""
        return self.state.actors[ActorId(name)]

    def phases(self) -> dict[str, str]:
        """Every actor's phase by name."""
        return {str(name): actor.phase.value for name, actor in self.state.actors.items()}

    def told(self, kind: type[FactT]) -> list[FactT]:
        """Every fact of a kind so far."""
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def asked(self, kind: type[EffectT]) -> list[EffectT]:
        """Every effect of a kind so far."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def prompt(self, name: str) -> str:
        """What the actor's last process was told at its beginning."""
        return [start.session.prompt for start in self.asked(e.StartSession) if start.session.actor == name][-1]

    def rungs(self, name: str) -> list[str]:
        """The rungs pressed for an actor so far."""
        return [press.rung.value for press in self.asked(e.Press) if press.actor == name]

    def killed(self) -> None:
        """The dispatcher dies at once: only what was written down is left, and nothing that ran lives on."""
        self.state = rebuilt(self.facts)

    def reopened(
        self,
        *transcripts: str,
        scope: ResumeScope | None = None,
        fresh: Iterable[str] = (),
        heard: dict[ActorId, Heard] | None = None,
    ) -> Outcome:
        """Another dispatcher takes the run over; those in ``fresh`` are to begin again from the start."""
        return self.when(
            s.Reopened(
                at=self.at,
                pid=3,
                pitboss_version="test",
                epoch=2,
                scope=scope,
                transcripts=tuple(ActorId(name) for name in transcripts),
                fresh_ids={name: f"fresh-{name}" for name in self.state.actors},
                fresh=tuple(ActorId(name) for name in fresh),
                heard=heard or {},
            )
        )

    # what drivers say, with the attempt filled in

    def prepared(self, name: str, **changes: object) -> Outcome:
        """Its worktree stands; ``changes`` are fields of ``WorktreePrepared``."""
        path = f"/runs/{RUN}/worktrees/{name}"
        attempt = self.actor(name).attempt
        plain = s.WorktreePrepared(
            at=self.at, actor=ActorId(name), attempt=attempt, path=path, branch=name, base="c0ffee"
        )
        return self.when(msgspec.structs.replace(plain, **changes))

    def up(self, name: str) -> Outcome:
        """Its process exists and its session has answered."""
        about = self.actor(name).attempt
        self.when(s.ProcessUp(at=self.at, actor=ActorId(name), attempt=about, pid=100))
        return self.when(s.SessionReady(at=self.at, actor=ActorId(name), attempt=about))

    def working(self, *names: str) -> None:
        """Take actors from admission to work."""
        for name in names:
            if self.actor(name).phase is Phase.PREPARING:
                self.prepared(name)
            self.up(name)

    def turn_ends(
        self,
        name: str,
        result: TurnResult | None = None,
        usage: Usage | None = None,
        final_message: str = "done",
        heard: int | None = None,
    ) -> Outcome:
        """Its turn ends."""
        usage = usage or Usage(input=100, output=20)
        attempt = self.actor(name).attempt
        return self.when(
            s.TurnEnded(
                at=self.at,
                actor=ActorId(name),
                attempt=attempt,
                result=result or a_result(),
                usage=usage,
                final_message=final_message,
                heard=heard,
            )
        )

    def gone(
        self, name: str, *, code: int | None = 0, failure: Failure | None = None, certificate: Certificate | None = None
    ) -> Outcome:
        """Its processes are gone."""
        actor = self.actor(name)
        return self.when(
            s.ProcessGone(
                at=self.at,
                actor=ActorId(name),
                attempt=actor.attempt,
                certificate=certificate or Certificate(exit_code=code),
                usage=actor.usage,
                final_message=actor.final_message,
                failure=failure,
            )
        )

    def tidied(self, name: str, *, removed: bool = True, set_aside: SetAside | None = None) -> Outcome:
        """Its worktree was put away."""
        attempt = self.actor(name).attempt
        return self.when(
            s.WorktreeTidied(at=self.at, actor=ActorId(name), attempt=attempt, removed=removed, set_aside=set_aside)
        )

    def succeeds(self, name: str) -> None:
        """Take a working actor to its successful end."""
        self.turn_ends(name)
        self.gone(name)
        if self.actor(name).phase is Phase.TIDYING:
            self.tidied(name)

    def fails(self, name: str, failure: Failure | None = None) -> None:
        """Take a working actor to a failed end."""
        self.turn_ends(name, a_result(is_error=True))
        self.gone(name, code=1, failure=failure or Failure(kind="unknown", message="broke"))
