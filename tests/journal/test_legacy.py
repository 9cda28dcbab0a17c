"""What is read of a run of Pitboss 0.9, and when it counts as one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pitboss.errors import WorldError
from pitboss.journal.legacy import branch_of, is_legacy, read_legacy, read_subleads, sibling_worktree
from pitboss.journal.rundir import RunDir
from support.legacy import OLD, a_record, a_resolved_task, write_legacy


def test_a_run_is_of_the_older_pitboss_until_it_has_a_journal(tmp_path: Path, run: RunDir) -> None:
    old = RunDir(write_legacy(tmp_path, [a_resolved_task("a")], []))
    assert is_legacy(old)
    old.lock.touch()  # whoever was to take it over was killed right after
    assert is_legacy(old)
    old.journal.touch()
    assert not is_legacy(old)
    assert not is_legacy(run), "one of ours that was cut off before its first fact"


def test_of_several_records_of_one_task_the_last_counts(tmp_path: Path) -> None:
    lines = [a_record("a", "Cancelled"), a_record("b"), a_record("a")]
    found = read_legacy(RunDir(write_legacy(tmp_path, [], lines, ended=False)))
    assert [("b", "Success"), ("a", "Success")] == [(name, one.status) for name, one in found.latest.items()]
    assert 0.0 == found.ended_at


def test_what_is_damaged_is_counted_or_named_and_hides_nothing(tmp_path: Path) -> None:
    folder = write_legacy(tmp_path, [], [a_record("a"), '{"task_id":', a_record("b")])
    (folder / "summary.json").write_text("{")
    (folder / "meta.json").write_text("no")
    (folder / "resolved.json").write_text("[]")
    found = read_legacy(RunDir(folder))
    assert (2, 1, None, 0.0) == (len(found.records), found.damaged, found.meta, found.started_at)
    assert found.resolved_problem.startswith("its resolved.json cannot be used: this is not a resolved manifest")


def test_a_folder_without_records_is_no_run(tmp_path: Path) -> None:
    (tmp_path / OLD).mkdir()
    with pytest.raises(WorldError, match="no summary found"):
        read_legacy(RunDir(tmp_path / OLD))


def test_a_start_that_is_no_time_is_not_known(tmp_path: Path) -> None:
    folder = write_legacy(tmp_path, [], [])
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"started_at": "yesterday"}))
    assert read_legacy(RunDir(folder)).meta is None


def test_branches_and_worktrees_are_told_by_their_names() -> None:
    assert f"/src/repo-pitboss-a-{OLD}" == str(sibling_worktree("a", OLD, "/src/repo"))
    assert f"/src/repo-pitboss-lead-a-{OLD}" == str(sibling_worktree("a", OLD, "/src/repo", "lead-"))
    assert f"pitboss-a-{OLD}" == branch_of("a", OLD, f"/src/repo-pitboss-a-{OLD}")
    assert f"pitboss-worker-w-{OLD}" == branch_of("w", OLD, f"/src/pitboss-web-pitboss-worker-w-{OLD}")
    assert branch_of("a", OLD, "/src/repo-of-somebody") is None


def test_of_sub_leads_the_last_good_line_counts_and_bad_ones_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "subleads.jsonl"
    assert ({}, 0) == read_subleads(path, bool), "one that is not there has no lines"
    lines = [
        '{"session_id":"one","sublead_id":"s"}',
        "",
        '{"session_id":"two","sublead_id":"s"}{"session_id":"x","sublead_id":"t"}',
        '{"session_id":"three","sublead_id":"s","more":1}',
        '{"session_id":"","sublead_id":"s"}',
        '{"session_id":"u","sublead_id":""}',
        "\udcff[",
    ]
    path.write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    assert ({"s": "three"}, 4) == read_subleads(path, bool)
