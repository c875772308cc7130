"""On a GPU: every method, bundles, resume, and the same bits twice. `pytest -m gpu` runs these.

`PAI_BENCH_GPU_TESTS=cpu` rehearses them on a CPU.
"""

import os
import time
from dataclasses import replace

import pytest
import torch

from pai_bench import networks, prunable
from pai_bench.config.overrides import changed_recipe
from pai_bench.core.hardware import Hardware
from pai_bench.core.rng import RandomStreams
from pai_bench.experiment import grid
from pai_bench.experiment.bundle import Bundle
from pai_bench.launch import probe
from pai_bench.registry import methods as registry
from pai_bench.training import fit
from pai_bench.training.checkpoint import OutOfTime
from pai_bench.training.together.stacked_network import StackedNetwork, check_stackable

pytestmark = pytest.mark.gpu
REHEARSAL = os.environ.get("PAI_BENCH_GPU_TESTS") == "cpu"
METHODS = sorted(registry.available())
HYPER = {
    "synflow": {"rounds": 3}, "force": {"rounds": 2}, "iterative-snip": {"rounds": 2},
    "ntk-sap": {"rounds": 2}, "imp": {"rounds": 2}, "rigl": {"delta_t": 3}, "set": {"delta_t": 3},
    "snfs": {"delta_t": 3}, "gradual": {"frequency": 3}, "ntt": {"steps": 4, "batch_size": 16},
    "dessilbi": {"search_epochs": 1}, "dessilbi-filters": {"search_epochs": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def hardware():
    """The GPU, or a skip that says how to run these tests."""
    if REHEARSAL:
        return Hardware("cpu")
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU: run `pytest -m gpu` where there is one")
    return Hardware("gpu", "1")


@pytest.fixture(scope="module")
def device(hardware):
    return torch.device("cpu" if REHEARSAL else "cuda")


@pytest.fixture(scope="module")
def cell(settings, methods):
    """A ResNet-20 (convolutions and batch norm) on digits, for a few steps."""
    (snip,) = grid.cells(settings, methods, "quick", grid.Selection(("snip",), (0.1,), (1,)))
    changes = {"epochs": 1, "steps": 12, "batch_size": 32, "score_images_per_class": 3}
    version = settings.networks["resnet-20"].version
    recipe = changed_recipe(snip.recipe, changes, "test")
    return replace(snip, recipe=recipe, network="resnet-20", network_version=version)


def of_method(cell, name):
    dense = not registry.available()[name].prunes
    return replace(cell, method=name, hyper=HYPER.get(name, {}), density=1.0 if dense else 0.2)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains(name, cell, settings, hardware):
    outcome = fit.fit_cell(of_method(cell, name), settings, hardware)
    assert outcome.result.status == "done", outcome.result.traceback
    trained = outcome.result.environment
    assert (trained["device"] == "cpu") is REHEARSAL
    assert trained["training"]["mode"] == "alone"


@pytest.mark.parametrize("name", ["snip", "rigl", "gradual", "ntt"])
def test_the_same_cell_twice_has_the_same_bits(name, cell, settings, hardware):
    once, again = (fit.fit_cell(of_method(cell, name), settings, hardware) for _ in range(2))
    assert once.curves == again.curves
    assert all(torch.equal(mask, again.masks[key]) for key, mask in once.masks.items())


@pytest.mark.parametrize("stacked", [False, True])
def test_a_resumed_training_has_the_same_bits(stacked, cell, settings, hardware, tmp_path):
    cells = tuple(of_method(cell, name) for name in ("snip", "rigl", "set"))
    whole = fit.fit(Bundle(cells), settings, hardware, stacked=stacked)
    with pytest.raises(OutOfTime):
        fit.fit(Bundle(cells), settings, hardware, runs=tmp_path, stacked=stacked,
                deadline=time.time() - 1)  # fmt: skip
    resumed = fit.fit(Bundle(cells), settings, hardware, runs=tmp_path, stacked=stacked)
    assert [outcome.curves for outcome in resumed] == [outcome.curves for outcome in whole]


@pytest.mark.parametrize("name", ["imp", "ntt", "dessilbi", "slimming"])
def test_a_resumed_search_has_the_same_bits(name, cell, settings, hardware, tmp_path):
    whole = fit.fit_cell(of_method(cell, name), settings, hardware)
    bundle = Bundle((of_method(cell, name),))
    for _ in range(2):  # A search that may not take any time does one step.
        with pytest.raises(OutOfTime):
            fit.fit(bundle, settings, hardware, runs=tmp_path, deadline=time.time() - 1)
    (resumed,) = fit.fit(bundle, settings, hardware, runs=tmp_path)
    assert resumed.curves == whole.curves
    assert all(torch.equal(mask, resumed.masks[key]) for key, mask in whole.masks.items())


@pytest.mark.parametrize("stacked", [False, True])
def test_bundles_are_what_their_cells_are_alone(stacked, cell, settings, hardware):
    """In float64, after a few steps, for every method that can be trained with others."""
    double = replace(cell, precision="64-true")
    cells = tuple(of_method(double, name) for name in METHODS)
    together = fit.fit(Bundle(cells), settings, hardware, stacked=stacked)
    for one, ours in zip(cells, together, strict=True):
        alone = fit.fit_cell(one, settings, hardware)
        assert ours.result.status == alone.result.status == "done", ours.result.traceback
        assert ours.curves["train_loss"] == pytest.approx(alone.curves["train_loss"], abs=1e-8)
        assert all(torch.equal(mask, alone.masks[key]) for key, mask in ours.masks.items())


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_stack_learns_as_well_as_its_networks(precision, cell, settings, hardware):
    cells = tuple(replace(of_method(cell, n), precision=precision) for n in ("snip", "magnitude"))
    stack = fit.fit(Bundle(cells), settings, hardware, stacked=True)
    for one, ours in zip(cells, stack, strict=True):
        alone = fit.fit_cell(one, settings, hardware)
        assert ours.result.environment["training"]["mode"] == "stack"
        assert ours.curves["train_loss"] == pytest.approx(alone.curves["train_loss"], rel=0.05)


@pytest.mark.skipif(REHEARSAL, reason="a CPU has no graphs: tests/training/test_together.py")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_graph_takes_the_steps_of_its_stack(precision, cell, settings, hardware, tmp_path):
    """Bit by bit, the resumed one too."""
    cells = tuple(replace(of_method(cell, n), precision=precision) for n in ("snip", "magnitude"))
    bundle, asked = Bundle(cells), settings.model_copy(update={"graphs": True})
    eager = fit.fit(bundle, settings, hardware, stacked=True)
    graphed = fit.fit(bundle, asked, hardware, stacked=True)
    with pytest.raises(OutOfTime):
        fit.fit(bundle, asked, hardware, runs=tmp_path, stacked=True, deadline=time.time() - 1)
    resumed = fit.fit(bundle, asked, hardware, runs=tmp_path, stacked=True)
    for one, other, again in zip(graphed, eager, resumed, strict=True):
        assert one.result.environment["training"]["graph"] is True
        assert one.curves == other.curves == again.curves


SCORED = ["snip", "synflow", "grasp", "ntk-sap", "iterative-snip", "force", "magnitude"]


@pytest.mark.parametrize("name", SCORED)
def test_masks_are_those_of_the_cpu(name, cell, settings, hardware):
    """In float64: the CPU's scores are compared with vectors of the authors' codes elsewhere."""
    one = replace(of_method(cell, name), precision="64-true")
    here, there = (fit.fit_cell(one, settings, h) for h in (hardware, Hardware("cpu")))
    differing = sum(int((m != there.masks[key]).sum()) for key, m in here.masks.items())
    assert differing <= 2  # ties that rounding decides


@pytest.mark.parametrize("name", ["lenet-300-100", "conv-4-dropout", "resnet-20", "wrn-22-2",
                                  "vgg-16-bn", "resnet-18-small-stem"])  # fmt: skip
def test_networks_of_the_papers_stack(name, settings, device):
    shape = (3, 32, 32)
    rngs = [RandomStreams(seed) for seed in range(3)]
    built = []
    for rng in rngs:
        with rng.as_global("init"):
            built.append(networks.build(settings.networks[name], shape, 10).to(device).double())
    images = torch.randn(4, *shape, device=device, dtype=torch.float64)
    check_stackable(built[:2], images)
    expected = [network.eval()(images) for network in built]
    stack = StackedNetwork([network.train() for network in built])
    stack.module.eval()
    found = stack.logits(images.repeat(1, 3, 1, 1))
    assert torch.allclose(found, torch.stack(expected, 1), atol=1e-9)
    assert all(weight.device.type == device.type for _, weight in prunable(built[0]))


def test_the_probe_finds_a_size(cell, settings, device):
    measured = dict(probe.measured(cell, settings, str(device)))
    assert 1 in measured
    assert probe.best_size(measured.items()) in probe.SIZES
