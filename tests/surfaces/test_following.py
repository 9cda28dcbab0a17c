"""A run that another process carries out, as it changes under our eyes: by its socket, else by its journal."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from pitboss.core.views import run_view
from pitboss.journal.lock import RunLock
from pitboss.model import facts as f
from pitboss.model.run import Phase
from pitboss.model.views import RunView
from pitboss.surfaces import client
from pitboss.surfaces.following import LOOKS_BEFORE_ANOTHER_TRY, Following, follow_old
from pitboss.wire import views as wire
from pitboss.wire.control import ListApprovals
from support.dispatcher import Dispatcher, Talk
from support.pictures import RUN, START, append, begun, done, opened, state_of, write_run

OLD = "0197d000-aaaa-7bbb-8ccc-ddddeeeeffff"
END = f.RunEnded(at=START + 9, exit_code=0, was_interrupted=False)


def facts(base: Path) -> list[f.AnyFact]:
    return [opened(base, "a", "b"), f.GuardianStarted(at=START, pid=7), *begun("a"), *done("a")]


def shown(base: Path, cursor: int) -> RunView:
    """What a dispatcher shows after so many facts."""
    return run_view(state_of(facts(base)[:cursor]), cursor)


class Hours:
    """Time that passes when somebody waits: something happens then, or it is all over."""

    def __init__(self, *happens: Callable[[], object]) -> None:
        self._happens = list(happens)
        self.waited = 0.0
        self.over = False

    def is_set(self) -> bool:
        return self.over

    def wait(self, timeout: float) -> bool:
        self.waited += timeout
        if self._happens:
            self._happens.pop(0)()
        else:
            self.over = True
        return self.over


def nothing() -> None:
    """A moment in which nothing happens."""


class Site:
    """A run's folder with a dispatcher's lock held on it."""

    def __init__(self, base: Path, written: int = 1) -> None:
        self.base = base
        self.run = write_run(base, facts(base)[:written])
        self.written = written
        self.lock: RunLock | None = RunLock.acquire(self.run.lock)

    def write(self, upto: int) -> None:
        append(self.run, facts(self.base)[self.written : upto])
        self.written = upto

    def die(self) -> None:
        assert self.lock is not None
        self.lock.release()

    def revive(self) -> None:
        self.lock = RunLock.acquire(self.run.lock)

    def end(self) -> None:
        append(self.run, [END])
        self.die()

    def follow(self, hours: Hours, patience: float = 0.0) -> Iterator[RunView]:
        return Following(self.run, hours, every_ms=100, patience_secs=patience).views()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    assert made.lock is not None
    made.lock.release()


# --- by the socket ----------------------------------------------------------------------------------------------------


def test_a_live_run_shows_itself_through_its_socket_until_it_has_ended(site: Site, tmp_path: Path) -> None:
    def show(talk: Talk) -> None:
        assert {"op": "subscribe", "every_ms": 100} == talk.welcome()
        talk.say(wire.encode_snapshot(shown(tmp_path, 2), "one"))
        talk.say({"event": "approval_request", "request_id": "r", "task_id": "a", "summary": "s"})
        talk.say(wire.encode_delta(shown(tmp_path, 2), shown(tmp_path, 7)))
        site.write(12)
        site.end()
        talk.say({"event": "run_finished", "summary": {"tasks_total": 2, "tasks_failed": 0}})

    with Dispatcher(site.run, show):
        views = list(site.follow(Hours(nothing)))

    assert [2, 7, 13] == [view.cursor for view in views]
    assert [0, 0, START + 9] == [view.ended_at for view in views]
    assert Phase.WORKING is views[1].actors[0].phase


def test_the_client_says_that_it_shares_the_run_with_others(site: Site, tmp_path: Path) -> None:
    with Dispatcher(site.run, lambda talk: site.end() if talk.welcome() else None) as pit:
        list(site.follow(Hours(nothing)))
    assert ["several"] == pit.heard[0]["capabilities"]
    assert str(pit.heard[0]["client_version"]).startswith("pitboss ")


def test_many_changes_that_arrive_at_once_are_all_shown(site: Site, tmp_path: Path) -> None:
    views = [replace(shown(tmp_path, 2), cursor=2 + n, spent_usd=float(n)) for n in range(500)]

    def show(talk: Talk) -> None:
        talk.welcome()
        steps = (wire.encode_delta(old, new) for old, new in itertools.pairwise(views))
        talk.say(b"".join([wire.encode_snapshot(views[0], "one"), *filter(None, steps)]))
        site.end()

    with Dispatcher(site.run, show):
        seen = list(site.follow(Hours(nothing)))

    assert views == seen[:500]


def test_what_has_not_changed_is_the_same_object(site: Site, tmp_path: Path) -> None:
    def show(talk: Talk) -> None:
        talk.welcome()
        talk.say(wire.encode_snapshot(shown(tmp_path, 2), "one"))
        talk.say(wire.encode_delta(shown(tmp_path, 2), replace(shown(tmp_path, 2), spent_usd=1.0)))
        talk.until_left()

    with Dispatcher(site.run, show):
        views = site.follow(Hours(nothing))
        first, second = next(views), next(views)
        views.close()  # type: ignore[attr-defined]

    assert all(a is b for a, b in zip(first.actors, second.actors, strict=True))


def test_a_broken_connection_is_made_anew_and_goes_on_where_it_broke(site: Site, tmp_path: Path) -> None:
    def first(talk: Talk) -> None:
        talk.welcome()
        talk.say(wire.encode_snapshot(shown(tmp_path, 3), "one"))

    def second(talk: Talk) -> None:
        talk.welcome()
        talk.say(wire.encode_delta(shown(tmp_path, 3), shown(tmp_path, 7)))
        site.end()

    with Dispatcher(site.run, first, second) as pit:
        views = list(site.follow(Hours(nothing, nothing)))

    assert [3, 7] == [view.cursor for view in views]
    assert {"op": "subscribe", "every_ms": 100, "cursor": 3, "epoch": "one"} == pit.subscriptions[1]


def test_another_dispatcher_shows_the_run_anew(site: Site, tmp_path: Path) -> None:
    def first(talk: Talk) -> None:
        talk.welcome()
        talk.say(wire.encode_snapshot(shown(tmp_path, 7), "one"))

    def second(talk: Talk) -> None:
        talk.welcome()
        talk.say(wire.encode_snapshot(shown(tmp_path, 12), "two"))

    def third(talk: Talk) -> None:
        talk.welcome()
        site.end()

    def killed_and_resumed() -> None:
        site.die()
        site.revive()

    with Dispatcher(site.run, first, second, third) as pit:
        views = list(site.follow(Hours(killed_and_resumed, nothing, nothing)))

    assert [7, 12] == [view.cursor for view in views[:2]]
    assert ["one", "two"] == [order["epoch"] for order in pit.subscriptions[1:]]


def test_a_change_that_does_not_fit_what_is_known_leads_to_a_new_beginning(site: Site, tmp_path: Path) -> None:
    def first(talk: Talk) -> None:
        talk.welcome()
        talk.say(wire.encode_snapshot(shown(tmp_path, 3), "one"))
        talk.say(wire.encode_delta(shown(tmp_path, 5), shown(tmp_path, 7)))
        talk.until_left()

    def second(talk: Talk) -> None:
        assert "cursor" not in talk.welcome()
        talk.say(wire.encode_snapshot(shown(tmp_path, 8), "one"))
        site.end()

    with Dispatcher(site.run, first, second):
        views = list(site.follow(Hours(*[nothing] * 60)))

    assert [3, 8] == [view.cursor for view in views]


def test_one_who_is_shown_nothing_more_need_not_wait_for_news(site: Site, tmp_path: Path) -> None:
    def show(talk: Talk) -> None:
        talk.welcome()
        talk.say(wire.encode_snapshot(shown(tmp_path, 3), "one"))
        talk.until_left()

    with Dispatcher(site.run, show), client.RunClient(site.run.path) as seen:
        views = seen.follow()
        assert 3 == next(views).cursor
        closer = threading.Thread(target=seen.close)
        closer.start()
        assert [] == list(views)
        closer.join()


# --- by the journal ---------------------------------------------------------------------------------------------------


def test_a_dispatcher_that_shows_nothing_is_asked_once_and_its_journal_read(site: Site) -> None:
    def refuse(talk: Talk) -> None:
        talk.welcome()
        talk.say({"event": "op_failed", "op": "subscribe", "error": "parse error: Invalid value 'subscribe'"})
        talk.until_left()

    rounds = [nothing] * (3 * LOOKS_BEFORE_ANOTHER_TRY)
    with Dispatcher(site.run, refuse):
        views = list(site.follow(Hours(lambda: site.write(3), lambda: site.write(7), *rounds, site.end)))

    assert [1, 3, 7, 8] == [view.cursor for view in views]


def test_a_run_without_a_socket_is_followed_by_its_journal(site: Site) -> None:
    views = list(site.follow(Hours(lambda: site.write(7), nothing, lambda: site.write(12), site.end)))
    assert [1, 7, 12, 13] == [view.cursor for view in views]
    assert START + 9 == views[-1].ended_at


def test_where_there_is_no_room_yet_it_is_tried_again(site: Site, tmp_path: Path) -> None:
    def full(talk: Talk) -> None:
        talk.hear()
        talk.say({"event": "op_failed", "op": "hello", "error": "64 operators are connected already"})
        talk.until_left()

    def show(talk: Talk) -> None:
        talk.welcome()
        talk.say(wire.encode_snapshot(shown(tmp_path, 3), "one"))
        site.end()

    with Dispatcher(site.run, full, show):
        views = list(site.follow(Hours(*[nothing] * (LOOKS_BEFORE_ANOTHER_TRY + 1))))

    assert [1, 3] == [view.cursor for view in views]


def test_what_is_no_pitboss_is_left_alone(site: Site) -> None:
    def babble(talk: Talk) -> None:
        talk.say(b"SSH-2.0-OpenSSH_9.2\r\n")
        talk.until_left()

    with Dispatcher(site.run, babble):
        views = list(site.follow(Hours(nothing, lambda: site.write(3), site.end)))

    assert [1, 3, 4] == [view.cursor for view in views]


def test_a_run_is_shown_from_its_first_fact_on(tmp_path: Path) -> None:
    site = Site(tmp_path, 0)
    views = list(site.follow(Hours(nothing, lambda: site.write(2), site.end)))
    assert [2, 3] == [view.cursor for view in views]


# --- the end of it ----------------------------------------------------------------------------------------------------


def test_following_ends_when_the_dispatcher_dies_and_nobody_takes_over(site: Site) -> None:
    hours = Hours(lambda: site.write(3), site.die, *[nothing] * 60)
    views = list(site.follow(hours, patience=2.0))
    assert [1, 3] == [view.cursor for view in views]
    assert pytest.approx(2.0 + 2 * 0.2) == hours.waited


def test_a_resume_in_time_is_followed(site: Site) -> None:
    hours = Hours(site.die, nothing, site.revive, lambda: site.write(7), site.end)
    assert [1, 7, 8] == [view.cursor for view in site.follow(hours, patience=2.0)]


def test_a_run_that_was_cut_off_before_is_shown_once(site: Site) -> None:
    site.die()
    assert [1] == [view.cursor for view in site.follow(Hours(), patience=60.0)]


def test_a_run_that_has_ended_is_shown_once(site: Site) -> None:
    site.end()
    with client.RunClient(site.run.path) as seen:
        assert [seen.snapshot()] == list(seen.follow())


def test_a_run_that_came_to_no_first_fact_is_shown_as_it_lies_there(tmp_path: Path) -> None:
    (tmp_path / RUN / "tasks").mkdir(parents=True)
    (tmp_path / RUN / "dispatcher.lock").write_bytes(b"")
    (tmp_path / RUN / "summary.jsonl").write_bytes(b"")
    with client.RunClient(tmp_path / RUN) as seen:
        assert [RUN] == [view.run_id for view in seen.follow()]


def test_a_run_of_pitboss_09_is_shown_once_if_it_is_over(tmp_path: Path) -> None:
    (tmp_path / OLD / "tasks" / "one").mkdir(parents=True)
    (tmp_path / OLD / "summary.jsonl").write_text("")
    os.utime(tmp_path / OLD / "summary.jsonl", (START, START))
    with client.RunClient(tmp_path / OLD) as seen:
        (view,) = list(seen.follow())
    assert ["one"] == [actor.id for actor in view.actors]


def test_a_run_of_pitboss_09_is_shown_again_when_its_files_tell_more(tmp_path: Path) -> None:
    before = client.Run(path=tmp_path, state="running", view=shown(tmp_path, 3), records=())
    after = client.Run(path=tmp_path, state="complete", view=shown(tmp_path, 12), records=())
    looks = [before, before, after]
    assert [3, 12] == [view.cursor for view in follow_old(lambda: looks.pop(0), Hours(*[nothing] * 9))]


# --- snapshots and orders ---------------------------------------------------------------------------------------------


def test_a_later_snapshot_reads_only_what_is_new(site: Site) -> None:
    with client.RunClient.open(site.base, "latest") as seen:
        site.write(2)
        first = seen.snapshot()
        site.write(7)
        second = seen.snapshot()
    assert (2, 7) == (first.cursor, second.cursor)
    assert first.actors[1] is second.actors[1]


def test_an_order_to_a_run_that_nobody_is_at_work_on_has_no_answer(tmp_path: Path) -> None:
    folder = write_run(tmp_path, facts(tmp_path))
    with client.RunClient(folder.path) as seen:
        assert None is seen.order(ListApprovals())


def test_an_order_is_answered_by_whoever_lives(site: Site) -> None:
    def answer(talk: Talk) -> None:
        assert "list_approvals" == talk.welcome()["op"]
        talk.say({"event": "approvals_snapshot", "approvals": []})

    with Dispatcher(site.run, answer), client.RunClient(site.run.path) as seen:
        assert {"event": "approvals_snapshot", "approvals": []} == seen.order(ListApprovals())
