"""A place to run ``pitboss`` in as a user would: a repository, a manifest, a process, and what it left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, cast

import psutil

from pitboss.core.state import RunState, rebuilt
from pitboss.journal.log import replay
from pitboss.testing.fake_binary import install
from support import claude as real

Json = dict[str, object]


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(item)}' for key, item in value.items())} }}"
    return json.dumps(value)


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


class Run(NamedTuple):
    """What a run left on disk."""

    path: Path

    @property
    def facts(self) -> list[Json]:
        """The journal's facts; a line that is being written is left out."""
        text = (self.path / "journal.jsonl").read_text()
        return [cast("Json", json.loads(line)) for line in text[: text.rfind("\n") + 1].splitlines()[1:]]

    def told(self, kind: str, actor: str | None = None) -> list[Json]:
        """Every fact of a kind, of one actor if asked."""
        return [fact for fact in self.facts if fact["fact"] == kind and actor in {None, fact.get("actor")}]

    @property
    def summary(self) -> Json:
        """``summary.json``."""
        return cast("Json", json.loads((self.path / "summary.json").read_text()))

    def record(self, task: str) -> Json:
        """One task's record."""
        tasks = cast("list[Json]", self.summary["tasks"])
        return next(record for record in tasks if record["task_id"] == task)

    def statuses(self) -> dict[str, object]:
        """Every recorded task's status."""
        return {str(record["task_id"]): record["status"] for record in cast("list[Json]", self.summary["tasks"])}

    @property
    def state(self) -> RunState:
        """What the journal leads to."""
        return rebuilt(entry.fact for entry in replay(self.path / "journal.jsonl"))

    def actor(self, label: str) -> str:
        """The id of the actor with this label; a name that is no label is an id."""
        spawned = {str(fact["label"]): str(fact["actor"]) for fact in self.told("ActorSpawned")}
        return spawned.get(label, label)

    def labelled(self) -> dict[str, object]:
        """Every recorded actor's status, by its label where it has one."""
        names = {str(fact["actor"]): str(fact["label"]) for fact in self.told("ActorSpawned")}
        return {names.get(name, name): status for name, status in self.statuses().items()}

    def stored(self, layer: str = "lead") -> dict[str, str | None]:
        """What the store of a layer holds, by path."""
        return {path: entry.value.text for path, entry in self.state.store(self.actor(layer)).entries.items()}

    def log(self, task: str, name: str = "stdout.log") -> bytes:
        """One of a task's logs."""
        return (self.path / "tasks" / task / name).read_bytes()


class Pit:
    """A folder with a repository, a runs base, a HOME, and the fake agent."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.repo = place / "repo"
        self.runs = place / "runs"
        self.home = place / "home"
        self.home.mkdir()
        self.env: dict[str, str] = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "CLAUDE_CONFIG_DIR": str(self.home / ".claude"),
            "PITBOSS_CLAUDE_BINARY": str(install(place)),
        }
        self.repo.mkdir()
        self.git("init", "-q", "-b", "main")
        (self.repo / "README").write_text("hello\n")
        self.git("add", "-A")
        self.git("commit", "-qm", "first")
        self.processes: list[subprocess.Popen[str]] = []

    def use_real_claude(self, url: str) -> None:
        """From now on the real CLI runs, against the scripted model at ``url``."""
        self.env |= real.environment(self.home, url) | {"PITBOSS_CLAUDE_BINARY": real.binary()}

    def git(self, *words: str, cwd: Path | None = None) -> str:
        """A git command in the repository, with an identity of its own."""
        identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        done = subprocess.run(
            ["git", *identity, *words],
            cwd=cwd or self.repo,
            env=self.env,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def manifest(self, tasks: Mapping[str, object], *, name: str = "pit.toml", **run: object) -> Path:
        """Write a manifest: each task is a prompt, a fake's steps, or a table of keys."""
        lines = ["[run]", *(f"{key} = {json.dumps(value)}" for key, value in run.items())]
        for task, value in tasks.items():
            keys = cast("Json", value) if isinstance(value, dict) else {"prompt": value}
            prompt = keys.get("prompt", "go")
            keys = {"directory": str(self.repo)} | keys
            keys["prompt"] = prompt if isinstance(prompt, str) else f"FAKE: {json.dumps(prompt)}"
            lines += ["[[task]]", f'id = "{task}"']
            lines += [f"{key} = {json.dumps(item)}" for key, item in keys.items() if not isinstance(item, dict)]
        path = self.place / name
        path.write_text("\n".join(lines) + "\n")
        return path

    def tree(self, *tables: str, parts: Mapping[str, object] | None = None, **lead: object) -> Path:
        """Write a manifest with a lead called ``lead``, and what the fakes do by the part they play.

        Args:
            tables: More of the manifest, as TOML.
            parts: Steps by part, ``lead`` among them; ``None`` if it is not the fakes that play.
            lead: Keys of ``[lead]``.
        """
        if parts is not None:
            self.script(parts)
        self.env["COMMIT"] = "git -c user.name=a -c user.email=a@b commit -qm"
        keys = {"id": "lead", "directory": str(self.repo), "prompt": "go", "model": "claude-haiku-4-5"} | lead
        lines = ["[lead]", *(f"{key} = {_toml(value)}" for key, value in keys.items()), *tables]
        path = self.place / "tree.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def script(self, parts: Mapping[str, object]) -> None:
        """What fake agents do by their names; other than what stands in a prompt, it holds after a resume too."""
        script = self.place / "parts.json"
        script.write_text(json.dumps(parts))
        self.env["PITBOSS_FAKE_SCRIPT"] = str(script)

    def start(self, *words: str, **popen: object) -> subprocess.Popen[str]:
        """Start ``pitboss`` and leave it running."""
        process = subprocess.Popen(  # type: ignore[call-overload]
            [sys.executable, "-m", "pitboss", *words],
            **{
                "cwd": self.place,
                "env": self.env,
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "text": True,
                "start_new_session": True,
            }
            | popen,
        )
        self.processes.append(process)
        return cast("subprocess.Popen[str]", process)

    def finish(self, process: subprocess.Popen[str], timeout: float = 60.0) -> Ended:
        """Wait for a started ``pitboss`` to end."""
        out, err = process.communicate(timeout=timeout)
        return Ended(process.returncode, out or "", err or "")

    def pitboss(self, *words: str) -> Ended:
        """Run ``pitboss`` to its end."""
        return self.finish(self.start(*words))

    def dispatch(self, manifest: Path) -> Ended:
        """Dispatch a manifest to its end."""
        return self.pitboss("dispatch", str(manifest), "--run-dir", str(self.runs))

    def dispatching(self, manifest: Path, **popen: object) -> subprocess.Popen[str]:
        """Dispatch a manifest and leave it running."""
        return self.start("dispatch", str(manifest), "--run-dir", str(self.runs), **popen)

    @property
    def run(self) -> Run:
        """The newest run."""
        return Run(max(path for path in self.runs.iterdir() if path.is_dir()))

    def until(self, true: Callable[[Run], object], timeout: float = 60.0) -> Run:
        """Wait until something is true of the newest run."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.runs.exists() and any(self.runs.glob("*/journal.jsonl")) and true(self.run):
                return self.run
            time.sleep(0.02)
        story = [(fact["fact"], fact.get("actor")) for fact in self.run.facts] if self.runs.exists() else []
        raise AssertionError(f"it did not come true within {timeout} s; so far: {story}")

    def with_cookie(self) -> list[psutil.Process]:
        """Every process with a cookie of any run of this place."""
        ids = {path.name for path in self.runs.iterdir()} if self.runs.exists() else set()
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("PITBOSS_COOKIE", "").partition("/")[0] in ids:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def close(self) -> None:
        """End whatever a failed test left behind."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        for left in self.with_cookie():
            with contextlib.suppress(psutil.Error):
                left.kill()
