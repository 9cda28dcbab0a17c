"""The arguments and options that several commands share, so that they are spelled, explained and completed alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = [
    "actor_argument",
    "answer_json_option",
    "complete_actors",
    "complete_requests",
    "complete_runs",
    "json_option",
    "manifest_argument",
    "no_wait_option",
    "reason_option",
    "request_argument",
    "run_argument",
    "run_named_argument",
    "runs_option",
]


def complete_runs(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """See ``completing.runs``, which is loaded only when a shell asks."""
    from pitboss.surfaces import completing

    return completing.runs(ctx, parameter, incomplete)


def complete_actors(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """See ``completing.actors``."""
    from pitboss.surfaces import completing

    return completing.actors(ctx, parameter, incomplete)


def complete_requests(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """See ``completing.requests``."""
    from pitboss.surfaces import completing

    return completing.requests(ctx, parameter, incomplete)


manifest_argument = click.argument("manifest", type=click.Path())
run_argument = click.argument("run", default="latest", shell_complete=complete_runs)
run_named_argument = click.argument("run", shell_complete=complete_runs)
actor_argument = click.argument("actor", shell_complete=complete_actors)
request_argument = click.argument("request", shell_complete=complete_requests)
runs_option = click.option(
    "--run-dir",
    "--runs-dir",
    "run_dir",
    metavar="BASE",
    help="The folder of all runs. Else: PITBOSS_RUNS_DIR, $XDG_DATA_HOME/pitboss/runs, ~/.local/share/pitboss/runs.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
answer_json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print what came of it as one JSON object; a refusal has `error` and `code`.",
)
no_wait_option = click.option("--no-wait", is_flag=True, help="Come back as soon as the run has taken the order.")
reason_option = click.option("--reason", metavar="TEXT", default="", help="Why; it is written down, and told on.")
