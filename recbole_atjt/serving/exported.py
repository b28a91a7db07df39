"""Models as ONNX Runtime and ``torch.export`` run them, and what their files say of themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_atjt.checkpoint.catalogue import Catalogue
from recbole_atjt.checkpoint.file import load_checkpoint, save_checkpoint, well_formed
from recbole_atjt.errors import UsageError, in_one_line
from recbole_atjt.serving.inputs import Batch, Input, Signature
from recbole_atjt.version import __version__

#: Key of an ONNX file's metadata, and stem of an extra file of a ``.pt2``.
DESCRIPTION = "recbole_atjt"
#: What is put behind a file's name for the file beside it.
BESIDE = ".safetensors"
NEEDS = "needs onnx and onnxruntime: pip install 'recbole_atjt[export]'"


@dataclass(frozen=True)
class Description:
    """What an exported file says of itself.

    Args:
        model: Name of the model.
        dataset: Name of the dataset.
        signature: Its inputs.
        items: Token of each item, by number.
        users: Token of each user, where the model reads users.
        mark: What the file beside it has as well.
    """

    model: str
    dataset: str
    signature: Signature
    items: list[str]
    users: list[str] | None
    mark: str

    def text(self) -> str:
        """Return it as JSON."""
        columns = ["batch", len(self.items)] if self.signature.scores_all else ["batch"]
        values = {
            "version": __version__,
            "model": self.model,
            "dataset": self.dataset,
            "inputs": [each.described() for each in self.signature.inputs],
            "outputs": [{"name": "scores", "type": "float32", "shape": columns}],
            "history": self.signature.history,
            "mark": self.mark,
            "items": self.items,
            "users": self.users,
        }
        return json.dumps(values, ensure_ascii=True)

    @classmethod
    def of(cls, text: str) -> Description:
        """Return what :meth:`text` was called on."""
        values = json.loads(text)
        signature = Signature(
            tuple(Input.of(each) for each in values["inputs"]),
            len(values["outputs"][0]["shape"]) == 2,
            int(values["history"]),
        )
        model, dataset = values["model"], values["dataset"]
        return cls(model, dataset, signature, values["items"], values["users"], values["mark"])


class OnnxScorer:
    """A model in ONNX Runtime, on the CPU.

    Args:
        path: The file.

    Raises:
        UsageError: ONNX Runtime is not installed, or the file is none that ``export`` wrote.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UsageError(f"{path} {NEEDS}") from error
        if not Path(path).is_file():
            raise UsageError(f"there is no file {path}")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what fails is raised as well
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise UsageError(
                f"{path} is no model for ONNX Runtime: {in_one_line(error)}"
            ) from error
        text = self._session.get_modelmeta().custom_metadata_map.get(DESCRIPTION)
        if text is None:
            raise UsageError(f"{path} does not say what it reads: give a file that export wrote")
        with well_formed(path):
            self.description = Description.of(text)
        self.signature = self.description.signature

    def __call__(self, batch: Batch) -> Tensor:
        """Return ONNX Runtime's scores."""
        columns = {each.name: batch[each.name].numpy() for each in self.signature.inputs}
        return torch.from_numpy(self._session.run(["scores"], columns)[0])


class ProgramScorer:
    """A program of ``torch.export``.

    Args:
        program: What ``torch.export.load`` gives.
        signature: Its inputs.
    """

    def __init__(self, program: torch.export.ExportedProgram, signature: Signature) -> None:
        self.signature = signature
        self._module = program.module()

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> Tensor:
        """Return the program's scores."""
        scores: Tensor = self._module(*(batch[each.name] for each in self.signature.inputs))
        return scores


def write_beside(path: Path, description: Description, catalogue: Mapping[str, Any]) -> None:
    """Write what a recommender needs beside an exported file.

    Args:
        path: The exported file.
        description: What it says of itself.
        catalogue: What was kept of the data, packed.
    """
    meta = {
        "model": description.model,
        "dataset": description.dataset,
        "mark": description.mark,
        "catalogue": dict(catalogue),
    }
    save_checkpoint(beside(path), {}, meta=meta)


def read_beside(path: str | Path, description: Description) -> Catalogue:
    """Return what was kept of the data of an exported file.

    Raises:
        UsageError: The file beside it is missing, damaged or of another export.
    """
    other = beside(Path(path))
    if not other.is_file():
        raise UsageError(
            f"{path} needs {other} beside it, which export wrote: there is no such file"
        )
    found = load_checkpoint(other)
    with well_formed(other):
        if found.meta.get("mark") != description.mark:
            raise UsageError(f"{other} is of another export than {path}: export again")
        return Catalogue.unpacked(found.meta["catalogue"])


def beside(path: Path) -> Path:
    """Return the file beside an exported one."""
    return path.with_name(path.name + BESIDE)
