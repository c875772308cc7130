"""On XLA's CPU device: masks, accuracy, compilations and host reads. `make test-xla` runs these."""

import time
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from pai_bench.config.overrides import changed_recipe
from pai_bench.config.schema import Network
from pai_bench.core.hardware import Hardware
from pai_bench.experiment import grid
from pai_bench.experiment.bundle import Bundle
from pai_bench.training import fit
from pai_bench.training.checkpoint import OutOfTime
from pai_bench.training.outcome import Outcome

pytestmark = [
    pytest.mark.xla,
    pytest.mark.skipif(not find_spec("torch_xla"), reason="needs torch_xla: run `make test-xla`"),
]
SMALL = Path(__file__).with_name("small.py")
BATCH = 96
"""An epoch of digits has 15 batches of this size, and 30 of half of it."""
TOLERANCE = 0.015
"""Five of the 360 test images."""

AT_INIT = {
    "dense": {},
    "snip": {},
    "synflow": {"rounds": 5},
    "ntk-sap": {"rounds": 3},
    "grasp": {},
    "imp": {"rounds": 2},
}  # fmt: skip
BY_SEARCH = {"dessilbi": "search_epochs", "ntt": "epochs"}
"""Methods that search before they train, and the length of the search."""
MOVING = {
    "rigl": {"delta_t": 3},
    "set": {"delta_t": 3},
    "snfs": {"delta_t": 3},
    "gradual": {"frequency": 3},
}
"""Steps between mask updates: of 16 in 4 epochs, RigL's 15th has a batch that is not full."""
SEARCH = {"dessilbi": {}, "ntt": {"batch_size": 96, "update_every": 5, "selection": "exact"}}


@pytest.fixture(autouse=True)
def xla_cpu(monkeypatch):
    """Let Lightning count XLA's CPU device as one: it counts TPUs only."""
    from lightning_fabric.accelerators.xla import XLAAccelerator

    monkeypatch.setenv("PJRT_DEVICE", "CPU")
    monkeypatch.setattr(XLAAccelerator, "auto_device_count", staticmethod(lambda: 1))


@pytest.fixture(scope="module")
def benchmark(settings):
    """The shipped settings, with small networks."""
    small = {n: Network(build=f"{SMALL}:{n}", init="kaiming") for n in ("conv_bn", "dropout")}
    return settings.model_copy(update={"networks": {**settings.networks, **small}})


@pytest.fixture(scope="module")
def cell(benchmark, methods):
    """A cell of digits: cell("snip", "lenet-300-100", epochs=2)."""
    (base,) = grid.cells(benchmark, methods, "quick", grid.Selection(("snip",), (0.1,), (1,)))

    def make(method, network="lenet-300-100", hyper=None, **changes):
        asked = {"batch_size": BATCH, "schedule": "cosine", "score_images_per_class": 10, **changes}
        return replace(
            base, method=method, hyper=hyper or {}, density=0.2 if methods[method].prunes else 1.0,
            recipe=changed_recipe(base.recipe, asked, "test"), network=network,
            network_version=benchmark.networks[network].version,
        )  # fmt: skip

    return make


@dataclass
class Run:
    """A training on the XLA device, and what it took."""

    outcome: Outcome
    compilations: int
    reads: int
    """Scalars and tensors that were moved to the host."""


@pytest.fixture(scope="module")
def on_xla(benchmark):
    def train(one):
        from torch_xla.debug import metrics

        metrics.clear_all()
        outcome = fit.fit_cell(one, benchmark, Hardware("tpu"))
        assert outcome.result.status == "done", outcome.result.traceback

        def count(metric):
            return (metrics.metric_data(metric) or [0])[0]

        return Run(outcome, count("CompileTime"), count("TransferFromDeviceTime"))

    return train


@pytest.fixture(scope="module")
def eagerly(benchmark):
    return lambda one: fit.fit_cell(one, benchmark, Hardware("cpu"))


def differing(one, other):
    """Number of weights that one mask keeps and the other does not."""
    return sum(int((mask != other.masks[name]).sum()) for name, mask in one.masks.items())


def check_agreement(ours, eager, weights=0):
    """Masks differ in at most so many weights; accuracy agrees, and all that was counted."""
    assert differing(ours, eager) <= weights
    assert ours.curves["test_accuracy"] == pytest.approx(
        eager.curves["test_accuracy"], abs=TOLERANCE
    )
    assert ours.result.flops == eager.result.flops
    assert ours.result.density == eager.result.density


@pytest.mark.parametrize(
    ("method", "network"),
    [
        *((m, "lenet-300-100") for m in AT_INIT),
        *((m, "conv_bn") for m in ("snip", "grasp", "ntk-sap")),
    ],
)
def test_masks_chosen_before_training_are_the_same(method, network, cell, on_xla, eagerly):
    short, long = (cell(method, network, AT_INIT[method], epochs=epochs) for epochs in (2, 4))
    on_xla(short)
    longer = on_xla(long)
    check_agreement(longer.outcome, eagerly(long))
    assert longer.compilations <= 1


@pytest.mark.parametrize("method", BY_SEARCH)
def test_a_longer_search_compiles_no_more(method, cell, on_xla, eagerly):
    short, long = (
        cell(method, hyper={**SEARCH[method], BY_SEARCH[method]: epochs}, epochs=epochs)
        for epochs in (2, 4)
    )
    on_xla(short)
    longer = on_xla(long)
    check_agreement(longer.outcome, eagerly(long))
    assert longer.compilations <= 1


@pytest.mark.parametrize(
    ("method", "network"), [*((m, "lenet-300-100") for m in MOVING), ("rigl", "conv_bn")]
)
def test_more_mask_updates_compile_no_more(method, network, cell, on_xla, eagerly):
    short, long = (cell(method, network, MOVING[method], epochs=epochs) for epochs in (4, 8))
    first = on_xla(short)
    check_agreement(first.outcome, eagerly(short), weights=20)
    assert on_xla(long).compilations <= 1


@pytest.mark.parametrize("method", ["dense", "snip", "rigl", "gradual"])
def test_nothing_is_read_in_a_step(method, cell, on_xla):
    """Epochs of twice the steps, and as many mask updates, read as much."""
    interval = MOVING.get(method, {})
    twice = {name: 2 * steps for name, steps in interval.items()}
    few = cell(method, hyper=interval, epochs=2)
    many = cell(method, hyper=twice, epochs=2, batch_size=BATCH // 2)
    assert on_xla(few).reads == on_xla(many).reads


@pytest.mark.parametrize(("method", "network"), [("rigl", "lenet-300-100"), ("snip", "dropout")])
def test_a_resumed_training_is_the_same(method, network, cell, benchmark, tmp_path):
    one = Bundle((cell(method, network, MOVING.get(method), epochs=1, steps=9),))

    def train(**options):
        return fit.fit(one, benchmark, Hardware("tpu"), **options)[0]

    with pytest.raises(OutOfTime):
        train(runs=tmp_path, deadline=time.time() - 1)
    whole, resumed = train(), train(runs=tmp_path)
    assert resumed.result.environment["resumed"] == 1
    assert resumed.curves == whole.curves
    assert differing(resumed, whole) == 0


def test_dropout_draws_from_the_seed(cell, on_xla):
    once, again = (on_xla(cell("dense", "dropout", epochs=1)).outcome for _ in range(2))
    assert once.curves == again.curves


def test_results_name_device_and_version(cell, on_xla):
    environment = on_xla(cell("dense", epochs=1)).outcome.result.environment
    assert environment["device"] == "XLA CPU"
    assert environment["packages"]["torch_xla"].startswith("2.9")


def test_networks_of_a_bundle_are_trained_alone(cell, benchmark):
    cells = tuple(cell(method, epochs=1) for method in ("dense", "snip"))
    outcomes = fit.fit(Bundle(cells), benchmark, Hardware("tpu"), stacked=True)
    notes = [outcome.result.environment["training"]["note"] for outcome in outcomes]
    assert notes == ["on an XLA device each network has a graph of its own"] * 2


def test_counting_a_mask_is_not_torch_xlas():
    from pai_bench.sparsity.masks import Masks

    mask = torch.ones(3, 100, dtype=torch.bool, device="xla")
    assert Masks({"w": mask}).kept_by_layer() == {"w": 300}
