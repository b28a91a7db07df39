"""What each user has clicked, as far as a dataset knows it in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from recbole_atjt.data.windows import Windows


@dataclass(frozen=True)
class KnownClicks:
    """The clicks of all users, validation and test included, planted noise left out.

    Args:
        items: Item of each click, user by user and the oldest first, ``[n]``.
        counts: Number of clicks of each user, ``[n_users]``; user 0 is the padding.
        left_out: Whether histories leave a click out, ``[n]``; None where they leave out none.
    """

    items: np.ndarray
    counts: np.ndarray
    left_out: np.ndarray | None = None

    @cached_property
    def ends(self) -> np.ndarray:
        """Where each user's clicks end, ``[n_users]``."""
        return np.cumsum(self.counts, dtype=np.int64)

    def of_user(self, user: int) -> np.ndarray:
        """Return the items that a user has clicked, the oldest first."""
        return self.items[self._clicks_of(user)]

    def history_of(self, user: int) -> np.ndarray:
        """Return the items of a user's history: less those left out, but the last at least."""
        clicks = self._clicks_of(user)
        items = self.items[clicks]
        if self.left_out is None:
            return items
        kept = items[~self.left_out[clicks]]
        return kept if len(kept) else items[-1:]

    def _clicks_of(self, user: int) -> slice:
        end = int(self.ends[user])
        return slice(end - int(self.counts[user]), end)

    @classmethod
    def of(cls, users: np.ndarray, items: np.ndarray, n_users: int) -> KnownClicks:
        """Sort clicks by user; those of a user stay in their order.

        Args:
            users: User of each click, ``[n]``.
            items: Item of each click, ``[n]``.
            n_users: Number of users, the padding included.
        """
        order = np.argsort(users, kind="stable")
        counts = np.bincount(users, minlength=n_users)
        return cls(items[order].astype(np.int32), counts.astype(np.int32))


def remember_clicks(parts: Sequence[Any]) -> None:
    """Let the parts of a split know all clicks, before noise is planted into some of them.

    Args:
        parts: The training, validation and test dataset, which share what they are made of.
    """
    feats = [part.inter_feat for part in parts]
    for part in parts:
        part.known_clicks = partial(_clicks_of, part, feats)


def known_clicks(dataset: Any) -> KnownClicks:
    """Return what is known of all users; of a part that was split elsewhere, what it holds itself.

    Args:
        dataset: A training set.
    """
    known = vars(dataset).get("known_clicks")
    found: KnownClicks = _clicks_of(dataset, [dataset.inter_feat]) if known is None else known()
    return found


def _clicks_of(dataset: Any, feats: Sequence[Any]) -> KnownClicks:
    fields = dataset.uid_field, dataset.iid_field
    if isinstance(feats[0], Windows):  # one base has every click, also those of no window
        base = feats[0].interaction.base.columns
        users, items = (base[name][:-1].numpy() for name in fields)
        return KnownClicks.of(users, items, dataset.user_num)
    users, items = (
        np.concatenate([np.asarray(feat[name]) for feat in feats if len(feat)]) for name in fields
    )
    ready = f"{fields[1]}{dataset.config['LIST_SUFFIX']}"
    if ready not in feats[0]:
        return KnownClicks.of(users, items, dataset.user_num)
    return _last_lists(dataset, feats, users, ready)


def _last_lists(dataset: Any, feats: Sequence[Any], users: np.ndarray, ready: str) -> KnownClicks:
    """Take each user's last ready list and the item that followed it."""
    length_field = dataset.config["ITEM_LIST_LENGTH_FIELD"]
    lists = [row for feat in feats for row in feat[ready].numpy()]
    lengths = [int(length) for feat in feats for length in feat[length_field]]
    targets = [int(item) for feat in feats for item in feat[dataset.iid_field]]
    last = {int(user): row for row, user in enumerate(users)}
    found = {user: [*lists[row][: lengths[row]], targets[row]] for user, row in last.items()}
    return KnownClicks.of(
        np.repeat(list(found), [len(items) for items in found.values()]),
        np.array([item for items in found.values() for item in items]),
        dataset.user_num,
    )
