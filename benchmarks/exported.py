"""Which models can be exported, how far their scores lie apart, how large and how fast they are.

    python benchmarks/exported.py [--models=SASRec,AEL] [--output=exported.jsonl] [--threads=1]
    python benchmarks/exported.py --table=exported.jsonl

Each model is trained for a moment on made-up clicks (300 users, 1,000 items) in the sizes that it
has by default, exported to both targets, and asked over and over: those that score all items at
once for 64 users, the others for 4,096 pairs of user and item. Latency is the least of interleaved
calls, in one thread. A model that is in the output already is not made again. The table is
Markdown.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from recbole.utils import ModelType

import recbole_atjt
from recbole_atjt import AtjtError, DenoisingConfig
from recbole_atjt.host.registry import recbole_models
from recbole_atjt.model.table import find_model, own_models
from recbole_atjt.serving.export import SUFFIXES, export
from recbole_atjt.serving.exported import OnnxScorer, ProgramScorer
from recbole_atjt.serving.inputs import InputMaker, signature_of
from recbole_atjt.serving.parity import batch_of
from recbole_atjt.serving.rebuilding import rebuild
from recbole_atjt.serving.scorers import ModelScorer

USERS, ITEMS, CLICKS, ROUNDS = 300, 1_000, 20, 7
#: The models that have to pass: the paper's, and four more.
REQUIRED = (
    "WideDeep", "DCN", "DIN", "SASRec", "FEARec", "S3Rec", "GRU4Rec", "BERT4Rec", "MF", "AEL",
)  # fmt: skip
COLUMNS = {
    "inter": ["user_id", "item_id", "timestamp"],
    "item": ["item_id", "release_year", "class"],
    "user": ["user_id", "age", "gender"],
}
GRAPH = {
    "load_col": {
        **COLUMNS,
        "kg": ["head_id", "relation_id", "tail_id"],
        "link": ["item_id", "entity_id"],
        "ent": ["ent_id", "ent_emb"],
        "rel": ["rel_id", "rel_emb"],
    },
    "additional_feat_suffix": ["ent", "rel"],
    "alias_of_entity_id": ["ent_id"],
    "alias_of_relation_id": ["rel_id"],
    "preload_weight": {"ent_id": "ent_emb", "rel_id": "rel_emb"},
}


def write_data(folder: Path) -> None:
    """Write made-up atomic files, with features and a graph."""
    rng = np.random.default_rng(7)
    ids = [f"i{n}" for n in range(ITEMS)]
    files: dict[str, tuple[str, list[str]]] = {
        "inter": (
            "user_id:token\titem_id:token\ttimestamp:float",
            [
                f"u{user}\ti{item}\t{time}"
                for user in range(USERS)
                for time, item in enumerate(rng.choice(ITEMS, CLICKS, replace=False))
            ],
        ),
        "item": (
            "item_id:token\trelease_year:token\tclass:token_seq",
            [
                f"{each}\t{1990 + n % 20}\t{'a b c d'[: 1 + 2 * (n % 4)]}"
                for n, each in enumerate(ids)
            ],
        ),
        "user": (
            "user_id:token\tage:token\tgender:token",
            [f"u{n}\t{20 + n % 40}\t{'fm'[n % 2]}" for n in range(USERS)],
        ),
        "kg": (
            "head_id:token\trelation_id:token\ttail_id:token",
            [f"e{n}\tr{n % 3}\te{(n + 1) % ITEMS}" for n in range(ITEMS)],
        ),
        "link": ("item_id:token\tentity_id:token", [f"i{n}\te{n}" for n in range(ITEMS)]),
    }
    for suffix, names in (("ent", [f"e{n}" for n in range(ITEMS)]), ("rel", ["r0", "r1", "r2"])):
        vectors = [f"{name}\t{' '.join(f'{x:.3f}' for x in rng.normal(size=64))}" for name in names]
        files[suffix] = (f"{suffix}_id:token\t{suffix}_emb:float_seq", vectors)
    (folder / "made").mkdir()
    for suffix, (header, lines) in files.items():
        (folder / "made" / f"made.{suffix}").write_text("\n".join([header, *lines]) + "\n")


def train(model: str, folder: Path) -> Path:
    """Train a model for a moment; return its checkpoint."""
    kind = find_model(model).type
    keys: dict[str, Any] = {
        "data_path": str(folder),
        "load_col": COLUMNS,
        "epochs": 1,
        "pretrain_epochs": 1,
        "train_batch_size": 512,
        "eval_step": 0,
        "show_progress": False,
        "gpu_id": "",
        "MAX_ITEM_LIST_LENGTH": 50,
        "kg_embedding_size": 64,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
        **(GRAPH if model in ("GRU4RecKG", "KSR") else {}),
    }
    if kind == ModelType.CONTEXT:
        keys.update(metrics=["AUC"], valid_metric="AUC")
    ready = recbole_atjt.assemble(DenoisingConfig(model, "made", None, keys), folder)
    ready.trainer.saved_model_file = str(folder / f"{model}.safetensors")
    ready.trainer.fit(ready.train_data, verbose=False)
    return Path(ready.trainer.saved_model_file)


def measure(model: str, folder: Path) -> dict[str, Any]:
    """Return what becomes of a model in each target."""
    found: dict[str, Any] = {"model": model}
    try:
        path = train(model, folder)
        built = rebuild(path)
        signature = signature_of(built.model, built.config, built.catalogue)
    except AtjtError as error:
        return {**found, **{to: {"failed": str(error)} for to in SUFFIXES}}
    own = ModelScorer(built.model, signature, len(built.catalogue.items))
    scorers: dict[str, Any] = {"model": own}
    for to in SUFFIXES:
        try:
            done = export(path, to)
        except AtjtError as error:
            found[to] = {"failed": str(error)}
            continue
        found[to] = {"difference": done.parity.difference, "bytes": done.path.stat().st_size}
        if to == "onnx":
            scorers[to] = OnnxScorer(done.path)
        else:
            program = torch.export.load(str(done.path))
            scorers[to] = ProgramScorer(program, signature)
    maker = InputMaker(signature, built.catalogue)
    size = 64 if signature.scores_all else 4096
    batch = batch_of(maker, built.catalogue, np.random.default_rng(0), size)
    times: dict[str, list[float]] = {name: [] for name in scorers}
    for _ in range(ROUNDS):
        for name, scorer in scorers.items():
            start = perf_counter()
            scorer(batch)
            times[name].append(1000 * (perf_counter() - start))
    found["scores_all"] = signature.scores_all
    found["milliseconds"] = min(times["model"])
    for to in SUFFIXES:
        if to in scorers:
            found[to]["milliseconds"] = min(times[to])
    return found


def table(lines: list[dict[str, Any]]) -> str:
    """Return the table: the models that have to pass first, the others by name."""
    order = {name: place for place, name in enumerate(REQUIRED)}
    lines = sorted(lines, key=lambda line: (order.get(line["model"], 99), line["model"].lower()))
    rows = [
        "| model | ONNX: largest difference | MB | ms | torch.export: largest difference | MB | ms "
        "| PyTorch, ms |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for line in lines:
        cells = [line["model"] if line["model"] in REQUIRED else f"*{line['model']}*"]
        for to in SUFFIXES:
            got = line[to]
            if "failed" in got:
                cells += ["no", "", ""]
                continue
            size = f"{got['bytes'] / 1e6:.2f}"
            cells += [f"{got['difference']:.1e}", size, f"{got['milliseconds']:.1f}"]
        cells.append(f"{line['milliseconds']:.1f}" if "milliseconds" in line else "")
        rows.append(f"| {' | '.join(cells)} |")
    rows.append("")
    recboles = [line for line in lines if line["model"] not in own_models()]
    for to in SUFFIXES:
        passed = sum("failed" not in line[to] for line in recboles)
        rows.append(f"{to}: {passed} of {len(recboles)} models of RecBole's pass.")
    for line in lines:
        rows += [
            f"{line['model']}: {line[to]['failed']}" for to in SUFFIXES if "failed" in line[to]
        ]
    return "\n".join(rows)


def main(arguments: list[str]) -> int:
    """Make what is missing, and print the table."""
    given = dict(each[2:].split("=", 1) for each in arguments)
    if "table" in given:
        print(table([json.loads(line) for line in Path(given["table"]).read_text().splitlines()]))
        return 0
    torch.set_num_threads(int(given.get("threads", 1)))
    logging.disable(logging.WARNING)
    every = [*REQUIRED, *recbole_models(ModelType.CONTEXT), *recbole_models(ModelType.SEQUENTIAL)]
    models = given["models"].split(",") if "models" in given else list(dict.fromkeys(every))
    output = Path(given.get("output", "exported.jsonl"))
    lines = [json.loads(x) for x in output.read_text().splitlines()] if output.is_file() else []
    done = {line["model"] for line in lines}
    for model in models:
        if model in done:
            continue
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            write_data(Path(folder))
            line = measure(model, Path(folder))
        lines.append(line)
        with output.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), file=sys.stderr)
    print(table(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
