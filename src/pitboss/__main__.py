"""Where the program begins: the console script ``pitboss`` and ``python -m pitboss``.

Until everything is loaded, an interrupt ends the process as it ends one that is no Python: quietly, with nothing
begun that would have to be ended in order. Nothing heavy may be imported at the top.
"""

import gc
import signal

__all__ = ["main"]

# What is loaded stays: looking through it for garbage after every 700 new objects, as Python does, takes seven of the
# hundred milliseconds of a short command. A dispatcher has 45 MiB either way.
gc.set_threshold(50_000, 20, 20)

# Whoever started us may have us ignore it (a shell's background job): that stays so.
_IS_OURS = signal.getsignal(signal.SIGINT) is signal.default_int_handler
if _IS_OURS:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> None:
    """Load what every command needs, then run the one that was asked for."""
    from pitboss.surfaces.cli import main as run

    if _IS_OURS:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
