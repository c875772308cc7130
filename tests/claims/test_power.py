"""Seeds that would decide a claim, against simulated experiments and SciPy's noncentral t."""

from dataclasses import replace
from math import inf, sqrt

import numpy as np
import pytest
from scipy import stats

from pai_bench.claims import claim_tests
from pai_bench.claims.power import MOST, POWER, decision_probability, seeds_needed
from pai_bench.claims.printed import Printed
from pai_bench.claims.tolerance import Margin


def same(tolerance):
    """A margin of which all is tolerance."""
    return Margin(tolerance, tolerance)


def known(mean, spread, n=3):
    """Values with exactly this mean and standard deviation."""
    steps = np.linspace(-1, 1, n)
    return list(mean + spread * steps / steps.std(ddof=1))


def simulated(test_of, mean, spread, n, level, repeats=4000):
    samples = np.random.default_rng(0).normal(mean, spread, (repeats, n))
    return np.mean([test_of(list(sample)).p < level for sample in samples])


CASES = [(0.3, 0.4, 5), (0.0, 0.3, 4), (0.9, 0.2, 6), (1.4, 0.5, 8)]


@pytest.mark.parametrize(("mean", "spread", "n"), CASES)
@pytest.mark.parametrize("printed", [
    Printed("", 95.0, 0.0), Printed("", 95.0, 0.0, spread=0.3, n=5),
    Printed("<95", 95.0, 0.0, side="<"),
], ids=["value", "value-with-spread", "bound"])  # fmt: skip
@pytest.mark.parametrize("beyond", [1.0, 1.3])
def test_values_are_decided_as_often_as_in_simulated_experiments(mean, spread, n, printed, beyond):
    def test_of(values):
        return claim_tests.equal(values, printed, Margin(1.0, beyond))

    probability = decision_probability(test_of(known(95 + mean, spread)), n, 0.05)
    assert probability == pytest.approx(simulated(test_of, 95 + mean, spread, n, 0.05), abs=0.025)


@pytest.mark.parametrize(("mean", "spread", "n", "level"), [
    (0.3, 0.4, 5, 0.05), (-0.3, 0.2, 3, 0.05), (0.0, 1.0, 10, 0.05), (0.5, 0.5, 12, 0.01),
])  # fmt: skip
def test_orderings_have_the_power_of_a_t_test(mean, spread, n, level):
    noncentrality = mean / spread * sqrt(n)
    critical = stats.t.ppf(1 - level / 2, n - 1)
    exact = stats.nct.sf(critical, n - 1, noncentrality)
    exact += stats.nct.cdf(-critical, n - 1, noncentrality)
    found = decision_probability(claim_tests.above(known(mean, spread)), n, level)
    assert found == pytest.approx(exact, abs=2e-3)


@pytest.mark.parametrize("level", [0.05, 0.002])
def test_the_least_number_of_seeds_is_given(level):
    test = claim_tests.above(known(0.5, 0.6))
    needed = seeds_needed(test, level)
    assert decision_probability(test, needed, level) >= POWER
    assert decision_probability(test, needed - 1, level) < POWER
    tested = claim_tests.equal(known(95.3, 0.6), Printed("", 95.0, 0.0), same(1.0))
    assert decision_probability(tested, seeds_needed(tested, level), level) >= POWER


def test_a_difference_at_the_edge_is_decided_by_no_number_of_seeds():
    edge = claim_tests.equal(known(96.0, 0.5), Printed("", 95.0, 0.0), same(1.0))
    assert seeds_needed(edge, 0.05) is None
    theirs = Printed("", 95.0, 0.0, spread=5.0, n=3)  # the printed mean itself is uncertain
    assert seeds_needed(claim_tests.equal(known(95.0, 0.1), theirs, same(1.0)), 0.05) is None
    assert decision_probability(edge, MOST, 0.05) < 0.1


def test_without_a_spread_nothing_is_said():
    assert seeds_needed(claim_tests.above([0.5]), 0.05) is None
    assert seeds_needed(claim_tests.above([0.5] * 3), 0.05) is None


def test_a_bound_has_no_lower_end():
    test = claim_tests.equal(known(20.0, 1.0), Printed("<95", 95.0, 0.0, side="<"), same(1.0))
    assert test.low == -inf
    assert decision_probability(test, 3, 0.05) > 0.99
    above = replace(test, difference=replace(test.difference, mean=5.0))
    assert decision_probability(above, 20, 0.05) > 0.99
