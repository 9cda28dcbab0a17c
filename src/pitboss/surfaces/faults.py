"""What a command says when something goes wrong: one sentence, a hint, an exit code; never a traceback.

Whatever the operator or the world does ends here as a ``PitbossError``; what does not is our bug, and its traceback
is saved for the report instead of being thrown at the operator. Called by ``cli`` and ``commands``.
"""

from __future__ import annotations

from typing import cast

import click

from pitboss.errors import ManifestError, OurFault, PitbossError, WorldError
from pitboss.surfaces.outlet import stderr

__all__ = ["INTERRUPTED", "Commands", "is_quiet", "manifest_trouble", "voice"]

INTERRUPTED = 130
"""Exit code of a command that Ctrl-C ended: 128 and the number of SIGINT."""

_VERBOSE, _QUIET = "pitboss.verbose", "pitboss.quiet"


class Commands(click.Group):
    """A group of commands that explains every failure of its members."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; failures become a message and an exit code."""
        try:
            return cast("object", super().invoke(ctx))
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except PitbossError as error:
            ctx.exit(_explain(error))
        except ExceptionGroup as group:
            known, unknown = group.split(PitbossError)
            ctx.exit(_report(ctx, group) if unknown or known is None else _explain(_first(known)))
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            ctx.exit(_explain(WorldError(f"{where}{error.strerror or error}")))
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


def _explain(error: PitbossError) -> int:
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
    err = stderr()
    err.line(f"pitboss: internal error: {type(error).__name__}: {error}")
    if ctx.find_root().meta.get(_VERBOSE):
        err.write(text)
    else:
        err.line(f"hint: this is a bug; please report it with {_saved(text)}")
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
