"""Two runs side by side: which tasks belong together, and what must be known before the figures are compared.

All figures come from the records, so a run of Pitboss 0.9 compares with one of ours. What is said of it is
``comparing_report``'s. Called by ``commands`` for ``diff``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from pitboss.journal.rundir import RunDir
from pitboss.model.records import TaskRecord
from pitboss.model.run import ActorId, Status, Usage
from pitboss.model.views import ActorView
from pitboss.surfaces import words
from pitboss.surfaces.client import Run
from pitboss.wire.scalars import duration_ms

__all__ = ["Comparison", "Pair", "Side", "Task", "Totals", "compare"]

How = Literal["id", "prompt", "order"]
"""By what two tasks were found to belong together."""


class Task(NamedTuple):
    """A settled task of one of the runs."""

    record: TaskRecord
    actor: ActorView

    @property
    def took_ms(self) -> int:
        """Milliseconds from its start to its end."""
        return duration_ms(self.record.started_at, self.record.ended_at)


class Totals(NamedTuple):
    """The sums over the records of a run."""

    tasks: int
    failed: int
    wall_ms: int
    usage: Usage
    cost_usd: float
    cost_unknown: int
    """Records that name no cost; they count as 0."""


class Side(NamedTuple):
    """One of the runs."""

    run: Run
    tasks: dict[ActorId, Task]
    """Its settled tasks, in the order they settled."""
    totals: Totals
    unsettled: tuple[ActorView, ...]
    """What has no record, and so is not in the figures."""


class Pair(NamedTuple):
    """Two tasks that are compared."""

    a: Task
    b: Task
    how: How


class Comparison(NamedTuple):
    """Two runs, compared."""

    a: Side
    b: Side
    pairs: tuple[Pair, ...]
    """Tasks of the same id, in A's order."""
    alike: tuple[Pair, ...]
    """Of those without a partner of the same id, those that very likely do the same work."""
    only_a: tuple[ActorId, ...]
    only_b: tuple[ActorId, ...]
    notes: tuple[str, ...]
    """What makes the comparison less than it seems, one sentence each."""


def compare(a: Run, b: Run) -> Comparison:
    """Put two runs side by side."""
    left, right = _side(a), _side(b)
    pairs = tuple(Pair(task, right.tasks[name], "id") for name, task in left.tasks.items() if name in right.tasks)
    rest_a = [task for name, task in left.tasks.items() if name not in right.tasks]
    rest_b = [task for name, task in right.tasks.items() if name not in left.tasks]
    alike = tuple(_alike(rest_a, rest_b))
    return Comparison(
        left,
        right,
        pairs,
        alike,
        tuple(task.record.task_id for task in rest_a),
        tuple(task.record.task_id for task in rest_b),
        tuple(_notes(left, right, (*pairs, *alike))),
    )


def _side(run: Run) -> Side:
    actors = {actor.id: actor for actor in run.view.actors}
    tasks: dict[ActorId, Task] = {}
    for record in run.records:  # one that was sent on by 0.9 has a record for each time: the last one counts
        tasks.pop(record.task_id, None)
        tasks[record.task_id] = Task(record, actors[record.task_id])
    unsettled = tuple(actor for actor in run.view.actors if actor.id not in tasks)
    return Side(run, tasks, _totals(run, [task.record for task in tasks.values()]), unsettled)


def _totals(run: Run, records: Sequence[TaskRecord]) -> Totals:
    # Where a run that did not end has got to is not known; what is known is when its last task did.
    ended_at = run.view.ended_at or max((record.ended_at for record in records), default=run.view.started_at)
    return Totals(
        len(records),
        sum(record.status is not Status.SUCCESS for record in records),
        duration_ms(run.view.started_at, ended_at) if run.view.started_at else 0,
        sum((record.usage for record in records), Usage()),
        sum(record.cost_usd or 0.0 for record in records),
        sum(record.cost_usd is None for record in records),
    )


# --- who belongs to whom --------------------------------------------------------------------------------------------


def _alike(rest_a: Sequence[Task], rest_b: Sequence[Task]) -> Iterator[Pair]:
    """Partners for tasks whose ids say nothing, such as the random ones of workers."""
    by_prompt = _unique_prompts(rest_b)
    taken: set[ActorId] = set()
    for prompt, task in _unique_prompts(rest_a).items():
        if prompt in by_prompt:
            taken |= {task.record.task_id, by_prompt[prompt].record.task_id}
            yield Pair(task, by_prompt[prompt], "prompt")
    for role in ("worker-", "sublead-"):
        # 0.9 kept no prompt of a worker: the order in which they were asked for is all there is.
        yield from (
            Pair(one, other, "order")
            for one, other in zip(_of_role(rest_a, role, taken), _of_role(rest_b, role, taken), strict=False)
        )


def _unique_prompts(tasks: Sequence[Task]) -> dict[str, Task]:
    prompts = [task.actor.prompt for task in tasks]
    return {task.actor.prompt: task for task in tasks if task.actor.prompt and prompts.count(task.actor.prompt) == 1}


def _of_role(tasks: Sequence[Task], role: str, taken: set[ActorId]) -> list[Task]:
    found = [task for task in tasks if task.record.task_id.startswith(role) and task.record.task_id not in taken]
    return sorted(found, key=lambda task: task.record.started_at)


# --- what must be known ---------------------------------------------------------------------------------------------


def _notes(a: Side, b: Side, pairs: Sequence[Pair]) -> Iterator[str]:
    if a.run.path == b.run.path:
        yield "A and B are the same run"
    for name, side in (("A", a), ("B", b)):
        yield from _about(name, side)
    yield from _manifests(a.run, b.run)
    versions = (a.run.view.claude_version, b.run.view.claude_version)
    if None not in versions and versions[0] != versions[1]:
        yield f"different versions of claude: {versions[0]} in A, {versions[1]} in B"
    models = sorted({f"{pair.a.record.model} in A, {pair.b.record.model} in B" for pair in pairs if _swapped(pair)})
    if models:
        yield f"different models: {'; '.join(models)}"


def _about(name: str, side: Side) -> Iterator[str]:
    view = side.run.view
    if side.run.state != "complete":
        yield f"{name} is {side.run.state}: it did not end, and its wall-clock time goes to its last record"
    if view.was_interrupted:
        yield f"{name} was cut short by an operator"
    if side.unsettled:
        spent = sum(actor.cost_usd or 0.0 for actor in side.unsettled)
        money = f"; they have spent {words.money(spent)}" if spent else ""
        names = ", ".join(actor.id for actor in side.unsettled)
        total = words.plural(len(view.actors), "task")
        yield f"{len(side.unsettled)} of {total} of {name} have no record and are not counted: {names}{money}"
    if side.run.damaged:
        yield f"{words.plural(side.run.damaged, 'record')} of {name} could not be read and are not counted"
    if side.totals.cost_unknown:
        yield f"what {words.plural(side.totals.cost_unknown, 'task')} of {name} cost is not known and counts as 0"
    if view.rehearsal:
        yield f"{name} was a rehearsal: its figures are the script's"


def _manifests(a: Run, b: Run) -> Iterator[str]:
    texts = [_snapshot(a), _snapshot(b)]
    paths = (words.clean(a.view.manifest_path) or "unknown", words.clean(b.view.manifest_path) or "unknown")
    if all(texts) and texts[0] != texts[1]:
        same = f"{paths[0]} was changed in between" if paths[0] == paths[1] else f"{paths[0]} in A, {paths[1]} in B"
        yield f"different manifests: {same}"
    elif not all(texts) and paths[0] != paths[1]:
        yield f"different manifests, as far as is known: {paths[0]} in A, {paths[1]} in B"


def _snapshot(run: Run) -> bytes:
    try:
        return RunDir(run.path).snapshot.read_bytes()
    except OSError:
        return b""  # a run that 0.9 resumed has none


def _swapped(pair: Pair) -> bool:
    return None not in {pair.a.record.model, pair.b.record.model} and pair.a.record.model != pair.b.record.model
