"""What a good manifest becomes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from pitboss.manifest.load import Loaded, PathKind
from pitboss.manifest.schema import Defaults
from pitboss.model.run import Policy, Rule, SubleadDefaults, TaskSpec, TreeSpec

HERE = Path(__file__).parent
ENVIRON = {"PROJECT": "ketchup", "PITBOSS_NOTIFY_PATH": "s3cret"}
TASK = '[[task]]\nid = "a"\ndirectory = "/repo"\nprompt = "Go."\n'


@pytest.mark.parametrize("name", ["flat", "hierarchical"])
def test_the_public_record_of_a_manifest_is_the_golden_one(read: Callable[..., Loaded], name: str) -> None:
    loaded = read((HERE / "golden" / f"{name}.toml").read_bytes(), environ=ENVIRON)
    golden = (HERE / "golden" / f"{name}.json").read_text(encoding="utf-8")

    assert golden == json.dumps(loaded.resolved, indent=2, ensure_ascii=False) + "\n"
    assert name == loaded.mode


def test_a_flat_manifest_becomes_a_run(read: Callable[..., Loaded]) -> None:
    run = read((HERE / "golden" / "flat.toml").read_bytes(), environ=ENVIRON).run

    assert ("", "/srv/runs", "m.toml", "nightly") == (run.run_id, run.run_dir, run.manifest_path, run.name)
    assert (3, 2, True, 7.0) == (run.max_parallel, run.max_starts, run.halt_on_failure, run.budget_usd)
    assert ("/work/trees", 90.0, 0.0) == (run.worktree_root, run.stall_secs, run.background_grace_secs)
    assert ["first", "second"] == [task.id for task in run.tasks]
    assert ["/home/ada/code/ketchup", "/work"] == [task.directory for task in run.tasks]
    assert ["Fix the tests; keep {braces}.", "Say hello to {name}.\n"] == [task.prompt for task in run.tasks]
    assert {"LANG": "C", "LEVEL": "2"} == run.tasks[1].env
    assert ["docs"] == [server.id for server in run.mcp_servers]
    assert {""} == {task.session_id for task in run.tasks}


def test_a_hierarchical_manifest_becomes_a_tree(read: Callable[..., Loaded]) -> None:
    run = read((HERE / "golden" / "hierarchical.toml").read_bytes(), environ=ENVIRON).run

    assert () == run.tasks
    assert run.tree is not None
    lead = run.tree.lead
    expected = TreeSpec(
        lead=lead,
        max_workers=16,
        budget_usd=20.0,
        lead_timeout_secs=7200,
        permission_routing="path_b",
        allow_subleads=True,
        max_subleads=3,
        max_sublead_budget_usd=5.5,
        max_total_workers=16,
        sublead_defaults=SubleadDefaults(budget_usd=5.0, max_workers=4, lead_timeout_secs=3600),
        require_plan_approval=True,
    )
    assert expected == run.tree
    assert ("coordinator", 7200, "Plan, then delegate.") == (lead.id, lead.timeout_secs, lead.prompt)


def test_what_a_lead_leaves_out_is_no_cap(read: Callable[..., Loaded]) -> None:
    run = read('[lead]\nid = "l"\ndirectory = "/repo"\nprompt = "Go."\n').run

    assert run.tree is not None
    assert TreeSpec(lead=run.tree.lead) == run.tree


def test_a_flat_run_has_no_tree_and_asks_the_operator(read: Callable[..., Loaded]) -> None:
    run = read(TASK).run

    assert (None, Policy(), False) == (run.tree, run.policy, run.dump_shared_store)


POLICY = """\
[run]
default_approval_policy = "auto_reject"
dump_shared_store = true

[[approval_policy]]
action = "auto_reject"
reason = " Ask the release team. "
[approval_policy.match]
tool = "Bash"
role = "task"
actor = "a"
args = { command = "git push*", "edits.file_path" = "/etc/*" }

[[approval_policy]]
action = "block"
match = { category = "cost", tool_name = "x", cost_over = 2 }

[[approval_policy]]
action = "auto_approve"
"""


def test_the_rules_are_the_runs_in_their_order(read: Callable[..., Loaded]) -> None:
    run = read(POLICY + TASK).run
    calls = Rule(
        action="auto_reject",
        tool="Bash",
        role="task",
        actor="a",
        args={"command": "git push*", "edits.file_path": "/etc/*"},
        reason="Ask the release team.",
    )
    requests = Rule(action="block", category="cost", tool_name="x", cost_over=2.0)

    assert (calls, requests, Rule(action="auto_approve")) == run.policy.rules
    assert [True, False, False] == [rule.sees_deeds for rule in run.policy.rules]
    assert ("auto_reject", True) == (run.policy.default_action, run.dump_shared_store)


def test_new_keys_of_a_rule_are_in_the_record_only_where_they_are_used(read: Callable[..., Loaded]) -> None:
    rules = read(POLICY + TASK).resolved["approval_rules"]
    old = {"actor": None, "category": None, "tool_name": None, "cost_over": None}

    assert isinstance(rules, list)
    assert {"match": old, "action": "auto_approve"} == rules[2]
    assert {"actor": "a", "role": "task", "tool": "Bash"}.items() <= rules[0]["match"].items()
    assert {"command": "git push*", "edits.file_path": "/etc/*"} == rules[0]["match"]["args"]
    assert " Ask the release team. " == rules[0]["reason"]


@pytest.mark.parametrize("name", ["flat", "hierarchical"])
def test_a_run_survives_the_journal(read: Callable[..., Loaded], name: str) -> None:
    run = read((HERE / "golden" / f"{name}.toml").read_bytes(), environ=ENVIRON).run

    assert run == msgspec.json.decode(msgspec.json.encode(run), type=type(run))


def test_secrets_of_receivers_do_not_reach_the_record(read: Callable[..., Loaded]) -> None:
    loaded = read((HERE / "golden" / "flat.toml").read_bytes(), environ=ENVIRON)

    assert "s3cret" not in json.dumps(loaded.resolved)


@pytest.mark.parametrize("path", sorted((HERE / "examples").glob("*.toml")), ids=lambda path: path.stem)
def test_the_forms_that_people_use_load(read: Callable[..., Loaded], path: Path) -> None:
    loaded = read(path.read_bytes())

    assert loaded.resolved == json.loads(json.dumps(loaded.resolved))


def test_an_actor_without_settings_has_the_built_in_ones(read: Callable[..., Loaded]) -> None:
    task = read(TASK).run.tasks[0]

    assert TaskSpec(id=task.id, directory="/repo", prompt="Go.") == task


def test_the_defaults_of_the_manifest_are_those_of_the_model() -> None:
    defaults, spec = Defaults(), TaskSpec(id=msgspec.UNSET, directory="", prompt="")  # type: ignore[arg-type]

    assert (spec.model, spec.effort, list(spec.tools)) == (defaults.model, defaults.effort, defaults.tools)
    assert (spec.timeout_secs, spec.use_worktree, spec.env) == (
        defaults.timeout_secs,
        defaults.use_worktree,
        defaults.env,
    )


@pytest.mark.parametrize(
    ("written", "env", "parallel"),
    [
        ("", None, 4),
        ("", "7", 7),
        ("", " 7 ", 7),
        ("", "", 4),
        ("", "many", 4),
        ("", "-1", 4),
        ("", "99999999999", 4),
        ("max_parallel_tasks = 2", "7", 2),
        ("max_parallel_tasks = 2", "0", 2),
    ],
)
def test_concurrency_is_the_manifests_then_the_environments_then_four(
    read: Callable[..., Loaded], written: str, env: str | None, parallel: int
) -> None:
    environ = {} if env is None else {"ANTHROPIC_MAX_CONCURRENT": env}

    assert parallel == read(f"[run]\n{written}\n{TASK}", environ=environ).run.max_parallel


def test_starts_follow_the_cores_unless_the_manifest_says_otherwise(read: Callable[..., Loaded]) -> None:
    assert 4 == read(TASK).run.max_starts
    assert 9 == read(f"[run]\nmax_starts = 9\n{TASK}").run.max_starts


@pytest.mark.parametrize(
    ("home", "base"), [("/home/ada", "/home/ada/.local/share/pitboss/runs"), ("", "/work/pitboss-runs")]
)
def test_runs_go_home_unless_there_is_none(read: Callable[..., Loaded], home: str, base: str) -> None:
    assert base == read(TASK, home=home).run.run_dir


@pytest.mark.parametrize(
    ("lead", "defaults", "timeout"),
    [
        ("timeout_secs = 1\nlead_timeout_secs = 2", "timeout_secs = 3", 1),
        ("lead_timeout_secs = 2", "timeout_secs = 3", 2),
        ("", "timeout_secs = 3", 3),
        ("", "", 3600),
    ],
)
def test_the_leads_time_limit_has_four_sources(
    read: Callable[..., Loaded], lead: str, defaults: str, timeout: int
) -> None:
    text = f'[defaults]\n{defaults}\n[lead]\nid = "l"\ndirectory = "/repo"\nprompt = "Go."\n{lead}\n'
    resolved = read(text).resolved["lead"]

    assert isinstance(resolved, dict)
    assert timeout == resolved["timeout_secs"]


def test_a_blank_name_is_no_name(read: Callable[..., Loaded]) -> None:
    assert read(f'[run]\nname = "  "\n{TASK}').run.name is None


def test_an_empty_tool_list_stays_empty(read: Callable[..., Loaded]) -> None:
    assert () == read(f"{TASK}tools = []").run.tasks[0].tools


def test_paths_are_not_looked_at_when_that_is_not_wanted(read: Callable[..., Loaded]) -> None:
    def explode(path: str) -> PathKind:
        raise AssertionError(path)

    assert "/repo" == read(TASK, kind_of=explode, check_paths=False).run.tasks[0].directory


def test_each_directory_is_looked_at_once(read: Callable[..., Loaded]) -> None:
    seen: list[str] = []

    def note(path: str) -> PathKind:
        seen.append(path)
        return PathKind.REPOSITORY

    read(TASK + TASK.replace('"a"', '"b"'), kind_of=note)

    assert ["/repo", "/home/ada/.local/share/pitboss/runs"] == seen


def test_with_a_container_a_directory_may_be_missing_here(read: Callable[..., Loaded]) -> None:
    loaded = read(f"{TASK}[container]\n", kind_of=lambda path: PathKind.MISSING)

    assert ["[[task]] 'a' directory does not exist: /repo; create it or correct the path"] == [
        warning.message for warning in loaded.warnings
    ]


def test_a_parent_that_listens_is_a_target_for_survival(read: Callable[..., Loaded]) -> None:
    text = f"{TASK}[lifecycle]\nsurvive_parent = true\n"

    assert "flat" == read(text, environ={"PITBOSS_PARENT_NOTIFY_URL": "http://127.0.0.1:9"}).mode
