# ruff: noqa: PTH103, PTH105, PTH118, PTH123
"""What a fake session has spent: per turn, per process, and over the whole session, resumes included.

The numbers follow the real CLI: ``usage`` of a result is the turn's own, ``total_cost_usd`` and ``modelUsage`` go on
over all turns and processes of a session, and a budget counts this process only. Kept below the folder that
`home` names.
"""

from __future__ import annotations

import json
import os

from pitboss.testing.fake_script import BadScript

TYPE_CHECKING = False
if TYPE_CHECKING:  # the names are for annotations only, and their modules are dear
    from typing import TypeAlias

    from pitboss.testing.fake_pipe import Frame

    _Account: TypeAlias = dict[str, tuple["Tokens", float]]

__all__ = ["DEFAULT_USAGE", "Ledger", "home", "keep", "read_usage", "usage_fields"]

Tokens = tuple[int, int, int, int]
"""Input, output, cache read, cache creation."""

DEFAULT_USAGE: Tokens = (100, 20, 5000, 1000)
_NOTHING: Tokens = (0, 0, 0, 0)
_INPUT_PRICE = {"haiku": 1.0, "sonnet": 3.0, "opus": 5.0}
"""Dollars per million input tokens; the others are fixed multiples of it."""
_MULTIPLES = (1.0, 5.0, 0.1, 1.25)
_USAGE_NAMES = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_MODEL_NAMES = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")


def home() -> str:
    """Where sessions are kept, as the real one does below its own folder; never in the user's ``~/.claude``."""
    own = os.environ.get("CLAUDE_CONFIG_DIR") or os.path.join(os.environ.get("HOME", "."), ".claude-fake")
    return os.path.join(own, "projects", "fake")


def keep(path: str, value: object) -> None:
    """Writes a file of a session, all or nothing: its process may be killed at any time."""
    os.makedirs(home(), exist_ok=True)
    fresh = f"{path}.{os.getpid()}"
    with open(fresh, "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.replace(fresh, path)


def read_usage(usage: Frame) -> Tokens:
    """Tokens by the names of a script; what is missing is 0."""
    counts = [usage.get(name, 0) for name in ("input", "output", "cache_read", "cache_creation")]
    whole = [count for count in counts if isinstance(count, int)]
    if len(whole) != len(counts):
        raise BadScript(f"usage {json.dumps(usage)}: tokens are whole numbers.")
    return (whole[0], whole[1], whole[2], whole[3])


def usage_fields(tokens: Tokens) -> Frame:
    """Tokens as the API names them."""
    return dict(zip(_USAGE_NAMES, tokens, strict=True))


class Ledger:
    """The account of one session."""

    def __init__(self, session_id: str) -> None:
        self._path = os.path.join(home(), f"{session_id}.jsonl")
        self._models: _Account = {}
        self._since_result: _Account = {}
        self._turn: Tokens = _NOTHING
        self._turn_before: Tokens = _NOTHING
        self.spent_here = 0.0
        """Dollars of this process."""

    def load(self) -> bool:
        """Takes over what earlier processes of the session have spent; False if there was none."""
        try:
            with open(self._path, encoding="utf-8") as file:
                kept = json.load(file)
        except FileNotFoundError:
            return False
        self._models = {model: (tuple(tokens), cost) for model, (tokens, cost) in kept.items()}
        return True

    def save(self) -> None:
        """Keeps the account for a resume."""
        keep(self._path, self._models)

    def begin_turn(self) -> None:
        """From now on ``usage`` is another turn's; a session can be resumed from its first one on."""
        self._turn = self._turn_before = _NOTHING
        self.save()

    def leave_out_last_call(self) -> None:
        """The call that crossed a budget is missing in ``usage``, and only there, as with the real CLI."""
        self._turn = self._turn_before

    def charge(self, model: str, tokens: Tokens, *, subagent: bool = False) -> None:
        """Books one call of the model."""
        price = next((dollars for name, dollars in _INPUT_PRICE.items() if name in model), _INPUT_PRICE["sonnet"])
        cost = sum(count * times for count, times in zip(tokens, _MULTIPLES, strict=True)) * price / 1_000_000
        for account in (self._models, self._since_result):
            before, dollars = account.get(model, (_NOTHING, 0.0))
            account[model] = (_sum(before, tokens), dollars + cost)
        self.spent_here += cost
        if not subagent:
            self._turn, self._turn_before = _sum(self._turn, tokens), self._turn

    def close_turn(self) -> Frame:
        """The money of a ``result`` line; the next one's account begins here."""
        since, self._since_result = self._since_result, {}
        return {
            "total_cost_usd": sum(cost for _, cost in self._models.values()),
            "usage": {**usage_fields(self._turn), "service_tier": "standard"},
            "modelUsage": _by_model(self._models),
            "model_usage_since_last_result": _by_model(since),
        }


def _by_model(account: _Account) -> Frame:
    return {
        model: {**dict(zip(_MODEL_NAMES, tokens, strict=True)), "webSearchRequests": 0, "costUSD": cost}
        for model, (tokens, cost) in account.items()
    }


def _sum(left: Tokens, right: Tokens) -> Tokens:
    return (left[0] + right[0], left[1] + right[1], left[2] + right[2], left[3] + right[3])
