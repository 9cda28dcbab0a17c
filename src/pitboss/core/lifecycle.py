"""Law as data: which phase of an actor may follow which.

    queued ── preparing ── starting ── working ── finishing ─┐
       │          │           │           └──── stopping ────┼── tidying ── settled
       └──────────┴───────────┴──────────────────────────────┘

Back to ``queued`` leads only a resume: an attempt that was cut off with its dispatcher, or a settled actor that is
taken up again, or any whose work is to be done again from the start. From ``queued`` straight to ``settled`` leads only
an adoption: the record is one of Pitboss 0.9. A task without a worktree skips ``preparing``; one whose worktree or
process could not be had goes straight to its end. ``state.evolve`` asks here before it moves an actor: an illegal step
is our bug, raises, and changes nothing. A late report is not an illegal step: ``decide`` ignores it by rule and records
that it did.
"""

from __future__ import annotations

from types import MappingProxyType

from pitboss.errors import OurFault
from pitboss.model.run import ActorId, Phase

NEXT = MappingProxyType(
    {
        Phase.QUEUED: frozenset({Phase.PREPARING, Phase.STARTING, Phase.TIDYING, Phase.SETTLED}),
        Phase.PREPARING: frozenset({Phase.STARTING, Phase.TIDYING, Phase.QUEUED}),
        Phase.STARTING: frozenset({Phase.WORKING, Phase.FINISHING, Phase.STOPPING, Phase.TIDYING, Phase.QUEUED}),
        Phase.WORKING: frozenset({Phase.FROZEN, Phase.FINISHING, Phase.STOPPING, Phase.TIDYING, Phase.QUEUED}),
        Phase.FROZEN: frozenset({Phase.WORKING, Phase.STOPPING, Phase.TIDYING, Phase.PAUSED, Phase.QUEUED}),
        Phase.FINISHING: frozenset({Phase.TIDYING, Phase.QUEUED}),
        Phase.STOPPING: frozenset({Phase.PAUSED, Phase.TIDYING, Phase.QUEUED}),
        Phase.PAUSED: frozenset({Phase.QUEUED, Phase.TIDYING}),
        Phase.TIDYING: frozenset({Phase.SETTLED, Phase.QUEUED}),
        Phase.SETTLED: frozenset({Phase.QUEUED}),
    }
)
"""Phase -> the phases that may follow it."""

HAS_PROCESS = frozenset({Phase.STARTING, Phase.WORKING, Phase.FROZEN, Phase.FINISHING, Phase.STOPPING})
"""A process of the actor exists, or is about to."""

HOLDS_SLOT = HAS_PROCESS | {Phase.PREPARING}
"""An actor counts against ``max_parallel`` while it may have a process."""

IN_FLIGHT = frozenset({Phase.PREPARING, Phase.STARTING})
"""An actor counts against ``max_starts`` until its session is ready."""


class IllegalStep(OurFault):
    """An actor was to take a step that the table does not have."""


def check(actor: ActorId, now: Phase, then: Phase) -> None:
    """Raise ``IllegalStep`` unless ``then`` may follow ``now``."""
    if then not in NEXT[now]:
        raise IllegalStep(f"actor {actor} cannot go from {now} to {then}")
