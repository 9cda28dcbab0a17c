"""Flat runs from the outside, with the fake agent: what a user sees and finds afterwards."""

import json
import stat
from pathlib import Path

import psutil
import pytest

from support.parts import until_exists
from support.pit import Pit

pytestmark = pytest.mark.slow


def test_a_run_does_its_tasks_and_accounts_for_them(pit: Pit) -> None:
    write = {"tool": "Write", "input": {"file_path": "new.txt", "content": "work\n"}}
    commit = {"tool": "Bash", "input": {"command": "git add -A && git -c user.name=a -c user.email=a@b commit -qm w"}}
    manifest = pit.manifest({"a": [write, commit, {"text": "committed"}], "b": [write, {"text": "left it"}], "c": "go"})

    ended = pit.dispatch(manifest)

    run = pit.run
    assert (0, ["Success"] * 3) == (ended.code, list(run.statuses().values())), ended.err
    assert ["new.txt"] == pit.git("diff", "--name-only", f"main..pitboss-a-{run.path.name}").split()
    aside = run.record("b")["set_aside"]
    assert isinstance(aside, dict)
    assert (f"refs/pitboss/{run.path.name}/b", 1) == (aside["ref"], aside["files"])
    assert "work" == pit.git("show", f"{aside['ref']}:new.txt")
    assert "" == pit.git("branch", "--list", f"pitboss-c-{run.path.name}")
    assert [] == list((run.path / "worktrees").iterdir())
    assert 1 == len(pit.git("worktree", "list").splitlines())


def test_the_record_has_exact_tokens_and_money(pit: Pit) -> None:
    pit.dispatch(pit.manifest({"a": "go"}))

    record = pit.run.record("a")

    assert {"input": 100, "output": 20, "cache_read": 5000, "cache_creation": 1000} == record["token_usage"]
    assert record["cost_usd"] == pytest.approx(pit.run.summary["total_cost_usd"])


def test_a_failed_task_fails_the_run_and_keeps_its_worktree(pit: Pit) -> None:
    ended = pit.dispatch(pit.manifest({"good": "go", "bad": [{"stderr": "it broke\n"}, {"exit": 3}]}))

    record = pit.run.record("bad")
    assert (1, "Failed", 3) == (ended.code, record["status"], record["exit_code"])
    assert "it broke" in json.dumps(record["failure_reason"])
    assert Path(str(record["worktree_path"])).is_dir()
    assert b"it broke\n" == pit.run.log("bad", "stderr.log")


def test_an_exit_without_a_result_is_a_failure_although_its_code_is_zero(pit: Pit) -> None:
    ended = pit.dispatch(pit.manifest({"a": [{"exit": 0}]}))

    assert (1, "Failed", 0) == (ended.code, pit.run.record("a")["status"], pit.run.record("a")["exit_code"])


@pytest.mark.parametrize(
    ("status", "kind"), [(429, "rate_limit"), (529, "overloaded"), (401, "auth_failure"), (400, "invalid_argument")]
)
def test_an_api_error_is_classified_by_its_status(pit: Pit, status: int, kind: str) -> None:
    pit.dispatch(pit.manifest({"a": [{"api_error": status, "message": f"scripted {status}"}]}))

    (ended,) = pit.run.told("ProcessEnded")
    failure = ended["failure"]
    assert isinstance(failure, dict)
    assert kind == failure["kind"]
    assert "Failed" == pit.run.record("a")["status"]


def test_a_refused_login_does_not_burn_through_the_queue(pit: Pit) -> None:
    error = [{"api_error": 401}]
    ended = pit.dispatch(pit.manifest({"a": error, "b": error, "c": error}, max_parallel_tasks=1))

    assert (1, {"a": "Failed"}) == (ended.code, pit.run.statuses())
    assert ["b", "c"] == pit.run.summary["tasks_not_started"]


def test_a_cap_is_a_cap(pit: Pit) -> None:
    work = [{"delay": 0.1}, {"text": "ok"}]
    tasks = {f"t{n}": {"prompt": work, "use_worktree": False} for n in range(9)}
    pit.dispatch(pit.manifest(tasks, max_parallel_tasks=3, max_starts=2))

    live = starting = worst = worst_starting = 0
    for fact in pit.run.facts:
        kind = fact["fact"]
        live += (kind == "ActorAdmitted") - (kind == "ProcessEnded")
        starting += (kind == "ActorAdmitted") - (kind == "SessionOpened")
        worst, worst_starting = max(worst, live), max(worst_starting, starting)
    assert (3, 2) == (worst, worst_starting)


def test_halt_on_failure_starts_nothing_more(pit: Pit) -> None:
    manifest = pit.manifest({"a": [{"exit": 1}], "b": "go"}, max_parallel_tasks=1, halt_on_failure=True)

    ended = pit.dispatch(manifest)

    assert (1, False, ["b"]) == (
        ended.code,
        pit.run.summary["was_interrupted"],
        pit.run.summary["tasks_not_started"],
    )


def test_a_run_stops_starting_when_its_money_is_spent(pit: Pit) -> None:
    dear = [{"usage": {"output": 100_000}}, {"text": "dear"}]
    tasks = {name: {"prompt": dear, "model": "claude-haiku-4-5"} for name in "abc"}
    ended = pit.dispatch(pit.manifest(tasks, max_parallel_tasks=1, budget_usd=0.6))

    assert 1 == ended.code
    assert ["b", "c"][-1:] == list(pit.run.summary["tasks_not_started"])[-1:]  # type: ignore[call-overload]
    spent = [fact["allotment_usd"] for fact in pit.run.told("ActorAdmitted")]
    assert 0.6 == spent[0]


def test_stray_output_of_every_kind_is_kept_and_ends_nothing(pit: Pit) -> None:
    garbage = "/////2JhZCB1dGYtOAp7ImJyb2tlbiI6IAo="
    steps = [{"garbage": garbage}, {"big_line": 10}, {"noise": 1000, "bytes": 300}, {"text": "survived"}]
    ended = pit.dispatch(pit.manifest({"a": {"prompt": steps, "use_worktree": False}}))

    record = pit.run.record("a")
    assert (0, "survived") == (ended.code, record["final_message"])
    log = pit.run.log("a")
    assert b"\xff\xff\xff\xffbad utf-8" in log
    assert len(log) > 10 * 2**20
    (process,) = pit.run.told("ProcessEnded")
    assert process["oddities"]


def test_every_tool_call_is_written_down(pit: Pit) -> None:
    pit.dispatch(pit.manifest({"a": [{"tool": "Bash", "input": {"command": "echo hi"}}, {"text": "ok"}]}))

    (used,) = pit.run.told("ToolUsed")
    assert ("Bash", "echo hi", "allow") == (used["tool"], used["summary"], used["verdict"])


def test_nobody_else_can_read_a_run(pit: Pit) -> None:
    pit.dispatch(pit.manifest({"a": "go"}))

    assert 0o700 == stat.S_IMODE(pit.run.path.stat().st_mode)
    for path in [pit.run.path, *pit.run.path.rglob("*")]:
        assert 0 == stat.S_IMODE(path.stat().st_mode) & 0o077, path


@pytest.mark.parametrize("mode", ["always", "never"])
def test_worktrees_are_put_away_as_the_manifest_says(pit: Pit, mode: str) -> None:
    tasks = {"good": "go", "bad": [{"exit": 1}]}
    pit.dispatch(pit.manifest(tasks, worktree_cleanup=mode))

    left = sorted(path.name for path in (pit.run.path / "worktrees").iterdir())
    assert ([] if mode == "always" else ["bad", "good"]) == left


def test_a_sub_directory_of_a_repository_works_and_stays_one(pit: Pit) -> None:
    inner = pit.repo / "löw er" / "deep"
    inner.mkdir(parents=True)
    (inner / "x").write_text("x")
    pit.git("add", "-A")
    pit.git("commit", "-qm", "deeper")
    steps = [{"tool": "Bash", "input": {"command": "pwd > where.txt"}}, {"text": "ok"}]
    pit.dispatch(pit.manifest({"a": {"prompt": steps, "directory": str(inner)}}, worktree_cleanup="never"))

    tree = Path(str(pit.run.record("a")["worktree_path"]))
    assert str(tree) == pit.run.log("a", "worktree.path").decode()
    assert f"{tree}/löw er/deep" == (tree / "löw er" / "deep" / "where.txt").read_text().strip()


def test_what_git_refuses_is_said_before_anything_starts(pit: Pit) -> None:
    empty = pit.place / "empty"
    empty.mkdir()
    pit.git("init", "-q", cwd=empty)
    tasks = {
        "unborn": {"prompt": "go", "directory": str(empty)},
        "taken": {"prompt": "go", "branch": "main"},
        "fine": {"prompt": "go"},
    }
    ended = pit.dispatch(pit.manifest(tasks))

    assert 2 == ended.code
    assert "unborn" in ended.err
    assert "taken" in ended.err
    assert "Traceback" not in ended.err
    assert not pit.runs.exists() or not any(pit.runs.iterdir())


def test_two_runs_at_once_in_one_repository_do_not_meet(pit: Pit) -> None:
    tasks = {f"t{n}": "go" for n in range(4)}
    one = pit.dispatching(pit.manifest(tasks, name="one.toml"))
    two = pit.dispatching(pit.manifest(tasks, name="two.toml"))

    assert [0, 0] == [pit.finish(one).code, pit.finish(two).code]
    assert 2 == len(list(pit.runs.iterdir()))


def test_a_missing_agent_is_one_clear_sentence(pit: Pit) -> None:
    pit.env["PITBOSS_CLAUDE_BINARY"] = "/no/such/claude"
    ended = pit.dispatch(pit.manifest({"a": "go"}))

    assert 2 == ended.code
    assert "/no/such/claude" in ended.err
    assert "Traceback" not in ended.err


def test_a_branch_pulled_away_during_a_run_ends_only_its_task(pit: Pit) -> None:
    pull = "cd .. && rm -rf a"
    steps = [{"tool": "Bash", "input": {"command": pull}}, {"text": "gone"}]
    ended = pit.dispatch(pit.manifest({"a": steps, "b": "go"}))

    assert {"a", "b"} == set(pit.run.statuses())
    assert "Success" == pit.run.statuses()["b"]
    assert "Traceback" not in ended.err


def test_the_secrets_of_an_mcp_server_stay_out_of_the_process_list(pit: Pit) -> None:
    go = pit.place / "go"
    manifest = pit.manifest({"a": [until_exists(go)]})
    server = '[[mcp_server]]\nid = "x"\ncommand = "cat"\nenv = { TOKEN = "canary-secret" }\n'
    manifest.write_text(manifest.read_text() + server)
    process = pit.dispatching(manifest)
    run = pit.until(lambda run: run.told("ProcessStarted"))

    words = psutil.Process(int(str(run.told("ProcessStarted")[0]["pid"]))).cmdline()
    go.touch()

    config = run.path / "tasks" / "a" / "mcp-config.json"
    assert f"--mcp-config={config}" in words
    assert not any("canary-secret" in word for word in words)
    assert "canary-secret" in config.read_text()
    assert 0o600 == stat.S_IMODE(config.stat().st_mode)
    assert 0 == pit.finish(process).code
