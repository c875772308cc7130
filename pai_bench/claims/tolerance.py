"""How far a reproduced value may lie from a printed one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """How far our mean may lie from a printed value, beside how exactly that can be read.

    It is the larger of `spreads` spreads over runs and the least of `points`, `of_error` and
    `share`, where they are given. The spreads count up to `most`: by runs that scatter beyond it
    nothing is reproduced, however wide the range that they come from.
    """

    points: float | None = None
    """In the metric's own unit."""
    of_error: float | None = None
    """Part of the error rate that is claimed, for metrics that have a `scale`."""
    share: float | None = None
    """Part of the printed value."""
    spreads: float = 0.0
    most: Tolerance | None = None
    """None: all spreads count in full."""

    def margin(self, printed: float, error: float, spread: float) -> Margin:
        """Tolerance of a printed value, of which runs differ by `spread`.

        Args:
            printed: The value that is claimed.
            error: The error rate that it means.
            spread: Standard deviation over runs.
        """
        least, scattered = self.least(printed, error), self.spreads * spread
        most = self.most.least(printed, error) if self.most else scattered
        return Margin(max(least, min(scattered, most)), max(least, scattered))

    def least(self, printed: float, error: float) -> float:
        """The part that does not depend on spreads.

        Args:
            printed: The value that is claimed.
            error: The error rate that it means.
        """
        parts = (self.of_error, error), (self.share, printed), (self.points, 1.0)
        return min((part * of for part, of in parts if part is not None), default=0.0)


@dataclass(frozen=True)
class Margin:
    """How far apart two numbers may be."""

    within: float
    """And count as the same."""
    beyond: float
    """And not count as different; not below `within`."""

    def plus(self, reading: float) -> Margin:
        """Add the error of reading a value."""
        return Margin(self.within + reading, self.beyond + reading)

    def at_least(self, other: float) -> Margin:
        """Widen it."""
        return Margin(max(self.within, other), max(self.beyond, other))
