"""Keeps a journal of each format that was ever written: ``python tests/journal/golden.py`` writes the present one's.

A golden journal is never written again once its format has been released: old ones stay readable, whatever comes.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pitboss.journal.entries import FORMAT, LARGEST_BYTES
from pitboss.journal.log import Journal
from pitboss.model import facts as f
from pitboss.model import signals as s
from pitboss.model.run import ActorId, Certificate, Failure, RunSpec, SetAside, Usage
from pitboss.testing.doubles import Story, a_result, a_run, a_task

PLACE = Path(__file__).with_name("golden")


def a_long_run() -> RunSpec:
    """Four tasks, with a budget; one has a prompt that is too long for a line."""
    tasks = ("a", "b", a_task("c", use_worktree=False), a_task("d", prompt="x" * (LARGEST_BYTES + 1)))
    return a_run(*tasks, max_parallel=2, budget_usd=9.0, worktree_cleanup="always")


def story(run: RunSpec) -> list[f.AnyFact]:
    """Most of what can happen in a run: work, a push back, a kill, a resume, a failure, an operator's stop."""
    told = Story(run)
    told.when(s.ClaudeProbed(at=told.at, version="2.1.330 (Claude Code)"))
    told.working("a", "b")
    told.when(s.ToolCalled(at=told.at, actor=ActorId("a"), attempt=1, tool="Bash", summary="ls", tool_use_id="t1"))
    told.when(s.UsageGrew(at=told.at, actor=ActorId("b"), attempt=1, usage=Usage(input=100, output=5)))
    told.when(s.ApiRetried(at=told.at, actor=ActorId("b"), attempt=1, status=529, delay_secs=1.0, error="overloaded"))
    told.when(s.Silent(at=told.at, actor=ActorId("b"), attempt=1, secs=300.0))
    told.when(s.Spoke(at=told.at, actor=ActorId("b"), attempt=1))
    told.after(11.0)
    told.when(s.BackgroundChanged(at=told.at, actor=ActorId("b"), attempt=1, tasks=("local_bash: server",)))
    told.turn_ends("a", a_result(0.5))
    told.gone("a", certificate=Certificate(exit_code=0, stopped=(17,)))
    aside = SetAside(ref=f"refs/pitboss/{run.run_id}/a", commit="c" * 40, files=2, ignored=1)
    told.when(s.WorktreeTidied(at=told.at, actor=ActorId("a"), attempt=1, removed=True, set_aside=aside))
    told.killed()
    told.reopened("b", "c")
    told.when(s.GuardianUp(at=told.at, pid=4))
    told.when(s.GuardianDown(at=told.at, message="killed"))
    told.when(s.GuardianUp(at=told.at, pid=5))
    told.working("b", "c")
    told.fails("b", Failure(kind="rate_limit", message="limit", resets_at=told.at + 60))
    told.tidied("b", removed=True)
    told.when(s.ArtifactFailed(at=told.at, path="tasks/c/stdout.log", message="No space left on device"))
    told.when(s.Interrupted(at=told.at, by="SIGINT"))
    told.when(s.Stop(at=told.at, by="SIGTERM"))
    told.turn_ends("c", a_result(0.1, is_error=True, subtype="error_during_execution"))
    told.gone("c", code=143)
    return told.facts


def main() -> None:
    path = PLACE / f"format-{FORMAT}" / "journal.jsonl"
    if path.exists():
        sys.exit(f"{path} is there already, and a golden journal is never written again")
    path.parent.mkdir(parents=True)
    journal = Journal.create(path, {"run_id": "golden"})
    for seq, fact in enumerate(story(a_long_run()), start=1):
        journal.append(fact, cause=seq - 1, by="Golden")
    asyncio.run(journal.sync())
    journal.close()


if __name__ == "__main__":
    main()
