"""What is installed: every package and settings file, found from a wheel and a checkout."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

import recbole_atjt
from recbole_atjt.errors import UsageError
from recbole_atjt.settings import resources
from recbole_atjt.weighting.table import strategy_names

ROOT = Path(__file__).resolve().parent.parent
PROPERTIES = ROOT / "properties"
YAML_FILES = sorted(path.relative_to(PROPERTIES).as_posix() for path in PROPERTIES.rglob("*.yaml"))
PAPER_MODELS = ("WideDeep", "DCN", "DIN", "SASRec", "S3Rec", "FEARec")
PAPER_DATASETS = ("ml-100k", "ml-20m", "amazon-electronics", "yelp")


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy, so that nothing is left in the checkout."""
    source = tmp_path_factory.mktemp("source")
    for name in ("recbole_atjt", "properties"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(source / "dist"), str(source)]
    # Whatever folder others build in, this wheel is built in its own.
    env = {name: value for name, value in os.environ.items() if name != "DIST_EXTRA_CONFIG"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = (source / "dist").glob("recbole_atjt-*.whl")
    return built


def read_yaml(kind: str, name: str) -> dict[str, object]:
    text = (PROPERTIES / kind / f"{name}.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    assert isinstance(content, dict)
    return content


def test_every_package_is_listed(setup_cfg: configparser.ConfigParser) -> None:
    listed = set(setup_cfg["options"]["packages"].split())
    folders = {path.parent for path in (ROOT / "recbole_atjt").rglob("*.py")}
    found = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert listed == found | {"recbole_atjt.properties"}


def test_older_constraints_are_the_lower_bounds(setup_cfg: configparser.ConfigParser) -> None:
    text = (ROOT / "constraints-older.txt").read_text(encoding="utf-8")
    pins = dict(line.split(";")[0].split("==") for line in text.splitlines() if "==" in line)
    for requirement in setup_cfg["options"]["install_requires"].split():
        name, bound, version = requirement.split(",")[0].partition(">=")
        if bound and name != "torch":
            assert pins[name] == version, name


def test_properties_of_this_checkout_are_found() -> None:
    assert (resources.properties_path() / "overall.yaml").is_file()


def test_properties_inside_the_package_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        resources, "__file__", str(tmp_path / "package" / "settings" / "resources.py")
    )
    with pytest.raises(UsageError, match="install the package again"):
        resources.properties_path()
    for folder in (tmp_path / "properties", tmp_path / "package" / "properties"):
        folder.mkdir(parents=True)
        (folder / "overall.yaml").touch()
        assert resources.properties_path() == folder


@pytest.mark.parametrize("name", YAML_FILES)
def test_settings_are_plain_mappings_with_a_comment_on_every_key(name: str) -> None:
    text = (PROPERTIES / name).read_text(encoding="utf-8")
    assert isinstance(yaml.safe_load(text), (dict, type(None)))
    keys = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert all("# (" in line for line in keys), [line for line in keys if "# (" not in line]


def test_every_strategy_has_a_settings_file() -> None:
    assert {path.stem for path in (PROPERTIES / "weighting").glob("*.yaml")} == set(
        strategy_names()
    )


@pytest.mark.parametrize("name", PAPER_MODELS)
def test_the_papers_models_have_settings(name: str) -> None:
    assert read_yaml("model", name)


@pytest.mark.parametrize("name", PAPER_DATASETS)
def test_the_papers_datasets_load_their_item_feature(name: str) -> None:
    content = read_yaml("dataset", name)
    loaded = content["load_col"]
    assert isinstance(loaded, dict)
    assert content.get("TIME_FIELD", "timestamp") in loaded["inter"]
    assert content.get("item_attribute", "class") in loaded["item"]
    assert content.get("selected_features", ["class"]) == [content.get("item_attribute", "class")]


def test_sizes_of_the_paper() -> None:
    assert read_yaml("model", "WideDeep")["mlp_hidden_size"] == [256, 128]
    assert read_yaml("model", "DCN")["mlp_hidden_size"] == [128, 128]


@pytest.mark.slow
def test_wheel_contains_every_module_and_settings_file(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "recbole_atjt").rglob("*.py")}
    assert modules | {"recbole_atjt/py.typed"} <= names
    assert {f"recbole_atjt/properties/{name}" for name in YAML_FILES} <= names
    assert "recbole_atjt/report/page/style.css" in names
    assert all(name.startswith(("recbole_atjt/", "recbole_atjt-")) for name in names)
    (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
    text = zipfile.ZipFile(wheel).read(entry_points).decode()
    assert "recbole-atjt = recbole_atjt.cli:main" in text


@pytest.mark.slow
def test_settings_are_found_in_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import recbole_atjt\n"
        "from recbole_atjt.settings.resources import properties_path\n"
        "print(recbole_atjt.__version__, properties_path(), sep='\\n')\n"
    )
    command = [sys.executable, "-I", "-c", code, str(site)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    version, path = done.stdout.splitlines()[-2:]
    assert version == recbole_atjt.__version__
    assert Path(path) == site / "recbole_atjt" / "properties"
    assert (Path(path) / "model" / "SASRec.yaml").is_file()
