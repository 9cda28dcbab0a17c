from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from pitboss.errors import OperatorError, RunNotFound, WorldError
from pitboss.journal.lock import RunLock
from pitboss.journal.rundir import RunDir
from pitboss.model import facts as f
from pitboss.model.run import ActorId, Phase
from pitboss.surfaces import client, render
from support.pictures import RUN, START, append, begun, done, opened, write_run

OLD = "0197d000-aaaa-7bbb-8ccc-ddddeeeeffff"


def half_done(base: Path) -> RunDir:
    return write_run(base, [opened(base, "a", "b", "c"), *begun("a"), *begun("b"), *done("a")])


def test_a_live_run_is_seen_with_those_that_wait_and_run(tmp_path: Path) -> None:
    folder = half_done(tmp_path)

    with RunLock.acquire(folder.lock):
        run = client.open_run(tmp_path, "latest")

    assert "running" == run.state
    assert [Phase.SETTLED, Phase.WORKING, Phase.QUEUED] == [actor.phase for actor in run.view.actors]
    assert ["a"] == [record.task_id for record in run.records]


def test_a_run_whose_dispatcher_is_gone_is_interrupted_and_never_running(tmp_path: Path) -> None:
    half_done(tmp_path)
    assert "interrupted" == client.open_run(tmp_path, RUN[:13]).state


def test_a_torn_last_line_of_the_journal_is_no_obstacle(tmp_path: Path) -> None:
    folder = half_done(tmp_path)
    with folder.journal.open("ab") as file:
        file.write(b'{"seq":99,"cau')
    assert 3 == len(client.open_run(tmp_path, RUN).view.actors)


def test_a_run_that_ended_is_complete(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [opened(tmp_path, "a"), *begun("a"), *done("a")])
    append(folder, [f.RunEnded(at=START + 9, exit_code=0, was_interrupted=False)])

    run = client.open_run(tmp_path, RUN)

    assert "complete" == run.state
    assert 0 == run.view.exit_code


def test_a_worktree_that_was_deleted_by_hand_is_not_named(tmp_path: Path) -> None:
    begun_in = [
        replace(fact, path=str(tmp_path / name)) if isinstance(fact, f.WorktreeMade) else fact
        for name in ("a", "b")
        for fact in begun(name)
    ]
    write_run(tmp_path / "runs", [opened(tmp_path / "runs", "a", "b"), *begun_in])
    (tmp_path / "a").mkdir()

    view = client.open_run(tmp_path / "runs", RUN).view
    told = "\n".join(render.status_lines(view, state="interrupted", now=START))

    assert [("a", str(tmp_path / "a")), ("b", None)] == [(actor.branch, actor.worktree) for actor in view.actors[:2]]
    assert f"  a: branch a, worktree {tmp_path}/a\n  b: branch b\n" in told


def test_an_unknown_run_is_an_error_of_the_operator(tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match="no run found matching prefix 'zzz'"):
        client.open_run(tmp_path, "zzz")


# --- actors and logs ------------------------------------------------------------------------------------------------


def test_an_actor_is_found_by_its_name_or_the_beginning_of_it(tmp_path: Path) -> None:
    write_run(tmp_path, [opened(tmp_path, "fix", "fix-more", "other")])
    run = client.open_run(tmp_path, RUN)

    assert "fix" == client.find_actor(run, "fix")
    assert "fix-more" == client.find_actor(run, "fix-")
    assert "other" == client.find_actor(run, "o")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc/passwd", "a\0b", "zzz"])
def test_whatever_is_not_an_actor_is_refused_with_the_names_there_are(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, [opened(tmp_path, "b", "a")])
    with pytest.raises(OperatorError, match="there are: a, b") as caught:
        client.find_actor(client.open_run(tmp_path, RUN), name)
    assert 2 == caught.value.exit_code


def test_an_ambiguous_beginning_lists_the_candidates(tmp_path: Path) -> None:
    write_run(tmp_path, [opened(tmp_path, "fix-a", "fix-b")])
    with pytest.raises(OperatorError, match=r"2 tasks .* begin with 'fix': fix-a, fix-b"):
        client.find_actor(client.open_run(tmp_path, RUN), "fix")


@pytest.mark.parametrize("name", ["nobody", "t"])
def test_of_many_actors_only_some_are_named(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, [opened(tmp_path, *(f"t{number:03}" for number in range(200)))])
    with pytest.raises(OperatorError, match=r"t000, t001, .*, t019, and 180 more$"):
        client.find_actor(client.open_run(tmp_path, RUN), name)


def test_a_log_that_leads_out_of_its_run_is_not_followed(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [opened(tmp_path, "a")])
    folder.task("a").mkdir()
    folder.stdout_log("a").symlink_to("/etc/hostname")
    with pytest.raises(OperatorError, match="leads out of its run"):
        client.log_path(client.open_run(tmp_path, RUN), ActorId("a"))


def test_watching_ends_when_the_actor_is_settled(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [opened(tmp_path, "a", "b"), *begun("a")])
    with RunLock.acquire(folder.lock):
        watch = client.TaskWatch(client.RunClient.open(tmp_path, RUN), ActorId("a"))
        assert not watch.ended()
        append(folder, done("a"))
        assert watch.ended()
    assert watch.settled


def test_watching_ends_when_the_dispatcher_dies(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [opened(tmp_path, "a"), *begun("a")])
    with RunLock.acquire(folder.lock):
        watch = client.TaskWatch(client.RunClient.open(tmp_path, RUN), ActorId("a"))
        assert not watch.ended()
    assert watch.ended()
    assert not watch.settled


def test_watching_an_actor_of_a_resumed_run_does_not_end_with_the_run_before(tmp_path: Path) -> None:
    ended = f.RunEnded(at=START + 9, exit_code=130, was_interrupted=True)
    folder = write_run(tmp_path, [opened(tmp_path, "a"), *begun("a"), ended])
    again = f.RunReopened(at=START + 20, pid=9, pitboss_version="0.10.0", epoch=2, scope="unsettled")
    append(folder, [again])
    with RunLock.acquire(folder.lock):
        watch = client.TaskWatch(client.RunClient.open(tmp_path, RUN), ActorId("a"))
        assert not watch.ended()


# --- runs of Pitboss 0.9 --------------------------------------------------------------------------------------------

RECORD = {
    "task_id": "one",
    "status": "Failed",
    "exit_code": 1,
    "started_at": "2025-11-24T16:00:00.5Z",
    "ended_at": "2025-11-24T16:01:00Z",
    "duration_ms": 59500,
    "worktree_path": None,
    "log_path": "/x/stdout.log",
    "token_usage": {"input": 1, "output": 2, "cache_read": 3, "cache_creation": 4},
    "claude_session_id": None,
    "final_message_preview": None,
}


def old_run(base: Path, lines: Sequence[str]) -> Path:
    folder = base / OLD
    for task in ("one", "two"):
        (folder / "tasks" / task).mkdir(parents=True)
    (folder / "meta.json").write_text(
        json.dumps(
            {
                "run_id": OLD,
                "manifest_path": "old.toml",
                "pitboss_version": "0.9.2",
                "claude_version": None,
                "started_at": "2025-11-24T16:00:00Z",
                "env": {},
            }
        )
    )
    tasks = [{"id": name, "model": "m", "prompt": "Go."} for name in ("one", "two", "three")]
    (folder / "resolved.json").write_text(json.dumps({"name": "old", "max_parallel_tasks": 2, "tasks": tasks}))
    (folder / "summary.jsonl").write_text("".join(lines))
    return folder


def test_a_run_of_an_older_pitboss_is_seen_alike(tmp_path: Path) -> None:
    old_run(tmp_path, [json.dumps(RECORD) + "\n"])

    run = client.open_run(tmp_path, "latest")

    assert "running" == run.state
    assert [Phase.SETTLED, Phase.WORKING, Phase.QUEUED] == [actor.phase for actor in run.view.actors]
    assert ("old", "old.toml", START) == (run.view.name, run.view.manifest_path, run.view.started_at)


def test_a_half_written_last_record_does_not_hide_the_others(tmp_path: Path) -> None:
    old_run(tmp_path, [json.dumps(RECORD) + "\n", '{"task_id": "tw'])
    run = client.open_run(tmp_path, OLD)
    assert (["one"], 1) == ([record.task_id for record in run.records], run.damaged)


def test_a_damaged_summary_is_bypassed(tmp_path: Path) -> None:
    folder = old_run(tmp_path, [json.dumps(RECORD) + "\n"])
    (folder / "summary.json").write_text("{")

    run = client.open_run(tmp_path, OLD)

    assert "aborted" == run.state
    assert 1 == len(run.records)


def test_a_folder_without_records_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "something").mkdir()
    with pytest.raises(WorldError, match="no summary found"):
        client.open_run(tmp_path, "something")


def test_an_older_run_has_no_story(tmp_path: Path) -> None:
    folder = old_run(tmp_path, [])
    with pytest.raises(OperatorError, match="has no journal, so it has no story"):
        client.entries(folder)


# --- JSON -----------------------------------------------------------------------------------------------------------


def test_records_are_an_array_as_ever(tmp_path: Path) -> None:
    half_done(tmp_path)
    (record,) = json.loads(client.records_json(client.open_run(tmp_path, RUN)))
    assert ("a", "Success", 0, 0.01) == tuple(record[key] for key in ("task_id", "status", "exit_code", "cost_usd"))


def test_the_whole_run_as_json_has_a_version_and_every_actor(tmp_path: Path) -> None:
    half_done(tmp_path)
    told = json.loads(client.run_json(client.open_run(tmp_path, RUN)))
    assert (1, "interrupted", RUN) == (told["version"], told["state"], told["run_id"])
    assert ["settled", "working", "queued"] == [actor["phase"] for actor in told["actors"]]


def test_the_list_as_json_has_the_keys_of_the_older_pitboss_first(tmp_path: Path) -> None:
    half_done(tmp_path)
    old_run(tmp_path, [])
    ours, older = json.loads(client.list_json(client.list_runs(tmp_path)))
    assert ["run_id", "run_dir", "started_at", "tasks_total", "tasks_failed", "status"] == list(ours)[:6]
    assert [(RUN, "interrupted"), (OLD, "running")] == [(run["run_id"], run["status"]) for run in (ours, older)]


def test_only_live_runs_are_active(tmp_path: Path) -> None:
    half_done(tmp_path)
    assert [] == client.list_runs(tmp_path, active=True)
