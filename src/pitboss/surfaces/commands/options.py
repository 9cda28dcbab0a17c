"""The arguments and options that several commands share, so that they are spelled and explained alike."""

from __future__ import annotations

import click

__all__ = ["json_option", "manifest_argument", "run_argument", "runs_option"]

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
