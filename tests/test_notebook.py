"""The first-steps notebook runs as it stands, in a kernel of its own, shortened."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "examples" / "first_steps.ipynb"
_SHORT = {'"epochs": 15': '"epochs": 2', "<= 150": "<= 60"}


@pytest.mark.slow
def test_the_first_steps_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    source = "".join(cell.source for cell in notebook.cells)
    for long, short in _SHORT.items():
        assert long in source
        for cell in notebook.cells:
            cell.source = cell.source.replace(long, short)
    folder = tmp_path / "notebook"
    folder.mkdir()
    client = nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 2
    assert (folder / "dataset/shop/shop.inter").is_file()
    assert (folder / "runs/shop/result.json").is_file()
    assert sorted(path.name for path in folder.iterdir()) == ["dataset", "runs"]
    assert any("AUROC" in output.get("text", "") for output in outputs)


def test_it_is_kept_as_it_was_run() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert NOTEBOOK.stat().st_size < 200_000
    assert not any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert "/home/" not in text
    assert "/opt/" not in text
