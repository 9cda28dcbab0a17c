from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def generate(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(ROOT / "docs" / "reference.py"), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)


def test_the_reference_pages_say_what_the_code_says() -> None:
    done = generate("--check")
    assert (0, "") == (done.returncode, done.stderr)
