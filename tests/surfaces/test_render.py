from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from pitboss.journal.discovery import RunEntry
from pitboss.model.run import Failure, SetAside, Status, Usage
from pitboss.model.views import RunView
from pitboss.surfaces import render
from support.pictures import RUN, START, picture, settled, waiting, working

NOW = START + 123


def mixed() -> RunView:
    failed = replace(
        settled("broken", Status.FAILED), failure=Failure(kind="auth_failure", message="401: who are you?")
    )
    return picture(settled("fix-parser"), working("write-docs"), failed, waiting("later"))


def ended() -> RunView:
    kept = SetAside(ref="refs/pitboss/r/fix-parser", commit="c", files=2)
    view = mixed()
    first = replace(view.actors[0], branch="fix", set_aside=kept, note="3 left-over processes stopped after it")
    broken = replace(view.actors[2], branch="b", worktree="/w/broken")
    return replace(picture(first, broken, waiting("later")), ended_at=START + 60, exit_code=1)


def test_status_shows_every_actor_also_those_that_wait_or_run() -> None:
    assert [
        f"Run: {RUN}",
        "State: running · nightly · started 2025-11-24 16:00:00 UTC · running for 2m03s",
        "TASK_ID                        STATUS             DURATION STARTED                    EXIT       COST",
        "-" * 101,
        "fix-parser                     ✓ Success                7s 2025-11-24 16:00:00           0      $0.12",
        "write-docs                     ● Running             1m53s 2025-11-24 16:00:10           —    $0.0042",
        "broken                         ✗ Failed                 7s 2025-11-24 16:00:00           1      $0.12",
        "later                          … Pending                 — —                             —          —",
        "-" * 101,
        "Total: 4  Failed: 1  Running: 1  Queued: 1  Cost: $0.24",
    ] == list(render.status_lines(mixed(), state="running", now=NOW))


def test_status_names_what_was_set_aside_while_the_run_still_goes_on() -> None:
    view = replace(ended(), ended_at=0.0)
    lines = list(render.status_lines(view, state="running", now=NOW))
    assert [
        "Where the work is:",
        "  fix-parser: branch fix, 2 files not committed, kept as refs/pitboss/r/fix-parser",
    ] == lines[-2:]


def test_what_an_earlier_attempt_has_left_is_named_though_the_next_never_began() -> None:
    again = replace(waiting("later"), attempt=1, branch="b", worktree="/w/later")
    lines = list(render.status_lines(picture(again, waiting("never")), state="interrupted", now=NOW))
    assert ["Where the work is:", "  later: branch b, worktree /w/later"] == lines[-3:-1]


def test_a_dead_dispatcher_leaves_nobody_running() -> None:
    lines = list(render.status_lines(mixed(), state="interrupted", now=NOW))

    assert lines[1].startswith("State: interrupted (its dispatcher is gone and did not finish it)")
    assert (
        "write-docs                     ? Interrupted             — 2025-11-24 16:00:10           —    $0.0042"
        == lines[5]
    )
    assert "Total: 4  Failed: 1  Interrupted: 1  NotStarted: 1  Cost: $0.24" in lines
    assert "Go on with it: pitboss resume 019ab000-1111" == lines[-1]


def test_on_a_narrow_terminal_the_table_of_status_shrinks() -> None:
    lines = list(render.status_lines(mixed(), state="running", now=NOW, width=60))

    assert "fix-parser ✓ Success            7s 16:00:00     0    $0.12" == lines[4]


def test_a_run_that_was_cut_short_and_still_accounted_for_says_so() -> None:
    view = replace(ended(), was_interrupted=True)
    entry = RunEntry(RUN, Path("/runs"), "complete", START, 6, 1, name="nightly", was_interrupted=True, rehearsal=True)
    assert "State: complete · cut short by an operator · nightly" in next(
        line for line in render.status_lines(view, state="complete", now=NOW) if line.startswith("State")
    )
    assert list(render.list_lines([entry]))[-1].endswith("complete    nightly (rehearsal) (cut short)")


def test_a_run_without_tasks_says_so() -> None:
    assert "(no tasks recorded yet)" == list(render.status_lines(picture(), state="running", now=NOW))[-1]


def test_a_finished_task_gets_one_line_with_fixed_columns() -> None:
    actor = replace(settled("a-task-with-quite-a-long-name"), usage=Usage(input=12345, output=678, cache_read=90))
    assert "a-task-with-quite-a… ✓ Success          7s 12345/678/90              0" == render.progress_line(actor)
    assert "x                    ! SpawnFail        7s 100/20/5000               1" == render.progress_line(
        settled("x", Status.SPAWN_FAILED)
    )


def test_the_list_of_runs_keeps_its_columns() -> None:
    entry = RunEntry(RUN, Path("/runs"), "interrupted", START, 6, 1, name="nightly")
    assert [
        "RUN ID                                 STARTED                  TASKS FAILED  STATUS      NAME",
        "─" * 80,
        f"{RUN}   2025-11-24 16:00:00 UTC      6      1  interrupted nightly",
    ] == list(render.list_lines([entry]))


def test_the_end_says_what_failed_and_where_the_work_is_and_what_to_try_next() -> None:
    assert [
        (
            "Run nightly: 1 of 3 tasks successful, 1 not, 1 never started, 1m00s, $0.24, "
            "200/40/10.0k tokens (in/out/cache)"
        ),
        "  ✓ Success     fix-parser        7s    $0.12",
        "  ✗ Failed      broken            7s    $0.12",
        "  – NotStarted  later              —        —",
        "Not successful:",
        "  broken: [auth_failure] 401: who are you?",
        "Noted:",
        "  fix-parser: 3 left-over processes stopped after it",
        "Where the work is:",
        "  fix-parser: branch fix, 2 files not committed, kept as refs/pitboss/r/fix-parser",
        "  broken: branch b, worktree /w/broken",
        "Next:",
        "  pitboss status 019ab000-1111",
        "  pitboss why 019ab000-1111 broken",
        "  pitboss attach 019ab000-1111 broken",
    ] == list(render.closing_lines(ended(), width=80))


def test_without_a_terminal_the_end_does_not_repeat_the_rows() -> None:
    lines = list(render.closing_lines(ended(), width=80, rows=False, runs_dir="/some where"))

    assert "Not successful:" == lines[1]
    assert "  pitboss status 019ab000-1111 --run-dir '/some where'" in lines


def test_the_end_of_a_rehearsal_says_that_it_was_one() -> None:
    lines = list(render.closing_lines(replace(ended(), rehearsal=True), width=80))

    assert lines[0].startswith("Rehearsal nightly: ")
    assert lines[1].startswith("This was a rehearsal: a scripted model answered")
