from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

import pitboss
from pitboss.drivers import guardian_main
from pitboss.drivers.cookies import COOKIE, Census, stop_all
from pitboss.drivers.guardian import Guardian, Post
from pitboss.errors import WorldError
from support.children import DAEMON, IMMORTAL, alive, hopper, hops, new_run, running, sh, started, until

DISPATCHER = """
import asyncio, os, signal, sys
from pathlib import Path
from pitboss.drivers.guardian import Guardian, Post
from pitboss.drivers.process import Child

async def main():
    signal.alarm(60)  # should the test forget it
    run, report, *programs = sys.argv[1:]
    post = Post.take(Path(report).with_suffix(".lock"), on_wait=lambda: None)
    guardian = await Guardian.start(run, report=Path(report), post=post)
    print(guardian.pid, flush=True)
    for number, program in enumerate(programs):
        env = {**os.environ, "PITBOSS_COOKIE": f"{run}/{number}/1"}
        argv = [sys.executable, "-I", "-S", "-c", program]
        await Child.start(argv, cwd="/", env=env, on_stdout=len, on_stderr=len)
    print("all started", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
"""Stands in for a dispatcher: a guardian, some children, and no manners at its end."""

STUBBORN = IMMORTAL + "while True: time.sleep(60)"
GROUP = "import os, time\nif os.fork() == 0: os.execve('/bin/sleep', ['sleep', '60'], {})\ntime.sleep(60)"


async def end_of_a_dispatcher(
    home: Path,
    number: signal.Signals,
    env: dict[str, str] | None = None,
    programs: Sequence[str] = (STUBBORN, DAEMON, GROUP),
) -> tuple[int, dict[str, object]]:
    """Kill a stand-in dispatcher that has stubborn children; its guardian's pid and report once all are gone."""
    run, report = new_run(), home / "guardian.jsonl"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DISPATCHER, run, str(report), *programs),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": str(home), **(env or {})},
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        guardian = int(await process.stdout.readline())
        assert b"all started\n" == await process.stdout.readline()
        census = Census()
        async with asyncio.timeout(40):
            while len({one.cookie for one in await census.holders(f"{run}/")}) < len(programs):
                pass  # each look takes a while and lets others run
        os.killpg(process.pid, number)
        await process.wait()
        await until(report.exists, 20)
        await until(lambda: not alive(guardian))
        assert [] == await census.holders(f"{run}/")
        return guardian, json.loads(report.read_text())
    finally:
        if process.returncode is None:
            process.kill()
        stop_all(f"{run}/", grace_secs=0)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGINT])
async def test_however_the_dispatcher_dies_nothing_of_its_run_is_left(tmp_path: Path, number: signal.Signals) -> None:
    _, report = await end_of_a_dispatcher(tmp_path, number)
    assert [] == report["left"]
    stopped = report["stopped"]
    assert isinstance(stopped, list)
    assert stopped  # how many is chance: one that meets the end of its input may be gone by itself
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in stopped)
    assert 0o600 == stat.S_IMODE((tmp_path / "guardian.jsonl").stat().st_mode)


@pytest.mark.slow
async def test_the_next_dispatcher_has_the_post_once_the_old_guardian_has_swept(tmp_path: Path) -> None:
    """It would stop what that one starts."""
    run, report, lock, waits = new_run(), tmp_path / "guardian.jsonl", tmp_path / "guardian.lock", 0

    def on_wait() -> None:
        nonlocal waits
        waits += 1

    with subprocess.Popen(  # noqa: ASYNC220 - it is to die, and nobody waits for it but this test
        (sys.executable, "-c", DISPATCHER, run, str(report), STUBBORN),
        stdout=subprocess.PIPE,
        env={**os.environ, "HOME": str(tmp_path)},
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            guardian = int(process.stdout.readline())
            assert b"all started\n" == process.stdout.readline()
            with pytest.raises(WorldError, match=rf"does not end; stop it \(fuser {lock}\), then try again"):
                Post.take(lock, on_wait=on_wait, patience_secs=0.05)
            assert 1 == waits
            process.kill()
            with await asyncio.to_thread(Post.take, lock, on_wait=on_wait):
                assert not running(guardian)
                assert json.loads(report.read_text())["stopped"]
            assert 2 == waits
        finally:
            process.kill()
            stop_all(f"{run}/", grace_secs=0)


def test_a_free_post_is_taken_without_a_wait(tmp_path: Path) -> None:
    lock = tmp_path / "guardian.lock"
    for _ in range(2):
        with Post.take(lock, on_wait=lambda: pytest.fail("there is nobody to wait for")):
            assert 0o600 == stat.S_IMODE(lock.stat().st_mode)


def test_a_post_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match=r"cannot lock .*no/guardian.lock: No such file or directory"):
        Post.take(tmp_path / "no" / "guardian.lock", on_wait=lambda: None)


@pytest.mark.slow
async def test_a_guardian_catches_one_that_goes_on_forking(tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    _, report = await end_of_a_dispatcher(tmp_path, signal.SIGKILL, programs=[hopper(beats)])
    assert ([], True) == (report["left"], report["sure"])
    before = hops(beats)
    await asyncio.sleep(0.1)  # time for fifty hops
    assert 10 < before == hops(beats)


@pytest.mark.slow
async def test_a_guardian_takes_no_cookie_over_from_an_outer_run(tmp_path: Path) -> None:
    """The inner dispatcher holds the outer cookie; were it to pass that on, the outer sweep would end the guardian."""
    outer = new_run()
    _, report = await end_of_a_dispatcher(tmp_path, signal.SIGKILL, {COOKIE: f"{outer}/a/1"})
    assert [] == report["left"]


async def test_a_guardian_leads_its_own_session_and_has_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COOKIE, "outer/a/1")
    guardian = await Guardian.start(new_run())
    process = psutil.Process(guardian.pid)
    assert guardian.pid == os.getsid(guardian.pid) == os.getpgid(guardian.pid)
    assert 3 == process.num_fds()
    assert "/" == process.cwd()
    assert COOKIE not in process.environ()
    await guardian.release()


async def test_a_released_guardian_leaves_without_touching_anything(tmp_path: Path) -> None:
    run, report = new_run(), tmp_path / "report"
    async with started(sh("read line"), tmp_path, cookie=f"{run}/a/1") as it:
        guardian = await Guardian.start(run, report=report)
        await guardian.release()
        assert not alive(guardian.pid)
        assert alive(it.child.pid)
        assert not report.exists()
        await guardian.release()


async def test_the_death_of_a_guardian_is_noticed() -> None:
    guardian = await Guardian.start(new_run())
    waiting = asyncio.ensure_future(guardian.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    os.kill(guardian.pid, signal.SIGKILL)
    async with asyncio.timeout(40):
        await waiting


async def test_a_guardian_is_deaf_to_all_polite_signals() -> None:
    guardian = await Guardian.start(new_run())
    for number in guardian_main.DEAF_TO:
        os.kill(guardian.pid, number)
    os.kill(guardian.pid, signal.SIGCONT)
    await asyncio.sleep(0.05)
    assert alive(guardian.pid)
    await guardian.release()


async def test_a_guardian_that_dies_at_once_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(WorldError, match=r"the guardian process did not start: .*; check that '/bin/false' runs"):
        await Guardian.start(new_run())


@pytest.mark.slow
async def test_a_guardian_arms_itself_in_a_quiet_moment(tmp_path: Path) -> None:
    """From then on it does not need the files of an installation that may be upgraded under a long run."""
    run, report = new_run(), tmp_path / "report"
    home = tmp_path / "lib"
    _install(home)
    script = home / "pitboss/drivers/guardian_main.py"
    async with started(sh("read line"), tmp_path, cookie=f"{run}/a/1") as it:
        with subprocess.Popen(  # noqa: ASYNC220 - the script alone, without our driver around it
            [sys.executable, "-I", "-S", "-B", str(script), run, str(report), str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as guardian:
            loaded = str(home / "psutil")
            await until(lambda: any(loaded in one.path for one in psutil.Process(guardian.pid).memory_maps()))
            await asyncio.sleep(0.2)
            home.rename(tmp_path / "gone")
            assert guardian.stdin is not None
            guardian.stdin.close()
            assert signal.SIGTERM == (await it.child.wait()).signal
            await until(lambda: guardian.poll() is not None)
        assert [it.child.pid] == json.loads(report.read_text())["stopped"]


def _install(home: Path) -> None:
    """A copy of what a guardian needs."""
    sources = Path(pitboss.__file__).parent
    (home / "pitboss/drivers").mkdir(parents=True)
    for name in (
        "__init__.py",
        "drivers/__init__.py",
        "drivers/lookout.py",
        "drivers/sweep.py",
        "drivers/guardian_main.py",
    ):
        shutil.copy(sources / name, home / "pitboss" / name)
    shutil.copytree(Path(psutil.__file__).parent, home / "psutil", ignore=shutil.ignore_patterns("tests"))
