"""The house's rules that a machine can check: rooms, imports, what is forbidden, recipes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from recbole_atjt.settings.explained import Explained
from recbole_atjt.weighting.keys import explained_keys
from recbole_atjt.weighting.table import STRATEGIES

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "recbole_atjt"
FILES = sorted(PACKAGE.rglob("*.py"))
#: From the bottom up: a room imports from rooms on lower floors only. A room is a package, or a
#: module at the root.
FLOORS = [
    ["errors", "version", "dropout"],
    ["settings", "randomness"],
    ["host"],
    ["data", "seam", "weighting"],
    ["noise"],
    ["model", "evaluation", "checkpoint", "loading"],
    ["training", "report"],
    ["assembly", "config"],
    ["experiment"],
    ["cli"],
    ["__init__", "__main__"],
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def name_of(file: Path) -> str:
    """Return a module's dotted name inside the package; a package's own is ``room.__init__``."""
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


def room_of(module: str) -> str:
    return module.split(".")[0]


MODULES = {name_of(file) for file in FILES}


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Yield everything that a module imports, inside functions and for type checkers as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parse(file: Path) -> ast.AST:
    return ast.parse(file.read_text(encoding="utf-8"))


def own_imports(file: Path) -> set[str]:
    """Return the modules of this package that a module imports, by name inside the package."""
    found = set()
    for imported in imports_of(parse(file)):
        first, _, module = imported.partition(".")
        if first != "recbole_atjt":
            continue
        for name in (module, f"{module}.__init__" if module else "__init__"):
            if name in MODULES:
                found.add(name)
    # ``from recbole_atjt.room import module`` names the room and the module; the module counts.
    packages = {name for name in found if name.endswith("__init__")}
    for name in packages:
        prefix = name.removesuffix("__init__")
        if any(other.startswith(prefix) for other in found - packages):
            found.discard(name)
    return found


def test_every_room_has_a_floor() -> None:
    assert {room_of(module) for module in MODULES} == set(FLOOR)


def test_the_root_keeps_what_assembles() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 12


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_point_down(file: Path) -> None:
    own = room_of(name_of(file))
    for module in own_imports(file):
        room = room_of(module)
        if name_of(file) != "__main__":
            assert room != "__init__", f"{name_of(file)} imports the package from below"
        assert room == own or FLOOR[room] < FLOOR[own], f"{name_of(file)} imports {module}"


def test_no_circle_of_modules() -> None:
    graph = {name_of(file): own_imports(file) - {name_of(file)} for file in FILES}
    while graph:
        leaves = {name for name, needed in graph.items() if not needed & graph.keys()}
        assert leaves, f"a circle among {sorted(graph)}"
        graph = {name: needed for name, needed in graph.items() if name not in leaves}


def test_generic_code_reads_no_key_of_a_strategy() -> None:
    """A strategy's keys are known to its own file and to those who share its settings class."""
    own = {"weighting/recognition.py", "weighting/autodenoise.py", "weighting/loss_based.py"}
    keys = {item.key for item in explained_keys() if re.match(PREFIXES, item.key)}
    assert len(keys) > 20
    for file in FILES:
        text = file.read_text(encoding="utf-8")
        known = sorted(key for key in keys if re.search(rf"\b{key}\b", text))
        assert file.relative_to(PACKAGE).as_posix() in own or not known, (file.name, known)


PREFIXES = "|".join(f"{name.split('_')[0]}_" for name in STRATEGIES) + "|t_ce|r_ce"


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


@pytest.mark.parametrize("item", explained_keys(), ids=lambda item: item.key)
def test_a_key_has_a_sentence_and_a_default_of_its_kind(item: Explained) -> None:
    kinds = {"int": int, "float": float, "bool": bool, "str": str, "list of int": list}
    if item.default is not None and item.kind in kinds:
        assert isinstance(item.default, kinds[item.kind])
    assert item.text.endswith(".")
