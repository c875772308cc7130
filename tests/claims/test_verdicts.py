"""Verdicts against SciPy's tests, hand-made cases and the error rates that they promise."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from scipy import stats

from pai_bench.claims import claim_tests, parser, verdicts
from pai_bench.claims.lookup import ResultLookup
from pai_bench.claims.printed import Printed
from pai_bench.claims.tolerance import Margin
from pai_bench.config.overrides import with_overrides
from pai_bench.experiment import grid
from pai_bench.leaderboard.claims_table import numbers
from pai_bench.sparsity.perceptron import Architecture
from pai_bench.store.result import Accuracy, Flops, Result
from pai_bench.store.store import Store


def same(tolerance):
    """A margin of which all is tolerance."""
    return Margin(tolerance, tolerance)


FILE = """
paper: some
authors: [Ann One]
year: 2020
sources: {table: {what: Table 1}}
suites:
  quick: {deviations: [digits for photographs]}
  quick+length=2: {deviations: [twice as long]}
  sanity: {deviations: [two densities]}
lines: {SNIP: snip, Random: {random: {scope: local}}, Long: {ntk-sap: {rounds: 100}}, New: newer}
tables:
  accuracy:
    about: accuracy
    source: table
    suite: quick
    densities: 0.5 0.1 0.33
    rows: {SNIP: 95.0 93.0 90, Long: 95.0 . ., New: 95.0 . .}
  error: {about: error, source: table, suite: quick, metric: error, epoch: best, densities: "0.5",
          rows: {SNIP: 4.0}}
  training: {about: FLOPs, source: table, suite: quick, metric: training-flops, densities: "0.5",
             rows: {SNIP: .51}}
  inference: {about: FLOPs, source: table, suite: quick, metric: inference-flops, densities: "0.5",
              rows: {SNIP: .60}}
  inputs: {about: size, source: table, suite: quick, metric: left-inputs, densities: "0.5",
           rows: {SNIP: 408}}
  first: {about: size, source: table, suite: quick, metric: left-first, densities: "0.5",
          rows: {SNIP: 150}}
  second: {about: size, source: table, suite: quick, metric: left-second, densities: "0.5",
           rows: {SNIP: 69}}
  sparsity: {about: size, source: table, suite: quick, metric: left-sparsity, densities: "0.5",
             rows: {SNIP: .870}}
  flops: {about: size, source: table, suite: quick, metric: left-kflops, densities: "0.5",
          rows: {SNIP: 12.6}}
  bytes: {about: size, source: table, suite: quick, metric: left-bytes, densities: "0.5",
          rows: {SNIP: 31914}}
  elsewhere: {about: accuracy, source: table, why: too large, densities: "0.5", rows: {SNIP: 95.0}}
orderings:
  order: {about: above, source: table, suite: quick, densities: 0.5 0.1, above: SNIP,
          below: [Random], seeds_seen: 3}
"""
ACROSS = """  longer: {about: FLOPs, source: table, suite: quick+length=2, metric: training-flops,
           densities: "0.5", rows: {SNIP: 1.02}}
orderings:
  across: {about: above, source: table, suite: quick, elsewhere: {Magnitude: sanity},
           densities: "0.1", above: SNIP, below: [Magnitude], lines: {Magnitude: magnitude}}
"""


@pytest.fixture
def judged(tmp_path, settings, methods):
    """Judges FILE by stored accuracies: judged({("snip", 0.5, 1): 0.95, ...})."""
    path = tmp_path / "parser.yaml"
    path.write_text(FILE)
    seeds = tuple(range(1, 7))

    def judge(accuracies, *folders):
        cells = grid.cells(
            settings, methods, "quick", grid.Selection(("snip", "random"), seeds=seeds)
        )
        store = Store(tmp_path / "runs", "quick")
        for cell in cells:
            value = accuracies.get((cell.label, cell.density, cell.seed))
            if value == "failed":
                store.put(cell, Result("failed", "Diverged: the train loss became nan in epoch 1"))
            elif value is not None:
                images = 20 * 1438
                flops = Flops(100.0, 50.0, 0.0, 3 * 51.0 * images)
                units = (408, 90 + 10 * cell.seed, 69, 10)
                left = Architecture(units, 6309, 48390, 12618.0, 31914.75)
                accuracy = Accuracy(value, value + 0.01, 1)
                store.put(cell, Result("done", accuracy=accuracy, flops=flops, architecture=left))
        measured = ResultLookup(settings, methods, [tmp_path / "runs", *folders])
        found = verdicts.judge(parser.load(path), measured)
        return {verdict.claim.id: verdict for verdict in found}

    return judge


def of(line, density, values):
    return {(line, density, seed): value for seed, value in enumerate(values, 1)}


def test_what_cannot_be_tested_is_not_run_and_says_why(judged):
    found = judged(of("snip", 0.5, (0.95, 0.951, 0.949)))
    reasons = {name: v.reason for name, v in found.items() if v.state == "not run"}
    assert reasons == {
        "accuracy/SNIP/0.1": "its cells have not run",
        "accuracy/SNIP/0.33": "the suite quick has no density 0.33",
        "accuracy/Long/0.5": "ntk-sap (rounds=100) does not run in the suite quick",
        "accuracy/New/0.5": "newer does not run in the suite quick",
        "elsewhere/SNIP/0.5": "too large",
        "order/SNIP/Random/0.5": "its cells have not run",
        "order/SNIP/Random/0.1": "its cells have not run",
    }
    assert (
        found["accuracy/SNIP/0.1"].command == "pai-bench run quick --methods snip --densities 0.1"
    )


def test_a_suite_that_is_not_there_is_no_error(judged, tmp_path, settings, methods):
    path = tmp_path / "other.yaml"
    path.write_text(FILE.replace("quick", "nowhere").replace("sanity", "none"))
    found = verdicts.judge(parser.load(path), ResultLookup(settings, methods, [tmp_path]))
    assert {v.state for v in found} == {"not run"}
    assert found[0].reason == "no suite nowhere in benchmark.yaml"


def test_the_same_value_is_reproduced_with_all_that_it_rests_on(judged):
    found = judged(of("snip", 0.5, (0.950, 0.9501, 0.9499)))["accuracy/SNIP/0.5"]
    assert (found.state, found.n) == ("reproduced", 3)
    assert found.reason == "the interval of the difference lies inside the tolerance"
    assert found.test.ours.mean == pytest.approx(95.0)
    assert found.test.difference.low == pytest.approx(-4.302652729911275 * 0.01 / 3**0.5)
    assert found.test.high == pytest.approx(0.05 + 0.5)
    assert found.deviations == ("digits for photographs",)
    assert found.command == "pai-bench run quick --methods snip --densities 0.5"


def test_a_value_far_off_is_not_reproduced(judged):
    found = judged(of("snip", 0.5, (0.850, 0.8501, 0.8499)))["accuracy/SNIP/0.5"]
    assert found.state == "not reproduced"
    assert found.reason == "the interval of the difference lies outside the tolerance"


def test_one_seed_is_inconclusive_however_near(judged):
    found = judged(of("snip", 0.5, (0.95,)))["accuracy/SNIP/0.5"]
    assert (found.state, found.n, found.test.difference.low) == ("inconclusive", 1, None)
    assert found.reason == "1 seed, a verdict needs 3"
    assert judged(of("snip", 0.5, (0.95, 0.95)))["accuracy/SNIP/0.5"].state == "inconclusive"


def test_claims_are_not_decided_by_the_networks_that_did_not_fail(judged):
    values = (0.9501, 0.9502, 0.95, 0.9499)
    random = of("random (scope=local)", 0.5, (0.9, 0.901, 0.899, 0.9))
    assert judged({**of("snip", 0.5, values), **random})["accuracy/SNIP/0.5"].state == "reproduced"
    found = judged({**of("snip", 0.5, (*values, "failed")), **random})
    for name, n in {"accuracy/SNIP/0.5": 4, "order/SNIP/Random/0.5": 4}.items():
        verdict = found[name]
        assert (verdict.state, verdict.n, verdict.failed) == ("inconclusive", n, (5,))
        assert verdict.reason.startswith("seed 5 failed")
        assert verdict.adjusted is None
    others = [verdict for verdict in found.values() if verdict.adjusted is not None]
    assert not any(verdict.failed for verdict in others)


def test_where_all_networks_failed_a_claim_says_so(judged):
    verdict = judged(of("snip", 0.5, ("failed",) * 3))["accuracy/SNIP/0.5"]
    assert (verdict.state, verdict.n) == ("not run", 0)
    assert verdict.reason.startswith("its cells failed")


def test_an_inconclusive_claim_says_how_many_seeds_would_decide_it(judged):
    found = judged(of("snip", 0.5, (0.943, 0.948, 0.953)))["accuracy/SNIP/0.5"]
    assert found.state == "inconclusive"
    assert found.needed > 3
    assert f"; some {found.needed} seeds would decide it (80% power" in found.reason
    assert numbers(found)[-1] == f"3*/{found.needed}"
    edge = judged(of("snip", 0.5, (0.936, 0.9405, 0.945)))["accuracy/SNIP/0.5"]
    assert (edge.state, edge.needed) == ("inconclusive", None)
    assert "more than 1000 seeds would decide it" in edge.reason
    decided = judged(of("snip", 0.5, (0.950, 0.9501, 0.9499)))["accuracy/SNIP/0.5"]
    assert (decided.state, decided.needed) == ("reproduced", None)


@pytest.mark.parametrize(("seen", "said"), [
    ([0, 0], ""), ([0, 4], "after 4 had been seen"), ([4, None], "not recorded"),
])  # fmt: skip
def test_a_verdict_says_whether_its_seeds_were_settled_before(seen, said):
    found = verdicts.settled_after(seen)
    assert said in found
    assert bool(found) == bool(said)


def test_a_table_may_have_a_number_of_seeds_of_its_own(judged):
    results = of("snip", 0.5, (0.9, 0.91, 0.92)) | of("random (scope=local)", 0.5, (0.8, 0.8, 0.8))
    found = judged(results)
    assert "is not recorded" in found["accuracy/SNIP/0.5"].seeds
    assert found["order/SNIP/Random/0.5"].seeds.endswith("after 3 had been seen")


def test_sizes_of_what_is_left_are_as_near_as_they_differ_from_run_to_run(judged):
    found = judged(of("snip", 0.5, (0.950, 0.9501, 0.9499)))
    tests = {name: found[f"{name}/SNIP/0.5"].test for name in ("inputs", "first", "second")}
    assert {name: test.ours.mean for name, test in tests.items()} == {
        "inputs": 408, "first": 110, "second": 69,
    }  # fmt: skip
    assert tests["inputs"].high == pytest.approx(0.5 + 0.02 * 408)  # they do not differ
    assert tests["first"].high == pytest.approx(0.5 + 2 * 10)  # their standard deviation is 10
    assert tests["first"].difference.mean == pytest.approx(-40)
    state = {name: found[f"{name}/SNIP/0.5"].state for name in tests}
    assert state == {"inputs": "reproduced", "first": "inconclusive", "second": "reproduced"}
    assert found["sparsity/SNIP/0.5"].test.ours.mean == pytest.approx(1 - 6309 / 48390)
    assert found["flops/SNIP/0.5"].test.ours.mean == pytest.approx(12.618)
    assert found["bytes/SNIP/0.5"].test.ours.mean == pytest.approx(31914.75)
    assert numbers(found["sparsity/SNIP/0.5"])[:4] == (
        ".870",
        "0.8696",
        "-0.0004 [-0.0004, -0.0004]",
        "±0.0179",
    )


def test_errors_of_the_best_epoch_and_flops_have_their_own_numbers(judged):
    found = judged(of("snip", 0.5, (0.950, 0.9501, 0.9499)))
    error = found["error/SNIP/0.5"]
    assert error.test.ours.mean == pytest.approx(4.0)
    assert error.test.high == pytest.approx(0.05 + 0.4)
    assert error.state == "reproduced"
    assert found["training/SNIP/0.5"].test.ours.mean == pytest.approx(0.51)
    assert found["training/SNIP/0.5"].state == "reproduced"
    assert found["inference/SNIP/0.5"].state == "not reproduced"
    assert found["inference/SNIP/0.5"].test.high == pytest.approx(0.005 + 0.02 * 0.6)


@pytest.mark.parametrize(
    ("random", "state", "reason"),
    [
        ((0.90, 0.905, 0.901, 0.899, 0.9), "reproduced", "lies above 0"),
        ((0.99, 0.985, 0.991, 0.99, 0.987), "not reproduced", "lies below 0"),
        ((0.94, 0.95, 0.96, 0.951, 0.949), "inconclusive", "on both sides of 0"),
    ],
)
def test_orderings_are_paired_by_seed(judged, random, state, reason):
    snip = (0.950, 0.9501, 0.9499, 0.9502, 0.95)
    found = judged({**of("snip", 0.5, snip), **of("random (scope=local)", 0.5, random)})
    verdict = found["order/SNIP/Random/0.5"]
    assert (verdict.state, verdict.n) == (state, 5)
    assert reason in verdict.reason
    reference = stats.ttest_rel(snip, random)
    assert verdict.test.p == pytest.approx(reference.pvalue)
    interval = reference.confidence_interval(0.95)
    assert verdict.test.difference.low == pytest.approx(100 * interval.low)
    assert verdict.command == "pai-bench run quick --methods snip,random --densities 0.5"


def test_what_is_clear_alone_but_not_among_all_is_inconclusive_and_says_so(judged):
    snip = (0.957, 0.955, 0.953, 0.956, 0.954)
    random = (0.9545, 0.9540, 0.9470, 0.9530, 0.9525)
    found = judged({**of("snip", 0.5, snip), **of("random (scope=local)", 0.5, random)})
    tested = [v for v in found.values() if v.adjusted is not None]
    verdict = found["order/SNIP/Random/0.5"]
    assert verdict.test.p < 0.05 <= verdict.adjusted
    assert verdict.state == "inconclusive"
    assert f"alone, but not among all {len(tested)} tested claims" in verdict.reason


def test_a_cell_in_two_folders_counts_once(judged, tmp_path):
    values = of("snip", 0.5, (0.95, 0.9501, 0.9499))
    judged(values)
    Store(tmp_path / "runs", "quick").export(Store(tmp_path / "kept", "quick"))
    assert judged(values, tmp_path / "kept")["accuracy/SNIP/0.5"].n == 3


def test_methods_of_two_suites_are_paired_and_longer_trainings_count_in_ordinary_ones(
    tmp_path, settings, methods
):
    values = {"quick": ("snip", 0.9), "sanity": ("magnitude", 0.8), "quick+length=2": ("snip", 0.9)}
    for suite, (name, value) in values.items():
        chosen = grid.Selection((name,))
        for cell in grid.cells(with_overrides(settings, suite), methods, suite, chosen):
            accuracy = value + 0.001 * cell.seed**2
            flops = Flops(100.0, 50.0, 0.0, 3 * 51.0 * 40 * 1438)
            result = Result("done", accuracy=Accuracy(accuracy, accuracy, 1), flops=flops)
            if not cell.sanity_check:
                Store(tmp_path, suite).put(cell, result)
    path = tmp_path / "parser.yaml"
    path.write_text(FILE.partition("orderings")[0] + ACROSS)
    judged = verdicts.judge(parser.load(path), ResultLookup(settings, methods, [tmp_path]))
    found = {verdict.claim.id: verdict for verdict in judged}
    across = found["across/SNIP/Magnitude/0.1"]
    assert across.test.difference.mean == pytest.approx(10.0)
    assert across.state == "reproduced"
    assert across.deviations == ("digits for photographs", "two densities")
    assert across.command == (
        "pai-bench run quick --methods snip --densities 0.1 && "
        "pai-bench run sanity --methods magnitude --densities 0.1"
    )
    assert found["longer/SNIP/0.5"].test.ours.mean == pytest.approx(1.02)


def test_two_one_sided_tests_are_scipys():
    values = [94.7, 95.2, 95.1, 94.9]
    found = claim_tests.equal(values, Printed("95", 95.1, 0.05), same(0.6))
    lower = stats.ttest_1samp(values, 95.1 - 0.6, alternative="greater").pvalue
    upper = stats.ttest_1samp(values, 95.1 + 0.6, alternative="less").pvalue
    assert found.p_inside == pytest.approx(2 * max(lower, upper))
    away = claim_tests.equal(values, Printed("90", 90.0, 0.05), same(0.6))
    assert away.p_outside == pytest.approx(
        2 * stats.ttest_1samp(values, 90.6, alternative="greater").pvalue
    )
    assert away.p_inside == 1.0


def test_a_printed_spread_makes_it_welchs_test():
    values = [94.7, 95.2, 95.1, 94.9]
    found = claim_tests.equal(values, Printed("", 95.5, 0.0, spread=0.3, n=5), same(0.0))
    reference = stats.ttest_ind_from_stats(
        np.mean(values), np.std(values, ddof=1), 4, 95.5, 0.3, 5, equal_var=False
    )
    assert found.p_outside == pytest.approx(reference.pvalue)


def test_a_lower_bound_has_no_upper_end():
    printed = Printed(">75", 75.0, 0.1, side=">")
    far_above = claim_tests.equal([90.0, 90.1, 89.9], printed, same(0.6))
    assert (far_above.low, far_above.high, far_above.p_inside < 1e-4) == (-0.6, inf, True)
    assert claim_tests.equal([70.0, 70.1, 69.9], printed, same(0.6)).p_outside < 0.01


def test_an_upper_bound_has_no_lower_end():
    far_below = claim_tests.equal(
        [20.0, 20.1, 19.9], Printed("<75", 75.0, 0.1, side="<"), same(0.6)
    )
    assert (far_below.low, far_below.p_inside < 1e-4) == (-inf, True)
    assert (
        claim_tests.equal(
            [80.0, 80.1, 79.9], Printed("<75", 75.0, 0.1, side="<"), same(0.6)
        ).p_outside
        < 0.01
    )


def test_values_without_any_spread_are_decided_by_where_they_lie():
    printed = Printed(".25", 0.25, 0.005)
    assert claim_tests.equal([0.252] * 3, printed, same(0.01)).p_inside == 0.0
    assert claim_tests.equal([0.3] * 3, printed, same(0.01)).p_outside == 0.0
    edge = claim_tests.equal([0.25] * 3, replace(printed, value=0.25), same(0.0))
    assert edge.p == 1.0
    assert claim_tests.above([0.0] * 3).p == 1.0
    assert claim_tests.above([0.1] * 3).p_inside == 0.0


def test_the_interval_and_the_p_value_say_the_same():
    generator = np.random.default_rng(0)
    for _ in range(300):
        values = list(generator.normal(95, 0.4, 4))
        printed = Printed("", 95 + generator.normal(0, 0.8), 0.0)
        found = claim_tests.equal(values, printed, same(0.7))
        inside = found.difference.low > -0.7 and found.difference.high < 0.7
        outside = found.difference.low > 0.7 or found.difference.high < -0.7
        assert (found.p_inside < 0.05, found.p_outside < 0.05) == (inside, outside)


def test_a_difference_at_the_edge_is_called_the_same_in_less_than_five_of_a_hundred():
    generator = np.random.default_rng(1)
    samples = generator.normal(95.0 + 0.5, 0.2, size=(3000, 4))
    called = [
        claim_tests.equal(list(s), Printed("", 95.0, 0.0), same(0.5)).p_inside < 0.05
        for s in samples
    ]
    assert np.mean(called) == pytest.approx(0.025, abs=0.01)


def test_the_tolerance_is_half_a_point_a_tenth_of_the_error_or_two_spreads(judged):
    claim = next(c for c in parser.available()["ntk-sap"].claims if c.value and c.value.spread)

    def tolerance(value, spread, values):
        printed = Printed("", value, 0.005, spread)
        margin = claim_tests.tolerance(values, replace(claim, value=printed))
        return pytest.approx((margin.within - 0.005, margin.beyond - 0.005))

    assert tolerance(76.8, None, [76.8]) == (0.5, 0.5)
    assert tolerance(98.52, None, [98.5]) == (0.148, 0.148)
    assert tolerance(90.0, 0.4, [90.0]) == (0.8, 0.8)
    spread = 2 * ((0.16 + 0.5) / 2) ** 0.5
    assert tolerance(90.0, 0.4, [89.5, 90.5]) == (spread, spread)
    assert tolerance(90.0, 0.4, [80.0, 100.0]) == (2.0, 2 * ((0.16 + 200) / 2) ** 0.5)
    assert tolerance(98.5, None, [98.0, 99.0]) == (0.6, 2 * 0.5**0.5)


def test_runs_that_scatter_reproduce_nothing():
    """Two of eleven networks failed: their spread is 35 points, the printed value within it."""
    values = [98.7, 98.6, 98.8, 98.7, 98.9, 98.5, 98.6, 98.8, 98.7, 11.35, 11.35]
    claim = next(
        c for c in parser.available()["dessilbi"].claims if c.metric and c.metric.name == "accuracy"
    )
    printed = Printed("98.61", 98.61, 0.005)
    margin = claim_tests.tolerance(values, replace(claim, value=printed))
    found = claim_tests.equal(values, printed, margin)
    assert found.high == pytest.approx(0.4 * 1.39 + 0.005)
    assert found.p_inside > 0.9
    assert found.p_outside > 0.9
    without = [value for value in values if value > 50]
    margin = claim_tests.tolerance(without, replace(claim, value=printed))
    assert claim_tests.equal(without, printed, margin).p_inside < 0.01


def test_a_mean_beyond_what_runs_scatter_by_is_another():
    values = [90.0, 94.0, 92.0, 91.0, 93.0, 92.0]
    inside, near, far = (
        claim_tests.equal(values, Printed("", value, 0.0), Margin(2.0, 2.8))
        for value in (92.0, 95.0, 98.0)
    )
    assert inside.p_inside < 0.05 < inside.p_outside
    assert min(near.p_inside, near.p_outside) > 0.05
    assert far.p_outside < 0.05 < far.p_inside
    assert equal_without_slack(values, 96.1).p_outside < 0.05
    assert claim_tests.equal(values, Printed("", 96.1, 0.0), Margin(2.0, 2.8)).p_outside > 0.05


def equal_without_slack(values, printed):
    return claim_tests.equal(values, Printed("", printed, 0.0), same(2.0))
