"""The store and the leases in a run: whose layer a call reaches, who gets a lease next, and when one is free."""

from pitboss.core import supervision
from pitboss.model import calls as c
from pitboss.model import effects as e
from pitboss.model import signals as s
from pitboss.model import tree_facts as t
from pitboss.model.answers import Answer, Refused
from pitboss.model.run import ActorId, Phase
from pitboss.testing.doubles import Story, a_run, a_task, a_tree


def at_work(workers: int = 0) -> tuple[Story, list[str]]:
    """A lead and so many workers at work."""
    story = Story(a_tree(max_workers=None))
    story.working("lead")
    return story, [story.spawns("lead") for _ in range(workers)]


def leads(story: Story, *, read_down: bool = False) -> str:
    call = c.SpawnSublead(prompt="x", model="m", budget_usd=2.0, max_workers=3, read_down=read_down)
    answer = story.calls("lead", call)
    assert isinstance(answer, Answer), answer
    name = str(answer.content["sublead_id"])
    story.working(name)
    return name


def has(answer: Answer | Refused | None) -> bool:
    assert isinstance(answer, Answer), answer
    return bool(answer.content["acquired"])


def lease(wait: int | None = None, ttl: int = 50) -> c.LeaseAcquire:
    return c.LeaseAcquire(name="disk", ttl_secs=ttl, wait_secs=wait)


def run_lease(wait: int | None = None, ttl: int = 50) -> c.RunLeaseAcquire:
    return c.RunLeaseAcquire(key="push", ttl_secs=ttl, wait_secs=wait)


def holders(story: Story) -> list[str]:
    return [held.holder for held in story.state.leases.held.values()]


def waiters(story: Story, *names: str, call: c.AnyCall | None = None) -> list[int]:
    """The numbers of the calls in which these wait for the lease, one after the other."""
    numbers = []
    for name in names:
        assert story.calls(name, call or lease(wait=1000)) is None
        numbers.append(story.made)
    return numbers


def test_a_layer_has_one_store_for_its_lead_and_its_workers() -> None:
    story, (one, two) = at_work(2)
    sub = leads(story)
    story.calls(one, c.KvSet(path="/shared/a", value="x"))

    for reader, found in ((two, True), ("lead", True), (sub, False)):
        answer = story.calls(reader, c.KvGet(path="/shared/a"))
        assert isinstance(answer, Answer)
        assert found == (answer.content["entry"] is not None), reader


def test_only_a_lead_writes_references_and_nobody_reads_anothers_slot() -> None:
    story, (one, two) = at_work(2)

    assert isinstance(story.calls(one, c.KvSet(path="/ref/a", value="x")), Refused)
    assert isinstance(story.calls("lead", c.KvSet(path="/ref/a", value="x")), Answer)
    story.calls(one, c.KvSet(path="/peer/self/a", value="x"))
    assert isinstance(story.calls(two, c.KvGet(path=f"/peer/{one}/a")), Refused)
    assert isinstance(story.calls("lead", c.KvGet(path=f"/peer/{one}/a")), Answer)


def test_a_lead_looks_down_into_a_store_it_was_given_to_read_and_writes_nothing_there() -> None:
    story, _ = at_work()
    sub = leads(story, read_down=True)
    inner = story.spawns(sub)
    story.calls(sub, c.KvSet(path="/shared/a", value="of the sub-lead"))
    story.calls(inner, c.KvSet(path="/peer/self/report", value="of its worker"))

    for path, value in (("/shared/a", "of the sub-lead"), (f"/peer/{inner}/report", "of its worker")):
        answer = story.calls("lead", c.KvGet(path=path, form="text", sublead_id=sub))
        assert isinstance(answer, Answer)
        assert value in str(answer.content["entry"])
    listed = story.calls("lead", c.KvList(glob="/**", sublead_id=sub))
    assert isinstance(listed, Answer)
    assert inner in str(listed.content)
    story.calls("lead", c.KvSet(path="/shared/a", value="of the lead"))
    assert "of the sub-lead" in str(story.calls("lead", c.KvGet(path="/shared/a", form="text", sublead_id=sub)))


def test_a_lead_waits_for_a_key_further_down() -> None:
    story, _ = at_work()
    sub = leads(story, read_down=True)
    assert None is story.calls("lead", c.KvWait(path="/shared/done", timeout_secs=60, form="text", sublead_id=sub))
    waiting = story.made
    story.calls("lead", c.KvSet(path="/shared/done", value="mine"))
    assert waiting not in story.answers(), "the key of its own store is another one"
    story.calls(sub, c.KvSet(path="/shared/done", value="yours"))
    assert "yours" in str(story.answers()[waiting])


def test_nobody_looks_into_a_store_that_is_not_below_or_was_not_opened() -> None:
    story, (one,) = at_work(1)
    closed, open_ = leads(story), leads(story, read_down=True)
    inner = story.spawns(open_)
    asked = [
        ("lead", closed, "forbidden"),
        ("lead", one, "not_found"),
        ("lead", "nobody", "not_found"),
        (one, open_, "not_found"),
        (closed, open_, "not_found"),
        (inner, open_, "not_found"),
    ]
    for caller, name, code in asked:
        for call in (
            c.KvGet(path="/shared/a", sublead_id=name),
            c.KvList(glob="/**", sublead_id=name),
            c.KvWait(path="/shared/a", timeout_secs=60, sublead_id=name),
        ):
            answer = story.calls(caller, call)
            assert isinstance(answer, Refused), (caller, name)
            assert code == answer.code
    assert {} == story.state.waits


def test_the_tasks_of_a_flat_run_share_one_store_and_its_leases() -> None:
    story = Story(a_run(a_task("a", use_worktree=False), a_task("b", use_worktree=False)))
    story.working("a", "b")
    story.calls("a", c.KvSet(path="/shared/x", value="1"))

    answer = story.calls("b", c.KvGet(path="/shared/x"))
    assert isinstance(answer, Answer)
    assert answer.content["entry"] is not None
    assert has(story.calls("a", lease()))
    (number,) = waiters(story, "b")
    story.turn_ends("a")
    story.gone("a")
    assert has(story.answers()[number])
    refusal = story.calls("b", c.ListWorkers())
    assert isinstance(refusal, Refused)


def test_a_lease_goes_to_those_who_wait_in_the_order_they_asked() -> None:
    story, (one, two, three) = at_work(3)
    assert has(story.calls("lead", lease()))
    first, second, third = waiters(story, two, one, three)
    held = [story.state.leases.held]

    story.calls("lead", c.LeaseRelease(lease_id=next(iter(held[0].values())).lease_id))
    assert ([two], True) == (holders(story), has(story.answers()[first]))
    story.gone(two)
    assert ([one], True) == (holders(story), has(story.answers()[second]))
    story.after(50.0)
    assert ([three], True) == (holders(story), has(story.answers()[third]))
    fences = [fact.lease.fence for fact in story.told(t.LeaseTaken)]
    assert sorted(set(fences)) == fences


def test_whoever_asks_when_a_lease_is_over_comes_after_whoever_waits() -> None:
    story, (one, two) = at_work(2)
    story.calls("lead", lease(ttl=10))
    (first,) = waiters(story, one)

    story.clock.turn(10.0)  # over, and the clock's signal has not come yet
    assert not has(story.calls(two, lease()))

    assert ([one], True) == (holders(story), has(story.answers()[first]))


def test_a_wait_whose_time_is_over_as_the_lease_is_does_not_pass_those_before_it() -> None:
    story, (one, two) = at_work(2)
    story.calls("lead", lease(ttl=10))
    (first,) = waiters(story, one)
    assert story.calls(two, lease(wait=10)) is None
    second = story.made
    assert story.at + 10.0 == supervision.next_deadline(story.state)

    story.after(10.0)

    assert (True, False) == (has(story.answers()[first]), has(story.answers()[second]))


def test_a_wait_for_a_lease_ends_at_its_deadline_and_names_the_holder() -> None:
    story, (one, two) = at_work(2)
    story.calls("lead", lease())
    story.calls("lead", run_lease())
    story.calls(one, lease(wait=5))
    story.calls(two, run_lease(wait=5))

    story.after(5.0)

    mine, wide = story.answers()[story.made - 1], story.answers()[story.made]
    assert isinstance(mine, Answer)
    assert (False, "lead") == (mine.content["acquired"], mine.content["holder"])
    assert isinstance(wide, Refused)
    assert "currently held by lead" in wide.message


def test_without_waiting_the_answer_comes_at_once() -> None:
    story, (one,) = at_work(1)
    story.calls("lead", lease())
    story.calls("lead", run_lease())

    assert not has(story.calls(one, lease()))
    assert isinstance(story.calls(one, run_lease(wait=0)), Refused)
    assert not story.state.waits


def test_a_dropped_wait_never_gets_the_lease() -> None:
    story, (one, two) = at_work(2)
    story.calls("lead", lease(ttl=10))
    (first,) = waiters(story, one)
    waiters(story, two)
    story.when(s.CallDropped(at=story.at, actor=ActorId(one), attempt=1, call_id=first))

    story.after(10.0)

    assert [two] == holders(story)


def test_whoever_is_being_ended_gets_no_lease() -> None:
    story, (one, two) = at_work(2)
    story.calls("lead", lease(ttl=10))
    waiters(story, one, two)
    story.calls("lead", c.CancelWorker(target=one))

    story.clock.turn(10.0)
    story.calls("lead", c.LeaseList())

    assert [two] == holders(story)


def test_a_lease_ends_with_its_holder_in_its_layer_and_in_the_run() -> None:
    story, (one,) = at_work(1)
    sub = leads(story)
    below = story.spawns(sub)
    story.calls(below, lease())
    story.calls(below, run_lease())
    (wide,) = waiters(story, one, call=run_lease(wait=1000))

    story.succeeds(sub)
    assert [below, below] == holders(story)
    story.gone(below)

    assert Phase.SETTLED is story.actor(below).phase
    assert ([one], True) == (holders(story), has(story.answers()[wide]))


def test_names_of_one_layer_mean_nothing_in_another_but_run_wide_ones_do() -> None:
    story, (one,) = at_work(1)
    sub = leads(story)

    assert has(story.calls(one, lease()))
    assert has(story.calls(sub, lease()))
    assert has(story.calls(one, run_lease()))
    assert isinstance(story.calls(sub, run_lease()), Refused)


def test_the_holder_of_a_run_wide_lease_renews_it_also_for_its_own_second_call_that_waits() -> None:
    story, (one,) = at_work(1)
    story.calls("lead", run_lease(ttl=10))
    numbers = waiters(story, one, one, call=run_lease(wait=1000))

    story.after(10.0)

    assert [True, True] == [has(story.answers()[number]) for number in numbers]
    assert not story.state.waits


def test_a_paused_worker_keeps_its_lease_until_its_time_is_over() -> None:
    story, (one,) = at_work(1)
    story.calls(one, lease(ttl=20))
    story.calls("lead", c.PauseWorker(task_id=one))
    story.gone(one)
    assert [one] == holders(story)

    story.after(20.0)

    assert [] == holders(story)
    assert ["expired"] == [fact.ended.reason for fact in story.told(t.LeaseOver)]


def test_whoever_waits_for_a_lease_hears_a_message_first() -> None:
    story, (one,) = at_work(1)
    story.calls("lead", lease(ttl=10))
    (number,) = waiters(story, one)
    story.calls("lead", c.RepromptWorker(task_id=one, prompt="leave it"))
    story.after(10.0)

    early = story.answers()[number]
    assert isinstance(early, Answer)
    assert early.content["interrupted"] is True
    assert [] == holders(story)
    assert ["leave it"] == [tell.text for tell in story.asked(e.Tell)]
