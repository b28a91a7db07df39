"""What is a dataset without its noisiest clicks worth, beside one without its true noise?

Noise is planted into a dataset's files; the clicks are scored out of sample; plain models are
trained on the files as they are, without the clicks that score above 0.5, and without all that is
known to be noise. All three are tested on the same clicks. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

import recbole_atjt
from recbole_atjt.data.file_rows import FILE_ROW
from recbole_atjt.data.text_rows import TextRows
from recbole_atjt.loading import create_dataset
from recbole_atjt.noise import plant_files
from recbole_atjt.scoring.cleaning import clean_dataset
from recbole_atjt.scoring.scored import score_interactions
from recbole_atjt.scoring.screen import shown
from recbole_atjt.scoring.writing import make_folder, write

#: Filters are applied once: on fewer clicks they would choose other users and items.
UNFILTERED = {"user_inter_num_interval": None, "item_inter_num_interval": None}


def filtered(config: Any, folder: Path) -> Path:
    """Write the rows that a config's filters leave; return the folder."""
    dataset = create_dataset(config, numbered=True)
    dataset.build()
    rows = set(dataset.inter_feat.interaction.base.columns[FILE_ROW][:-1].tolist())
    target = folder / "base"
    target.mkdir(parents=True)
    source = Path(config["data_path"])
    with (
        open(source / f"{config['dataset']}.inter", encoding="utf-8") as lines,
        open(target / "base.inter", "w", encoding="utf-8") as out,
    ):
        out.write(next(lines))
        out.writelines(line for number, line in enumerate(lines) if number in rows)
    for name in ("user", "item"):
        if (source / f"{config['dataset']}.{name}").is_file():
            shutil.copyfile(source / f"{config['dataset']}.{name}", target / f"base.{name}")
    return target


def truth_of(scores: pd.DataFrame, unscored: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Return scores that are the truth, first clicks included."""
    text = TextRows.read(file, ["user_id", "item_id", "is_noise"])
    first = unscored["line"][unscored["part"] == "first"].to_numpy() - 2
    rows = pd.DataFrame(
        {
            "user": text.columns["user_id"][first],
            "item": text.columns["item_id"][first],
            "line": first + 2,
            "score": text.columns["is_noise"][first].astype(float),
        }
    )
    known = scores.assign(score=scores["is_noise"].astype(float))[list(rows.columns)]
    return pd.concat([known, rows])


def items_in(file: Path) -> int:
    """Count the items of a file, among which a model ranks."""
    return len(set(TextRows.read(file, ["item_id"]).columns["item_id"]))


def measure(args: argparse.Namespace, seed: int, folder: Path) -> dict[str, Any]:
    """Score, clean and train with one seed."""
    files, keys = args.config_files.split(), {"data_path": str(folder), "seed": seed, **UNFILTERED}
    config = recbole_atjt.DenoisingConfig(
        args.model, "planted", files, {**keys, "weighting": args.weighting}
    )
    scored = score_interactions(config, args.in_sample, args.groups)
    print(shown(scored), flush=True)
    scores = folder / f"scores-{seed}"
    make_folder(scores)
    path = write(scored, scores, "csv")
    truth = truth_of(scored.table, scored.unscored, folder / "planted" / "planted.inter")
    truth.to_csv(scores / "truth.csv", index=False)
    found: dict[str, Any] = {
        "auroc": scored.figures["score"].auroc,
        "rivals": {name: each.auroc for name, each in scored.figures.items()},
    }
    for name, file in (("cleaned", path), ("truth", scores / "truth.csv")):
        done = clean_dataset(
            file, "planted", folder / f"{name}-{seed}", folder, above=0.5, ready_splits=True
        )
        print(f"{name}: {done.choice}", flush=True)
        found[f"{name}_left_out"] = len(done.choice.lines)
    found["items"] = {
        name.partition("-")[0]: items_in(folder / name / f"{name}.inter")
        for name in ("planted", f"cleaned-{seed}", f"truth-{seed}")
    }
    ready = {"benchmark_filename": ["train", "valid", "test"]}
    for name, more in (("planted", {}), (f"cleaned-{seed}", ready), (f"truth-{seed}", ready)):
        with tempfile.TemporaryDirectory() as out:
            run = recbole_atjt.run(args.model, name, "none", seed, files, {**keys, **more}, out)
        test = run.runs[0].test[args.metric]
        found[name.partition("-")[0]] = test
        print(f"seed {seed}, trained on {name}: {args.metric} {test:.4f}", flush=True)
    found["recovered"] = (found["cleaned"] - found["planted"]) / (found["truth"] - found["planted"])
    return found


def main() -> None:
    """Print what each seed gives, and the headroom recovered by the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="ml-1m-noisy")
    parser.add_argument("--data_path", default="dataset")
    parser.add_argument("--model", default="GRU4Rec")
    parser.add_argument("--config_files", default="benchmarks/protocols/planted.yaml")
    parser.add_argument("--plant", default="clickbait:0.3")
    parser.add_argument("--weighting", default="channel")
    parser.add_argument("--groups", type=int, default=2)
    parser.add_argument("--in_sample", action="store_true")
    parser.add_argument("--metric", default="ndcg@10")
    parser.add_argument("--seed", default="1,2,3")
    args = parser.parse_args()
    config = recbole_atjt.DenoisingConfig(
        args.model, args.dataset, args.config_files.split(), {"data_path": args.data_path}
    )
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        base = filtered(config, folder)
        plant_files(base, "base", args.plant, folder / "planted", keep=0.2)
        seeds = [int(seed) for seed in args.seed.split(",")]
        found = {seed: measure(args, seed, folder) for seed in seeds}
    mean = {
        name: sum(each[name] for each in found.values()) / len(found)
        for name in ("planted", "cleaned", "truth", "auroc")
    }
    room = (mean["cleaned"] - mean["planted"]) / (mean["truth"] - mean["planted"])
    print(json.dumps({"mean": mean, "recovered": room, "seeds": found}))


if __name__ == "__main__":
    main()
