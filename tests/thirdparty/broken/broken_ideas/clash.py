"""A name that is taken."""

from pai_bench.methods.base import PruneAtInit
from pai_bench.methods.registry import register


@register("snip")
class Mine(PruneAtInit):
    """Not SNIP."""
