"""T-CE and R-CE beside numbers that DenoisingRec's own two loss functions gave for these scores.

The repository is WenjieWWJ/DenoisingRec at commit 451779a, the files are ``T_CE/loss.py`` and
``R_CE/loss.py``, run in 64 bits. A drop rate or an exponent of 0 is the plain mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from recbole_atjt.seam.reduction import weighted_mean
from recbole_atjt.weighting.base import Evidence, Weighting
from recbole_atjt.weighting.loss_based import truncated
from recbole_atjt.weighting.table import build_weighting


@dataclass(frozen=True)
class Batch:
    """Scores, labels, and what the originals made of them.

    Args:
        scores: ``[B]``, logits.
        labels: ``[B]``, 1 or 0.
        truncated: T-CE's loss by drop rate.
        reweighted: R-CE's loss by exponent.
        truncated_gradient: Of T-CE's loss at a drop rate of 0.2, ``[B]``.
        reweighted_gradient: Of R-CE's loss at an exponent of 0.25, ``[B]``.
    """

    scores: list[float]
    labels: list[int]
    truncated: dict[float, float]
    reweighted: dict[float, float]
    truncated_gradient: list[float]
    reweighted_gradient: list[float]


BATCHES = {
    "mixed": Batch(
        scores=[1.98, 0.8, 0.19, 1.86, -1.36, -0.5, -4.57, 1.15, -3.08, -1.69],
        labels=[1, 1, 1, 1, 1, 0, 0, 0, 1, 0],
        truncated={
            0.0: 0.80399612064253,
            0.1: 0.5461140881243948,
            0.2: 0.4158210958891355,
            0.3: 0.38913083683063876,
        },
        reweighted={
            0.0: 0.80399612064253,
            0.1: 0.6701403961596343,
            0.2: 0.565100255776241,
            0.25: 0.5211568859001715,
            1.0: 0.2077456408692701,
        },
        truncated_gradient=[
            -0.015164854736,
            -0.038753189859,
            -0.056580297732,
            -0.016837881494,
            0.0,
            0.0471925836,
            0.001281471534,
            0.094938864619,
            0.0,
            0.019471980015,
        ],
        reweighted_gradient=[
            -0.011745893817,
            -0.028255675881,
            -0.038933460554,
            -0.01299178212,
            -0.053495506166,
            0.033534473042,
            0.001022539595,
            0.053187289946,
            -0.043772342552,
            0.014931881899,
        ],
    ),
    "mostly clicked": Batch(
        scores=[1.18, -0.67, -0.96, -3.62, 3.13, -1.9, 1.72, 1.62, -1.18, -3.13, 3.96, 2.24],
        labels=[1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1],
        truncated={
            0.0: 0.8600040458031345,
            0.1: 0.4634231492837174,
            0.2: 0.35403153499773465,
            0.3: 0.23776327697305288,
        },
        reweighted={
            0.0: 0.8600040458031345,
            0.1: 0.6961700089285472,
            0.2: 0.571214104666692,
            0.25: 0.5199659082104432,
            1.0: 0.17586649177855318,
        },
        truncated_gradient=[
            -0.026116910693,
            -0.073500351023,
            -0.080346867236,
            0.0,
            -0.004654067451,
            0.0,
            -0.01687457374,
            -0.018356096688,
            0.0,
            0.004654067451,
            -0.002078501106,
            -0.010690615746,
        ],
        reweighted_gradient=[
            -0.01831854678,
            -0.042047417925,
            -0.043712173373,
            -0.032616254097,
            -0.003453410175,
            -0.043537175457,
            -0.01214533594,
            -0.013159414802,
            -0.044385552923,
            0.003453410175,
            -0.001551533842,
            -0.0078177216,
        ],
    ),
    "clicked alone": Batch(
        scores=[2.41, 0.52, 0.27, -1.84, 0.14, -4.1, 1.01, 3.03, -4.31],
        labels=[1, 1, 1, 1, 1, 1, 1, 1, 1],
        truncated={
            0.0: 1.3922618268112252,
            0.1: 1.0258765402268941,
            0.2: 0.5843679249374635,
            0.3: 0.35052924161661236,
        },
        reweighted={
            0.0: 1.3922618268112252,
            0.1: 1.0182926780331785,
            0.2: 0.7633500109119683,
            0.25: 0.6675267842919629,
            1.0: 0.18859180533179945,
        },
        truncated_gradient=[
            -0.011773331161,
            -0.053264604812,
            -0.061843870719,
            -0.123278386775,
            -0.06643672212,
            0.0,
            -0.03813997868,
            -0.006584118148,
            0.0,
        ],
        reweighted_gradient=[
            -0.008962241987,
            -0.036866907537,
            -0.041741278561,
            -0.058339574477,
            -0.044191688293,
            -0.039055536366,
            -0.027448268584,
            -0.005060927663,
            -0.037201554658,
        ],
    ),
}
#: One positive and four negatives: at the rates below two, three and four rows are to go.
FEW_SCORES, FEW_LABELS = [0.5, -1.0, 2.0, 0.1, 1.3], [1, 0, 0, 0, 0]
#: Drop rate: the original's loss, and the mean over the four negatives.
FEW = {
    0.3: (1.061528786211589, 1.1813987031169397),
    0.5: (1.2200948492805979, 1.1813987031169397),
    0.7: (0.3132616875182228, 1.1813987031169397),
}


def losses(scores: list[float], labels: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return scores that take a gradient, labels and BCE losses, ``[B]`` each."""
    score = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
    label = torch.tensor(labels, dtype=torch.float64)
    loss = functional.binary_cross_entropy_with_logits(score, label, reduction="none")
    return score, label, loss


def truncated_loss(scores: list[float], labels: list[int], rate: float) -> tuple[Tensor, Tensor]:
    """Return our T-CE loss and the scores' gradient."""
    score, label, loss = losses(scores, labels)
    found = weighted_mean(loss, truncated(loss.detach(), label, rate))
    return found.detach(), torch.autograd.grad(found, score)[0]


def reweighted_loss(scores: list[float], labels: list[int], beta: float) -> tuple[Tensor, Tensor]:
    """Return our R-CE loss and the scores' gradient."""
    score, label, loss = losses(scores, labels)
    built = build_weighting({"weighting": "r_ce", "r_ce_beta": beta}, torch.ones(5))
    assert isinstance(built, Weighting)
    rows = torch.ones(len(loss), dtype=torch.long)
    found = weighted_mean(loss, built(Evidence(loss, rows, rows, label=label)))
    return found.detach(), torch.autograd.grad(found, score)[0]


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_t_ce_gives_the_originals_losses(batch: Batch) -> None:
    for rate, expected in batch.truncated.items():
        loss, _ = truncated_loss(batch.scores, batch.labels, rate)
        assert loss.item() == pytest.approx(expected, abs=2e-7), rate
    _, gradient = truncated_loss(batch.scores, batch.labels, 0.2)
    assert gradient.tolist() == pytest.approx(batch.truncated_gradient, abs=2e-8)


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_r_ce_gives_the_originals_losses(batch: Batch) -> None:
    for beta, expected in batch.reweighted.items():
        loss, _ = reweighted_loss(batch.scores, batch.labels, beta)
        assert loss.item() == pytest.approx(expected, abs=1e-13), beta
    _, gradient = reweighted_loss(batch.scores, batch.labels, 0.25)
    assert gradient.tolist() == pytest.approx(batch.reweighted_gradient, abs=1e-12)


@pytest.mark.parametrize("rate", FEW)
def test_with_too_few_positives_the_original_drops_negatives_and_ours_does_not(rate: float) -> None:
    theirs, negatives = FEW[rate]
    loss, gradient = truncated_loss(FEW_SCORES, FEW_LABELS, rate)
    assert loss.item() == pytest.approx(negatives, abs=2e-7)
    assert abs(loss.item() - theirs) > 0.03
    assert [value != 0 for value in gradient.tolist()] == [label == 0 for label in FEW_LABELS]


def test_where_the_original_keeps_no_row_ours_keeps_one() -> None:
    # int((1 - 0.6) * 2) = 0 rows: the original's loss is not a number, the mean of none
    loss, _ = truncated_loss([1.0, -1.0], [1, 1], 0.6)
    assert loss.item() == pytest.approx(math.log1p(math.exp(-1)), abs=2e-7)
