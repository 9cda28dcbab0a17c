"""A run's directory: where things are in it, how it comes to be, and where all of them live.

Names and permissions only; what the files say is in ``wire.artifacts`` and ``journal.entries``. Called by
``compose`` when a run begins, and by everything that reads runs.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from pitboss.errors import OperatorError
from pitboss.journal.disk import DISK, Disk, disk_errors

__all__ = ["RunDir", "runs_base", "typed"]


class RunDir:
    """The directory of one run; building it from a path touches nothing on disk."""

    def __init__(self, path: Path, disk: Disk = DISK) -> None:
        self.path = path
        self.disk = disk
        """What everything in it is written with that must not be lost."""

    def typed(self, verb: str, *more: str, program: str = "pitboss") -> str:
        """A command about this run as it is typed here; see the function ``typed``."""
        return typed(self.path.parent, verb, self.run_id, *more, program=program)

    @classmethod
    def create(
        cls, base: Path, run_id: str, *, snapshot: bytes, resolved: bytes, meta: bytes, disk: Disk = DISK
    ) -> RunDir:
        """Makes a run's directory with its first files; all of it is durable on return.

        Directories are for their owner only (0700), and so are files (0600), whatever the umask.

        Args:
            base: The folder of all runs; made if missing.
            run_id: The directory's name.
            snapshot: The manifest as it was written.
            resolved: The manifest as it was understood (``resolved.json``).
            meta: See ``wire.artifacts.encode_meta``.
            disk: What it is written with.

        Raises:
            OperatorError: If there is such a run already, or the id is no name for a directory.
            WorldError: If something cannot be written.
        """
        run = cls(base / _single_name(run_id, "run id"), disk)
        with disk_errors("create", run.path):
            try:
                disk.make_directories(run.path)
            except FileExistsError as error:
                raise OperatorError(f"there is a run {run_id} in {base} already; choose another id") from error
        # The lock comes first: it marks the run as one whose life can be told, from its first instant on.
        files = {run.lock: b"", run.snapshot: snapshot, run.resolved: resolved, run.meta: meta, run.summary_lines: b""}
        disk.write_together(run.path, {path.name: data for path, data in files.items()})
        with disk_errors("create", run.path):
            for directory in (run.tasks, run.worktrees):
                disk.make_directory(directory, may_exist=False)
            disk.sync_directory(run.path)
        return run

    def require_original(self, told: str) -> None:
        """Make sure that the run was begun here: a copy's journal speaks of worktrees and processes of the original.

        Args:
            told: Where its journal says that it was begun.

        Raises:
            OperatorError: This folder is a copy, or was moved.
        """
        if os.path.realpath(told) != os.path.realpath(self.path):
            raise OperatorError(
                f"run {self.run_id} was begun in {told}; {self.path} is a copy of it, or it was moved here",
                hint="resume it there, or move it back first: its worktrees and logs are known by that path",
            )

    @property
    def run_id(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def journal(self) -> Path:
        """Every fact of the run."""
        return self.path / "journal.jsonl"

    @property
    def blobs(self) -> Path:
        """What is too large for a line of the journal; see ``journal.blobs``."""
        return self.path / "blobs"

    @property
    def lock(self) -> Path:
        """Held by the dispatcher as long as it lives; see ``journal.lock``."""
        return self.path / "dispatcher.lock"

    @property
    def guardian_lock(self) -> Path:
        """Held by the guardian as long as it lives, and by its dispatcher; see ``drivers.guardian``."""
        return self.path / "guardian.lock"

    @property
    def guardian_report(self) -> Path:
        """What a guardian has had to stop, one line each time."""
        return self.path / "guardian.jsonl"

    @property
    def summary(self) -> Path:
        """The whole account, written when the run has ended."""
        return self.path / "summary.json"

    @property
    def summary_lines(self) -> Path:
        """One record per settled actor, in the order they ended."""
        return self.path / "summary.jsonl"

    @property
    def meta(self) -> Path:
        """What was known when the run began."""
        return self.path / "meta.json"

    @property
    def resolved(self) -> Path:
        """The manifest with every default applied."""
        return self.path / "resolved.json"

    @property
    def snapshot(self) -> Path:
        """The manifest, byte for byte."""
        return self.path / "manifest.snapshot.toml"

    @property
    def shared_store(self) -> Path:
        """What the stores and leases were at the end, if the manifest asks for it."""
        return self.path / "shared-store.json"

    @property
    def subleads(self) -> Path:
        """The session of every sub-lead that has ended."""
        return self.path / "subleads.jsonl"

    @property
    def notifications(self) -> Path:
        """How telling others about the run went; see ``journal.notice_lines``."""
        return self.path / "notifications.jsonl"

    @property
    def notices_due(self) -> Path:
        """Is there as long as somebody may still be owed a message."""
        return self.path / "notifications.due"

    @property
    def worktrees(self) -> Path:
        """Where worktrees go unless the manifest says otherwise."""
        return self.path / "worktrees"

    @property
    def tasks(self) -> Path:
        """One folder per started actor."""
        return self.path / "tasks"

    @property
    def control_socket(self) -> Path:
        """Where operators reach a live run when there is no runtime directory."""
        return self.path / "control.sock"

    @property
    def control_path(self) -> Path:
        """Says where the socket of a live run really is; see ``services.place``."""
        return self.path / "control.path"

    def task(self, actor: str) -> Path:
        """The folder of one actor."""
        return self.tasks / _single_name(actor, "actor's id")

    def stdout_log(self, actor: str) -> Path:
        """The actor's stream, byte for byte."""
        return self.task(actor) / "stdout.log"

    def stderr_log(self, actor: str) -> Path:
        """What the actor's process complained about."""
        return self.task(actor) / "stderr.log"


def runs_base(environ: Mapping[str, str], home: str, override: str | None = None) -> Path:
    """The folder of all runs: the same answer for every command.

    The first of these that is there to be had:

    1. ``override``: ``--run-dir``, or ``[run].run_dir`` of a manifest.
    2. ``PITBOSS_RUNS_DIR``.
    3. ``$XDG_DATA_HOME/pitboss/runs``, if that folder exists.
    4. ``~/.local/share/pitboss/runs``, if that folder exists: Pitboss 0.9 wrote its runs there in any case.
    5. ``$XDG_DATA_HOME/pitboss/runs``, to be made; without that variable, ``~/.local/share/pitboss/runs``.
    6. ``./pitboss-runs``, if there is no home either.

    So a run that was written is found again, and new runs go where the old ones are.

    Args:
        environ: The environment.
        home: The home directory; empty if there is none.
        override: What the operator asked for, if anything.

    Returns:
        An absolute path; it need not exist.
    """
    asked = override or environ.get("PITBOSS_RUNS_DIR", "")
    if asked:
        return _absolute(asked, home)
    data_home = environ.get("XDG_DATA_HOME", "")
    places = [Path(data_home, "pitboss", "runs")] if data_home.startswith("/") else []
    if home:
        places.append(Path(home, ".local", "share", "pitboss", "runs"))
    places.append(Path("pitboss-runs"))
    return next((place for place in places[:-1] if place.is_dir()), places[0]).absolute()


def typed(base: Path, *words: str, program: str = "pitboss") -> str:
    """A command as it is typed here: it names the folder of all runs where it would not be found without.

    Args:
        base: The folder of all runs that it is about.
        words: The command's own words.
        program: How we are called, as a shell has it.
    """
    usual = runs_base(os.environ, os.environ.get("HOME", ""))
    more = [] if base.absolute() == usual else ["--run-dir", str(base)]
    return f"{program} {shlex.join([*words, *more])}"


def _absolute(path: str, home: str) -> Path:
    if home and (path == "~" or path.startswith("~/")):
        path = home + path[1:]
    return Path(path).absolute()


def _single_name(name: str, what: str) -> str:
    if not name or name in {".", ".."} or "/" in name or "\0" in name:
        raise OperatorError(f"{name!r} cannot be {what}: it must be one plain name without a slash")
    return name
