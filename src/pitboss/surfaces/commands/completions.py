"""What a shell needs to complete words, printed; what is offered then is in ``completing``. Called by ``cli``."""

from __future__ import annotations

import click

from pitboss.surfaces.faults import voice
from pitboss.surfaces.outlet import stdout

__all__ = ["completions"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@voice
@click.pass_context
def completions(ctx: click.Context, shell: str) -> None:
    """Print the script with which a shell completes commands, options, runs, actors and requests.

    For bash: `eval "$(pitboss completions bash)"` in ~/.bashrc; for zsh the same in ~/.zshrc; for fish:
    `pitboss completions fish > ~/.config/fish/completions/pitboss.fish`.
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion is known for {shell}")
    stdout().line(found(ctx.find_root().command, {}, "pitboss", "_PITBOSS_COMPLETE").source())
