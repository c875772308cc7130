"""PaI-Bench: a reproducibility benchmark for papers that train sparse neural networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pai_bench.methods.door import prune

__all__ = ["prune"]


def __getattr__(name: str) -> Any:
    """Import torch only for those who prune."""
    if name == "prune":
        from pai_bench.methods.door import prune

        return prune
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
