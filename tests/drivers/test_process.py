from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from pitboss.drivers.cookies import COOKIE, Census
from pitboss.drivers.process import CHUNK_BYTES, STDIN_LIMIT_BYTES, Child, Ending, bury
from pitboss.errors import WorldError
from pitboss.model.run import Certificate
from support.children import (
    DAEMON,
    IMMORTAL,
    Started,
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

WAKES_ON_USR1 = """
import signal, sys
signal.signal(signal.SIGUSR1, lambda *_: None)
print("ready", flush=True)
signal.pause()
"""

both_watches = pytest.mark.parametrize("pidfd", [True, False], ids=["pidfd", "thread"])


async def refusal(argv: list[str], cwd: Path, env: dict[str, str] | None = None) -> str:
    """What is said about a program that cannot be started."""
    with pytest.raises(WorldError) as caught:
        await Child.start(argv, cwd=cwd, env=env or dict(os.environ), on_stdout=print, on_stderr=print)
    return str(caught.value)


async def buried(it: Started, grace_secs: float = 2.0) -> Certificate:
    return await bury(it.child, it.cookie, Census(), grace_secs=grace_secs, kill_secs=5.0)


# how it ends


@both_watches
async def test_an_exit_code_is_reported(tmp_path: Path, pidfd: bool) -> None:
    async with started(sh("exit 7"), tmp_path, pidfd=pidfd) as it:
        assert Ending(7, None) == await it.child.wait()


@both_watches
async def test_a_deadly_signal_is_reported(tmp_path: Path, pidfd: bool) -> None:
    async with started(sh("kill -9 $$"), tmp_path, pidfd=pidfd) as it:
        assert Ending(None, 9) == await it.child.wait()


@both_watches
async def test_everyone_who_waits_hears_of_the_end(tmp_path: Path, pidfd: bool) -> None:
    async with started(sh("read line; exit 3"), tmp_path, pidfd=pidfd) as it:
        waiting = [asyncio.ensure_future(it.child.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        it.child.close_stdin()
        assert [Ending(3, None)] * 2 == await asyncio.gather(*waiting[1:])
        assert Ending(3, None) == await it.child.wait()


@both_watches
async def test_a_status_that_somebody_else_collected_is_unknown(tmp_path: Path, pidfd: bool) -> None:
    async with started(sh("read line; exit 3"), tmp_path, pidfd=pidfd) as it:
        previous = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then reaps by itself
        try:
            it.child.close_stdin()
            assert Ending(None, None) == await it.child.wait()
        finally:
            signal.signal(signal.SIGCHLD, previous)


@both_watches
async def test_a_grandchild_that_holds_stdout_does_not_delay_the_end(tmp_path: Path, pidfd: bool) -> None:
    async with started(sh("echo early; sleep 60 & exit 0"), tmp_path, pidfd=pidfd) as it:
        async with asyncio.timeout(40):
            assert Ending(0, None) == await it.child.wait()
        assert not await it.child.drain(0.05)
        assert b"early\n" == it.out
        certificate = await buried(it)
        assert certificate.complete
        assert 1 == len(certificate.stopped)


async def test_nothing_stays_open_after_the_end(tmp_path: Path) -> None:
    async with started(sh("true"), tmp_path):
        pass
    before = psutil.Process().num_fds()
    async with started(sh("true"), tmp_path) as it:
        await it.child.wait()
        assert await it.child.drain(5)
        assert before == psutil.Process().num_fds()


# what it says and hears


async def test_all_output_is_heard_in_chunks_of_bounded_size(tmp_path: Path) -> None:
    chunks: list[bytes] = []
    child = await Child.start(
        python("import sys; sys.stdout.write('x' * 3_000_000); sys.stderr.write('done')"),
        cwd=tmp_path,
        env={"HOME": str(tmp_path)},
        on_stdout=chunks.append,
        on_stderr=chunks.append,
    )
    await child.wait()
    assert await child.drain(5)
    assert 3_000_004 == sum(map(len, chunks))
    assert 1 <= min(map(len, chunks))
    assert max(map(len, chunks)) <= CHUNK_BYTES


async def test_what_is_written_is_heard_in_order_and_stdin_ends_after_it(tmp_path: Path) -> None:
    async with started(["cat"], tmp_path) as it:
        lines = [b"%d\n" % number * 5000 for number in range(100)]
        for line in lines:
            it.child.write(line)
        it.child.close_stdin()
        it.child.write(b"too late")
        assert Ending(0, None) == await it.child.wait()
        assert await it.child.drain(5)
        assert b"".join(lines) == it.out


async def test_twenty_megabytes_to_a_child_that_does_not_read_block_nobody(tmp_path: Path) -> None:
    async with started(sh("echo ready; exec sleep 60"), tmp_path) as it:
        await it.said("ready")
        began = time.monotonic()
        it.child.write(b"x" * 20_000_000)
        it.child.write(b"more")
        assert time.monotonic() - began < 30, "it did not wait for the child, which sleeps for 60 s"
        assert not it.child.stdin_lost
        it.child.signal(signal.SIGTERM)
        assert Ending(None, signal.SIGTERM) == await it.child.wait()
        assert it.child.stdin_lost


async def test_a_child_that_never_reads_cannot_fill_the_memory(tmp_path: Path) -> None:
    """It gets what was accepted, whole, and then the end of its stdin."""
    piece = b"x" * (STDIN_LIMIT_BYTES // 4)
    async with started(python(WAKES_ON_USR1 + "print(len(sys.stdin.buffer.read()))"), tmp_path) as it:
        await it.said("ready")
        for _ in range(10):
            it.child.write(piece)
        assert it.child.stdin_lost
        it.child.signal(signal.SIGUSR1)
        assert Ending(0, None) == await it.child.wait()
        assert await it.child.drain(5)
        assert 0 == int(it.out.split()[1]) % len(piece)
        assert len(piece) <= int(it.out.split()[1]) <= STDIN_LIMIT_BYTES + len(piece)


async def test_writing_to_a_child_that_closed_its_stdin_is_no_error(tmp_path: Path) -> None:
    async with started(sh("exec <&-; echo ready; sleep 60"), tmp_path) as it:
        await it.said("ready")
        it.child.write(b"hello")
        it.child.write(b"hello")
        assert it.child.stdin_lost
        it.child.signal(signal.SIGKILL)
        await it.child.wait()
        it.child.write(b"hello")


async def test_a_child_inherits_its_three_pipes_and_nothing_else(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        async with started(sh("ls /dev/fd/"), tmp_path) as it:
            await it.child.wait()
            await it.child.drain(5)
    finally:
        os.close(reading)
        os.close(writing)
    assert {"0", "1", "2"} == set(it.out.decode().split()) - {"3"}  # 3 is the folder that ls looks at


async def test_a_child_leads_its_own_session_and_group(tmp_path: Path) -> None:
    async with started(sh("read line"), tmp_path) as it:
        assert (it.child.pid, it.child.pid) == (os.getpgid(it.child.pid), os.getsid(it.child.pid))


# signals


async def test_a_signal_reaches_the_whole_group(tmp_path: Path) -> None:
    async with started(sh("sleep 60 & echo $!; wait"), tmp_path) as it:
        await it.said("\n")
        grandchild = int(it.out)
        it.child.signal(signal.SIGKILL)
        assert Ending(None, signal.SIGKILL) == await it.child.wait()
        assert (await buried(it)).complete
        await until(lambda: not running(grandchild))


@both_watches
async def test_signalling_what_is_gone_is_no_error(tmp_path: Path, pidfd: bool) -> None:
    async with started(sh("true"), tmp_path, pidfd=pidfd) as it:
        await it.child.wait()
        it.child.signal(signal.SIGTERM)
        it.child.signal(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_frozen_child_can_be_stopped(tmp_path: Path, number: signal.Signals) -> None:
    async with started(sh("echo ready; read line"), tmp_path) as it:
        await it.said("ready")
        it.child.signal(signal.SIGSTOP)
        await until(lambda: psutil.Process(it.child.pid).status() == psutil.STATUS_STOPPED)
        it.child.signal(number)
        async with asyncio.timeout(40):
            assert Ending(None, number) == await it.child.wait()


async def test_a_child_that_traps_term_ends_in_its_own_way(tmp_path: Path) -> None:
    async with started(sh("trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.01; done"), tmp_path) as it:
        await it.said("ready")
        it.child.signal(signal.SIGTERM)
        assert Ending(9, None) == await it.child.wait()
        assert await it.child.drain(5)
        assert it.out.endswith(b"bye\n")


# burials


async def test_an_orderly_end_leaves_nothing_to_stop(tmp_path: Path) -> None:
    async with started(sh("exit 4"), tmp_path) as it:
        assert Certificate(exit_code=4) == await buried(it)


async def test_a_daemon_that_ignores_everything_is_found_by_its_cookie_and_killed(tmp_path: Path) -> None:
    async with started(python(DAEMON), tmp_path) as it:
        certificate = await buried(it, grace_secs=0.1)
        assert certificate.complete
        assert certificate.stopped  # more than one if it was met on its way to becoming a daemon
        assert not any(running(pid) for pid in certificate.stopped)


async def test_a_descendant_with_an_empty_environment_is_found_by_its_group(tmp_path: Path) -> None:
    async with started(sh("env -i /bin/sleep 60 & exit 0"), tmp_path) as it:
        certificate = await buried(it)
        assert certificate.complete
        assert 1 == len(certificate.stopped)


async def test_a_descendant_with_an_empty_environment_and_its_own_group_is_found_by_its_session(tmp_path: Path) -> None:
    code = "import os\nif os.fork() == 0:\n os.setpgid(0, 0)\n os.execve('/bin/sleep', ['sleep', '60'], {})\n"
    async with started(python(code), tmp_path) as it:
        certificate = await buried(it)
        assert certificate.complete
        assert 1 == len(certificate.stopped)


async def test_a_leftover_that_listens_to_term_is_not_killed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = f"(trap 'echo tidy > {mark}; exit' TERM; echo ready; while :; do sleep 0.01; done) & read line; exit 0"
    async with started(sh(script), tmp_path) as it:
        await it.said("ready")
        it.child.close_stdin()
        assert (await buried(it)).complete
        assert "tidy\n" == mark.read_text()


async def test_a_frozen_leftover_is_stopped(tmp_path: Path) -> None:
    async with started(sh("sleep 60 & kill -STOP $!; exit 0"), tmp_path) as it:
        assert (await buried(it)).complete


@pytest.mark.parametrize("secs", [0.01, 0.002, 0.0])
async def test_a_leftover_that_goes_on_forking_is_stopped(tmp_path: Path, secs: float) -> None:
    beats = tmp_path / "beats"
    async with started(python(hopper(beats, secs=secs)), tmp_path) as it:
        await until(lambda: hops(beats) > 10)
        certificate = await buried(it, grace_secs=0.05)
        assert certificate.complete
        assert certificate.stopped
        await assert_gone(it.cookie, beats)


async def test_one_that_hops_in_its_session_with_an_empty_environment_is_stopped(tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    argv = python(hopper(beats, session=False))
    async with started(["env", "-i", *argv], tmp_path) as it:
        await until(lambda: hops(beats) > 10)
        assert (await buried(it, grace_secs=0.05)).complete
        await assert_gone(it.cookie, beats)


async def test_a_hopper_that_is_not_caught_makes_the_certificate_incomplete(tmp_path: Path) -> None:
    beats = tmp_path / "beats"
    async with started(python(hopper(beats)), tmp_path) as it:
        await until(lambda: hops(beats) > 10)
        certificate = await bury(it.child, it.cookie, Census(), grace_secs=0.2, kill_secs=0.0)
        assert not certificate.cookie_empty


async def test_a_zombie_that_nobody_collects_does_not_spoil_a_certificate(tmp_path: Path) -> None:
    """Its parent left the group and holds no cookie, so only the dead child itself could be in the way."""
    code = (
        "import os, time\n"
        "if os.fork(): os._exit(0)\n"
        "inner = os.fork()\n"
        "if inner == 0: os._exit(0)\n"
        "os.setsid()\n"
        "print(os.getpid(), flush=True)\n"
        "os.execve('/bin/sleep', ['sleep', '60'], {})\n"
    )
    async with started(python(code), tmp_path) as it:
        await it.child.wait()
        await it.said("\n")
        keeper = psutil.Process(int(it.out))
        await until(lambda: not keeper.environ())
        await until(lambda: [child.status() for child in keeper.children()] == [psutil.STATUS_ZOMBIE])
        try:
            zombies = [child for child in keeper.children() if os.getpgid(child.pid) == it.child.pid]
            assert 1 == len(zombies)
            certificate = await buried(it)
        finally:
            keeper.kill()
        assert certificate.complete
        assert () == certificate.stopped


async def test_what_survives_everything_makes_the_certificate_incomplete(tmp_path: Path) -> None:
    async with started(python(IMMORTAL + "if os.fork() == 0:\n time.sleep(60)"), tmp_path) as it:
        certificate = await bury(it.child, it.cookie, Census(), grace_secs=0.1, kill_secs=0.0)
        assert not certificate.complete
        assert not certificate.group_empty
        assert not certificate.cookie_empty
        assert 1 == len(certificate.stopped)


async def test_another_attempt_of_the_actor_is_left_alone(tmp_path: Path) -> None:
    run = new_run()
    async with (
        started(sh("exit 0"), tmp_path, cookie=f"{run}/a/1") as first,
        started(sh("read line"), tmp_path, cookie=f"{run}/a/12") as twelfth,
    ):
        assert () == (await buried(first)).stopped
        assert alive(twelfth.child.pid)


async def test_fifty_at_once_are_buried_with_few_looks(tmp_path: Path) -> None:
    census, run = Census(), new_run()

    async def one(number: int) -> Certificate:
        cookie = f"{run}/{number}/1"
        child = await Child.start(["true"], cwd=tmp_path, env={COOKIE: cookie}, on_stdout=print, on_stderr=print)
        certificate = await bury(child, cookie, census)
        await child.drain(5)
        return certificate

    certificates = await asyncio.gather(*map(one, range(50)))
    assert all(certificate == Certificate(exit_code=0) for certificate in certificates)
    assert census.looks <= 60


# what cannot be started


async def test_a_missing_program_is_explained(tmp_path: Path) -> None:
    expected = "cannot start 'no-such-program': it was not found; install it or give its full path"
    assert expected == await refusal(["no-such-program"], tmp_path)


async def test_a_file_that_is_not_executable_is_explained(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("echo")
    assert "is not executable; check its permissions" in await refusal([str(tmp_path / "script")], tmp_path)


async def test_a_file_that_is_no_program_is_explained(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"\0\1\2\3")
    (tmp_path / "data").chmod(0o700)
    assert "it is not a program for this machine" in await refusal([str(tmp_path / "data")], tmp_path)


async def test_a_script_without_its_interpreter_is_explained(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/no/such/interpreter\n")
    (tmp_path / "script").chmod(0o700)
    assert "the interpreter named in its first line is not there" in await refusal([str(tmp_path / "script")], tmp_path)


async def test_a_missing_working_directory_is_explained(tmp_path: Path) -> None:
    assert f"its working directory '{tmp_path}/gone' is not there" in await refusal(["true"], tmp_path / "gone")


async def test_a_too_long_argument_list_is_explained(tmp_path: Path) -> None:
    assert "arguments and environment are too long" in await refusal(["true", "x" * 4_000_000], tmp_path)


async def test_an_impossible_argument_is_explained(tmp_path: Path) -> None:
    assert "cannot start 'true': embedded null byte" in await refusal(["true", "a\0b"], tmp_path)


async def test_a_start_that_is_given_up_leaves_no_process(tmp_path: Path) -> None:
    mark = f"given-up-{new_run()}"
    code = f"import time; time.sleep(60)  # {mark}"
    starting = asyncio.ensure_future(
        Child.start(python(code), cwd=tmp_path, env={"HOME": str(tmp_path)}, on_stdout=print, on_stderr=print)
    )
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await asyncio.get_running_loop().shutdown_default_executor()
    await until(lambda: not any(mark in " ".join(process.cmdline()) for process in _own_children()))


def _own_children() -> list[psutil.Process]:
    return [process for process in psutil.Process().children() if process.status() != psutil.STATUS_ZOMBIE]
