"""The house's rules that a machine can check: rooms, imports, what is forbidden, recipes."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest
from recbole.trainer import Trainer

from recbole_atjt.settings.explained import Explained
from recbole_atjt.weighting.keys import explained_keys
from recbole_atjt.weighting.table import PLAIN, STRATEGIES, settings_of, strategy_keys

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "recbole_atjt"
FILES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").glob("*.py"))
#: From the bottom up: a room imports from rooms on lower floors only. A room is a package, or a
#: module at the root.
FLOORS = [
    ["errors", "version", "dropout", "memory"],
    ["settings", "randomness", "parallel"],
    ["host"],
    ["data", "seam", "weighting"],
    ["noise", "datasets"],
    ["model", "evaluation", "checkpoint", "loading"],
    ["training", "report", "serving"],
    ["assembly", "config"],
    ["experiment", "scoring"],
    ["bench", "tuning"],
    ["commands"],
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


def test_the_floors_are_documented() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = {room: int(floor) for floor, room in re.findall(r"^\| (\d+) \| `(\w+)` \|", text, re.M)}
    assert found == {room: floor for room, floor in FLOOR.items() if not room.startswith("__")}


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
    homes: dict[str, set[str]] = {}
    for name, strategy in STRATEGIES.items():
        if strategy is not None:
            modules = {strategy.__module__, settings_of(strategy).__module__}
            for item in strategy_keys(name):
                homes.setdefault(item.key, set()).update(modules)
    assert {"atjt_groups", "t_ce_drop_rate", "autodenoise_reward"} <= homes.keys()
    for file in FILES:
        words = set(re.findall(r"\w+", file.read_text(encoding="utf-8")))
        known = {
            key for key in words & homes.keys() if f"recbole_atjt.{name_of(file)}" not in homes[key]
        }
        assert not known, name_of(file)


def test_weighting_knows_nothing_of_recbole() -> None:
    for file in (PACKAGE / "weighting").rglob("*.py"):
        for imported in imports_of(parse(file)):
            assert imported.split(".")[0] != "recbole", file.name


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_nothing_is_run_as_code_and_no_pickle_is_read(file: Path) -> None:
    tree = parse(file)
    imported = set(imports_of(tree))
    assert not {"pickle", "dill", "joblib", "cloudpickle", "marshal", "shelve"} & {
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
        assert not {"shell", "allow_pickle"} & {word.arg for word in node.keywords}, called


#: Two or three lines in a row are alike by chance, such as a loop's head; more are a copy.
ALIKE = 3


def test_no_method_of_recboles_is_copied() -> None:
    """What overrides a method of RecBole has a body of its own, around ``super`` or instead."""
    compared = {}
    for method, original in overridden():
        one, other = statements_of(method), statements_of(original)
        matcher = SequenceMatcher(None, one, other, autojunk=False)
        size = matcher.find_longest_match(0, len(one), 0, len(other)).size
        compared[method.__qualname__] = size
        assert size <= ALIKE, f"{method.__qualname__} repeats {size} lines of RecBole's"
    assert {"DenoisingTrainer.fit", "WindowedDataset.build", "StagedTrainer.fit"} <= set(compared)


def overridden() -> Iterator[tuple[Any, Any]]:
    """Yield each method of ours beside the one of RecBole that it overrides."""
    for module in sorted(MODULES - {"__main__"}):
        loaded = importlib.import_module(f"recbole_atjt.{module}".removesuffix(".__init__"))
        for owner in vars(loaded).values():
            if not (inspect.isclass(owner) and owner.__module__ == loaded.__name__):
                continue
            for name, method in vars(owner).items():
                originals = [
                    vars(base)[name]
                    for base in owner.__mro__[1:]
                    if base.__module__.startswith("recbole.") and name in vars(base)
                ]
                if inspect.isfunction(method) and originals and inspect.isfunction(originals[0]):
                    yield inspect.unwrap(method), inspect.unwrap(originals[0])


def statements_of(function: Any) -> list[str]:
    """Return the lines of a function's body, laid out alike and without its docstring."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(node, ast.FunctionDef)
    node.body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return [line.strip() for statement in node.body for line in ast.unparse(statement).splitlines()]


def test_a_copy_of_recboles_is_one() -> None:
    """The law above has teeth: RecBole's own loop is found in itself, whatever its comments."""
    lines = statements_of(Trainer._train_epoch)
    assert len(lines) > ALIKE
    assert not any(line.startswith("#") for line in lines)
    assert SequenceMatcher(None, lines, ["x = 1", *lines], autojunk=False).find_longest_match(
        0, len(lines), 0, len(lines) + 1
    ).size == len(lines)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_has_a_test_file_that_tries_it(name: str) -> None:
    strategy = STRATEGIES[name]
    if strategy is None:
        assert name in PLAIN
        return
    module = strategy.__module__.rpartition(".")[2]
    file = ROOT / "tests" / f"test_{module}.py"
    assert file.is_file(), f"{name} has no {file.name}"
    tree = parse(file)
    assert strategy.__module__ in set(imports_of(tree)), f"{file.name} imports it not"
    words = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert name in words, f"{file.name} never names '{name}'"


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_tests_import_no_test(file: Path) -> None:
    tested = {
        imported for imported in imports_of(parse(file)) if imported.startswith("tests.test_")
    }
    assert not tested


@pytest.mark.parametrize("item", explained_keys(), ids=lambda item: item.key)
def test_a_key_has_a_sentence_and_a_default_of_its_kind(item: Explained) -> None:
    kinds = {"int": int, "float": float, "bool": bool, "str": str, "list of int": list}
    if item.default is not None and item.kind in kinds:
        assert isinstance(item.default, kinds[item.kind])
    assert item.text.endswith(".")
