"""What several methods of this package share."""

from dataclasses import dataclass

from pai_bench import PruneAtInit, prunable


class Power(PruneAtInit):
    """Declares for those that derive from it."""

    version = 6
    needs_data = needs_labels = False

    @dataclass(frozen=True)
    class Hyper(PruneAtInit.Hyper):
        """Any power above 0 ranks alike."""

        power: float = 2.0

    def scores(self, network, batches):
        return {n: w.detach().abs() ** self.hyper.power for n, w in prunable(network)}
