"""A bench's file: its cells, and every mistake in a line of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recbole_atjt.bench.checks import check_data, check_settings
from recbole_atjt.bench.specification import read_bench
from recbole_atjt.errors import UsageError
from tests.benches import bench, write
from tests.models import data_path

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "benchmarks").glob("*.yaml"))
REVISED = {"name": "none", "revised_validation": True, "label": "erm_revised"}


def test_cells_go_seed_by_seed() -> None:
    found = bench(plants=[None, "popular:0.3"], models=["GRU4Rec", "SASRec"]).cells
    assert len(found) == 16
    assert [cell.seed for cell in found] == [1] * 8 + [2] * 8
    names = [(cell.model, cell.plant, cell.strategy) for cell in found[:8]]
    assert names[:3] == [
        ("GRU4Rec", "none", "none"),
        ("GRU4Rec", "none", "t_ce"),
        ("GRU4Rec", "popular:0.3", "none"),
    ]
    assert found[0].keys["plant"] is None
    assert found[2].keys["plant"] == "popular:0.3"
    assert str(found[3]) == "GRU4Rec on tiny with popular:0.3, t_ce"


def test_the_more_special_setting_wins() -> None:
    Path("common.yaml").write_text("epochs: 9\nlearning_rate: 0.5\nn_layers: 3\n", encoding="utf-8")
    Path("of-SASRec.yaml").write_text("dropout_prob: 0.7\nepochs: 8\n", encoding="utf-8")
    Path("of-GRU4Rec.yaml").write_text("dropout_prob: 0.6\n", encoding="utf-8")
    found = bench(
        models=["GRU4Rec", "SASRec"],
        config_files=["common.yaml", "of-{model}.yaml"],
        settings={"learning_rate": 0.4, "embedding_size": 4},
        model_settings={"SASRec": {"embedding_size": 8, "hidden_size": 2}},
        dataset_settings={"tiny": {"hidden_size": 4}},
        strategies=["none", {"name": "t_ce", "hidden_size": 16}],
        seeds=3,
    ).cells
    by_name = {(cell.model, cell.weighting): cell.settings for cell in found}
    assert by_name["SASRec", "none"] == {
        "epochs": 8,
        "learning_rate": 0.4,
        "n_layers": 3,
        "dropout_prob": 0.7,
        "embedding_size": 8,
        "hidden_size": 4,
    }
    assert by_name["GRU4Rec", "none"]["epochs"] == 9
    assert by_name["SASRec", "t_ce"]["hidden_size"] == 16
    assert [cell.strategy for cell in found[:2]] == ["none", "t_ce (hidden_size=16)"]


def test_a_path_and_a_label_make_no_other_cell() -> None:
    file = write(strategies=["none", REVISED])
    one = read_bench(file, data_path="here").cells
    two = read_bench(write(strategies=["none", {**REVISED, "label": "other"}])).cells
    assert [cell.identity for cell in one] == [cell.identity for cell in two]
    assert one[0].keys["data_path"] == str(Path("here").resolve())
    assert two[0].keys["data_path"] == str(Path("dataset").resolve())
    assert len({cell.identity for cell in one}) == 4
    changed = read_bench(write(strategies=["none", REVISED], more={"epochs": 3})).cells
    assert not {cell.identity for cell in changed} & {cell.identity for cell in one}


def test_plain_training_with_revised_validation_is_one_entry() -> None:
    found = bench(strategies=["none", REVISED], seeds=1)
    assert check_settings(found) == ("ndcg@10",)
    assert found.cells[1].keys["revised_validation"] is True
    assert found.cells[1].weighting == "none"


def test_rules_leave_cells_out() -> None:
    plants = ["none", "popular:0.1,swap:0.1"]
    skip = [{"plants": "none", "strategies": "t_ce"}, {"plants": plants[1], "seeds": [2]}]
    found = bench(plants=plants, skip=skip).cells
    assert [(cell.plant, cell.strategy, cell.seed) for cell in found] == [
        ("none", "none", 1),
        (plants[1], "none", 1),
        (plants[1], "t_ce", 1),
        ("none", "none", 2),
    ]


def test_a_call_restricts_lists() -> None:
    file = write(strategies=["none", REVISED, "t_ce"], skip={"strategies": "t_ce", "seeds": 1})
    found = read_bench(file, {"seeds": ["2"], "strategies": ["erm_revised"]}).cells
    assert [(cell.strategy, cell.seed) for cell in found] == [("erm_revised", 2)]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"modles": ["X"]}, "key 'modles' is unknown, did you mean 'models'?"),
    ({"seeds": None}, "seeds is missing: write seeds: [...]"),
    ({"settings": 3}, "settings: 3 is not of the form {key: value}"),
    ({"model_settings": {"GRU4Rec": 3}}, "model_settings: GRU4Rec: 3 is not of the form"),
    (
        {"model_settings": {"GRU4Rce": {}}},
        "model_settings: 'GRU4Rce' is unknown, did you mean 'GRU4Rec'",
    ),
    ({"dataset_settings": {"tin": {}}}, "did you mean 'tiny'"),
    ({"seeds": [1, -1]}, "seeds: -1 is not a whole number of at least 0"),
    ({"seeds": [1, True]}, "seeds: True is not a whole number"),
    ({"seeds": [1, 1]}, "seeds: '1' is listed twice"),
    ({"strategies": ["none", "atj"]}, "weighting=atj is unknown, did you mean 'atjt'?"),
    ({"strategies": [{"label": "x"}]}, "has no name: write {name: NAME, KEY: VALUE}"),
    ({"strategies": [{"name": "atjt", "tried": 0}]}, "tried=0 of atjt is not a whole number"),
    ({"strategies": ["none", {"name": "t_ce", "label": "none"}]}, "'none' is listed twice"),
    ({"settings": {"seed": 3}}, "settings: seed is varied by the list seeds: write it there"),
    ({"skip": 3}, "skip: 3 is not of the form"),
    ({"skip": {"plant": "none"}}, "skip: key 'plant' is unknown, did you mean 'plants'?"),
    ({"skip": {"seeds": 3}}, "skip: seeds: '3' is unknown: there are 1, 2"),
    ({"skip": {"seeds": [1, 2]}}, "no cell is left"),
    ({"part": "tests"}, "part: 'tests' is unknown, did you mean 'test'?"),
    ({"config_files": "no.yaml"}, "config file no.yaml can't be read"),
    ({"reported": "no.yaml"}, "config file no.yaml can't be read"),
    ({"reported": "bench.yaml"}, "reported: bench.yaml is not {model: {strategy: {metric: %}}}"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[m[:40] for _, m in WRONG])
def test_a_mistake_in_the_file(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        bench(**changes)
    assert message in str(caught.value)
    assert all(line.startswith("bench.yaml: ") for line in str(caught.value).splitlines())


def test_all_mistakes_come_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        bench(seeds=[1, 1], strategies=["nnoe"], part="x", skip={"datasets": "y"})
    assert len(str(caught.value).splitlines()) == 4


RUNS: list[tuple[dict[str, Any], str]] = [
    ({"models": ["SASRecc"]}, "did you mean 'SASRec'"),
    ({"plants": ["popluar:0.1"]}, "did you mean 'popular'"),
    ({"more": {"epohcs": 1}}, "bench.yaml: GRU4Rec on tiny, none: key 'epohcs' is unknown"),
    ({"more": {"epochs": 0}}, "epochs"),
    ({"show": "ndcg@20"}, "show: 'ndcg@20' is not computed"),
    ({"show": ["ndgc@5"]}, "did you mean 'ndcg@5'?: there are hit@5, hit@10, ndcg@5, ndcg@10"),
    ({"strategies": ["none", {"name": "none", "label": "x"}]}, "'x' is the same as 'none'"),
    ({"strategies": ["none", {"name": "t_ce", "t_ce_drop_rate": 7}]}, "t_ce_drop_rate=7"),
]


@pytest.mark.parametrize(("changes", "message"), RUNS, ids=[m[:40] for _, m in RUNS])
def test_a_mistake_in_what_is_run(changes: dict[str, Any], message: str) -> None:
    found = bench(**changes)
    with pytest.raises(UsageError) as caught:
        check_settings(found)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_dataset_that_is_not_there() -> None:
    found = bench(datasets=["tiny", "tinyy"])
    assert check_settings(found) == ("ndcg@10",)
    with pytest.raises(UsageError, match=r"dataset 'tinyy' not found: .*did you mean 'tiny'"):
        check_data(found, found.cells)
    check_data(found, found.cells[:1])


def test_what_is_shown_is_chosen_or_selects_the_epochs() -> None:
    assert check_settings(bench(show=["Hit@5", "NDCG@10"])) == ("hit@5", "ndcg@10")
    assert check_settings(bench(more={"valid_metric": "Hit@5"})) == ("hit@5",)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_benches_of_this_checkout_can_be_run(file: Path) -> None:
    found = read_bench(file, data_path=data_path())
    assert check_settings(found)


def test_there_are_benches() -> None:
    assert {"planted", "compare", "autodenoise", "oracle", "defaults"} <= {f.stem for f in FILES}
