"""What a model reads when it predicts, and how that is made from users and histories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_atjt.checkpoint.catalogue import Catalogue
from recbole_atjt.errors import UsageError, in_one_line

Batch = dict[str, Tensor]
"""Inputs by name, ``[B, ...]`` each."""


@dataclass(frozen=True)
class Input:
    """One input of a model.

    Args:
        name: Name of the column.
        role: Where its values come from: ``user``, ``history``, ``length``, ``item``,
            ``user_feature``, ``item_feature`` or ``ignored``, which no prediction depends on.
        shape: Shape of one row.
        is_whole: Whether it holds whole numbers (int64), else float32.
    """

    name: str
    role: str
    shape: tuple[int, ...]
    is_whole: bool

    def described(self) -> dict[str, Any]:
        """Return it as JSON values."""
        kind = "int64" if self.is_whole else "float32"
        return {
            "name": self.name,
            "role": self.role,
            "type": kind,
            "shape": ["batch", *self.shape],
        }

    @classmethod
    def of(cls, described: dict[str, Any]) -> Input:
        """Return what :meth:`described` was called on."""
        shape = tuple(int(size) for size in described["shape"][1:])
        return cls(described["name"], described["role"], shape, described["type"] == "int64")


@dataclass(frozen=True)
class Signature:
    """How a model is asked.

    Args:
        inputs: What it reads, in a fixed order.
        scores_all: Whether it scores all items of a row at once, ``[B, n_items]``; else it scores
            the row's own item, ``[B]``.
        history: Most items of a history.
    """

    inputs: tuple[Input, ...]
    scores_all: bool
    history: int

    @property
    def roles(self) -> frozenset[str]:
        """The roles of all inputs."""
        return frozenset(each.role for each in self.inputs)

    @property
    def reads_history(self) -> bool:
        """Whether what a user clicked last changes the scores."""
        return "history" in self.roles

    @property
    def reads_user(self) -> bool:
        """Whether it knows users by their numbers or features."""
        return bool({"user", "user_feature"} & self.roles)


class InputMaker:
    """Makes inputs from numbers of users, items and histories.

    Args:
        signature: What is read.
        catalogue: Features of users and items.
    """

    def __init__(self, signature: Signature, catalogue: Catalogue) -> None:
        self.signature, self._catalogue = signature, catalogue

    def of_queries(self, users: Tensor, histories: Tensor, lengths: Tensor) -> Batch:
        """Return the inputs of a model that scores all items.

        Args:
            users: ``[B]``.
            histories: Items, the oldest first, padded with zeros behind, ``[B, L]``.
            lengths: ``[B]``.
        """
        return self.of_rows(users, histories, lengths, torch.zeros_like(users))

    def of_pairs(self, users: Tensor, histories: Tensor, lengths: Tensor, items: Tensor) -> Batch:
        """Return the inputs of each query with each of some items, ``[B * I]``, query by query."""
        count, repeats = len(users), len(items)
        users, histories, lengths = (
            each.repeat_interleave(repeats, 0) for each in (users, histories, lengths)
        )
        return self.of_rows(users, histories, lengths, items.repeat(count))

    def of_rows(self, users: Tensor, histories: Tensor, lengths: Tensor, items: Tensor) -> Batch:
        """Return the inputs of rows with an item each, ``[B]``."""
        given = {"user": users, "history": histories, "length": lengths, "item": items}
        made = {}
        for each in self.signature.inputs:
            if each.role == "user_feature":
                made[each.name] = self._catalogue.user_features[each.name][users]
            elif each.role == "item_feature":
                made[each.name] = self._catalogue.item_features[each.name][items]
            elif each.role == "ignored":
                made[each.name] = histories if each.shape else items
            else:
                made[each.name] = given[each.role]
        return made


class _Noting(Interaction):  # type: ignore[misc,unused-ignore]
    """An interaction that notes what is read of it."""

    def __init__(self, columns: Batch) -> None:
        super().__init__(columns)
        self.read: list[str] = []

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            if index not in self.interaction:
                raise UsageError(
                    f"it reads '{index}' of the click itself, which nobody knows before the click"
                )
            self.read.append(index)
        return super().__getitem__(index)


def signature_of(model: Any, config: Any, catalogue: Catalogue) -> Signature:
    """Find out what a model reads, by letting it predict for two users.

    Args:
        model: The bare model, in evaluation mode.
        config: Its settings.
        catalogue: What was kept of its data.

    Raises:
        UsageError: It reads what nobody knows before a click, or does not predict.
    """
    length = int(config["MAX_ITEM_LIST_LENGTH"] or 1)
    inputs = _possible(model, config, catalogue, length)
    maker = InputMaker(Signature(tuple(inputs.values()), False, length), catalogue)
    numbers = torch.tensor([1, 1])
    columns = maker.of_pairs(numbers[:1], torch.ones(1, length).long(), numbers[:1], numbers)
    noting = _Noting(columns)
    try:
        with torch.inference_mode():
            scores_all = _predicts_all(model, noting)
    except UsageError as error:
        raise UsageError(f"model={config['model']} can't serve: {error}") from None
    except Exception as error:
        raise UsageError(f"model={config['model']} can't serve: {in_one_line(error)}") from error
    if scores_all and not {"user", "history"} & {inputs[name].role for name in noting.read}:
        raise UsageError(f"model={config['model']} can't serve: it reads neither user nor history")
    read = [inputs[name] for name in inputs if name in noting.read]
    return Signature(tuple(read), scores_all, length)


def _predicts_all(model: Any, noting: _Noting) -> bool:
    """Tell whether a model scores all items at once; RecBole's base raises where it does not."""
    try:
        model.full_sort_predict(noting)
        return True
    except NotImplementedError:
        noting.read.clear()
        model.predict(noting)
        return False


def _possible(model: Any, config: Any, catalogue: Catalogue, length: int) -> dict[str, Input]:
    """Return all inputs that can be made, in the order of users, histories and items."""
    user, item = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
    history = item + (config["LIST_SUFFIX"] or "_list")
    found = [
        Input(user, "user", (), True),
        Input(history, "history", (length,), True),
        Input(config["ITEM_LIST_LENGTH_FIELD"] or "item_length", "length", (), True),
        Input(item, "item", (), True),
    ]
    negatives = getattr(model, "NEG_ITEM_SEQ", None)  # DIEN's, of its auxiliary loss alone
    if negatives is not None:
        found.append(Input(negatives, "ignored", (length,), True))
    for role, features in (
        ("user_feature", catalogue.user_features),
        ("item_feature", catalogue.item_features),
    ):
        for name, column in features.items():
            is_whole = not column.is_floating_point()
            found.append(Input(name, role, tuple(column.shape[1:]), is_whole))
    inputs: dict[str, Input] = {}
    for each in found:
        inputs.setdefault(each.name, each)
    return inputs


def checked_histories(histories: Sequence[Any]) -> None:
    """Refuse a single history in the place of a list of them.

    Raises:
        UsageError: An entry is a text or a number.
    """
    for each in histories:
        if isinstance(each, (str, bytes)) or not hasattr(each, "__iter__"):
            raise UsageError(f"histories={each!r}... is no list of histories: write [[item, ...]]")
