"""Which runs there are: told from what lives and what was written, never from a guess where a fact can be had."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest

from pitboss.errors import RunNotFound, WorldError
from pitboss.journal.discovery import RunEntry, discover, resolve
from pitboss.journal.entries import encode_entry, encode_header
from pitboss.journal.lock import RunLock
from pitboss.journal.rundir import RunDir
from pitboss.model.facts import AnyFact, ArtifactLost, GuardianStarted, RunEnded
from pitboss.model.records import RunRecord, TaskRecord
from pitboss.model.run import ActorId, RunId, Status, Usage
from pitboss.wire.artifacts import encode_run, encode_task

MINTED = 1767225600.0
"""The moment in the id of the fixture's run: 2026-01-01T00:00:00Z."""
NOW = MINTED + 86_400
HOUR = 3600.0


def a_record(task_id: str = "fix", status: Status = Status.SUCCESS, text: str = "Done.") -> TaskRecord:
    return TaskRecord(
        task_id=ActorId(task_id),
        status=status,
        exit_code=0,
        started_at=MINTED,
        ended_at=MINTED + 10,
        worktree_path=None,
        log_path="/x",
        usage=Usage(),
        session_id=None,
        final_message=text,
        model=None,
        failure=None,
        cost_usd=0.5,
    )


def a_summary(run_id: str, *tasks: TaskRecord, started_at: float = MINTED) -> bytes:
    return encode_run(
        RunRecord(
            run_id=RunId(run_id),
            manifest_path="jobs/fix.toml",
            manifest_name="nightly",
            pitboss_version="0.10.0",
            claude_version=None,
            started_at=started_at,
            ended_at=started_at + 20,
            was_interrupted=False,
            tasks=tasks,
            failed=sum(task.status is not Status.SUCCESS for task in tasks),
        )
    )


def write_journal(run: RunDir, *facts: AnyFact) -> None:
    lines = [encode_entry(seq, 0, "Test", fact) for seq, fact in enumerate(facts, 1)]
    run.journal.write_bytes(encode_header({}) + b"".join(lines))


def only(base: Path, runtime_dir: str = "") -> RunEntry:
    (entry,) = discover(base, now=NOW, runtime_dir=runtime_dir)
    return entry


@contextmanager
def listening(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield


@pytest.fixture
def short_path() -> Iterator[Path]:
    """The name of a socket may have about a hundred characters, which those of pytest's folders exceed."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def old_run(base: Path) -> Path:
    """A run of 0.9 in its first second: no lock, no journal."""
    path = base / "0190aaaa-0000-7000-8000-000000000000"
    path.mkdir(parents=True)
    (path / "summary.jsonl").touch()
    return path


def aged(path: Path, secs: float) -> None:
    os.utime(path, (NOW - secs, NOW - secs))


# --- states of a run of ours ---------------------------------------------------------------------------------------


def test_a_run_with_a_summary_is_complete_and_told_from_it(run: RunDir, base: Path) -> None:
    run.summary.write_bytes(a_summary(run.run_id, a_record("a"), a_record("b", Status.FAILED)))

    assert RunEntry(
        run.run_id,
        run.path,
        "complete",
        MINTED,
        2,
        1,
        name="nightly",
        ended_at=MINTED + 20,
        total_cost_usd=1.0,
    ) == only(base)


@pytest.mark.parametrize("size", [10, 70_000, 2_000_000])
def test_a_summary_of_any_size_tells_the_same(run: RunDir, base: Path, size: int) -> None:
    run.summary.write_bytes(a_summary(run.run_id, a_record("a", text="x" * size), a_record("b", Status.FAILED)))

    assert ("complete", 2, 1, 1.0) == only(base)[2:3] + only(base)[4:6] + (only(base).total_cost_usd,)


def test_a_summary_with_long_paths_at_its_head_is_read_whole(run: RunDir, base: Path) -> None:
    record = msgspec.json.decode(a_summary(run.run_id, a_record("a", text="x" * 70_000)))
    record["manifest_path"] = "p" * 10_000
    run.summary.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2))

    assert "complete" == only(base).state


@pytest.mark.parametrize("size", [10, 70_000])
def test_a_summary_that_cannot_be_read_makes_a_run_aborted(run: RunDir, base: Path, size: int) -> None:
    run.summary.write_bytes(a_summary(run.run_id, a_record(text="x" * size))[:-5])

    assert "aborted" == only(base).state


def test_a_run_whose_dispatcher_lives_is_running_however_old_its_files(run: RunDir, base: Path) -> None:
    run.summary_lines.write_bytes(encode_task(a_record()) + b"\n")
    aged(run.summary_lines, 10 * HOUR)

    with RunLock.acquire(run.lock):
        entry = only(base)

    assert ("running", os.getpid(), 1) == (entry.state, entry.pid, entry.tasks_total)


def test_a_run_whose_dispatcher_is_dead_is_interrupted_however_fresh_its_files(run: RunDir, base: Path) -> None:
    RunLock.acquire(run.lock).release()
    write_journal(run, GuardianStarted(at=MINTED, pid=1))
    run.summary_lines.write_bytes(encode_task(a_record("a", Status.FAILED)) + b"\n" + b'{"task_id":"torn')
    for actor in ("a", "b", "c"):
        run.task(actor).mkdir(parents=True)
    aged(run.summary_lines, 1)

    entry = only(base)

    assert ("interrupted", None, 3, 1, "nightly") == (
        entry.state,
        entry.pid,
        entry.tasks_total,
        entry.tasks_failed,
        entry.name,
    )


@pytest.mark.parametrize("journal", [True, False])
def test_a_run_that_died_before_its_first_fact_never_began(run: RunDir, base: Path, *, journal: bool) -> None:
    write_journal(run)
    if not journal:
        run.journal.unlink()
        run.lock.touch()

    assert "unbegun" == only(base).state


def test_a_run_that_ended_and_lost_its_summary_only_is_complete(run: RunDir, base: Path) -> None:
    ended = RunEnded(at=MINTED, exit_code=0, was_interrupted=False)
    write_journal(run, ended, ArtifactLost(at=MINTED, path="summary.json", message="the disk is full"))

    assert "complete" == only(base).state


def test_a_run_that_went_on_after_its_end_and_died_is_interrupted(run: RunDir, base: Path) -> None:
    ended = RunEnded(at=MINTED, exit_code=130, was_interrupted=True)
    write_journal(run, ended, GuardianStarted(at=MINTED, pid=1))

    assert "interrupted" == only(base).state


def test_a_run_without_a_name_goes_by_its_manifests(run: RunDir, base: Path) -> None:
    run.resolved.write_bytes(b'{"name":null}')

    assert "fix" == only(base).name


def test_a_run_that_may_not_be_looked_at_hides_no_other(run: RunDir, base: Path) -> None:
    (base / "another").mkdir()
    (base / "another" / "summary.json").mkdir()

    states = {entry.run_id: entry.state for entry in discover(base, now=NOW, runtime_dir="")}

    assert {"another": "unverifiable", run.run_id: "unbegun"} == states


# --- states of a run of 0.9 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "rows", "state"),
    [
        (1 * HOUR, 0, "running"),
        (4 * HOUR, 1, "running"),
        (-1 * HOUR, 0, "running"),
        (5 * HOUR, 0, "aborted"),
        (5 * HOUR, 1, "stale"),
    ],
)
def test_a_run_of_0_9_is_judged_by_the_age_of_its_last_record(
    old_run: Path, base: Path, age: float, rows: int, state: str
) -> None:
    (old_run / "summary.jsonl").write_bytes((encode_task(a_record()) + b"\n") * rows)
    aged(old_run / "summary.jsonl", age)

    assert (state, rows) == (only(base).state, only(base).tasks_total)


def test_a_run_of_0_9_without_any_record_file_is_aborted(old_run: Path, base: Path) -> None:
    (old_run / "summary.jsonl").unlink()

    assert "aborted" == only(base).state


@pytest.mark.parametrize("fallback", [True, False])
def test_a_run_of_0_9_whose_socket_answers_is_running(short_path: Path, fallback: bool) -> None:
    """Even if a dead socket lies in the other place."""
    run = short_path / "runs" / "r"
    run.mkdir(parents=True)
    shared = short_path / "xdg" / "pitboss" / "r.control.sock"
    shared.parent.mkdir(parents=True)
    live, dead = (run / "control.sock", shared) if fallback else (shared, run / "control.sock")
    with listening(dead):
        pass

    assert "aborted" == only(short_path / "runs", str(short_path / "xdg")).state
    with listening(live):
        assert "running" == only(short_path / "runs", str(short_path / "xdg")).state


# --- order, names --------------------------------------------------------------------------------------------------


def run_at(base: Path, moment: int, tail: str = "7000-8000-000000000000") -> Path:
    text = f"{moment:012x}"
    path = base / f"{text[:8]}-{text[8:]}-{tail}"
    path.mkdir(parents=True)
    return path


def test_runs_are_listed_newest_first_whatever_was_touched_since(base: Path) -> None:
    made = [run_at(base, 1_767_225_600_000 + n * 1000) for n in range(3)]
    named = base / "by-hand"
    named.mkdir()
    (named / "summary.json").write_bytes(a_summary("by-hand", started_at=MINTED + 1.5))
    os.utime(made[0], (NOW * 2, NOW * 2))

    assert [made[2], named, made[1], made[0]] == [entry.path for entry in discover(base)]


def test_no_folder_of_runs_means_no_runs(base: Path) -> None:
    assert [] == discover(base)


def test_a_folder_of_runs_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")

    with pytest.raises(WorldError, match=r"cannot read the runs in .*runs: Not a directory"):
        discover(tmp_path / "runs")


def test_files_beside_the_runs_are_no_runs(run: RunDir, base: Path) -> None:
    (base / f"{run.run_id}.bg-stderr.log").write_text("")

    assert run.path == only(base).path
    assert run.path == resolve(base, run.run_id[:3])


def test_a_run_is_meant_by_its_id_by_its_beginning_or_as_the_latest(base: Path) -> None:
    first, second, third = (run_at(base, 1_767_225_600_000 + n * 70_000) for n in range(3))
    longer = base / f"{second.name}-copy"
    longer.mkdir()
    os.utime(longer, (0, 0))

    assert second == resolve(base, second.name)
    assert first == resolve(base, first.name[:13])
    assert third == resolve(base, "latest")


def test_an_ambiguous_beginning_lists_the_candidates_newest_first(base: Path) -> None:
    made = [run_at(base, 1_767_225_600_000 + n) for n in range(12)]

    with pytest.raises(RunNotFound, match=r"^12 runs match prefix '019b', be more specific: .* and 2 more$") as caught:
        resolve(base, "019b")

    assert str(caught.value).index(made[11].name) < str(caught.value).index(made[2].name)


@pytest.mark.parametrize("name", ["..", ".", "/", "a/b", "../runs/x", "x\0"])
def test_a_path_is_never_a_run_id(run: RunDir, base: Path, name: str) -> None:
    with pytest.raises(RunNotFound, match="is not a run id but a path"):
        resolve(base, name)


@pytest.mark.parametrize(
    ("name", "message"),
    [("", "must not be empty"), ("zzz", "no run found matching prefix 'zzz' in "), ("019B", "no run found matching")],
)
def test_a_name_that_fits_no_run_is_told(run: RunDir, base: Path, name: str, message: str) -> None:
    with pytest.raises(RunNotFound, match=message):
        resolve(base, name)


def test_there_is_no_latest_run_before_the_first(base: Path) -> None:
    with pytest.raises(RunNotFound, match="no run found yet in "):
        resolve(base, "latest")
