"""Checkpoints: exact round trips, exact resume, one clear line for every file that is not one."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import InputType, get_model
from safetensors.torch import save_file
from torch import nn

import recbole_atjt
from recbole_atjt.checkpoint import file as module
from recbole_atjt.checkpoint.file import Checkpoint, load_checkpoint, save_checkpoint
from recbole_atjt.checkpoint.model import load_model, other_parameters, save_model
from recbole_atjt.errors import TrainingError, UsageError
from recbole_atjt.host.plain import plain_config
from recbole_atjt.randomness import capture_rng, restore_rng

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.builds(torch.tensor, st.lists(st.integers(-(2**40), 2**40), max_size=3))
)
KEYS = st.text() | st.sampled_from(["$tensor", "$dict", "a.b", "__metadata__"])
NESTED = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS | st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Compare by value, type and bits."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


def small(path: Path, **meta: Any) -> Path:
    save_checkpoint(path, {"weight": torch.arange(4.0)}, meta={"model": "SASRec", **meta})
    return path


@given(meta=st.dictionaries(KEYS, NESTED, max_size=4), state=NESTED)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_nested_values_come_back_equal(tmp_path: Path, meta: dict[str, Any], state: Any) -> None:
    path = tmp_path / "some.safetensors"
    meta = {**meta, "versions": "mine"}
    save_checkpoint(path, {}, meta=meta, optimizers={"one": {"state": state}})
    found = load_checkpoint(path)
    assert same({**found.meta}, {"versions": "mine", **meta})
    assert same(found.optimizers, {"one": {"state": state}})
    assert found.model_state == found.tensors == {}


def test_tensors_of_every_type_and_layout(tmp_path: Path) -> None:
    shared = torch.randn(6, 4)
    given_state = {
        "tied.a": shared,
        "tied.b": shared,
        "part": shared[1:3],
        "turned": shared.t(),
        "expanded": torch.ones(1, 3).expand(2, 3),
        "scalar": torch.tensor(2.5, dtype=torch.float64),
        "empty": torch.zeros(0, 3),
        "parameter": nn.Parameter(torch.randn(2)),
        **{
            str(kind): torch.ones(3).to(kind)
            for kind in (torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.uint8)
        },
    }
    path = tmp_path / "deep" / "folder" / "c.safetensors"
    save_checkpoint(path, given_state, meta={}, tensors=given_state)
    found = load_checkpoint(path)
    for state in (found.model_state, found.tensors):
        assert set(state) == set(given_state)
        for name, tensor in given_state.items():
            assert state[name].dtype == tensor.dtype
            assert torch.equal(state[name], tensor)
            assert not state[name].requires_grad


def test_meta_names_the_versions_and_numpy_numbers_become_python(tmp_path: Path) -> None:
    score = np.float32(0.1)
    found = load_checkpoint(small(tmp_path / "c", best_valid_score=score, epoch=np.int64(3)))
    assert found.meta["versions"]["recbole_atjt"] == recbole_atjt.__version__
    assert found.meta["versions"]["torch"] == torch.__version__
    assert found.meta["versions"]["recbole"] == "1.2.1"
    assert (found.meta["best_valid_score"], found.meta["epoch"]) == (float(score), 3)
    assert type(found.meta["best_valid_score"]) is float


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=1e-4, amsgrad=True),
        lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.8, 0.95)),
        lambda p: torch.optim.Adagrad(p, lr=0.1),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: torch.optim.SGD(p, lr=0.1),
        lambda p: torch.optim.RMSprop(p, lr=0.01),
    ],
)
def test_training_resumes_to_the_bit(tmp_path: Path, make: Any) -> None:
    def build() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.5), nn.Linear(4, 1))
        slow = {"params": list(model[2].parameters()), "lr": 0.003}
        return model, make([{"params": list(model[0].parameters())}, slow])

    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        (model(torch.randn(8, 5)) ** 2).mean().backward()
        optimizer.step()

    model, optimizer = build()
    for _ in range(3):
        step(model, optimizer)
    save_checkpoint(
        tmp_path / "c",
        model.state_dict(),
        meta={"rng": capture_rng()},
        optimizers={"recommender": optimizer.state_dict()},
    )
    saved = optimizer.state_dict()
    copy, copied = build()
    found = load_checkpoint(tmp_path / "c")
    assert same(found.optimizers["recommender"], saved)
    load_model(copy, found)
    copied.load_state_dict(found.optimizers["recommender"])
    runs = []
    for pair in ((model, optimizer), (copy, copied)):
        restore_rng(found.meta["rng"])
        for _ in range(4):
            step(*pair)
        runs.append([*pair[0].state_dict().values()])
    assert all(torch.equal(one, other) for one, other in zip(*runs))


def test_random_generators_go_on_where_they_were(tmp_path: Path) -> None:
    loader, draws = torch.Generator().manual_seed(3), np.random.default_rng(4)
    np.random.normal()
    random.gauss(0, 1)

    def draw() -> list[Any]:
        return [
            torch.rand(3).tolist(),
            np.random.normal(size=3).tolist(),
            [random.gauss(0, 1) for _ in range(3)],
            torch.rand(2, generator=loader).tolist(),
            draws.random(2).tolist(),
        ]

    named = {"loader": loader, "draws": draws}
    save_checkpoint(tmp_path / "c", {}, meta={"rng": capture_rng(named)})
    expected = draw()
    assert draw() != expected
    state = load_checkpoint(tmp_path / "c").meta["rng"]
    restore_rng(state, named)
    assert draw() == expected
    with pytest.raises(TrainingError, match=r"\['draws', 'loader'\], not \['loader'\]"):
        restore_rng(state, {"loader": loader})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1, 2}, r"meta\.config\.1: a checkpoint cannot hold a set"),
        (torch.device("cpu"), "cannot hold a device"),
        (torch.eye(2).to_sparse(), r"cannot hold a torch\.sparse_coo tensor"),
        (np.zeros(2), "cannot hold a ndarray"),
        (
            torch.zeros(2, dtype=torch.complex64),
            "cannot hold a torch.strided tensor of torch.complex64",
        ),
    ],
)
def test_values_without_a_safe_form_are_named(tmp_path: Path, value: Any, message: str) -> None:
    path = small(tmp_path / "c", epoch=1)
    with pytest.raises(TrainingError, match=message):
        small(path, config=[0, value])
    assert load_checkpoint(path).meta["epoch"] == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    "target",
    ["recbole_atjt.checkpoint.file.save_file", "recbole_atjt.data.replacing.os.replace"],
)
def test_failed_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, target: str
) -> None:
    path = small(tmp_path / "c", epoch=1)

    def fail(store: Any, name: Any, **_: Any) -> None:
        if target.endswith("save_file"):
            Path(name).write_bytes(b"half")
        raise error

    monkeypatch.setattr(target, fail)
    expected = TrainingError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        small(path, epoch=2)
    monkeypatch.undo()
    assert load_checkpoint(path).meta["epoch"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"cannot write checkpoint .*file"):
        small(tmp_path / "file" / "c")


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "c"
    save_checkpoint(path, {"w": torch.arange(3.0)}, meta={"epoch": 7})
    good = path.read_bytes()
    for place in range(len(good)):
        damaged = bytearray(good)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(UsageError) as caught:
            load_checkpoint(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_header_of_any_length_is_no_pickle(tmp_path: Path) -> None:
    starts = set()
    for length in range(300):
        path = small(tmp_path / "c", text="x" * length)
        assert load_checkpoint(path).meta["text"] == "x" * length
        starts.add(path.read_bytes()[0])
    assert 0x80 in starts


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.999])
def test_truncated_file(tmp_path: Path, part: float) -> None:
    path = small(tmp_path / "c")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(UsageError, match="c is damaged or no checkpoint"):
        load_checkpoint(path)


def test_foreign_files_end_in_one_line(tmp_path: Path) -> None:
    names = ["new.pth", "old.pth", "protocol4.pth", "text", "other", "folder", "missing"]
    new, old, fourth, text, other, folder, missing = (tmp_path / name for name in names)
    torch.save({"state_dict": {}}, new)
    torch.save({"state_dict": {}}, old, _use_new_zipfile_serialization=False)
    torch.save({"state_dict": {}}, fourth, pickle_protocol=4)
    text.write_text("model: SASRec\n" * 40)
    save_file({"weight": torch.ones(2)}, other)
    folder.mkdir()
    expected = {
        new: r"RecBole \.pth file",
        old: r"RecBole \.pth file",
        fourth: r"RecBole \.pth file",
        text: "damaged or no checkpoint",
        other: "safetensors file of another program",
        folder: "no checkpoint file",
        missing: "no checkpoint file",
    }
    for path, message in expected.items():
        with pytest.raises(UsageError, match=message) as caught:
            load_checkpoint(path)
        assert str(path) in str(caught.value)
        assert str(caught.value).endswith("give a checkpoint that recbole_atjt has written")
        assert "\n" not in str(caught.value)


def test_other_format_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FORMAT_VERSION", "2")
    path = small(tmp_path / "c")
    monkeypatch.undo()
    with pytest.raises(UsageError, match="format version 2, this recbole_atjt reads 1"):
        load_checkpoint(path)


def test_replaced_file_leaves_what_was_loaded(tmp_path: Path) -> None:
    path = small(tmp_path / "c")
    found = load_checkpoint(path)
    path.write_bytes(b"")
    assert found.model_state["weight"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": torch.ones(2, 3)}, r"'bias' is absent there and float32\[2\] here"),
        (
            {"weight": torch.ones(2, 4), "bias": torch.ones(2)},
            r"made with SASRec on ml-100k and does not fit this Linear: "
            r"'weight' is float32\[2, 4\] there and float32\[2, 3\] here",
        ),
        ({"weight": torch.ones(2, 3), "bias": torch.ones(2).double()}, r"float64\[2\] there"),
        (
            {"weight": torch.ones(2, 3), "bias": torch.ones(2), "scale": torch.ones(1)},
            r"'scale' is float32\[1\] there and absent here",
        ),
    ],
)
def test_model_that_does_not_fit(state: dict[str, torch.Tensor], message: str) -> None:
    found = Checkpoint(state, {}, {}, {"model": "SASRec", "dataset": "ml-100k"})
    model = nn.Linear(3, 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UsageError, match=message) as caught:
        load_model(model, found)
    assert "\n" not in str(caught.value)
    assert same(dict(model.state_dict()), before)


class Keeper(nn.Linear):
    """A model with RecBole's ``other_parameter``."""

    def __init__(self, **kept: Any) -> None:
        super().__init__(2, 2)
        self.kept = list(kept)
        for name, value in kept.items():
            setattr(self, name, value)

    def other_parameter(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.kept}


def test_other_parameters_come_back(tmp_path: Path) -> None:
    kept = {"cache": torch.randn(3), "inner": nn.Linear(1, 1), "none": None, "scale": 0.1}
    model = Keeper(**kept)
    save_model(tmp_path / "c", model, meta={"model": "Keeper"})
    fresh = Keeper(cache=None, inner=nn.Linear(1, 1), none=1, scale=0)
    load_model(fresh, load_checkpoint(tmp_path / "c"))
    assert torch.equal(fresh.cache, model.cache)
    assert (fresh.none, fresh.scale) == (None, 0.1)
    assert torch.equal(fresh.inner.weight, model.inner.weight)
    assert "inner" not in other_parameters(model)


def test_other_parameters_without_a_safe_form_are_named() -> None:
    with pytest.raises(TrainingError, match=r"Keeper keeps 'ripples' \(dict\) beside its weights"):
        other_parameters(Keeper(ripples={1: torch.ones(1)}))
    outside = Keeper()
    outside.other_parameter = lambda: {"lost": nn.Linear(1, 1)}  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"keeps 'lost' \(Linear\)"):
        other_parameters(outside)


def test_plain_config_is_strict_json() -> None:
    final = {
        "device": torch.device("cpu"),
        "MODEL_INPUT_TYPE": InputType.PAIRWISE,
        "betas": (0.9, np.float32(0.5)),
        "epochs": np.int64(3),
        "bound": float("inf"),
        "nested": {1: {"b", "a"}, "none": None},
        "flag": np.bool_(True),
        "code": len,
    }
    assert plain_config(SimpleNamespace(final_config_dict=final)) == {
        "device": "cpu",
        "MODEL_INPUT_TYPE": "PAIRWISE",
        "betas": [0.9, 0.5],
        "epochs": 3,
        "bound": "inf",
        "nested": {"1": ["a", "b"], "none": None},
        "flag": True,
        "code": "<built-in function len>",
    }


@pytest.mark.parametrize("model_name", ["SASRec", "DIN", "WideDeep"])
def test_recbole_model_predicts_the_same_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_name: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["pytest"])
    (tmp_path / "tiny").mkdir()
    rows = [f"{u}\t{(u * 7 + t * 3) % 17}\t{t}" for u in range(12) for t in range(8)]
    header = "user_id:token\titem_id:token\ttimestamp:float\n"
    (tmp_path / "tiny" / "tiny.inter").write_text(header + "\n".join(rows) + "\n")
    config = Config(
        model=model_name,
        dataset="tiny",
        config_dict={
            "data_path": str(tmp_path),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "uni5"},
            "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}
            if model_name != "SASRec"
            else None,
            "use_gpu": False,
        },
    )
    _, _, test = data_preparation(config, create_dataset(config))
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        models.append(get_model(model_name)(config, test._dataset).eval())
    interaction = next(iter(test))[0]
    with torch.no_grad():
        expected = models[0].predict(interaction)
        assert not torch.equal(models[1].predict(interaction), expected)
        plain = plain_config(config)
        save_model(tmp_path / "c", models[0], meta={"model": model_name, "config": plain})
        found = load_checkpoint(tmp_path / "c")
        load_model(models[1], found)
        assert torch.equal(models[1].predict(interaction), expected)
    assert found.meta["config"] == plain
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["dataset"] == "tiny"
