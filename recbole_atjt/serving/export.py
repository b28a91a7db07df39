"""From a checkpoint to a file for ONNX Runtime or ``torch.export``, checked before it is kept."""

from __future__ import annotations

import io
import logging
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_atjt.data.replacing import replacing
from recbole_atjt.errors import AtjtError, UsageError, in_one_line
from recbole_atjt.serving.exported import (
    DESCRIPTION,
    NEEDS,
    Description,
    OnnxScorer,
    ProgramScorer,
    beside,
    write_beside,
)
from recbole_atjt.serving.inputs import InputMaker, signature_of
from recbole_atjt.serving.parity import Parity, batch_of, compare
from recbole_atjt.serving.rebuilding import Rebuilt, rebuild
from recbole_atjt.serving.scorers import ModelScorer, Scorer
from recbole_atjt.serving.tracing import Traced, name_squeezed, without_loops

#: Where a model can go, and how its file's name ends.
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
_HINTS = {"onnx": "; try --to=torch", "torch": ""}
#: Rows of the batch that is traced.
_ROWS = 3
_NOISY = ("torch.onnx", "torch.export", "onnx_ir", "onnxscript")
_LONGEST = 200


class ExportFailed(AtjtError):
    """A model can't be exported, or gives other scores then; nothing is written. Exit code 1."""


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Args:
        path: The file.
        description: What it says of itself.
        parity: How its scores compare with the model's.
    """

    path: Path
    description: Description
    parity: Parity


def export(
    path: str | Path, to: str = "onnx", output: str | Path | None = None, model: Any = None
) -> Exported:
    """Write the model of a checkpoint for other programs, and check that it gives the same scores.

    Beside the file lies ``<file>.safetensors`` with what `Recommender` needs.

    Args:
        path: The checkpoint of a run's best model.
        to: ``onnx``, or ``torch`` for ``torch.export``.
        output: The file; by default the checkpoint's name with another ending.
        model: The class of a model from outside, or ``module:Class``.

    Raises:
        UsageError: The checkpoint can't serve, or a library is missing.
        ExportFailed: The model can't be written so, or its scores differ.
    """
    if to not in SUFFIXES:
        raise UsageError(f"to={to} is unknown: use {' or '.join(SUFFIXES)}")
    _require(to)
    found = rebuild(path, model)
    target = Path(path).with_suffix(SUFFIXES[to]) if output is None else Path(output)
    if target.suffix != SUFFIXES[to]:
        raise UsageError(f"output={target}: a file for {to} ends in {SUFFIXES[to]}")
    signature = signature_of(found.model, found.config, found.catalogue)
    catalogue = found.catalogue
    description = Description(
        model=str(found.meta["model"]),
        dataset=str(found.meta["dataset"]),
        signature=signature,
        items=catalogue.items,
        users=catalogue.users if signature.reads_user else None,
        mark=secrets.token_hex(8),
    )
    try:
        with replacing(target) as temporary:
            exported = _write(found, description, temporary, to)
            own = ModelScorer(found.model, signature, len(catalogue.items))
            with _in_one_line(description.model, to):
                parity = compare(own, exported, catalogue)
            _require_parity(description.model, to, parity)
            write_beside(target, description, catalogue.packed())
    except OSError as error:
        with suppress(OSError):
            beside(target).unlink()
        raise ExportFailed(f"{target} can't be written: {error.strerror or error}") from error
    return Exported(target, description, parity)


def _require_parity(model: str, to: str, parity: Parity) -> None:
    if parity.holds:
        return
    apart = f"they differ by up to {parity.difference:.3g}, and {parity.allowed:.3g} is let through"
    if parity.difference != parity.difference:
        apart = "some are missing or no numbers"
    raise ExportFailed(
        f"model={model} gives other scores by --to={to}: {apart}; nothing is written{_HINTS[to]}"
    )


def _require(to: str) -> None:
    if to != "onnx":
        return
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UsageError(f"--to=onnx {NEEDS}") from error


def _write(found: Rebuilt, description: Description, path: Path, to: str) -> Scorer:
    with _in_one_line(description.model, to), _quiet():
        with without_loops(found.model):
            program = _program(found, description)
        if to == "torch":
            with path.open("wb") as file:
                extra = {f"{DESCRIPTION}.json": description.text()}
                torch.export.save(program, file, extra_files=extra)
            with path.open("rb") as file:  # our own file of a moment ago
                return ProgramScorer(torch.export.load(file), description.signature)
        names = [each.name for each in description.signature.inputs]
        graph: Any = torch.onnx.export(
            name_squeezed(program),
            (),
            dynamo=True,
            input_names=names,
            output_names=["scores"],
            verbose=False,
        )
        _name_batch(graph.model)
        graph.model.metadata_props[DESCRIPTION] = description.text()
        graph.save(str(path), external_data=False)
        return OnnxScorer(path)


def _program(found: Rebuilt, description: Description) -> torch.export.ExportedProgram:
    signature, catalogue = description.signature, found.catalogue
    maker = InputMaker(signature, catalogue)
    batch = batch_of(maker, catalogue, np.random.default_rng(1), _ROWS)
    inputs = tuple(batch[each.name] for each in signature.inputs)
    traced = Traced(found.model, signature, len(catalogue.items)).eval()
    size = torch.export.Dim("batch", min=1)
    shapes = (tuple({0: size} for _ in inputs),)
    return torch.export.export(traced, inputs, dynamic_shapes=shapes, strict=False)


def _name_batch(model: Any) -> None:
    """Call the first dimension of inputs and outputs ``batch``; the exporter numbers it."""
    import onnx_ir

    for value in (*model.graph.inputs, *model.graph.outputs):
        sizes = list(value.shape)
        value.shape = onnx_ir.Shape(["batch", *sizes[1:]])


@contextmanager
def _in_one_line(model: str, to: str) -> Iterator[None]:
    """Say in one line why a model can't be exported: the first cause of whatever was raised."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
        reason = (lines[0] if lines else in_one_line(cause))[:_LONGEST]
        raise ExportFailed(
            f"model={model} can't be exported by --to={to}: {reason}{_HINTS[to]}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporters print about themselves out of the output."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
