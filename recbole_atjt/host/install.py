"""Repair and extend RecBole for the rest of the process."""

from __future__ import annotations

import functools

from recbole_atjt.host.extensions import (
    count_codes,
    give_users_to_other_autoencoders,
    refuse_weighted_models,
    remember_normalized_ranges,
    remember_vocabulary,
)
from recbole_atjt.host.repairs.disk import go_on_without_figures
from recbole_atjt.host.repairs.files import read_plain_text, sort_by_exact_times
from recbole_atjt.host.repairs.libraries import (
    keep_counts_of_training_data,
    keep_numpy_names,
    restore_numpy_aliases,
    stop_anomaly_detection,
    use_current_grad_scaler,
)
from recbole_atjt.host.repairs.loaders import hold_no_lists_of_rows, select_rows_at_once
from recbole_atjt.host.repairs.models import (
    cast_ksr_relations,
    count_tower_fields,
    drop_single_sample_batch,
    flatten_kd_dagfm_scores,
    refuse_items_that_all_clicked,
    restore_sparse_update,
)
from recbole_atjt.host.repairs.pandas3 import (
    copy_read_only_columns,
    fill_missing_values,
    load_missing_sequences,
    remap_token_sequences,
    split_float_sequences,
)


@functools.lru_cache(maxsize=1)
def apply() -> None:
    """Repair RecBole for the rest of the process; any further call does nothing."""
    stop_anomaly_detection()  # first, since any import of RecBole may turn the detection on
    restore_numpy_aliases()
    keep_numpy_names()
    load_missing_sequences()
    read_plain_text()
    sort_by_exact_times()
    go_on_without_figures()
    fill_missing_values()
    remap_token_sequences()
    split_float_sequences()
    copy_read_only_columns()
    restore_sparse_update()
    cast_ksr_relations()
    flatten_kd_dagfm_scores()
    count_tower_fields()
    refuse_items_that_all_clicked()
    hold_no_lists_of_rows()
    select_rows_at_once()
    drop_single_sample_batch()
    use_current_grad_scaler()
    keep_counts_of_training_data()
    count_codes()
    give_users_to_other_autoencoders()
    remember_normalized_ranges()
    remember_vocabulary()
    refuse_weighted_models()
