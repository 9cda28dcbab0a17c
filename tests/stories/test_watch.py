"""A run watched from another terminal: while it goes on, when its dispatcher is killed, and after it has ended."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import cast

import pytest

from pitboss.core.state import RunState, evolve
from pitboss.core.views import run_view
from pitboss.journal.log import replay
from pitboss.surfaces.client import RunClient
from support.parts import until_exists
from support.pit import Ended, Json, Pit

pytestmark = pytest.mark.slow


def gated(pit: Pit, gate: Path) -> Path:
    """A manifest with a task that works until a file is there, and one that is done at once."""
    return pit.manifest({"gated": [until_exists(gate), {"text": "through"}], "quick": "go"}, worktree_cleanup="always")


def watching(pit: Pit, *words: str) -> subprocess.Popen[str]:
    """Watch the newest run from another terminal; returns once it has said how the run stands."""
    process = pit.start("watch", "latest", "--json", *words, "--run-dir", str(pit.runs))
    assert process.stdout is not None
    assert "run" == json.loads(process.stdout.readline())["kind"]
    return process


def kinds(ended: Ended, actor: str | None = None) -> list[str]:
    """What happened, in order; to one actor if asked."""
    told = [cast("Json", json.loads(line)) for line in ended.out.splitlines()]
    return [str(change["kind"]) for change in told if actor in {None, change.get("actor")}]


def test_a_run_at_work_is_watched_to_its_end(pit: Pit) -> None:
    gate = pit.place / "gate"
    process = pit.dispatching(gated(pit, gate))
    pit.until(lambda run: run.told("ToolUsed", "gated") or run.told("SessionOpened", "gated"))

    watcher = watching(pit)
    gate.touch()
    dispatched, watched = pit.finish(process), pit.finish(watcher)

    assert (0, 0) == (dispatched.code, watched.code), watched.err
    assert "settled" == kinds(watched, "gated")[-1]
    assert "ended" == kinds(watched)[-1]


def test_what_the_dispatcher_shows_is_what_its_journal_leads_to(pit: Pit) -> None:
    gate = pit.place / "gate"
    process = pit.dispatching(gated(pit, gate))
    pit.until(lambda run: run.told("SessionOpened", "gated"))

    with RunClient(pit.run.path) as seen:
        views = []
        for view in seen.follow(every_ms=1):
            views.append(view)
            gate.touch()
        assert seen._following is not None
        assert seen._following._epoch, "it was shown by the dispatcher, and not read"

    state, by_cursor = RunState(), {}
    for entry in replay(pit.run.path / "journal.jsonl"):
        state = evolve(state, entry.fact)
        by_cursor[entry.seq] = run_view(state, entry.seq)
    assert len(views) >= 2, "at work, and over; what comes between may come at once"
    assert [by_cursor[view.cursor] for view in views] == views
    assert 0 == pit.finish(process).code


def test_a_run_that_fails_is_watched_to_a_bad_end(pit: Pit) -> None:
    pit.dispatch(pit.manifest({"bad": [{"exit": 3}]}))

    watched = pit.pitboss("watch", "--run-dir", str(pit.runs))
    once = pit.pitboss("watch", "--once", "--run-dir", str(pit.runs))

    assert (1, 0) == (watched.code, once.code)
    assert "1 failed" in once.out
    assert "! bad ended with Failed" in watched.out


def test_ctrl_c_ends_the_watching_and_not_the_run(pit: Pit) -> None:
    gate = pit.place / "gate"
    process = pit.dispatching(gated(pit, gate))
    pit.until(lambda run: run.told("SessionOpened", "gated"))

    watcher = watching(pit)
    watcher.send_signal(signal.SIGINT)
    watched = pit.finish(watcher)
    gate.touch()

    assert (130, "") == (watched.code, watched.err)
    assert 0 == pit.finish(process).code


def test_a_run_whose_dispatcher_is_killed_and_resumed_is_watched_on(pit: Pit) -> None:
    gate = pit.place / "gate"
    process = pit.dispatching(gated(pit, gate))
    pit.until(lambda run: run.told("SessionOpened", "gated"))

    watcher = watching(pit)
    process.kill()
    process.communicate()
    resumed = pit.start("resume", "latest", "--run-dir", str(pit.runs))
    gate.touch()
    watched = pit.finish(watcher)

    assert 0 == pit.finish(resumed).code
    assert 0 == watched.code, watched.err
    assert "cut_off" not in kinds(watched)
    assert ["started", "settled"] == [kind for kind in kinds(watched, "gated") if kind in {"started", "settled"}]
    assert "ended" == kinds(watched)[-1]
