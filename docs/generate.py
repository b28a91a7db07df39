"""Writes what property files and documents say of settings and strategies, from the code.

Tables of benches in documents are written from the finished cells (``bench_tables.py``).

``python docs/generate.py`` writes, ``--check`` names the files that are stale and exits with 1.
``--pairs`` also trains every strategy with every model for an epoch, which takes minutes, and
writes the table of docs/strategies.md; ``--pairs=NAME,NAME`` trains these strategies alone.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench_tables import filled

from recbole_atjt.model.table import OWN
from recbole_atjt.settings.declared import DeclaredSettings
from recbole_atjt.settings.explained import Explained, declared_keys, explained_in
from recbole_atjt.weighting.base import Weighting
from recbole_atjt.weighting.keys import summary_of
from recbole_atjt.weighting.table import STRATEGIES, own_keys, settings_of

ROOT = Path(__file__).resolve().parents[1]
PROPERTIES = ROOT / "properties"
OVERALL = PROPERTIES / "overall.yaml"
#: Strategies that leave the keys they share to another's property file.
SHARES_WITH = {"autodenoise_h": "autodenoise_s"}
_NOTE = "# Written by docs/generate.py from {source}; change it there."
_COMMENT = re.compile(r"#\s*\([^)]*\)\s*(.*)$")
_NAMES = re.compile(r"(?<=weighted: ).*?(?=, or a strategy of another package)")


def inline(value: Any) -> str:
    """Write a value as one writes it into a YAML file."""
    if value is None:
        return "~"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    if isinstance(value, float):  # YAML knows no 1e-05
        return format(Decimal(repr(value)), "f")
    if isinstance(value, str):
        plain = re.fullmatch(r"[\w@/.-]+", value) and yaml.safe_load(value) == value
        return value if plain else json.dumps(value, ensure_ascii=False)
    return str(value)


def key_lines(keys: Iterable[Explained]) -> list[str]:
    """Return a line of a property file for each key."""
    return [f"{k.key}: {inline(k.default)}  # ({k.kind}) {k.text}" for k in keys]


def owners() -> dict[str, str]:
    """Return whose property file holds a key: key -> strategy.

    That is the first strategy of the table that has it, unless it leaves what it shares to another.
    """
    keys = {name: {item.key for item in own} for name, own in own_keys().items()}
    found: dict[str, str] = {}
    for name, own in keys.items():
        left = keys.get(SHARES_WITH.get(name, ""), set())
        for key in own:
            found.setdefault(key, SHARES_WITH[name] if key in left else name)
    return found


def strategy_file(name: str) -> str:
    """Return the property file of a strategy."""
    strategy, owner = STRATEGIES[name], owners()
    source = "PLAIN in recbole_atjt/weighting/table.py"
    keys: tuple[Explained, ...] = ()
    if strategy is not None:
        source = f"{strategy.__name__} in {strategy.__module__.replace('.', '/')}.py"
        keys = declared_keys(settings_of(strategy))
    own = [item for item in keys if owner[item.key] == name]
    others = dict.fromkeys(owner[item.key] for item in keys if owner[item.key] != name)
    lines = [_NOTE.format(source=source), f"# {summary_of(name)}"]
    lines += [f"# It also has the settings of {other}.yaml." for other in others]
    return "\n".join([*lines, *key_lines(own), ""])


def model_file(text: str, settings: type[DeclaredSettings]) -> str:
    """Return a model's property file with the keys that the model declares, in place."""
    keys = declared_keys(settings)
    names = "|".join(item.key for item in keys)
    kept = re.sub(rf"^(?:{names}):.*\n", "", text, flags=re.MULTILINE)
    return kept + "\n".join([*key_lines(keys), ""])


def row(*cells: str) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table_of_ours(files: Mapping[Path, str]) -> str:
    """Return the table of this package's keys."""
    keys = [item for each in own_keys().values() for item in each]
    found = {item.key: item for item in (*explained_in(files[OVERALL]), *keys)}
    rows = [row("key", "default", "type", "what it is"), row(*["---"] * 4)]
    rows += [
        row(f"`{item.key}`", f"`{inline(item.default)}`", item.kind, item.text)
        for item in found.values()
    ]
    return "\n".join(rows)


def table_of_changes(files: Mapping[Path, str]) -> str:
    """Return the table of RecBole's keys that the property files set."""
    rows = [row("for", "key", "value", "what it is"), row(*["---"] * 4)]
    for kind in ("type", "model", "dataset"):
        for path in sorted((PROPERTIES / kind).glob("*.yaml")):
            text = files.get(path) or path.read_text(encoding="utf-8")
            name = {"type": f"{path.stem}-aware models"}.get(kind, path.stem)
            for key, value in yaml.safe_load(text).items():
                (line,) = re.findall(rf"^{key}:.*$", text, re.MULTILINE)
                (meaning,) = _COMMENT.findall(line)
                rows.append(row(name, f"`{key}`", f"`{inline(value)}`", meaning))
    return "\n".join(rows)


def table_of_strategies(files: Mapping[Path, str]) -> str:
    """Return the names that ``--weighting`` takes, with a sentence each."""
    rows = [row("`--weighting`", "weights"), row("---", "---")]
    return "\n".join([*rows, *(row(f"`{name}`", summary_of(name)) for name in STRATEGIES)])


def table_of_rules(files: Mapping[Path, str]) -> str:
    """Return the strategies with what each needs and what its weights depend on."""
    rows = [row("`weighting`", "rule", "needs", "a weight depends on"), row(*["---"] * 4)]
    for name, strategy in STRATEGIES.items():
        about = ("", "") if strategy is None else (_needs(strategy), _depends(strategy))
        rows.append(row(f"`{name}`", summary_of(name), *about))
    return "\n".join(rows)


def _needs(strategy: type[Weighting]) -> str:
    needed = {
        "history": strategy.needs_history,
        "representation": strategy.needs_representation,
        "users in groups": bool(strategy.groups_key),
        "a validation metric": bool(strategy.reward_key),
    }
    return ", ".join(name for name, is_needed in needed.items() if is_needed)


def _depends(strategy: type[Weighting]) -> str:
    return "the sequence" if strategy.per_sample else "its batch too"


#: Tables between ``<!-- table: NAME -->`` and ``<!-- end -->``, by document and name.
TABLES: dict[str, dict[str, Callable[[Mapping[Path, str]], str]]] = {
    "README.md": {"strategies": table_of_strategies},
    "docs/strategies.md": {"rules": table_of_rules},
    "docs/settings.md": {"ours": table_of_ours, "changes": table_of_changes},
}


#: Documents with tables of benches.
BENCHED = ("README.md", "docs/benchmarks.md")


def between_marks(name: str) -> re.Pattern[str]:
    """Match what stands between the marks of a table."""
    return re.compile(rf"(?<=<!-- table: {name} -->\n\n).*?(?=\n\n<!-- end -->)", re.DOTALL)


def generated() -> dict[Path, str]:
    """Return every file that is written here, whole, by path."""
    files = {PROPERTIES / "weighting" / f"{name}.yaml": strategy_file(name) for name in STRATEGIES}
    for name, model in OWN.items():
        settings = getattr(model, "settings_class", None)
        if settings is not None:
            path = PROPERTIES / "model" / f"{name}.yaml"
            files[path] = model_file(path.read_text(encoding="utf-8"), settings)
    overall = OVERALL.read_text(encoding="utf-8")
    files[OVERALL] = _NAMES.sub(", ".join(STRATEGIES), overall)
    for document, tables in TABLES.items():
        text = (ROOT / document).read_text(encoding="utf-8")
        for name, table in tables.items():
            parts = between_marks(name).split(text)
            assert len(parts) == 2, f"{document} has {len(parts) - 1} tables '{name}'"
            text = table(files).join(parts)
        files[ROOT / document] = text
    for document in BENCHED:
        path = ROOT / document
        files[path] = filled(files.get(path) or path.read_text(encoding="utf-8"))
    return files


def stale() -> list[str]:
    """Return the files that differ from what the code says, or that nothing writes any more."""
    files = generated()
    found = [path for path, text in files.items() if not _holds(path, text)]
    found += [path for path in (PROPERTIES / "weighting").glob("*.yaml") if path not in files]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def measure_pairs(names: Iterable[str] | None) -> None:
    """Train strategies with every model and write which of the pairs run.

    Args:
        names: Strategies; None for all. Of others the document's outcomes stay.
    """
    pairs: Any = import_module("tests.pairs")
    found = pairs.documented()
    for model in pairs.MODELS:
        print(model, flush=True)
        for name in pairs.WEIGHTING if names is None else names:
            found[model, name] = pairs.generic(model, pairs.outcome(model, name))
    text = pairs.DOCUMENT.read_text(encoding="utf-8")
    table = pairs.table_of(found)
    pairs.DOCUMENT.write_text(between_marks("pairs").sub(lambda _: table, text), encoding="utf-8")


def main(given: list[str]) -> int:
    """Write, or check; return the exit code."""
    unknown = [each for each in given if each.partition("=")[0] not in ("--check", "--pairs")]
    if unknown:
        print(f"{unknown[0]} is unknown: use --check, --pairs or --pairs=NAME,NAME")
        return 2
    if "--check" in given:
        found = stale()
        for name in found:
            print(f"{name} is stale: run 'python docs/generate.py'")
        return int(bool(found))
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
    for argument in given:
        names = argument.partition("=")[2]
        measure_pairs(names.split(",") if names else None)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
