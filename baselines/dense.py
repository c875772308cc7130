"""The network with all its weights: what sparse networks are measured against."""

from __future__ import annotations

from pai_bench.methods.base import SparseClassifier
from pai_bench.methods.registry import register


@register("dense")
class Dense(SparseClassifier):
    """Prune nothing."""

    prunes = False
    needs_data = False
    needs_labels = False
