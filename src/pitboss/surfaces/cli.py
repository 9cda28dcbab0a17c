"""The front door: the program, its version, and which commands there are.

What the commands do is in ``commands``. Everything heavy is imported by the command that needs it: ``status`` loads
neither the engine nor the manifest, and ``--version`` hardly anything. Called by ``__main__``.

Exit codes: 0 done; 1 a task did not succeed, an order was refused, or the world failed us; 2 the operator can put it
right; 130 an operator ended it; 70 a bug of ours.
"""

from __future__ import annotations

import click

from pitboss import __version__
from pitboss.surfaces.commands import answering, completions, keeping, looking, notifying, ruling, starting, steering
from pitboss.surfaces.faults import Commands, voice
from pitboss.surfaces.outlet import occupy_standard_descriptors, stdout

__all__ = ["cli", "main"]


def main() -> None:
    """Run the command that was asked for."""
    occupy_standard_descriptors()
    cli(prog_name="pitboss")


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: object) -> None:
    if value and not ctx.resilient_parsing:
        stdout().line(f"pitboss {__version__}")
        ctx.exit()


class FrontDoor(Commands):
    """All commands, listed by what they are for, each with the whole first sentence of its help."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the lists."""
        for title, commands in _SECTIONS.items():
            shown = [command for command in commands if not command.hidden]
            with formatter.section(title):
                formatter.write_dl([(str(one.name), one.get_short_help_str(limit=200)) for one in shown])


@click.group(cls=FrontDoor, context_settings={"help_option_names": ["-h", "--help"]})
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


@click.command()
def version() -> None:
    """Print the version."""
    stdout().line(f"pitboss {__version__}")


_SECTIONS = {
    "Begin": (
        *(starting.demo, starting.validate, starting.tree, starting.rehearse, starting.dispatch),
        starting.resume,
    ),
    "Look": (looking.list_runs, looking.status, looking.watch, looking.attach, looking.why, looking.diff),
    "Decide": (answering.approvals, answering.approve, answering.reject, ruling.policy),
    "Steer an actor": (steering.tell, steering.pause, steering.continue_, steering.cancel, steering.model),
    "Steer a run": (ruling.budget, ruling.limits, steering.drain, steering.stop, answering.seat),
    "Afterwards": (notifying.notify, keeping.restore, keeping.prune),
    "Pitboss itself": (completions.completions, version, answering.mcp_bridge),
}
"""Every command, in the order of the help."""

for _commands in _SECTIONS.values():
    for _command in _commands:
        cli.add_command(_command)
