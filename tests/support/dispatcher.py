"""A dispatcher as its clients see it: a real socket, and for each that comes in a script of what is said to it."""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self, cast

from pitboss.journal.rundir import RunDir

Json = dict[str, object]


class Talk:
    """One connection."""

    def __init__(self, connection: socket.socket, heard: list[Json]) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._heard = heard

    def hear(self) -> Json:
        """The next order."""
        order = cast("Json", json.loads(self._lines.readline()))
        self._heard.append(order)
        return order

    def welcome(self) -> Json:
        """Take the hello, answer it, and take the subscription."""
        assert "hello" == self.hear()["op"]
        self.say({"event": "hello", "server_version": "0", "run_id": "r", "run_kind": "flat", "workers": []})
        return self.hear()

    def say(self, event: Json | bytes | None) -> None:
        """Say a line."""
        assert event is not None
        self._connection.sendall(event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n")

    def until_left(self) -> None:
        """Say nothing until the client is gone."""
        self._lines.read()


Script = Callable[[Talk], None]


class Dispatcher:
    """Serves one script after another, each to the next who comes in; then it hears nobody any more."""

    def __init__(self, run: RunDir, *scripts: Script) -> None:
        # Not in the run's folder: paths of sockets are short.
        self._place = tempfile.mkdtemp(prefix="pb-")
        path = Path(self._place, "control.sock")
        run.control_path.write_text(f"{path}\n")
        self.heard: list[Json] = []
        self.troubles: list[BaseException] = []
        self._scripts = scripts
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def subscriptions(self) -> list[Json]:
        """What it was asked to show."""
        return [order for order in self.heard if order["op"] == "subscribe"]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join(10.0)
        shutil.rmtree(self._place)
        assert not self._thread.is_alive(), "the script is waiting for a client that never came"
        assert [] == self.troubles

    def _serve(self) -> None:
        for script in self._scripts:
            try:
                connection, _ = self._listener.accept()
                with connection:
                    script(Talk(connection, self.heard))
            except Exception as trouble:  # noqa: BLE001 - the test's own thread shows it
                self.troubles.append(trouble)
        self._listener.close()
