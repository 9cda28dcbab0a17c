# ruff: noqa: PTH100, PTH120
"""A real process that speaks Claude Code's pipe protocol without a model: what it does comes from a script.

For tests and measurements that need hundreds of actors or a process that misbehaves; everything else scripts the
model instead (``pitboss.rehearsal``). ``tests/conformance`` holds this double and the real CLI to the same assertions.

It takes the arguments of ``claude --input-format stream-json --output-format stream-json ...``; flags it does not know
it ignores. It is run as a file, ``python -I -S fake_claude.py ...``, and imports its siblings and the cheap half of
the standard library only (no ``pathlib``, ``typing``, ``uuid``, ``argparse``): a start must cost milliseconds.
``fake_binary.install`` makes an executable of it.

The steps of a turn, and where a script is found, are described in ``fake_script``.
"""

from __future__ import annotations

import os
import sys

__all__ = ["main"]

_FOLDER = os.path.dirname(os.path.abspath(__file__))


def main(argv: list[str]) -> int:
    """Plays one session and returns the exit code."""
    if "--version" in argv:
        os.write(1, b"fake-claude 0.0.0\n")
        return 0
    from pitboss.testing.fake_play import play

    return play(argv)


def _stand_in_for_the_package() -> None:
    """Lets the siblings be imported by their full names without running, or needing, the rest of the package."""
    for name, folder in (("pitboss", os.path.dirname(_FOLDER)), ("pitboss.testing", _FOLDER)):
        package = type(sys)(name)
        package.__path__ = [folder]
        sys.modules[name] = package


if __name__ == "__main__":
    _stand_in_for_the_package()
    # Nothing is buffered and nothing needs to be cleaned up: leaving at once saves a third of a short life.
    os._exit(main(sys.argv[1:]))
