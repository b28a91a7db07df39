"""Where a strategy finds no noise, training is plain training, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import recbole_atjt
from tests import pairs
from tests.runs import Trained, captured_trainers, settings, train, train_with_recbole
from tests.tiers import fast

NEGATIVES = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 2}}
LIKELIHOOD = {"atjt_evidence": "likelihood"}
#: What finds nothing.
NOTHING: dict[str, dict[str, Any]] = {
    "channel": {"channel_share": 0, "channel_learn": False},
    "atjt": {**LIKELIHOOD, "atjt_noise_rate": 0},
}
HEADS: dict[str, tuple[str, dict[str, Any]]] = {
    "CE": ("GRU4Rec", {}),
    "CE, attention": ("NARM", {}),
    "BPR": ("GRU4Rec", {"loss_type": "BPR", **NEGATIVES}),
    "BPR, no scores of all items": ("Caser", {"loss_type": "BPR", **NEGATIVES}),
    "BCE": ("GRU4Rec", {"loss_type": "BCE", **NEGATIVES}),
    "BCE, a transformer": ("SASRec", {"loss_type": "BCE", **NEGATIVES}),
    "labels": ("WideDeep", NEGATIVES),
    "labels, batch normalisation": ("DIN", {}),
    "probabilities": ("DCNV2", {}),
    "fast dropout": ("GRU4Rec", {"fast_dropout": True}),
}


def without_fast_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let weighted transformers train with RecBole's own layers, as plain ones do."""
    for name in ("speed_up_gelu", "speed_up_last_layer"):
        monkeypatch.setattr(f"recbole_atjt.training.recommender.{name}", lambda _: 0)


def parameters(model: str, weighting: str, **keys: Any) -> dict[str, torch.Tensor]:
    """Return the parameters that a training ends with."""
    final: dict[str, torch.Tensor] = train(model, weighting, **keys)[1].final
    return final


@pytest.mark.parametrize("head", fast(HEADS, ["CE", "BPR", "labels"]))
@pytest.mark.parametrize("weighting", NOTHING)
def test_without_noise_parameters_are_those_of_plain_training(
    weighting: str, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_fast_layers(monkeypatch)
    model, keys = HEADS[head]
    plain = parameters(model, "none", **keys)
    found = parameters(model, weighting, **keys, **NOTHING[weighting])
    assert plain.keys() == found.keys()
    for name, value in plain.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize("model", fast(pairs.MODELS, ["TransRec"]))
def test_every_model_is_trained_as_plain_training_trains_it(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_fast_layers(monkeypatch)
    final = {}
    for weighting in ("none", *NOTHING):
        keys = {**pairs.settings_of(model), "epochs": 2, **NOTHING.get(weighting, {})}
        with captured_trainers() as found:
            recbole_atjt.run(model, "tiny", weighting, 7, config_dict=keys, output_dir=weighting)
        final[weighting] = found[-1].final
    plain = final.pop("none")
    for weighting, ours in final.items():
        for name, value in plain.items():
            alike = torch.equal(ours[name], value)
            if model == "BERT4Rec":  # its adapter rounds otherwise
                alike = torch.allclose(ours[name], value, atol=1e-3)
            assert alike, f"{weighting}: {name}"


def test_losses_and_metrics_are_recboles_own() -> None:
    expected: Trained = train_with_recbole("GRU4Rec", settings(train_neg_sample_args=None))
    run, trainer = train("GRU4Rec", "channel", **NOTHING["channel"])
    assert trainer.train_loss_dict == pytest.approx(expected.losses, rel=1e-6)
    assert run.valid == expected.valid
    assert run.test == expected.test


@pytest.mark.parametrize("weighting", NOTHING)
def test_faster_transformers_change_rounding_only(weighting: str) -> None:
    plain = parameters("SASRec", "none")
    found = parameters("SASRec", weighting, **NOTHING[weighting])
    for name, value in plain.items():
        assert torch.allclose(found[name], value, atol=2e-3), name


@pytest.mark.slow
def test_workers_draw_as_plain_trainings_do() -> None:
    keys = {"loss_type": "BPR", **NEGATIVES, "worker": 2}
    plain = parameters("GRU4Rec", "none", **keys)
    found = parameters("GRU4Rec", "channel", **keys, **NOTHING["channel"])
    assert all(torch.equal(found[name], value) for name, value in plain.items())


@pytest.mark.parametrize("weighting", NOTHING)
def test_a_share_makes_another_training(weighting: str) -> None:
    keys = {"channel_share": 0.3, "channel_learn": False, **LIKELIHOOD, "atjt_noise_rate": 0.3}
    own = {key: value for key, value in keys.items() if key.startswith(weighting)}
    plain, found = parameters("GRU4Rec", "none"), parameters("GRU4Rec", weighting, **own)
    assert not any(torch.equal(found[name], value) for name, value in plain.items())
