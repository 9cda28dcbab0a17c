"""What an agent is told when a process of its begins: its task, or how to go on with it."""

from __future__ import annotations

from pitboss.core.actor import Actor

_CUT_OFF = """\
You were cut off in the middle of your work: the program that runs you had to be started again. Your files and this \
conversation are as you left them; a command that was running was stopped, and whatever it was doing may be half done. \
Look at how things stand, then go on with your task and finish it. Do not do again what is done.\
"""


_MORE = """\
What this session was given to spend was used up in the middle of your work, and there is more now. Your files and \
this conversation are as you left them: go on with your task where you were.\
"""


def prompt(actor: Actor) -> str:
    """The message that an attempt begins with; what the actor was told before it could hear stands at its end."""
    return "\n\n".join([_beginning(actor), *(message.text for message in actor.inbox)])


def _beginning(actor: Actor) -> str:
    """Its task, or how to go on with it.

    One that continues a session which was cut off repeats the task, so that nothing depends on what was remembered;
    one that was paused gets what it was told when it was to go on.
    """
    if not actor.resume:
        return "\n\n".join(filter(None, [actor.spec.prompt, actor.briefing, actor.told]))
    if actor.has_more:
        return _MORE
    if actor.told and not actor.cut_off:
        return actor.told
    parts = [_CUT_OFF]
    if actor.waited_for:
        what = " and for ".join(actor.waited_for)
        parts.append(f" You were waiting for {what}: ask for it again, nothing of it is lost.")
    if actor.briefing:
        parts.append(f" {actor.briefing}")
    if actor.told:
        parts.append(f"\n\nThe last thing you were told was:\n\n{actor.told}")
    return f"{''.join(parts)} Your task was:\n\n{actor.spec.prompt}"
