"""How single values read: labels, durations, tokens, money, and text that came from an agent.

What is decided here is kept by every face, so that a status looks the same on the floor, in a table and in a
story. No layout (``render`` and ``floor`` do that), no reading of files. Called by every module of the surfaces.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from rich.cells import cell_len, set_cell_size

from pitboss.model.money import dollars
from pitboss.model.run import ActorId, Phase, Status, Usage
from pitboss.model.views import ActorView, LayerView, RunView

__all__ = [
    "AGE_UNITS",
    "NOTHING",
    "again",
    "age",
    "at",
    "clean",
    "clock",
    "compact",
    "counts",
    "duration",
    "elapsed",
    "fit",
    "full_name",
    "label",
    "moment",
    "money",
    "name",
    "name_of",
    "plural",
    "program",
    "renamed",
    "short_id",
    "size",
    "spent",
    "tokens",
    "workers",
]

NOTHING = "—"
"""Stands where a value is not known or does not apply."""

STATUS_LABELS = MappingProxyType(
    {
        Status.SUCCESS: "✓ Success",
        Status.FAILED: "✗ Failed",
        Status.TIMED_OUT: "⏱ TimedOut",
        Status.CANCELLED: "⊘ Cancelled",
        Status.SPAWN_FAILED: "! SpawnFailed",
        Status.APPROVAL_REJECTED: "⊘ ApprovalRej",
        Status.APPROVAL_TIMED_OUT: "⏱ ApprovalTO",
    }
)

PHASE_LABELS = MappingProxyType(
    {
        Phase.QUEUED: "… Pending",
        Phase.PREPARING: "◐ Starting",
        Phase.STARTING: "◐ Starting",
        Phase.WORKING: "● Running",
        Phase.FROZEN: "‖ Frozen",
        Phase.PAUSED: "‖ Paused",
        Phase.FINISHING: "● Finishing",
        Phase.STOPPING: "● Stopping",
        Phase.TIDYING: "● Tidying",
        Phase.SETTLED: "✗ Failed",
    }
)

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that draw nothing, or move the cursor, or turn the line around."""


def label(actor: ActorView, *, over: bool = False) -> str:
    """The actor's mark and word; ``over`` says that nobody is at work on its run any more."""
    if actor.status is not None:
        return STATUS_LABELS[actor.status]
    if not over:
        return PHASE_LABELS[actor.phase]
    return "– NotStarted" if actor.phase is Phase.QUEUED else "? Interrupted"


def name(actor: ActorView) -> str:
    """What an actor is called for short; every command takes it."""
    return clean(actor.name or actor.id)


def full_name(actor: ActorView) -> str:
    """An actor's label and the beginning of its id, or whichever of them there is."""
    short = actor.short_id or actor.id
    return f"{clean(actor.label)} ({short})" if actor.label else short


_MINTED = re.compile(r"(?<![\w/-])(?:worker|sublead)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![\w/-])")
"""An actor's id in a text; in a path or in a branch's name it stays what it is."""


def renamed(text: str, names: Mapping[ActorId, str]) -> str:
    """A text with the short names of actors where it has their ids."""
    return _MINTED.sub(lambda found: names.get(ActorId(found[0]), found[0]), text)


def duration(secs: float) -> str:
    """``—``, ``340ms``, ``12s``, ``4m07s`` or ``2h04m07s``."""
    if secs <= 0:
        return NOTHING
    if secs < 1:
        return f"{int(secs * 1000)}ms"
    minutes, seconds = divmod(int(secs), 60)
    if not minutes:
        return f"{seconds}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m{seconds:02}s" if hours else f"{minutes}m{seconds:02}s"


def elapsed(started_at: float, ended_at: float, now: float) -> float:
    """Seconds something took, or has taken so far; 0 if it has not begun."""
    return max(0.0, (ended_at or now) - started_at) if started_at else 0.0


def tokens(usage: Usage, *, short: bool = False) -> str:
    """``in/out/cache``, the cache being what was read from it; ``—`` before anything was said."""
    if usage.input + usage.output == 0:
        return NOTHING
    counts = (usage.input, usage.output, usage.cache_read)
    exact = "/".join(str(count) for count in counts)
    # 22 is the column of the progress table since the first version; a longer figure would break its rows.
    return "/".join(compact(count) for count in counts) if short or len(exact) > 22 else exact


def compact(count: int) -> str:
    """A count in at most five characters: ``950``, ``12.3k``, ``4.5M``."""
    if count < 1000:
        return str(count)
    for limit, unit in ((1e6, "k"), (1e9, "M"), (1e12, "G")):
        value = count / limit * 1000
        if value < 999.5:
            return f"{value:.1f}{unit}" if value < 99.95 else f"{value:.0f}{unit}"
    return f"{count / 1e12:.0f}T"


def money(usd: float | None) -> str:
    """Dollars: cents, or the first two significant digits below a cent."""
    return NOTHING if usd is None else dollars(usd)


def spent(view: RunView) -> str:
    """What the run has cost, and of how much: the lower of its hard limit and its lead's budget."""
    limits = [view.budget_usd, *(layer.budget_usd for layer in view.layers[:1])]
    limit = min((limit for limit in limits if limit is not None), default=None)
    return money(view.spent_usd) + (f" of {money(limit)}" if limit is not None else "")


def workers(layer: LayerView) -> str:
    """How many live workers a layer has, and how many it may have."""
    if layer.max_workers is None:
        return plural(layer.live_workers, "worker")
    return f"{layer.live_workers} of {plural(layer.max_workers, 'worker')}"


def counts(view: RunView) -> Iterator[tuple[int, str]]:
    """How many actors run, wait and have ended how; each with how soon it may be left out, the highest first.

    The text is empty where there is none.
    """
    queued, settled = view.count(Phase.QUEUED), view.count(Phase.SETTLED)
    tidying = view.count(Phase.TIDYING)  # its slot is free already: not counted against the cap
    yield 1, f"{len(view.actors) - queued - settled - tidying} running"
    yield 4, f"{tidying} tidying" if tidying else ""
    yield 3, f"{queued} queued" if queued else ""
    yield 1, f"{view.succeeded} done"
    yield 1, f"{view.failed} failed" if view.failed else ""
    cancelled = settled - view.succeeded - view.failed
    yield 2, f"{cancelled} cancelled" if cancelled else ""


def name_of(view: RunView) -> str:
    """What a run is called: its name, else its id."""
    return clean(view.name or view.run_id)


def moment(at: float) -> str:
    """``2026-03-01 12:00:00``, in UTC; ``—`` for never."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S") if at else NOTHING


def clock(at: float) -> str:
    """``12:00:00``, in UTC; ``—`` for never."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S") if at else NOTHING


def plural(count: int, noun: str) -> str:
    """``1 task``, ``3 tasks``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


AGE_UNITS = MappingProxyType({"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400})
"""Seconds in each unit that an age can be given in."""


def age(secs: float) -> str:
    """The largest whole unit: ``3d``, ``4h``, ``15m``, ``9s``."""
    unit = next(unit for unit in "dhms" if secs >= AGE_UNITS[unit] or unit == "s")
    return f"{int(secs // AGE_UNITS[unit])}{unit}"


def size(count: int) -> str:
    """Bytes, in short: ``12.3MB``."""
    return f"{compact(count)}B"


def short_id(run_id: str) -> str:
    """The part of a run id that tells when it started, to a millisecond: enough to name it by."""
    return run_id[:13]


def clean(text: str) -> str:
    """One line that is safe to print: what an agent wrote must not steer the operator's terminal."""
    if text.isascii() and text.isprintable():
        return text
    spaced = (" " if char in "\t\n\r\v\f" else char for char in text)
    return "".join(char for char in spaced if unicodedata.category(char) not in _HIDDEN)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """``text`` in exactly ``width`` terminal cells: padded, or cut with ``…``."""
    if width <= 0:
        return ""
    size = cell_len(text)
    if size > width:
        return set_cell_size(set_cell_size(text, width - 1).rstrip() + "…", width)
    padding = " " * (width - size)
    return padding + text if right else text + padding


def again(view: RunView) -> str:
    """How a run that came to nothing is dispatched once more, as it is typed."""
    return f"{program()} dispatch {shlex.quote(clean(view.manifest_path)) if view.manifest_path else 'MANIFEST'}"


def program() -> str:
    """How this very program is called from the shell it was called from: ``pitboss``, or the path of its script."""
    script = Path(sys.argv[0])
    known = shutil.which(script.name)
    if script.name != "pitboss" or not script.is_file() or (known and Path(known).samefile(script)):
        return "pitboss"
    here = Path.cwd()
    near = script.absolute().relative_to(here) if script.absolute().is_relative_to(here) else script.absolute()
    return shlex.quote(str(near))


def at(runs_dir: str | None) -> str:
    """What stands behind a suggested command so that it finds the run again; empty where the usual folder has it."""
    return f" --run-dir {shlex.quote(runs_dir)}" if runs_dir else ""
