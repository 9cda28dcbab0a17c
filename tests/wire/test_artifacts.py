"""The public files: byte for byte as readers of 0.9 expect them, and back, whatever their age."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.errors import WorldError
from pitboss.model.records import RunRecord, TaskRecord
from pitboss.model.run import ActorId, Failure, RunId, SetAside, Status, Usage
from pitboss.wire import artifacts, digest
from pitboss.wire.scalars import duration_ms, from_timestamp, to_json, to_timestamp

GOLDEN = Path(__file__).parent / "golden"
NEW_YEAR = 1767225600.0
"""2026-01-01T00:00:00Z."""

LINT = TaskRecord(
    task_id=ActorId("lint"),
    status=Status.FAILED,
    exit_code=1,
    started_at=NEW_YEAR,
    ended_at=NEW_YEAR + 1.234,
    worktree_path=None,
    log_path="/runs/r/tasks/lint/stdout.log",
    usage=Usage(),
    session_id=None,
    final_message=None,
    model="claude-sonnet-4-6",
    failure=Failure(kind="process_died", message="boom"),
    cost_usd=0.0,
)
FIX = TaskRecord(
    task_id=ActorId("fix"),
    status=Status.SUCCESS,
    exit_code=0,
    started_at=NEW_YEAR + 0.5,
    ended_at=NEW_YEAR + 60.000001,
    worktree_path="/runs/r/worktrees/fix",
    log_path="/runs/r/tasks/fix/stdout.log",
    usage=Usage(input=100, output=20, cache_read=5000, cache_creation=1000),
    session_id="0b0c7a3e-5c0f-4b6e-9d0a-3f4f1d2c5b6a",
    final_message='Done: the café is open — see "menu".',
    model="claude-sonnet-4-6",
    failure=None,
    cost_usd=0.25,
    set_aside=SetAside(ref="refs/pitboss/r/fix", commit="9fceb02", files=2, ignored=1),
    note="stopped a dev server that would not end",
)
NIGHTLY = RunRecord(
    run_id=RunId("019b76da-a800-7abc-8def-0123456789ab"),
    manifest_path="jobs/nightly.toml",
    manifest_name=None,
    pitboss_version="0.10.0",
    claude_version="2.1.330 (Claude Code)",
    started_at=NEW_YEAR,
    ended_at=NEW_YEAR + 60.25,
    was_interrupted=True,
    tasks=(LINT,),
    not_started=(ActorId("fix"),),
    rehearsal=True,
)


def published(record: TaskRecord) -> dict[str, object]:
    public = json.loads(artifacts.encode_task(record))
    assert isinstance(public, dict)
    return public


def changed(record: TaskRecord, **changes: object) -> TaskRecord:
    return msgspec.structs.replace(record, **changes)


# Strategies: times as a file can tell them, and the texts of records of ours.
times = st.integers(0, 4_102_444_800_000_000).map(lambda micros: micros / 1_000_000)
failures = st.builds(
    Failure, kind=st.sampled_from(get_args(get_type_hints(Failure)["kind"])), message=st.text()
) | st.builds(Failure, kind=st.just("rate_limit"), resets_at=times)
tokens = st.integers(0, 2**53)
tasks = st.builds(
    TaskRecord,
    started_at=times,
    ended_at=times,
    usage=st.builds(Usage, input=tokens, output=tokens, cache_read=tokens, cache_creation=tokens),
    exit_code=st.none() | st.integers(-255, 255),
    failure=st.none() | failures,
    cost_usd=st.none() | st.floats(0, 1e6),
    set_aside=st.none() | st.builds(SetAside, files=tokens, ignored=tokens),
    note=st.text(),
)


# --- bytes as written down in the contract -------------------------------------------------------------------------


def test_records_are_written_byte_for_byte_as_the_contract_says() -> None:
    golden = (GOLDEN / "summary.jsonl").read_bytes()

    assert golden == artifacts.encode_task(LINT) + b"\n" + artifacts.encode_task(FIX) + b"\n"
    assert ([LINT, FIX], 0) == artifacts.decode_tasks(golden)


def test_a_summary_is_written_byte_for_byte_as_the_contract_says() -> None:
    golden = (GOLDEN / "summary.json").read_bytes()

    assert golden == artifacts.encode_run(NIGHTLY)
    assert msgspec.structs.replace(NIGHTLY, manifest_name="nightly") == artifacts.decode_run(golden)


def test_meta_data_is_written_byte_for_byte_as_the_contract_says() -> None:
    golden = (GOLDEN / "meta.json").read_bytes()
    meta = artifacts.RunMeta(
        run_id=NIGHTLY.run_id,
        manifest_path="jobs/nightly.toml",
        pitboss_version="0.10.0",
        started_at="2026-01-01T00:00:00Z",
    )

    assert golden == artifacts.encode_meta(meta)
    assert meta == artifacts.decode_meta(golden)


def test_what_is_ours_comes_after_every_key_of_the_old_contract() -> None:
    old = list(json.loads((GOLDEN / "task_upstream.json").read_bytes()))

    assert [*old, "set_aside", "note"] == list(published(LINT))


# --- files of 0.9 ----------------------------------------------------------------------------------------------------


def test_a_record_of_0_9_is_read_with_any_form_of_time() -> None:
    record = artifacts.decode_task((GOLDEN / "task_upstream.json").read_bytes())

    assert (
        changed(
            LINT,
            started_at=NEW_YEAR + 0.123457,
            ended_at=NEW_YEAR + 1.357,
            failure=Failure(kind="unknown", message="boom"),
        )
        == record
    )


def test_an_old_summary_lacks_keys_and_has_strange_ones() -> None:
    record = artifacts.decode_run((GOLDEN / "summary_upstream.json").read_bytes())

    assert (None, (), False) == (record.manifest_name, record.not_started, record.rehearsal)
    (task,) = record.tasks
    assert (None, None, None, None) == (task.final_message, task.model, task.failure, task.cost_usd)
    assert "worktree error: no such branch" == task.note


def test_two_records_on_one_line_are_two_records() -> None:
    """Two writers of 0.9 could end at the same moment."""
    data = artifacts.encode_task(LINT) + artifacts.encode_task(FIX) + b"\n\n"

    assert ([LINT, FIX], 0) == artifacts.decode_tasks(data)


def test_a_torn_last_line_loses_only_itself() -> None:
    data = artifacts.encode_task(LINT) + b"\r\n\n  \nnonsense\n" + artifacts.encode_task(FIX)[:-20]

    assert ([LINT], 2) == artifacts.decode_tasks(data)


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_a_line_that_is_no_record_is_told(line: bytes) -> None:
    with pytest.raises(WorldError, match="this is not a task record"):
        artifacts.decode_task(line)


# --- what the values mean --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "public"),
    [
        (
            Failure(kind="rate_limit", message="later", resets_at=NEW_YEAR),
            {"kind": "rate_limit", "resets_at": "2026-01-01T00:00:00Z", "message": "later"},
        ),
        (Failure(kind="overloaded"), {"kind": "rate_limit", "resets_at": None, "message": ""}),
        (Failure(kind="auth_failure", message="401"), {"kind": "auth_failure", "message": "401"}),
        (Failure(kind="network_error", message="refused"), {"kind": "network_error", "message": "refused"}),
        (Failure(kind="budget_exceeded", message="$1"), {"kind": "unknown", "message": "$1"}),
        (Failure(kind="no_result", message="silent"), {"kind": "unknown", "message": "silent"}),
    ],
)
def test_each_failure_has_a_kind_that_0_9_knows_and_keeps_its_own(failure: Failure, public: dict[str, object]) -> None:
    assert {**public, "pitboss_kind": failure.kind} == published(changed(LINT, failure=failure))["failure_reason"]


@pytest.mark.parametrize("kind", get_args(get_type_hints(Failure)["kind"]))
def test_every_kind_of_failure_comes_back(kind: str) -> None:
    failure = msgspec.convert({"kind": kind, "message": "m"}, Failure)

    assert failure == artifacts.decode_task(artifacts.encode_task(changed(LINT, failure=failure))).failure


def test_a_failure_of_a_later_version_is_unknown_unless_0_9_has_a_word_for_it() -> None:
    line = artifacts.encode_task(LINT)

    later = line.replace(b'"process_died"', b'"solar_flare"')
    assert Failure(kind="unknown", message="boom") == artifacts.decode_task(later).failure
    softer = later.replace(b'"kind":"unknown"', b'"kind":"network_error"')
    assert Failure(kind="network_error", message="boom") == artifacts.decode_task(softer).failure


@pytest.mark.parametrize(
    ("changes", "preview"),
    [
        ({"final_message": "é" * 200}, "é" * 200),
        ({"final_message": "é" * 201}, "é" * 200 + "…"),
        ({"final_message": "", "note": "a note"}, ""),
        ({"note": "cancelled when the run was stopped"}, "cancelled when the run was stopped"),
        ({"status": Status.SPAWN_FAILED}, "boom"),
        ({}, None),
    ],
)
def test_the_preview_is_the_last_word_or_why_there_is_none(changes: dict[str, object], preview: str | None) -> None:
    assert preview == published(changed(LINT, **changes))["final_message_preview"]


def test_a_clock_that_went_backwards_makes_no_negative_duration() -> None:
    record = changed(LINT, ended_at=NEW_YEAR - 5)

    assert 0 == published(record)["duration_ms"]
    assert 0 == duration_ms(NEW_YEAR, NEW_YEAR - 0.1)


@pytest.mark.parametrize(("costs", "total"), [([], 0.0), ([None, None], None), ([0.1, 0.2, None], 0.3), ([1e-7], 1e-7)])
def test_the_total_cost_is_the_sum_of_what_is_known(costs: list[float | None], total: float | None) -> None:
    run = msgspec.structs.replace(NIGHTLY, tasks=tuple(changed(LINT, cost_usd=cost) for cost in costs))

    assert total == json.loads(artifacts.encode_run(run))["total_cost_usd"]


@pytest.mark.parametrize(
    ("name", "path", "shown"),
    [("nightly", "a.toml", "nightly"), (None, "jobs/a.b.toml", "a.b"), (None, ".toml", ".toml"), (None, "", None)],
)
def test_a_run_without_a_name_goes_by_its_manifests(name: str | None, path: str, shown: str | None) -> None:
    assert shown == artifacts.display_name(name, path)


def test_a_path_that_is_not_utf8_spoils_a_character_and_not_the_record() -> None:
    record = changed(LINT, worktree_path=os.fsdecode(b"/caf\xe9"))

    assert "/caf�" == published(record)["worktree_path"]
    assert b'{"\xef\xbf\xbd":["x",1]}' == to_json({"\udc80": ("x", 1)})


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-01-01T00:00:00Z", NEW_YEAR),
        ("2026-01-01t00:00:00.5z", NEW_YEAR + 0.5),
        ("2026-01-01 02:00:00.250+02:00", NEW_YEAR + 0.25),
        ("2025-12-31T23:59:60Z", NEW_YEAR),
        ("2025-12-31T23:59:59-00:00", NEW_YEAR - 1),
        ("2026-01-01T00:00:00", NEW_YEAR),
    ],
)
def test_any_rfc_3339_time_is_understood(text: str, at: float) -> None:
    assert at == from_timestamp(text)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", "1767225600"])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(WorldError, match="is not a time in RFC 3339 form"):
        from_timestamp(text)


# --- there and back, and a glance from the ends ---------------------------------------------------------------------


@given(at=times)
def test_a_time_comes_back_as_it_was(at: float) -> None:
    assert at == from_timestamp(to_timestamp(at))


@given(record=tasks)
def test_a_record_comes_back_as_it_was(record: TaskRecord) -> None:
    line = artifacts.encode_task(record)

    assert b"\n" not in line
    assert record == artifacts.decode_task(line)


@given(
    run=st.builds(
        RunRecord,
        manifest_name=st.text(min_size=1),
        started_at=times,
        ended_at=times,
        tasks=st.lists(tasks, max_size=4).map(tuple),
    )
)
def test_a_run_comes_back_as_it_was_and_a_glance_says_the_same(run: RunRecord) -> None:
    data = artifacts.encode_run(run)
    glance = digest.decode_digest(data)

    assert run == artifacts.decode_run(data)
    assert (run.run_id, run.manifest_name, len(run.tasks)) == (glance.run_id, glance.manifest_name, glance.tasks_total)
    half = data.index(b'\n  "tasks": [') + 20
    assert digest.digest_from_ends(data[:half], data[half:]) in {glance, None}


@pytest.mark.parametrize("name", ["summary.json", "summary_upstream.json"])
def test_the_ends_of_a_summary_are_enough_for_a_glance(name: str) -> None:
    data = (GOLDEN / name).read_bytes()

    assert digest.decode_digest(data) == digest.digest_from_ends(data[:1000], data[600:])


def test_ends_that_do_not_make_a_summary_are_not_trusted() -> None:
    data = (GOLDEN / "summary.json").read_bytes()

    assert digest.digest_from_ends(data[:100], data[-100:]) is None
    assert digest.digest_from_ends(data[:1000], data[600:-3]) is None
    assert digest.digest_from_ends(data[40:1000], data[600:]) is None


def test_records_are_printed_as_one_indented_array() -> None:
    text = artifacts.encode_tasks([LINT, FIX])

    assert text.startswith(b'[\n  {\n    "task_id": "lint"')
    assert [published(LINT), published(FIX)] == json.loads(text)
