"""A module that cannot be imported."""

from pai_bench import PruneAtInit
from pai_bench import register

raise RuntimeError("the licence server does not answer")


@register("raises-on-import")
class Raises(PruneAtInit):
    """Never seen."""
