"""Makes an executable of ``fake_claude``, for whatever asks for the path of a ``claude`` binary."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

__all__ = ["install"]

_SCRIPT = Path(__file__).with_name("fake_claude.py")


def install(folder: Path) -> Path:
    """Writes the executable ``fake-claude`` into ``folder`` and returns its path.

    Args:
        folder: An existing directory; a wrapper that is already there is replaced.
    """
    wrapper = folder / "fake-claude"
    command = shlex.join([sys.executable, "-I", "-S", str(_SCRIPT)])
    wrapper.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    wrapper.chmod(0o755)
    return wrapper
