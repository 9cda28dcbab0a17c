"""Values too large for a line of the journal: files named after their content, below ``blobs/`` in the run's directory.

A prompt of a megabyte would make every reader of the journal pay for it; in the journal stands a reference instead
(``journal.entries``). A blob is on the disk before the line that refers to it, is never changed, and is there once
however often it is referred to. What it holds does not come in here. Used by ``journal.log`` and ``journal.reader``.
"""

from __future__ import annotations

from pathlib import Path

from pitboss.errors import WorldError
from pitboss.journal.disk import DISK, Disk, disk_errors

__all__ = ["Blobs", "blobs_of"]


def blobs_of(journal: Path) -> Path:
    """The folder of the blobs that a journal refers to."""
    return journal.with_name("blobs")


class Blobs:
    """The blobs of one run."""

    def __init__(self, folder: Path, disk: Disk = DISK) -> None:
        self._folder = folder
        self._disk = disk
        self._pending: dict[str, bytes] = {}
        self._written: set[str] = set()

    def put(self, data: bytes) -> str:
        """Take a value in; it is on the disk after the next ``flush``. Never blocks.

        Returns:
            Its name: the SHA-256 of its bytes, in hex.
        """
        name = _digest(data)
        if name not in self._written:
            self._pending[name] = data
        return name

    def flush(self) -> None:
        """Return when every value taken in so far is on the disk; blocks.

        Raises:
            WorldError: One cannot be written; it is tried again at the next ``flush``.
        """
        batch = dict(self._pending)
        if not batch:
            return
        with disk_errors("create", self._folder):
            if not self._folder.is_dir():
                self._disk.make_directory(self._folder, may_exist=True)
                self._disk.sync_directory(self._folder.parent)
        self._disk.write_together(self._folder, batch)
        self._written |= batch.keys()
        for name in batch:
            del self._pending[name]

    def get(self, name: str) -> bytes:
        """The value of that name.

        Raises:
            WorldError: It is missing, or is not what it was.
        """
        path = self._folder / name
        with disk_errors("read", path):
            data = path.read_bytes()
        if _digest(data) != name:
            raise WorldError(f"the file {path} is damaged: its content does not go with its name")
        return data


def _digest(data: bytes) -> str:
    from hashlib import sha256  # here: it loads OpenSSL, and most journals have no blob

    return sha256(data).hexdigest()
