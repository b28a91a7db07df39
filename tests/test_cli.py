"""The command: what it explains, prints and returns; every mistake ends in one line."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from recbole_atjt import DenoisingTrainer, UsageError
from recbole_atjt.cli import main, parse_arguments
from recbole_atjt.weighting.keys import explained_keys
from recbole_atjt.weighting.table import strategy_names
from tests.models import data_path
from tests.runs import arguments, settings

ROOT = Path(__file__).resolve().parent.parent
CODE = "__import__('os').system('touch hacked')"


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs the command and returns its one line on stderr."""

    def run(code: int = 2, given: list[str] | None = None, **changes: Any) -> str:
        assert main(arguments(**changes) if given is None else given) == code
        error = capsys.readouterr().err
        lines = [line for line in error.splitlines() if line.startswith("recbole-atjt: ")]
        assert len(lines) == 1, error
        if code == 2:
            assert error.splitlines()[-1:] == lines
        assert "Traceback" not in error
        assert not Path("hacked").exists()
        return lines[0]

    return run


def test_help_names_every_key_of_ours_on_one_screen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    words = re.findall(r"\w+", shown)
    for item in explained_keys():
        assert item.key in words
    assert max(map(len, shown.splitlines())) <= 80
    assert len(shown.splitlines()) < 90
    for word in (*strategy_names(), "--model", "--dataset", "--seed", "--config_files"):
        assert word in shown


def test_a_run_prints_a_table_and_writes_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(weighting="none,atjt", seed="[1,2]")) == 0
    shown = capsys.readouterr().out
    assert "SASRec on tiny, test" in shown
    assert "none (2 seeds)" in shown
    assert "against none" in shown
    assert shown.rstrip().endswith("result: out/result.json")
    runs = json.loads(Path("out/result.json").read_text(encoding="utf-8"))["runs"]
    found = [(run["weighting"], run["seed"]) for run in runs]
    assert found == [("none", 1), ("none", 2), ("atjt", 1), ("atjt", 2)]


def test_config_files_give_keys_and_lists(capsys: pytest.CaptureFixture[str]) -> None:
    keys = {**settings(epochs=1), "model": "GRU4Rec", "dataset": "tiny"}
    Path("a.yaml").write_text(yaml.safe_dump({**keys, "weighting": ["none", "wat"]}), "utf-8")
    Path("b.yaml").write_text("seed: 3\n", encoding="utf-8")
    assert main(["--config_files=a.yaml b.yaml", "--output_dir=out", "--epochs=2"]) == 0
    runs = json.loads(Path("out/result.json").read_text(encoding="utf-8"))["runs"]
    assert [(r["model"], r["weighting"], r["seed"]) for r in runs] == [
        ("GRU4Rec", "none", 3),
        ("GRU4Rec", "wat", 3),
    ]
    assert all(run["epochs"] == 2 for run in runs)


def test_arguments_are_key_and_value() -> None:
    given = ["--a=1", "--b", "-2", "--c=x=y", "--d="]
    assert parse_arguments(given) == {"a": "1", "b": "-2", "c": "x=y", "d": ""}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["SASRec"], "argument 'SASRec' is not of the form --key=value"),
        (["--epochs"], "argument '--epochs' has no value"),
        (["--epochs", "--seed=1"], "argument '--epochs' has no value"),
        (["--seed=1", "--seed=2"], "key 'seed' is given twice: 1 and 2"),
        (["-x=1"], "not of the form --key=value"),
    ],
)
def test_arguments_that_are_none(given: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_arguments(given)


#: What is wrong, and what the line says.
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model": "SASRecc"}, "did you mean 'SASRec'"),
    ({"model": "KGAT"}, "knowledge-aware"),
    ({"model": "XGBoost"}, "decision tree"),
    ({"dataset": "tinyy"}, "did you mean 'tiny'"),
    ({"weighting": "none,atj"}, "did you mean 'atjt'"),
    ({"atjt_gruops": 2}, "did you mean 'atjt_groups'"),
    ({"metrics": "[NDGC]"}, "did you mean 'NDCG'"),
    ({"valid_metric": "NDCG@50"}, "topk=[5, 10]"),
    ({"TIME_FIELD": "when"}, "TIME_FIELD is 'when', which is not in"),
    ({"atjt_groups": 1}, "at least 2"),
    ({"atjt_groups": 31}, "more than the 30 users"),
    ({"atjt_noise_share": 1.0}, "inside (0, 1)"),
    ({"atjt_noise_share": 0}, "inside (0, 1)"),
    ({"atjt_alpha": -0.5}, "at least 0"),
    ({"seed": CODE}, "seed="),
    ({"epochs": CODE}, "epochs="),
    ({"eval_args": CODE}, "eval_args="),
    ({"epochs": 0}, "at least 1"),
    ({"epochs": "abc"}, "is not a number"),
    ({"train_batch_size": 0}, "at least 1"),
    ({"learning_rate": -1}, "above 0"),
    ({"MAX_ITEM_LIST_LENGTH": 0}, "at least 1"),
    ({"topk": "[]"}, "topk=[]"),
    ({"n_heads": 3}, "is not a multiple of the number of attention heads (3)"),
    ({"hidden_dropout_prob": 2}, "dropout probability has to be between 0 and 1"),
    ({"hidden_act": "foo"}, "model=SASRec: KeyError: 'foo'"),
    ({"user_inter_num_interval": "[100,inf)"}, "nothing is left of dataset 'tiny'"),
    ({"val_interval": "{nothing: '[1,2]'}"}, "dataset 'tiny': Field [nothing]"),
    ({"rm_dup_inter": "foo"}, "dataset 'tiny': keep must be"),
    ({"transform": "foo"}, "no transform named 'foo'"),
    ({"eval_args": "{split: {LS: half}, order: TO}"}, "LS is 'half'"),
    ({"eval_args": "{split: {RS: [0.8, 0.2]}, order: TO}"}, "needs three shares"),
    (
        {"eval_args": "{split: {LS: valid_and_test}, order: TO, mode: labeled}"},
        "rank candidates, which eval_args mode 'labeled' has not",
    ),
    ({"model": "BPR"}, "weighting=atjt needs histories"),
    ({"model": "GRU4RecKG"}, "dataset 'tiny': "),
    ({"model": "S3Rec", "item_attribute": "foo"}, "Field [foo] not defined"),
    ({"model": "SASRecF", "selected_features": "[foo]"}, "model=SASRecF: KeyError: 'foo'"),
    ({"model": "SASRecCPR", "loss_type": "BCE"}, "does not score single items"),
    ({"model": "SASRecCPR", "loss_type": "BPR"}, "does not offer this combination"),
    ({"model": "CORE", "loss_type": "BPR"}, "Make sure 'loss_type' in ['CE']"),
    ({"loss_type": "CEE"}, "did you mean 'CE'"),
    ({"loss_type": "BPR", "train_neg_sample_args": "~"}, "compares items with sampled ones"),
    ({"model": "S3Rec", "pre_model_path": "no.safetensors"}, "no checkpoint file no.safetensors"),
    ({"model": "KD_DAGFM", "phase": "distillation"}, "model=KD_DAGFM"),
    ({"config_files": "nowhere.yaml"}, "config file nowhere.yaml can't be read"),
    ({"output_dir": "/proc/no"}, "/proc/no can't be written to"),
    ({"seed": "1,1"}, "is listed twice"),
    ({"topk": "[10, 500]"}, "topk=[10, 500] asks for more than the 40 items"),
    ({"field_separator": "''"}, "field_separator='' must be one character"),
    ({"field_separator": "[1]"}, "field_separator=[1] must be one character"),
    ({"seq_separator": "ab"}, "seq_separator='ab' must be one character"),
    ({"encoding": "rot13"}, "encoding=rot13 is unknown"),
    ({"encoding": "hex"}, "encoding=hex is unknown"),
    ({"encoding": "utf-16"}, "is not in encoding=utf-16"),
    ({"model": "[5,10]"}, "model=5 is no name"),
    ({"eval_args": "&a [*a]"}, "holds itself, or is nested too deeply"),
    ({"load_col": "&a {inter: *a}"}, "holds itself, or is nested too deeply"),
    ({"topk": "[" * 3000}, "nested too deeply"),
    ({"hidden_size": 10**9}, "hidden_size=1000000000 asks for at least "),
    ({"atjt_recognizer_embedding_size": 10**9}, "asks for at least "),
    ({"atjt_recognizer_output_hidden_sizes": "[1000000000, 10]"}, "asks for at least "),
    ({"n_layers": 10**6}, "n_layers=1000000 is out of range: it must be at most 1024"),
    ({"worker": 10**5}, "worker=100000 is out of range: it must be at most 256"),
    ({"train_batch_size": 10**20}, "is out of range: it must be at most 2147483648"),
    ({"MAX_ITEM_LIST_LENGTH": 10**9}, "is far above the longest history, 10 items"),
    (
        {"metrics": "[AUC,Hit,NDCG]", "value_negatives": 10**9},
        "value_negatives=1000000000 is out of",
    ),
    (
        {"eval_args": "{split: {LS: valid_and_test}, order: TO, mode: uni1000000000}"},
        "mode: uni100000",
    ),
    (
        {"eval_args": "{split: {LS: valid_and_test}, order: TO, mode: pop1000000}"},
        "mode: pop1000000",
    ),
    (
        {
            "loss_type": "BPR",
            "train_neg_sample_args": "{distribution: uniform, sample_num: 1000000000}",
        },
        "train_neg_sample_args sample_num: 1000000000 is out of proportion",
    ),
    ({"model": "EASE", "weighting": "none"}, "EASE keeps 'interaction_matrix' (csr_matrix) beside"),
    (
        {"model": "FEARec", "global_ratio": 0, "weighting": "none", "n_layers": 1},
        "n_layers=1 is out of range: model=FEARec needs at least 2",
    ),
]


@pytest.mark.parametrize(
    ("changes", "message"),
    WRONG,
    ids=["-".join(f"{k}={str(v)[:30]}" for k, v in changes.items()) for changes, _ in WRONG],
)
def test_a_mistake_is_one_line_and_code_2(
    refused: Any, changes: dict[str, Any], message: str
) -> None:
    assert message in refused(**changes)
    assert not Path("out/result.json").exists()


def written(name: str, rows: list[tuple[Any, ...]], columns: str = "") -> str:
    """Write a dataset; return the folder that holds it."""
    columns = columns or "user_id:token\titem_id:token\trating:float\ttimestamp:float"
    Path(name).mkdir()
    lines = [columns, *("\t".join(map(str, row)) for row in rows)]
    Path(f"{name}/{name}.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "."


DATA: dict[str, tuple[list[tuple[Any, ...]], str]] = {
    "nothing": ([], "nothing.inter has no row below its header: it needs a row for each inter"),
    "one user": (
        [(1, item, 3, item) for item in range(12)],
        "the 1 users with training sequences: use weigh",
    ),
    "single clicks": ([(u, u, 3, u) for u in range(12)], "no user has two interactions"),
    "no validation": (
        [(u, u % 3 + t, 3, t) for u in range(9) for t in range(2)],
        "leaves nothing for valid of dataset 'data'",
    ),
    "words for time": (
        [(1, 2, 3, "noon"), (1, 3, 3, "dusk")],
        "column 'timestamp:float' is no number",
    ),
}


@pytest.mark.parametrize("name", DATA)
def test_data_that_cannot_be_trained_on(refused: Any, name: str) -> None:
    rows, message = DATA[name]
    folder = written("nothing" if name == "nothing" else "data", rows)
    dataset = "nothing" if name == "nothing" else "data"
    assert message in refused(dataset=dataset, data_path=folder, load_col=None)


def test_more_groups_than_users_are_refused_before_a_network_is_made(
    refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("recbole_atjt.assembly.build_model", no_network)
    assert "atjt_groups=31 is more than the 30 users" in refused(atjt_groups=31)


def test_memory_that_ends_names_the_largest_settings(
    refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    monkeypatch.setattr("recbole_atjt.assembly.build_model", no_memory)
    line = refused(inner_size=50000, train_batch_size=4000)
    assert "model=SASRec asks for more memory than there is; make smaller: inner_size=5" in line
    monkeypatch.undo()
    monkeypatch.setattr(DenoisingTrainer, "_train_epoch", no_memory)
    assert "make smaller: train_batch_size=4000" in refused(train_batch_size=4000)


@pytest.mark.parametrize("program", ["run_atjt.py", "-m recbole_atjt"])
def test_ctrl_c_while_the_command_is_loaded_is_one_line(program: str, tmp_path: Path) -> None:
    """The first module of ours that is heavy interrupts, as a key would at that moment."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'recbole.config': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    given = [str(ROOT / program)] if program.endswith(".py") else program.split()
    done = subprocess.run(
        [sys.executable, *given],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    assert done.stderr == "recbole-atjt: interrupted before training; nothing was saved\n"


@pytest.mark.parametrize(
    "named",
    ["my settings/a b.yaml", "'my settings/a b.yaml'", "[my settings/a b.yaml]", "plain.yaml"],
)
def test_config_files_may_have_spaces_in_their_names(named: str) -> None:
    Path("my settings").mkdir()
    for path in (Path("my settings/a b.yaml"), Path("plain.yaml")):
        path.write_text("epochs: 1")
    given = [word for word in arguments() if not word.startswith("--epochs")]
    assert main([*given, f"--config_files={named}"]) == 0
    (run,) = json.loads(Path("out/result.json").read_text(encoding="utf-8"))["runs"]
    assert run["epochs"] == 1


@pytest.mark.parametrize("named", ["autodenoise", "properties/protocols/autodenoise.yaml"])
def test_config_files_that_ship_are_found_by_name(named: str) -> None:
    given = ["--model=MF", f"--config_files={named}", "--output_dir=out", "--dataset=ml-100k"]
    short = ["--epochs=1", "--user_inter_num_interval=[100,inf)", "--weighting=none"]
    assert main([*given, *short, "--embedding_size=4", "--metrics=[NDCG]", "--topk=[20]"]) == 0
    (run,) = json.loads(Path("out/result.json").read_text(encoding="utf-8"))["runs"]
    assert run["config"]["clean_eval"] == {"rating": "[3,inf)"}


@pytest.mark.parametrize(
    ("named", "line"),
    [
        ("autodenoize", "did you mean 'autodenoise'?; the package ships autodenoise"),
        ("a 'b", "config_files=a 'b: a quote is not closed"),
        ("properties/../setup.cfg", "can't be read"),
    ],
)
def test_config_files_that_are_none_are_one_line(refused: Any, named: str, line: str) -> None:
    assert line in refused(config_files=named)


@pytest.mark.parametrize("text", ["5: x", "[1, 2]: x", "topk: &a [*a]", "topk: " + "[" * 3000])
def test_config_files_of_odd_yaml_are_one_line(refused: Any, text: str) -> None:
    Path("odd.yaml").write_text(f"{text}\n")
    refused(config_files="odd.yaml")


def test_data_without_time(refused: Any) -> None:
    folder = written("data", [(1, 2), (1, 3)], "user_id:token\titem_id:token")
    line = refused(dataset="data", data_path=folder, load_col=None)
    assert "SASRec needs a time field: TIME_FIELD is 'timestamp'" in line


def test_item_features_that_are_not_there(refused: Any) -> None:
    Path("bare").mkdir()
    shutil.copy(f"{data_path()}/tiny/tiny.inter", "bare/bare.inter")
    for model in ("S3Rec", "SASRecF", "GRU4RecF", "FDSA"):
        line = refused(dataset="bare", data_path=".", load_col=None, model=model)
        assert f"model={model}: " in line
        assert "class" in line


def test_a_loss_that_is_no_number_is_code_1(refused: Any) -> None:
    line = refused(1, learning_rate=1e30, epochs=3, weighting="none")
    assert "epoch 0, batch " in line
    assert "the loss is nan: try a smaller learning_rate (now 1e+30)" in line


def test_labels_that_are_missing_are_code_1(refused: Any) -> None:
    line = refused(1, model="WideDeep", train_neg_sample_args="~")
    assert "fails on its first batch: KeyError: 'label' is missing: see load_col" in line


def test_ctrl_c_says_what_was_saved(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = DenoisingTrainer._check_nan

    def interrupt(trainer: DenoisingTrainer, loss: Any) -> None:
        if (trainer.epoch, trainer.batch) == (2, 1):
            raise KeyboardInterrupt
        plain(trainer, loss)

    monkeypatch.setattr(DenoisingTrainer, "_check_nan", interrupt)
    line = refused(130, epochs=5)
    assert "interrupted in epoch 2 of SASRec-tiny-atjt-7: the best model (epoch " in line
    kept = Path(line.split(" is kept in ")[1].split("; go on with --resume=out")[0])
    assert kept.is_file()


def test_ctrl_c_before_anything(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recbole_atjt.cli._run", interrupt)
    assert "nothing was saved" in refused(130)


def test_an_error_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> None:
        raise LookupError("a bug")

    monkeypatch.setattr("recbole_atjt.experiment.versions", broken)
    with pytest.raises(LookupError, match="a bug"):
        main(arguments())


def started(*command: str, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *command],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


@pytest.mark.slow
@pytest.mark.parametrize("start", [[str(ROOT / "run_atjt.py")], ["-m", "recbole_atjt"]])
def test_both_ways_to_start_it(start: list[str]) -> None:
    process = started(*start, *arguments(seed=CODE, model="SASRec"))
    out, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert out == ""
    assert [line for line in error.splitlines() if line] == [
        f"recbole-atjt: seed={CODE} is not a number"
    ]
    assert not Path("hacked").exists()


@pytest.mark.slow
def test_a_real_ctrl_c(tmp_path: Path) -> None:
    # A shell that starts the tests in the background has it ignored, and a child inherits that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    keys = arguments(epochs=100000, stopping_step=100000)
    process = started(str(ROOT / "run_atjt.py"), *keys)
    signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/checkpoints/*.safetensors")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert "is kept in out/checkpoints/SASRec-tiny-atjt-7.safetensors" in error.splitlines()[-1]


@pytest.mark.slow
def test_a_reader_who_leaves_early_is_no_error() -> None:
    process = started(str(ROOT / "run_atjt.py"), "--help")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(60) == 0
