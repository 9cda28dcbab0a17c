"""What the shell offers when it completes a word: runs, actors, and requests that wait.

Only names; nothing is said, whatever is wrong. Called by click through ``commands.options``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import click
from click.shell_completion import CompletionItem

from pitboss.errors import PitbossError

__all__ = ["actors", "requests", "runs"]

_MOST_RUNS = 50
"""So many runs are offered, the newest: more than a person looks through."""


def runs(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Runs by their ids, the newest first, and ``latest``."""

    def found() -> Iterator[CompletionItem]:
        from pitboss.surfaces import client

        yield CompletionItem("latest", help="the newest run")
        for entry in client.list_runs(client.base(_base(ctx)))[:_MOST_RUNS]:
            yield CompletionItem(entry.run_id, help=" ".join(filter(None, [entry.state, entry.name])))

    return _beginning(incomplete, found)


def actors(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Actors of the run that stands before them, by label or id."""

    def found() -> Iterator[CompletionItem]:
        from pitboss.surfaces import client, words

        run = client.open_run(client.base(_base(ctx)), str(ctx.params.get("run") or "latest"))
        for actor in run.view.actors:
            yield CompletionItem(words.name(actor), help=f"{actor.role}: {words.label(actor)[2:]}")

    return _beginning(incomplete, found)


def requests(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Requests for approval that wait in the run that stands before them."""

    def found() -> Iterator[CompletionItem]:
        from pitboss.surfaces import client, notice, words

        run = client.open_run(client.base(_base(ctx)), str(ctx.params.get("run") or "latest"))
        for asked in notice.waiting(run):
            yield CompletionItem(asked.request_id, help=words.clean(asked.summary)[:60])

    return _beginning(incomplete, found)


def _base(ctx: click.Context) -> str | None:
    given = ctx.params.get("run_dir")
    return given if isinstance(given, str) else None


def _beginning(incomplete: str, found: Callable[[], Iterator[CompletionItem]]) -> list[CompletionItem]:
    try:
        return [item for item in found() if str(item.value).startswith(incomplete)]
    except (PitbossError, OSError):
        return []  # the line is still being typed: what is wrong with it the command says, once it is run
