"""A RecBole dataset that refuses what it would misread, and says what it read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from recbole.utils import FeatureSource, FeatureType

from recbole_atjt.data.coded import CodedDataset
from recbole_atjt.errors import UsageError


class CheckedDataset(CodedDataset):
    """Reads, filters and numbers as RecBole does; stands before one of its classes.

    Args:
        config: RecBole's configuration.

    Raises:
        UsageError: A row has not the header's fields, or a time or a label is none.
    """

    inter_feat: Any
    #: Whether its rows are sorted by time.
    reads_time = False

    def _load_feat(self, filepath: str, source: Any) -> pd.DataFrame | None:
        try:
            feat: pd.DataFrame | None = super()._load_feat(filepath, source)
        except ValueError as error:
            if "Unable to convert column" not in str(error):
                raise
            column = str(error).split("column ")[1].rsplit(" to type", 1)[0]
            raise UsageError(f"{filepath}: a value of column '{column}' is no number") from error
        if source == FeatureSource.INTERACTION and feat is not None:
            self._check_clicks(filepath, feat)
        return feat

    def _check_clicks(self, file: str, feat: pd.DataFrame) -> None:
        field = self.time_field
        if self._sorts_by_time() and field in feat:
            if self.field2type[field] != FeatureType.FLOAT:
                kind = self.field2type[field].value
                raise UsageError(
                    f"{file}: TIME_FIELD is '{field}' of type {kind}, which has no order in time: "
                    f"write {field}:float into the header, and numbers below it"
                )
            times = np.asarray(feat[field], dtype=np.float64)
            wrong = np.flatnonzero(~np.isfinite(times))
            named = feat[[self.uid_field, self.iid_field]].iloc[wrong].notna().all(axis=1)
            wrong = wrong[named.to_numpy()]  # RecBole leaves out the others
            if len(wrong):
                raise UsageError(
                    f"{file}: {len(wrong)} of {len(feat)} clicks have no time, row {wrong[0] + 1} "
                    f"the first: give {field} a number, or leave them out"
                )
        if self.benchmark_filename_list is not None:
            for name in (self.uid_field, self.iid_field):
                empty = np.flatnonzero(feat[name].isna())
                if len(empty):
                    raise UsageError(f"{file}: row {empty[0] + 1} has no {name}")

    def _sorts_by_time(self) -> bool:
        if self.reads_time:
            return True
        args = self.config["eval_args"]
        sorts = args["order"] == "TO" or "TS" in args["split"]
        return sorts and self.benchmark_filename_list is None

    def _normalize(self) -> None:
        every = self.config["normalize_all"]
        named = list(self.field2type) if every else self.config["normalize_field"] or []
        self._require_numbers(named, "normalized")
        super()._normalize()

    def _discretization(self) -> None:
        self._require_numbers(self.config["discretization"] or {}, "discretized")
        super()._discretization()

    def _require_numbers(self, names: Iterable[str], what: str) -> None:
        """Refuse sequences of numbers of which none has any, where RecBole asks for the largest."""
        for name in names:
            sequence = self.field2type.get(name) == FeatureType.FLOAT_SEQ
            if sequence and not np.any(self.field2seqlen[name]):
                raise UsageError(
                    f"dataset '{self.dataset_name}': column '{name}' has no number in any row, so "
                    f"it can't be {what}: leave it out of load_col"
                )

    def _data_filtering(self) -> None:
        self._taken: dict[str, int] = {}
        self._read = len(self.inter_feat)
        super()._data_filtering()

    def _data_processing(self) -> None:
        super()._data_processing()
        self._check_labels()
        taken = getattr(self, "_taken", {})
        read = getattr(self, "_read", len(self.inter_feat))
        said = "".join(f", {count} taken by {name}" for name, count in taken.items() if count)
        self.logger.info(
            f"{self.dataset_name}: {self.user_num - 1} users, {self.item_num - 1} items, "
            f"{len(self.inter_feat)} interactions of {read} read{said}"
        )

    def _check_labels(self) -> None:
        """Refuse labels that are none: RecBole takes ratings of 1 to 5 for them as they are."""
        name = self.label_field
        if name not in self.inter_feat or self.field2type.get(name) != FeatureType.FLOAT:
            return
        low, high = float(self.inter_feat[name].min()), float(self.inter_feat[name].max())
        if low < 0 or high > 1:
            raise UsageError(
                f"LABEL_FIELD={name} has values from {low:g} to {high:g}, and a label is 0 or 1: "
                f"give a threshold, such as {{{name}: {(low + high) / 2:g}}}"
            )

    def _counted(self, name: str, filtering: Callable[[], None]) -> None:
        before = len(self.inter_feat)
        filtering()
        self._taken[name] = before - len(self.inter_feat)

    def _filter_nan_user_or_item(self) -> None:
        self._counted("missing users and items", super()._filter_nan_user_or_item)

    def _remove_duplication(self) -> None:
        self._counted("rm_dup_inter", super()._remove_duplication)

    def _filter_by_field_value(self) -> None:
        self._counted("val_interval", super()._filter_by_field_value)

    def _filter_inter_by_user_or_item(self) -> None:
        if self.user_feat is None and self.item_feat is None:
            return  # RecBole would copy all rows and drop none
        name = "filter_inter_by_user_or_item"
        items = self.inter_feat[self.iid_field].nunique()
        self._counted(name, super()._filter_inter_by_user_or_item)
        if self._taken[name]:
            lost = items - self.inter_feat[self.iid_field].nunique()
            self.logger.warning(
                f"{self.dataset_name}: {self._taken[name]} interactions are left out with {lost} "
                f"items, since the .user or .item file lacks them; {name}=False keeps them"
            )

    def _filter_by_inter_num(self) -> None:
        keys = ("user_inter_num_interval", "item_inter_num_interval")
        if all(_holds_all(self._parse_intervals_str(self.config[key])) for key in keys):
            return  # RecBole would count and drop none
        name = " and ".join(keys)
        self._counted(name, super()._filter_by_inter_num)


def _holds_all(intervals: list[tuple[str, float, float, str]] | None) -> bool:
    """Whether any number of interactions lies inside."""
    if intervals is None:
        return True
    return len(intervals) == 1 and intervals[0][1] <= 0 < intervals[0][2] == float("inf")


def checked(chosen: type[Any]) -> type[Any]:
    """Return a dataset class of RecBole's with the checks before it; one that has them as it is."""
    if issubclass(chosen, CheckedDataset):
        return chosen
    return type(chosen.__name__, (CheckedDataset, chosen), {"__doc__": chosen.__doc__})
