"""What the documents say: tables that match the code, links that lead somewhere, code that runs."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from recbole_atjt.settings.explained import package_keys
from recbole_atjt.weighting.keys import explained_keys
from recbole_atjt.weighting.table import STRATEGIES
from tests.scripts import load_script

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
generate = load_script(ROOT / "docs" / "generate.py")
GENERATED = generate.generated()
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "docs/examples/*.md", "dataset/*.md")
    for path in ROOT.glob(pattern)
)
#: A fenced block after this line runs in the tests.
TESTED = "<!-- tested -->"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


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


@pytest.mark.parametrize("name", sorted(str(p.relative_to(ROOT)) for p in GENERATED))
def test_what_is_generated_is_current(name: str) -> None:
    found = (ROOT / name).read_text(encoding="utf-8") if (ROOT / name).is_file() else ""
    assert found == GENERATED[ROOT / name], "run 'python docs/generate.py'"


def test_nothing_is_left_of_strategies_that_are_gone() -> None:
    assert generate.stale() == []


def test_the_check_names_what_is_stale(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(generate.STRATEGIES, "new", generate.STRATEGIES["t_ce"])
    assert generate.main(["--check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "properties/weighting/new.yaml is stale: run 'python docs/generate.py'" in lines
    assert {line.split()[0] for line in lines} == {
        "README.md",
        "docs/settings.md",  # its sentence on ``weighting``
        "docs/strategies.md",
        "properties/overall.yaml",
        "properties/weighting/new.yaml",
    }
    assert not (ROOT / "properties" / "weighting" / "new.yaml").exists()


def test_each_key_lies_in_one_property_file() -> None:
    keys = [
        key for name in STRATEGIES for key in yaml.safe_load(generate.strategy_file(name)) or {}
    ]
    assert len(keys) == len(set(keys))
    assert set(keys) == {item.key for item in explained_keys()} - {i.key for i in package_keys()}
    owner = generate.owners()
    assert owner["atjt_groups"] == "atjt"
    assert owner["dnr_epochs"] == "dnr"
    assert owner["autodenoise_reward"] == "autodenoise_s"
    assert owner["autodenoise_actions"] == "autodenoise_h"


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 0.5, 1e-05, 3e10, [64, 32], "mean", "none", "a b", "no", "1", "", {"a": [1.5]}],
    ids=str,
)
def test_a_value_is_read_as_it_was_written(value: Any) -> None:
    found = yaml.safe_load(generate.inline(value))
    assert found == value
    assert isinstance(found, type(value)) or value == 3e10  # whole numbers serve as floats


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


def test_the_worked_example_prints_what_the_text_shows(capsys: pytest.CaptureFixture[str]) -> None:
    body = section(text_of(ROOT / "docs" / "how-it-works.md"), "Ten clicks, worked")
    (code,) = [text for language, text in _FENCE.findall(body) if language == "python"]
    (shown,) = [text for language, text in _FENCE.findall(body) if language == "text"]
    exec(code, {})
    assert capsys.readouterr().out == shown
