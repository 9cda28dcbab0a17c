"""The rows of looking at a run: what a picture of many actors costs, whole and after one change."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.ground import Row
from pitboss.core.state import RunState, evolve
from pitboss.core.views import Views, run_view
from pitboss.model import facts as f
from pitboss.model.run import ActorId, Phase, Usage
from pitboss.wire import views as wire

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from support import pictures

ACTORS, SUBLEADS, ROUNDS = 500, 10, 41


def tree_of_many(place: Path) -> RunState:
    """A lead with ten sub-leads and 490 workers, half of them its own: some wait, some work, some have ended."""
    story: list[f.AnyFact] = [
        pictures.opened_tree(place, max_workers=None, budget_usd=5000.0),
        f.GuardianStarted(at=pictures.START, pid=7),
        *pictures.begun("coordinator"),
    ]
    leaders = [ActorId(f"sublead-019ab{n:03d}-3333-7222-8333-{n:012d}") for n in range(SUBLEADS)]
    for leader in leaders:
        story += [pictures.spawned(leader, leader[8:16]), *pictures.begun(leader)]
    for n in range(ACTORS - SUBLEADS):
        worker = ActorId(f"worker-019ac{n:03d}-2222-7222-8333-{n:012d}")
        story.append(pictures.spawned(worker, f"task {n}", by=leaders[n % SUBLEADS] if n % 2 else "coordinator"))
        story += pictures.begun(worker) if n % 3 else []
        story += pictures.done(worker) if n % 3 == 1 else []
    return pictures.state_of(story)


def snapshot(place: Path) -> Row:
    """A picture of 500 actors made from nothing and written down for a client; then what the next change costs."""
    state = tree_of_many(place)
    assert len(state.actors) == ACTORS + 1
    whole = _median_ms(lambda: wire.encode_snapshot(run_view(state), "bench"))
    views, working = Views(), [name for name, actor in state.actors.items() if actor.phase is Phase.WORKING]
    shown, steps, sizes = views.see(state), [], []
    for turn in range(ROUNDS):
        usage = Usage(output=turn + 1)
        fact = f.UsageCounted(
            at=pictures.START + 90, actor=working[turn], attempt=1, usage=usage, cost_usd=0.01 * (turn + 1)
        )
        state = evolve(state, fact)
        began = time.perf_counter()
        newer = views.see(state)
        line = wire.encode_delta(shown, newer)
        steps.append((time.perf_counter() - began) * 1000)
        sizes.append(len(line or b""))
        shown = newer
    size = len(wire.encode_snapshot(shown, "bench"))
    detail = (
        f"{size / 1000:.0f} kB; after one change {statistics.median(steps):.1f} ms and "
        f"{statistics.median(sizes) / 1000:.1f} kB"
    )
    return Row(f"snapshot of {ACTORS} actors", "<= 20 ms", f"{whole:.1f} ms", whole <= 20.0, detail)


def _median_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


ROWS: dict[str, Callable[[Path], Row]] = {"snapshot": snapshot}
"""Name on the command line -> measurement."""
