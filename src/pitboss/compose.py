"""The only file that names concrete parts: a manifest becomes a running pit.

Called by ``surfaces.commands``; blocks until the run has ended and returns the exit code. Everything that a run needs
of this process - its clock, its signals, its environment - is taken here and handed down.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from pitboss import __version__, adoption, survey
from pitboss.core.state import RunState, rebuilt
from pitboss.drivers.claude import ClaudeSessions, Minted, probe
from pitboss.drivers.cookies import Census
from pitboss.drivers.git import GitWorktrees, Want, preflight
from pitboss.drivers.guardian import Post
from pitboss.drivers.orders import Orders
from pitboss.drivers.watch import Watch
from pitboss.engine.clock import SystemClock
from pitboss.engine.ids import mint_run_id, mint_session_id
from pitboss.engine.loop import Loop
from pitboss.engine.perform import hand_for
from pitboss.engine.viewer import Viewer
from pitboss.errors import ManifestError, OperatorError, PitbossError, Problem, WorldError
from pitboss.intake import CREDENTIALS, find_claude, load, specify
from pitboss.journal.legacy import is_legacy
from pitboss.journal.lock import RunLock
from pitboss.journal.log import Journal, replay
from pitboss.journal.notice_lines import NoticeLines
from pitboss.journal.publish import ArtifactHand
from pitboss.journal.rundir import RunDir, runs_base
from pitboss.manifest.load import Loaded
from pitboss.model import effects as e
from pitboss.model.effects import Effect, Emit, Hand
from pitboss.model.run import ActorId, ResumeScope, RunSpec
from pitboss.model.signals import Opened, Reopened
from pitboss.model.views import RunView
from pitboss.services.control import Control
from pitboss.services.mcp import Seats
from pitboss.services.notify import mark_due, name_the_untold, notifier
from pitboss.wire.artifacts import RunMeta, encode_meta
from pitboss.wire.scalars import to_timestamp

__all__ = ["load", "resume", "run"]


def run(
    loaded: Loaded,
    *,
    runs_dir: str | None,
    on_open: Callable[[RunView], None],
    on_view: Callable[[RunView], None],
    on_warning: Callable[[str], None],
    on_note: Callable[[str], None],
    model_url: str | None = None,
) -> int:
    """Carry out a run from its first fact to its last.

    Args:
        loaded: The manifest.
        runs_dir: Base of all runs, over what the manifest says.
        on_open: Shown the run once it is on disk.
        on_view: Shown the run whenever it has changed; must return at once.
        on_warning: Told what the operator should know and no view shows.
        on_note: Told what a ``log`` sink is told.
        model_url: Where a scripted model listens; makes the run a rehearsal.

    Returns:
        The exit code: 0 if every task succeeded, 130 if an operator ended the run, else 1.

    Raises:
        PitbossError: The run could not begin, or could not be written down.
    """
    binary = find_claude(os.environ)
    asked = runs_dir or (loaded.run.run_dir if loaded.manifest.run.run_dir else None)
    base = runs_base(os.environ, os.environ.get("HOME", ""), asked)
    return _block(_begin(loaded, binary, base, model_url, Eyes(on_open, on_view, on_warning, on_note)))


def resume(
    run_dir: Path,
    *,
    scope: ResumeScope | None,
    fresh: Sequence[ActorId] = (),
    on_open: Callable[[RunView], None],
    on_view: Callable[[RunView], None],
    on_warning: Callable[[str], None],
    on_note: Callable[[str], None],
) -> int:
    """Take a run over from where its journal left it, and carry it to its end.

    Args:
        run_dir: The run's own directory.
        scope: Whom to take up; ``None``: what is unsettled of a run that was cut off, what failed of one that ended.
        fresh: Who begins again from the start, whatever has become of it, with its old work set aside.
        on_open: As for ``run``.
        on_view: As for ``run``.
        on_warning: As for ``run``.
        on_note: As for ``run``.

    Returns:
        The exit code, as for ``run``.

    Raises:
        RunBusy: Another dispatcher is at work on it.
        PitbossError: There is nothing to resume, or it cannot be.
    """
    return _block(_take_over(RunDir(run_dir), scope, fresh, Eyes(on_open, on_view, on_warning, on_note)))


class Eyes(NamedTuple):
    """Who watches from this process."""

    on_open: Callable[[RunView], None]
    on_view: Callable[[RunView], None]
    on_warning: Callable[[str], None]
    on_note: Callable[[str], None]


def _block(work: Coroutine[None, None, int]) -> int:
    """Run to the end; of a group of errors, the first that we can explain is raised."""
    try:
        return asyncio.run(work)
    except BaseExceptionGroup as group:
        known = _known(group)
        if known is None:
            raise
        raise known from group


def _known(problem: BaseException) -> PitbossError | None:
    """The first error in a group that we can explain."""
    if isinstance(problem, BaseExceptionGroup):
        return next(filter(None, map(_known, problem.exceptions)), None)
    return problem if isinstance(problem, PitbossError) else None


async def _refuse_what_git_refuses(loaded: Loaded) -> None:
    known = loaded.run.tasks if loaded.run.tree is None else (loaded.run.tree.lead,)
    wants = [Want(task.id, task.directory, task.branch) for task in known if task.use_worktree]
    refusals = await preflight(wants) if wants else []
    if refusals:
        word = "task" if loaded.run.tree is None else "lead"
        problems = [Problem(f"{word} {refusal.actor!r}: {refusal.message}") for refusal in refusals]
        raise ManifestError(loaded.run.manifest_path, problems)


async def _begin(loaded: Loaded, binary: str, base: Path, model_url: str | None, eyes: Eyes) -> int:
    await _refuse_what_git_refuses(loaded)
    spec = specify(loaded, binary, base, model_url)
    clock = SystemClock()
    first = Opened(at=clock.now(), run=spec, pid=os.getpid(), pitboss_version=__version__)
    rundir = RunDir.create(
        base,
        spec.run_id,
        snapshot=loaded.source,
        resolved=msgspec.json.format(msgspec.json.encode(loaded.resolved), indent=2) + b"\n",
        meta=encode_meta(_meta(spec, first.at)),
    )
    with RunLock.acquire(rundir.lock):
        journal = Journal.create(
            rundir.journal, {"run_id": spec.run_id, "pitboss_version": __version__}, disk=rundir.disk
        )
        with await _take_post(rundir, eyes) as post:
            return await _hold(rundir, journal, clock, first, RunState(), spec, eyes, post)


async def _take_over(rundir: RunDir, scope: ResumeScope | None, fresh: Sequence[ActorId], eyes: Eyes) -> int:
    """Replay, survey, go on. Nothing is started or written before the old dispatcher's processes are gone."""
    adopted = await _look_at_legacy(rundir, scope, fresh, eyes) if is_legacy(rundir) else None
    if adopted is None and not rundir.journal.exists():
        raise OperatorError(f"run {rundir.run_id} was cut off before it began anything; dispatch its manifest again")
    with await RunLock.acquire_patiently(rundir.lock) as lock:
        if adopted is not None and not rundir.journal.exists():
            adoption.write(rundir, adopted)
        past = replay(rundir.journal)
        state = rebuilt(entry.fact for entry in past)
        if state.run is None:
            raise OperatorError(
                f"run {rundir.run_id} was cut off before it began anything; dispatch its manifest again"
            )
        survey.require_sense(rundir, state, scope, fresh)
        spec = state.spec
        rundir.require_original(spec.run_dir)
        if spec.rehearsal:
            raise OperatorError("a rehearsal cannot be resumed: its scripted model is gone; rehearse it again")
        if shutil.which(spec.claude_binary) is None:
            raise OperatorError(f"the agent's binary {spec.claude_binary} of this run is gone; put it back to resume")
        clock = SystemClock()
        first = await survey.look(rundir, state, clock.now, epoch=lock.epoch, scope=scope, fresh=fresh)
        if past.torn is not None:
            eyes.on_warning(f"the journal's last line was half written; it ends at byte {past.end} now")
        with await _take_post(rundir, eyes) as post:
            journal = Journal.reopen(rundir.journal, past, disk=rundir.disk)
            rundir.summary.unlink(missing_ok=True)
            return await _hold(rundir, journal, clock, first, state, spec, eyes, post)


async def _take_post(rundir: RunDir, eyes: Eyes) -> Post:
    """From here on no guardian of an old dispatcher is at work: it would stop our sessions with the old ones."""
    loop = asyncio.get_running_loop()
    waiting = "waiting for the old dispatcher's guardian, which is still stopping what that has left"

    def tell() -> None:
        loop.call_soon_threadsafe(eyes.on_warning, waiting)

    return await asyncio.to_thread(Post.take, rundir.guardian_lock, on_wait=tell)


async def _look_at_legacy(
    rundir: RunDir, scope: ResumeScope | None, fresh: Sequence[ActorId], eyes: Eyes
) -> adoption.Adoption:
    """What becomes of a run of Pitboss 0.9; if it is refused, its folder is as it was."""
    found = await asyncio.to_thread(adoption.survey, rundir, find_claude(os.environ))
    survey.require_sense(rundir, found.state, scope, fresh)
    for warning in found.warnings:
        eyes.on_warning(warning)
    return found


def _meta(spec: RunSpec, opened_at: float) -> RunMeta:
    return RunMeta(
        run_id=spec.run_id,
        manifest_path=spec.manifest_path,
        pitboss_version=__version__,
        claude_version=None,
        started_at=to_timestamp(opened_at),
    )


async def _hold(
    rundir: RunDir,
    journal: Journal,
    clock: SystemClock,
    first: Opened | Reopened,
    state: RunState,
    spec: RunSpec,
    eyes: Eyes,
    post: Post,
) -> int:
    """Run the loop to its end, with everything it needs around it."""
    inherited = {name: value for name, value in os.environ.items() if not (spec.rehearsal and name in CREDENTIALS)}
    artifacts = ArtifactHand(rundir, clock.now)
    sessions = ClaudeSessions(clock.now, Census(), inherited, _mint)
    viewer = Viewer(eyes.on_open, eyes.on_view)
    meta = _meta(spec, state.opened_at or first.at)
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR", "")
    seats = Seats(rundir, spec, clock.now, _mint, runtime_dir=runtime_dir)
    control = Control(
        rundir, spec, clock.now, eyes.on_warning, seats, cursor=lambda: journal.seq, runtime_dir=runtime_dir
    )
    tell, lines = notifier(clock.now, eyes.on_note), NoticeLines(rundir, clock.now)
    mark_due(rundir, spec, eyes.on_warning)

    async def answer_call(effect: e.AnswerCall, emit: Emit) -> None:
        if not seats.answer(effect):
            await sessions.answer(effect, emit)

    async def answer_deed(effect: e.AnswerDeed, emit: Emit) -> None:
        if not seats.answer_deed(effect):
            await sessions.answer_deed(effect, emit)

    try:
        async with Watch(clock.now, rundir.guardian_report, post) as watch:
            hands = _hands(rundir, artifacts, sessions, meta, clock, watch)
            hands[e.AnswerOrder] = hand_for(e.AnswerOrder, control.answer)
            hands[e.AnswerCall] = hand_for(e.AnswerCall, answer_call)
            hands[e.AnswerDeed] = hand_for(e.AnswerDeed, answer_deed)
            hands[e.Notify] = hand_for(e.Notify, tell.notify)
            hands[e.FinishNotices] = hand_for(e.FinishNotices, tell.finish)
            hands[e.PublishNotices] = hand_for(e.PublishNotices, lines.publish)
            loop = Loop(journal, clock, hands, [viewer, control.see, seats.see], state)
            with Orders(loop.inbox.post, clock.now):
                async with seats.serving(loop.inbox.post), control.serving(loop.inbox.post):
                    state = await loop.run(first)
            viewer.show()
    except WorldError as problem:
        resume = f"`{rundir.typed('resume')}` goes on with the run"
        hint = f"when that is mended, {resume}: nothing it had acknowledged is lost"
        raise WorldError(str(problem), hint=hint) from None
    finally:
        journal.close()
        artifacts.close()
        sessions.close()
    name_the_untold(rundir, state, eyes.on_warning)
    for lost in state.artifacts_lost:
        eyes.on_warning(f"not written in full: {lost}")
    return state.exit_code or int(bool(state.artifacts_lost))


def _mint() -> Minted:
    return Minted(mint_run_id(), mint_session_id())


def _hands(
    rundir: RunDir,
    artifacts: ArtifactHand,
    sessions: ClaudeSessions,
    meta: RunMeta,
    clock: SystemClock,
    watch: Watch,
) -> dict[type[Effect], Hand]:
    worktrees = GitWorktrees(clock.now)

    async def identify(effect: e.ProbeClaude, emit: Emit) -> None:
        version = await probe(effect, emit, clock=clock.now)
        known = msgspec.structs.replace(meta, claude_version=version)
        await asyncio.to_thread(rundir.disk.write_atomic, rundir.meta, encode_meta(known))

    return {
        e.StartGuardian: hand_for(e.StartGuardian, watch.start),
        e.ProbeClaude: hand_for(e.ProbeClaude, identify),
        e.PrepareWorktree: hand_for(e.PrepareWorktree, worktrees.prepare),
        e.StartSession: hand_for(e.StartSession, sessions.start),
        e.Press: hand_for(e.Press, sessions.press),
        e.Tell: hand_for(e.Tell, sessions.tell),
        e.Interrupt: hand_for(e.Interrupt, sessions.interrupt),
        e.SetModel: hand_for(e.SetModel, sessions.set_model),
        e.JudgeDeeds: hand_for(e.JudgeDeeds, sessions.judge),
        e.Freeze: hand_for(e.Freeze, sessions.freeze),
        e.Thaw: hand_for(e.Thaw, sessions.thaw),
        e.TidyWorktree: hand_for(e.TidyWorktree, worktrees.tidy),
        e.PublishWorktree: hand_for(e.PublishWorktree, artifacts.publish_worktree),
        e.PublishTasks: hand_for(e.PublishTasks, artifacts.publish_tasks),
        e.PublishTask: hand_for(e.PublishTask, artifacts.publish_task),
        e.PublishRun: hand_for(e.PublishRun, artifacts.publish_run),
        e.PublishStore: hand_for(e.PublishStore, artifacts.publish_store),
        e.PublishSubleads: hand_for(e.PublishSubleads, artifacts.publish_subleads),
    }
