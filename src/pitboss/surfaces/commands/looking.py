"""Commands that look at runs, live or over; nothing is changed by any of them.

They load neither the engine nor the manifest. Called by ``cli``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pitboss.surfaces.commands.options import (
    actor_argument,
    complete_actors,
    complete_runs,
    json_option,
    run_argument,
    run_named_argument,
    runs_option,
)
from pitboss.surfaces.faults import is_quiet, voice
from pitboss.surfaces.outlet import stderr, stdout

if TYPE_CHECKING:
    from pitboss.surfaces.client import Run

__all__ = ["attach", "diff", "list_runs", "status", "watch", "why"]


@click.command()
@run_argument
@runs_option
@json_option
@click.option("--full", is_flag=True, help="With --json: the run as a whole too, and the tasks that wait or run.")
@voice
def status(run: str, run_dir: str | None, as_json: bool, full: bool) -> None:  # noqa: FBT001 - as click hands them over
    """Show where every task of a run stands, whether it is live, ended or was cut short.

    RUN is an id, the beginning of one, or `latest`, which is the default. What needs you comes first: approvals that
    wait, and who waits behind them; agents gone silent; failures; a budget, an API or a disk near its end. Of a run
    with a lead, everyone stands below whoever leads them, and the money, caps and store of each layer are told too.
    """
    import time

    from pitboss.surfaces import client, notice, render

    if full and not as_json:
        raise click.UsageError("--full adds to --json; give both")
    found = client.open_run(client.base(run_dir), run)
    _warn_of_damage(found)
    out, now = stdout(), time.time()
    if as_json and not full:
        out.line(client.records_json(found))
        return
    needs = notice.needs(found.view, found.state, now)
    if as_json:
        out.line(client.run_json(found, needs, run_dir))
        return
    for line in notice.notice_lines(needs, found.view, now=now, runs_dir=run_dir):
        out.line(line)
    width = _width() if out.isatty() else None
    lines = render.status_lines(found.view, state=found.state, now=now, width=width, runs_dir=run_dir)
    out.line("\n".join(lines))


@click.command("list")
@click.option("--active", is_flag=True, help="Only runs that a dispatcher is at work on.")
@runs_option
@json_option
@voice
def list_runs(active: bool, run_dir: str | None, as_json: bool) -> None:  # noqa: FBT001 - as click hands them over
    """List all runs, newest first."""
    from pitboss.surfaces import client, render

    folder = client.base(run_dir)
    found = client.list_runs(folder, active=active)
    out = stdout()
    if as_json:
        out.line(client.list_json(found))
    elif not folder.is_dir():
        stderr().line(f"There are no runs yet: {folder} does not exist.\nStart one with: pitboss dispatch MANIFEST")
    elif not found:
        out.line("No active runs." if active else f"No runs found under {folder}.")
    else:
        out.line("\n".join(render.list_lines(found)))


@click.command()
@run_argument
@runs_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per change.")
@click.option("--once", is_flag=True, help="Print how the run stands in one line, for a status bar, and end.")
@click.option("--bell", is_flag=True, help="Ring the terminal's bell when something newly needs a person.")
@click.option("--notify", is_flag=True, help="Have the terminal notify then, by OSC 9 or OSC 777.")
@voice
def watch(run: str, run_dir: str | None, as_json: bool, once: bool, bell: bool, notify: bool) -> None:  # noqa: FBT001 - click
    """Print one line per change of a run, until it has ended.

    RUN is an id, the beginning of one, or `latest`, which is the default. The first line says how the run stands, the
    next what needs you; then one line, with the time in UTC, for each actor that starts, stands still or settles, each
    approval that is asked or answered, and each trouble. A run that is resumed within seconds is watched on.

    Exit code: 0 if the run ended well, 1 if it did not or was cut off, 130 after Ctrl-C, which ends the watching only.
    """
    from pitboss.surfaces import client, spectator

    with client.RunClient.open(client.base(run_dir), run) as seen:
        if once:
            stdout().line(spectator.glance(seen, as_json=as_json, runs_dir=run_dir))
            return
        call = spectator.Call(stderr() if stderr().isatty() else stdout(), bell=bell, notify=notify)
        click.get_current_context().exit(spectator.watch(seen, stdout(), call, as_json=as_json, runs_dir=run_dir))


@click.command()
@run_named_argument
@click.argument("task", shell_complete=complete_actors)
@click.option("--raw", is_flag=True, help="Print the log's own lines.")
@click.option("--stderr", "errors", is_flag=True, help="Follow what its process complains about instead.")
@click.option(
    "--lines",
    metavar="N",
    default=20,
    show_default=True,
    type=click.IntRange(min=0),
    help="How much of the past to show.",
)
@runs_option
@voice
def attach(run: str, task: str, raw: bool, errors: bool, lines: int, run_dir: str | None) -> None:  # noqa: FBT001 - click
    """Follow what one task, lead, sub-lead or worker does, until it has ended.

    TASK is an id, the beginning of one, or the label a worker was given. Marks: > says, * calls a tool, < a tool
    answers, v a turn's end, ! trouble. Ctrl-C ends the watching and nothing else.
    """
    from pitboss.surfaces import activity, client

    seen = client.RunClient.open(client.base(run_dir), run)
    found = seen.look()
    actor = client.find_actor(found, task)
    path = client.log_path(found, actor, stderr=errors)
    out, err = stdout(), stderr()
    if not is_quiet():
        err.line(f"pitboss attach: following {path} (Ctrl-C to exit)")
    show = activity.plain(careful=out.isatty()) if raw or errors else activity.render
    watch = client.TaskWatch(seen, actor)
    try:
        for line in activity.follow(activity.Tail(path, show), lines=lines, ended=watch.ended):
            out.line(line)
            if out.gone:
                return
    except KeyboardInterrupt:
        return
    if not watch.settled and not is_quiet():
        err.line(f"pitboss attach: the run is over, and {actor} was not settled by then")


@click.command()
@run_named_argument
@actor_argument
@runs_option
@json_option
@voice
def why(run: str, actor: str, run_dir: str | None, as_json: bool) -> None:  # noqa: FBT001 - click hands options over
    """Tell the story of one actor: everything that happened to it, and because of what.

    ACTOR is an id, the beginning of one, or the label a worker was given. Each line has the seconds since the run
    began, the number of the fact, and the number of the fact it follows from.
    """
    from pitboss.surfaces import chronicle, client

    found = client.open_run(client.base(run_dir), run)
    name = client.find_actor(found, actor)
    told = client.entries(found.path)
    out = stdout()
    if as_json:
        out.line(chronicle.story_json(told, name, found.path.name).decode())
    else:
        out.line("\n".join(chronicle.story_lines(told, name, found.view.names)))


@click.command()
@click.argument("run_a", shell_complete=complete_runs)
@click.argument("run_b", shell_complete=complete_runs)
@runs_option
@json_option
@voice
def diff(run_a: str, run_b: str, run_dir: str | None, as_json: bool) -> None:  # noqa: FBT001 - as click hands them over
    """Compare two runs: status, time, tokens and money, in total and task by task.

    Tasks are paired by their ids; of those left over, by their prompts. Every difference is B minus A, and money is
    what the records say. Where a run is partial, or manifests or models differ, that is said first. Failures, branches
    and set-aside work of both sides are named.
    """
    from pitboss.surfaces import client, comparing, comparing_report

    folder = client.base(run_dir)
    runs = [client.open_run(folder, name) for name in (run_a, run_b)]
    for run in runs:
        _warn_of_damage(run)
    found = comparing.compare(*runs)
    if as_json:
        stdout().line(comparing_report.comparison_json(found))
    else:
        stdout().line("\n".join(comparing_report.comparison_lines(found)))


def _warn_of_damage(run: Run) -> None:
    if run.damaged and not is_quiet():
        stderr().line(f"warning: {run.damaged} of the records in {run.path} cannot be read and were skipped")


def _width() -> int:
    import shutil

    return shutil.get_terminal_size().columns
