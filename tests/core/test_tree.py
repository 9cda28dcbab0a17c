"""A lead and whom it spawns: what is checked, what is inherited, who sees whom, and what follows an end."""

import math

import msgspec
import pytest

from pitboss.core import admission
from pitboss.model import calls as c
from pitboss.model import effects as e
from pitboss.model import facts as f
from pitboss.model import orders as o
from pitboss.model import signals as s
from pitboss.model import tree_facts as t
from pitboss.model.answers import Answer, Refused
from pitboss.model.run import ActorId, Certificate, Failure, Phase, Status, SubleadDefaults
from pitboss.testing.doubles import Story, a_result, a_task, a_tree


def at_work(**tree: object) -> Story:
    """A tree whose lead is at work."""
    story = Story(a_tree(**tree))
    story.working("lead")
    return story


def slowly(**tree: object) -> Story:
    """A tree whose lead is at work, and in which one actor starts at a time, in a worktree."""
    story = Story(msgspec.structs.replace(a_tree(lead=a_task("lead"), **tree), max_starts=1))
    story.working("lead")
    return story


def worker(**arguments: object) -> c.SpawnWorker:
    return msgspec.convert({"prompt": "go"} | arguments, c.SpawnWorker)


def a_sublead(**arguments: object) -> c.SpawnSublead:
    plain = {"prompt": "lead", "model": "claude-opus-4-7", "budget_usd": 3.0, "max_workers": 2}
    return c.SpawnSublead(**(plain | arguments))  # type: ignore[arg-type]


def leads(story: Story, **arguments: object) -> str:
    """The lead spawns a sub-lead, which is then at work; its id."""
    answer = story.calls("lead", a_sublead(**arguments))
    assert isinstance(answer, Answer), answer
    name = str(answer.content["sublead_id"])
    story.working(name)
    return name


def refusal(answer: object) -> Refused:
    assert isinstance(answer, Refused), answer
    return answer


def said(answer: object) -> str:
    return refusal(answer).message


# --- spawning a worker ------------------------------------------------------------------------------------------------


def test_a_worker_is_told_of_at_once_and_starts_in_a_worktree_of_its_own() -> None:
    story = slowly()

    answer = story.calls("lead", worker(label="tests"))

    assert isinstance(answer, Answer)
    assert ("worker-1", None) == (answer.content["task_id"], answer.content["worktree_path"])
    prepare = story.asked(e.PrepareWorktree)[-1]
    assert ("worker-1", "/repo") == (prepare.actor, prepare.directory)
    story.working("worker-1")
    session = story.asked(e.StartSession)[-1].session
    assert ("go", "worker", "session-1") == (session.prompt, session.role, session.session_id)


def refused_for_everything() -> Story:
    """A tree in which every reason to refuse a spawn holds at once."""
    story = Story(a_tree(max_workers=0, budget_usd=0.01, max_total_workers=0, require_plan_approval=True))
    story.working("lead")
    story.when(s.ApiRetried(at=story.at, actor=ActorId("lead"), attempt=1, status=429, delay_secs=60.0))
    story.clock.turn(admission.RECOVERY_STEP_SECS)
    story.when(s.ApiRetried(at=story.at, actor=ActorId("lead"), attempt=1, status=429, delay_secs=60.0))
    story.when(s.OrderGiven(at=story.at, order=o.DrainRun()))
    return story


def test_the_reasons_to_refuse_a_worker_come_in_the_contracts_order() -> None:
    story = refused_for_everything()
    reasons = []
    for mend in (
        {"draining": None},
        {"starts_limit": 2, "throttled_until": 0.0},
        {"plans_approved": frozenset({"lead"})},
    ):
        reasons.append(refusal(story.calls("lead", worker())))
        story.state = msgspec.structs.replace(story.state, **mend)
    for change in ({"max_workers": 4}, {"max_total_workers": 4}, {"budget_usd": 1.0}):
        reasons.append(refusal(story.calls("lead", worker())))
        tree = msgspec.structs.replace(story.state.tree, **change)
        story.state = msgspec.structs.replace(story.state, run=msgspec.structs.replace(story.state.spec, tree=tree))

    expected = [
        ("draining", "run is draining"),
        ("api_unavailable", "api rate-limited"),
        ("plan_required", "plan approval required"),
        ("cap_reached", "worker cap reached: 0 active (max 0)"),
        ("cap_reached", "max_total_workers cap"),
        ("budget_exceeded", "budget exceeded: $0.00 spent + $0.00 reserved + $0.10 estimated > $0.01 budget"),
    ]
    assert [code for code, _ in expected] == [reason.code for reason in reasons]
    for (_, fragment), reason in zip(expected, reasons, strict=True):
        assert fragment in reason.message
    assert isinstance(story.calls("lead", worker()), Answer)
    assert 1 == len(story.told(t.ActorSpawned)), "a refused spawn has changed something"


def test_a_refused_login_is_told_apart_from_a_rate_limit() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.turn_ends("lead", a_result(0.5))  # the login has worked
    story.fails(one, Failure(kind="auth_failure"))
    another = Story(a_tree(max_workers=4))
    another.working("lead")
    two = another.spawns("lead")
    another.fails(two, Failure(kind="rate_limit", resets_at=another.at + 60.0))

    limited = refusal(another.calls("lead", worker()))

    assert "api rate-limited" in limited.message
    assert another.at + 60.0 == limited.extra["retry_after"]
    assert "the API refuses the login" == story.state.throttle_reason


def test_a_worker_that_calls_a_leads_tool_is_refused_by_the_core_itself() -> None:
    story = at_work()
    one = story.spawns("lead")

    for call in (
        worker(),
        a_sublead(),
        c.ListWorkers(),
        c.WorkerStatus(task_id=one),
        c.WaitForWorker(task_id=one),
        c.CancelWorker(target=one),
        c.RepromptWorker(task_id=one, prompt="x"),
    ):
        answer = refusal(story.calls(one, call))
        assert "forbidden" == answer.code
        assert "depth-2" in answer.message
        assert "not available to workers" in answer.message


def test_the_cap_counts_who_waits_prepares_runs_is_paused_or_frozen_and_nobody_who_has_ended() -> None:
    story = at_work(max_workers=4)
    paused, frozen, running = (story.spawns("lead") for _ in range(3))
    story.calls("lead", c.PauseWorker(task_id=paused))
    story.gone(paused)
    story.calls("lead", c.PauseWorker(task_id=frozen, mode="freeze"))
    story.calls("lead", worker())  # it is being prepared

    assert "worker cap reached: 4 active (max 4)" in said(story.calls("lead", worker()))
    story.succeeds(running)
    assert isinstance(story.calls("lead", worker()), Answer)


def test_the_cap_over_all_layers_counts_the_workers_of_sub_leads() -> None:
    story = at_work(max_total_workers=3)
    sub = leads(story, max_workers=2)
    story.spawns(sub)
    story.spawns("lead")
    story.spawns("lead")

    assert "max_total_workers cap reached: 3 active (max 3)" in said(story.calls(sub, worker()))
    assert "max_total_workers cap reached" in said(story.calls("lead", worker()))


def test_a_repeated_call_with_the_same_key_gives_the_same_actor_even_when_nothing_more_may_be_spawned() -> None:
    story = at_work(max_workers=1, max_subleads=1)
    first = story.calls("lead", worker(idempotency_key="a"))
    sub = story.calls("lead", a_sublead(idempotency_key="a"))
    assert isinstance(first, Answer)
    assert isinstance(sub, Answer)

    again, sub_again = (
        story.calls("lead", worker(idempotency_key="a")),
        story.calls("lead", a_sublead(idempotency_key="a")),
    )

    assert isinstance(again, Answer)
    assert isinstance(sub_again, Answer)
    assert first.content["task_id"] == again.content["task_id"]
    assert sub.content["sublead_id"] == sub_again.content["sublead_id"], "a key of one tool answered another"
    assert 2 == len(story.told(t.ActorSpawned))


def test_the_key_of_one_lead_means_nothing_to_another() -> None:
    story = at_work()
    sub = leads(story)
    story.calls("lead", worker(idempotency_key="a"))
    story.calls(sub, worker(idempotency_key="a"))

    assert 2 == sum(actor.role == "worker" for actor in story.state.actors.values())


# --- what is inherited ------------------------------------------------------------------------------------------------


def test_a_worker_has_from_its_lead_what_it_is_not_told() -> None:
    lead = a_task("lead", model="claude-opus-4-7", tools=("Read",), timeout_secs=77, env={"A": "1"}, effort="low")
    story = at_work(lead=lead)
    plain = story.actor(story.spawns("lead")).spec
    told = story.actor(
        story.spawns("lead", model="sonnet", tools=["Bash"], timeout_secs=5, directory="/other", branch="b")
    ).spec

    assert ("/repo", "claude-opus-4-7", ("Read",), 77, {"A": "1"}, "low", True, None) == (
        plain.directory, plain.model, plain.tools, plain.timeout_secs, plain.env, plain.effort, plain.use_worktree,
        plain.branch,
    )  # fmt: skip
    assert ("/other", "sonnet", ("Bash",), 5, "b") == (
        told.directory, told.model, told.tools, told.timeout_secs, told.branch,
    )  # fmt: skip


def test_the_workers_of_a_sub_lead_have_its_model_tools_and_environment_and_the_leads_time() -> None:
    lead = a_task("lead", model="claude-haiku-4-5", tools=("Read",), timeout_secs=77, env={"A": "1", "B": "1"})
    story = at_work(lead=lead)
    sub = leads(story, model="claude-opus-4-7", tools=["Bash", "Bash", "Grep"], env={"B": "2"}, lead_timeout_secs=9)
    bare = leads(story)

    spec, own = story.actor(story.spawns(sub)).spec, story.actor(sub).spec
    assert (("Bash", "Grep"), 9, False, {"A": "1", "B": "2"}) == (
        own.tools, own.timeout_secs, own.use_worktree, own.env,
    )  # fmt: skip
    assert ("claude-opus-4-7", ("Bash", "Grep"), {"A": "1", "B": "2"}, 77, True) == (
        spec.model, spec.tools, spec.env, spec.timeout_secs, spec.use_worktree,
    )  # fmt: skip
    assert ("Read",) == story.actor(story.spawns(bare)).spec.tools, "a sub-lead without tools passes on the lead's"


def test_a_lead_is_never_left_without_money_because_all_of_it_is_promised() -> None:
    story = at_work(max_workers=None, budget_usd=0.2)
    story.spawns("lead")
    story.spawns("lead")  # everything is promised
    story.killed()
    story.reopened("lead")
    story.when(s.GuardianUp(at=story.at, pid=2))

    lead = [start.session for start in story.asked(e.StartSession) if start.session.actor == "lead"]
    assert (2, 0.2) == (lead[-1].attempt, lead[-1].budget_usd)


def test_what_a_worker_has_spent_of_its_share_it_does_not_get_again() -> None:
    story = at_work(budget_usd=1.0)
    one = story.spawns("lead")
    story.turn_ends(one, a_result(0.4), None)
    story.killed()
    story.facts = [fact for fact in story.facts if not isinstance(fact, f.StopBegan | f.RungReached)]
    story.killed()
    story.reopened("lead", one)
    story.when(s.GuardianUp(at=story.at, pid=2))
    story.working("lead", one)

    assert pytest.approx(0.6) == story.asked(e.StartSession)[-1].session.budget_usd


# --- spawning a sub-lead ----------------------------------------------------------------------------------------------


def test_the_reasons_to_refuse_a_sub_lead_come_in_the_contracts_order() -> None:
    story = at_work(max_sublead_budget_usd=5.0, max_subleads=1, max_total_workers=3, budget_usd=6.0)

    assert "exceeds per-sublead cap" in said(story.calls("lead", a_sublead(budget_usd=5.01)))
    assert "max_total_workers cap" in said(story.calls("lead", a_sublead(budget_usd=5.0, max_workers=4)))
    leads(story, budget_usd=5.0, max_workers=3)  # exactly at both caps
    assert "exceeds per-sublead cap" in said(story.calls("lead", a_sublead(budget_usd=9.0, max_workers=9)))
    assert "max_subleads cap" in said(story.calls("lead", a_sublead(budget_usd=5.0, max_workers=9)))


def test_what_sub_leads_were_promised_counts_against_the_cap_over_all_layers() -> None:
    story = at_work(max_total_workers=5)
    story.spawns("lead")
    leads(story, max_workers=2)

    assert "max_total_workers cap: 3 promised + 3 asked for > 5" in said(story.calls("lead", a_sublead(max_workers=3)))
    leads(story, max_workers=2)


def test_a_sub_lead_is_refused_where_the_manifest_wants_none_and_to_a_sub_lead() -> None:
    story = at_work(allow_subleads=False)
    assert "requires allow_subleads=true" in said(story.calls("lead", a_sublead()))
    story = at_work()
    sub = leads(story)
    assert "only available to the root lead" in said(story.calls(sub, a_sublead()))


def test_a_draining_run_starts_no_sub_lead() -> None:
    story = at_work()
    story.when(s.OrderGiven(at=story.at, order=o.DrainRun()))

    assert "draining" == refusal(story.calls("lead", a_sublead())).code


@pytest.mark.parametrize("budget", [-1.0, 0.0, math.nan, math.inf, -math.inf])
def test_an_envelope_is_a_sum_of_money(budget: float) -> None:
    story = at_work()
    before = story.state

    assert "invalid_arg" == refusal(story.calls("lead", a_sublead(budget_usd=budget))).code
    assert before == story.state


def test_an_envelope_is_given_whole_or_shared_or_refused() -> None:
    story = at_work()
    nothing = {"budget_usd": None, "max_workers": None}

    assert "budget_usd required" in said(story.calls("lead", a_sublead(**(nothing | {"max_workers": 1}))))
    assert "max_workers required" in said(story.calls("lead", a_sublead(**(nothing | {"budget_usd": 1.0}))))
    assert "max_workers required" in said(
        story.calls("lead", a_sublead(**(nothing | {"budget_usd": 1.0, "read_down": True})))
    )
    shared = leads(story, **(nothing | {"read_down": True}))
    assert story.actor(shared).envelope.is_shared


def test_the_manifests_defaults_fill_an_envelope() -> None:
    defaults = SubleadDefaults(budget_usd=2.0, max_workers=3, lead_timeout_secs=55, read_down=True)
    story = at_work(sublead_defaults=defaults)

    sub = story.actor(leads(story, budget_usd=None, max_workers=None))

    assert (2.0, 3, 55, True) == (
        sub.envelope.budget_usd, sub.envelope.max_workers, sub.spec.timeout_secs, sub.envelope.read_down,
    )  # fmt: skip


def test_a_sub_leads_store_is_seeded_before_it_starts_and_a_bad_seed_spawns_nobody() -> None:
    story = at_work()
    sub = leads(story, initial_ref={"plan": {"a": [1]}, "name/of": "x"})

    answer = story.calls(sub, c.KvGet(path="/ref/plan"))
    assert isinstance(answer, Answer)
    entry = answer.content["entry"]
    assert isinstance(entry, dict)
    assert ('{"a":[1]}', 1, sub) == (entry["text"], entry["version"], entry["written_by"])
    before = story.state
    assert "seeding /ref/../x" in said(story.calls("lead", a_sublead(initial_ref={"ok": 1, "../x": 1})))
    assert before == story.state


def test_a_sub_lead_goes_on_with_an_earlier_session_if_it_is_to() -> None:
    story = at_work()
    leads(story, resume_session_id="earlier")

    session = story.asked(e.StartSession)[-1].session
    assert ("earlier", True, "lead") == (session.session_id, session.resume, session.role[3:])


# --- who sees whom ----------------------------------------------------------------------------------------------------


def listed(story: Story, who: str) -> list[str]:
    answer = story.calls(who, c.ListWorkers())
    assert isinstance(answer, Answer)
    rows = answer.content["workers"]
    assert isinstance(rows, list)
    return [row["task_id"] for row in rows]


def test_everyone_sees_whom_they_lead_and_nobody_else() -> None:
    story = at_work()
    mine, sub, other = story.spawns("lead"), leads(story), leads(story)
    below = story.spawns(sub)

    assert [mine, below] == listed(story, "lead")
    assert [below] == listed(story, sub)
    assert [] == listed(story, other)
    assert "unknown task_id" in said(story.calls(other, c.WorkerStatus(task_id=below)))
    assert isinstance(story.calls("lead", c.WorkerStatus(task_id=below)), Answer)


def test_whoever_has_ended_stays_on_the_list_and_keeps_its_status() -> None:
    story = at_work()
    sub = leads(story)
    below = story.spawns(sub)
    story.succeeds(below)
    story.succeeds(sub)

    assert [below] == listed(story, "lead")
    answer = story.calls("lead", c.WorkerStatus(task_id=below))
    assert isinstance(answer, Answer)
    assert ("Completed", sub) == (answer.content["state"], answer.content["parent_task_id"])


def test_a_long_list_comes_in_pages() -> None:
    story = at_work(max_workers=None, budget_usd=None)
    for _ in range(203):
        story.calls("lead", worker())

    answer = story.calls("lead", c.ListWorkers(offset=200))

    assert isinstance(answer, Answer)
    assert (203, 200, False) == (answer.content["total"], answer.content["offset"], answer.content["truncated"])
    assert [f"worker-{n}" for n in (201, 202, 203)] == [row["task_id"] for row in answer.content["workers"]]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "call",
    [
        c.WorkerStatus(task_id="nobody"),
        c.WaitForWorker(task_id="nobody"),
        c.WaitActor(actor_id="nobody"),
        c.CancelWorker(target="nobody"),
        c.PauseWorker(task_id="nobody"),
        c.ContinueWorker(task_id="nobody"),
        c.RepromptWorker(task_id="nobody", prompt="x"),
    ],
)
def test_an_unknown_id_is_not_found(call: c.AnyCall) -> None:
    answer = refusal(at_work().calls("lead", call))

    assert "not_found" == answer.code
    assert "unknown" in answer.message


# --- ends -------------------------------------------------------------------------------------------------------------


def records(story: Story) -> dict[str, Status]:
    return {str(effect.record.task_id): effect.record.status for effect in story.asked(e.PublishTask)}


def test_a_lead_that_succeeds_ends_its_workers_which_are_no_failures() -> None:
    story = slowly()
    running, paused = story.spawns("lead"), story.spawns("lead")
    story.calls("lead", c.PauseWorker(task_id=paused))
    story.gone(paused)
    queued = story.calls("lead", worker())
    assert isinstance(queued, Answer)
    preparing = str(queued.content["task_id"])

    story.succeeds("lead")
    assert Phase.STOPPING is story.actor(running).phase
    story.gone(running, code=143)
    story.prepared(preparing)

    cancelled = dict.fromkeys((paused, running, preparing), Status.CANCELLED)
    assert {"lead": Status.SUCCESS} | cancelled == records(story)
    assert {"cancelled when lead exited"} == {story.actor(name).note for name in cancelled}
    assert (0, 0) == (story.state.exit_code, story.asked(e.PublishRun)[-1].record.failed)


def test_a_lead_that_fails_fails_the_run() -> None:
    story = at_work()
    one = story.spawns("lead")

    story.fails("lead")
    story.gone(one)

    assert (1, 2) == (story.state.exit_code, story.asked(e.PublishRun)[-1].record.failed)


def test_a_worker_that_failed_fails_the_run_even_if_the_lead_succeeds() -> None:
    story = at_work()
    story.fails(story.spawns("lead"))
    story.succeeds("lead")

    assert 1 == story.state.exit_code


def test_a_sub_lead_that_ends_takes_its_workers_with_it_and_nobody_else() -> None:
    story = at_work()
    sub = leads(story)
    below, mine = story.spawns(sub), story.spawns("lead")

    story.succeeds(sub)
    story.turn_ends(below, a_result(0.25, is_error=True))
    story.gone(below)

    assert (Status.CANCELLED, "cancelled when sub-lead exited") == (story.actor(below).status, story.actor(below).note)
    assert Phase.WORKING is story.actor(mine).phase
    ending = story.calls("lead", c.WaitActor(actor_id=sub))
    assert isinstance(ending, Answer)
    assert ("sublead", "success", 0.75, 2.25) == tuple(
        ending.content[key] for key in ("actor_type", "outcome", "spent_usd", "unspent_usd")
    )


def test_nobody_is_started_for_a_lead_that_is_gone() -> None:
    story = slowly(max_workers=9)
    first, second = story.calls("lead", worker()), story.calls("lead", worker())
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)

    story.gone("lead", code=1)
    story.prepared("worker-1")

    assert ["lead", "worker-1"] == [prepare.actor for prepare in story.asked(e.PrepareWorktree)]
    assert {Status.CANCELLED} == {story.actor(name).status for name in ("worker-1", "worker-2")}
    assert 1 == story.state.exit_code


def test_a_draining_run_cancels_who_only_waits_so_that_its_lead_can_end() -> None:
    story = slowly()
    for _ in range(2):
        story.calls("lead", worker())
    story.calls("lead", c.WaitForWorker(task_id="worker-2"))

    story.when(s.OrderGiven(at=story.at, order=o.DrainRun()))

    answer = story.answers()[3]
    assert isinstance(answer, Answer)
    assert Status.CANCELLED is story.actor("worker-2").status
    assert "draining" == refusal(story.calls("lead", worker())).code
    assert Phase.PREPARING is story.actor("worker-1").phase, "who has begun may end"


def test_a_lead_has_its_time_and_no_more() -> None:
    story = Story(a_tree(lead=a_task("lead", timeout_secs=100, use_worktree=False)))
    story.working("lead")
    one = story.spawns("lead", timeout_secs=1000)

    story.after(100.0)
    story.gone("lead")
    story.gone(one)

    assert (Status.TIMED_OUT, Status.CANCELLED, 1) == (
        story.actor("lead").status, story.actor(one).status, story.state.exit_code,
    )  # fmt: skip


def test_a_stop_ends_everyone_the_paused_the_frozen_the_pausing_and_the_queued_too() -> None:
    story = slowly(max_workers=9)
    paused, frozen, pausing, running = (story.spawns("lead") for _ in range(4))
    story.calls("lead", c.PauseWorker(task_id=paused))
    story.gone(paused)
    story.calls("lead", c.PauseWorker(task_id=frozen, mode="freeze"))
    story.calls("lead", c.PauseWorker(task_id=pausing))
    story.calls("lead", worker())
    story.calls("lead", worker())

    story.when(s.Stop(at=story.at, by="SIGTERM"))
    assert [frozen] == [thaw.actor for thaw in story.asked(e.Thaw)]
    for name in (frozen, pausing, running, "lead"):
        story.gone(name)
    preparing = next(actor.spec.id for actor in story.state.actors.values() if actor.phase is Phase.PREPARING)
    story.prepared(preparing)

    assert 130 == story.state.exit_code
    assert {Status.CANCELLED} == set(records(story).values())
    assert 7 == len(records(story))


def test_late_reports_of_older_attempts_change_nothing() -> None:
    story = at_work()
    one = story.spawns("lead")
    story.calls("lead", c.PauseWorker(task_id=one))
    story.gone(one)
    story.calls("lead", c.ContinueWorker(task_id=one))
    story.working(one)
    before, who = story.state, ActorId(one)

    for late in (
        s.ProcessGone(at=story.at, actor=who, attempt=1, certificate=Certificate(exit_code=0)),
        s.TurnEnded(at=story.at, actor=who, attempt=1, result=a_result(9.0), usage=story.actor(one).usage),
        s.CallMade(
            at=story.at, actor=who, attempt=1, call_id=77, call=c.KvSet(path="/shared/a", value="late"), minted="m",
            session_id="s",
        ),
        s.CallDropped(at=story.at, actor=who, attempt=1, call_id=77),
    ):  # fmt: skip
        outcome = story.when(late)
        assert not outcome.effects
        assert before == story.state
