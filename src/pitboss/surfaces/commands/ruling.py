"""Commands that change what a run may do: its rules, its money, its caps and time-outs. Called by ``cli``."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import click

from pitboss.surfaces.commands.options import (
    answer_json_option,
    complete_actors,
    run_named_argument,
    runs_option,
)
from pitboss.surfaces.faults import is_quiet, voice
from pitboss.surfaces.outlet import stderr, stdout

if TYPE_CHECKING:
    from pathlib import Path

    from pitboss.manifest.rules import Rulebook
    from pitboss.surfaces.client import Run
    from pitboss.surfaces.rulebook import InForce

__all__ = ["budget", "limits", "policy"]


# --- money, caps, time-outs -------------------------------------------------------------------------------------------


@click.command()
@run_named_argument
@click.argument("actor", required=False, shell_complete=complete_actors)
@click.option("--budget", "usd", metavar="USD", type=float, help="Money: of the run, or set apart for a sub-lead.")
@click.option("--workers", metavar="N", type=int, help="Actors at once: of the run, or of a sub-lead's layer.")
@click.option("--timeout", "secs", metavar="SECS", type=int, help="How long ACTOR may take, from its start.")
@runs_option
@answer_json_option
@voice
def limits(
    run: str,
    actor: str | None,
    usd: float | None,
    workers: int | None,
    secs: int | None,
    run_dir: str | None,
    as_json: bool,  # noqa: FBT001 - click hands options over like this
) -> None:
    """Raise or lower what a run, a sub-lead's layer or one actor may use; what is not given stays as it is.

    A limit below what is used already ends nothing by itself but the turns that money runs out for: nothing more is
    started until there is room. Of a run that was cut off, the limits hold when it is resumed.
    """
    if usd is None and workers is None and secs is None:
        raise click.UsageError("nothing is to be changed; give --budget, --workers or --timeout")
    _limit(run, actor, run_dir, as_json=as_json, usd=usd, workers=workers, secs=secs)


@click.command(context_settings={"ignore_unknown_options": True})  # an amount below zero is the run's to refuse
@run_named_argument
@click.argument("words", metavar="[ACTOR] USD", nargs=-1, required=True, shell_complete=complete_actors)
@runs_option
@answer_json_option
@voice
def budget(run: str, words: tuple[str, ...], run_dir: str | None, as_json: bool) -> None:  # noqa: FBT001 - click
    """Raise or lower the money that a run, or a sub-lead's layer, may spend: short for `limits --budget`."""
    _refuse_options(words)
    *actor, amount = words
    if len(actor) > 1:
        raise click.UsageError(f"too many words: {' '.join(words)}; give an amount, and before it at most one actor")
    try:
        usd = float(amount.removeprefix("$"))
    except ValueError:
        raise click.UsageError(f"{amount!r} is not an amount in dollars") from None
    _limit(run, actor[0] if actor else None, run_dir, as_json=as_json, usd=usd)


def _refuse_options(words: tuple[str, ...]) -> None:
    """What begins with a dash is a number below zero, or an option that was typed wrongly."""
    ctx = click.get_current_context()
    for word in words:
        if word.startswith("-") and not _is_number(word):
            import difflib

            option = word.partition("=")[0]
            known = [name for parameter in ctx.command.get_params(ctx) for name in parameter.opts]
            raise click.NoSuchOption(option, possibilities=difflib.get_close_matches(option, known), ctx=ctx)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _limit(
    run: str,
    actor: str | None,
    run_dir: str | None,
    *,
    as_json: bool,
    usd: float | None = None,
    workers: int | None = None,
    secs: int | None = None,
) -> None:
    from pitboss.surfaces import client
    from pitboss.surfaces.commands.giving import carry_out
    from pitboss.wire.control import SetLimits

    found = client.open_run(client.base(run_dir), run)
    name = None if actor is None else client.find_actor(found, actor)
    if usd is not None and not math.isfinite(usd):  # JSON has no word for it: it would be sent as "leave it as it is"
        raise click.UsageError(f"{usd} is not an amount in dollars")
    op = SetLimits(task_id=name, budget_usd=usd, max_workers=workers, timeout_secs=secs)
    carry_out(found, op, runs_dir=run_dir, as_json=as_json)


# --- rules ------------------------------------------------------------------------------------------------------------


@click.command()
@run_named_argument
@click.option("--edit", is_flag=True, help="Change them in your editor: $VISUAL, else $EDITOR.")
@click.option("--set", "file", metavar="FILE", help="Have the rules of this file hold; `-` is the standard input.")
@click.option(
    "--if-version", "version", metavar="N", type=int, help="With --set: only if these are still in force, see above."
)
@runs_option
@answer_json_option
@voice
def policy(run: str, edit: bool, file: str | None, version: int | None, run_dir: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Show the approval rules that hold in a run, or have others hold from now on.

    Rules are `[[approval_policy]]` tables as in a manifest, and `[run].default_approval_policy` beside them; all of
    them are replaced at once. If somebody has changed them since they were looked at, nothing is changed and that is
    said. What already waits for a person goes on waiting.
    """
    from pitboss.surfaces import client, rulebook

    if edit and file is not None:
        raise click.UsageError("--edit and --set exclude each other; give one")
    if version is not None and file is None:
        raise click.UsageError("--if-version belongs to --set; --edit looks at the version by itself")
    found = client.open_run(client.base(run_dir), run)
    held = rulebook.in_force(found)
    if edit:
        _edit(found, held, run_dir, as_json=as_json)
    elif file is not None:
        rules = _read(file)
        _replace(found, rules, held.version if version is None else version, run_dir, as_json=as_json)
    else:
        stdout().line(rulebook.as_json(held) if as_json else rulebook.as_toml(held).rstrip())


def _read(file: str) -> Rulebook:
    from pathlib import Path

    from pitboss.manifest.rules import load_rules

    text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    rules = load_rules(text, "<stdin>" if file == "-" else file)
    if not is_quiet():
        for problem in rules.warnings:
            stderr().line(problem.render(file))
    return rules


def _replace(found: Run, rules: Rulebook, version: int, run_dir: str | None, *, as_json: bool) -> None:
    from pitboss.surfaces.commands.giving import carry_out
    from pitboss.wire.control import UpdatePolicy, wire_rule

    op = UpdatePolicy(rules=tuple(map(wire_rule, rules.rules)), default_action=rules.default_action, version=version)
    carry_out(found, op, runs_dir=run_dir, as_json=as_json)


def _edit(found: Run, held: InForce, run_dir: str | None, *, as_json: bool) -> None:
    """Have the rules edited and replaced; what was written is kept unless it was taken."""
    import tempfile
    from pathlib import Path

    from pitboss.surfaces import notice, rulebook

    with tempfile.NamedTemporaryFile("w", prefix="pitboss-policy-", suffix=".toml", delete=False) as draft:
        draft.write(rulebook.as_toml(held))
    path = Path(draft.name)
    try:
        _replace(found, _edited(path), held.version, run_dir, as_json=as_json)
    except BaseException:
        use = notice.typed(found.view, run_dir, "policy", "--set", str(path))
        stderr().line(f"pitboss: what you wrote is in {path}; use it with: {use}")
        raise
    path.unlink()


def _edited(path: Path) -> Rulebook:
    """What the operator made of the text; one with mistakes is given back for as long as the operator wants that."""
    from pitboss.errors import ManifestError
    from pitboss.surfaces.faults import manifest_trouble

    while True:
        click.edit(filename=str(path))
        try:
            return _read(str(path))
        except ManifestError as error:
            if not sys.stdin.isatty():
                raise
            stderr().line("\n".join(manifest_trouble(error)))
            click.confirm("Edit it again?", default=True, abort=True, err=True)
