"""The dense network: the reference that sparse networks are compared with."""

from __future__ import annotations

from pai_bench import SparseClassifier, register


@register("dense")
class Dense(SparseClassifier):
    """Prune nothing."""

    prunes = False
    needs_data = False
    needs_labels = False
