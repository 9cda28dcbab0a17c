"""Commands that steer a run at work: its actors, or all of it.

What they order goes to the run's dispatcher; see ``giving``. Called by ``cli``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pitboss.surfaces.commands.options import (
    actor_argument,
    answer_json_option,
    complete_actors,
    no_wait_option,
    reason_option,
    run_named_argument,
    runs_option,
)
from pitboss.surfaces.faults import voice

if TYPE_CHECKING:
    from pitboss.surfaces.client import Run

__all__ = ["cancel", "continue_", "drain", "model", "pause", "stop", "tell"]


def _open(run: str, run_dir: str | None) -> Run:
    from pitboss.surfaces import client

    return client.open_run(client.base(run_dir), run)


@click.command()
@run_named_argument
@click.argument("actor", required=False, shell_complete=complete_actors)
@reason_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask before everything is ended.")
@no_wait_option
@runs_option
@answer_json_option
@voice
def cancel(
    run: str,
    actor: str | None,
    reason: str,
    yes: bool,  # noqa: FBT001 - click hands options over like this
    no_wait: bool,  # noqa: FBT001
    run_dir: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """End one actor and everyone below it, or, without ACTOR, all of the run.

    A cancelled actor has ended: its work is kept, whoever leads it is told the reason, and a resume does not bring it
    back. Without ACTOR it is the same as `stop`, but asks first. ACTOR is an id, the beginning of one, or a label.
    """
    from pitboss.surfaces import client
    from pitboss.surfaces.commands.giving import carry_out
    from pitboss.wire.control import CancelRun, CancelWorker

    found = _open(run, run_dir)
    if actor is not None:
        op: CancelWorker | CancelRun = CancelWorker(task_id=client.find_actor(found, actor), reason=reason)
    else:
        _make_sure(found, yes=yes)
        op = CancelRun(reason=reason)
    carry_out(found, op, runs_dir=run_dir, as_json=as_json, wait=not no_wait)


def _make_sure(found: Run, *, yes: bool) -> None:
    """Ask before everything is ended; a script has to say that it means it."""
    if yes or found.state != "running":
        return
    if not sys.stdin.isatty():
        raise click.UsageError("without ACTOR, all of the run is ended: give --yes if that is meant, or name an actor")
    click.confirm(f"End all of run {found.path.name}?", abort=True, err=True)


@click.command()
@run_named_argument
@actor_argument
@click.option("--freeze", is_flag=True, help="Have its processes stand still where they are, instead of ending them.")
@no_wait_option
@runs_option
@answer_json_option
@voice
def pause(run: str, actor: str, freeze: bool, no_wait: bool, run_dir: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Have an actor stand still until `continue`.

    Its turn is interrupted and its processes end; its place and its session are kept, and its clock stands still. With
    --freeze, its processes are stopped in the middle of what they do and take it up again there.
    """
    from pitboss.surfaces import client
    from pitboss.surfaces.commands.giving import carry_out
    from pitboss.wire.control import PauseWorker

    found = _open(run, run_dir)
    op = PauseWorker(task_id=client.find_actor(found, actor), mode="freeze" if freeze else "cancel")
    carry_out(found, op, runs_dir=run_dir, as_json=as_json, wait=not no_wait)


@click.command("continue")
@run_named_argument
@actor_argument
@click.argument("prompt", default="")
@runs_option
@answer_json_option
@voice
def continue_(run: str, actor: str, prompt: str, run_dir: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Let a paused or frozen actor go on, in its own place and session.

    PROMPT is what a paused one is told; `continue` if nothing is given. A frozen one goes on in the middle of what it
    did and is told nothing: use `tell` for that.
    """
    from pitboss.surfaces import client
    from pitboss.surfaces.commands.giving import carry_out
    from pitboss.wire.control import ContinueWorker

    found = _open(run, run_dir)
    op = ContinueWorker(task_id=client.find_actor(found, actor), prompt=prompt)
    carry_out(found, op, runs_dir=run_dir, as_json=as_json)


@click.command()
@run_named_argument
@actor_argument
@click.argument("text")
@click.option("--now", is_flag=True, help="Interrupt its turn and give it this direction instead.")
@runs_option
@answer_json_option
@voice
def tell(run: str, actor: str, text: str, now: bool, run_dir: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Tell an actor something; `-` reads it from the standard input.

    It is a note: the actor hears it as soon as the tool it runs has ended, and goes on with its work. With --now, its
    turn is interrupted, nothing that was done is lost, and it does what you say instead. A note to an actor of a run
    that was cut off is kept until the run is resumed.
    """
    from pitboss.surfaces import client
    from pitboss.surfaces.commands.giving import carry_out
    from pitboss.wire.control import NoteWorker, RepromptWorker

    found = _open(run, run_dir)
    name = client.find_actor(found, actor)
    said = sys.stdin.read() if text == "-" else text
    if not said.strip():
        raise click.UsageError("TEXT is empty; say something")
    op = RepromptWorker(task_id=name, prompt=said) if now else NoteWorker(task_id=name, text=said)
    carry_out(found, op, runs_dir=run_dir, as_json=as_json)


@click.command()
@run_named_argument
@actor_argument
@click.argument("name", metavar="MODEL")
@runs_option
@answer_json_option
@voice
def model(run: str, actor: str, name: str, run_dir: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Have an actor go on with another model, from its next request on."""
    from pitboss.surfaces import client
    from pitboss.surfaces.commands.giving import carry_out
    from pitboss.wire.control import SetModel

    found = _open(run, run_dir)
    op = SetModel(task_id=client.find_actor(found, actor), model=name)
    carry_out(found, op, runs_dir=run_dir, as_json=as_json)


@click.command()
@run_named_argument
@reason_option
@no_wait_option
@runs_option
@answer_json_option
@voice
def drain(run: str, reason: str, no_wait: bool, run_dir: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Start nothing more, and let what runs go on to its end; then the run ends.

    What was never started, `resume` can start later.
    """
    from pitboss.surfaces.commands.giving import carry_out
    from pitboss.wire.control import Drain

    carry_out(_open(run, run_dir), Drain(reason=reason), runs_dir=run_dir, as_json=as_json, wait=not no_wait)


@click.command()
@run_named_argument
@reason_option
@no_wait_option
@runs_option
@answer_json_option
@voice
def stop(run: str, reason: str, no_wait: bool, run_dir: str | None, as_json: bool) -> None:  # noqa: FBT001
    """End everything now, in order: every session is stopped, all work is kept, the run is accounted for.

    `resume` can take it up again.
    """
    from pitboss.surfaces.commands.giving import carry_out
    from pitboss.wire.control import CancelRun

    carry_out(_open(run, run_dir), CancelRun(reason=reason), runs_dir=run_dir, as_json=as_json, wait=not no_wait)
