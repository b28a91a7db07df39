"""A model's representation of a sequence and its embedding of an item, wherever it keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from recbole.model.abstract_recommender import ContextRecommender
from recbole.utils import ModelType
from torch import Tensor, nn

from recbole_atjt.errors import UsageError
from recbole_atjt.host.traits import traits_of
from recbole_atjt.seam.substitution import substituted


@dataclass(frozen=True)
class Lookup:
    """Rows of one or several embedding tables, side by side.

    Args:
        tables: ``[rows, d_k]`` each.
        offset: Row of id 0.
    """

    tables: tuple[nn.Embedding, ...]
    offset: int = 0

    def __call__(self, ids: Tensor) -> Tensor:
        """Return the embeddings of ``ids [S]``, without a graph, ``[S, sum of d_k]``."""
        rows = ids + self.offset
        return torch.cat([table.weight.detach()[rows] for table in self.tables], dim=1)


class Representations:
    """Reads a model's view of a batch while its ``calculate_loss`` runs.

    The representation of a sequence is what ``forward`` returned during that very call, at the
    last item where it returned a vector for each position. General and context-aware models give
    the embedding of the user. An item's embedding is its row in ``item_embedding``, else in its
    field's table, else in all tables of ``n_items`` rows whose name holds ``item``.

    A model names its own in two attributes: ``sequence_representation`` (a method or a module that
    ``calculate_loss`` calls, or an embedding of users) and ``target_embedding`` (an embedding of
    items).

    Args:
        model: A RecBole model.
        dataset: The training dataset.

    Raises:
        UsageError: The model keeps them where they can't be found.
    """

    def __init__(self, model: Any, dataset: Any) -> None:
        self.model, self.name = model, type(model).__name__
        self.user_field, self.item_field = dataset.uid_field, dataset.iid_field
        self._items = self._find_items(dataset.item_num)
        self._users: Lookup | None = None
        self._watched = self._named("sequence_representation")
        if not self._watched and model.type == ModelType.SEQUENTIAL:
            self._watched = "forward"
        if not self._watched:
            self._users = self._find_users(dataset.user_num)
        elif isinstance(getattr(model, self._watched, None), nn.Embedding):
            self._users = Lookup((getattr(model, self._watched),))
        elif not callable(getattr(model, self._watched, None)):
            raise UsageError(
                f"model={self.name} names sequence_representation={self._watched}, but has no "
                "method or module of that name"
            )
        self._seen: list[Any] = []

    def _named(self, attribute: str) -> str:
        """Return the name that the model gives, or that is known of it; else an empty string."""
        return getattr(self.model, attribute, "") or str(getattr(traits_of(self.model), attribute))

    def _find_items(self, n_items: int) -> Lookup:
        model, named = self.model, self._named("target_embedding")
        table = getattr(model, named or "item_embedding", None)
        if isinstance(table, nn.Embedding):
            return Lookup((table,))
        if named:
            raise UsageError(f"model={self.name} has no embedding target_embedding={named}")
        layer = getattr(model, "embedding_layer", None)
        if isinstance(getattr(layer, "token_field_names", None), dict):  # DIN and DIEN
            return _token_field(layer, self.item_field, "item")
        if isinstance(model, ContextRecommender):
            return _context_field(model, self.item_field)
        return self._search("item", n_items, "target_embedding")

    def _find_users(self, n_users: int) -> Lookup:
        if isinstance(self.model, ContextRecommender):
            return _context_field(self.model, self.user_field)
        return self._search("user", n_users, "sequence_representation")

    def _search(self, word: str, rows: int, attribute: str) -> Lookup:
        """Find the embeddings of all users or items by name and size."""
        found = [
            module
            for name, module in self.model.named_modules()
            if isinstance(module, nn.Embedding)
            and word in name.lower()
            and rows <= module.num_embeddings <= rows + 1  # one more is a mask
        ]
        if not found:
            raise UsageError(
                f"model={self.name} has no embedding of {word}s that can be found: name it in an "
                f"attribute {attribute}"
            )
        return Lookup(tuple(found))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note what :meth:`representation` needs of the ``calculate_loss`` in the block."""
        source = None if self._users else getattr(self.model, self._watched)
        try:
            if source is None:
                yield
            elif isinstance(source, nn.Module):
                hook = source.register_forward_hook(lambda module, given, out: self._note(out))
                try:
                    yield
                finally:
                    hook.remove()
            else:
                with substituted(self.model, self._watched, self._noting(source)):
                    yield
        finally:
            self._seen.clear()

    def _note(self, output: Any) -> None:
        """Keep the first output; later ones are of augmented sequences, as in FEARec."""
        if not self._seen:
            self._seen.append(output)

    def _noting(self, method: Any) -> Any:
        def noting(*args: Any, **kwargs: Any) -> Any:
            output = method(*args, **kwargs)
            self._note(output)
            return output

        return noting

    def representation(self, interaction: Any, sequences: int) -> Tensor:
        """Return the representation of the batch's first ``sequences`` rows, ``[S, d]``.

        Raises:
            UsageError: The model gave none: not one vector for each row.
        """
        if self._users is not None:
            return self._users(interaction[self.user_field][:sequences])
        output = self._seen[0] if self._seen else None
        if isinstance(output, list) and output:  # SASRecCPR: one for each layer
            output = output[-1]
        rows = len(interaction)
        if isinstance(output, Tensor) and output.dim() == 3 and len(output) == rows:
            output = self._at_last_item(output, interaction)
        if not isinstance(output, Tensor) or output.dim() != 2 or len(output) != rows:
            shape = f"of shape {list(output.shape)}" if isinstance(output, Tensor) else "no tensor"
            raise UsageError(
                f"model={self.name} has no representation of a sequence that can be found: "
                f"{self._watched} returned {shape} for {rows} rows; name a method or module that "
                "returns one vector a row in an attribute sequence_representation"
            )
        return output[:sequences].detach()

    def _at_last_item(self, output: Tensor, interaction: Any) -> Tensor:
        """Return ``[rows, d]`` of an output for each position, ``[rows, L, d]``."""
        length = getattr(self.model, "ITEM_SEQ_LEN", None)
        if output.size(1) == 1 or length not in interaction:
            return output.squeeze(1)
        last = interaction[length].clamp(1, output.size(1)) - 1
        return output[torch.arange(len(output), device=output.device), last]

    def item_embedding(self, items: Tensor) -> Tensor:
        """Return the embeddings of ``items [S]``, ``[S, e]``."""
        return self._items(items)


def _context_field(model: Any, field: str) -> Lookup:
    """Return a field's rows in the tables that a context-aware model reads."""
    tables = traits_of(model).token_tables
    if not tables:
        return _token_field(model, field)
    owner = getattr(model, tables)
    if hasattr(owner, "token_embeddings"):  # FFM: one table for each field it may meet
        return Lookup(tuple(owner.token_embeddings), _token_field(model, field).offset)
    return _token_field(owner, field)


def _token_field(owner: Any, field: str, kind: str = "") -> Lookup:
    """Return a field's rows in RecBole's ``FMEmbedding`` of all fields (of a kind)."""
    names, offsets = owner.token_field_names, owner.token_field_offsets
    table = owner.token_embedding_table
    if kind:
        names, offsets, table = names[kind], offsets[kind], table[kind]
    return Lookup((table.embedding,), int(offsets[names.index(field)]))
