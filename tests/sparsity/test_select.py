"""Selection: the asked number of weights is kept, exactly, and by a rule that anyone can check."""

import math
from itertools import chain
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_bench.config import loader
from pai_bench.core.errors import BenchError
from pai_bench.registry import methods as registry
from pai_bench.sparsity.select import (
    SAMPLE,
    SAMPLED_FROM,
    density_schedule,
    kept_count,
    kth_smallest,
    topk_masks,
)

GRID = [2, 4, 6, 8, 10, 12, 14, 16, 18]
# Prunable weights, and how many the authors' code keeps of them at densities 0.8^2 ... 0.8^18.
KEPT = {
    "resnet-20, 10 classes": (
        270_896,
        [173374, 110960, 71014, 45449, 29088, 18616, 11915, 7626, 4881],
    ),
    "vgg-16-bn, 100 classes": (
        14_761_664,
        [9447465, 6046378, 3869682, 2476597, 1585022, 1014414, 649225, 415504, 265923],
    ),
    "resnet-18, 1000 classes": (
        11_678_912,
        [7474504, 4783683, 3061557, 1959397, 1254014, 802569, 513644, 328733, 210389],
    ),
    "resnet-18, 200 classes": (
        11_269_312,
        [7212360, 4615911, 2954183, 1890677, 1210034, 774422, 495630, 317203, 203010],
    ),
    "resnet-50, 1000 classes": (
        25_502_912,
        [16321864, 10445993, 6685436, 4278679, 2738355, 1752547, 1121630, 717844, 459420],
    ),
}

densities = st.floats(0.001, 1)
few_values = st.sampled_from([0.0, -0.0, -1.0, 0.5, 2.0**-100, 3.0])
flat_scores = st.lists(few_values | st.floats(-10, 10, width=32), min_size=1, max_size=60)
layers = st.lists(flat_scores, min_size=1, max_size=4)
many = settings(max_examples=150, deadline=None, derandomize=True)


def as_scores(lists):
    return {f"layer{i}": torch.tensor(values) for i, values in enumerate(lists)}


def flat(masks):
    return torch.cat([mask.flatten() for mask in masks.values()]).tolist()


def by_sorting(values, keep, alive=None):
    """Keep the first `keep` places by falling score, the living before the dead, then in order."""
    alive = alive or [True] * len(values)
    ranked = sorted(range(len(values)), key=lambda i: (-values[i], not alive[i], i))
    return [i in set(ranked[:keep]) for i in range(len(values))]


def official(values, density):
    """Mask as the NTK-SAP code does: above the k-th smallest, k the number to be removed."""
    remove = int((1.0 - density) * len(values))
    if remove < 1:
        return [True] * len(values)
    threshold = sorted(values)[remove - 1]
    return [value > threshold for value in values]


@pytest.mark.parametrize("network", KEPT)
def test_as_many_weights_are_kept_as_the_authors_code_keeps(network):
    total, kept = KEPT[network]
    assert [kept_count(total, 0.8**c) for c in GRID] == kept


def test_the_densities_of_the_suite_keep_as_many_as_the_paper():
    path = Path(__file__).parents[2] / "benchmark.yaml"
    suite = loader.load(path, registry.available()).suites["ntk-sap-cifar10"]
    total, kept = KEPT["resnet-20, 10 classes"]
    assert [kept_count(total, density) for density in suite.densities] == kept


def test_a_network_sized_selection_is_exact():
    total, kept = KEPT["resnet-20, 10 classes"]
    scores = torch.rand(total, generator=torch.Generator().manual_seed(0))
    for c, count in zip(GRID, kept, strict=True):
        assert topk_masks({"w": scores}, 0.8**c).kept == count


@many
@given(layers, densities)
def test_global_selection_is_that_of_a_sorted_list(lists, density):
    values = list(chain.from_iterable(lists))
    masks = topk_masks(as_scores(lists), density)
    assert masks.kept == kept_count(len(values), density)
    assert flat(masks) == by_sorting(values, masks.kept)


@many
@given(layers, densities)
def test_local_selection_is_that_of_each_layer_alone(lists, density):
    masks = topk_masks(as_scores(lists), density, scope="local")
    for values, mask in zip(lists, masks.values(), strict=True):
        assert mask.tolist() == by_sorting(values, kept_count(len(values), density))


@many
@given(layers, densities, st.randoms(use_true_random=False))
def test_among_equal_scores_the_living_go_first(lists, density, random):
    alive = [[random.random() < 0.5 for _ in values] for values in lists]
    tensors = {f"layer{i}": torch.tensor(values) for i, values in enumerate(alive)}
    masks = topk_masks(as_scores(lists), density, alive=tensors)
    values, lives = [list(chain.from_iterable(each)) for each in (lists, alive)]
    assert flat(masks) == by_sorting(values, kept_count(len(values), density), lives)


@many
@given(layers, densities)
def test_the_strict_rule_is_the_official_one(lists, density):
    values = list(chain.from_iterable(lists))
    assert flat(topk_masks(as_scores(lists), density, rule="strict")) == official(values, density)


@many
@given(layers, densities)
def test_the_strict_local_rule_is_the_official_one_by_layer(lists, density):
    masks = topk_masks(as_scores(lists), density, rule="strict", scope="local")
    for values, mask in zip(lists, masks.values(), strict=True):
        assert mask.tolist() == official(values, density)


@many
@given(st.integers(1, 10**9), densities)
def test_the_number_kept_is_at_most_one_above_its_share(total, density):
    kept = kept_count(total, density)
    assert math.floor(density * total * (1 - 1e-12)) <= kept <= density * total + 1 + 1e-6
    assert 1 <= kept <= total


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5])
def test_equal_scores_are_never_over_pruned(value):
    scores = {"a": torch.full((30, 10), value), "b": torch.full((700,), value)}
    assert topk_masks(scores, 0.05).kept == 50
    assert topk_masks(scores, 0.05, scope="local").kept_by_layer() == {"a": 15, "b": 35}
    assert topk_masks(scores, 0.05, rule="strict").kept == 0


def test_dead_weights_do_not_come_back_while_living_ones_score_the_same():
    alive = {"w": torch.arange(100) >= 50}
    assert torch.equal(topk_masks({"w": torch.zeros(100)}, 0.5, alive=alive)["w"], alive["w"])


@pytest.mark.parametrize("scope", ["global", "local"])
@pytest.mark.parametrize("rule", ["exact", "strict"])
def test_density_1_keeps_everything(scope, rule):
    assert topk_masks({"w": torch.zeros(7)}, 1.0, scope=scope, rule=rule).density() == 1


def test_masks_have_the_names_order_and_shapes_of_the_scores():
    scores = {"b": torch.rand(2, 3, 4), "a": torch.rand(5).requires_grad_()}
    masks = topk_masks(scores, 0.5)
    assert [(name, mask.shape) for name, mask in masks.items()] == [("b", (2, 3, 4)), ("a", (5,))]


def test_layers_that_are_not_contiguous_are_ranked_by_place():
    scores = torch.arange(6.0).view(2, 3).T
    expected = [[False, True], [False, True], [False, True]]
    assert topk_masks({"w": scores}, 0.5)["w"].tolist() == expected


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("rule", ["exact", "strict"])
def test_a_score_that_is_not_finite_names_its_layer(bad, rule):
    scores = {"good": torch.ones(3), "layer4.conv.weight": torch.tensor([1.0, bad])}
    with pytest.raises(BenchError, match=r"layer4\.conv\.weight"):
        topk_masks(scores, 0.5, rule=rule)


@many
@given(densities, st.integers(1, 100))
def test_every_schedule_falls_and_ends_at_the_density(density, rounds):
    for schedule in ("exponential", "linear", "expinv"):
        path = [density_schedule(density, t, rounds, schedule) for t in range(1, rounds + 1)]
        assert path[-1] == pytest.approx(density, rel=1e-12)
        assert path == sorted(path, reverse=True)
        assert path[0] <= 1


def test_the_last_round_keeps_what_one_round_would():
    for total, _ in KEPT.values():
        for c in GRID:
            for schedule in ("exponential", "linear", "expinv"):
                last = density_schedule(0.8**c, 20, 20, schedule)
                assert kept_count(total, last) == kept_count(total, 0.8**c)


def test_the_schedules_are_those_of_the_paper():
    at_half = {s: density_schedule(0.04, 10, 20, s) for s in ("exponential", "linear", "expinv")}
    expected = {"exponential": 0.2, "linear": 0.52, "expinv": 1 - 0.96**2}
    assert at_half == pytest.approx(expected)
    factors = [density_schedule(0.01, t + 1, 5) / density_schedule(0.01, t, 5) for t in range(1, 5)]
    assert factors == pytest.approx([0.01**0.2] * 4)


def test_an_unknown_schedule_is_an_error():
    with pytest.raises(BenchError, match="expinv"):
        density_schedule(0.5, 1, 2, "cubic")


@pytest.mark.parametrize("scope", ["local", "er", "erk"])
def test_layers_may_be_kept_at_densities_of_their_own(scope):
    from pai_bench.sparsity import allocate

    rules = {
        "local": allocate.uniform,
        "er": allocate.erdos_renyi,
        "erk": allocate.erdos_renyi_kernel,
    }
    scores = {"conv": torch.rand(8, 4, 3, 3), "fc1": torch.rand(30, 20), "fc2": torch.rand(5, 30)}
    shapes = {name: tuple(score.shape) for name, score in scores.items()}
    masks = topk_masks(scores, 0.1, scope=scope)
    for name, density in rules[scope](shapes, 0.1).items():
        kept, total = int(masks[name].sum()), scores[name].numel()
        assert kept == kept_count(total, density)
        assert scores[name][masks[name]].min() >= scores[name][~masks[name]].max()


LARGE = SAMPLED_FROM + 12_345


def large(kind):
    """Numbers enough to be sampled: without ties, with many, in order, or out of the sample."""
    drawn = torch.randn(LARGE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    if kind == "half zero":
        return drawn.clamp(min=0)
    if kind == "few values":
        return drawn.round()
    if kind == "sorted":
        return drawn.sort().values
    if kind == "misleading":  # What an evenly spaced sample sees is larger than all the rest.
        drawn[:: LARGE // SAMPLE] += 100
    return drawn


@pytest.mark.parametrize("kind", ["drawn", "half zero", "few values", "sorted", "misleading"])
@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.5, 0.6, 0.97, 1])
def test_thresholds_found_by_a_sample_are_those_of_all_numbers(kind, share):
    numbers, k = large(kind), max(1, round(share * LARGE))
    assert kth_smallest(numbers, k) == numbers.sort().values[k - 1]


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.int64])
def test_thresholds_are_found_among_numbers_of_any_type(kind):
    numbers = (100 * large("drawn")).to(kind)
    assert kth_smallest(numbers, LARGE // 3) == numbers.sort().values[LARGE // 3 - 1]


def test_the_threshold_of_numbers_with_a_gradient_is_found():
    numbers = large("drawn").requires_grad_()
    assert kth_smallest(numbers, LARGE // 3) == numbers.detach().sort().values[LARGE // 3 - 1]


def test_scores_of_which_the_sum_overflows_are_finite():
    masks = topk_masks(
        {"w": torch.tensor([1e308, 1.7e308, 1.6e308, 1.5e308], dtype=torch.float64)}, 0.5
    )
    assert masks["w"].tolist() == [False, True, True, False]


def test_a_sample_that_misleads_is_not_trusted(monkeypatch):
    numbers, asked = large("misleading"), []
    kthvalue = torch.Tensor.kthvalue
    monkeypatch.setattr(
        torch.Tensor, "kthvalue", lambda t, k: asked.append(len(t)) or kthvalue(t, k)
    )
    kth_smallest(numbers, LARGE // 2)
    kth_smallest(large("drawn"), LARGE // 2)
    assert asked[0] == LARGE
    assert asked[1] < LARGE // 10


def test_large_layers_are_ranked_as_by_sorting():
    scores = {"a": large("half zero"), "b": large("drawn")}
    masks = topk_masks(scores, 0.3)
    order = torch.cat(list(scores.values())).argsort(descending=True, stable=True)
    chosen = torch.zeros(2 * LARGE, dtype=torch.bool)
    chosen[order[: kept_count(2 * LARGE, 0.3)]] = True
    assert torch.equal(torch.cat(list(masks.values())), chosen)
