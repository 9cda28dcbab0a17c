"""An interrupt while the program is still being loaded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from pitboss import __version__

SCRIPT = [sys.executable, "-c", "import sys; from pitboss.__main__ import main; sys.exit(main())"]
"""What the console script does."""

# Found instead of click, the first of what is heavy: an interrupt comes while it is loaded, then it is itself.
INTERRUPTED = """
import os, signal, sys
os.kill(os.getpid(), signal.SIGINT)
sys.path = [entry for entry in sys.path if entry != os.path.dirname(__file__)]
del sys.modules["click"]
import click
"""


def interrupted(
    tmp_path: Path, program: list[str], preexec: Callable[[], object] | None = None
) -> subprocess.CompletedProcess[str]:
    (tmp_path / "click.py").write_text(INTERRUPTED)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    return subprocess.run(
        [*program, "--version"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
        preexec_fn=preexec,
    )


@pytest.mark.parametrize("program", [[sys.executable, "-m", "pitboss"], SCRIPT], ids=["module", "script"])
def test_an_interrupt_during_the_imports_ends_it_quietly(tmp_path: Path, program: list[str]) -> None:
    done = interrupted(tmp_path, program)
    assert (-signal.SIGINT, "", "") == (done.returncode, done.stdout, done.stderr)


def test_who_was_told_to_ignore_interrupts_does(tmp_path: Path) -> None:
    done = interrupted(tmp_path, SCRIPT, lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    assert (0, f"pitboss {__version__}\n", "") == (done.returncode, done.stdout, done.stderr)


def test_the_console_script_begins_where_the_module_does() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert {"pitboss": "pitboss.__main__:main"} == project["scripts"]
