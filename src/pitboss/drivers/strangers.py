"""Processes of a run of Pitboss 0.9, which carry no cookie of ours.

Its agents inherit the run's id, and a dispatcher in the background has it among its arguments; one in the foreground
has it nowhere that others can see. So a process that is found is proof, and finding none is not. Nothing is stopped
here: by an id alone it is not sure whose a process is. Called by ``adoption``; blocks.
"""

from __future__ import annotations

import os
from itertools import pairwise

import psutil

__all__ = ["find_of_run"]


def find_of_run(run_id: str) -> list[int]:
    """The pids of living processes that belong to a run of Pitboss 0.9."""
    return [process.pid for process in psutil.process_iter() if process.pid != os.getpid() and _bears(process, run_id)]


def _bears(process: psutil.Process, run_id: str) -> bool:
    try:
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            arguments = process.cmdline()
            given = f"--internal-run-id={run_id}" in arguments or ["--internal-run-id", run_id] in _pairs(arguments)
            return given or process.environ().get("PITBOSS_RUN_ID") == run_id
    except (psutil.Error, OSError):
        return False  # gone by now, or somebody else's


def _pairs(arguments: list[str]) -> list[list[str]]:
    return [list(pair) for pair in pairwise(arguments)]
