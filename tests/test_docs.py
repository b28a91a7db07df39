"""What the documents say: tables that match the code, links that lead somewhere, code that runs."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from recbole_atjt.settings.resources import properties_path
from recbole_atjt.weighting.keys import explained_keys
from recbole_atjt.weighting.table import strategy_names

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
SETTINGS = ROOT / "docs" / "settings.md"
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "docs/examples/*.md", "dataset/*.md")
    for path in ROOT.glob(pattern)
)
#: A fenced block after this line runs in the tests.
TESTED = "<!-- tested -->"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"#\s*\([^)]*\)\s*(.*)$")


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]+`", "", _FENCE.sub("", text))


def section(text: str, title: str) -> str:
    """Return what stands under ``## title``."""
    (body,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", _masked(text), re.MULTILINE | re.DOTALL)
    return str(body)


def _masked(text: str) -> str:
    """Indent headings inside fences, so that they are none."""
    return _FENCE.sub(lambda m: m[0].replace("\n#", "\n #"), text)


def inline(value: Any) -> str:
    """Write a value as one writes it into a YAML file."""
    if value is None:
        return "~"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    if isinstance(value, str) and (not value.strip() or not re.fullmatch(r"[\w@/.-]+", value)):
        return f'"{value}"'
    return str(value)


def row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table_of_ours() -> str:
    """Return the table of this package's keys."""
    rows = [row("key", "default", "type", "what it is"), row(*["---"] * 4)]
    rows += [
        row(f"`{item.key}`", f"`{inline(item.default)}`", item.kind, item.text)
        for item in explained_keys()
    ]
    return "\n".join(rows)


def table_of_changes() -> str:
    """Return the table of RecBole's keys that the property files set."""
    rows = [row("for", "key", "value", "what it is"), row(*["---"] * 4)]
    for kind in ("type", "model", "dataset"):
        for path in sorted((properties_path() / kind).glob("*.yaml")):
            text = text_of(path)
            name = {"type": f"{path.stem}-aware models"}.get(kind, path.stem)
            for key, value in yaml.safe_load(text).items():
                (line,) = re.findall(rf"^{key}:.*$", text, re.MULTILINE)
                (meaning,) = _COMMENT.findall(line)
                rows.append(row(name, f"`{key}`", f"`{inline(value)}`", meaning))
    return "\n".join(rows)


TABLES = {"ours": table_of_ours, "changes": table_of_changes}


def between_marks(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<=<!-- table: {name} -->\n\n).*?(?=\n\n<!-- end -->)", re.DOTALL)


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_settings_are_current(name: str) -> None:
    (found,) = between_marks(name).findall(text_of(SETTINGS))
    assert found == TABLES[name](), "run 'python -m tests.test_docs' in the checkout"


def test_every_strategy_is_in_the_readme() -> None:
    assert all(f"| `{name}` |" in text_of(README) for name in strategy_names())


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as they are made on the web."""
    titles = re.findall(r"^#+ (.*)$", _FENCE.sub("", text_of(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links() -> Iterator[tuple[Path, str]]:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text_of(path))):
            if not re.match(r"\w+:", target):
                yield path, target


@pytest.mark.parametrize(
    ("path", "target"), [pytest.param(p, t, id=f"{p.name}-{t}") for p, t in links()]
)
def test_links_lead_somewhere(path: Path, target: str) -> None:
    name, _, anchor = target.partition("#")
    found = (path.parent / name).resolve() if name else path
    assert found.exists()
    assert not anchor or anchor in anchors(found)


@pytest.mark.parametrize("title", ["Run", "Test"])
def test_readme_has_one_command_to_run_and_one_to_test(title: str) -> None:
    body = section(text_of(README), title)
    ((language, command),) = _FENCE.findall(body)
    assert language in ("", "sh", "bash")
    assert len(command.splitlines()) == 1
    assert command.startswith("python3.11 -m venv ")


def test_readme_names_files_that_exist() -> None:
    for title in ("Run", "Test"):
        for name in re.findall(r"[\w./-]+\.(?:py|txt)\b", section(text_of(README), title)):
            assert (ROOT / name).is_file(), name


def marked_examples() -> list[Any]:
    found = []
    for path in DOCUMENTS:
        parts = text_of(path).split(f"{TESTED}\n\n")[1:]
        for number, part in enumerate(parts, start=1):
            block = _FENCE.match(part)
            assert block is not None, f"{path.name}: no fence after {TESTED}"
            assert block[1] == "python", path.name
            found.append(pytest.param(block[2], id=f"{path.stem}-{number}"))
    return found


def test_examples_are_marked() -> None:
    assert marked_examples()


@pytest.mark.slow
@pytest.mark.parametrize("code", marked_examples())
def test_examples_run(code: str, tmp_path: Path) -> None:
    (tmp_path / "dataset").symlink_to(ROOT / "dataset")
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    runpy.run_path("example.py", run_name="example")


def write_tables() -> None:
    """Write the tables of settings.md again."""
    text = text_of(SETTINGS)
    for name, table in TABLES.items():
        text = between_marks(name).sub(lambda _, table=table: table(), text)
    SETTINGS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_tables()
