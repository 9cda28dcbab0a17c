"""Pitboss runs many Claude Code sessions at once and answers for them.

The package is a ring around a pure middle: see ``docs/concepts/the-ring.md``.
Importing this module costs nothing; every room is imported where it is used.
"""

__all__ = ["__version__"]

__version__ = "0.10.0"
