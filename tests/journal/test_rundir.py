"""The run directory: private, whole, durable, and in one place for all commands."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pitboss.errors import OperatorError, WorldError
from pitboss.journal.disk import DISK
from pitboss.journal.rundir import RunDir, runs_base, typed

RUN_ID = "019b76da-a800-7abc-8def-0123456789ab"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_a_new_run_is_whole_and_for_its_owner_only_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    base = tmp_path / "share" / "runs"
    before = os.umask(umask)
    try:
        run = RunDir.create(base, RUN_ID, snapshot=b"snap", resolved=b"{}", meta=b"{ }")
    finally:
        os.umask(before)

    assert (b"snap", b"{}", b"{ }", b"") == tuple(
        path.read_bytes() for path in (run.snapshot, run.resolved, run.meta, run.summary_lines)
    )
    assert {0o600} == {mode(path) for path in run.path.iterdir() if path.is_file()}
    assert {0o700} == {mode(path) for path in (run.path, run.tasks, run.worktrees, base, base.parent)}
    assert 7 == len(list(run.path.iterdir())), "no draft is left behind"


def test_an_existing_folder_of_runs_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    RunDir.create(tmp_path, RUN_ID, snapshot=b"", resolved=b"", meta=b"")

    assert 0o755 == mode(tmp_path)


def test_a_used_run_id_never_overwrites_a_run(run: RunDir, base: Path) -> None:
    with pytest.raises(OperatorError, match=f"there is a run {run.run_id} in .* already"):
        RunDir.create(base, run.run_id, snapshot=b"other", resolved=b"", meta=b"")

    assert b"# a manifest\n" == run.snapshot.read_bytes()


@pytest.mark.parametrize("run_id", ["", ".", "..", "a/b", "/abs", "a\0b"])
def test_a_run_id_that_is_a_path_is_refused(base: Path, run_id: str) -> None:
    with pytest.raises(OperatorError, match="cannot be run id"):
        RunDir.create(base, run_id, snapshot=b"", resolved=b"", meta=b"")


def test_an_actor_cannot_point_out_of_the_run(run: RunDir) -> None:
    assert run.path / "tasks" / "fix" / "stdout.log" == run.stdout_log("fix")
    with pytest.raises(OperatorError, match="cannot be actor's id"):
        run.stdout_log("../../etc")


def test_a_base_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")

    with pytest.raises(WorldError, match=r"cannot create .*: Not a directory"):
        RunDir.create(tmp_path / "runs", RUN_ID, snapshot=b"", resolved=b"", meta=b"")


def test_an_atomic_write_replaces_the_whole_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_bytes(b"a long old content")
    path.chmod(0o644)

    DISK.write_atomic(path, b"new")

    assert b"new" == path.read_bytes()
    assert 0o600 == mode(path)
    assert [path] == list(tmp_path.iterdir())


def test_a_failed_atomic_write_keeps_the_old_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "taken"
    (path / "inside").mkdir(parents=True)

    with pytest.raises(WorldError, match=r"cannot write .*taken: Is a directory"):
        DISK.write_atomic(path, b"new")

    assert [path] == list(tmp_path.iterdir())


def test_what_was_asked_for_comes_first(tmp_path: Path) -> None:
    environ = {"PITBOSS_RUNS_DIR": "/from/environ", "XDG_DATA_HOME": "/data"}

    assert Path("/asked") == runs_base(environ, str(tmp_path), "/asked")
    assert Path("/from/environ") == runs_base(environ, str(tmp_path))
    assert tmp_path / "here" == runs_base({"PITBOSS_RUNS_DIR": "~/here"}, str(tmp_path))
    assert Path.cwd() / "rel" == runs_base({}, str(tmp_path), "rel")


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        ([], "data/pitboss/runs"),
        (["home/.local/share/pitboss/runs"], "home/.local/share/pitboss/runs"),
        (["data/pitboss/runs"], "data/pitboss/runs"),
        (["data/pitboss/runs", "home/.local/share/pitboss/runs"], "data/pitboss/runs"),
    ],
)
def test_runs_are_looked_for_where_runs_are(tmp_path: Path, existing: list[str], expected: str) -> None:
    for folder in existing:
        (tmp_path / folder).mkdir(parents=True)

    assert tmp_path / expected == runs_base({"XDG_DATA_HOME": str(tmp_path / "data")}, str(tmp_path / "home"))


def test_without_a_data_home_runs_are_under_the_home(tmp_path: Path) -> None:
    expected = tmp_path / ".local/share/pitboss/runs"

    assert expected == runs_base({}, str(tmp_path))
    assert expected == runs_base({"XDG_DATA_HOME": "relative/is/invalid"}, str(tmp_path))


def test_without_any_home_runs_are_where_we_stand() -> None:
    assert Path.cwd() / "pitboss-runs" == runs_base({}, "")


def test_a_command_names_the_folder_of_runs_only_where_it_is_not_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PITBOSS_RUNS_DIR", str(tmp_path / "usual"))
    usual, other = RunDir(tmp_path / "usual" / "r1"), RunDir(tmp_path / "my runs" / "r1")

    assert "pitboss resume r1" == usual.typed("resume")
    assert f"pitboss budget r1 USD --run-dir '{tmp_path}/my runs'" == other.typed("budget", "USD")
    assert "./pitboss list" == typed(tmp_path / "usual", "list", program="./pitboss")
