"""A strategy of another package: found, shown, trained with its own key, refused in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from recbole_atjt import DenoisingConfig
from recbole_atjt.cli import main
from recbole_atjt.errors import UsageError
from recbole_atjt.weighting.base import Weighting
from recbole_atjt.weighting.table import (
    STRATEGIES,
    build_weighting,
    find_strategy,
    keys_of_others,
    strategy_keys,
    strategy_names,
)
from tests.outside import ENTRY_POINTS, announced, write_sources
from tests.runs import arguments, settings, train

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def _announced(tmp_path: Path) -> Iterator[None]:
    with announced(tmp_path / "site"):
        yield


def test_without_other_packages_there_are_ours() -> None:
    assert strategy_names() == tuple(STRATEGIES)
    assert keys_of_others() == set()


@pytest.mark.usefixtures("_announced")
def test_a_strategy_is_found_by_its_name() -> None:
    assert strategy_names() == (*STRATEGIES, *(name for name in ENTRY_POINTS if name != "atjt"))
    found = find_strategy("theirs")
    assert found is not None
    assert issubclass(found, Weighting)
    assert found.__name__ == "Theirs"
    older = {"their_key", "their_scale", "their_dim", "their_list"}
    assert keys_of_others() == {*older, "declared_least"}


@pytest.mark.usefixtures("_announced")
def test_a_declared_key_is_explained_and_checked() -> None:
    (item,) = strategy_keys("declared")
    assert (item.key, item.default, item.kind) == ("declared_least", 3, "int")
    assert item.text == "Shortest history that counts."
    with pytest.raises(UsageError, match="declared_least=0 is out of range: it must be at least 1"):
        build_weighting({"weighting": "declared", "declared_least": 0}, torch.ones(3))


@pytest.mark.usefixtures("_announced")
def test_own_keys_arrive_typed_and_defaults_where_they_are_not_given() -> None:
    given = {"weighting": "theirs", "their_scale": 2, "their_list": ["a", "b"]}
    strategy = build_weighting(given, torch.ones(3))
    assert strategy is not None
    own = strategy.settings.own
    assert own == {"their_key": 1, "their_scale": 2.0, "their_dim": 0.5, "their_list": ["a", "b"]}
    assert isinstance(own["their_scale"], float)
    assert build_weighting({"weighting": "none", "their_key": "two"}, torch.ones(3)) is None


@pytest.mark.usefixtures("_announced")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"their_key": "two"}, "their_key=two is not a whole number"),
        ({"their_key": 1.5}, "their_key=1.5 is not a whole number"),
        ({"their_key": True}, "their_key=True is not a whole number"),
        ({"their_scale": "wide"}, "their_scale=wide is not a number"),
    ],
)
def test_own_keys_of_the_wrong_type_are_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_weighting({"weighting": "theirs", **given}, torch.ones(3))


@pytest.mark.usefixtures("_announced")
def test_a_run_has_its_weights() -> None:
    changes = {"their_key": 3, "their_scale": 2, "their_dim": 0.25, "epochs": 1}
    run, trainer = train("SASRec", "theirs", **changes)
    share = float((trainer.loader.dataset.inter_feat["item_length"] >= 3).float().mean())
    assert 0 < share < 1
    assert trainer.history[0]["mean_weight"] == pytest.approx(2 * share, rel=1e-6)
    assert run.config["their_key"] == 3
    assert run.weighting == "theirs"


#: What is wrong beside ``--weighting=theirs``, and what the line says.
WRONG: list[tuple[dict[str, Any], int, str]] = [
    ({"their_key": "two"}, 2, "their_key=two is not a whole number"),
    ({"weighting": "none,theirs", "their_key": "two"}, 2, "their_key=two is not a whole number"),
    ({"their_kee": 2}, 2, "key 'their_kee' is unknown, did you mean 'their_key'"),
    ({"weighting": "thiers"}, 2, "weighting=thiers is unknown, did you mean 'theirs'"),
    ({"weighting": "none,broken", "their_key": 2}, 2, "their_broken:Theirs can't be loaded"),
    ({"weighting": "broken"}, 2, "weighting=broken: their_broken:Theirs can't be loaded: no luck"),
    ({"weighting": "missing"}, 2, "their_weights:Nothing can't be loaded: module"),
    ({"weighting": "nowhere"}, 2, "can't be loaded: No module named 'no_such_module_of_theirs'"),
    ({"weighting": "function"}, 2, "their_weights:no_class is no class derived from"),
    ({"weighting": "number"}, 2, "weighting=number: math:pi is no class derived from"),
    ({"weighting": "atjt"}, 2, "weighting=atjt is announced more than once (their_weights:Theirs)"),
    ({"weighting": "column"}, 1, "weights have shape (64, 1) for 64 rows"),
]


@pytest.mark.usefixtures("_announced")
@pytest.mark.parametrize(
    ("changes", "code", "message"),
    WRONG,
    ids=["-".join(f"{k}={v}" for k, v in changes.items()) for changes, _, _ in WRONG],
)
def test_a_mistake_is_one_line(
    capsys: pytest.CaptureFixture[str], changes: dict[str, Any], code: int, message: str
) -> None:
    assert main(arguments(**{"weighting": "theirs", **changes})) == code
    error = capsys.readouterr().err
    (line,) = [line for line in error.splitlines() if line.startswith("recbole-atjt: ")]
    assert message in line
    assert "Traceback" not in error


@pytest.mark.usefixtures("_announced")
def test_an_unusable_strategy_leaves_the_others_alone() -> None:
    strategy = build_weighting({"weighting": "r_ce"}, torch.ones(3))
    assert type(strategy) is STRATEGIES["r_ce"]
    config = DenoisingConfig("SASRec", "tiny", None, settings(weighting="none", their_dim=0.25))
    assert config["weighting"] == "none"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their package, built and installed by pip into a folder of its own."""
    source = tmp_path_factory.mktemp("theirs")
    write_sources(source)
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
        encoding="utf-8",
    )
    listed = "\n".join(f"    {name} = {target}" for name, target in ENTRY_POINTS.items())
    (source / "setup.cfg").write_text(
        "[metadata]\nname = their-weights\nversion = 1.0\n"
        "[options]\npy_modules =\n    their_weights\n    their_broken\n"
        f"[options.entry_points]\nrecbole_atjt.weightings =\n{listed}\n",
        encoding="utf-8",
    )
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--target", str(target), str(source)]
    # Whatever folder others build in, this package is built in its own.
    env = {name: value for name, value in os.environ.items() if name != "DIST_EXTRA_CONFIG"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def call(site: Path, *given: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "recbole_atjt", *given]
    path = os.pathsep.join([str(site), str(ROOT)])
    return subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_an_installed_strategy_is_shown(installed: Path) -> None:
    done = call(installed, "--help")
    assert done.returncode == 0, done.stderr
    assert "theirs" in done.stdout.replace(",", " ").split()
    done = call(installed, "strategies")
    assert done.returncode == 0, done.stderr
    assert any(line.startswith("  theirs ") for line in done.stdout.splitlines())
    assert "atjt is announced more than once" in " ".join(done.stdout.split())


@pytest.mark.slow
def test_an_installed_strategy_trains_with_its_key(installed: Path) -> None:
    done = call(installed, *arguments(weighting="none,theirs", their_key="2", their_scale="3"))
    assert done.returncode == 0, done.stderr
    assert "theirs" in done.stdout
    runs = json.loads(Path("out/result.json").read_text(encoding="utf-8"))["runs"]
    assert [run["weighting"] for run in runs] == ["none", "theirs"]
    assert runs[1]["config"]["their_key"] == 2
    assert runs[1]["valid"]
    assert runs[1]["valid"] != runs[0]["valid"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"their_key": "two"}, "their_key=two is not a whole number"),
        ({"weighting": "nowhere"}, "No module named 'no_such_module_of_theirs'"),
    ],
)
def test_an_installed_strategy_is_refused_in_one_line(
    installed: Path, changes: dict[str, Any], message: str
) -> None:
    done = call(installed, *arguments(**{"weighting": "none,theirs", **changes}))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()[-1:]
    assert line.startswith("recbole-atjt: ")
    assert message in line
    assert "Traceback" not in done.stderr
    assert not Path("out").exists()
