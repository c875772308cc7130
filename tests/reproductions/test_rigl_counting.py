"""Allowances of claims about FLOPs are the difference between both ways of counting."""

import pytest

from pai_bench import networks
from pai_bench.claims.parser import available
from pai_bench.sparsity import account
from pai_bench.sparsity.masks import prunable

PIXELS = 112, 115
"""Sides of what the first convolution makes of 224 pixels, and of the authors' 230."""


@pytest.fixture(scope="module")
def shares(settings):
    """FLOPs of uniform sparsity over the dense ones, first convolution dense: ours and theirs.

    The authors count two FLOPs for a bias and a ReLU at each output instead of one addition less,
    so an output is one more than twice its multiply-accumulates (specification, 2.1).
    """
    network = networks.build(settings.networks["resnet-50-rigl"], (3, 224, 224), 1000)
    macs = account.macs_by_layer(network, (3, 224, 224))
    fans = {name: weight[0].numel() for name, weight in prunable(network)}
    first = next(iter(macs))

    def counted(density, theirs):
        def flops(kept):
            total = 0.0
            for name, count in macs.items():
                whole = name == first or kept == 1
                factor = (PIXELS[1] / PIXELS[0]) ** 2 if theirs and name == first else 1
                outputs = count / fans[name] if theirs else 0
                total += factor * (2 * count * (1 if whole else kept) + outputs)
            return total

        return flops(density) / flops(1)

    return counted


@pytest.mark.parametrize(("density", "published"), [
    (0.2, 0.2254), (0.1, 0.1285), (0.05, 0.0801), (0.035, 0.0656), (0.01, 0.0414),
])  # fmt: skip
def test_their_way_of_counting_gives_their_numbers(density, published, shares):
    assert shares(density, theirs=True) == pytest.approx(published, abs=6e-5)


def test_allowances_are_the_counted_differences(shares):
    all_claims = available()["rigl"].claims
    uniform = [c for c in all_claims if (c.suite or "").startswith("rigl-imagenet-uniform")]
    allowed = [claim for claim in uniform if claim.allowance]
    assert len(allowed) == 6
    for claim in allowed:
        counted = shares(claim.density, theirs=True) / shares(claim.density, theirs=False) - 1
        assert claim.allowance == pytest.approx(counted, abs=6e-4)
        assert claim.allowance > claim.metric.tolerance.share
