"""When a share of noise counts, and when training begins again with it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recbole_atjt import assemble
from recbole_atjt.config import DenoisingConfig
from recbole_atjt.weighting.settling import SettledShare


def learned(error: float | None, *shares: float, cap: float = 0.6) -> list[tuple[float, bool]]:
    """Return what weights use after each estimate, and whether training begins again there."""
    settled, found = SettledShare(0.5, cap), []
    of = None if error is None else torch.tensor(error).double()
    for share in shares:
        settled.begins_again = False
        estimate = torch.tensor(share).double()
        if settled.counts(estimate):
            settled.learn(estimate, of)
        found.append((round(float(settled.value), 6), settled.begins_again))
    return found


def test_a_share_that_comes_down_to_nothing_is_never_used() -> None:
    assert learned(0.006, 0.9, 0.26, 0.08, 0.03, 0.0, 0.0) == [(0.0, False)] * 6


def test_training_begins_again_once_when_the_share_has_stopped_falling() -> None:
    found = learned(0.006, 0.9, 0.59, 0.38, 0.31, 0.29, 0.35, 0.28)
    assert found == [
        (0.0, False),
        (0.0, False),
        (0.0, False),
        (0.31, True),  # less than a third of it less, and less than half of .31
        (0.29, False),
        (0.29, False),  # a model that begins knows less: its estimate does not count
        (0.28, False),
    ]


def test_a_share_that_may_be_none_is_never_used() -> None:
    assert learned(0.006, 0.9, 0.26, 0.06, 0.049, 0.048, 0.048) == [(0.0, False)] * 6
    assert learned(0.006, 0.9, 0.26, 0.06, 0.051)[3] == (0.051, True)


def test_a_share_at_the_cap_says_nothing() -> None:
    assert learned(0.006, 0.9, 0.88, 0.87) == [(0.0, False)] * 3
    assert learned(0.006, 0.9, 0.88, 0.87, cap=0.95)[:2] == [(0.0, False), (0.88, True)]


def test_a_change_within_two_standard_errors_is_none() -> None:
    assert learned(0.015, 0.08, 0.052)[1] == (0.052, True)
    assert learned(0.005, 0.08, 0.052)[1] == (0.0, False)


def test_a_share_that_falls_as_fast_as_ever_has_not_settled() -> None:
    """A model that learns slowly takes less than a third of it away in each epoch."""
    found = learned(0.006, 0.9, 0.8, 0.58, 0.46, 0.33, 0.26)
    assert found == [(0.0, False)] * 5 + [(0.26, True)]


def test_a_share_has_settled_one_epoch_after_the_cap_at_the_earliest() -> None:
    assert learned(0.006, 0.9, 0.62, 0.58, 0.55) == [(0.0, False)] * 3 + [(0.55, True)]


def test_a_share_within_two_standard_errors_of_0_is_none() -> None:
    assert learned(0.03, 0.05, 0.05) == [(0.0, False)] * 2


def test_without_a_test_weights_use_what_two_epochs_agree_upon() -> None:
    found = learned(None, 0.55, 0.5, 0.45, 0.48, 0.2, 0.7)
    assert [round(value, 6) for value, _ in found] == [0.1, 0.45, 0.4, 0.45, 0.0, 0.0]
    assert not any(again for _, again in found)


def test_of_held_out_pairs_the_last_share_is_used_if_it_is_more_than_chance() -> None:
    for share, used in ((0.25, 0.25), (0.9, 0.625), (0.049, 0.0), (0.0, 0.0)):
        settled = SettledShare(0.5, 0.625)
        settled.take(torch.tensor(0.3).double(), last=False)
        assert (float(settled.value), settled.begins_again) == (0.0, False)
        settled.take(torch.tensor(share).double(), last=True)
        assert (float(settled.value), settled.begins_again) == (used, True)


def test_a_known_share_is_used_whatever_is_estimated() -> None:
    settled = SettledShare(0.5, 0.6)
    settled.give(0.2)
    settled.learn(torch.tensor(0.4).double(), torch.tensor(0.01).double())
    settled.learn(torch.tensor(0.4).double(), torch.tensor(0.01).double())
    assert float(settled.value) == 0.2
    assert not settled.begins_again


_SMALL = {
    "train_batch_size": 256,
    "show_progress": False,
    "user_inter_num_interval": "[20,40]",
    "embedding_size": 16,
    "hidden_size": 32,
    "MAX_ITEM_LIST_LENGTH": 10,
    "epochs": 4,
    "stopping_step": 9,
    "weighting": "channel",
    "learning_rate": 0.005,
}


def train(tmp_path: Any, begins: list[int], **keys: Any) -> tuple[Any, list[dict[str, Any]]]:
    """Train; after the epochs of ``begins`` the strategy asks for another beginning."""
    ready = assemble(DenoisingConfig("GRU4Rec", "ml-100k", None, {**_SMALL, **keys}), tmp_path)
    starts: list[dict[str, Any]] = []
    weighting, start, end = ready.model.weighting, ready.model.start_epoch, None
    end = weighting.end_epoch

    def start_epoch(epoch: int) -> None:
        state = ready.model.recommender.state_dict()
        starts.append({name: value.clone() for name, value in state.items()})
        start(epoch)

    def end_epoch(epoch: int) -> None:
        end(epoch)
        weighting.mixture.settled.begins_again = epoch in begins

    ready.model.start_epoch, weighting.end_epoch = start_epoch, end_epoch
    ready.trainer.fit(ready.train_data, ready.valid_data, verbose=False)
    return ready.trainer, starts


def test_all_of_a_training_begins_again(tmp_path: Any) -> None:
    """Parameters, optimiser, random numbers, order of batches, patience and the limit of epochs."""
    trainer, starts = train(tmp_path, [1])
    assert len(starts) == 2 + 4
    for before, after in zip(starts[:2], starts[2:4]):
        for name, value in before.items():
            assert torch.equal(after[name], value)
    assert any(not torch.equal(starts[1][name], value) for name, value in starts[0].items())
    losses = list(trainer.train_loss_dict.values())
    assert losses[:2] == losses[2:4]
    scores = [epoch["valid"] for epoch in trainer.progress]
    assert scores[:2] == scores[2:4]
    steps = [state["step"] for state in trainer.optimizer.state.values()]
    assert {float(step) for step in steps} == {4.0 * len(trainer.loader)}


def test_what_was_best_before_is_none(tmp_path: Any) -> None:
    trainer, _ = train(tmp_path, [], epochs=2)
    assert trainer.best_epoch >= 0
    trainer._begin_again(2)
    assert (trainer.best_epoch, trainer.cur_step, trainer.epochs) == (-1, 0, 4)
    assert trainer.best_valid_score == float("-inf")


def test_it_begins_again_before_an_epoch_that_plain_training_would_validate_like(
    tmp_path: Any,
) -> None:
    """With a validation every other epoch, a beginning after the first waits for the second."""
    trainer, starts = train(tmp_path, [0], eval_step=2)
    assert len(starts) == 2 + 4
    assert [epoch["epoch"] for epoch in trainer.progress if "valid" in epoch] == [1, 3, 5]
    for name, value in starts[0].items():
        assert torch.equal(starts[2][name], value)


def test_it_begins_again_where_its_last_epoch_has_asked_for_it(tmp_path: Any) -> None:
    trainer, starts = train(tmp_path, [3])
    assert len(starts) == 4 + 4
    assert trainer.epoch == 7


def test_it_is_validated_like_plain_training_wherever_it_begins_again(tmp_path: Any) -> None:
    trainer, _ = train(tmp_path, [2], epochs=3, eval_step=2)
    assert trainer.begun == 4
    assert [epoch["epoch"] for epoch in trainer.progress] == [0, 1, 2, 4, 5, 6]
    assert [epoch["epoch"] for epoch in trainer.progress if "valid" in epoch] == [1, 5]


def test_it_begins_again_once(tmp_path: Any) -> None:
    trainer, starts = train(tmp_path, [0, 1, 2, 3, 4])
    assert (trainer.begun, len(starts)) == (1, 1 + 4)


@pytest.mark.parametrize("weighting", ["channel", "atjt"])
def test_planted_noise_is_found_and_training_begins_again(weighting: str, tmp_path: Any) -> None:
    keys = {"weighting": weighting, "plant": "clickbait:0.4", "user_inter_num_interval": "[20,60]"}
    keys |= {"epochs": 14, "stopping_step": 14, "train_batch_size": 128, "learning_rate": 0.01}
    ready = assemble(DenoisingConfig("GRU4Rec", "ml-100k", None, {**_SMALL, **keys}), tmp_path)
    ready.trainer.fit(ready.train_data, ready.valid_data, verbose=False)
    used = [epoch["weighted_share"] for epoch in ready.trainer.history]
    assert used[0] == 0.0
    assert 0.25 < used[-1] < 0.5
    weights = [epoch["mean_weight"] for epoch in ready.trainer.history]
    first = next(epoch for epoch, share in enumerate(used) if share > 0)
    assert weights[: first + 1] == [1.0] * (first + 1)
    assert max(weights[first + 1 :]) < 0.9
