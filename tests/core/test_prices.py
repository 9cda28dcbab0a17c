"""Prices as the CLI counts them."""

import pytest

from pitboss.core.prices import estimate
from pitboss.model.run import Usage


@pytest.mark.parametrize(
    ("model", "dollars"),
    [
        ("claude-haiku-4-5", 1.0),
        ("claude-sonnet-4-6", 3.0),
        ("claude-sonnet-5", 2.0),
        ("claude-opus-4-8", 5.0),
        ("claude-opus-4-1-20250805", 4.0),
        ("claude-3-5-haiku-20241022", 0.8),
        ("haiku", 0.1),
        ("somebody-elses-model", 4.0),
        (None, 4.0),
    ],
)
def test_a_million_tokens_of_input_cost_what_the_cli_says(model: str | None, dollars: float) -> None:
    assert dollars == estimate(Usage(input=1_000_000), model)


def test_every_kind_of_token_has_its_own_price() -> None:
    assert 1.0 + 5.0 + 0.1 + 1.25 == pytest.approx(
        estimate(Usage(input=10**6, output=10**6, cache_read=10**6, cache_creation=10**6), "claude-haiku-4-5")
    )
