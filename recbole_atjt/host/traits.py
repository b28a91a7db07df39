"""What RecBole's models do each in their own way: one row a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recbole.utils import ModelType


@dataclass(frozen=True)
class Traits:
    """How a model differs from RecBole's usual one.

    Args:
        predicts_probabilities: ``predict`` gives probabilities, not logits.
        ranks_by_logits: ``full_sort_predict`` gives logits all the same.
        softmax_over_items: It writes a softmax over items out instead of keeping a criterion.
        classifies_labels: Its softmax is over labels, not over items.
        trains_on_labels: A sequential model that trains on labels with BCE as it is.
        scores_single_items: ``predict`` works; where it does not, it is an assertion that fails.
        sequence_representation: What gives the representation of a sequence, as ``forward`` does
            elsewhere.
        target_embedding: Name of the embedding of items, as ``item_embedding`` is elsewhere.
        token_tables: Where a context-aware model keeps the tables of its token fields.
        needs_two_samples: It fails on a training batch of one sample.
        is_pretrained: It has a pretraining stage.
        reads: What its dataset offers beside histories: ``negatives`` or ``graph``.
    """

    predicts_probabilities: bool = False
    ranks_by_logits: bool = False
    softmax_over_items: bool = False
    classifies_labels: bool = False
    trains_on_labels: bool = False
    scores_single_items: bool = True
    sequence_representation: str = ""
    target_embedding: str = ""
    token_tables: str = ""
    needs_two_samples: bool = False
    is_pretrained: bool = False
    reads: str = ""


_USUAL = Traits()

TRAITS = {
    "DCN": Traits(needs_two_samples=True),
    "DCNV2": Traits(needs_two_samples=True),
    "DIEN": Traits(
        predicts_probabilities=True,
        trains_on_labels=True,
        sequence_representation="interest_evolution",
        needs_two_samples=True,
        reads="negatives",
    ),
    "DIN": Traits(
        predicts_probabilities=True,
        trains_on_labels=True,
        sequence_representation="attention",
        needs_two_samples=True,
    ),
    "DMF": Traits(predicts_probabilities=True),
    "DSSM": Traits(needs_two_samples=True),
    "FFM": Traits(token_tables="ffm"),
    "FISM": Traits(predicts_probabilities=True, ranks_by_logits=True),
    "FPMC": Traits(sequence_representation="UI_emb", target_embedding="IU_emb"),
    "GCMC": Traits(classifies_labels=True),
    "GRU4RecCPR": Traits(predicts_probabilities=True, scores_single_items=False),
    "GRU4RecKG": Traits(reads="graph"),
    "KD_DAGFM": Traits(needs_two_samples=True),
    "KSR": Traits(reads="graph"),
    "LR": Traits(token_tables="first_order_linear"),
    "MacridVAE": Traits(softmax_over_items=True),
    "MultiDAE": Traits(softmax_over_items=True),
    "MultiVAE": Traits(softmax_over_items=True),
    "NAIS": Traits(predicts_probabilities=True),
    "NFM": Traits(needs_two_samples=True),
    "NNCF": Traits(predicts_probabilities=True),
    "NeuMF": Traits(predicts_probabilities=True),
    "RepeatNet": Traits(predicts_probabilities=True, sequence_representation="gather_indexes"),
    "S3Rec": Traits(is_pretrained=True),
    "SASRecCPR": Traits(predicts_probabilities=True, scores_single_items=False),
}
"""Rows by the name of a model's class; all context-aware models predict probabilities."""


def traits_of(model: Any) -> Traits:
    """Return the row of a model, or of the nearest of its base classes that has one.

    Args:
        model: A model, its class, or a wrapper that holds one as ``recommender``.
    """
    bare = getattr(model, "recommender", model)
    kind = bare if isinstance(bare, type) else type(bare)
    return next((TRAITS[base.__name__] for base in kind.__mro__ if base.__name__ in TRAITS), _USUAL)


def gives_probabilities(model: Any) -> bool:
    """Tell whether a model's ``predict`` gives probabilities rather than logits.

    A model from outside RecBole says so with ``predicts_probabilities = True``.

    Args:
        model: A RecBole model, a subclass of one, or a wrapper that holds one as ``recommender``.
    """
    bare = getattr(model, "recommender", model)
    if getattr(bare, "type", None) == ModelType.CONTEXT:
        return True
    named = getattr(bare, "predicts_probabilities", None)
    return traits_of(bare).predicts_probabilities if named is None else bool(named)
