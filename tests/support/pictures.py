"""Views and runs built by hand, for what looks at them from outside.

A field that a test does not name has a value that says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from pitboss.core.state import RunState, rebuilt
from pitboss.journal.entries import encode_entry, encode_header
from pitboss.journal.rundir import RunDir
from pitboss.model import facts as f
from pitboss.model import tree_facts as t
from pitboss.model.run import (
    ActorId,
    Certificate,
    Phase,
    RunId,
    RunSpec,
    Status,
    TaskSpec,
    TreeSpec,
    TurnResult,
    Usage,
)
from pitboss.model.store import RUN_WIDE, Entry, Lease, Value
from pitboss.model.tree import Envelope, ForActors
from pitboss.model.views import ActorView, RunView

RUN = "019ab000-1111-7222-8333-444455556666"
START = 1_764_000_000.0


def waiting(name: str) -> ActorView:
    """An actor that has not begun."""
    return ActorView(
        id=ActorId(name),
        phase=Phase.QUEUED,
        status=None,
        attempt=0,
        model="claude-haiku-4-5",
        prompt="Do it.",
        started_at=0.0,
        ended_at=0.0,
        usage=Usage(),
        cost_usd=None,
        exit_code=None,
        doing="waits for a slot",
        tool_calls=0,
        retries=0,
        silent_secs=0.0,
        background=(),
        branch=None,
        worktree=None,
        set_aside=None,
        session_id="",
        failure=None,
        note="",
        final_message=None,
        log="",
    )


def working(name: str, doing: str = "thinking", *, since: float = 10.0) -> ActorView:
    """An actor at work since ``since`` seconds after the start."""
    used = Usage(input=100, output=20, cache_read=5000)
    return replace(
        waiting(name), phase=Phase.WORKING, started_at=START + since, doing=doing, usage=used, cost_usd=0.0042
    )


def settled(name: str, status: Status = Status.SUCCESS, *, took: float = 7.0) -> ActorView:
    """An actor that has ended."""
    ended = replace(working(name, "", since=0.0), phase=Phase.SETTLED, status=status, ended_at=START + took)
    return replace(ended, cost_usd=0.12, exit_code=0 if status is Status.SUCCESS else 1)


def picture(*actors: ActorView) -> RunView:
    """A run of these actors, going on."""
    return RunView(
        run_id=RUN,
        name="nightly",
        manifest_path="nightly.toml",
        run_dir=f"/runs/{RUN}",
        rehearsal=False,
        claude_version="2.1.330 (Claude Code)",
        started_at=START,
        ended_at=0.0,
        exit_code=None,
        was_interrupted=False,
        draining="",
        stopping=False,
        throttle="",
        throttled_until=0.0,
        starts_limit=2,
        max_parallel=2,
        budget_usd=None,
        spent_usd=sum(actor.cost_usd or 0.0 for actor in actors),
        usage=sum((actor.usage for actor in actors), Usage()),
        guarded=True,
        actors=actors,
    )


# --- trees ------------------------------------------------------------------------------------------------------------

CART = ActorId("worker-019ab001-2222-7222-8333-000000000001")
DOCS = ActorId("worker-019ab002-2222-7222-8333-000000000002")
QUALITY = ActorId("sublead-019ab003-3333-7222-8333-000000000003")
UNIT = ActorId("worker-019ab004-4444-7222-8333-000000000004")


def opened_tree(base: Path, *, run_id: str = RUN, **caps: object) -> f.RunOpened:
    """The first fact of a run with the lead ``coordinator``, four workers at most and two dollars to spend."""
    lead = TaskSpec(id=ActorId("coordinator"), directory="/repo", prompt="Lead.", model="claude-haiku-4-5")
    tree = replace(TreeSpec(lead=lead, max_workers=4, budget_usd=2.0, allow_subleads=True), **caps)
    spec = RunSpec(
        run_id=RunId(run_id),
        run_dir=str(base / run_id),
        manifest_path="shop.toml",
        tasks=(),
        tree=tree,
        budget_usd=5.0,
    )
    return f.RunOpened(at=START, run=spec, pid=4242, pitboss_version="0.10.0")


def spawned(actor: ActorId, label: str = "", *, by: str = "coordinator", at: float = 3.0) -> t.ActorSpawned:
    """A worker, or a sub-lead with half a dollar and two workers, comes into being."""
    is_sublead = actor.startswith("sublead-")
    return t.ActorSpawned(
        at=START + at,
        actor=actor,
        attempt=0,
        spec=TaskSpec(id=actor, directory="/repo", prompt=f"Do {label}.", model="claude-haiku-4-5"),
        role="sublead" if is_sublead else "worker",
        parent=ActorId(by),
        label=label,
        reserved_usd=0.0 if is_sublead else 0.1,
        envelope=Envelope(budget_usd=0.5, max_workers=2) if is_sublead else Envelope(),
    )


def grown(base: Path) -> list[f.AnyFact]:
    """A tree at work: two workers, one of them done, and a sub-lead with a worker; a store and two leases."""
    lease = Lease(
        scope="coordinator", name="trunk", lease_id="l1", holder=DOCS, acquired_at=START + 5, expires_at=START + 65
    )
    entry = Entry(
        path="/shared/cart",
        value=Value(text="done"),
        version=1,
        written_by=CART,
        written_at=START + 5,
        size_bytes=4,
    )
    return [
        opened_tree(base),
        f.GuardianStarted(at=START, pid=7),
        *begun("coordinator"),
        spawned(CART, "cart"),
        spawned(QUALITY, "quality", at=3.1),
        spawned(DOCS, "docs", at=3.2),
        *begun(CART, 4.0),
        *begun(QUALITY, 4.0),
        spawned(UNIT, by=QUALITY, at=5.0),
        t.StoreWritten(at=START + 5, layer="coordinator", entry=entry),
        t.LeaseTaken(at=START + 5, lease=lease),
        t.LeaseTaken(at=START + 5, lease=replace(lease, scope=RUN_WIDE, name="gpu", lease_id="l2", holder=QUALITY)),
        t.WaitBegan(
            at=START + 6,
            actor=ActorId("coordinator"),
            attempt=1,
            call_id=1,
            awaited=ForActors(ids=(CART, QUALITY), shape="any"),
            deadline=None,
        ),
        *done(CART, 7.0),
    ]


def state_of(facts: Iterable[f.AnyFact]) -> RunState:
    """The state after these facts."""
    return rebuilt(facts)


# --- runs on disk ---------------------------------------------------------------------------------------------------


def opened(base: Path, *tasks: str, run_id: str = RUN) -> f.RunOpened:
    """The first fact of a run with these tasks."""
    spec = RunSpec(
        run_id=RunId(run_id),
        run_dir=str(base / run_id),
        manifest_path="nightly.toml",
        tasks=tuple(TaskSpec(id=ActorId(task), directory="/repo", prompt="Do it.") for task in tasks),
        name="nightly",
    )
    return f.RunOpened(at=START, run=spec, pid=4242, pitboss_version="0.10.0")


def begun(task: str, at: float = 1.0) -> list[f.AnyFact]:
    """An actor comes to work."""
    actor = ActorId(task)
    return [
        f.ActorAdmitted(at=START + at, actor=actor, attempt=1, session_id="11111111-2222-4333-8444-555555555555"),
        f.WorktreeMade(
            at=START + at,
            actor=actor,
            attempt=1,
            path=f"/w/{task}",
            branch=task,
            base="abc",
            created_branch=True,
            cwd="",
        ),
        f.ProcessStarted(at=START + at, actor=actor, attempt=1, pid=77),
        f.SessionOpened(at=START + at, actor=actor, attempt=1),
        f.ToolUsed(at=START + at + 1, actor=actor, attempt=1, tool="Bash", summary="ls", verdict="allow"),
    ]


def done(task: str, at: float = 5.0) -> list[f.AnyFact]:
    """An actor that was at work ends well."""
    actor, used = ActorId(task), Usage(input=100, output=20)
    result = TurnResult(subtype="success", is_error=False)
    return [
        f.TurnFinished(at=START + at, actor=actor, attempt=1, result=result, usage=used, cost_usd=0.01),
        f.StopBegan(at=START + at, actor=actor, attempt=1, reason="finished"),
        f.ProcessEnded(
            at=START + at, actor=actor, attempt=1, certificate=Certificate(exit_code=0), usage=used, cost_usd=0.01
        ),
        f.WorktreeLeft(at=START + at, actor=actor, attempt=1, removed=True),
        f.ActorSettled(at=START + at, actor=actor, attempt=1, status=Status.SUCCESS),
    ]


def write_run(base: Path, facts: Iterable[f.AnyFact], *, run_id: str = RUN) -> RunDir:
    """A run's directory with a journal of these facts, each caused by the one before, and nobody at work on it."""
    folder = RunDir(base / run_id)
    folder.tasks.mkdir(parents=True)
    folder.lock.write_bytes(b"")
    folder.journal.write_bytes(encode_header({"run_id": run_id}))
    append(folder, facts)
    return folder


def append(folder: RunDir, facts: Iterable[f.AnyFact]) -> None:
    """More facts for a run's journal."""
    seq = folder.journal.read_bytes().count(b"\n") - 1
    with folder.journal.open("ab") as file:
        for number, fact in enumerate(facts, seq + 1):
            file.write(encode_entry(number, number - 1, "test", fact))
