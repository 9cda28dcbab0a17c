"""Runs that were cut off, and go on: what ``kill -9`` costs is time, nothing else."""

import itertools
import os
import resource
import signal
import subprocess
from collections.abc import Callable

import pytest

from pitboss.journal.lock import RunLock
from pitboss.journal.rundir import RunDir
from support.parts import until_exists
from support.pit import Ended, Pit
from support.rehearsal import start_model

pytestmark = pytest.mark.slow

# The first attempt commits its work and is cut off; a later one finds it and adds to it.
CUT_OFF = [
    {"tool": "Bash", "input": {"command": "echo one > one && git add -A && $COMMIT one"}},
    {"tool": "Bash", "input": {"command": "echo draft > draft"}},
    {"delay": 60},
]


def cut_off(pit: Pit, tasks: dict[str, object], cap: int = 4) -> None:
    """Dispatch, wait until ``a`` has left a draft, kill the dispatcher and wait for its guardian."""
    pit.env["COMMIT"] = "git -c user.name=a -c user.email=a@b commit -qm"
    process = pit.dispatching(pit.manifest(tasks, max_parallel_tasks=cap))
    pit.until(lambda run: len(run.told("ToolUsed", "a")) >= 2)
    pit.until(lambda run: (run.path / "worktrees" / "a" / "draft").exists())
    process.kill()
    process.communicate()


def resume(pit: Pit, *words: str) -> Ended:
    return pit.pitboss("resume", *words, "--run-dir", str(pit.runs))


def test_a_killed_run_goes_on_in_its_worktrees_and_sessions_exactly_once(pit: Pit) -> None:
    cut_off(pit, {"a": CUT_OFF, "b": "go", "c": "go"}, cap=2)
    done = {str(fact["actor"]) for fact in pit.run.told("ActorSettled")}

    ended = resume(pit)

    run = pit.run
    assert (0, {"a": "Success", "b": "Success", "c": "Success"}) == (ended.code, run.statuses()), ended.err
    assert 1 == len(list(pit.runs.iterdir())), "it is the same run"
    settled = [str(fact["actor"]) for fact in run.told("ActorSettled")]
    assert ["a", "b", "c"] == sorted(settled)
    for name in done:
        assert 1 == len(run.told("ActorAdmitted", name)), f"{name} was settled and is not run again"
    first, second = run.told("ActorAdmitted", "a")
    assert first["session_id"] == second["session_id"] == run.record("a")["claude_session_id"]
    (lost,) = run.told("AttemptLost", "a")
    assert lost["resume"]
    aside = run.record("a")["set_aside"]
    assert isinstance(aside, dict)
    assert "draft" == pit.git("show", f"{aside['ref']}:draft")
    assert "one" == pit.git("show", f"pitboss-a-{run.path.name}:one")
    assert 3 == len((run.path / "summary.jsonl").read_text().splitlines())


def test_money_of_all_attempts_adds_up_to_the_last_line_that_was_heard(pit: Pit) -> None:
    """The dispatcher dies before it has reported what its agent used: the log knows."""
    touch = {"tool": "Bash", "input": {"command": "touch draft"}}
    for runs in itertools.count(1):
        process = pit.dispatching(pit.manifest({"a": [touch, {"delay": 60}]}))
        pit.until(lambda run: run.told("ToolUsed", "a") and len(list(pit.runs.iterdir())) == runs)  # noqa: B023 - now
        process.kill()
        process.communicate()
        if not pit.run.told("UsageCounted", "a"):
            break  # it reports within a second: on a busy machine the kill may come later than that
    resume(pit)

    run = pit.run
    reopened = next(n for n, fact in enumerate(run.facts) if fact["fact"] == "RunReopened")
    (counted,) = [fact for fact in run.facts[reopened:] if fact["fact"] == "UsageCounted" and fact["attempt"] == 1]
    lost = run.told("UsageCounted", "a") + run.told("TurnFinished", "a")
    by_attempt = {fact["attempt"]: float(str(fact["cost_usd"])) for fact in lost}
    assert {1, 2} == set(by_attempt)
    assert float(str(counted["cost_usd"])) == by_attempt[1] > 0
    assert sum(by_attempt.values()) == pytest.approx(float(str(run.record("a")["cost_usd"])))


def test_a_run_that_was_stopped_goes_on_too(pit: Pit) -> None:
    process = pit.dispatching(pit.manifest({"a": CUT_OFF, "b": "go"}, max_parallel_tasks=1))
    pit.until(lambda run: run.told("SessionOpened"))
    process.send_signal(signal.SIGTERM)
    assert 130 == pit.finish(process).code

    assert 0 == resume(pit).code
    assert {"a": "Success", "b": "Success"} == pit.run.statuses()


def test_a_resume_is_refused_while_a_dispatcher_lives(pit: Pit) -> None:
    go = pit.place / "go"
    process = pit.dispatching(pit.manifest({"a": [until_exists(go)]}))
    pit.until(lambda run: run.told("SessionOpened"))

    refused = resume(pit)
    go.touch()

    assert 2 == refused.code
    assert str(process.pid) in refused.err
    assert 0 == pit.finish(process).code


def test_what_ended_well_has_nothing_to_resume(pit: Pit) -> None:
    pit.dispatch(pit.manifest({"a": "go"}))

    refused = resume(pit)

    assert (2, True) == (refused.code, "nothing to resume" in refused.err)
    assert (pit.run.path / "summary.json").exists()


def test_an_order_that_is_just_being_left_in_the_journal_does_not_stop_a_resume(pit: Pit) -> None:
    cut_off(pit, {"a": CUT_OFF})
    with RunLock.acquire(RunDir(pit.run.path).lock):  # as a command has it that leaves an order
        process = pit.start("resume", "--run-dir", str(pit.runs))
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.0)
    pit.until(lambda run: run.told("RunReopened"))
    process.kill()
    process.communicate()


def test_a_kill_before_the_summary_was_written_is_made_good(pit: Pit) -> None:
    pit.dispatch(pit.manifest({"a": "go"}))
    before = pit.run.summary["tasks"]
    (pit.run.path / "summary.json").unlink()

    assert 0 == resume(pit).code
    assert before == pit.run.summary["tasks"]


def test_a_run_that_never_began_is_to_be_dispatched_again(pit: Pit) -> None:
    pit.dispatch(pit.manifest({"a": "go"}))
    (pit.run.path / "journal.jsonl").unlink()

    refused = resume(pit)

    assert (2, True) == (refused.code, "dispatch its manifest again" in refused.err)


def test_a_run_that_ended_with_failures_takes_those_up(pit: Pit) -> None:
    pit.dispatch(pit.manifest({"a": [{"exit": 3}], "b": "go"}))
    assert {"a": "Failed", "b": "Success"} == pit.run.statuses()

    resume(pit)

    assert [1, 2] == [fact["attempt"] for fact in pit.run.told("ActorAdmitted", "a")]
    assert [1] == [fact["attempt"] for fact in pit.run.told("ActorAdmitted", "b")]
    assert 2 == len((pit.run.path / "summary.jsonl").read_text().splitlines())


def test_what_was_set_aside_of_a_failed_task_lies_in_its_next_worktree(pit: Pit) -> None:
    draft = {"tool": "Bash", "input": {"command": "echo draft > draft"}}
    pit.dispatch(pit.manifest({"a": [draft, {"exit": 3}]}, worktree_cleanup="always"))
    assert not (pit.run.path / "worktrees" / "a").exists()

    resume(pit)

    made = pit.run.told("WorktreeMade", "a")
    assert [False, True] == ["brought_back" in fact for fact in made]
    assert made[0]["base"] == made[1]["base"]
    aside = pit.run.record("a")["set_aside"]
    assert isinstance(aside, dict)
    assert aside["ref"].endswith("/a.2"), "the second attempt had it, and left it once more"
    assert "draft" == pit.git("show", f"{aside['ref']}:draft")


def test_a_task_begins_again_from_the_start_and_its_old_work_is_kept(pit: Pit) -> None:
    seen = pit.place / "seen"
    pit.env |= {"COMMIT": "git -c user.name=a -c user.email=a@b commit -qm", "SEEN": str(seen)}
    look = {"tool": "Bash", "input": {"command": "(git log --format=%s; ls) >> $SEEN"}}
    work = {"tool": "Bash", "input": {"command": "echo one > one && git add -A && $COMMIT one && echo draft > draft"}}
    pit.dispatch(pit.manifest({"a": [look, work, {"exit": 3}], "b": "go", "c": [{"exit": 3}]}))
    branch = f"pitboss-a-{pit.run.path.name}"
    old, base = pit.git("rev-parse", branch), pit.git("rev-parse", "main")
    pit.git("commit", "-q", "--allow-empty", "-m", "the operator goes on")

    resume(pit, "--fresh", "a")

    run = pit.run
    assert ["first", "README"] * 2 == seen.read_text().split(), "it finds what it found the first time"
    assert {"a": 2, "b": 1, "c": 1} == {name: len(run.told("ActorAdmitted", name)) for name in "abc"}
    first, second = run.told("ActorAdmitted", "a")
    assert first["session_id"] != second["session_id"]
    assert [base, base] == [fact["base"] for fact in run.told("WorktreeMade", "a")]
    ref = f"refs/pitboss/{run.path.name}/a"
    assert old == pit.git("rev-parse", f"{ref}^")
    assert "draft" == pit.git("show", f"{ref}:draft")
    assert ref in str(run.record("a")["note"])
    assert 1 == int(pit.git("rev-list", "--count", f"{base}..{branch}"))

    back = pit.pitboss("restore", "latest", "a", "--into", str(pit.place / "back"), "--run-dir", str(pit.runs))

    assert 0 == back.code, back.err
    assert (old, "?? draft") == tuple(
        pit.git(*words, cwd=pit.place / "back") for words in (("rev-parse", "HEAD"), ("status", "--porcelain"))
    )


def test_a_dispatcher_killed_while_a_task_is_to_begin_again_is_followed_by_one_that_sees_to_it(pit: Pit) -> None:
    cut_off(pit, {"a": CUT_OFF})
    branch = f"pitboss-a-{pit.run.path.name}"
    # Within the same second the next attempt's commit would be the very same one.
    pit.git("commit", "-q", "--amend", "-m", "another", cwd=pit.run.path / "worktrees" / "a")
    old, base = pit.git("rev-parse", branch), pit.git("rev-parse", "main")
    process = pit.start("resume", "--fresh", "a", "--run-dir", str(pit.runs))
    pit.until(lambda run: run.told("AttemptLost", "a"))
    process.kill()
    process.communicate()

    process = pit.start("resume", "--run-dir", str(pit.runs))
    run = pit.until(lambda run: [fact for fact in run.told("SessionOpened", "a") if str(fact["attempt"]) > "1"])
    process.send_signal(signal.SIGTERM)
    pit.finish(process)

    ref = f"refs/pitboss/{run.path.name}/a"
    assert [ref] == pit.git("for-each-ref", "--format=%(refname)", "refs/pitboss").split()
    assert (old, "draft") == (pit.git("rev-parse", f"{ref}^"), pit.git("show", f"{ref}:draft"))
    assert {base} == {str(fact["base"]) for fact in run.told("WorktreeMade", "a")}
    assert old not in pit.git("rev-list", branch).split()


def test_a_task_nobody_knows_cannot_begin_again(pit: Pit) -> None:
    pit.dispatch(pit.manifest({"a": "go", "b": "go"}))
    before = pit.run.facts

    refused = resume(pit, "--fresh", "x")

    assert (2, True) == (refused.code, "no task 'x'" in refused.err and "there are: a, b" in refused.err)
    assert (before, True) == (pit.run.facts, (pit.run.path / "summary.json").exists())


def test_it_works_from_elsewhere_without_the_manifest_and_after_many_crashes(pit: Pit) -> None:
    cut_off(pit, {"a": CUT_OFF})
    (pit.place / "pit.toml").unlink()
    for attempt in (2, 3):
        process = pit.start("resume", "--run-dir", str(pit.runs), cwd="/")
        pit.until(lambda run: len(run.told("ActorAdmitted", "a")) == attempt)  # noqa: B023 - asked at once
        process.kill()
        process.communicate()

    ended = pit.finish(pit.start("resume", "--run-dir", str(pit.runs), cwd="/"))

    assert (0, "Success") == (ended.code, pit.run.record("a")["status"]), ended.err
    assert [2, 3, 4] == [fact["epoch"] for fact in pit.run.told("RunReopened")]
    assert 1 == len(pit.run.told("ActorSettled"))


def test_a_torn_last_line_is_cut_off_and_reported(pit: Pit) -> None:
    cut_off(pit, {"a": CUT_OFF})
    journal = pit.run.path / "journal.jsonl"
    facts = len(pit.run.facts)
    with journal.open("ab") as file:
        file.write(b'{"seq":9999,"cause":0,"via":"Tick","fact":"Ru')

    ended = resume(pit)

    assert 0 == ended.code
    assert "half written" in ended.err
    assert [fact["seq"] for fact in pit.run.facts] == list(range(1, len(pit.run.facts) + 1))
    assert len(pit.run.facts) > facts


def test_a_damaged_middle_stops_the_reader_and_says_where(pit: Pit) -> None:
    cut_off(pit, {"a": CUT_OFF})
    journal = pit.run.path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"at":', b'"AT":')
    journal.write_bytes(b"".join(lines))

    refused = resume(pit)

    assert 1 == refused.code
    assert "journal.jsonl:4" in refused.err
    assert "Traceback" not in refused.err


def test_survivors_of_the_old_dispatcher_and_its_guardian_are_stopped_first(pit: Pit) -> None:
    """The guardian is killed before the dispatcher: nobody is left to clean up but the next dispatcher."""
    process = pit.dispatching(pit.manifest({"a": [{"spawn": 600}, {"delay": 60}]}))
    run = pit.until(lambda run: run.told("SessionOpened") and len(pit.with_cookie()) >= 2)
    guardian = str(run.told("GuardianStarted")[0]["pid"])
    subprocess.run(["kill", "-STOP", str(process.pid)], check=True)
    subprocess.run(["kill", "-9", guardian], check=True)
    process.kill()
    process.communicate()
    assert pit.with_cookie()

    ended = resume(pit)

    assert 0 == ended.code, ended.err
    (reopened,) = pit.run.told("RunReopened")
    assert reopened["stopped"]
    assert [] == pit.with_cookie()


def test_a_resume_waits_for_a_guardian_that_is_late(pit: Pit) -> None:
    """It would stop the sessions of the next dispatcher together with those of the old one."""
    process = pit.dispatching(pit.manifest({"a": [{"spawn": 600}, {"delay": 60}]}))
    run = pit.until(lambda run: run.told("SessionOpened") and len(pit.with_cookie()) >= 2)
    guardian = int(str(run.told("GuardianStarted")[0]["pid"]))
    os.kill(guardian, signal.SIGSTOP)
    process.kill()
    process.communicate()
    said = pit.place / "said"

    with said.open("w") as stderr:
        resuming = pit.start("resume", "--run-dir", str(pit.runs), stderr=stderr)
    pit.until(lambda _: "waiting for the old dispatcher's guardian" in said.read_text())
    assert not pit.with_cookie(), "nothing is started yet"
    os.kill(guardian, signal.SIGCONT)
    ended = pit.finish(resuming)

    assert (0, {"a": "Success"}) == (ended.code, pit.run.statuses()), said.read_text()
    assert 1 == len(pit.run.told("AttemptLost")), "nothing but the crash has cost an attempt"


@pytest.mark.claude
def test_a_real_session_goes_on_where_it_was_cut_off(pit: Pit) -> None:
    script = """
[[actor]]
id = "*"
[[actor.turn]]
tools = [{ name = "Bash", input = { command = "echo one > draft", description = "draft" } }]
[[actor.turn]]
tools = [{ name = "Bash", input = { command = "timeout 30 tail -f /dev/null", description = "wait" } }]
"""
    with start_model(pit.place / "model", script) as model:
        pit.use_real_claude(model.actor("a"))
        process = pit.dispatching(pit.manifest({"a": {"prompt": "go", "model": "claude-haiku-4-5"}}))
        pit.until(lambda run: len(run.told("ToolUsed", "a")) == 2)
        process.kill()
        process.communicate()

        ended = resume(pit)
        turns = [request for request in model.requests() if request["kind"] == "turn"]

    run = pit.run
    assert (0, "Success") == (ended.code, run.record("a")["status"]), ended.err
    assert [True] == [fact["resume"] for fact in run.told("AttemptLost")]
    assert [run.record("a")["claude_session_id"]] == list({turn["session"] for turn in turns})
    positions = [int(str(turn["position"])) for turn in turns]
    assert positions[-1] > positions[0] == 0, "the model sees the conversation from before the kill"
    assert [] == pit.with_cookie()


def limited(pit: Pit, size: int) -> Callable[[], None]:
    """No file of the process may grow beyond ``size`` bytes: what a full disk looks like to it."""
    pit.env["PYTHONDONTWRITEBYTECODE"] = "1"  # Python takes a bytecode file that was cut short for a whole one
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_run_whose_journal_takes_no_more_drains_and_a_resume_ends_it(pit: Pit) -> None:
    tasks = {f"t{n}": [{"delay": 0.1}, {"text": "ok"}] for n in range(6)}
    process = pit.dispatching(pit.manifest(tasks, max_parallel_tasks=2), preexec_fn=limited(pit, 6000))
    ended = pit.finish(process)

    assert (1, True) == (ended.code, "journal.jsonl" in ended.err)
    again = f"pitboss resume {pit.run.path.name} --run-dir {pit.runs}"
    assert f"hint: when that is mended, `{again}` goes on with the run" in ended.err
    assert "Traceback" not in ended.err
    assert [] == pit.with_cookie()
    settled = [str(fact["actor"]) for fact in pit.run.told("ActorSettled")]
    assert len(settled) < 6

    assert 0 == resume(pit).code
    assert set(tasks) == set(pit.run.statuses())
    assert all(len(pit.run.told("ActorAdmitted", name)) == 1 for name in settled)


def test_a_log_that_takes_no_more_is_named_and_ends_nothing(pit: Pit) -> None:
    manifest = pit.manifest({"a": [{"noise": 400, "bytes": 300}, {"text": "ok"}]})
    ended = pit.finish(pit.dispatching(manifest, preexec_fn=limited(pit, 60_000)))

    assert (1, {"a": "Success"}) == (ended.code, pit.run.statuses())
    assert "not written in full" in ended.err
    assert "tasks/a/stdout.log" in ended.err
