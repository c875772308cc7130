"""A base from a module that is not there."""

from .gone import Base
from pai_bench import register


@register("inherits")
class Inherits(Base):
    """Nobody knows what it declares."""
