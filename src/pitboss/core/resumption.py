"""What an agent is told when its session goes on after it was cut off."""

from __future__ import annotations

_CUT_OFF = """\
You were cut off in the middle of your work: the program that runs you had to be started again. Your files and this \
conversation are as you left them; a command that was running was stopped, and whatever it was doing may be half done. \
Look at how things stand, then go on with your task and finish it. Do not do again what is done. Your task was:

"""


def prompt(task: str) -> str:
    """The message that continues a session; it repeats the task, so that nothing depends on what was remembered."""
    return _CUT_OFF + task
