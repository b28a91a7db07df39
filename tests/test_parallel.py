"""Several processes compute what one computes: shares, gathers, five strategies, a death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.utils import ModelType

import recbole_atjt
from recbole_atjt import UsageError, assembly
from recbole_atjt.checkpoint.file import load_checkpoint
from recbole_atjt.host.plain import with_values
from recbole_atjt.parallel import group
from recbole_atjt.parallel import share as shares
from recbole_atjt.parallel.launch import Launch, read_launch
from recbole_atjt.parallel.share import Share, SplitRows
from recbole_atjt.report.result import RunResult
from recbole_atjt.training import sharing
from tests.models import data_path
from tests.runs import options, settings

ROOT = Path(__file__).resolve().parents[1]
MODELS = ["SASRec", "WideDeep"]
WEIGHTINGS = ["none", "channel", "t_ce", "atjt", "autodenoise_s"]
NONE: dict[str, Any] = {"epochs": []}
SIZES = [(s, p) for s in (1, 2, 3, 4, 5, 7, 64) for p in (1, 2, 3, 4)]


def shares_of(sequences: int, times: int, processes: int) -> list[Share]:
    return [Share(sequences, sequences * times, n, processes) for n in range(processes)]


@pytest.mark.parametrize(("sequences", "processes"), SIZES)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_shares_part_a_batch(sequences: int, processes: int, times: int) -> None:
    parts = shares_of(sequences, times, processes)
    counted = [part for part in parts if part.factor]
    rows = torch.cat([part.index for part in counted])
    assert sorted(rows.tolist()) == list(range(sequences * times))
    assert sum(part.factor for part in parts) == pytest.approx(1.0)
    assert max(part.length for part in counted) - min(part.length for part in counted) <= 1
    for part in parts:
        assert part.length >= min(2, sequences)
        own = part.index.view(times, part.length)
        assert (own % sequences == own[0]).all(), "a sequence and its negatives stay together"


@pytest.mark.parametrize(("sequences", "processes"), [(7, 2), (7, 3), (3, 4), (2, 2)])
def test_scaled_means_over_shares_add_up_to_the_mean(sequences: int, processes: int) -> None:
    batch = Interaction({"loss": torch.rand(sequences * 2)})
    parts = shares_of(sequences, 2, processes)
    total = sum(part.factor * float(part.cut(batch)["loss"].mean()) for part in parts)
    assert total == pytest.approx(float(batch["loss"].mean()), abs=1e-7)


def whole_from(parts: list[Share], number: int, values: torch.Tensor, patch: Any) -> torch.Tensor:
    """Return what a process gathers of values that each process has its rows of."""
    longest = max(*parts[0].lengths, parts[number].length)

    def gathered(sent: torch.Tensor) -> list[torch.Tensor]:
        assert sent.shape[1] == longest
        found = []
        for part in parts:
            own = values.detach()[part.index].view(part.times, part.length, *values.shape[1:])
            padded = own.new_zeros((part.times, longest, *values.shape[1:]))
            padded[:, : part.length] = own
            found.append(padded)
        assert torch.equal(found[number], sent)
        return found

    patch.setattr(shares, "gathered", gathered)
    return parts[number].whole(values[parts[number].index])


@pytest.mark.parametrize(("sequences", "processes"), [(7, 2), (7, 3), (3, 4)])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_what_is_gathered_is_in_the_order_of_the_batch(
    sequences: int, processes: int, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = torch.rand(sequences * 2, *shape)
    parts = shares_of(sequences, 2, processes)
    for number in range(processes):
        assert torch.equal(whole_from(parts, number, values, monkeypatch), values)


def test_a_gathered_value_keeps_its_own_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.rand(5, requires_grad=True)
    parts = shares_of(5, 1, 2)
    whole_from(parts, 1, values, monkeypatch).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0, 0, 0, 1, 1]


def test_a_matrix_in_parts_is_read_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = torch.rand(5, 6)
    parts = shares_of(5, 1, 2)
    split = SplitRows(scores[parts[0].index], parts[0])
    other = SplitRows(scores[parts[1].index], parts[1])
    monkeypatch.setattr(shares, "summed", lambda own: own)  # what the other has is zero here
    rows, columns = torch.tensor([4, 0, 2]), torch.arange(6).unsqueeze(0)
    for key in ((rows.unsqueeze(1), columns), (rows, torch.tensor([1, 5, 0]))):
        assert torch.equal(split[key] + other[key], scores[key])
    assert torch.equal(split[rows] + other[rows], scores[rows])
    monkeypatch.setattr(
        SplitRows, "together", lambda part: scores[:, : part.shape[1]]
    )  # anything else
    assert torch.equal(split.sum(1), scores.sum(1))
    assert torch.equal(torch.logsumexp(split, 1), torch.logsumexp(scores, 1))
    assert split[:, :4].shape == (5, 4)
    assert len(split) == 5


def test_alone_every_verb_is_the_identity() -> None:
    values = torch.rand(3)
    for verb in (group.summed, group.gathered_rows, group.from_first):
        assert verb(values) is values
    assert group.gathered(values) == [values]
    assert group.decided(lambda: 3) == 3
    assert (group.rank(), group.size(), group.is_first()) == (0, 1, True)
    with group.together(), group.copy_of("here") as path:
        assert path == "here"


def test_recboles_keys_say_which_processes_there_are() -> None:
    given = {"nproc": "2", "world_size": 4, "ip": "10.0.0.1", "port": 5000, "group_offset": 2}
    launch = read_launch(given)
    assert launch == Launch(2, 4, "10.0.0.1", 5000, 2)
    assert given == {}
    assert launch.environment(1) == {
        "RANK": "3",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "5000",
    }
    assert read_launch({"epochs": 3}) is None
    assert read_launch({"nproc": 1}) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"nproc": "two"}, "nproc=two is not a whole number"),
        ({"nproc": 0}, "nproc=0 is out of range"),
        ({"nproc": 2, "port": 99999}, "port=99999 is out of range"),
        ({"nproc": 2, "world_size": 1}, "world_size=1 is less than"),
        ({"nproc": 2, "world_size": 2, "group_offset": 1}, "world_size=2 is less than"),
    ],
)
def test_a_launch_that_cannot_be_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_launch(given)


def test_torchrun_and_nproc_do_not_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in Launch(2, 2, "localhost", 5000, 0).environment(0).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="torchrun has started the processes: leave nproc out"):
        read_launch({"nproc": 2})


def test_nproc_in_a_config_file_is_refused() -> None:
    Path("two.yaml").write_text("nproc: 2\n", encoding="utf-8")
    with pytest.raises(UsageError, match="nproc is no setting of a run"):
        recbole_atjt.run("SASRec", "tiny", config_file_list=["two.yaml"], config_dict=settings())


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("AEL", "is trained in stages: use one process, not 2"),
        ("S3Rec", "is pretrained"),
        ("Pop", "is not trained by gradients"),
        ("EASE", "is not trained by gradients"),
    ],
)
def test_a_model_for_one_process_is_refused(
    model: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = settings(eval_args={"split": {"RS": [8, 1, 1]}, "order": "RO", "mode": "full"})
    config = recbole_atjt.DenoisingConfig(model, "tiny", config_dict=keys)
    monkeypatch.setattr(sharing, "size", lambda: 2)
    with pytest.raises(UsageError, match=said):
        assembly.assemble(config)


def test_batches_of_a_graph_are_for_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    config = recbole_atjt.DenoisingConfig("BPR", "tiny", config_dict=settings())
    monkeypatch.setattr(sharing, "size", lambda: 2)
    with pytest.raises(UsageError, match="has two kinds of batches"):
        sharing.refuse_alone(with_values(config, MODEL_TYPE=ModelType.KNOWLEDGE))


@pytest.mark.parametrize(
    ("model", "said"),
    [("GRU4Rec", ""), ("SASRec", ""), ("BERT4Rec", "no mean over"), ("DIN", "normalises")],
)
def test_what_shares_train_otherwise_is_known(model: str, said: str) -> None:
    config = recbole_atjt.DenoisingConfig(model, "tiny", config_dict=settings())
    ready = recbole_atjt.assemble(config)
    times = ready.train_data.times
    loss = sharing.SharedLoss(ready.model, times, lambda: (0, 0, 0))
    found = loss.difference(next(iter(ready.train_data)))
    assert said in found
    assert bool(found) == bool(said)


def keys_of(**changes: Any) -> dict[str, Any]:
    """Return keys without dropout: processes drop other elements than one does."""
    plain = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "dropout_prob": 0.0}
    return settings(
        **{
            **plain,
            "atjt_evidence": "likelihood",
            "t_ce_num_gradual": 10,
            "metrics": ["Hit", "NDCG", "AUC", "GAUC"],
            **changes,
        }
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return the runs of one process and those of two, by name."""
    found = []
    for processes in (1, 2):
        folder = tmp_path_factory.mktemp("runs")
        keys = {**keys_of(), "nproc": processes}
        torch.set_num_threads(1)
        os.chdir(folder)
        result = recbole_atjt.run(MODELS, "tiny", WEIGHTINGS, config_dict=keys, output_dir=folder)
        found.append({run.name: run for run in result.runs})
    return found


@pytest.mark.slow
@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("model", MODELS)
def test_two_processes_train_as_one(model: str, weighting: str, both: Any) -> None:
    one, two = (runs[f"{model}-tiny-{weighting}-7"] for runs in both)
    same_runs(one, two)


def same_runs(one: RunResult, two: RunResult) -> None:
    for phase in ("valid", "test"):
        assert getattr(two, phase) == pytest.approx(getattr(one, phase), abs=1e-5)
    assert two.best_epoch == one.best_epoch
    assert two.warnings == one.warnings
    for first, second in zip(one.progress, two.progress):
        assert second == pytest.approx(first, abs=1e-5)
    for first, second in zip((one.weights or NONE)["epochs"], (two.weights or NONE)["epochs"]):
        assert second == pytest.approx(first, abs=1e-5)
    states = [load_checkpoint(run.checkpoint).model_state for run in (one, two)]
    for name, value in states[0].items():
        if name.endswith("key.bias"):
            continue  # softmax cancels it: its gradient is rounding, of which Adam makes steps
        assert torch.allclose(states[1][name], value, atol=1e-5), name


def started(folder: str, epochs: int, **changes: Any) -> subprocess.Popen[str]:
    keys = {**keys_of(**changes), "data_path": data_path(), "stopping_step": 1000}
    words = options({**keys, "epochs": epochs, "model": "SASRec", "dataset": "tiny"})
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run_atjt.py"), *words, f"--output_dir={folder}"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def children_of(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    names = {int(each): Path(f"/proc/{each}/cmdline").read_text("utf-8") for each in found}
    return [each for each, name in names.items() if "spawn_main" in name]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies_ends_all_in_one_line(victim: int) -> None:
    epochs = 15
    process = started("broken", epochs, weighting="channel", nproc=2)
    deadline = time.monotonic() + 120
    while not list(Path("broken").glob("checkpoints/*.last.*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(children_of(process.pid)[victim], signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    lines = [line for line in said.splitlines() if line.startswith("recbole-atjt")]
    assert len(lines) == 1
    assert lines[0].startswith(f"recbole-atjt: process {victim} of 2 was ended by SIGKILL: ")
    assert lines[0].endswith("go on with --resume=broken")
    assert "Traceback" not in said
    keys = keys_of(epochs=epochs, stopping_step=1000)
    recbole_atjt.run("SASRec", "tiny", "channel", config_dict=keys, output_dir="whole")
    (two,) = recbole_atjt.run(resume="broken").runs
    assert json.loads(Path("broken/result.json").read_text(encoding="utf-8"))["runs"]
    (one,) = json.loads(Path("whole/result.json").read_text(encoding="utf-8"))["runs"]
    same_runs(RunResult(**one), two)
