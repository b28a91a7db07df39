"""result.json, the table, and whether the recogniser recognises."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import recbole_atjt
from recbole_atjt.report.result import ExperimentResult, RunResult
from recbole_atjt.report.table import comparison
from recbole_atjt.report.weights import auroc, measure_weights
from recbole_atjt.weighting.report import EpochReport
from tests.runs import settings, train

ROOT = Path(__file__).resolve().parent.parent
#: As the command's users read it.
KEYS = {
    "model": str,
    "dataset": str,
    "weighting": str,
    "seed": int,
    "valid": dict,
    "test": dict,
    "best_epoch": int,
    "epochs": int,
    "seconds": dict,
    "parameters": dict,
    "weights": (dict, type(None)),
    "warnings": list,
    "checkpoint": str,
    "versions": dict,
    "config": dict,
    "gate": (dict, type(None)),
    "progress": list,
}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> ExperimentResult:
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("runs"))
    try:
        folder = Path("out").resolve()
        return recbole_atjt.run(
            "SASRec",
            "tiny",
            ["none", "atjt", "wat", "dnr"],
            config_dict=settings(atjt_recognizer_dropout=0.0),
            output_dir=folder,
        )
    finally:
        os.chdir(before)


def read(result: ExperimentResult) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = json.loads(result.path.read_text(encoding="utf-8"))["runs"]
    return runs


def test_every_run_has_the_keys_that_were_promised(result: ExperimentResult) -> None:
    assert json.loads(result.path.read_text(encoding="utf-8")).keys() == {"runs"}
    for run in read(result):
        assert run.keys() == KEYS.keys()
        for key, kind in KEYS.items():
            assert isinstance(run[key], kind), key
        assert run["seconds"].keys() == {"prepare", "train", "epoch", "evaluate"}
        assert all(value > 0 for value in run["seconds"].values())
        assert run["seconds"]["epoch"] == pytest.approx(run["seconds"]["train"] / run["epochs"])
        assert run["parameters"].keys() == {"recommender", "recogniser"}
        assert run["valid"].keys() == run["test"].keys() == {"hit@5", "hit@10", "ndcg@5", "ndcg@10"}
        assert {"recbole_atjt", "recbole", "torch", "numpy", "pandas", "python"} <= {
            *run["versions"]
        }
        assert run["config"]["hidden_size"] == 8
        assert run["config"]["weighting"] == run["weighting"]


def test_weights_are_there_where_a_recogniser_is(result: ExperimentResult) -> None:
    none, *others = read(result)
    assert none["weights"] is None
    assert none["parameters"]["recogniser"] == 0
    for run in others:
        assert run["parameters"]["recogniser"] > 0
        assert run["parameters"]["recommender"] == none["parameters"]["recommender"]
        for kind in ("original", "replaced"):
            assert run["weights"][kind].keys() == {"mean", "variance"}
            assert 0.0 < run["weights"][kind]["mean"] < 1.0
        assert 0.0 <= run["weights"]["auroc"] <= 1.0
        assert len(run["weights"]["epochs"]) == run["epochs"]


def test_each_epoch_has_a_loss_and_a_validation_score(result: ExperimentResult) -> None:
    for run in read(result):
        progress = run["progress"]
        assert [each["epoch"] for each in progress] == list(range(run["epochs"]))
        assert all(each["loss"] > 0 for each in progress)
        best = progress[run["best_epoch"]]["valid"]
        assert best == max(each["valid"] for each in progress) == run["valid"]["ndcg@10"]


def test_the_loss_of_an_epoch_is_recboles_divided_by_its_batches() -> None:
    run, trainer = train("SASRec", "none", epochs=2, eval_step=2)
    for each in run.progress:
        assert each["loss"] == trainer.train_loss_dict[each["epoch"]] / trainer.batch
    assert ["valid" in each for each in run.progress] == [False, True]


def test_the_typed_result_equals_the_file(result: ExperimentResult) -> None:
    assert [asdict(run) for run in result.runs] == read(result)
    assert [RunResult(**run) for run in read(result)] == result.runs


def test_checkpoints_lie_beside_the_result(result: ExperimentResult) -> None:
    for run in result.runs:
        assert Path(run.checkpoint).is_file()
        assert Path(run.checkpoint).parent.parent == result.output_dir


def test_the_result_is_never_half(
    result: ExperimentResult, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written = ExperimentResult(tmp_path / "new", list(result.runs[:1]))
    written.write()
    before = written.path.read_text(encoding="utf-8")
    written.runs.append(result.runs[1])

    def no_rename(source: Any, target: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", no_rename)
        with pytest.raises(KeyboardInterrupt):
            written.write()
    assert written.path.read_text(encoding="utf-8") == before
    written.write()
    assert len(read(written)) == 2
    assert [path.name for path in written.output_dir.iterdir()] == ["result.json"]


def test_what_is_no_number_is_null_in_the_file(result: ExperimentResult, tmp_path: Path) -> None:
    broken = replace(result.runs[0], valid={"gauc": math.nan, "hit@5": math.inf})
    written = ExperimentResult(tmp_path, [broken])
    written.write()
    json.loads(written.path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert read(written)[0]["valid"] == {"gauc": None, "hit@5": None}


def run_of(weighting: str, seed: int, ndcg: float, hit: float = 0.0, **changes: Any) -> RunResult:
    made = RunResult(
        "SASRec",
        "tiny",
        weighting,
        seed,
        {},
        {"ndcg@10": ndcg, "hit@10": hit},
        0,
        1,
        {"epoch": 1.25},
        {},
        None,
        [],
        "",
        {},
        {},
    )
    return replace(made, **changes)


def test_the_table_shows_mean_spread_and_change_by_hand() -> None:
    recognised = {"original": {"mean": 0.6}, "replaced": {"mean": 0.4}, "auroc": 0.75}
    runs = [
        run_of("none", 1, 0.10),
        run_of("none", 2, 0.20),
        run_of("atjt", 1, 0.20, weights=recognised),
        run_of("atjt", 2, 0.25, weights=recognised),
    ]
    header, _, plain, atjt, change, line, tried = comparison(runs).splitlines()
    assert tried == "tried on validation: 2 configurations"
    assert header.split() == ["SASRec", "on", "tiny,", "test", "ndcg@10", "hit@10", "s/epoch"]
    assert plain.split() == [
        "none",
        "(2",
        "seeds)",
        "0.1500",
        "±0.0707",
        "0.0000",
        "±0.0000",
        "1.2",
    ]
    assert atjt.split()[3:5] == ["0.2250", "±0.0354"]
    assert change.split() == ["against", "none", "+50.00", "%", "n/a"]
    assert "0.600 of original and 0.400 of replaced" in line
    assert "AUROC 0.750" in line
    assert len({len(row) for row in (header, plain, atjt)}) == 1


def test_the_table_warns_of_chance_by_hand() -> None:
    """The difference .01 is below the spread .0707; of one seed there is no spread."""
    config = {"valid_metric": "NDCG@10"}
    runs = [run_of("none", 1, 0.10, config=config), run_of("none", 2, 0.20, config=config)]
    runs += [run_of("t_ce", 1, 0.12, config=config), run_of("t_ce", 2, 0.20, config=config)]
    runs += [run_of("atjt", 1, 0.9, config=config)]
    tried, single, close = comparison(runs).splitlines()[-3:]
    assert tried == "tried on validation: 3 configurations"
    assert single.startswith("warning: one seed of atjt: another may turn the order round")
    assert close == (
        "warning: t_ce: its difference in ndcg@10, +0.0100, is smaller than the spread of the "
        "seeds, 0.0707"
    )
    assert "warning" not in comparison(runs[:2])


@pytest.mark.parametrize(
    ("used", "more", "line"),
    [
        ([0.0, 0.0], {"noise_items": [{"item": "3", "title": "", "share": 1.0}]}, "found no noise"),
        ([0.0, 0.25, 0.24], {}, "share of noise 0.240"),
        (
            [0.0, 0.25],
            {"begun": 1, "noise_items": [{"item": "3", "title": "Speed", "share": 1.0}]},
            "share of noise 0.250, with which training began again in epoch 1; most of it on Speed",
        ),
        (
            [0.3, 0.3],
            {"known": {"unrelated_users": 0.125, "unrelated_repeats": 0.2}},
            "share of noise 0.300; known before the training: 0.125 of the users click at random, "
            "0.200 of the clicks are repeated without interest",
        ),
    ],
)
def test_the_table_says_what_noise_was_found(
    used: list[float], more: dict[str, Any], line: str
) -> None:
    known = more.get("known", {})
    epochs = [
        {"epoch": epoch, "weighted_share": share, **known} for epoch, share in enumerate(used)
    ]
    plain, channel = run_of("none", 1, 0.2), run_of("channel", 1, 0.2)
    channel = replace(channel, weights={**more, "epochs": epochs})
    said = " ".join(comparison([plain, channel]).split())
    assert f"channel: {line}" in said
    assert ("most of it" in said) is ("begun" in more)


def test_every_model_and_dataset_has_a_table_of_its_own() -> None:
    runs = [run_of("none", 1, 0.1), run_of("none", 1, 0.3, model="GRU4Rec")]
    first, second = comparison(runs).split("\n\n")
    assert first.startswith("SASRec on tiny")
    assert second.startswith("GRU4Rec on tiny")


def test_without_a_test_the_table_shows_validation() -> None:
    run = run_of("none", 1, 0.0, valid={"ndcg@10": 0.125}, test={})
    assert "valid" in comparison([run]).splitlines()[0]
    assert "0.1250" in comparison([run])


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=12),
    st.lists(st.integers(0, 5), min_size=1, max_size=12),
)
def test_auroc_counts_pairs(higher: list[int], lower: list[int]) -> None:
    won = sum((a > b) + (a == b) / 2 for a in higher for b in lower)
    found = auroc(torch.tensor(higher), torch.tensor(lower))
    assert found == pytest.approx(won / (len(higher) * len(lower)))


class ByHand:
    """A strategy whose weights are known: the share of even items in a history."""

    def __init__(self, corruption: Any) -> None:
        self.corruption = corruption
        self.item_frequency = torch.ones(100)

    def recognize(self, group: int, history: Any, target: Any) -> Any:
        return ((history % 2 == 0) & (history > 0)).float().mean(dim=1) + 0.1 * group


def test_weights_are_those_of_a_groups_own_recogniser_on_originals_and_copies() -> None:
    from recbole_atjt.weighting.corruption import Corruption

    class Loader:
        rows = (torch.arange(0, 30), torch.arange(30, 50))

        def sequences_of(self, rows: Any) -> Any:
            even = 2 * torch.ones(len(rows), 4, dtype=torch.long)
            return even, torch.ones(len(rows), dtype=torch.long)

    odd = torch.zeros(100)
    odd[1::2] = 1.0
    corruption = Corruption(odd, replace="history", source="popularity", count=1, share=0.5)
    found = measure_weights(ByHand(corruption), Loader(), seed=1)
    assert found is not None
    assert found["original"]["mean"] == pytest.approx((30 * 1.0 + 20 * 1.1) / 50)
    assert found["replaced"]["mean"] == pytest.approx((30 * 0.75 + 20 * 0.85) / 50)  # 1 in 4, all
    assert found["auroc"] == 1.0


def test_measuring_changes_no_random_state() -> None:
    _, trainer = train("SASRec", "atjt", epochs=1)
    before = torch.get_rng_state()
    first = measure_weights(trainer.weighting, trainer.loader, 1)
    assert torch.equal(torch.get_rng_state(), before)
    assert first == measure_weights(trainer.weighting, trainer.loader, 1)


def test_learned_weights_of_known_noise_are_those_that_were_given(tmp_path: Path) -> None:
    keys = settings(clean_eval={"rating": "[3,inf)"}, epochs=1)
    keys["load_col"] = {"inter": ["user_id", "item_id", "rating", "timestamp"]}
    result = recbole_atjt.run(
        "MF", "tiny", "frequency", 7, config_dict=keys, output_dir=tmp_path / "out"
    )
    (run,) = result.runs
    config = recbole_atjt.DenoisingConfig("MF", "tiny", None, {**keys, "weighting": "frequency"})
    dataset = recbole_atjt.create_dataset(config)
    train_data, _, _ = recbole_atjt.prepare_loaders(config, dataset)
    rows = train_data._dataset.inter_feat
    item, true = rows["item_id"], rows["rating"] >= 3
    count = item.bincount()
    weights = len(item) / (int((count > 0).sum()) * count[item].double())
    assert run.weights is not None
    for name, chosen in (("true_positive", true), ("false_positive", ~true)):
        assert run.weights[name]["count"] == int(chosen.sum()) > 0
        assert run.weights[name]["mean"] == pytest.approx(float(weights[chosen].mean()), rel=1e-5)
        assert run.weights["epochs"][0][name] == run.weights[name]["mean"]
    bins = run.weights["noise_bins"]
    assert sum(bins["clean"]) == int(true.sum())
    assert sum(bins["noisy"]) == int((~true).sum())
    for name, chosen in (("clean", true), ("noisy", ~true)):
        for low, high, count in zip(bins["from"], bins["to"], bins[name]):
            near = (weights > low * (1 - 1e-4)) & (weights < high * (1 + 1e-4))
            assert int((near & chosen).sum()) >= count
    line = comparison([run]).splitlines()[-1]
    assert line == (
        f"frequency: mean weight {run.weights['true_positive']['mean']:.3f} of true and "
        f"{run.weights['false_positive']['mean']:.3f} of false positives in the last epoch"
    )


def test_known_weights_lie_in_their_bins() -> None:
    report = EpochReport()
    assert report.known() == {"from": [], "to": [], "clean": [], "noisy": []}
    raw = torch.tensor([0.0, 0.25, 0.25, 1.0, 3.0])
    true = torch.tensor([False, False, True, True, True])
    report.note_truth(raw, raw, true)
    bins = report.known()
    assert bins["clean"] == [0.0, 1.0, 1.0, 1.0]
    assert bins["noisy"] == [1.0, 1.0, 0.0, 0.0]
    for low, high, value in zip(bins["from"], bins["to"], (1e-6, 0.25, 1.0 - 1e-6, 3.0)):
        assert low <= value <= high
        assert high / low < 1.11


def test_without_knowledge_of_noise_there_are_no_learned_weights(tmp_path: Path) -> None:
    result = recbole_atjt.run(
        "MF", "tiny", "frequency", 7, config_dict=settings(epochs=1), output_dir=tmp_path / "out"
    )
    assert result.runs[0].weights is not None
    assert set(result.runs[0].weights) == {"epochs"}


def test_a_strategy_without_a_recogniser_has_no_weights_to_compare() -> None:
    assert measure_weights(object(), None, 1) is None


@pytest.mark.slow
def test_the_recogniser_learns_to_recognise_users_it_never_saw() -> None:
    """On the planted dataset: replaced sequences get clearly smaller weights."""
    result = recbole_atjt.run(
        "SASRec",
        "planted-noise",
        "atjt",
        2,
        config_dict={
            "data_path": str(ROOT / "dataset"),
            "epochs": 4,
            "eval_step": 4,
            "train_batch_size": 256,
            "MAX_ITEM_LIST_LENGTH": 10,
            "hidden_size": 16,
            "inner_size": 16,
            "n_layers": 1,
            "show_progress": False,
            "gpu_id": "",
            "atjt_evidence": "own",
            "atjt_replace": "target",
            "atjt_replace_from": "uniform",
            "atjt_recognizer_learning_rate": 0.03,
        },
        output_dir="out",
    )
    weights = result.runs[0].weights
    assert weights is not None
    assert weights["auroc"] > 0.6
    assert weights["replaced"]["mean"] < 0.95 * weights["original"]["mean"]
    losses = [figures["recognizer_loss"] for figures in weights["epochs"]]
    assert losses[-1] < losses[0] < 0.70


def test_columns_that_do_not_fit_stand_below() -> None:
    metrics = {f"metric@{k}": 0.5 for k in range(12)}
    runs = [run_of(name, seed, 0, test=metrics) for name in ("none", "atjt") for seed in (1, 2)]
    wide, narrow = comparison(runs), comparison(runs, 80)
    assert max(map(len, wide.splitlines())) > 80
    assert max(map(len, narrow.splitlines())) <= 80
    for word in [*metrics, "s/epoch"]:
        assert narrow.split().count(word) == 1
    assert narrow.count("0.5000 ±0.0000") == wide.count("0.5000 ±0.0000") == 24


def test_a_result_reads_back(result: ExperimentResult) -> None:
    again = recbole_atjt.ExperimentResult.load(result.output_dir)
    assert [run.name for run in again.runs] == [run.name for run in result.runs]
    assert [run.test for run in again.runs] == [run.test for run in result.runs]
    with pytest.raises(recbole_atjt.UsageError, match="can't be read"):
        ExperimentResult.load(result.output_dir / "checkpoints")
