"""The network with all its weights: what sparse networks are measured against."""

from __future__ import annotations

from pai_bench import SparseClassifier, register


@register("dense")
class Dense(SparseClassifier):
    """Prune nothing."""

    prunes = False
    needs_data = False
    needs_labels = False
