"""Two runs side by side, as an operator and a program see them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from click.testing import CliRunner, Result
from msgspec.structs import replace

from pitboss.journal.rundir import RunDir
from pitboss.model import facts as f
from pitboss.model.run import SetAside
from pitboss.surfaces.cli import cli
from support.legacy import OLD, Json, a_record, a_resolved_task, write_legacy
from support.pictures import RUN, START, append, begun, done, opened, write_run

OTHER = "0197d000-bbbb-7bbb-8ccc-ddddeeeeffff"
ASIDE = SetAside(ref=f"refs/pitboss/{RUN}/a", commit="c0ffee", files=3)


def diff(base: Path, a: str, b: str, *more: str) -> Result:
    return CliRunner().invoke(cli, ["diff", a, b, "--run-dir", str(base), *more], prog_name="pitboss")


def told(base: Path, a: str, b: str) -> Json:
    return cast("Json", json.loads(diff(base, a, b, "--json").stdout))


def ours(base: Path) -> RunDir:
    """A run that ended; the work of `a` was set aside."""
    facts = [
        replace(fact, set_aside=ASIDE) if isinstance(fact, f.WorktreeLeft) else fact
        for fact in [opened(base, "a"), *begun("a"), *done("a")]
    ]
    folder = write_run(base, facts)
    append(folder, [f.RunEnded(at=START + 9, exit_code=0, was_interrupted=False)])
    return folder


def theirs(base: Path, *records: Json | str, run_id: str = OLD, **more: object) -> Path:
    """A run of Pitboss 0.9 with these records."""
    tasks = [a_resolved_task(str(record["task_id"])) for record in records if not isinstance(record, str)]
    return write_legacy(base, tasks, records, run_id=run_id, **more)  # type: ignore[arg-type]  # each test names its own


def test_a_run_of_the_older_pitboss_compares_with_one_of_ours(tmp_path: Path) -> None:
    ours(tmp_path)
    failure = {"kind": "rate_limit", "resets_at": None}
    theirs(tmp_path, a_record("a", "Failed", failure_reason=failure, cost_usd=0.005, final_message="no"))

    lines = diff(tmp_path, OLD[:13], RUN[:13]).stdout.splitlines()

    assert [
        "A: 0197d000-aaaa · old · complete · started 2025-11-24 16:00:00 UTC",
        "B: 019ab000-1111 · nightly · complete · started 2025-11-24 16:00:00 UTC",
        "note: different manifests, as far as is known: old.toml in A, nightly.toml in B",
        "note: different models: claude-haiku-4-5 in A, claude-sonnet-4-6 in B",
        "",
        "TOTALS                     A              B            B−A",
        "  ok                     0/1            1/1             +1",
        "  wall-clock           2m00s             9s         -1m51s",
        "  in                     100            100              =",
        "  out                     20             20              =",
        "  cache read            5.0k              0          -5.0k",
        "  cache write             10              0            -10",
        "  cost               $0.0050          $0.01       +$0.0050",
        "",
        "PER TASK",
        "  a",
        "    A x Failed               1m00s     20 out   $0.0050",
        "    B + Success                 4s     20 out     $0.01  B−A: -56s = out +$0.0050",
        "      model: claude-haiku-4-5 in A, claude-sonnet-4-6 in B",
        "      A: rate_limit",
        f"      B: branch a, 3 files not committed, kept as {ASIDE.ref}",
        '      A says: "no"',
    ] == lines


def test_the_keys_of_the_older_pitboss_come_first_and_keep_their_meaning(tmp_path: Path) -> None:
    ours(tmp_path)
    theirs(tmp_path, a_record("a"), a_record("b", cost_usd=None))

    found = told(tmp_path, OLD, RUN)

    assert ["run_a_id", "run_b_id", "run_a_total", "run_b_total", "per_task", "only_a", "only_b"] == list(found)[:7]
    assert (OLD, RUN, ["b"], [], 1) == tuple(
        found[key] for key in ("run_a_id", "run_b_id", "only_a", "only_b", "version")
    )
    total = cast("Json", found["run_a_total"])
    names = ["tasks_total", "tasks_failed", "wall_ms", "token_in", "token_out", "cache_read", "cache_write", "cost_usd"]
    assert names == list(total)[:8]
    assert [2, 0, 120000, 200, 40, 10000, 20, 0.25] == [total[name] for name in names]
    (task,) = cast("list[Json]", found["per_task"])
    a, b = cast("Json", task["a"]), cast("Json", task["b"])
    assert ["status", "duration_ms", *names[3:]] == list(a)[:7]
    assert ("a", 60000, "Success", 0.25, 0.01) == (
        task["task_id"],
        a["duration_ms"],
        b["status"],
        a["cost_usd"],
        b["cost_usd"],
    )
    assert -0.24 == cast("Json", task["delta"])["cost_usd"]
    assert ("a", ASIDE.ref) == (b["branch"], cast("Json", b["set_aside"])["ref"])


def test_a_run_without_a_summary_is_rebuilt_and_its_bad_lines_are_named(tmp_path: Path) -> None:
    theirs(tmp_path, a_record("a"), run_id=OTHER)
    theirs(tmp_path, a_record("a"), '{"task_id":"b","sta', ended=False)

    result = diff(tmp_path, OLD, OTHER, "--json")

    assert 0 == result.exit_code
    assert f"warning: 1 of the records in {tmp_path / OLD} cannot be read and were skipped\n" == result.stderr
    found = json.loads(result.stdout)
    assert (1, 60000) == (found["run_a_total"]["tasks_total"], found["run_a_total"]["wall_ms"])
    assert ["1 record of A could not be read and are not counted"] == [n for n in found["notes"] if "record of" in n]


def test_money_of_a_tree_comes_from_its_records_and_workers_are_paired_by_their_order(tmp_path: Path) -> None:
    for run_id, names in ((OLD, ("worker-9", "worker-1")), (OTHER, ("worker-5", "worker-7"))):
        workers = [
            a_record(name, parent_task_id="boss", started_at=f"2025-11-24T16:00:0{at}Z")
            for at, name in enumerate(names)
        ]
        lead = a_resolved_task("boss")
        write_legacy(tmp_path, [], [*reversed(workers), a_record("boss", cost_usd=1.0)], run_id=run_id, lead=lead)

    found = told(tmp_path, OLD, OTHER)

    assert 1.5 == cast("Json", found["run_a_total"])["cost_usd"]
    assert ["boss"] == [pair["task_id"] for pair in cast("list[Json]", found["per_task"])]
    assert [("worker-9", "worker-5", "order"), ("worker-1", "worker-7", "order")] == [
        (pair["a_id"], pair["b_id"], pair["by"]) for pair in cast("list[Json]", found["alike"])
    ]
    text = diff(tmp_path, OLD, OTHER).stdout
    assert "worker-9 / worker-5 (same place in the order of starting)" in text
    assert "ONLY IN" not in text


def test_a_task_that_was_renamed_is_found_by_its_prompt(tmp_path: Path) -> None:
    write_legacy(tmp_path, [a_resolved_task("old", prompt="Mend it.")], [a_record("old")])
    write_legacy(tmp_path, [a_resolved_task("new", prompt="Mend it.")], [a_record("new")], run_id=OTHER)
    (pair,) = cast("list[Json]", told(tmp_path, OLD, OTHER)["alike"])
    assert ("old", "new", "prompt") == (pair["a_id"], pair["b_id"], pair["by"])


def test_a_run_that_was_cut_off_is_marked_and_says_what_is_not_counted(tmp_path: Path) -> None:
    write_run(tmp_path, [opened(tmp_path, "a", "b", "c"), *begun("a"), *done("a"), *begun("b")])
    theirs(tmp_path, a_record("a"), interrupted=True)

    result = diff(tmp_path, RUN, OLD)

    notes = [line for line in result.stdout.splitlines() if line.startswith("note: ")]
    assert "note: A is interrupted: it did not end, and its wall-clock time goes to its last record" in notes
    assert "note: 2 of 3 tasks of A have no record and are not counted: b, c" in notes
    assert "note: B was cut short by an operator" in notes
    assert "  wall-clock              5s          2m00s         +1m55s" in result.stdout


def test_the_same_manifest_changed_in_between_is_told(tmp_path: Path) -> None:
    theirs(tmp_path, a_record("a"))
    other = theirs(tmp_path, a_record("a"), run_id=OTHER)
    assert [] == told(tmp_path, OLD, OTHER)["notes"]
    (other / "manifest.snapshot.toml").write_text("# another\n")
    assert ["different manifests: old.toml was changed in between"] == told(tmp_path, OLD, OTHER)["notes"]


def test_what_an_agent_said_cannot_steer_the_terminal(tmp_path: Path) -> None:
    theirs(tmp_path, a_record("a", final_message="\x1b[2Jgone"))
    theirs(tmp_path, a_record("a"), run_id=OTHER)
    assert "\x1b" not in diff(tmp_path, OLD, OTHER).stdout


def test_runs_without_records_have_nothing_to_compare(tmp_path: Path) -> None:
    theirs(tmp_path)
    theirs(tmp_path, run_id=OTHER)
    result = diff(tmp_path, OLD, OTHER)
    assert (0, "(no tasks to compare)") == (result.exit_code, result.stdout.splitlines()[-1])


def test_a_run_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    theirs(tmp_path, a_record("a"))
    result = diff(tmp_path, OLD, "zzz")
    assert (1, True) == (result.exit_code, result.stderr.startswith("pitboss: no run found matching prefix 'zzz'"))
