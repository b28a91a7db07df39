"""Settings: defaults, types, ranges, and one clear line for what is wrong."""

from __future__ import annotations

from dataclasses import fields

import pytest

from recbole_atjt.errors import UsageError
from recbole_atjt.settings import Settings, explained_keys, read_settings


def test_defaults_come_from_the_property_files() -> None:
    settings = read_settings({})
    defaults = {item.key: item.default for item in explained_keys()}
    assert settings.own == {}
    for item in fields(Settings):
        if item.name == "own":
            continue
        value = getattr(settings, item.name)
        expected = defaults[item.name]
        assert value == (tuple(expected) if isinstance(expected, list) else expected), item.name
    assert settings.weighting == "none"


def test_every_setting_is_explained() -> None:
    explained = {item.key: item for item in explained_keys()}
    for item in fields(Settings):
        assert item.name == "own" or len(explained[item.name].text) > 20, item.name


def test_whole_numbers_serve_as_floats() -> None:
    assert read_settings({"atjt_alpha": 2}).atjt_alpha == 2.0


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
        ({"atjt_recognizer_output_hidden_sizes": "wide"}, "is not a list of whole numbers"),
        ({"atjt_recognizer_output_hidden_sizes": [8, 0]}, "widths of at least 1"),
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
        read_settings(given)
    assert "\n" not in str(caught.value)
