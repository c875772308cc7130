"""A name that is taken."""

from pai_bench import PruneAtInit
from pai_bench import register


@register("snip")
class Mine(PruneAtInit):
    """Not SNIP."""
