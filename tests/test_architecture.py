"""The house's rules that a machine can check: imports, what is forbidden, recipes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from recbole_atjt.settings import Settings, explained_keys
from recbole_atjt.weighting.table import STRATEGIES

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "recbole_atjt"
FILES = sorted(PACKAGE.rglob("*.py"))
#: From the bottom up: a module imports only from rooms below its own, or from beside it.
ROOMS = [
    ["errors", "resources"],
    ["compat", "refusals", "ranges", "dropout", "metrics"],
    ["data.history", "data.windows", "data.files", "data.row_groups", "data.groups", "data.clean"],
    ["noise.clicks", "noise.places", "noise.items", "noise.similar", "noise.insertion"],
    ["noise.kinds", "noise.spec", "noise.truth", "noise.windows", "noise.rows", "noise.planting"],
    ["noise.frames", "noise.file_noise", "noise.files", "noise"],
    ["data.corruption", "data.splits", "data.dataset", "data.ranking", "data.prepare"],
    ["data.loaders", "data.remaining", "data"],
    ["reduction"],
    ["per_sample", "adapters", "criterion", "pointwise", "representation"],
    ["recognizer"],
    ["weighting.base", "weighting.frequency", "weighting.loss_based", "weighting.recognition"],
    ["weighting.autodenoise", "weighting.table", "weighting"],
    ["settings"],
    ["weighting.build", "staged"],
    ["model.settings", "model.autoencoder", "model.gate", "model.ael", "model.mf", "model"],
    ["models", "evaluation", "checkpoint", "optimizer", "reward"],
    ["positive_losses", "revised_validation"],
    ["config", "wrapper"],
    ["resume", "trainer", "pretraining"],
    ["report.recognition", "report.result", "report.table", "report"],
    ["experiment"],
    ["cli"],
    ["__main__", ""],
]
LEVEL = {module: level for level, room in enumerate(ROOMS) for module in room}


def name_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Yield what a module imports when it runs; imports for type checkers are left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from imports_of(node)


def parse(file: Path) -> ast.AST:
    return ast.parse(file.read_text(encoding="utf-8"))


def test_every_module_has_a_room() -> None:
    assert {name_of(file) for file in FILES} == set(LEVEL)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_point_down(file: Path) -> None:
    own = LEVEL[name_of(file)]
    for imported in imports_of(parse(file)):
        module = imported.removeprefix("recbole_atjt").removeprefix(".")
        if imported.split(".")[0] == "recbole_atjt" and module in LEVEL and module:
            assert LEVEL[module] <= own, f"{name_of(file)} imports {module}"


def test_modules_of_a_room_do_not_import_each_other_in_a_circle() -> None:
    graph = {
        name_of(file): {
            module
            for imported in imports_of(parse(file))
            for module in [imported.removeprefix("recbole_atjt.")]
            if module in LEVEL and module != name_of(file)
        }
        for file in FILES
    }
    while graph:
        leaves = {name for name, needed in graph.items() if not needed & graph.keys()}
        assert leaves, f"a circle among {sorted(graph)}"
        graph = {name: needed for name, needed in graph.items() if name not in leaves}


def test_weighting_knows_nothing_of_recbole() -> None:
    for file in (PACKAGE / "weighting").rglob("*.py"):
        for imported in imports_of(parse(file)):
            assert imported.split(".")[0] != "recbole", file.name


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_nothing_is_run_as_code_and_no_pickle_is_read(file: Path) -> None:
    tree = parse(file)
    imported = set(imports_of(tree))
    assert not {"pickle", "dill", "joblib", "marshal", "shelve"} & {
        i.split(".")[0] for i in imported
    }
    assert not any(name.startswith("recbole.quick_start") for name in imported)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        assert called not in ("eval", "exec", "compile", "__import__", "os.system"), called
        assert called not in ("torch.load", "pd.read_pickle", "yaml.unsafe_load", "yaml.full_load")
        assert called != "np.load", "np.load may unpickle"
        assert not any(word.arg == "shell" for word in node.keywords), called


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_recbole_names_are_not_copied_whole(file: Path) -> None:
    """RecBole's long verbs are overridden by a few lines around ``super``, not copied."""
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.FunctionDef) and node.name in ("fit", "evaluate", "_train_epoch"):
            assert f"super().{node.name}(" in ast.unparse(node)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_has_settings_and_tests(name: str) -> None:
    assert (ROOT / "properties" / "weighting" / f"{name}.yaml").is_file()
    tests = "\n".join(
        file.read_text(encoding="utf-8")
        for file in (ROOT / "tests").glob("test_*.py")
        if file.name != Path(__file__).name
    )
    assert re.search(rf"""["']{name}["']""", tests), f"no test names '{name}'"


@pytest.mark.parametrize("key", [item.name for item in fields(Settings) if item.name != "own"])
def test_a_setting_has_a_line_that_explains_it(key: str) -> None:
    (found,) = [item for item in explained_keys() if item.key == key]
    assert found.text.endswith(".")
    assert found.kind in ("int", "float", "bool", "str", "list of int")
    kinds = {"int": int, "float": float, "bool": bool, "str": str, "list of int": list}
    assert isinstance(found.default, kinds[found.kind])


def test_a_key_of_a_strategy_is_a_setting() -> None:
    known = {item.name for item in fields(Settings)}
    for path in (ROOT / "properties" / "weighting").glob("*.yaml"):
        assert set(yaml.safe_load(path.read_text(encoding="utf-8")) or {}) <= known, path.name
