"""Out of sample is out of sample: no click of a user has a part in what judges it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from recbole_atjt import DenoisingConfig
from recbole_atjt.assembly import assemble_on
from recbole_atjt.errors import UsageError
from recbole_atjt.scoring import judging
from recbole_atjt.scoring.folds import Fold, deal, held_out_fold, in_sample_fold
from recbole_atjt.scoring.judging import Judge, JudgingTrainer, Tally, train_fold, with_share
from recbole_atjt.scoring.scored import score_interactions
from recbole_atjt.scoring.users import reads_users
from recbole_atjt.training.trainer import DenoisingTrainer
from tests.models import build
from tests.runs import settings
from tests.scores import clicks, config_of, parts_of, write_inter


def folds_of(config: Any, groups: int = 2) -> tuple[list[Any], list[Fold]]:
    dataset, parts = parts_of(config)
    group_of = deal(parts[0], groups, config["seed"])
    folds = [held_out_fold(config, dataset, parts, group_of, n) for n in range(groups)]
    return parts, folds


def users_of(part: Any) -> set[int]:
    return set(part.inter_feat[part.uid_field].tolist())


@pytest.mark.parametrize("groups", [2, 3])
@pytest.mark.parametrize("model", ["GRU4Rec", "DIN"])
def test_nobody_is_trained_or_validated_on_who_is_judged(groups: int, model: str) -> None:
    write_inter("plain", clicks())
    parts, folds = folds_of(config_of("plain", model), groups)
    judged = torch.cat([fold.judged for fold in folds])
    assert sorted(judged.tolist()) == list(range(len(parts[0])))  # each once
    for fold in folds:
        held = set(parts[0].inter_feat["user_id"][fold.judged].tolist())
        assert users_of(fold.batches._dataset) == held
        assert users_of(fold.validated._dataset).isdisjoint(held)
        for loader in fold.loaders:
            assert users_of(loader._dataset).isdisjoint(held)
        assert users_of(fold.loaders[0]._dataset) | held == users_of(parts[0])


def judged_models(name: str, **changes: Any) -> tuple[Any, list[dict[str, Any]], Tally, list[Any]]:
    config = config_of(name, epochs=3, **changes)
    parts, folds = folds_of(config)
    tally = Tally(len(parts[0]))
    states = []
    for fold in folds:
        trainer = train_fold(config, fold, tally, False, f"own/{fold.number}").trainer
        state = {**trainer.bare_model.state_dict(), **trainer.weighting.state_dict()}
        states.append(copy.deepcopy(state))
    return parts, states, tally, folds


@pytest.mark.parametrize("weighting", ["channel", "atjt"])
def test_a_users_clicks_do_not_change_what_judges_them(weighting: str) -> None:
    rows = clicks(length=12)
    write_inter("before", rows)
    changed = copy.deepcopy(rows)
    own = [place for place, row in enumerate(rows) if row[0] == "u07" and place >= 11]
    first, second = own[2], own[5]  # two training clicks change places
    assert changed[first][1] != changed[second][1]
    changed[first][1], changed[second][1] = rows[second][1], rows[first][1]
    write_inter("after", changed)
    keys = {"weighting": weighting, "atjt_evidence": "likelihood"}
    parts, before, scores, folds = judged_models("before", **keys)
    _, after, others, _ = judged_models("after", **keys)
    user = parts[0].token2id("user_id", "u07")
    users = parts[0].inter_feat["user_id"]
    (judge,) = [fold.number for fold in folds if user in users[fold.judged].tolist()]
    assert all(torch.equal(after[judge][key], value) for key, value in before[judge].items())
    other = 1 - judge  # and where he is trained on, his clicks matter
    assert any(not torch.equal(after[other][key], value) for key, value in before[other].items())
    together = np.isin(np.arange(len(users)), folds[judge].judged) & (users != user).numpy()
    np.testing.assert_allclose(others.mean()[:, together], scores.mean()[:, together], rtol=1e-5)
    own_rows = (users == user).numpy()
    assert not np.allclose(others.mean()[:, own_rows], scores.mean()[:, own_rows], rtol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"loss_type": "BPR"}])
def test_judging_does_not_change_the_training(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epochs that are judged are bit for bit those that are not."""
    write_inter("plain", clicks())
    config = config_of("plain", epochs=3, stopping_step=50, weighting="atjt", **changes)
    dataset, parts = parts_of(config)
    states = []
    for judged in (True, False):
        fold = in_sample_fold(config, dataset, parts)
        chosen = JudgingTrainer if judged else DenoisingTrainer
        ready = assemble_on(config, fold.loaders, lambda model, chosen=chosen: chosen)
        if judged:
            assert isinstance(ready.trainer, JudgingTrainer)
            ready.trainer.judge = Judge(fold, ready.trainer, Tally(len(parts[0])), True)
        ready.trainer.fit(ready.train_data, ready.valid_data, saved=False, verbose=False)
        states.append({**ready.trainer.bare_model.state_dict(), **ready.trainer.train_loss_dict})
    assert all(
        torch.equal(torch.as_tensor(value), torch.as_tensor(states[1][key]))
        for key, value in states[0].items()
    )


@pytest.mark.parametrize(("least", "last"), [(1, 3), (2, 3), (4, 4), (9, 5)])
def test_scores_are_means_up_to_the_least_loss_on_validation(
    least: int, last: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_inter("plain", clicks())
    config = config_of("plain", epochs=6, stopping_step=2, channel_warmup=1)
    dataset, parts = parts_of(config)
    said: dict[int, np.ndarray] = {}
    losses = iter([5.0, 3.0, 2.5, 4.0, 2.6])
    monkeypatch.setattr(judging, "LEAST_EPOCHS", least)
    plain = Judge._said

    def noting(self: Judge, batches: Any, groups: list[int], rows: Any) -> Any:
        found = plain(self, batches, groups, rows)
        if batches is self._batches:
            epoch = said.setdefault(self.trainer.epoch, np.zeros((3, len(parts[0]))))
            epoch[:, rows.numpy()] = found
        elif not int(rows[0]):  # validation goes by these losses instead
            found[2] = next(losses)
            self.now = found[2][0]  # type: ignore[attr-defined]
        else:
            found[2] = self.now  # type: ignore[attr-defined]
        return found

    monkeypatch.setattr(judging.Judge, "_said", noting)
    tally = Tally(len(parts[0]))
    train_fold(config, in_sample_fold(config, dataset, parts), tally, True, "own")
    assert sorted(said) == [1, 2, 3, 4, 5]  # epoch 0 warms up
    assert set(tally.epochs.tolist()) == {last}
    mean = sum(said[epoch] for epoch in range(1, last + 1)) / last
    np.testing.assert_allclose(tally.mean(), mean)
    share = said[5][0].mean()  # that of the last epoch
    assert tally.noise.mean() == pytest.approx(share)
    odds = tally.noise / (1 - tally.noise) * (1 - mean[0]) / mean[0]
    np.testing.assert_allclose(odds, odds[0])


@pytest.mark.parametrize(
    ("probability", "share", "expected"),
    [
        ([0.5, 0.5], 0.2, [0.2, 0.2]),
        ([0.8, 0.2], 0.5, [0.8, 0.2]),
        ([0.5, 0.5, 0.0, 0.0], 0.4, [0.8, 0.8, 0.0, 0.0]),
        # odds 4 and 1 become 1 and 1/4
        ([0.8, 0.5], 0.35, [0.5, 0.2]),
        ([0.9, 0.3, 0.0], 0.0, [0, 0, 0]),
        ([1.0, 0.5], 0.6, [1.0, 0.2]),
        ([1.0, 0.0], 0.1, [1.0, 0.0]),  # nothing can be done
        ([0.0, 0.0], 0.3, [0.0, 0.0]),
    ],
)
def test_the_share_of_the_last_epoch_by_hand(
    probability: list[float], share: float, expected: list[float]
) -> None:
    found = with_share(np.array(probability), share)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_warm_up_that_never_ends_is_refused() -> None:
    write_inter("plain", clicks())
    config = config_of("plain", epochs=2, channel_warmup=2)
    message = r"epochs=2 ends before weighting=channel says anything: its first 2 epochs are its"
    with pytest.raises(UsageError, match=message):
        score_interactions(config)


US = {"split": {"US": [0.7, 0.1, 0.2]}, "order": "TO", "group_by": "user", "mode": "full"}


@pytest.mark.parametrize(
    ("changes", "epochs"),
    [
        ({"eval_step": 0}, {3}),  # nothing is validated: all epochs count
        ({"loss_type": "BCE"}, {1, 2, 3}),
        ({"loss_type": "BPR", "weighting": "atjt", "atjt_evidence": "likelihood"}, {1, 2, 3}),
        ({"eval_args": US}, {1, 2, 3}),
        ({"weighting": "autodenoise_s"}, {1, 2, 3, 4}),  # it learns from the metric, as ever
        ({"eval_step": 2}, {1, 3}),
        ({"eval_args": {**US, "split": {"RS": [0.8, 0, 0.2]}}}, {3}),
    ],
)
def test_other_trainings(changes: dict[str, Any], epochs: set[int]) -> None:
    write_inter("plain", clicks())
    found = score_interactions(config_of("plain", epochs=4, **changes))
    assert found.table["score"].between(0, 1).all()
    assert found.table["score"].nunique() > 20
    assert set(found.table["epochs"]) <= epochs
    assert (found.table["epochs"] > 0).all()


READ = {
    "GRU4Rec": False,
    "SASRec": False,
    "NARM": False,
    "STAMP": False,
    "BERT4Rec": False,
    "CORE": False,
    "FPMC": True,
    "HGN": True,
    "Caser": True,
    "SHAN": True,
    "TransRec": True,
    "WideDeep": True,
    "DIN": True,
    "BPR": True,
    "LightGCN": True,
}


@pytest.mark.parametrize(("model", "reads"), READ.items())
def test_models_that_know_users_are_told(model: str, reads: bool) -> None:
    case = build(model)
    before = copy.deepcopy(case.model.state_dict())
    state = torch.get_rng_state()
    assert reads_users(case.model, case.batch, "user_id") == reads
    assert case.model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(case.model.state_dict()[k], v) for k, v in before.items())


@pytest.mark.parametrize("model", ["FPMC", "WideDeep", "BPR"])
def test_models_that_know_users_judge_in_sample_alone(model: str) -> None:
    write_inter("plain", clicks())
    config = config_of("plain", model, epochs=2, plant="clickbait:0.3", plant_items=3)
    with pytest.raises(UsageError, match=f"model={model} knows users by their ids.*--in_sample"):
        score_interactions(config)
    scored = score_interactions(config, in_sample=True)
    assert scored.table["score"].between(0, 1).all()
    assert scored.groups == 0
    assert scored.first_clicks == (0 if model == "BPR" else 12)


def test_a_model_that_trains_on_users_is_refused() -> None:
    write_inter("plain", clicks())
    config = config_of("plain", "MultiVAE", epochs=2)
    with pytest.raises(UsageError, match="model=MultiVAE trains on users, not on single clicks"):
        score_interactions(config, in_sample=True)


def test_each_fold_has_a_pretrained_model_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    write_inter("plain", clicks())
    folders = []

    def noting(config: Any, *args: Any) -> Any:
        folders.append(config["checkpoint_dir"])
        raise UsageError("far enough")

    monkeypatch.setattr(judging, "assemble_on", noting)
    _, folds = folds_of(config_of("plain"))
    for fold in folds:
        with pytest.raises(UsageError):
            train_fold(config_of("plain"), fold, Tally(9), False, f"own/{fold.number}")
    assert len(set(folders)) == 2


@pytest.mark.slow
def test_a_model_with_a_pretraining_stage() -> None:
    keys = settings(epochs=2, pretrain_epochs=1, weighting="channel", train_neg_sample_args=None)
    config = DenoisingConfig("S3Rec", "tiny", config_dict=keys)
    assert score_interactions(config).table["score"].between(0, 1).all()
