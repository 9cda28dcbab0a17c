"""Commands that take a manifest, and the one that goes on with a run.

They may start a pit, through ``compose``, which is imported by the command that needs it. Called by ``cli``.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from pitboss.errors import ManifestError, OperatorError, Problem
from pitboss.surfaces.commands.notifying import beside_what_is_owed
from pitboss.surfaces.commands.options import json_option, manifest_argument, run_argument, runs_option
from pitboss.surfaces.faults import is_quiet, manifest_trouble, voice
from pitboss.surfaces.outlet import Outlet, stderr, stdout

if TYPE_CHECKING:
    from collections.abc import Callable

    from pitboss.manifest.load import Loaded
    from pitboss.model.run import ResumeScope
    from pitboss.model.views import RunView
    from pitboss.surfaces.watching import Eyes

__all__ = ["demo", "dispatch", "rehearse", "resume", "tree", "validate"]


@click.command()
@manifest_argument
@click.option("--without-secrets", is_flag=True, help="Only warn of PITBOSS_NOTIFY_* variables that are not set here.")
@json_option
@voice
def validate(manifest: str, without_secrets: bool, as_json: bool) -> None:  # noqa: FBT001 - click hands options over so
    """Check a manifest and say everything that is wrong with it.

    Exit code: 0 if it is valid, 2 if it is not.
    """
    from pitboss import compose

    out, err = stdout(), stderr()
    try:
        loaded = compose.load(manifest, has_secrets=not without_secrets)
    except ManifestError as error:
        if as_json:
            out.line(_validation_json(None, error))
        else:
            err.line("\n".join(["validation failed:", *manifest_trouble(error)]))
        sys.exit(error.exit_code)
    except OperatorError as error:
        if as_json:
            out.line(_validation_json(None, ManifestError(manifest, [Problem(str(error))])))
        err.line(f"validation failed: {error}")
        sys.exit(error.exit_code)
    _warn(loaded, err)
    out.line(_validation_json(loaded, None) if as_json else _verdict(loaded))


def _verdict(loaded: Loaded) -> str:
    from pitboss.model.money import dollars

    if loaded.mode == "flat":
        return f"OK — {len(loaded.run.tasks)} tasks, max_parallel={loaded.run.max_parallel}"
    lead, resolved = loaded.resolved.get("lead"), loaded.resolved
    name = lead.get("id") if isinstance(lead, dict) else None
    workers, usd = resolved.get("max_workers") or 0, resolved.get("budget_usd")
    budget = usd if isinstance(usd, int | float) else 0.0
    return f"OK (hierarchical) — lead='{name}', max_workers={workers}, budget={dollars(budget)}"


def _validation_json(loaded: Loaded | None, error: ManifestError | None) -> str:
    import msgspec

    problems = error.problems if error else loaded.warnings if loaded else []
    told = [problem.shape() for problem in problems]
    shape: dict[str, object] = {"version": 1, "valid": loaded is not None, "problems": told}
    if loaded is not None:
        shape |= {"mode": loaded.mode, "tasks": len(loaded.run.tasks), "max_parallel": loaded.run.max_parallel}
    return msgspec.json.format(msgspec.json.encode(shape), indent=2).decode()


def _warn(loaded: Loaded, err: Outlet) -> None:
    if not is_quiet():
        for problem in loaded.warnings:
            err.line(problem.render(loaded.run.manifest_path))


def _dollars(_ctx: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 <= value < float("inf"):  # not a number is in no range
        raise click.BadParameter(f"{value} is not an amount in US dollars")
    return value


@click.command()
@manifest_argument
@click.option(
    "--check", "limit", metavar="USD", type=float, callback=_dollars, help="Fail unless no more than this can be spent."
)
@json_option
@voice
def tree(manifest: str, limit: float | None, as_json: bool) -> None:  # noqa: FBT001 - click hands options over so
    """Tell what a manifest allows before anything is spent: who, how many, for how long, for how much at most.

    The envelope is the budget that the whole run is held to: sub-leads are paid from their lead's, so they are in it.
    Without a budget there is no bound, and every --check fails. Exit code: 0, or 1 if the check failed, or 2 if the
    manifest is not valid.
    """
    from pitboss import compose
    from pitboss.surfaces import allowance

    run = compose.load(manifest).run
    out = stdout()
    out.line(allowance.allowance_json(run, limit) if as_json else "\n".join(allowance.allowance_lines(run)))
    if limit is not None:
        bound = allowance.bound_of(run)
        stderr().line(allowance.gate_line(bound, limit))
        sys.exit(0 if bound.passes(limit) else 1)


# --- runs -------------------------------------------------------------------------------------------------------------


@click.command()
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

    loaded = compose.load(manifest)
    with beside_what_is_owed(run_dir or (loaded.run.run_dir if loaded.manifest.run.run_dir else None)) as begin:
        code, _ = _carry_out(loaded, run_dir=run_dir, beside=begin)
    sys.exit(code)


@click.command()
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


@click.command()
@click.option("--lead", is_flag=True, help="See a lead with workers and a sub-lead instead of six tasks.")
@click.option("--keep", is_flag=True, help="Keep every worktree, to look around in.")
@click.option("--fake", is_flag=True, help="Use a stand-in for Claude Code too: no binary is needed. Not with --lead.")
@voice
def demo(lead: bool, keep: bool, fake: bool) -> None:  # noqa: FBT001 - click hands options over like this
    """See a whole run in half a minute: six tasks, three at once, in a repository made for it.

    Nothing is asked of any account: a scripted model answers. One task hangs and is stopped by its time limit, one
    meets an overloaded API and recovers. All of it is kept in a temporary folder, whose name is printed.

    With --lead, a lead spawns four workers and a sub-lead that has two of its own; it redirects one, cancels one, and
    merges what they did.
    """
    from pitboss import compose
    from pitboss.surfaces.demo import flat, stage
    from pitboss.surfaces.demo import lead as hierarchical
    from pitboss.surfaces.scripted import find_claude, scripted_model

    if lead and fake:
        raise click.UsageError("the stand-in does not play a lead: leave out --fake or --lead")
    play = hierarchical.LEAD if lead else flat.FLAT
    claude = None if fake else find_claude()
    scene = stage.build(play, keep_worktrees=keep)
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
    sys.exit(stage.verdict(play, code, view))


@click.command()
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
    cut off, --failed takes up what had failed too. A run of Pitboss 0.9 becomes a run of this version, in the same
    folder and under the same id, and keeps its records; if it has a lead, that goes on, but no worker that was cut off
    under 0.9.

    With --fresh, a task begins again where it first began, in a new session: everything it had done, its commits
    included, is kept under refs/pitboss, and its branch goes back to its base. Of a run that has ended, --fresh alone
    takes up only the tasks it names. For a task without a worktree only the session is new: its files are as they are.
    A task that Pitboss 0.9 began in a worktree cannot begin again: where its branch began was not written down.
    """
    from pitboss import compose
    from pitboss.model.run import Status
    from pitboss.surfaces import client
    from pitboss.surfaces.watching import watch

    found = client.open_run(client.base(run_dir), run)
    again = [client.find_actor(found, name) for name in fresh]
    failed_before: list[int] = []

    def work(eyes: Eyes) -> int:
        def opened(view: RunView) -> None:
            # How a worker ended is its lead's affair: no resume takes it up.
            failed = [one for one in view.actors if one.parent is None and one.status not in {None, Status.SUCCESS}]
            failed_before.append(len(failed))
            eyes["on_open"](view)
            begin()

        return compose.resume(
            found.path,
            scope=scope,
            fresh=again,
            on_open=opened,
            on_view=eyes["on_view"],
            on_warning=eyes["on_warning"],
            on_note=eyes["on_note"],
        )

    with beside_what_is_owed(run_dir) as begin:
        code, _ = watch(work)
    if any(failed_before) and not is_quiet():
        stderr().line(f"{failed_before[0]} had failed before and stay so; --failed takes them up too")
    sys.exit(code)


def _carry_out(
    loaded: Loaded,
    *,
    run_dir: str | None,
    model_url: str | None = None,
    beside: Callable[[], None] | None = None,
) -> tuple[int, RunView | None]:
    """Run a loaded manifest under the operator's eyes; gives the exit code and the last view.

    Once the run is on disk, ``beside`` begins what is done beside it.
    """
    from pitboss import compose
    from pitboss.surfaces.watching import watch

    _warn(loaded, stderr())

    def work(eyes: Eyes) -> int:
        def opened(view: RunView) -> None:
            eyes["on_open"](view)
            if beside is not None:
                beside()
            _warn_of_waiting(loaded, view, run_dir)

        return compose.run(
            loaded,
            runs_dir=run_dir,
            model_url=model_url,
            on_open=opened,
            on_view=eyes["on_view"],
            on_warning=eyes["on_warning"],
            on_note=eyes["on_note"],
        )

    return watch(work)


def _warn_of_waiting(loaded: Loaded, view: RunView, run_dir: str | None) -> None:
    """Nobody may be looking at a run without a terminal: say so if it will need somebody."""
    from pitboss.surfaces import notice, unattended

    if is_quiet() or stdout().isatty():
        return
    command = notice.command("list", view.run_id, run_dir)
    for line in unattended.warnings(loaded.run, command):
        stderr().line(line)
