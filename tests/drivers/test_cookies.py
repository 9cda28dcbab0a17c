from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from pitboss.drivers import lookout
from pitboss.drivers.cookies import COOKIE, Census, Finding, Found, stop_all
from pitboss.drivers.lookout import LOOK_PASSES, Known, Lookout, Place, Snapshot
from pitboss.drivers.sweep import STRIKE_SECS, Hunt, Step, send, strike
from support.children import (
    DAEMON,
    IMMORTAL,
    alive,
    assert_gone,
    hopper,
    hops,
    new_run,
    python,
    running,
    sh,
    started,
    until,
)


def found(pid: int, cookie: str = "r/a/1") -> Found:
    return Found(pid, 1000.0 + pid, cookie, Place(pid, pid), psutil.Process())


def met(*found: Found, sure: bool = True) -> Finding:
    return Finding(list(found), sure)


@contextmanager
def stranger(code: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process with no cookie, in our own group."""
    env = {name: value for name, value in os.environ.items() if name != COOKIE}
    with subprocess.Popen(python(code), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, bufsize=0) as process:
        try:
            yield process
        finally:
            process.kill()


# finding


async def test_a_whole_cookie_finds_its_own_attempt_only(tmp_path: Path) -> None:
    run = new_run()
    async with (
        started(sh("read line"), tmp_path, cookie=f"{run}/a/1") as first,
        started(sh("read line"), tmp_path, cookie=f"{run}/a/12"),
    ):
        assert [first.child.pid] == [one.pid for one in await Census().holders(f"{run}/a/1")]


async def test_a_prefix_finds_all_of_a_run_and_nothing_of_another(tmp_path: Path) -> None:
    run = new_run()
    async with (
        started(sh("read line"), tmp_path, cookie=f"{run}/a/1") as first,
        started(sh("read line"), tmp_path, cookie=f"{run}/b/1") as second,
        started(sh("read line"), tmp_path, cookie=f"{run}0/a/1"),
    ):
        holders = await Census().holders(f"{run}/")
        assert {first.child.pid: f"{run}/a/1", second.child.pid: f"{run}/b/1"} == {
            one.pid: one.cookie for one in holders
        }
        assert {psutil.Process(one.pid).create_time() for one in holders} == {one.create_time for one in holders}


async def test_descendants_in_other_sessions_are_found(tmp_path: Path) -> None:
    async with started(python(DAEMON), tmp_path) as it:
        await it.child.wait()
        census = Census()
        async with asyncio.timeout(40):  # it may still be on its way out of its session
            while not any(it.child.pid not in found.place for found in await census.holders(it.cookie)):
                pass


async def test_a_zombie_holds_no_cookie(tmp_path: Path) -> None:
    async with started(python("import os, time\nif os.fork() == 0: os._exit(0)\ntime.sleep(60)"), tmp_path) as it:
        parent = psutil.Process(it.child.pid)
        await until(lambda: [psutil.STATUS_ZOMBIE] == [child.status() for child in parent.children()])
        assert [it.child.pid] == [one.pid for one in await Census().holders(it.cookie)]


async def test_all_who_wait_at_the_same_time_share_one_look(tmp_path: Path) -> None:
    census = Census()
    async with started(sh("read line"), tmp_path) as it:
        answers = await asyncio.gather(*(census.holders(it.cookie) for _ in range(40)))
        assert [it.child.pid] * 40 == [one.pid for answer in answers for one in answer]
        assert 1 == census.looks


async def test_a_look_that_began_before_the_question_does_not_answer_it(monkeypatch: pytest.MonkeyPatch) -> None:
    census, begun, gate = Census(), threading.Event(), threading.Event()
    look = census._lookout.look

    def held_up() -> Snapshot:
        begun.set()
        assert gate.wait(10)
        return look()

    monkeypatch.setattr(census._lookout, "look", held_up)
    first = asyncio.ensure_future(census.holders("r/"))
    await until(begun.is_set)
    asyncio.get_running_loop().call_soon(gate.set)
    await asyncio.gather(first, census.holders("r/"), census.holders("r/"))
    assert 2 == census.looks


async def test_somebody_who_stops_waiting_takes_nothing_from_the_others() -> None:
    census = Census()
    questions = [asyncio.ensure_future(census.holders("r/")) for _ in range(3)]
    await until(lambda: census.looks == 1)
    questions[0].cancel()
    assert [[], []] == await asyncio.gather(*questions[1:])


async def test_a_process_that_takes_its_cookie_late_is_found() -> None:
    """As one does that was seen between its fork and its exec."""
    census, cookie = Census(), f"{new_run()}/a/1"
    code = f"import os, sys\nsys.stdin.readline()\nos.execve('/bin/sleep', ['sleep', '60'], {{{COOKIE!r}: {cookie!r}}})"
    with stranger(code) as process:
        assert [] == await census.holders(cookie)
        assert [] == await census.holders(cookie)
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        await until(lambda: "sleep" in psutil.Process(process.pid).name())
        async with asyncio.timeout(40):  # in the middle of its exec it has no environment to show
            while [process.pid] != [one.pid for one in await census.holders(cookie)]:
                pass


def test_those_who_answered_are_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pitboss.drivers.lookout.SETTLED_SECS", -1000.0)
    monkeypatch.setattr("pitboss.drivers.lookout.BELIEVED_SECS", 1000.0)  # on a busy machine two looks lie apart
    asked: list[int] = []
    environ = psutil.Process.environ

    def counted(process: psutil.Process) -> dict[str, str]:
        asked.append(process.pid)
        return environ(process)

    monkeypatch.setattr(psutil.Process, "environ", counted)
    with stranger("print(flush=True); input()") as process:
        assert process.stdout is not None
        process.stdout.readline()  # in the middle of its exec it has no environment to show, and is asked again
        lookout = Lookout()
        lookout.look()
        assert process.pid in asked
        asked.clear()
        lookout.look()
        assert process.pid not in asked


def test_a_number_that_was_reused_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group leader is recognized by its start time, all others by where they stand."""
    monkeypatch.setattr("pitboss.drivers.lookout.SETTLED_SECS", -1000.0)
    cookie = f"{new_run()}/a/1"
    env = {**os.environ, COOKIE: cookie}
    lookout = Lookout()
    with (
        subprocess.Popen(sh("sleep 60 & wait"), env=env, start_new_session=True) as leader,
        ExitStack() as stack,
    ):
        stack.callback(os.killpg, leader.pid, signal.SIGKILL)
        member = _wait_for_child(leader.pid)
        monkeypatch.setattr(psutil.Process, "environ", lambda _: {"A": "stranger"})
        assert [] == lookout.look().carrying(cookie)
        monkeypatch.undo()
        monkeypatch.setattr("pitboss.drivers.lookout.SETTLED_SECS", -1000.0)
        assert [] == lookout.look().carrying(cookie)
        lookout._known[leader.pid] = lookout._known[leader.pid]._replace(process=psutil.Process(), seen=0.0)
        lookout._known[member] = lookout._known[member]._replace(place=Place(1, 1))
        assert {leader.pid, member} == {one.pid for one in lookout.look().carrying(cookie)}


def test_a_known_holder_that_became_a_zombie_holds_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pitboss.drivers.lookout.SETTLED_SECS", -1000.0)
    lookout, cookie = Lookout(), f"{new_run()}/a/1"
    pipe = subprocess.PIPE
    with subprocess.Popen(sh("echo ready; read line"), stdin=pipe, stdout=pipe, env={COOKIE: cookie}) as holder:
        assert holder.stdout is not None
        assert b"ready\n" == holder.stdout.readline()  # its exec is over
        assert [holder.pid] == [one.pid for one in lookout.look().carrying(cookie)]
        assert [holder.pid] == [one.pid for one in lookout.look().carrying(cookie)]
        holder.kill()
        while psutil.Process(holder.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert [] == lookout.look().carrying(cookie)
        assert [] == lookout.look().carrying(cookie)


def test_processes_that_may_not_be_read_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(process: psutil.Process) -> dict[str, str]:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "environ", denied)
    assert () == Lookout().look().holders


def test_we_never_find_ourselves() -> None:
    assert os.getpid() not in Lookout().look().places


# looks that could not ask everybody


def gone() -> int:
    """The number of a process that has just ended."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


def test_a_look_goes_on_until_everybody_could_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    pids, vanished = psutil.pids, [gone(), gone()]
    monkeypatch.setattr(psutil, "pids", lambda: pids() + ([vanished.pop()] if vanished else []))
    assert Lookout().look().sure
    assert [] == vanished


def test_a_look_gives_up_unsure_when_somebody_vanishes_from_every_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    pids, passes, vanished = psutil.pids, 0, gone()

    def crowded() -> list[int]:
        nonlocal passes
        passes += 1
        return [*pids(), vanished]

    monkeypatch.setattr(psutil, "pids", crowded)
    assert ([], False) == Lookout().look().belonging("r/")
    assert 1 < passes <= LOOK_PASSES


@pytest.mark.parametrize("leader", ["alive", "gone"])
def test_only_the_leader_of_its_session_can_vouch_for_one_that_vanished(
    monkeypatch: pytest.MonkeyPatch, leader: str
) -> None:
    script = "sleep 60 & echo $!; " + ("wait" if leader == "alive" else "exit")
    with subprocess.Popen(sh(script), stdout=subprocess.PIPE, start_new_session=True, env={"A": "b"}) as shell:
        assert shell.stdout is not None
        member = int(shell.stdout.readline())
        try:
            if leader == "gone":
                shell.wait()
            ask = lookout._ask

            def vanishing(pid: int, place: Place) -> Known:
                if pid == member:
                    raise psutil.NoSuchProcess(pid)
                return ask(pid, place)

            monkeypatch.setattr(lookout, "_ask", vanishing)
            assert (leader == "alive") == Lookout().look().sure
        finally:
            os.killpg(shell.pid, signal.SIGKILL)


def test_a_zombie_that_nobody_collects_spoils_no_look() -> None:
    with subprocess.Popen(["true"]) as process:
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        look = Lookout().look()
        assert look.sure
        assert process.pid in look.ended


def test_a_kinsman_that_ends_after_the_look_makes_its_answer_unsure() -> None:
    with subprocess.Popen(sh("read line"), stdin=subprocess.PIPE, start_new_session=True) as process:
        look = Lookout().look()
        places = {pid: place for pid, place in look.places.items() if pid != process.pid}
        places[gone()] = Place(process.pid, process.pid)
        assert not look._replace(places=places).belonging("r/", session=process.pid).sure


# striking


async def test_a_strike_kills_a_hopper_and_ends(tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    async with started(python(hopper(beats)), tmp_path) as it:
        await until(lambda: hops(beats) > 10)
        killed = await asyncio.to_thread(strike, it.cookie, secs=10.0)
        assert killed
        await until(lambda: not any(map(running, killed)))
        await assert_gone(it.cookie, beats)


async def test_a_strike_whose_signals_come_too_late_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may stand between the answer and the signal for longer than a hop takes."""
    beats, kill, late = tmp_path / "beats", psutil.Process.kill, 0

    def slow(process: psutil.Process) -> None:
        nonlocal late
        if late < 6:
            late += 1
            while running(process.pid):
                time.sleep(0.001)
            raise psutil.NoSuchProcess(process.pid)  # as soon as it has been collected, which takes init a while
        kill(process)

    monkeypatch.setattr(psutil.Process, "kill", slow)
    async with started(python(hopper(beats)), tmp_path) as it:
        await until(lambda: hops(beats) > 10)
        killed = await asyncio.to_thread(strike, it.cookie, secs=10.0)
        await until(lambda: not any(map(running, killed)))
        await assert_gone(it.cookie, beats)


async def test_a_strike_leaves_a_session_alone_whose_number_has_a_process(tmp_path: Path) -> None:
    """Its leader was reaped, so this is somebody else."""
    async with started(sh("read line"), tmp_path) as other:
        assert set() == strike("r/", session=other.child.pid)
        assert alive(other.child.pid)


# deciding whom to signal


def test_two_empty_looks_end_a_hunt() -> None:
    hunt = Hunt(grace_secs=1.0, kill_secs=2.0)
    assert Step((), 0, 0.0) == hunt.step(0.0, met())
    assert Step((), 0, None) == hunt.step(0.1, met())
    assert set() == hunt.stopped


def test_term_comes_once_then_kill_at_each_look_then_the_hunt_gives_up() -> None:
    hunt, one = Hunt(grace_secs=1.0, kill_secs=2.0), found(7)
    assert (one,) == hunt.step(10.0, met(one)).targets
    assert () == hunt.step(10.5, met(one)).targets
    for now in (11.0, 12.9):
        step = hunt.step(now, met(one))
        assert ((one,), signal.SIGKILL) == (step.targets, step.number)
        assert 0 < step.strike_secs <= 13.0 - now
    assert Step((), 0, None) == hunt.step(13.0, met(one))
    assert [one] == hunt.left
    assert {7} == hunt.stopped


def test_a_newcomer_is_told_too() -> None:
    hunt = Hunt(grace_secs=1.0, kill_secs=2.0)
    hunt.step(0.0, met(found(7)))
    step = hunt.step(0.5, met(found(7), found(8)))
    assert ((found(8),), signal.SIGTERM) == (step.targets, step.number)


def test_an_empty_look_between_two_full_ones_does_not_count() -> None:
    hunt = Hunt(grace_secs=1.0, kill_secs=2.0)
    hunt.step(0.0, met())
    hunt.step(0.1, met(found(7)))
    assert hunt.step(0.2, met()).pause_secs is not None
    assert hunt.step(0.3, met()).pause_secs is None


def test_an_inconclusive_look_is_not_quiet() -> None:
    hunt = Hunt(grace_secs=1.0, kill_secs=2.0)
    hunt.step(0.0, met())
    assert hunt.step(0.1, met(sure=False)).pause_secs is not None
    assert hunt.step(0.2, met()).pause_secs is not None
    assert hunt.step(0.3, met()).pause_secs is None
    assert hunt.sure


def test_a_hunt_that_sees_nothing_for_certain_strikes_and_ends_unsure() -> None:
    hunt = Hunt(grace_secs=1.0, kill_secs=2.0)
    assert 0.0 == hunt.step(0.0, met(sure=False)).strike_secs
    assert ((), STRIKE_SECS) == hunt.step(1.0, met(sure=False))[::3]
    assert pytest.approx(0.5) == hunt.step(2.5, met(sure=False)).strike_secs
    assert Step((), 0, None) == hunt.step(3.0, met(sure=False))
    assert ([], False) == (hunt.left, hunt.sure)


def test_no_pause_goes_past_the_end_of_the_grace() -> None:
    hunt, now, pauses = Hunt(grace_secs=1.0, kill_secs=2.0), 0.0, []
    while now < 1.0:
        pause = hunt.step(now, met(found(7))).pause_secs
        assert pause is not None
        pauses.append(pause)
        now += pause
    assert pytest.approx(1.0) == now
    assert len(pauses) < 12


async def test_a_process_that_took_over_the_number_is_not_signalled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started(sh("read line; exit 5"), tmp_path) as it:
        [holder] = await Census().holders(it.cookie)
        monkeypatch.setattr(holder.process, "_ident", (holder.pid, 1.0))  # the start time of somebody before it
        send([holder], signal.SIGKILL)
        it.child.close_stdin()
        assert 5 == (await it.child.wait()).exit_code


# stopping


async def test_stop_all_stops_a_whole_run_and_nothing_else(tmp_path: Path) -> None:
    run = new_run()
    stubborn = IMMORTAL + "print('ready', flush=True)\nwhile True: time.sleep(60)"
    async with (
        started(python(DAEMON), tmp_path, cookie=f"{run}/a/1") as daemon,
        started(python(stubborn), tmp_path, cookie=f"{run}/b/1") as second,
        started(sh("env -i sleep 60 & echo ready; wait"), tmp_path, cookie=f"{run}/c/1") as third,
        started(sh("read line"), tmp_path) as other,
    ):
        await daemon.child.wait()
        await second.said("ready")
        await third.said("ready")
        sweep = await asyncio.to_thread(stop_all, f"{run}/", grace_secs=0.1)
        assert () == sweep.left
        assert 4 <= len(sweep.stopped)  # five if the daemon was met on its way to becoming one
        assert signal.SIGKILL == (await second.child.wait()).signal
        assert signal.SIGTERM == (await third.child.wait()).signal
        assert alive(other.child.pid)


async def test_stop_all_names_what_it_had_to_give_up(tmp_path: Path) -> None:
    async with started(python(IMMORTAL + "print('ready', flush=True)\ntime.sleep(60)"), tmp_path) as it:
        await it.said("ready")
        sweep = await asyncio.to_thread(stop_all, it.cookie, grace_secs=0.1, limit_secs=0.1)
        assert [it.child.pid] == [one.pid for one in sweep.left]


def test_stop_all_never_touches_its_own_group() -> None:
    """A holder in the caller's own group is stopped; its neighbours there are not its kin."""
    cookie = f"{new_run()}/a/1"
    with (
        stranger("input()") as neighbour,
        subprocess.Popen(python("input()"), stdin=subprocess.PIPE, env={**os.environ, COOKIE: cookie}) as holder,
    ):
        assert (holder.pid,) == stop_all(cookie).stopped
        assert neighbour.poll() is None


def _wait_for_child(pid: int) -> int:
    while not (children := [one for one in psutil.Process(pid).children() if one.name() == "sleep"]):
        assert alive(pid)
    return int(children[0].pid)
