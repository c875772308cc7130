"""PaI-Bench: a reproducibility benchmark for papers that train sparse neural networks.

What a method, a network or a data set of one's own needs, and what reads results, is imported from
here; torch and Lightning come along with the names that need them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pai_bench.claims.metric_registry import metric as metric
    from pai_bench.claims.tolerance import Tolerance as Tolerance
    from pai_bench.leaderboard.figures.plot import plot as plot
    from pai_bench.leaderboard.frame import board as board
    from pai_bench.leaderboard.frame import compare as compare
    from pai_bench.leaderboard.frame import load_results as load_results
    from pai_bench.methods.base import PruneAtInit as PruneAtInit
    from pai_bench.methods.conformance import assert_conforms as assert_conforms
    from pai_bench.methods.dynamic import DynamicSparse as DynamicSparse
    from pai_bench.methods.functional import prune as prune
    from pai_bench.networks.ntk import empirical_ntk as empirical_ntk
    from pai_bench.registry.methods import register as register
    from pai_bench.registry.plugins import dataset as dataset
    from pai_bench.registry.plugins import network as network
    from pai_bench.sparsity.masks import Masks as Masks
    from pai_bench.sparsity.masks import prunable as prunable
    from pai_bench.training.module import SparseClassifier as SparseClassifier

_HOME = {
    "DynamicSparse": "pai_bench.methods.dynamic",
    "Masks": "pai_bench.sparsity.masks",
    "PruneAtInit": "pai_bench.methods.base",
    "SparseClassifier": "pai_bench.training.module",
    "Tolerance": "pai_bench.claims.tolerance",
    "assert_conforms": "pai_bench.methods.conformance",
    "board": "pai_bench.leaderboard.frame",
    "compare": "pai_bench.leaderboard.frame",
    "dataset": "pai_bench.registry.plugins",
    "empirical_ntk": "pai_bench.networks.ntk",
    "load_results": "pai_bench.leaderboard.frame",
    "metric": "pai_bench.claims.metric_registry",
    "network": "pai_bench.registry.plugins",
    "plot": "pai_bench.leaderboard.figures.plot",
    "prunable": "pai_bench.sparsity.masks",
    "prune": "pai_bench.methods.functional",
    "register": "pai_bench.registry.methods",
}
"""Public name -> the module that defines it."""

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: listing commands start without torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """Name what can be imported from here."""
    return sorted([*globals(), *_HOME])
