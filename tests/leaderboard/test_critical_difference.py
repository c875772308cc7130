"""Tests of mean ranks against the paper's tables and SciPy."""

import numpy as np
import pytest
from scipy import stats

from pai_bench.leaderboard.critical_difference import alike, rank_test


@pytest.mark.parametrize(
    ("lines", "quantile"), [(2, 1.960), (3, 2.343), (4, 2.569), (7, 2.949), (10, 3.164)]
)
def test_critical_values_are_those_of_table_5a(lines, quantile):
    found = rank_test([(lines + 1) / 2] * lines, 10).critical
    assert found == pytest.approx(quantile * (lines * (lines + 1) / 60) ** 0.5, abs=1e-3)


def test_the_example_of_the_paper():
    found = rank_test([3.143, 2.000, 2.893, 1.964], 14)
    assert found.p == pytest.approx(stats.f.sf(3.69, 3, 39), rel=0.02)  # F = 3.69, section 3.2.2


def test_friedman_is_that_of_scipy():
    table = np.random.default_rng(0).normal(size=(4, 9)) + np.arange(4)[:, None]
    ranks = stats.rankdata(-table, axis=0).mean(axis=1)
    found = rank_test(list(ranks), 9)
    assert found.chi_squared == pytest.approx(stats.friedmanchisquare(*table).statistic)


def test_the_same_order_in_every_block_is_certain_and_one_block_tells_nothing():
    assert rank_test([1, 2, 3], 6).p == 0
    assert rank_test([1, 2, 3], 1).p == 1


def test_runs_of_ranks_that_are_alike_are_as_long_as_can_be():
    assert alike([1, 2, 3], 1.5) == [(0, 1), (1, 2)]
    assert alike([1, 2, 3], 2.5) == [(0, 2)]
    assert alike([1, 2, 3], 0.5) == []
