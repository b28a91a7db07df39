"""Exported models: the scores of the model, checked before a file is kept, and the same answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from recbole_atjt import Recommender, UsageError
from recbole_atjt.checkpoint.file import load_checkpoint, save_checkpoint
from recbole_atjt.cli import main
from recbole_atjt.serving import parity
from recbole_atjt.serving.export import ExportFailed, export
from recbole_atjt.serving.exported import DESCRIPTION, Description
from recbole_atjt.serving.inputs import Input, Signature
from recbole_atjt.serving.parity import compare
from recbole_atjt.serving.rebuilding import rebuild
from recbole_atjt.serving.tracing import without_loops
from tests.served import Served, serve
from tests.tiers import fast

#: The models of the paper, and four more that have to pass.
ONNX = ["SASRec", "WideDeep", "DCN", "DIN", "S3Rec", "GRU4Rec", "BERT4Rec", "MF", "AEL"]


@pytest.fixture(scope="module")
def sasrec(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return serve("SASRec", tmp_path_factory.mktemp("sasrec"))


def columns_of(path: Path) -> dict[str, Any]:
    """Read what an ONNX file says of itself without this package's own classes."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    said = json.loads(session.get_modelmeta().custom_metadata_map["recbole_atjt"])
    graph = {each.name: (each.type, each.shape) for each in session.get_inputs()}
    assert graph == {
        each["name"]: (f"tensor({each['type'].replace('float32', 'float')})", each["shape"])
        for each in said["inputs"]
    }
    (output,) = session.get_outputs()
    assert [output.name, output.shape] == [said["outputs"][0]["name"], said["outputs"][0]["shape"]]
    found: dict[str, Any] = said
    return found


@pytest.mark.parametrize("model", fast(ONNX, ["SASRec", "WideDeep", "AEL"]))
def test_recommendations_are_the_same_before_and_after(model: str, tmp_path: Path) -> None:
    served = serve(model, tmp_path)
    done = export(served.path)
    assert done.path == served.path.with_suffix(".onnx")
    assert 0 <= done.parity.difference <= 1e-5
    assert done.parity.scores > 200
    said = columns_of(done.path)
    catalogue = rebuild(served.path).catalogue
    assert said["items"] == catalogue.items
    assert said["model"] == model
    onnx.checker.check_model(str(done.path))
    users = list(served.clicks)
    before, after = (Recommender.load(path) for path in (served.path, done.path))
    for count in (1, 3, len(users)):
        for exclude_seen in (False, True):
            one, other = (
                each.recommend(users=users[:count], k=5, exclude_seen=exclude_seen)
                for each in (before, after)
            )
            assert [[e.item for e in a] for a in one] == [[e.item for e in a] for a in other]
            for answer, again in zip(one, other):
                expected = [each.score for each in answer]
                assert [each.score for each in again] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("model", fast(["SASRec", "FEARec", "DIN"], ["FEARec"]))
def test_torch_export_takes_any_batch(model: str, tmp_path: Path) -> None:
    """A program is loaded by torch alone, and scores what the model does."""
    served = serve(model, tmp_path)
    done = export(served.path, "torch", tmp_path / "some.pt2")
    extra = {f"{DESCRIPTION}.json": ""}
    program = torch.export.load(str(tmp_path / "some.pt2"), extra_files=extra).module()
    said = Description.of(extra[f"{DESCRIPTION}.json"])
    assert said == done.description
    recommender = Recommender.load(served.path)
    users = list(served.clicks)[:5]
    scores, tokens = served.scores(users)
    number = {token: place for place, token in enumerate(said.items)}
    for query, (user, row) in enumerate(zip(users, scores)):
        last = served.clicks[user][-10:]
        history = [number[item] for item in last]
        batch: dict[str, Any] = {
            "item_id_list": torch.tensor([history + [0] * (10 - len(history))]),
            "item_length": torch.tensor([len(history)]),
        }
        if said.users is not None:  # a row for each item
            items = torch.arange(len(said.items))
            batch = {
                name: column.expand(len(items), *column.shape[1:]) for name, column in batch.items()
            }
            batch["user_id"] = torch.full_like(items, said.users.index(user))
            batch["item_id"] = items
        found = program(*(batch[each.name] for each in said.signature.inputs)).flatten()
        assert found.tolist() == pytest.approx(row.tolist(), abs=1e-5), query
    assert [tokens[0], *said.items[:1]] == ["[PAD]", "[PAD]"]
    assert recommender.signature == said.signature


def test_fearec_goes_by_torch_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served = serve("FEARec", tmp_path)
    capsys.readouterr()
    assert main(["export", str(served.path), "--to=onnx"]) == 1
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert line.startswith("recbole-atjt: model=FEARec can't be exported by --to=onnx: ")
    assert line.endswith("; try --to=torch")
    assert shown.out == ""
    assert [path.name for path in served.path.parent.iterdir()] == [served.path.name]


def test_the_command_says_what_it_wrote(
    sasrec: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "served.onnx"
    capsys.readouterr()
    assert main(["export", str(sasrec.path), "--to=onnx", f"--output={path}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"exported: {path} (0.")
    assert lines[0].endswith("MB), served.onnx.safetensors beside it")
    assert lines[1:3] == ["  item_id_list: int64 [batch, 10]", "  item_length: int64 [batch]"]
    assert lines[3].startswith("largest difference: ")
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "served.onnx",
        "served.onnx.safetensors",
    ]
    assert main(["recommend", str(path), "--user=u1", "-k", "2", "--format=csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize("to", ["onnx", "torch"])
def test_a_model_whose_scores_differ_is_refused_and_leaves_nothing(
    sasrec: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    """The graph is what was traced; a model that does something else later has another score."""
    from recbole.model.sequential_recommender import SASRec

    calls: list[int] = []
    original = SASRec.full_sort_predict

    def unsteady(self: Any, interaction: Any) -> Tensor:
        calls.append(1)
        return original(self, interaction) + (3e-2 if len(calls) > 2 else 0)

    monkeypatch.setattr(SASRec, "full_sort_predict", unsteady)
    target = tmp_path / ("some.onnx" if to == "onnx" else "some.pt2")
    with pytest.raises(ExportFailed, match=r"differ by up to 0\.03.* nothing is written"):
        export(sasrec.path, to, target)
    assert list(tmp_path.iterdir()) == []
    target.write_text("the one before")
    calls.clear()
    with pytest.raises(ExportFailed):
        export(sasrec.path, to, target)
    assert target.read_text() == "the one before"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_parity_is_the_largest_difference(sasrec: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = rebuild(sasrec.path).catalogue
    inputs = (Input("user_id", "user", (), True),)

    class Given:
        def __init__(self, change: Any = None) -> None:
            self.signature, self.change = Signature(inputs, True, 3), change

        def __call__(self, batch: Any) -> Tensor:
            scores = torch.arange(4.0).repeat(len(batch["user_id"]), 1)
            if self.change is not None:
                self.change(scores)
            return scores

    def add(size: float) -> Any:
        def change(scores: Tensor) -> None:
            scores[-1, 1] += size

        return change

    monkeypatch.setattr(parity, "SIZES", (1, 5))
    found = compare(Given(), Given(add(2e-4)), catalogue)
    assert found.difference == pytest.approx(2e-4, rel=1e-3)
    assert found.allowed == pytest.approx(3e-4)
    assert (found.scores, found.holds) == (24, True)
    assert not compare(Given(), Given(add(4e-4)), catalogue).holds
    for broken in (float("nan"), float("inf")):
        assert not compare(Given(), Given(add(broken)), catalogue).holds
    assert compare(Given(add(-np.inf)), Given(add(-np.inf)), catalogue).holds  # left out by both
    assert not compare(
        Given(), Given(lambda scores: scores.resize_(len(scores), 3)), catalogue
    ).holds


@pytest.mark.parametrize("model", ["BERT4Rec", "HRM"])
def test_methods_without_loops_do_what_the_loops_do(model: str, tmp_path: Path) -> None:
    built = rebuild(serve(model, tmp_path).path).model
    lengths = torch.tensor([1, 4, 10, 7])
    history = torch.arange(1, 41).view(4, 10) * (torch.arange(10) < lengths.unsqueeze(1))
    name = "reconstruct_test_data" if model == "BERT4Rec" else "inverse_seq_item"
    expected = getattr(built, name)(history, lengths)
    with without_loops(built):
        assert name in vars(built)
        assert torch.equal(getattr(built, name)(history, lengths), expected)
    assert name not in vars(built)


def test_wrong_exports(sasrec: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for given, message in (
        ({"to": "tflite"}, "to=tflite is unknown: use onnx or torch"),
        ({"output": tmp_path / "x.pt2"}, r"x\.pt2: a file for onnx ends in \.onnx"),
    ):
        with pytest.raises(UsageError, match=message):
            export(sasrec.path, **given)
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportFailed, match=r"some\.onnx can't be written: "):
        export(sasrec.path, "onnx", tmp_path / "file" / "some.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"pip install 'recbole_atjt\[export\]'"):
        export(sasrec.path)
    with pytest.raises(UsageError, match=r"pip install 'recbole_atjt\[export\]'"):
        Recommender.load("some.onnx")


def test_files_that_are_no_export(sasrec: Served, tmp_path: Path) -> None:
    path = export(sasrec.path, "onnx", tmp_path / "some.onnx").path
    beside = tmp_path / "some.onnx.safetensors"
    kept = load_checkpoint(beside)
    save_checkpoint(beside, {}, meta={**kept.meta, "mark": "another"})
    with pytest.raises(UsageError, match="is of another export than"):
        Recommender.load(path)
    beside.unlink()
    with pytest.raises(UsageError, match=r"needs .*some\.onnx\.safetensors beside it"):
        Recommender.load(path)
    model = onnx.load(str(path))
    for text in ("{", '{"inputs": 5}', "[]"):
        model.metadata_props[0].value = text
        onnx.save(model, str(path))
        with pytest.raises(UsageError, match="has not the form"):
            Recommender.load(path)
    del model.metadata_props[:]
    onnx.save(model, str(path))
    with pytest.raises(UsageError, match="does not say what it reads"):
        Recommender.load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(UsageError, match="is no model for ONNX Runtime"):
        Recommender.load(path)
    with pytest.raises(UsageError, match=r"there is no file .*none\.onnx"):
        Recommender.load(tmp_path / "none.onnx")
