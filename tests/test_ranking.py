"""Full ranking of windows: which items are candidates."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import recbole_atjt
from recbole_atjt import DenoisingConfig, create_dataset, prepare_loaders
from recbole_atjt.errors import UsageError
from tests.runs import settings

RATIO = {"split": {"RS": [4, 1, 1]}, "order": "TO", "group_by": "user", "mode": "full"}


def loaders(model: str, **changes: Any) -> Any:
    keys = settings(eval_args=RATIO, exclude_seen=True, MAX_ITEM_LIST_LENGTH=3, **changes)
    config = DenoisingConfig(model, "tiny", None, keys)
    dataset = create_dataset(config)
    return dataset, prepare_loaders(config, dataset)


def prepared(keys: dict[str, Any]) -> Any:
    config = DenoisingConfig("SASRec", "tiny", None, keys)
    return prepare_loaders(config, create_dataset(config))


def earlier_items(dataset: Any) -> dict[tuple[int, int], list[int]]:
    """Walk through all interactions by time: (user, target) -> what the user met before."""
    base = dataset.inter_feat.interaction.base.columns
    rows = sorted(zip(*(base[name][:-1].tolist() for name in ("user_id", "timestamp", "item_id"))))
    met: dict[int, list[int]] = {}
    found = {}
    for user, _, item in rows:
        found[user, item] = list(met.get(user, []))
        met.setdefault(user, []).append(item)
    return found


@pytest.mark.parametrize("model", ["SASRec", "MF", "WideDeep"])
def test_all_that_the_user_met_before_is_excluded(model: str) -> None:
    dataset, parts = loaders(model)
    expected = earlier_items(dataset)
    for part in parts[1:]:
        count = 0
        for interaction, (query, item), positive_u, positive_i in part:
            for row, (user, target) in enumerate(
                zip(interaction["user_id"].tolist(), positive_i.tolist())
            ):
                seen = item[query == row].tolist()
                assert seen == expected[user, target]
                assert len(seen) >= 1
                assert int(positive_u[row]) == row
                count += 1
        assert count == len(part._dataset)


def test_a_target_that_was_met_before_stays_a_candidate() -> None:
    dataset, (_, valid, _) = loaders("SASRec")
    base = dataset.inter_feat.interaction.base.columns
    base["item_id"][:-1] = 7
    for _, (query, _), _, _ in valid:
        assert not len(query)


def test_excluded_items_are_not_recommended() -> None:
    changes = settings(eval_args=RATIO, epochs=1)
    ndcg = []
    for exclude in (False, True):
        keys = {**changes, "exclude_seen": exclude}
        (run,) = recbole_atjt.run("MF", "tiny", "none", 7, config_dict=keys).runs
        ndcg.append(run.test["ndcg@10"])
    assert ndcg[1] > ndcg[0]


def test_scores_of_seen_items_are_minus_infinity() -> None:
    keys = settings(eval_args=RATIO, exclude_seen=True)
    config = DenoisingConfig("SASRec", "tiny", None, keys)
    dataset = create_dataset(config)
    train, valid, _ = prepare_loaders(config, dataset)
    model = config.model_class(config, train._dataset)
    trainer = recbole_atjt.DenoisingTrainer(config, model)
    trainer.tot_item_num = dataset.item_num
    trainer.item_tensor = dataset.get_item_feature()
    batch = next(iter(valid))
    _, scores, _, _ = trainer._full_sort_batch_eval(batch)
    assert torch.isinf(scores[batch[1]]).all()
    assert torch.isfinite(scores[batch[2], batch[3]]).all()


@pytest.mark.parametrize(
    "changes", [{"eval_args": {**RATIO, "mode": "uni5"}}, {"exclude_seen": "maybe"}]
)
def test_what_does_not_go_is_refused(changes: dict[str, Any]) -> None:
    keys = {**settings(eval_args=RATIO, exclude_seen=True), **changes}
    with pytest.raises(UsageError, match=r"^exclude_seen=\w+ .*$"):
        prepared(keys)
