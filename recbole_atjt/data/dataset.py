"""RecBole datasets that hold lazy windows; RecBole reads, filters and remaps as before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from recbole.data.dataset import DIENDataset, KGSeqDataset, SequentialDataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType
from torch import Tensor

from recbole_atjt.data.files import ensure_files, loaded_columns, require_columns
from recbole_atjt.data.history import HistoryField
from recbole_atjt.data.row_groups import Groups
from recbole_atjt.data.splits import PARTS, SplitDataset, check_split
from recbole_atjt.data.windows import WindowBase, WindowColumns, Windows, find_windows, pad
from recbole_atjt.errors import UsageError
from recbole_atjt.host.ordering import stable_order

_FILE_NUMBER = "number:of the ready split"  # a column of a file has no colon in its name


class WindowedDataset(SplitDataset):
    """A dataset whose interactions become lazy prefix windows when it is built.

    It stands before one of RecBole's dataset classes among a class's bases. ``inter_feat[rows]``
    stays lazy; ``dataset[rows]``, which loaders call, gathers and joins a batch.

    With ``benchmark_filename``, the histories run through all the files by time, and a window
    belongs to the file of its target; files that hold ready lists are left to RecBole.

    Args:
        config: RecBole's configuration.

    Raises:
        UsageError: A file or a column is missing, or no user has two interactions.
    """

    only_by_time = True
    _takes_users = False
    inter_feat: Any
    file_size_list: list[int]
    benchmark_filename_list: list[str] | None

    def _load_data(self, token: str, dataset_path: str) -> None:
        config = self.config
        ensure_files(dataset_path, token, config["benchmark_filename"])
        require_columns(config, ["USER_ID_FIELD", "ITEM_ID_FIELD"])
        ready = self.iid_field + config["LIST_SUFFIX"]
        self._has_lists = bool(config["benchmark_filename"]) and ready in loaded_columns(config)
        if not self._has_lists:
            _refuse_names_of_histories(config)
            require_columns(config, ["TIME_FIELD"], f"{config['model']} needs a time field: ")
            self.reads_time = True
        super()._load_data(token, dataset_path)

    def _benchmark_presets(self) -> None:
        if not self._has_lists:
            return
        self.item_id_list_field = self.iid_field + self.config["LIST_SUFFIX"]
        super()._benchmark_presets()
        lists = self.inter_feat[self.item_id_list_field]
        self.inter_feat[self.item_list_length_field] = lists.map(len)  # agg(len) fails in pandas 3

    def _change_feat_format(self) -> None:
        super()._change_feat_format()
        if not isinstance(self.inter_feat, Windows) and not self._has_lists:
            self.data_augmentation()

    def data_augmentation(self) -> None:
        """Put lazy windows in the place of the interactions."""
        self._aug_presets()
        if self.benchmark_filename_list is not None:
            sizes = torch.tensor(self.file_size_list)
            self.inter_feat[_FILE_NUMBER] = torch.arange(len(sizes)).repeat_interleave(sizes)
        self.sort(by=[self.uid_field, self.time_field], ascending=True)
        file_number = self.inter_feat.interaction.pop(_FILE_NUMBER, None)
        base = self._take_base(self.inter_feat)
        users = base.columns[self.uid_field][:-1].numpy()
        target, length = find_windows(users, self.max_item_list_len)
        if not len(target):
            raise UsageError(
                f"dataset '{self.dataset_name}': no user has two interactions, "
                "so there is no history to learn from"
            )
        self.inter_feat = Windows(WindowColumns(base, target, length))
        if file_number is not None:
            self._order_by_file(file_number[target])

    def _take_base(self, interaction: Interaction) -> WindowBase:
        """Move the columns out of ``interaction``, one by one to save memory, into a base."""
        names = list(interaction)
        columns = {name: pad(interaction.interaction.pop(name)) for name in names}
        histories = self._histories(columns)
        return WindowBase(columns, histories, self.item_list_length_field, self.max_item_list_len)

    def _histories(self, columns: dict[str, Tensor]) -> dict[str, HistoryField]:
        """Choose the ``*_list`` columns: of all columns but the user."""
        return {
            list_field: self._history(list_field, columns[name])
            for name in columns
            if name != self.uid_field
            for list_field in [getattr(self, f"{name}_list_field")]
        }

    def _history(self, list_field: str, values: Tensor) -> HistoryField:
        length = self.field2seqlen[list_field]
        shape = (length,) if isinstance(length, int) else tuple(length)
        return HistoryField(values, (*shape, *values.shape[len(shape) :]), values.dtype)

    def sort(self, by: Any, ascending: Any = True) -> None:
        """Sort the interactions.

        A split that takes users one by one, in the order of their first windows, gets windows in
        that order where RecBole sorts all of them by time: its parts are the same.
        """
        windows = self.inter_feat
        if self._takes_users and by == self.time_field and isinstance(windows, Windows):
            rows = None if self._samples_by_popularity() else self._user_by_user(windows)
            if rows is not None:
                self.inter_feat = windows[rows]
                return
        super().sort(by, ascending)

    def _samples_by_popularity(self) -> bool:
        """Whether negatives are drawn from all windows, by numbers that depend on their order."""
        arguments = [self.config[f"{part}_neg_sample_args"] for part in PARTS]
        return any((each or {}).get("distribution") == "popularity" for each in arguments)

    def _user_by_user(self, windows: Windows) -> Tensor | None:
        """Return windows by user, users by the time of their first one, if they are by user now."""
        base, target = windows.interaction.base, windows.interaction.target
        times = base.columns[self.time_field]
        if times.ndim > 1 or not bool((target[1:] > target[:-1]).all()):
            return None
        users = base.columns[self.uid_field].index_select(0, target)
        starts = torch.cat([torch.tensor([0]), (users[1:] != users[:-1]).nonzero()[:, 0] + 1])
        groups = Groups.side_by_side(starts.numpy(), len(target))
        order = stable_order([times.index_select(0, target[starts])])
        return torch.from_numpy(groups.in_order(order.numpy()))

    def _order_by_file(self, file_number: Tensor) -> None:
        """Order windows by the ready split of their target, which RecBole then cuts by size."""
        self.inter_feat = self.inter_feat[np.argsort(file_number.numpy(), kind="stable")]
        files = len(self.file_size_list)
        self.file_size_list = np.bincount(file_number.numpy(), minlength=files).tolist()

    def __getitem__(self, index: Any, join: bool = True) -> Interaction:
        if not isinstance(self.inter_feat, Windows):
            return super().__getitem__(index, join)
        batch = self.inter_feat.materialize(index)
        return self.join(batch) if join else batch

    def build(self) -> list[Any]:
        """Order and split the windows by ``eval_args``; the split by user included.

        Returns:
            The training, validation and test dataset.

        Raises:
            UsageError: The split or the order is none that this dataset has.
        """
        eval_args = self.config["eval_args"]
        kind, order = check_split(eval_args["split"]), eval_args["order"]
        if order not in (("TO",) if self.only_by_time else ("TO", "RO")):
            raise UsageError(
                f"eval_args order: '{order}' does not go with {self.config['model']}; use TO"
                + ("" if self.only_by_time else " or RO")
            )
        if kind != "US" or self.benchmark_filename_list is not None:
            self._takes_users = kind in ("LS", "TS") or eval_args["group_by"] == "user"
            parts = super().build()
            self._takes_users = False
        else:
            self._change_feat_format()
            if order == "TO":
                self.sort(by=self.time_field)
            else:
                self.shuffle()
            parts = self.split_by_user(eval_args["split"]["US"])
        if isinstance(self.inter_feat, Windows):
            self.inter_feat.interaction.forget()
        return list(parts)


def _refuse_names_of_histories(config: Any) -> None:
    """Refuse columns of the file in whose place histories, their length or negatives are put.

    Raises:
        UsageError: Names the column.
    """
    loaded = loaded_columns(config)
    made = {name + config["LIST_SUFFIX"] for name in loaded}
    made |= {config["NEG_PREFIX"] + name for name in loaded} | {config["ITEM_LIST_LENGTH_FIELD"]}
    for name in loaded:
        if name in made:
            raise UsageError(
                f"column '{name}' of the interactions has the name of one that is made of "
                "histories or negatives: rename it, or leave it out by "
                f"unload_col={{inter: [{name}]}}"
            )


class SequentialWindowDataset(WindowedDataset, SequentialDataset):
    """Lazy windows for sequential models: RecBole's columns, value for value."""


class KGWindowDataset(WindowedDataset, KGSeqDataset):
    """Lazy windows for sequential models with a knowledge graph (GRU4RecKG, KSR)."""


class DIENWindowDataset(WindowedDataset, DIENDataset):
    """Lazy windows with the negative items that DIEN's auxiliary loss reads.

    As in RecBole, the negatives lie in the order of the file while histories are sorted, so a
    negative may be the positive item itself, and lists are int64 or float64.
    """

    def _histories(self, columns: dict[str, Tensor]) -> dict[str, HistoryField]:
        histories = {}
        tokens = (FeatureType.TOKEN, FeatureType.TOKEN_SEQ)
        for name, history in super()._histories(columns).items():
            dtype = torch.int64 if self.field2type[name] in tokens else torch.float64
            histories[name] = replace(history, dtype=dtype)
            if name == getattr(self, f"{self.iid_field}_list_field"):
                negatives = replace(histories[name], values=pad(self.neg_item_list))
                histories[self.neg_item_list_field] = negatives
        return histories


class ContextWindowDataset(WindowedDataset):
    """Lazy windows for context-aware models: the history of item ids is a feature of the user.

    The feature is a token sequence of the items' own tokens, so every model that takes features
    takes it. The histories' length goes into batches too, but is no feature of the model.

    Args:
        config: RecBole's configuration.

    Raises:
        UsageError: ``repeatable`` is not set; windows of one user are queries of their own.
    """

    only_by_time = False

    def __init__(self, config: Any) -> None:
        if not config["repeatable"]:
            raise UsageError(
                f"{config['model']} with histories needs 'repeatable: True', since negatives are "
                f"drawn for each window; it is {config['repeatable']}"
            )
        self.max_item_list_len = config["MAX_ITEM_LIST_LENGTH"]
        self.item_list_length_field = config["ITEM_LIST_LENGTH_FIELD"]
        super().__init__(config)

    def _aug_presets(self) -> None:
        history = self.iid_field + self.config["LIST_SUFFIX"]
        self.set_field_property(
            history, FeatureType.TOKEN_SEQ, FeatureSource.USER, self.max_item_list_len
        )
        self.field2id_token[history] = self.field2id_token[self.iid_field]
        self.field2token_id[history] = self.field2token_id[self.iid_field]

    def _histories(self, columns: dict[str, Tensor]) -> dict[str, HistoryField]:
        history = self.iid_field + self.config["LIST_SUFFIX"]
        return {history: self._history(history, columns[self.iid_field])}
