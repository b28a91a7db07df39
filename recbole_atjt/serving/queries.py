"""Whom recommendations are for: users and histories by token, turned into numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from recbole_atjt.checkpoint.catalogue import Catalogue
from recbole_atjt.errors import UsageError
from recbole_atjt.serving.inputs import Signature
from recbole_atjt.serving.ranking import Encoded

_NOBODY = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True)
class Query:
    """Whom items are recommended to.

    Args:
        user: Token of a user, or None.
        history: Tokens of what was clicked, the oldest first; None stands for what is known of
            the user.
    """

    user: str | None = None
    history: tuple[str, ...] | None = None


@dataclass
class Unknown:
    """What of the queries is not known, each once and counted.

    Args:
        users: Tokens of users that the model was not trained with, and in how many queries.
        items: Tokens of items, likewise, and how often.
        empty: Queries that are left without a known item, by number from 1.
    """

    users: dict[str, int] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    empty: list[int] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Say it, a line for each kind."""
        found = []
        for name, counts in (("user", self.users), ("item", self.items)):
            if counts:
                more = ", ..." if len(counts) > _SHOWN else ""
                shown = ", ".join(list(counts)[:_SHOWN])
                plural = "s are" if len(counts) > 1 else " is"
                times = sum(counts.values())
                left_out = "no recommendations for them" if name == "user" else "left out"
                found.append(
                    f"{len(counts)} {name}{plural} unknown to the model ({shown}{more}; "
                    f"{times} time{'s' if times > 1 else ''}): {left_out}"
                )
        if self.empty:
            found.append(
                f"{len(self.empty)} quer{'ies have' if len(self.empty) > 1 else 'y has'} no known "
                f"click, number {self.empty[0]} the first: no recommendations for them"
            )
        return found


#: Unknown tokens that are named.
_SHOWN = 5


class Encoder:
    """Turns queries into numbers.

    Args:
        catalogue: Tokens and clicks.
        signature: What the model reads.
        name: Name of the model, for messages.
    """

    def __init__(self, catalogue: Catalogue, signature: Signature, name: str) -> None:
        self._signature, self._name = signature, name
        self._users = {token: number for number, token in enumerate(catalogue.users)}
        self._items = {token: number for number, token in enumerate(catalogue.items)}
        for tokens in (self._users, self._items):  # the padding is nobody
            tokens.pop(next(iter(tokens), ""), None)
        self._clicks = catalogue.clicks

    def require(self, queries: Iterable[Query]) -> None:
        """Refuse queries that the model can't answer, whoever asks.

        Raises:
            UsageError: A history for a model that reads none, or no user for one that reads it.
        """
        for query in queries:
            if query.user is None and self._signature.reads_user:
                reads = " beside the history" if self._signature.reads_history else ""
                raise UsageError(
                    f"model={self._name} knows users by their ids, not by a history alone: name a "
                    f"user{reads}"
                )
            if query.history is not None and not self._signature.reads_history:
                raise UsageError(
                    f"model={self._name} reads no history: name users alone, whom it was trained "
                    "with"
                )
            if query.user is None and query.history is None:
                raise UsageError("a query names neither a user nor a history")

    def encode(
        self, queries: Sequence[Query], exclude_seen: bool, unknown: Unknown, first: int = 1
    ) -> list[Encoded | None]:
        """Return each query in numbers; None for one that can't be answered.

        Args:
            queries: The queries.
            exclude_seen: Whether clicked items are not recommended.
            unknown: Takes what is not known.
            first: Number of the first query.
        """
        self.require(queries)
        return [
            self._encode(query, exclude_seen, unknown, number)
            for number, query in enumerate(queries, start=first)
        ]

    def _encode(
        self, query: Query, exclude_seen: bool, unknown: Unknown, number: int
    ) -> Encoded | None:
        user = 0
        if query.user is not None:
            user = self._users.get(query.user, 0)
            if not user:
                unknown.users[query.user] = unknown.users.get(query.user, 0) + 1
                return None
        known = self._clicks.of_user(user) if user else _NOBODY
        if query.history is not None:
            history = self._numbers(query.history, unknown)
        else:
            history = self._clicks.history_of(user) if user else _NOBODY
        if self._signature.reads_history and not len(history):
            unknown.empty.append(number)
            return None
        seen = np.concatenate([known, history]) if exclude_seen else _NOBODY
        return Encoded(user, history, seen)

    def _numbers(self, tokens: Iterable[str], unknown: Unknown) -> np.ndarray:
        numbers = []
        for token in tokens:
            number = self._items.get(token)
            if number is None:
                unknown.items[token] = unknown.items.get(token, 0) + 1
            else:
                numbers.append(number)
        return np.array(numbers, dtype=np.int32)
