"""Intervals and probabilities against hand-computed values, SciPy and brute force."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from pai_bench.claims.paired_tests import (
    bootstrap_interval,
    compare,
    holm,
    probability_of_improvement,
)


def test_differences_are_taken_seed_by_seed_over_common_seeds():
    found = compare({1: 0.95, 2: 0.9, 3: 0.96}, {3: 0.94, 1: 0.90, 4: 0.1})
    assert found.seeds == (1, 3)
    assert (found.ours, found.theirs) == (pytest.approx(0.955), pytest.approx(0.92))
    reference = stats.ttest_rel([0.95, 0.96], [0.90, 0.94]).confidence_interval(0.95)
    assert found.difference.low == pytest.approx(reference.low)
    assert found.difference.high == pytest.approx(reference.high)


def test_nothing_in_common_is_no_comparison_and_one_seed_has_no_interval():
    assert compare({1: 0.9}, {2: 0.8}) is None
    found = compare({1: 0.9}, {1: 0.8})
    assert found.difference.mean == pytest.approx(0.1)
    assert (found.difference.low, found.bootstrap, found.improvement) == (None, None, 1.0)


def test_bootstrap_agrees_with_all_resamples_of_three_values():
    """All 27 resamples of (0, 1, 5) are known; the quantiles are those of their means."""
    values = [0.0, 1.0, 5.0]
    means = sorted(np.mean(sample) for sample in product(values, repeat=3))
    low, high = bootstrap_interval(values)
    assert low == pytest.approx(np.quantile(means, 0.025, method="inverted_cdf"))
    assert high == pytest.approx(np.quantile(means, 0.975, method="inverted_cdf"))
    assert bootstrap_interval(values) == (low, high)


def test_bootstrap_comes_near_to_the_normal_interval_of_many_values():
    values = np.random.default_rng(1).normal(size=400)
    half = 1.96 * values.std() / 20
    found = bootstrap_interval(list(values))
    assert found == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)


def test_bootstrap_of_equal_values_is_that_value():
    assert bootstrap_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)


def test_probability_of_improvement_is_mann_whitneys():
    generator = np.random.default_rng(0)
    ours, theirs = generator.integers(0, 6, 7).tolist(), generator.integers(0, 6, 5).tolist()
    reference = stats.mannwhitneyu(ours, theirs).statistic / 35
    assert probability_of_improvement(ours, theirs) == pytest.approx(reference)


def test_holm_by_hand():
    """p.adjust(c(.01,.02,.03,.005), "holm") of R."""
    assert holm([0.01, 0.02, 0.03, 0.005]) == pytest.approx([0.03, 0.04, 0.04, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_rejects_what_the_step_down_procedure_rejects():
    generator = np.random.default_rng(3)
    for _ in range(200):
        p = generator.beta(0.3, 1, size=6)
        rejected = set()
        for step, index in enumerate(np.argsort(p)):
            if p[index] > 0.05 / (6 - step):
                break
            rejected.add(int(index))
        assert {i for i, adjusted in enumerate(holm(list(p))) if adjusted <= 0.05} == rejected
