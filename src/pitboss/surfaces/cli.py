"""The front door: the program, its version, and which commands there are.

What the commands do is in ``commands``. Everything heavy is imported by the command that needs it: ``status`` loads
neither the engine nor the manifest, and ``--version`` hardly anything. Called by the console script ``pitboss`` and by
``python -m pitboss``.

Exit codes: 0 done; 1 a task did not succeed, or the world failed us; 2 the operator can put it right; 130 an
operator ended it; 70 a bug of ours.
"""

from __future__ import annotations

import click

from pitboss import __version__
from pitboss.surfaces.commands import answering, keeping, looking, notifying, starting
from pitboss.surfaces.faults import Commands, voice
from pitboss.surfaces.outlet import occupy_standard_descriptors, stdout

__all__ = ["cli", "main"]


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


_COMMANDS = (
    *(starting.validate, starting.tree, starting.dispatch, starting.rehearse, starting.demo, starting.resume),
    *(looking.status, looking.list_runs, looking.attach, looking.why, looking.diff),
    *(keeping.restore, keeping.prune),
    *(answering.approvals, answering.seat, answering.mcp_bridge),
    notifying.notify,
)
for command in _COMMANDS:
    cli.add_command(command)
