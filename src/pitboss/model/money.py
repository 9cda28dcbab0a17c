"""How an amount of US dollars reads: the same to a person, to an agent and in the journal.

Called by ``core``, ``wire`` and ``surfaces`` wherever a sentence has money in it.
"""

from __future__ import annotations

__all__ = ["dollars"]

_CENT = 0.01


def dollars(usd: float) -> str:
    """``$12.00``, ``$0.05``; below a cent the first two digits that tell, to a millionth of a dollar."""
    small = abs(usd)
    if small >= _CENT or small < 5e-7:  # what is left of sums of fractions is nothing
        return f"${usd:.2f}"
    digits = next(digits for digits in (4, 5, 6) if small * 10**digits >= 10 or digits == 6)
    return f"${usd:.{digits}f}"
