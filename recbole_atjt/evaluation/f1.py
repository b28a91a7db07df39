"""F1 of a ranking, registered among RecBole's metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
from recbole.evaluator import register as registry
from recbole.evaluator.base_metric import TopkMetric


class F1(TopkMetric):
    r"""Harmonic mean of precision and recall of each query, averaged over queries.

    .. math::
        F_1@k = \frac{1}{|Q|} \sum_q \frac{2 P_q R_q}{P_q + R_q},\quad
        P_q = \frac{h_q}{k},\ R_q = \frac{h_q}{n_q}

    with :math:`h_q` of the query's :math:`n_q` positives among the first k (AutoDenoise, 5.2.4). A
    query without a hit counts 0.
    """

    def calculate_metric(self, dataobject: Any) -> dict[str, float]:
        """Return ``f1@k`` for each k of ``topk``."""
        result: dict[str, float] = self.topk_result(
            "f1", self.metric_info(*self.used_info(dataobject))
        )
        return result

    def metric_info(self, pos_index: np.ndarray, pos_len: np.ndarray | None = None) -> np.ndarray:
        """Return F1 of each query at 1 to k, ``[queries, k]``.

        Args:
            pos_index: Whether the query's item at each rank is a positive, ``[queries, k]``.
            pos_len: Number of the query's positives, at least 1, ``[queries]``.
        """
        if pos_len is None:
            raise ValueError("F1 needs the number of positives of each query")
        ranks = np.arange(1, pos_index.shape[1] + 1)
        # 2PR / (P + R) with P = h/k and R = h/n, which is also right where h is 0.
        f1: np.ndarray = 2 * pos_index.cumsum(axis=1) / (ranks + pos_len.reshape(-1, 1))
        return f1


def register() -> None:
    """Make RecBole know the metric ``F1``; one of that name that is there already stays."""
    name = F1.__name__.lower()
    if name in registry.metrics_dict:
        return
    registry.metrics_dict[name] = F1
    registry.metric_types[name] = F1.metric_type
    registry.metric_information[name] = F1.metric_need
