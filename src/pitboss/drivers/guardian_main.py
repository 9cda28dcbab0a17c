"""The guardian's own process: a script that ``guardian`` starts, not part of the dispatcher.

Its command line is::

    python -I -S -B guardian_main.py RUN_ID REPORT PATH...

It says ``ready``, then reads its stdin. A line ``release`` lets it leave quietly. The end of its stdin without one
means that the dispatcher is gone, however it went: then it stops every process of the run and appends what it did to
REPORT (unless that is empty) as one JSON line.

It starts with almost nothing loaded and nothing may come in at the top but small built-in modules. What it needs to
sweep is loaded from PATH in the first quiet moment: before an upgrade or a removal of Pitboss can pull it away from
under a long run.
"""

from __future__ import annotations

import os
import select
import signal
import sys

QUIET_SECS = 2.0
"""Silence after which it loads what it will need; a short run never gets there."""

DEAF_TO = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE, signal.SIGQUIT, signal.SIGTSTP)


def main() -> int:
    """Watch, and if need be sweep; exit code 0 says that everything is stopped for certain."""
    run_id, report, *paths = sys.argv[1:]
    for number in DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    sys.path.extend(paths)
    os.write(1, b"ready\n")
    if _released():
        return 0
    return _sweep(run_id, report)


def _released() -> bool:
    """Block until the dispatcher is gone or has said that all is well."""
    if not select.select([0], [], [], QUIET_SECS)[0]:
        _load()
    heard = b""
    while chunk := os.read(0, 4096):
        heard += chunk
    return b"release\n" in heard


def _load() -> None:
    import json  # noqa: F401 - to have it in memory

    import pitboss.drivers.sweep  # noqa: F401 - the same


def _sweep(run_id: str, report: str) -> int:
    import json
    import time

    from pitboss.drivers.sweep import stop_all

    began = time.time()
    sweep = stop_all(f"{run_id}/")
    if report:
        line = {
            "at": began,
            "run_id": run_id,
            "stopped": sweep.stopped,
            "left": [found.pid for found in sweep.left],
            "sure": sweep.sure,
            "looks": sweep.looks,
            "secs": round(sweep.secs, 3),
        }
        descriptor = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.write(descriptor, json.dumps(line).encode() + b"\n")
        os.close(descriptor)
    return 0 if sweep.sure and not sweep.left else 1


if __name__ == "__main__":
    os._exit(main())  # nothing is buffered, and taking the interpreter down properly costs more than the rest
