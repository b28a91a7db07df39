"""Recommendations by token, from a checkpoint or an exported model alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

from recbole_atjt.checkpoint.catalogue import Catalogue
from recbole_atjt.errors import UsageError
from recbole_atjt.serving.exported import OnnxScorer, read_beside
from recbole_atjt.serving.inputs import InputMaker, checked_histories, signature_of
from recbole_atjt.serving.queries import Encoder, Query, Unknown
from recbole_atjt.serving.ranking import rank
from recbole_atjt.serving.rebuilding import rebuild
from recbole_atjt.serving.scorers import ModelScorer, Scorer
from recbole_atjt.settings.yaml_values import require_whole

#: Queries that are read and answered together.
TOGETHER = 1024


class Recommendation(NamedTuple):
    """A recommended item.

    Attributes:
        item: Its token.
        score: What the model gives it; models differ in what that means.
        title: Its title, empty where the data has none.
    """

    item: str
    score: float
    title: str


class Recommendations(list[list[Recommendation]]):
    """The answers to queries, in their order: the best item first, and nothing for one unknown.

    Attributes:
        unknown: What of the queries is not known.
    """

    def __init__(self, answers: Iterable[list[Recommendation]], unknown: Unknown) -> None:
        super().__init__(answers)
        self.unknown = unknown


class Recommender:
    """Recommends items by a trained model.

    ``Recommender.load(path)`` makes one; nothing of the training's data is needed.

    Args:
        scorer: Gives the scores.
        catalogue: Names, titles, clicks and features.
        model: Name of the model.
        dataset: Name of the dataset.
    """

    def __init__(self, scorer: Scorer, catalogue: Catalogue, model: str, dataset: str) -> None:
        self.model, self.dataset = model, dataset
        self.catalogue = catalogue
        self.signature = scorer.signature
        self._scorer = scorer
        self._maker = InputMaker(scorer.signature, catalogue)
        self._encoder = Encoder(catalogue, scorer.signature, model)

    @classmethod
    def load(cls, path: str | Path, model: Any = None) -> Recommender:
        """Read a model.

        Args:
            path: The checkpoint of a run's best model, or what ``export`` made of it for ONNX
                Runtime (``.onnx``, with its ``.onnx.safetensors`` beside it).
            model: The class of a model from outside, or ``module:Class``.

        Raises:
            UsageError: The file can't be read, or is of a model that can't serve.
        """
        if str(path).endswith(".pt2"):
            raise UsageError(
                f"{path} is a program of torch.export, which runs code when it is loaded: give the "
                "checkpoint or an .onnx file; torch.export.load reads it where you trust it"
            )
        if str(path).endswith(".onnx"):
            exported = OnnxScorer(path)
            said = exported.description
            return cls(exported, read_beside(path, said), said.model, said.dataset)
        found = rebuild(path, model)
        name, dataset = str(found.meta["model"]), str(found.meta["dataset"])
        signature = signature_of(found.model, found.config, found.catalogue)
        scorer = ModelScorer(found.model, signature, len(found.catalogue.items))
        return cls(scorer, found.catalogue, name, dataset)

    def recommend(
        self,
        histories: Sequence[Sequence[Any]] | None = None,
        k: int = 10,
        exclude_seen: bool = False,
        users: Sequence[Any] | None = None,
    ) -> Recommendations:
        """Return the k best items for each user, history, or pair of both.

        Unknown users and items are left out, with a line in the log for each kind.

        Args:
            histories: What was clicked, by token and the oldest first, a list for each query; by
                default what is known of the users.
            k: Most items of an answer.
            exclude_seen: Whether clicked items are left out: those of the history, and those known
                of the user.
            users: Tokens of users, one for each query.

        Raises:
            UsageError: The model can't answer such queries, or ``k`` is below 1.
        """
        queries = _queries(histories, users)
        unknown = Unknown()
        found = Recommendations(self.answers(queries, k, exclude_seen, unknown), unknown)
        for line in unknown.lines():
            getLogger().warning(line)
        return found

    def answers(
        self, queries: Iterable[Query], k: int, exclude_seen: bool, unknown: Unknown
    ) -> Iterator[list[Recommendation]]:
        """Yield the answer to each query, as queries come.

        Args:
            queries: The queries.
            k: Most items of an answer.
            exclude_seen: Whether clicked items are left out.
            unknown: Takes what is not known.

        Raises:
            UsageError: The model can't answer such queries, or ``k`` is below 1.
        """
        require_whole("k", k)
        rest, first = iter(queries), 1
        while chunk := list(islice(rest, TOGETHER)):
            encoded = self._encoder.encode(chunk, exclude_seen, unknown, first)
            known = [each for each in encoded if each is not None]
            n_items = len(self.catalogue.items)
            ranked = rank(self._scorer, self._maker, n_items, known, k)
            for each in encoded:
                yield [] if each is None else self._named(*next(ranked))
            first += len(chunk)

    def _named(self, items: Any, scores: Any) -> list[Recommendation]:
        tokens, titles = self.catalogue.items, self.catalogue.titles
        return [
            Recommendation(tokens[item], score, "" if titles is None else titles[item])
            for item, score in zip(items.tolist(), scores.tolist())
        ]


def _queries(histories: Sequence[Sequence[Any]] | None, users: Sequence[Any] | None) -> list[Query]:
    if histories is None and users is None:
        raise UsageError("recommend() needs histories, users or both")
    if isinstance(users, (str, bytes)):
        raise UsageError(f"users={users!r} is no list: write [{users!r}]")
    if histories is not None:
        checked_histories(histories)
    if histories is not None and users is not None and len(histories) != len(users):
        raise UsageError(
            f"{len(histories)} histories and {len(users)} users do not go together: one of each "
            "for a query"
        )
    count = len(users if histories is None else histories)  # type: ignore[arg-type]
    return [
        Query(
            None if users is None else str(users[number]),
            None if histories is None else tuple(map(str, histories[number])),
        )
        for number in range(count)
    ]
