"""What a command says when something goes wrong: one sentence, a hint, an exit code; never a traceback.

Whatever the operator or the world does ends here as a ``PitbossError``; what does not is our bug, and its traceback
is saved for the report instead of being thrown at the operator. Who asked for JSON has it as one object on the
standard output too. Called by ``cli`` and ``commands``.
"""

from __future__ import annotations

from typing import cast

import click

from pitboss.errors import ManifestError, OperatorError, OurFault, PitbossError, WorldError
from pitboss.surfaces.outlet import stderr, stdout

__all__ = ["INTERRUPTED", "Commands", "is_quiet", "manifest_trouble", "voice"]

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended: 128 and the number of SIGINT."""

_VERBOSE, _QUIET, _JSON = "pitboss.verbose", "pitboss.quiet", "pitboss.json"


class Commands(click.Group):
    """A group of commands that explains every failure of its members."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember whether JSON is wanted: a command that cannot be understood has not come to its own options."""
        options = args[: args.index("--")] if "--" in args else args
        ctx.find_root().meta[_JSON] = "--json" in options
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; failures become a message and an exit code."""
        try:
            return cast("object", super().invoke(ctx))
        except (click.exceptions.Exit, click.Abort):
            raise
        except click.ClickException as error:
            _tell_programs(ctx, _of_usage(error))
            raise
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except PitbossError as error:
            ctx.exit(_explain(ctx, error))
        except ExceptionGroup as group:
            known, unknown = group.split(PitbossError)
            ctx.exit(_report(ctx, group) if unknown or known is None else _explain(ctx, _first(known)))
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            ctx.exit(_explain(ctx, WorldError(f"{where}{error.strerror or error}")))
        except Exception as error:  # noqa: BLE001 - the last place where a bug can be put into words
            ctx.exit(_report(ctx, error))


def voice(command: click.decorators.FC) -> click.decorators.FC:
    """Adds ``-v`` and ``-q``, which are understood before and after the command's name alike."""
    command = click.option(
        "-v", "--verbose", count=True, expose_value=False, callback=_set_verbose, help="Show the traceback of a bug."
    )(command)
    return click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=_set_quiet, help="Say only what was asked for."
    )(command)


def is_quiet() -> bool:
    """True if ``-q`` was given anywhere; it wins over ``-v``."""
    return bool(click.get_current_context().find_root().meta.get(_QUIET))


def _set_verbose(ctx: click.Context, _parameter: click.Parameter, value: int) -> None:
    root = ctx.find_root()
    root.meta[_VERBOSE] = root.meta.get(_VERBOSE, 0) + value


def _set_quiet(ctx: click.Context, _parameter: click.Parameter, value: object) -> None:
    root = ctx.find_root()
    root.meta[_QUIET] = root.meta.get(_QUIET, False) or bool(value)


def manifest_trouble(error: ManifestError) -> list[str]:
    """All problems of a manifest, one line each, in the form that editors and CI logs link to."""
    return [problem.render(error.path) for problem in error.problems]


def _tell_programs(ctx: click.Context, error: PitbossError) -> None:
    """The failure as one object, with the keys of a refused order, for whoever asked for JSON."""
    if not ctx.find_root().meta.get(_JSON):
        return
    import json

    told: dict[str, object] = {"version": 1, "ok": False, "error": str(error), "hint": error.hint or None}
    told["code"] = error.code
    if isinstance(error, ManifestError):
        told["error"] = f"{error.path} cannot be used"
        told["problems"] = [problem.shape() for problem in error.problems]
    stdout().line(json.dumps(told, ensure_ascii=False))


def _of_usage(error: click.ClickException) -> PitbossError:
    """A command that was typed wrongly, as an error of ours."""
    asked = error.ctx if isinstance(error, click.UsageError) else None
    return OperatorError(error.format_message(), hint=f"see `{asked.command_path} --help`" if asked else "")


def _explain(ctx: click.Context, error: PitbossError) -> int:
    _tell_programs(ctx, error)
    err = stderr()
    if isinstance(error, ManifestError):
        err.line(f"pitboss: {error.path} cannot be used:")
        for line in manifest_trouble(error):
            err.line(line)
    else:
        fault = "internal error: " if isinstance(error, OurFault) else ""
        err.line(f"pitboss: {fault}{error}")
    if error.hint:
        err.line(f"hint: {error.hint}")
    return error.exit_code


def _first(group: BaseExceptionGroup[PitbossError]) -> PitbossError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


def _report(ctx: click.Context, error: Exception) -> int:
    import traceback

    text = "".join(traceback.format_exception(error))
    verbose = bool(ctx.find_root().meta.get(_VERBOSE))
    fault = OurFault(
        f"{type(error).__name__}: {error}",
        hint="" if verbose else f"this is a bug; please report it with {_saved(text)}",
    )
    _explain(ctx, fault)
    if verbose:
        stderr().write(text)
    return OurFault.exit_code


def _saved(text: str) -> str:
    """Where the traceback was put; or how to see it, if it could not be put anywhere."""
    import tempfile

    try:
        with tempfile.NamedTemporaryFile("w", prefix="pitboss-", suffix=".txt", delete=False) as file:
            file.write(text)
            return file.name
    except OSError as error:
        return f"what -v shows (it could not be saved: {error.strerror})"
