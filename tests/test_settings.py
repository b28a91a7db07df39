"""Settings: defaults, types, ranges, and one clear line for what is wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
import yaml

from recbole_atjt.errors import UsageError
from recbole_atjt.settings.declared import DeclaredSettings, declare, key, read_settings
from recbole_atjt.settings.resources import properties_path
from recbole_atjt.weighting.keys import explained_keys
from recbole_atjt.weighting.recognition import RecognitionSettings
from recbole_atjt.weighting.table import STRATEGIES, check_settings, strategy_keys


@dataclass(frozen=True)
class Declared(DeclaredSettings):
    """One key of each kind."""

    a_count: int = key(3, "A count.", within="[1, 5]")
    a_share: float = key(0.5, "A share.", within="[0, 1)")
    a_rate: float | str = key("auto", "A rate.", within="(0, 1)", choices=("auto",))
    a_switch: bool = key(False, "A switch.")
    a_name: str = key("one", "A name.", choices=("one", "two"))
    some_sizes: tuple[int, ...] = key((2, 1), "Sizes.", within="[1, inf)", length=2)


def test_a_declared_class_reads_what_a_config_has() -> None:
    given = {"a_count": 5, "a_share": 0, "a_rate": 0.25, "some_sizes": [4, 3], "other": 1}
    found = read_settings(Declared, given)
    assert found == Declared(5, 0.0, 0.25, False, "one", (4, 3))
    assert isinstance(found.a_share, float)
    assert read_settings(Declared, {}).own == {
        "a_count": 3,
        "a_share": 0.5,
        "a_rate": "auto",
        "a_switch": False,
        "a_name": "one",
        "some_sizes": (2, 1),
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a_count": 6}, "a_count=6 is out of range: it must be from 1 to 5"),
        ({"a_count": True}, "a_count=True is not a whole number"),
        ({"a_share": 1}, r"a_share=1.0 is out of range: it must be inside \[0, 1\)"),
        ({"a_rate": 1.5}, r"a_rate=1.5 is out of range: it must be inside \(0, 1\)"),
        ({"a_rate": "aut"}, "a_rate=aut is unknown, did you mean 'auto'"),
        ({"a_rate": [1]}, r"a_rate=\[1\] is not a number or a name"),
        ({"a_switch": 1}, "a_switch=1 is not True or False"),
        ({"a_name": "three"}, "a_name=three is unknown"),
        ({"some_sizes": [1, 2, 3]}, r"=\[1, 2, 3\] must be 2 whole numbers of at least 1"),
    ],
)
def test_a_declared_key_says_what_would_be_right(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_settings(Declared, given)


def test_keys_with_defaults_alone_make_a_class() -> None:
    older = declare("Older", {"a_count": 3, "a_list": ["x"]})
    assert read_settings(older, {"a_count": 4, "a_list": [1]}).own == {"a_count": 4, "a_list": [1]}
    with pytest.raises(UsageError, match="a_count=x is not a whole number"):
        read_settings(older, {"a_count": "x"})


@pytest.mark.parametrize("name", STRATEGIES)
def test_property_files_hold_the_declared_defaults(name: str) -> None:
    path = properties_path() / "weighting" / f"{name}.yaml"
    held = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    declared = {item.key: item.default for item in strategy_keys(name)}
    assert held.items() <= declared.items()


def test_every_key_is_explained_once() -> None:
    names = [item.key for item in explained_keys()]
    assert len(names) == len(set(names))
    for item in explained_keys():
        assert re.fullmatch(r"[^\n]{10,}[.]", item.text), item.key


def test_whole_numbers_serve_as_floats() -> None:
    assert read_settings(RecognitionSettings, {"atjt_alpha": 2}).atjt_alpha == 2.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weighting": "atj"}, "weighting=atj is unknown, did you mean 'atjt'?"),
        ({"atjt_groups": 1}, "atjt_groups=1 is out of range: it must be at least 2"),
        ({"atjt_groups": 2.5}, "atjt_groups=2.5 is not a whole number"),
        ({"atjt_alpha": -0.1}, "atjt_alpha=-0.1 is out of range: it must be at least 0"),
        ({"atjt_alpha": "big"}, "atjt_alpha=big is not a number"),
        ({"atjt_alpha": float("nan")}, "atjt_alpha=nan is out of range"),
        (
            {"atjt_noise_share": 0},
            r"atjt_noise_share=0.0 is out of range: it must be inside \(0, 1\)",
        ),
        ({"atjt_noise_share": 1.0}, "atjt_noise_share=1.0 is out of range"),
        ({"atjt_replace": "histroy"}, "did you mean 'history'"),
        ({"atjt_replace_from": "random"}, "use one of uniform, popularity"),
        ({"atjt_replace_count": 0}, "atjt_replace_count=0 is out of range"),
        ({"atjt_schedule": "letter"}, "use one of interleaved, paper"),
        ({"atjt_normalize": "max"}, "use one of none, mean"),
        ({"atjt_joint_gradient": "maybe"}, "atjt_joint_gradient=maybe is not True or False"),
        ({"atjt_strength": 0.0}, r"inside \(0, 1\]"),
        ({"atjt_recognizer_dropout": 1.0}, r"inside \[0, 1\)"),
        ({"atjt_recognizer_attention": "hard"}, "use one of softmax, sum"),
        ({"atjt_recognizer_embedding_size": 0}, "must be at least 1"),
        ({"atjt_recognizer_output_hidden_sizes": "wide"}, "must be whole numbers of at least 1"),
        ({"atjt_recognizer_output_hidden_sizes": [8, 0]}, "must be whole numbers of at least 1"),
        ({"atjt_recognizer_learning_rate": 0}, "must be above 0"),
        ({"dnr_epochs": 0}, "dnr_epochs=0 is out of range"),
        ({"t_ce_drop_rate": 1}, r"t_ce_drop_rate=1.0 is out of range: it must be inside \[0, 1\)"),
        ({"t_ce_drop_rate": -0.1}, "t_ce_drop_rate=-0.1 is out of range"),
        ({"t_ce_drop_rate": float("nan")}, "t_ce_drop_rate=nan is out of range"),
        ({"t_ce_drop_rate": "half"}, "t_ce_drop_rate=half is not a number"),
        ({"t_ce_num_gradual": 0}, "t_ce_num_gradual=0 is out of range: it must be at least 1"),
        ({"t_ce_num_gradual": 2.5}, "t_ce_num_gradual=2.5 is not a whole number"),
        ({"t_ce_exponent": 0}, "t_ce_exponent=0.0 is out of range: it must be above 0"),
        ({"r_ce_beta": -1}, "r_ce_beta=-1.0 is out of range: it must be at least 0 and finite"),
        ({"r_ce_beta": float("inf")}, "r_ce_beta=inf is out of range"),
    ],
)
def test_wrong_values_end_in_one_line(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        check_settings(given)
    assert "\n" not in str(caught.value)
