"""Clicks that are left out of histories: windows, training, resume, evaluation and serving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_atjt import DenoisingConfig, DenoisingTrainer, Recommender, UsageError
from recbole_atjt.checkpoint.file import load_checkpoint
from recbole_atjt.data.history import HistoryField
from recbole_atjt.data.known import KnownClicks
from recbole_atjt.data.windows import WindowBase, WindowColumns, Windows, find_windows, pad
from recbole_atjt.training.masking import Masking, put_mask
from recbole_atjt.training.sharing import refuse_alone
from recbole_atjt.weighting import looking
from tests.planted import parts_of
from tests.runs import assemble, fit, settings, train
from tests.served import serve

# Users 1 (items 11 to 15) and 2 (items 21 to 23).
USERS = np.array([1, 1, 1, 1, 1, 2, 2, 2])
ITEMS = np.array([11, 12, 13, 14, 15, 21, 22, 23])
KNOWN = {"channel_learn": False, "channel_share": 0.5, "atjt_noise_rate": 0.5}
CHANNEL = {"weighting": "channel", "history_mask_below": 0.6, **KNOWN}
MASKED = {"history_mask_below": 0.6, "channel_warmup": 0, **KNOWN}
EARLY = {"weighting": "channel", **MASKED}  # whichever epoch is the best, it has a mask


def make_windows(users: np.ndarray, items: np.ndarray, max_length: int) -> Windows:
    columns = {"user": pad(torch.from_numpy(users)), "item": pad(torch.from_numpy(items))}
    histories = {"item_list": HistoryField(columns["item"], (max_length,), torch.int64)}
    base = WindowBase(columns, histories, "item_length", max_length)
    return Windows(WindowColumns(base, *find_windows(users, max_length)))


def leave_out(windows: Windows, rows: list[int]) -> None:
    base = windows.interaction.base
    users = base.columns["user"][:-1].numpy()
    kept = np.ones(len(users), dtype=bool)
    kept[rows] = False
    base.mask.keep(kept, users)


def histories(windows: Windows) -> list[list[int]]:
    batch = windows.materialize(slice(None))
    assert torch.equal(windows["item_list"][:], batch["item_list"])
    assert torch.equal(windows["item_length"], batch["item_length"])
    lengths = (batch["item_list"] != 0).sum(1)
    assert torch.equal(lengths, batch["item_length"])
    return [row[row != 0].tolist() for row in batch["item_list"]]


def test_hand_worked_histories() -> None:
    windows = make_windows(USERS, ITEMS, 2)
    assert histories(windows) == [[11], [11, 12], [12, 13], [13, 14], [21], [21, 22]]
    leave_out(windows, [2, 6])  # 13 and 22: those who follow reach further back
    assert histories(windows) == [[11], [11, 12], [11, 12], [12, 14], [21], [21]]
    assert windows["item_list"][3].tolist() == [12, 14]
    assert windows["item_list"][:, 0].tolist() == [11, 11, 11, 12, 21, 21]
    assert windows["item"].tolist() == [12, 13, 14, 15, 22, 23]  # targets stay
    leave_out(windows, [0, 1, 2, 3, 4])  # nothing is left of user 1: the click before the target
    assert histories(windows) == [[11], [12], [13], [14], [21], [21, 22]]
    windows.interaction.base.mask.clear()
    assert histories(windows) == [[11], [11, 12], [12, 13], [13, 14], [21], [21, 22]]


def test_the_example_of_the_documents() -> None:
    windows = make_windows(np.ones(6, dtype=int), np.array([1, 2, 3, 4, 5, 6]), 3)[[2, 3, 4]]
    assert histories(windows) == [[1, 2, 3], [2, 3, 4], [3, 4, 5]]
    leave_out(windows, [2])
    assert histories(windows) == [[1, 2], [1, 2, 4], [2, 4, 5]]


def test_all_that_share_a_base_follow_and_a_new_base_does_not() -> None:
    windows = make_windows(USERS, ITEMS, 2)
    part = windows[[2, 3]]
    leave_out(windows, [2])
    assert histories(part) == [[11, 12], [12, 14]]
    train_set, _, test_set = parts_of("SASRec", "insert:0.3")
    assert train_set.inter_feat.interaction.base is test_set.inter_feat.interaction.base
    assert train_set.inter_feat.interaction.base.mask.kept is None


@given(
    clicks=st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=30),
    max_length=st.integers(1, 5),
)
def test_as_a_loop_says(clicks: list[tuple[int, bool]], max_length: int) -> None:
    clicks = sorted(clicks, key=lambda click: click[0])
    users = np.array([user for user, _ in clicks])
    items = np.arange(1, len(users) + 1)
    windows = make_windows(users, items, max_length)
    leave_out(windows, [row for row, (_, kept) in enumerate(clicks) if not kept])
    expected = []
    for row, user in enumerate(users):
        before = [earlier for earlier in range(row) if users[earlier] == user]
        if before:
            kept = [earlier for earlier in before if clicks[earlier][1]] or before[-1:]
            expected.append([int(items[earlier]) for earlier in kept[-max_length:]])
    if expected:
        assert histories(windows) == expected


def test_users_have_their_last_click_at_least() -> None:
    left_out = np.array([False, True, False, True, True])
    known = KnownClicks(np.array([7, 8, 9, 5, 6]), np.array([0, 3, 2]), left_out)
    assert known.history_of(1).tolist() == [7, 9]
    assert known.history_of(2).tolist() == [6]
    assert known.of_user(1).tolist() == [7, 8, 9]


def same_training(one: DenoisingTrainer, other: DenoisingTrainer) -> None:
    assert one.train_loss_dict == other.train_loss_dict
    assert one.progress == other.progress
    for key, value in one.bare_model.state_dict().items():
        assert torch.equal(other.bare_model.state_dict()[key], value), key


@pytest.mark.parametrize("strategy", ["channel", "atjt"])
def test_a_threshold_that_leaves_out_nothing_changes_nothing(strategy: str) -> None:
    plain = fit(3, weighting=strategy)
    masked = fit(3, weighting=strategy, history_mask_below=1e-12)
    assert masked.history[-1]["masked_share"] == 0.0
    same_training(plain, masked)


def test_what_is_left_out_is_what_the_strategy_says() -> None:
    config, (train_data, _, test_data), model = assemble("SASRec", **CHANNEL)
    masking = Masking.of(config, train_data._dataset, model.weighting)
    assert masking is not None
    masking.start()
    columns = train_data._dataset.inter_feat.interaction
    rows = np.array([3, 1, 5])
    model.weighting.last_clean = torch.tensor([0.1, 0.6, 0.59])
    masking.note(rows)
    masking.close(0)  # the warm-up
    assert columns.base.mask.kept is None
    masking.close(1)
    assert np.flatnonzero(~columns.base.mask.kept).tolist() == sorted(columns.target[[3, 5]])
    masking.start()
    model.weighting.last_clean = torch.tensor([0.9])
    masking.note(np.array([5]))  # the others were not judged in this epoch
    masking.close(2)
    assert np.flatnonzero(~columns.base.mask.kept).tolist() == [int(columns.target[3])]
    assert test_data._dataset.inter_feat.interaction.base is columns.base


def test_clicks_of_batches_that_pass_are_held_for_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking.Looking, "every", lambda self, part=1.0: 3)
    said = []
    plain = Masking.close

    def close(masking: Masking, epoch: int) -> None:
        said.append(masking.in_epoch())
        plain(masking, epoch)

    monkeypatch.setattr(Masking, "close", close)
    trainer = fit(2, weighting="channel", channel_warmup=2, history_mask_below=0.2)
    assert [bool((each == 1.0).all()) for each in said] == [True, True]
    assert trainer.history[-1]["masked_share"] == 0.0


RESUMED = [CHANNEL, {**CHANNEL, "weighting": "atjt", "atjt_evidence": "likelihood"}]
PAPER = {"weighting": "atjt", "atjt_schedule": "paper", "history_mask_below": 0.55}


@pytest.mark.parametrize(
    "changes", [*RESUMED, PAPER], ids=["channel", "atjt", "one group an epoch"]
)
def test_two_epochs_and_two_more_are_four(changes: dict[str, Any]) -> None:
    whole = fit(4, **changes)
    assert 0 < whole.history[-1]["masked_share"] < 1
    half = fit(2, **changes)
    rest = fit(4, resume=half.saved_model_file, **changes)
    same_training(whole, rest)
    assert rest.history == whole.history
    ours, theirs = (load_checkpoint(each.saved_model_file).meta for each in (rest, whole))
    assert torch.equal(ours["history_mask"]["left_out"], theirs["history_mask"]["left_out"])


def test_a_resume_inside_an_epoch_goes_on_exactly(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def trainer_of(stop: int | None) -> tuple[DenoisingTrainer, Any]:
        config, loaders, model = assemble(
            "SASRec", epochs=3, checkpoint_steps=2, train_batch_size=16, **CHANNEL
        )
        trainer = DenoisingTrainer(config, model)
        trainer.last_model_file = str(tmp_path / f"{stop}.last.safetensors")
        plain = trainer._check_nan

        def check(loss: torch.Tensor) -> None:
            plain(loss)
            if stop is not None and (trainer.epoch, trainer.batch) == (2, stop):
                raise Stopped

        trainer._check_nan = check  # type: ignore[method-assign]
        return trainer, loaders

    whole, loaders = trainer_of(None)
    whole.fit(loaders[0], loaders[1], verbose=False)
    half, loaders = trainer_of(4)
    with pytest.raises(Stopped):
        half.fit(loaders[0], loaders[1], verbose=False)
    rest, loaders = trainer_of(None)
    rest.resume_checkpoint(half.last_model_file, loaders[0])
    assert rest._resumed is not None
    rest.fit(loaders[0], loaders[1], verbose=False)
    same_training(whole, rest)
    assert rest.history == whole.history


def test_the_best_model_is_evaluated_by_its_own_mask() -> None:
    config, (train_data, valid_data, test_data), model = assemble("SASRec", epochs=4, **EARLY)
    trainer = DenoisingTrainer(config, model)
    trainer.fit(train_data, valid_data, verbose=False)
    first = trainer.evaluate(test_data)
    mask = test_data._dataset.inter_feat.interaction.base.mask
    kept = mask.kept.copy()
    stored = load_checkpoint(trainer.saved_model_file).meta["history_mask"]
    assert stored["left_out"].dtype == torch.uint8
    assert len(stored["left_out"]) == -(-len(kept) // 8)
    mask.clear()
    whole = trainer.evaluate(test_data, load_best_model=False)
    again = trainer.evaluate(test_data)
    assert again == first
    assert whole != first
    assert np.array_equal(mask.kept, kept)
    bare = fit(1, weighting="none")  # its checkpoint leaves out nothing
    trainer.evaluate(test_data, model_file=bare.saved_model_file)
    assert mask.kept is None


def test_a_new_training_starts_with_whole_histories() -> None:
    config, (train_data, valid_data, _), model = assemble("SASRec", **CHANNEL)
    DenoisingTrainer(config, model).fit(train_data, valid_data, verbose=False)
    mask = train_data._dataset.inter_feat.interaction.base.mask
    assert mask.kept is not None
    config = DenoisingConfig("SASRec", "tiny", config_dict=settings(epochs=1))
    DenoisingTrainer(config, model.recommender).fit(train_data, valid_data, verbose=False)
    assert mask.kept is None


def test_a_mask_of_other_clicks_is_refused() -> None:
    trainer = fit(2, **CHANNEL)
    state = load_checkpoint(trainer.saved_model_file).meta["history_mask"]
    other = parts_of("SASRec", "uniform:0.3")[2]
    with pytest.raises(UsageError, match="histories of other interactions: their digest is"):
        put_mask(other, state, "it")


def test_recommendations_leave_the_same_clicks_out(tmp_path: Path) -> None:
    served = serve("SASRec", tmp_path, epochs=3, **EARLY)
    recommender = Recommender.load(served.path)
    known = recommender.catalogue.clicks
    assert known.left_out is not None
    assert known.left_out.any()
    tokens = recommender.catalogue.items
    for user in served.clicks:
        number = recommender.catalogue.users.index(user)
        kept = [tokens[item] for item in known.history_of(number)]
        assert kept == [item for item in served.clicks[user] if item in kept]
        assert served.clicks[user][0] in kept
        assert served.clicks[user][-2:] == kept[-2:]  # validation and test
    users = [user for user in served.clicks if number_left_out(recommender, user)]
    histories = [
        [tokens[i] for i in known.history_of(recommender.catalogue.users.index(user))]
        for user in users
    ]
    assert recommender.recommend(users=users) == recommender.recommend(histories)
    assert recommender.recommend(users=users) != recommender.recommend(
        [served.clicks[user] for user in users]
    )
    for user, answer in zip(users, recommender.recommend(users=users, k=99, exclude_seen=True)):
        assert not {each.item for each in answer} & set(served.clicks[user])


def number_left_out(recommender: Recommender, user: str) -> int:
    known, number = recommender.catalogue.clicks, recommender.catalogue.users.index(user)
    return len(known.of_user(number)) - len(known.history_of(number))


def test_known_clicks_of_planted_data_are_whole() -> None:
    result, _ = train("SASRec", "channel", plant="insert:0.3", epochs=3, **MASKED)
    meta = load_checkpoint(result.checkpoint).meta
    assert meta["history_mask"]["left_out"].any()
    assert meta["catalogue"]["left_out"] is None


@pytest.mark.parametrize("value", [0, 1, 1.5, -0.1, True, "much", float("nan")])
def test_a_value_out_of_range_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match=r"history_mask_below=.* is not a number inside \(0, 1\)"):
        DenoisingConfig(
            "SASRec", "tiny", config_dict=settings(**{**CHANNEL, "history_mask_below": value})
        )


@pytest.mark.parametrize("weighting", ["none", "t_ce", "oracle"])
def test_a_strategy_without_probabilities_is_refused(weighting: str) -> None:
    keys = settings(weighting=weighting, history_mask_below=0.2)
    with pytest.raises(UsageError, match=f"such as channel or atjt, not weighting={weighting}"):
        DenoisingConfig("SASRec", "tiny", config_dict=keys)


def test_a_model_without_histories_is_refused() -> None:
    config, (train_data, valid_data, _), model = assemble("BPR", **CHANNEL)
    with pytest.raises(UsageError, match="model=BPR on this dataset has none"):
        DenoisingTrainer(config, model).fit(train_data, valid_data, verbose=False)


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = DenoisingConfig("SASRec", "tiny", config_dict=settings(**CHANNEL))
    monkeypatch.setattr("recbole_atjt.training.sharing.size", lambda: 2)
    with pytest.raises(UsageError, match=r"history_mask_below=0\.6 goes with one process, not 2"):
        refuse_alone(config)


def test_scores_are_of_whole_histories() -> None:
    from recbole_atjt.scoring.scored import score_interactions

    config = DenoisingConfig("SASRec", "tiny", config_dict=settings(**CHANNEL))
    with pytest.raises(UsageError, match=r"history_mask_below=0\.6 is for training"):
        score_interactions(config)
