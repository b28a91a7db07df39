"""Planting noise in the training part of a split dataset."""

from __future__ import annotations

from logging import getLogger
from typing import Any

from recbole.utils import FeatureType

from recbole_atjt.data.clean import NOISE_FIELD, Interval, Truth, read_intervals
from recbole_atjt.data.windows import Windows
from recbole_atjt.errors import UsageError
from recbole_atjt.noise.rows import plant_rows
from recbole_atjt.noise.spec import plan_of
from recbole_atjt.noise.truth import Fields
from recbole_atjt.noise.windows import plant_windows

_NO_SOURCE = "inter"
"""RecBole's methods find the column by it; models choose features by members of `FeatureSource`."""


def plant(config: Any, parts: list[Any]) -> list[Any]:
    """Plant the noise of ``plant`` in the training part; the parts given are not changed.

    Targets of validation and test stay; histories, theirs included, show what is planted before
    them. The truth goes along as column ``is_noise``, 1.0 where a click is noise; it replaces a
    column of that name in training, and is 0 in validation and test (where ``clean_eval`` names
    it, the data's own values stay there). It is no feature of any model.

    Args:
        config: RecBole's configuration with ``plant``, ``plant_seed`` and ``plant_items``; the
            run's seed has no part in it.
        parts: The training, validation and test dataset.

    Returns:
        The parts with noise; the same parts where ``plant`` is null.

    Raises:
        UsageError: A value is wrong, the data has too few clicks or items, or it has ready lists
            instead of histories.
    """
    plan = plan_of(config)
    if plan is None:
        return parts
    train = parts[0]
    keeps_own = NOISE_FIELD in read_intervals(config["clean_eval"])
    fields = Fields(train.uid_field, train.iid_field, train.time_field, keeps_own)
    feats = [part.inter_feat for part in parts]
    if isinstance(feats[0], Windows):
        planted = plant_windows(plan, feats, fields, train.item_num)
    elif f"{train.iid_field}{config['LIST_SUFFIX']}" in feats[0]:
        raise UsageError(
            f"plant={config['plant']} can't change histories that are ready lists in the files: "
            "give files of single interactions"
        )
    else:
        planted = plant_rows(plan, feats, fields, train.item_num)
    noisy = int(planted[0][NOISE_FIELD].sum())
    getLogger().info(
        f"plant={config['plant']}: {noisy} of {len(planted[0])} training targets are noise"
    )
    return [_with_truth(part, feat) for part, feat in zip(parts, planted)]


def planted_truth(config: Any) -> Truth | None:
    """Return what tells true from false positives where noise is planted; else None."""
    return None if config["plant"] is None else Truth({NOISE_FIELD: (Interval(0, 0),)})


def _with_truth(part: Any, feat: Any) -> Any:
    """Return the part with other interactions, and ``is_noise`` as a column of no model's."""
    planted = part.copy(feat)
    planted.field2type = {**part.field2type, NOISE_FIELD: FeatureType.FLOAT}
    planted.field2source = {**part.field2source, NOISE_FIELD: _NO_SOURCE}
    planted.field2seqlen = {**part.field2seqlen, NOISE_FIELD: 1}
    return planted
