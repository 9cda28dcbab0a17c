"""Calling a person to a terminal: its bell, and a notification of the desktop through the terminal.

Pure: text to bytes that terminals act on. What is said is cleaned, so that no agent writes to the terminal in our name.
Called by ``commands.watch``.
"""

from __future__ import annotations

from collections.abc import Mapping

from pitboss.surfaces import words

__all__ = ["BELL", "notification"]

BELL = "\a"

LONGEST_NOTE = 200
"""So many characters of a notification: desktops cut them anyway."""


def notification(title: str, text: str, environ: Mapping[str, str]) -> str:
    """What makes a terminal notify: OSC 777 for the terminals that know that one, OSC 9 for all others.

    Never both: some know both, and would notify twice. A terminal that knows neither ignores it.

    Args:
        title: Whose notification it is.
        text: What it says.
        environ: The environment, by which the terminal is known.
    """
    title, text = words.clean(title).replace(";", ","), words.clean(text)[:LONGEST_NOTE]
    term = environ.get("TERM", "")
    if environ.get("VTE_VERSION") or term.startswith(("rxvt", "foot")):
        said = f"\x1b]777;notify;{title};{text}\x1b\\"
    else:
        said = f"\x1b]9;{title}: {text}\x1b\\"  # by the title it cannot be taken for ConEmu's numbered commands
    if environ.get("TMUX"):  # tmux hands on what is wrapped like this, where its allow-passthrough is on
        said = "\x1bPtmux;" + said.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    return said
