"""What tokens cost, for the time in which the CLI's own figure is not there yet.

Source: ``total_cost_usd`` of Claude Code 2.1.330, asked with usages of one kind of token at a time against
the scripted model (2026-11-23). Only estimates come from here; every turn's end replaces them by the CLI's figure.
"""

from __future__ import annotations

from typing import NamedTuple

from pitboss.model.run import Usage


class Price(NamedTuple):
    """US dollars per million tokens."""

    input: float
    output: float
    cache_read: float
    cache_creation: float


PRICES: tuple[tuple[str, Price], ...] = (
    ("haiku-5-5", Price(0.1, 0.5, 0.01, 0.125)),
    ("3-5-haiku", Price(0.8, 4.0, 0.08, 1.0)),
    ("haiku-4", Price(1.0, 5.0, 0.1, 1.25)),
    ("sonnet-5-5", Price(2.0, 10.0, 0.1, 2.5)),
    ("sonnet-5", Price(2.0, 10.0, 0.2, 2.5)),
    ("sonnet", Price(3.0, 15.0, 0.3, 3.75)),
    ("opus-5-5", Price(4.0, 20.0, 0.2, 5.0)),
    ("opus-4-1", Price(4.0, 20.0, 0.2, 5.0)),
    ("opus-4-0", Price(4.0, 20.0, 0.2, 5.0)),
    ("opus-4-2025", Price(4.0, 20.0, 0.2, 5.0)),
    ("opus-4", Price(5.0, 25.0, 0.5, 6.25)),
    ("opus-5", Price(5.0, 25.0, 0.5, 6.25)),
)
"""Part of a model's name -> price; the first match counts. Old opus models are served by opus 5.5, at its price."""

UNKNOWN = Price(4.0, 20.0, 0.2, 5.0)
"""What the CLI itself charges for a name it does not know: nothing is ever taken to be free."""


def price_of(model: str | None) -> Price:
    """The price of a model by its name or alias."""
    name = (model or "").lower()
    name = _ALIASES.get(name, name)
    return next((price for part, price in PRICES if part in name), UNKNOWN)


_ALIASES = {"haiku": "haiku-5-5", "sonnet": "sonnet-5-5", "opus": "opus-5-5"}


def estimate(usage: Usage, model: str | None) -> float:
    """US dollars for ``usage``."""
    price = price_of(model)
    return (
        usage.input * price.input
        + usage.output * price.output
        + usage.cache_read * price.cache_read
        + usage.cache_creation * price.cache_creation
    ) / 1_000_000
