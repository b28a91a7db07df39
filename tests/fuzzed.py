"""Input that nobody would write: checkpoints, settings, command lines and atomic files."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from safetensors.torch import save_file

import recbole_atjt
from recbole_atjt import DenoisingConfig
from recbole_atjt.checkpoint import load_checkpoint
from recbole_atjt.checkpoint.file import _checksum
from recbole_atjt.cli import main
from recbole_atjt.errors import AtjtError
from recbole_atjt.host.keys import recbole_keys
from recbole_atjt.weighting.keys import explained_keys
from tests.runs import settings

#: What would leave a trace if it were run.
CODE = "__import__('pathlib').Path('hacked').touch()"
TEXTS = st.text(max_size=12) | st.sampled_from(
    [
        CODE,
        f"!!python/object/apply:eval ['{CODE}']",
        "~",
        "[",
        "{a: 1",
        "&a [*a]",
        "nan",
        "1e999",
        "0",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-3, 20)
    | st.floats()
    | TEXTS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.integers(), inner, max_size=3)
    ),
    max_leaves=5,
)
#: Keys of ours and of RecBole's, less those that reach out: the network, the screen, folders.
KEYS = sorted(
    ({item.key for item in explained_keys()} | recbole_keys())
    - {"data_path", "checkpoint_dir", "log_wandb", "nproc", "world_size", "ip", "port", "dataset"}
)
CELLS = st.text(
    st.characters(blacklist_characters="\r\n\t", blacklist_categories=["Cs"]), max_size=6
) | st.sampled_from(["", "1", "2", "nan", "inf", "NA", '"', "1e300", "-1", "a b"])
COLUMNS = st.sampled_from(
    [
        "user_id:token",
        "item_id:token",
        "timestamp:float",
        "rating:float",
        "tags:token_seq",
        "sizes:float_seq",
        "user_id:float",
        "x",
        "x:y",
        ":",
        "item_id_list:token_seq",
        "label:float",
    ]
)
JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=6) | st.sampled_from(["$tensor", "$dict", "$tuple", "$float", "meta"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


def one_line(use: Callable[[], Any]) -> str | None:
    """Use something; return the line that refused it, or None. What else is raised passes."""
    try:
        use()
    except AtjtError as error:
        return str(error) or "no text"
    return None


@st.composite
def headers(draw: Any) -> str:
    """Draw the JSON text of a checkpoint's header."""
    whole = draw(JSONS)
    if draw(st.booleans()):
        whole = {"meta": whole, "optimizers": draw(JSONS)}
    return json.dumps(whole)


def read_checkpoint(header: str, names: list[str]) -> None:
    """Read a file of ours with a valid checksum and any header and tensors."""
    store = {name: torch.ones(2) for name in names}
    metadata = {"recbole_atjt": header, "version": "1", "checksum": _checksum(header, store)}
    save_file(store, "fuzzed.safetensors", metadata=metadata)
    one_line(lambda: load_checkpoint("fuzzed.safetensors"))


def read_bytes(content: bytes) -> None:
    """Read any bytes as a checkpoint."""
    Path("fuzzed.safetensors").write_bytes(content)
    assert one_line(lambda: load_checkpoint("fuzzed.safetensors")) is not None


def read_settings(key: str, value: Any) -> None:
    """Build a config with a key of any value."""
    given = {**copy.deepcopy(settings()), key: value}
    line = one_line(lambda: DenoisingConfig("SASRec", "tiny", config_dict=given))
    assert line is None or "\n" not in line, line


def call(words: list[str]) -> None:
    """Call the command with words that no run comes of."""
    shown = io.StringIO()
    with contextlib.redirect_stderr(shown), contextlib.redirect_stdout(io.StringIO()):
        code = main(words)
    text = shown.getvalue()
    assert code in (0, 2), (code, text)
    assert "Traceback" not in text
    assert code == 0 or text.splitlines()[-1].startswith("recbole-atjt: "), text


def read_files(head: list[str], rows: list[list[str]]) -> None:
    """Read any table as a dataset, for a model with histories, and split it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "odd" / "odd.inter"
        file.parent.mkdir()
        lines = ["\t".join(head), *("\t".join(row) for row in rows)]
        file.write_text("\n".join([*lines, ""]), encoding="utf-8")
        given = {**settings(), "data_path": folder, "load_col": None, "selected_features": []}

        def use() -> None:
            config = DenoisingConfig("GRU4Rec", "odd", config_dict={**given, "num_layers": 1})
            logging.disable(logging.CRITICAL)
            try:
                with recbole_atjt.assembly.refusals_of_recbole("dataset 'odd'"):
                    dataset = recbole_atjt.create_dataset(config)
                    recbole_atjt.prepare_loaders(config, dataset)
            finally:
                logging.disable(logging.NOTSET)

        line = one_line(use)
        assert line is None or "\n" not in line, line


#: What is tried: a function and the input that it gets.
TARGETS: dict[str, tuple[Callable[..., None], tuple[Any, ...]]] = {
    "checkpoints": (
        read_checkpoint,
        (
            headers(),
            st.lists(
                st.sampled_from(["model.w", "tensors.a", "w", ".", "model."]),
                min_size=1,
                max_size=3,
                unique=True,
            ),
        ),
    ),
    "bytes": (read_bytes, (st.binary(max_size=200),)),
    "settings": (read_settings, (st.sampled_from(KEYS), VALUES)),
    "command": (
        call,
        (
            st.lists(
                st.sampled_from(
                    [
                        "--help",
                        "train",
                        "plant",
                        "bench",
                        "report",
                        "--resume",
                        "--model",
                        "--topk=[",
                        "--seed",
                        "--=",
                        "--",
                        "-",
                    ]
                )
                | st.builds(
                    "--{}={}".format, st.sampled_from([*KEYS, "model", "resume", "x"]), TEXTS
                )
                | TEXTS,
                max_size=4,
            ).map(lambda words: [*words, "--dataset=no_such_dataset_anywhere"]),
        ),
    ),
    "files": (
        read_files,
        (
            st.lists(COLUMNS, min_size=1, max_size=4)
            | st.just(["user_id:token", "item_id:token", "timestamp:float"]),
            st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=8),
        ),
    ),
}
