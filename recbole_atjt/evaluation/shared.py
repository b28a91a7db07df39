"""An evaluation shared by several processes: each scores some batches, metrics are of all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import torch
from recbole.data.dataloader import FullSortEvalDataLoader

from recbole_atjt.parallel.group import gathered_rows, rank, size, texts

#: What RecBole's collector keeps of samples, a row each.
_OF_SAMPLES = ("rec.items", "rec.topk", "rec.meanrank", "rec.score", "data.label")


class OwnBatches:
    """The batches of an evaluation that this process scores: a stretch of all, in their order.

    All are made on every process, so that sampled candidates are drawn alike.

    Args:
        loader: Makes the batches.
        pass_over: Called for each batch that another process scores.
    """

    def __init__(self, loader: Any, pass_over: Callable[[Any], None]) -> None:
        self._loader, self._pass_over = loader, pass_over
        self._dataset = loader._dataset
        batches, processes = len(loader), size()
        bounds = [batches * number // processes for number in range(processes + 1)]
        bounds[-1] = max(batches, 1)
        self._own = range(bounds[rank()], bounds[rank() + 1])

    def __len__(self) -> int:
        return len(self._own)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        for number, batch in enumerate(self._loader):
            if number in self._own:
                yield batch
            else:
                self._pass_over(batch)


class OwnRankings(OwnBatches, FullSortEvalDataLoader):  # type: ignore[misc,unused-ignore]
    """The same for full ranking, which RecBole's trainer tells by the loader's class."""


def own_batches(loader: Any, pass_over: Callable[[Any], None]) -> Any:
    """Return a view of an evaluation's loader with this process's batches; alone, the loader."""
    if size() == 1 or not loader:
        return loader
    full = isinstance(loader, FullSortEvalDataLoader)
    return (OwnRankings if full else OwnBatches)(loader, pass_over)


def of_all(collected: Any) -> Any:
    """Return what all processes collected of samples, in the order of one process.

    Args:
        collected: RecBole's ``DataStruct``; what it holds of samples is exchanged in place.
    """
    if size() == 1:
        return collected
    own = {
        name: (str(collected.get(name).dtype).split(".")[1], list(collected.get(name).shape[1:]))
        for name in _OF_SAMPLES
        if name in collected
    }
    forms: dict[str, Any] = {}
    for text in texts(json.dumps(own)):
        forms.update(json.loads(text))
    for name in (each for each in _OF_SAMPLES if each in forms):
        kind, shape = forms[name]
        empty = torch.empty((0, *shape), dtype=getattr(torch, kind))
        collected.set(name, gathered_rows(collected.get(name) if name in collected else empty))
    return collected


class EvaluatorOfAll:
    """RecBole's evaluator, given what all processes collected.

    Args:
        evaluator: RecBole's own.
    """

    def __init__(self, evaluator: Any) -> None:
        self._evaluator = evaluator

    def evaluate(self, collected: Any) -> Any:
        """Return the metrics of all samples."""
        return self._evaluator.evaluate(of_all(collected))
