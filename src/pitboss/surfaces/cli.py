"""The commands: what is parsed, what is printed where, and what a command ends with.

The only surface that may start a run, through ``compose``. Everything heavy is imported by the command that needs
it: ``status`` loads neither the engine nor the manifest, and ``--version`` hardly anything. Called by the console
script ``pitboss`` and by ``python -m pitboss``.

Exit codes: 0 done; 1 a task did not succeed, or the world failed us; 2 the operator can put it right; 130 an
operator ended it; 70 a bug of ours.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from pitboss import __version__
from pitboss.errors import ManifestError, OperatorError
from pitboss.surfaces.faults import Commands, is_quiet, manifest_trouble, voice
from pitboss.surfaces.outlet import Outlet, occupy_standard_descriptors, stderr, stdout

if TYPE_CHECKING:
    from pitboss.core.views import RunView
    from pitboss.manifest.load import Loaded
    from pitboss.model.run import ResumeScope
    from pitboss.surfaces.watching import Eyes

__all__ = ["cli", "main"]

manifest_argument = click.argument("manifest", type=click.Path())
run_argument = click.argument("run", default="latest")
runs_option = click.option(
    "--run-dir",
    "--runs-dir",
    "run_dir",
    metavar="BASE",
    help="The folder of all runs. Else: PITBOSS_RUNS_DIR, $XDG_DATA_HOME/pitboss/runs, ~/.local/share/pitboss/runs.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def main() -> None:
    """The console script."""
    occupy_standard_descriptors()
    cli(prog_name="pitboss")


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: object) -> None:
    if value and not ctx.resilient_parsing:
        stdout().line(f"pitboss {__version__}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version.",
)
@voice
def cli() -> None:
    """Runs many Claude Code sessions at once and answers for them."""


@cli.command()
def version() -> None:
    """Print the version."""
    stdout().line(f"pitboss {__version__}")


# --- manifests ------------------------------------------------------------------------------------------------------


@cli.command()
@manifest_argument
@json_option
@voice
def validate(manifest: str, as_json: bool) -> None:  # noqa: FBT001 - click hands options over like this
    """Check a manifest and say everything that is wrong with it.

    Exit code: 0 if it is valid, 2 if it is not.
    """
    from pitboss import compose

    out, err = stdout(), stderr()
    try:
        loaded = compose.load(manifest)
    except ManifestError as error:
        if as_json:
            out.line(_validation_json(None, error))
        else:
            err.line("\n".join(["validation failed:", *manifest_trouble(error)]))
        sys.exit(error.exit_code)
    except OperatorError as error:
        err.line(f"validation failed: {error}")
        sys.exit(error.exit_code)
    _warn(loaded, err)
    out.line(_validation_json(loaded, None) if as_json else _verdict(loaded))


def _verdict(loaded: Loaded) -> str:
    if loaded.mode == "flat":
        return f"OK — {len(loaded.run.tasks)} tasks, max_parallel={loaded.run.max_parallel}"
    lead, resolved = loaded.resolved.get("lead"), loaded.resolved
    name = lead.get("id") if isinstance(lead, dict) else None
    workers, budget = resolved.get("max_workers") or 0, resolved.get("budget_usd") or 0.0
    return f"OK (hierarchical) — lead='{name}', max_workers={workers}, budget=${budget:.2f}"


def _validation_json(loaded: Loaded | None, error: ManifestError | None) -> str:
    import msgspec

    problems = error.problems if error else loaded.warnings if loaded else []
    told = [
        {"severity": problem.severity, "line": problem.line, "column": problem.column, "message": problem.message}
        for problem in problems
    ]
    shape: dict[str, object] = {"version": 1, "valid": loaded is not None, "problems": told}
    if loaded is not None:
        shape |= {"mode": loaded.mode, "tasks": len(loaded.run.tasks), "max_parallel": loaded.run.max_parallel}
    return msgspec.json.format(msgspec.json.encode(shape), indent=2).decode()


def _warn(loaded: Loaded, err: Outlet) -> None:
    if not is_quiet():
        for problem in loaded.warnings:
            err.line(problem.render(loaded.run.manifest_path))


# --- runs -----------------------------------------------------------------------------------------------------------


@cli.command()
@manifest_argument
@runs_option
@voice
def dispatch(manifest: str, run_dir: str | None) -> None:
    """Run every task of a manifest and wait for the end.

    Ctrl-C once lets what runs end and starts nothing more; twice within five seconds stops everything.

    Without a terminal, standard output has exactly one line per finished task; everything else goes to standard
    error. Exit code: 0 if every task succeeded, 1 if not, 2 if the run could not begin, 130 if it was interrupted.
    """
    from pitboss import compose

    code, _ = _carry_out(compose.load(manifest), run_dir=run_dir)
    sys.exit(code)


@cli.command()
@manifest_argument
@click.option(
    "--script",
    type=click.Path(),
    help="What the model says (TOML). Default: MANIFEST.script.toml if there.",
)
@click.option(
    "--claude", metavar="PATH", help="The Claude Code binary. Default: PITBOSS_CLAUDE_BINARY, PATH, the SDK's."
)
@runs_option
@voice
def rehearse(manifest: str, script: str | None, claude: str | None, run_dir: str | None) -> None:
    """Run a manifest for real, but against a scripted model: no account, no network, no cost.

    Real sessions of Claude Code use real tools on real files in real worktrees; only what the model says comes from
    the script (for `team.toml` that is `team.script.toml`). Actors without a script get a short default turn.
    """
    from pathlib import Path

    from pitboss import compose
    from pitboss.surfaces.scripted import find_claude, scripted_model

    loaded = compose.load(manifest)
    beside = Path(manifest).with_suffix(".script.toml")
    played = Path(script) if script else beside if beside.exists() else None
    binary = find_claude(claude)
    if not is_quiet():
        said = f"following {played}" if played else "with its default turn for everyone"
        stderr().line(f"pitboss: REHEARSAL, a scripted model answers {said}; claude is {binary.path} ({binary.source})")
    os.environ["PITBOSS_CLAUDE_BINARY"] = binary.path
    with scripted_model(played) as url:
        code, _ = _carry_out(loaded, run_dir=run_dir, model_url=url)
    sys.exit(code)


@cli.command()
@click.option("--keep", is_flag=True, help="Keep every task's worktree, to look around in.")
@click.option("--fake", is_flag=True, help="Use a stand-in for Claude Code too: no binary is needed.")
@voice
def demo(keep: bool, fake: bool) -> None:  # noqa: FBT001 - click hands options over like this
    """See a whole run in half a minute: six tasks, three at once, in a repository made for it.

    Nothing is asked of any account: a scripted model answers. One task hangs and is stopped by its time limit, one
    meets an overloaded API and recovers. All of it is kept in a temporary folder, whose name is printed.
    """
    from pitboss import compose
    from pitboss.surfaces.demo import stage
    from pitboss.surfaces.scripted import find_claude, scripted_model

    claude = None if fake else find_claude()
    scene = stage.build(keep_worktrees=keep)
    out = stderr() if not stdout().isatty() else stdout()
    out.line("\n".join(stage.introduction(scene, claude)))
    if claude is None:
        os.environ.update(stage.fake_claude(scene))
        code, view = _carry_out(compose.load(str(scene.manifest)), run_dir=str(scene.runs), model_url=stage.NOWHERE)
    else:
        os.environ["PITBOSS_CLAUDE_BINARY"] = claude.path
        with scripted_model(scene.script) as url:
            code, view = _carry_out(compose.load(str(scene.manifest)), run_dir=str(scene.runs), model_url=url)
    out.line("\n".join(stage.epilogue(scene, view)))
    sys.exit(stage.verdict(code, view))


@cli.command()
@run_argument
@click.option("--failed", "scope", flag_value="failed", help="Also what has settled without success.")
@click.option("--all", "scope", flag_value="all", help="Everything again, what succeeded included.")
@click.option("--fresh", multiple=True, metavar="TASK", help="Run TASK again from the start; may be given repeatedly.")
@runs_option
@voice
def resume(run: str, scope: ResumeScope | None, fresh: tuple[str, ...], run_dir: str | None) -> None:
    """Go on with a run whose dispatcher is gone, or with what did not succeed in one that has ended.

    Whatever the old dispatcher left running is stopped first. Every unfinished task continues in its own worktree, on
    its own branch, in its own session; those that wait are started, those that are settled stay so. On a run that was
    cut off, --failed takes up what had failed too.

    With --fresh, a task begins again where it first began, in a new session: everything it had done, its commits
    included, is kept under refs/pitboss, and its branch goes back to its base. Of a run that has ended, --fresh alone
    takes up only the tasks it names. For a task without a worktree only the session is new: its files are as they are.
    """
    from pitboss import compose
    from pitboss.surfaces import client
    from pitboss.surfaces.watching import watch

    found = client.open_run(client.base(run_dir), run)
    again = [client.find_actor(found, name) for name in fresh]
    failed_before: list[int] = []

    def work(eyes: Eyes) -> int:
        def opened(view: RunView) -> None:
            failed_before.append(view.failed)
            eyes["on_open"](view)

        return compose.resume(
            found.path, scope=scope, fresh=again, on_open=opened, on_view=eyes["on_view"], on_warning=eyes["on_warning"]
        )

    code, _ = watch(work)
    if any(failed_before) and not is_quiet():
        stderr().line(f"{failed_before[0]} had failed before and stay so; --failed takes them up too")
    sys.exit(code)


def _carry_out(loaded: Loaded, *, run_dir: str | None, model_url: str | None = None) -> tuple[int, RunView | None]:
    """Run a loaded manifest under the operator's eyes; gives the exit code and the last view."""
    from pitboss import compose
    from pitboss.surfaces.watching import watch

    _warn(loaded, stderr())
    return watch(lambda eyes: compose.run(loaded, runs_dir=run_dir, model_url=model_url, **eyes))


def _width() -> int:
    import shutil

    return shutil.get_terminal_size().columns


# --- looking at runs ------------------------------------------------------------------------------------------------


@cli.command()
@run_argument
@runs_option
@json_option
@click.option("--full", is_flag=True, help="With --json: the run as a whole too, and the tasks that wait or run.")
@voice
def status(run: str, run_dir: str | None, as_json: bool, full: bool) -> None:  # noqa: FBT001 - as click hands them over
    """Show where every task of a run stands, whether it is live, ended or was cut short.

    RUN is an id, the beginning of one, or `latest`, which is the default.
    """
    import time

    from pitboss.surfaces import client, render

    if full and not as_json:
        raise click.UsageError("--full adds to --json; give both")
    found = client.open_run(client.base(run_dir), run)
    out = stdout()
    if as_json:
        out.line(client.run_json(found) if full else client.records_json(found))
        return
    width = _width() if out.isatty() else None
    out.line("\n".join(render.status_lines(found.view, state=found.state, now=time.time(), width=width)))


@cli.command("list")
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


@cli.command()
@click.argument("run")
@click.argument("task")
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
    """Follow what one task does, until it has ended.

    TASK is a task's id or the beginning of one. Marks: > says, * calls a tool, < a tool answers, v a turn's end,
    ! trouble. Ctrl-C ends the watching and nothing else.
    """
    from pitboss.surfaces import activity, client

    found = client.open_run(client.base(run_dir), run)
    actor = client.find_actor(found, task)
    path = client.log_path(found, actor, stderr=errors)
    out, err = stdout(), stderr()
    if not is_quiet():
        err.line(f"pitboss attach: following {path} (Ctrl-C to exit)")
    show = activity.plain(careful=out.isatty()) if raw or errors else activity.render
    watch = client.TaskWatch(found, actor)
    try:
        for line in activity.follow(activity.Tail(path, show), lines=lines, ended=watch.ended):
            out.line(line)
            if out.gone:
                return
    except KeyboardInterrupt:
        return
    if not watch.settled and not is_quiet():
        err.line(f"pitboss attach: the run is over, and {actor} was not settled by then")


@cli.command()
@click.argument("run")
@click.argument("actor")
@runs_option
@json_option
@voice
def why(run: str, actor: str, run_dir: str | None, as_json: bool) -> None:  # noqa: FBT001 - click hands options over
    """Tell the story of one actor: everything that happened to it, and because of what.

    Each line has the seconds since the run began, the number of the fact, and the number of the fact it follows from.
    """
    from pitboss.surfaces import chronicle, client

    found = client.open_run(client.base(run_dir), run)
    name = client.find_actor(found, actor)
    told = client.entries(found.path)
    out = stdout()
    if as_json:
        out.line(chronicle.story_json(told, name, found.path.name).decode())
    else:
        out.line("\n".join(chronicle.story_lines(told, name)))


# --- keeping house --------------------------------------------------------------------------------------------------


@cli.command()
@click.argument("run")
@click.argument("actor")
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


@cli.command()
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
