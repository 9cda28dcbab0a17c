# ruff: noqa: PTH103, PTH108, PTH118, PTH120, PTH123
"""The tools the fake really has, so that files and child processes appear as they do under a real session.

A shell leads a session of its own, as the real one's does: a signal to the agent's process group does not reach it.
"""

from __future__ import annotations

import json
import os
import signal

from pitboss.testing.fake_ledger import home
from pitboss.testing.fake_pipe import Interrupted, new_uuid

TYPE_CHECKING = False
if TYPE_CHECKING:  # the names are for annotations only, and their modules are dear
    from subprocess import Popen

    from pitboss.testing.fake_pipe import Frame, Pipe

__all__ = ["Answer", "Shells", "new_output_file", "read", "write"]


class Answer:
    """What a tool said."""

    __slots__ = ("content", "is_error")

    def __init__(self, content: object, *, is_error: bool = False) -> None:
        self.content = content
        self.is_error = is_error

    def fields(self) -> Frame:
        """As part of a ``tool_result`` block."""
        return {"content": self.content, "is_error": self.is_error}

    def value(self) -> object:
        """As something to refer to: what its JSON says, or the text itself."""
        blocks = self.content if isinstance(self.content, list) else [{"text": self.content}]
        text = "\n".join(str(block.get("text", "")) for block in blocks)
        if self.is_error:
            return {"error": text}
        try:
            return json.loads(text)
        except ValueError:
            return text


def write(arguments: Frame) -> Answer:
    """The Write tool."""
    path = str(arguments.get("file_path"))
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(str(arguments.get("content", "")))
    except OSError as error:
        return Answer(f"{path} cannot be written: {error}", is_error=True)
    return Answer(f"File created successfully at: {path}")


def read(arguments: Frame) -> Answer:
    """The Read tool."""
    path = str(arguments.get("file_path"))
    try:
        with open(path, encoding="utf-8") as file:
            return Answer(file.read())
    except (OSError, ValueError) as error:
        return Answer(f"{path} cannot be read: {error}", is_error=True)


class Shells:
    """The shells of this process; their exits wake the pipe's waits."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._shells: list[Popen[bytes]] = []
        self._wakes = False
        self._starting = False
        self._leave_with: int | None = None

    def start(self, command: str, output: str) -> Popen[bytes]:
        """Starts ``command``; what it says goes to the file ``output``."""
        import subprocess  # a quarter of our start-up time, and few sessions have a shell

        self._wake_on_exits()
        with open(output, "wb") as file:
            self._starting = True
            shell = subprocess.Popen(
                ["/bin/sh", "-c", command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._shells.append(shell)
            self._starting = False
        if self._leave_with is not None:
            self.leave(self._leave_with)
        return shell

    def run(self, command: str) -> Answer:
        """Runs ``command`` to its end; an interrupt kills it."""
        output = new_output_file()
        shell = self.start(command, output)
        try:
            self._pipe.wait(lambda: shell.poll() is not None)
        except Interrupted:
            os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
            raise
        finally:
            with open(output, encoding="utf-8", errors="replace") as file:
                said = file.read().strip()
            os.unlink(output)
        if shell.returncode:
            code = shell.returncode if shell.returncode > 0 else 128 - shell.returncode
            return Answer(f"Exit code {code}\n{said}".rstrip(), is_error=True)
        return Answer(said or "(Bash completed with no output)")

    def leave(self, code: int) -> None:
        """Ends the process and its shells; a signal may ask for it in the middle of anything, a start included."""
        if self._starting:
            self._leave_with = code  # the shell is about to exist, and nobody knows its pid yet
            return
        for shell in self._shells:
            if shell.poll() is None:
                os.killpg(shell.pid, signal.SIGKILL)
        os._exit(code)

    def _wake_on_exits(self) -> None:
        if not self._wakes:
            woken, wake = os.pipe()
            for descriptor in (woken, wake):
                os.set_blocking(descriptor, False)
            self._pipe.watch(woken)
            signal.set_wakeup_fd(wake)
            signal.signal(signal.SIGCHLD, lambda *_: None)
            self._wakes = True


def new_output_file() -> str:
    """A fresh path for a shell's output."""
    folder = os.path.join(home(), "tasks")
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, f"{new_uuid()}.output")
