"""One child process: started in a session of its own, spoken to over pipes, ended, reaped, and proven gone.

``Child`` knows bytes and signals only. ``bury`` looks for what is left after the main process has ended and signs
the death certificate (law 2). ``claude`` and ``guardian`` build on both; facts, effects and opinions on when to stop
whom stay out.

A child leads its own session, and with it its own process group: ^C and hang-up of the operator's terminal do not
reach it, it cannot open that terminal, and all that it starts is found by group, by session, or by the cookie that
its caller put into its environment.

What differs on macOS: there is no pidfd, so a thread per child waits for its end; pipes keep the size the system
gives them; the system hides the environment of its own protected binaries (see ``lookout``).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias

from pitboss.drivers.cookies import Census
from pitboss.drivers.sweep import Hunt, carry_out
from pitboss.errors import WorldError
from pitboss.model.run import Certificate

__all__ = ["CHUNK_BYTES", "HAS_PIDFD", "STDIN_LIMIT_BYTES", "Child", "Ending", "Heard", "bury"]

CHUNK_BYTES = 256 * 1024
"""The most that is read from a pipe at once."""

STDIN_LIMIT_BYTES = 64 * 1024 * 1024
"""The most that is kept for a child that does not read its stdin."""

HAS_PIDFD = hasattr(os, "pidfd_open")

Heard: TypeAlias = Callable[[bytes], None]
"""Takes a chunk of output as it comes; never an empty one."""


class Ending(NamedTuple):
    """How a process ended; both are ``None`` when somebody else collected its status."""

    exit_code: int | None
    signal: int | None


class Child:
    """A process of ours and everything in its group.

    Attributes:
        pid: Its number, which is also that of its group and session.
    """

    @classmethod
    async def start(
        cls,
        argv: Sequence[str],
        *,
        cwd: str | os.PathLike[str],
        env: Mapping[str, str],
        on_stdout: Heard,
        on_stderr: Heard,
        pass_fds: Sequence[int] = (),
        pidfd: bool = HAS_PIDFD,
    ) -> Child:
        """Start a process.

        Args:
            argv: The program, looked up in the ``PATH`` of ``env``, and its arguments.
            cwd: Where it works.
            env: All of its environment, the cookie included.
            on_stdout: Called on the loop with each chunk.
            on_stderr: The same for its stderr.
            pass_fds: Descriptors that it has beside its three pipes.
            pidfd: Watch for the end without a thread, where the system can.

        Raises:
            WorldError: It could not be started; the message says why.
        """
        loop = asyncio.get_running_loop()
        # The call waits until the new program has been loaded: in a thread, or everybody waits on a busy machine.
        spawning = loop.run_in_executor(None, _spawn, argv, cwd, env, pass_fds)
        try:
            popen = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            spawning.add_done_callback(_discard)
            raise
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise WorldError(_explain(error, argv, cwd, env)) from error
        return cls(popen, on_stdout, on_stderr, pidfd=pidfd)

    def __init__(self, popen: subprocess.Popen[bytes], on_stdout: Heard, on_stderr: Heard, *, pidfd: bool) -> None:
        stdin, stdout, stderr = popen.stdin, popen.stdout, popen.stderr
        assert stdin is not None and stdout is not None and stderr is not None  # noqa: S101, PT018 - asked for in _spawn
        self.pid = popen.pid
        self._popen = popen
        self._loop = asyncio.get_running_loop()
        self._ending: asyncio.Future[Ending] = self._loop.create_future()
        self._reaped = False
        self._stdin = _Inlet(self._loop, stdin)
        self._outlets = (_Outlet(self._loop, stdout, on_stdout), _Outlet(self._loop, stderr, on_stderr))
        if not (pidfd and self._watch_by_pidfd()):
            threading.Thread(target=self._watch_by_thread, name=f"reaper of {self.pid}", daemon=True).start()

    @property
    def stdin_lost(self) -> bool:
        """True once something written could not be delivered: see ``write``."""
        return self._stdin.lost

    def write(self, data: bytes) -> None:
        """Send to its stdin; what it does not take yet is kept for it.

        Never blocks and never fails. A child that has closed its stdin gets nothing more. At most 64 MiB are kept: a
        write beyond that is refused whole and stdin ends after what was accepted, so that the child never sees half
        of a write and the memory stays bounded. In both cases ``stdin_lost`` turns true, and the rest shows as the
        process ending, or as its silence.
        """
        self._stdin.write(data)

    def close_stdin(self) -> None:
        """End its stdin once everything written before has been taken."""
        self._stdin.finish()

    def signal(self, number: int) -> None:
        """Signal the whole group; a group that is gone, or may not be signalled, is no error.

        A frozen group is woken for TERM and KILL, or it could not act on them.
        """
        if self._reaped and _exists(self.pid):
            return  # the number has been given to somebody else, which needs our group to be empty
        for one in (number, signal.SIGCONT) if number in (signal.SIGTERM, signal.SIGKILL) else (number,):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, one)

    async def wait(self) -> Ending:
        """Wait until the process has ended and is reaped, whoever still holds its pipes."""
        return await asyncio.shield(self._ending)

    async def drain(self, patience_secs: float) -> bool:
        """Wait for the end of stdout and stderr, then close them.

        Returns:
            True if all output was read; False if somebody held a pipe open for longer than the patience.
        """
        try:
            async with asyncio.timeout(patience_secs):
                for outlet in self._outlets:
                    await outlet.ended.wait()
        except TimeoutError:
            return False
        finally:
            for outlet in self._outlets:
                outlet.close()
        return True

    def _watch_by_pidfd(self) -> bool:
        try:
            pidfd = os.pidfd_open(self.pid)
        except OSError:
            return False  # a kernel before 5.3, a sandbox that forbids it, or no descriptor left
        self._loop.add_reader(pidfd, self._collect, pidfd)
        return True

    def _collect(self, pidfd: int) -> None:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = self.pid, None
        if pid:
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
            self._ended(status)

    def _watch_by_thread(self) -> None:
        try:
            status: int | None = os.waitpid(self.pid, 0)[1]
        except ChildProcessError:
            status = None
        self._reaped = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for the answer any more
            self._loop.call_soon_threadsafe(self._ended, status)

    def _ended(self, status: int | None) -> None:
        self._reaped = True
        code = None if status is None else os.waitstatus_to_exitcode(status)
        self._popen.returncode = 0 if code is None else code  # it must not try to reap a number that may be reused
        self._stdin.close()
        if code is not None and code < 0:
            self._ending.set_result(Ending(None, -code))
        else:
            self._ending.set_result(Ending(code, None))


class _Outlet:
    """An output pipe of a child, read whenever there is something."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pipe: IO[bytes], heard: Heard) -> None:
        self.ended = asyncio.Event()
        self._loop = loop
        self._pipe = pipe
        self._heard = heard
        os.set_blocking(pipe.fileno(), False)
        loop.add_reader(pipe.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            chunk = os.read(self._pipe.fileno(), CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""  # a pipe that cannot be read any more has ended
        if chunk:
            self._heard(chunk)
        else:
            self.close()

    def close(self) -> None:
        if not self._pipe.closed:
            self._loop.remove_reader(self._pipe.fileno())
            self._pipe.close()
            self.ended.set()


class _Inlet:
    """The stdin pipe of a child, and what waits to be written to it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pipe: IO[bytes]) -> None:
        self.lost = False
        self._loop = loop
        self._pipe = pipe
        self._waiting = bytearray()
        self._finishing = False
        os.set_blocking(pipe.fileno(), False)

    def write(self, data: bytes) -> None:
        if self._finishing or len(self._waiting) + len(data) > STDIN_LIMIT_BYTES:
            self.lost = True
            self.finish()
            return
        if self._waiting:
            self._waiting += data
            return
        sent = self._send(data)
        if sent < len(data) and not self._pipe.closed:
            self._waiting += memoryview(data)[sent:]
            self._loop.add_writer(self._pipe.fileno(), self._writable)

    def finish(self) -> None:
        self._finishing = True
        if not self._waiting:
            self.close()

    def close(self) -> None:
        self._finishing = True
        if self._pipe.closed:
            return
        if self._waiting:
            self.lost = True
            self._loop.remove_writer(self._pipe.fileno())
            self._waiting.clear()
        self._pipe.close()

    def _writable(self) -> None:
        sent = self._send(self._waiting)
        if self._pipe.closed:
            return
        del self._waiting[:sent]
        if not self._waiting:
            self._loop.remove_writer(self._pipe.fileno())
            if self._finishing:
                self.close()

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._pipe.fileno(), data)
        except BlockingIOError:
            return 0
        except OSError:  # nobody reads any more; the process's end will tell the rest
            self.lost = True
            self.close()
            return 0


async def bury(
    child: Child, cookie: str, census: Census, *, grace_secs: float = 2.0, kill_secs: float = 5.0
) -> Certificate:
    """Wait for a child's end, stop what it left behind, and certify what was seen.

    Whatever is left in its group or session, or carries its cookie, gets TERM, after the grace KILL, until two looks
    in a row could ask everybody and found nothing. What survives KILL (another user's process, one stuck in the
    kernel, one that changes its number faster than it can be hit) makes the certificate incomplete. Zombies are not
    counted: they run nothing and only wait for whoever has to collect them.

    Args:
        child: The process; it has ended or is about to.
        cookie: The cookie in its environment.
        census: Shared by all burials of a loop.
        grace_secs: Time between TERM and KILL.
        kill_secs: Time after KILL until what is left is given up.
    """
    ending = await child.wait()
    hunt = Hunt(grace_secs, kill_secs)
    loop = asyncio.get_running_loop()
    while True:
        step = hunt.step(loop.time(), await census.remains(cookie, child.pid))
        if step.targets or step.strike_secs:
            hunt.stopped |= await asyncio.to_thread(carry_out, step, cookie, session=child.pid)
        if step.pause_secs is None:
            break
        await asyncio.sleep(step.pause_secs)
    inside = [found for found in hunt.left if child.pid in found.place]
    return Certificate(
        exit_code=ending.exit_code,
        signal=ending.signal,
        group_empty=hunt.sure and not inside,
        cookie_empty=hunt.sure and not any(found.cookie or found not in inside for found in hunt.left),
        stopped=tuple(sorted(hunt.stopped)),
    )


def _spawn(
    argv: Sequence[str], cwd: str | os.PathLike[str], env: Mapping[str, str], pass_fds: Sequence[int]
) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    popen = subprocess.Popen(
        argv,
        cwd=cwd,
        env=env,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        bufsize=0,
        pass_fds=pass_fds,
        start_new_session=True,
    )
    if popen.stdout is not None and hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # over the user's share of pipe memory: the usual size will do
            fcntl.fcntl(popen.stdout, fcntl.F_SETPIPE_SZ, CHUNK_BYTES)
    return popen


def _discard(spawning: asyncio.Future[subprocess.Popen[bytes]]) -> None:
    """End a process whose start was given up while it was under way."""
    if spawning.cancelled() or spawning.exception() is not None:
        return
    with spawning.result() as popen:
        os.killpg(popen.pid, signal.SIGKILL)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


_REASONS = {
    errno.E2BIG: "its arguments and environment are too long; shorten the arguments or unset large variables",
    errno.EAGAIN: "the limit of processes is reached; stop some or raise it (ulimit -u)",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine; close some programs or raise the system's limit",
    errno.ENOEXEC: "it is not a program for this machine; a script needs a first line such as #!/bin/sh",
    errno.ENOMEM: "there is not enough memory; stop something or run fewer actors at once",
    errno.ETXTBSY: "it is being written at this moment; try again when its installation is done",
}


def _explain(error: Exception, argv: Sequence[str], cwd: str | os.PathLike[str], env: Mapping[str, str]) -> str:
    """One sentence: what could not be started, why, and what to do."""
    program, where = argv[0], os.fspath(cwd)
    if not isinstance(error, OSError):
        return f"cannot start {program!r}: {error}; put the arguments or the environment right"
    if not Path(cwd).is_dir():
        return f"cannot start {program!r}: its working directory {where!r} is not there; create it or choose another"
    path = program if "/" in program else shutil.which(program, path=env.get("PATH"))
    if error.errno in _REASONS:
        reason = _REASONS[error.errno]
    elif isinstance(error, PermissionError) and not os.access(cwd, os.X_OK):
        reason = f"its working directory {where!r} may not be entered; change its permissions"
    elif isinstance(error, PermissionError):
        reason = "it is not executable; check its permissions (chmod +x)"
    elif isinstance(error, FileNotFoundError) and path is not None and (Path(cwd) / path).exists():
        reason = "the interpreter named in its first line is not there; install it or correct the line"
    elif isinstance(error, FileNotFoundError):
        reason = "it was not found; install it or give its full path"
    else:
        reason = str(error)
    return f"cannot start {program!r}: {reason}"
