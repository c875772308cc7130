"""A method that declares nothing itself."""

from pai_bench import register

from . import common


@register("inherits")
class Inherits(common.Power):
    """Keep the largest |w|^power."""
