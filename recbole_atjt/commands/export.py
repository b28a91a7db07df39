"""``export``: a trained model as a file for other programs."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_atjt.settings.arguments import read_arguments

KEYS = ("to", "output", "model")
USAGE = """\
usage: recbole-atjt export CHECKPOINT --to=onnx|torch [--output=FILE]
                           [--model=module:Class]

Write a trained model for ONNX Runtime or torch.export, with a batch of any size. The
scores of the file are compared with the model's own before it is kept; where they
differ by more than 1e-4 of the largest score (at least of 1), nothing is written and
the exit code is 1. What the file holds: docs/serving.md.

  CHECKPOINT  the best model of a run, output_dir/checkpoints/NAME.safetensors
  --to        onnx, or torch for torch.export, which takes models that ONNX can't
  --output    the file [the checkpoint's name with .onnx or .pt2]; FILE.safetensors
              beside it has names, titles and known clicks
  --model     the class of a model that is none of RecBole's or ours

It needs pip install 'recbole_atjt[export]'; --to=torch does without.
"""


def usage() -> str:
    """Return what ``export --help`` prints."""
    return USAGE


def run(arguments: Sequence[str]) -> int:
    """Export a model."""
    given = read_arguments("export", arguments, KEYS, ("to",), words=("CHECKPOINT",))
    from recbole_atjt.serving.export import export
    from recbole_atjt.serving.exported import beside

    values = given.values
    found = export(given.words[0], values["to"], values.get("output"), values.get("model"))
    size = found.path.stat().st_size
    parity = found.parity
    print(f"exported: {found.path} ({size / 1e6:.2f} MB), {beside(found.path).name} beside it")
    for each in found.description.signature.inputs:
        shape = ", ".join(["batch", *map(str, each.shape)])
        print(f"  {each.name}: {'int64' if each.is_whole else 'float32'} [{shape}]")
    print(
        f"largest difference: {parity.difference:.2e} over {parity.scores} scores "
        f"(at most {parity.allowed:.2e})"
    )
    return 0
