"""A decision while it is being made, and the few moves that more than one rule book makes."""

from __future__ import annotations

from pitboss.core import lifecycle, resumption, supervision
from pitboss.core import tree as family
from pitboss.core.state import Actor, RunState, Wait, evolve
from pitboss.core.views import task_record
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import signals as s
from pitboss.model import tree_facts as t
from pitboss.model.about import About
from pitboss.model.answers import Answer, Refused
from pitboss.model.run import ActorId, Certificate, EarlierWork, Phase, Session, Status
from pitboss.model.tree import Awaited

INTERRUPTED = Answer({"interrupted": True, "reason": "a message is waiting for you; it comes with this answer"})
"""What a call that waits is answered early with: its caller hears nothing else while it waits."""


class Decision:
    """Facts and effects collected so far, and the state they have led to."""

    def __init__(self, state: RunState, at: float) -> None:
        self.state = state
        self.at = at
        self.facts: list[f.AnyFact] = []
        self.effects: list[e.Effect] = []

    def note(self, fact: f.AnyFact) -> None:
        """Write a fact down; the state follows at once."""
        self.state = evolve(self.state, fact)
        self.facts.append(fact)

    def ask(self, effect: e.Effect) -> None:
        """Ask the world for something, to be done after the facts are on disk."""
        self.effects.append(effect)

    def actor(self, actor: ActorId) -> Actor:
        """The actor as it is now."""
        return self.state.actors[actor]

    def about(self, actor: ActorId) -> About:
        """What a fact about the actor's present attempt begins with."""
        return {"at": self.at, "actor": actor, "attempt": self.actor(actor).attempt}

    def answer(self, call: s.CallMade | Wait, answer: Answer | Refused) -> None:
        """Answer a tool call; a refusal is an answer too."""
        self.ask(e.AnswerCall(actor=call.actor, attempt=call.attempt, call_id=call.call_id, answer=answer))

    def reply(self, reply_to: str, answer: Answer | Refused) -> None:
        """Tell an operator what came of an order, if somebody waits to hear it."""
        if reply_to:
            self.ask(e.AnswerOrder(reply_to=reply_to, answer=answer))

    def wait(self, call: s.CallMade, awaited: Awaited, timeout_secs: float | None) -> None:
        """Have a tool call wait, ``None`` for as long as it takes; not while a message for its caller is waiting."""
        if self.actor(call.actor).inbox:
            self.answer(call, INTERRUPTED)
            return
        deadline = None if timeout_secs is None else self.at + timeout_secs
        self.note(t.WaitBegan(**self.about(call.actor), call_id=call.call_id, awaited=awaited, deadline=deadline))

    def say_inbox(self, actor_id: ActorId) -> None:
        """Say in an actor's session what it is to be told; that begins a turn, or is woven into the one that runs."""
        actor = self.actor(actor_id)
        text = "\n\n".join(message.text for message in actor.inbox)
        self.note(t.MessagesDelivered(**self.about(actor_id)))
        self.ask(e.Tell(actor=actor_id, attempt=actor.attempt, text=text))

    def admit(self, actor_id: ActorId, allotment_usd: float | None) -> None:
        """Give an actor its slot and have its place to work, or at once its process, made."""
        spec = self.actor(actor_id).spec
        attempt = self.actor(actor_id).attempt + 1
        session_id = self.actor(actor_id).session_id or spec.resume_session_id or spec.session_id
        self.note(
            f.ActorAdmitted(
                at=self.at, actor=actor_id, attempt=attempt, session_id=session_id, allotment_usd=allotment_usd
            )
        )
        if not spec.use_worktree:
            self.start_session(actor_id)
            return
        run, tree = self.state.spec, self.actor(actor_id).worktree
        name = family.worktree_name(self.actor(actor_id), run.run_id)
        root = run.worktree_root or f"{run.run_dir}/worktrees"
        usual = f"{root}/{name}" if run.worktree_root else f"{root}/{actor_id}"
        foreign = tree is not None and tree.foreign and not tree.removed
        # The worktree of an earlier attempt is gone on in, wherever that is.
        self.ask(
            e.PrepareWorktree(
                actor=actor_id,
                attempt=attempt,
                directory=spec.directory,
                path=tree.path if tree is not None and not tree.removed else usual,
                name=name,
                branch=spec.branch,
                ref=self._ref(actor_id),
                cookie=self._cookie(actor_id),
                earlier=self._earlier(actor_id),
                fresh=self.actor(actor_id).fresh,
                adopt=foreign,
            )
        )

    def _earlier(self, actor_id: ActorId) -> EarlierWork | None:
        """What the actor's next worktree may have to be made from, if it ever had one."""
        actor = self.actor(actor_id)
        tree = actor.worktree
        if tree is None:
            return None
        return EarlierWork(
            cookie=self._cookie(actor_id, tree.attempt),
            base=tree.base,
            created_branch=tree.created_branch,
            branch_deleted=tree.branch_deleted,
            set_aside=actor.set_aside if tree.removed and not actor.fresh else None,
        )

    def start_session(self, actor_id: ActorId) -> None:
        """Have the agent's process started in the place made for it."""
        actor, run = self.actor(actor_id), self.state.spec
        spec = actor.spec
        session = Session(
            actor=actor_id,
            attempt=actor.attempt,
            cookie=self._cookie(actor_id),
            binary=run.claude_binary,
            cwd=actor.worktree.cwd if actor.worktree else spec.directory,
            prompt=resumption.prompt(actor),
            session_id=actor.session_id,
            resume=actor.resume or actor.session_id == spec.resume_session_id,
            model=spec.model,
            effort=spec.effort,
            tools=spec.tools,
            env=spec.env | self._scripted(actor),
            mcp_servers=run.mcp_servers,
            role=actor.role,
            spawns_subleads=run.tree is not None and run.tree.allow_subleads and actor.role == "lead",
            judged=run.policy.sees_deeds,
            asks_permission=run.tree is not None and run.tree.permission_routing == "path_b",
            budget_usd=actor.allotment_usd,
            log_dir=f"{run.run_dir}/tasks/{actor_id}",
            silence_secs=run.stall_secs,
        )
        self.ask(e.StartSession(session=session))

    def _scripted(self, actor: Actor) -> dict[str, str]:
        """Where a scripted model is asked, by a name that a script can know: an id minted at run time it cannot."""
        url = self.state.spec.model_url
        return {"ANTHROPIC_BASE_URL": f"{url}/actor/{actor.label or actor.spec.id}"} if url else {}

    def begin_end(self, actor_id: ActorId, reason: str, note: str = "") -> None:
        """Begin to end an actor for ``reason``, a key of ``supervision.LADDERS``."""
        actor = self.actor(actor_id)
        if actor.phase is Phase.FROZEN:  # what stands still hears nothing
            self.ask(e.Thaw(actor=actor_id, attempt=actor.attempt))
        self.note(f.StopBegan(**self.about(actor_id), reason=reason, note=note))
        if actor.phase in lifecycle.HAS_PROCESS:
            self.climb(actor_id)

    def climb(self, actor_id: ActorId) -> None:
        """Press the next rung that can do anything; past the last one, say that the end cannot be shown."""
        actor = self.actor(actor_id)
        step = supervision.next_step(actor)
        if step is None or actor.stopping is None:
            self._give_up(actor)
            return
        self.note(
            f.RungReached(
                **self.about(actor_id),
                rung=step.rung,
                patience_secs=step.patience_secs,
                step=actor.stopping.step + 1,
            )
        )
        self.ask(e.Press(actor=actor_id, attempt=actor.attempt, rung=step.rung))

    def _give_up(self, actor: Actor) -> None:
        self.note(
            f.ProcessEnded(
                **self.about(actor.spec.id),
                certificate=Certificate(exit_code=None, group_empty=False, cookie_empty=False),
                usage=actor.usage,
                cost_usd=actor.cost_usd,
                final_message=actor.final_message,
                failure=actor.failure,
            )
        )
        self.tidy(actor.spec.id)

    def tidy(self, actor_id: ActorId) -> None:
        """Its processes are gone: see to its worktree, then settle it."""
        actor, run = self.actor(actor_id), self.state.spec
        tree = actor.worktree
        # Of what was removed before, all is recorded; one of 0.9 that could not be taken over is not ours to put away.
        if tree is None or tree.removed or tree.foreign:
            self.settle(actor_id)
            return
        status = supervision.verdict(actor)
        proven = actor.certificate is None or actor.certificate.complete
        wanted = run.worktree_cleanup == "always" or (run.worktree_cleanup == "on_success" and status is Status.SUCCESS)
        if not (wanted and proven):
            self.note(f.WorktreeLeft(**self.about(actor_id), removed=False))
            self.settle(actor_id)
            return
        self.ask(
            e.TidyWorktree(
                actor=actor_id,
                attempt=actor.attempt,
                directory=actor.spec.directory,
                path=tree.path,
                branch=tree.branch,
                base=tree.base,
                created_branch=tree.created_branch,
                remove=True,
                ref=self._ref(actor_id),
                cookie=self._cookie(actor_id),
            )
        )

    def settle(self, actor_id: ActorId) -> None:
        """Give an actor its final status and its record; a failure may end the starting of others."""
        actor = self.actor(actor_id)
        status = supervision.verdict(actor)
        failure, note = supervision.explain(actor, status)
        self.note(f.ActorSettled(**self.about(actor_id), status=status, failure=failure, note=note))
        self.ask(e.PublishTask(record=task_record(self.state, actor_id)))
        if status is not Status.SUCCESS and self.state.spec.halt_on_failure and not self.state.draining:
            self.note(f.DrainBegan(at=self.at, by=f"halt_on_failure: {actor_id} ended as {status}", ordered=False))

    def _cookie(self, actor_id: ActorId, attempt: int | None = None) -> str:
        number = self.actor(actor_id).attempt if attempt is None else attempt
        return f"{self.state.spec.run_id}/{actor_id}/{number}"

    def _ref(self, actor_id: ActorId) -> str:
        return f"refs/pitboss/{self.state.spec.run_id}/{actor_id}"
