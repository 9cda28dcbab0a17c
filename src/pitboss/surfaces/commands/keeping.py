"""Commands that keep house: set-aside work is brought back, old runs are cleared away.

They reach git and the process table through ``upkeep``, which is imported by the command that needs it. Called by
``cli``.
"""

from __future__ import annotations

import sys

import click

from pitboss.surfaces.commands.notifying import send_left_over
from pitboss.surfaces.commands.options import actor_argument, json_option, run_named_argument, runs_option
from pitboss.surfaces.faults import voice
from pitboss.surfaces.outlet import stdout

__all__ = ["prune", "restore"]


@click.command()
@run_named_argument
@actor_argument
@click.option("--into", metavar="DIR", type=click.Path(), help="Make a worktree with it there; a new or empty folder.")
@click.option("--branch", metavar="NAME", help="Put a new branch at its commit instead.")
@runs_option
@json_option
@voice
def restore(run: str, actor: str, into: str | None, branch: str | None, run_dir: str | None, as_json: bool) -> None:  # noqa: FBT001 - click
    """Bring back the uncommitted work that was set aside when an actor's worktree was removed.

    With --into, it is uncommitted again: a new worktree, on no branch, stands on the commit the work stood on, with
    the same files, modes, links and deletions, and with what had been staged separately staged. Without --into and
    --branch, nothing is changed: what is there is shown. Your checkout is never touched, and the ref stays.
    """
    from pathlib import Path

    from pitboss import upkeep
    from pitboss.surfaces import client, restoring

    if into is not None and branch is not None:
        raise click.UsageError("--into and --branch exclude each other; give one")
    found = client.open_run(client.base(run_dir), run)
    origin = restoring.origin_of(found.path, client.find_actor(found, actor))
    place = None if into is None else str(Path(into).absolute())
    saved = upkeep.restore(origin.directory, origin.ref, origin.owner, into=place, branch=branch)
    restoring.require(saved, origin)
    out = stdout()
    if as_json:
        out.line(restoring.saved_json(saved, origin, into=place, branch=branch))
    elif place is None and branch is None:
        out.line("\n".join(restoring.saved_lines(saved, origin, runs_dir=run_dir)))
    else:
        out.line(restoring.brought_back_line(saved[-1], origin, into=place, branch=branch))


@click.command()
@click.option("--apply", is_flag=True, help="Do it. Without this, nothing is changed: what would be done is shown.")
@click.option("--remove", is_flag=True, help="Remove the runs, each after its worktrees were set aside.")
@click.option("--older-than", metavar="AGE", help="Only runs not written to for so long: 90s, 15m, 4h, 7d.")
@click.option("--include-aborted", is_flag=True, help="Also runs whose summary is damaged or that never began.")
@click.option("--include-complete", is_flag=True, help="Also runs that have ended.")
@runs_option
@json_option
@voice
def prune(
    apply: bool,  # noqa: FBT001 - click hands options over like this
    remove: bool,  # noqa: FBT001
    older_than: str | None,
    include_aborted: bool,  # noqa: FBT001
    include_complete: bool,  # noqa: FBT001
    run_dir: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Clear up after runs that were cut off.

    Without --remove, runs of Pitboss 0.9 that ended without a summary get one; a run that was cut off is only named,
    as `resume` can go on with it. With --remove, runs are removed: what is uncommitted in their worktrees is set aside
    under refs/pitboss first, git removes the worktrees, and a run whose work cannot be saved is kept. A live run is
    never touched. Exit code: 0 if all went well, 1 if a run could not be dealt with.
    """
    import time

    from pitboss import upkeep
    from pitboss.surfaces import client, pruning, pruning_report

    send_left_over(run_dir)
    age = pruning.age_in_secs(older_than) if older_than is not None else 0.0
    asked = pruning.Asked(age, aborted=include_aborted, complete=include_complete, remove=remove)
    planned, outcomes = pruning.plan(client.base(run_dir), asked, time.time()), None
    if apply:
        outcomes = [pruning.carry_out(found, upkeep.prune, time.time()) for found in planned.found]
    if as_json:
        stdout().line(pruning_report.plan_json(planned, asked, outcomes))
    else:
        stdout().line("\n".join(pruning_report.plan_lines(planned, asked, outcomes)))
    sys.exit(0 if all(outcome.ok for outcome in outcomes or ()) else 1)
