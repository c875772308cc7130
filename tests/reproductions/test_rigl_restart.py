"""RigL+: a first run as that of RigL itself, and a second one of the units that it leaves."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from pai_bench.config.schema import Recipe
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams
from pai_bench.experiment.cell import Cell, data_fields
from pai_bench.reproductions.rigl.restart_method import RigLRestart, live_units
from pai_bench.sparsity.architecture import final_architecture
from pai_bench.sparsity.masks import Masks
from pai_bench.sparsity.select import kept_count
from pai_bench.store import search_cache
from pai_bench.training.context import MethodContext
from pai_bench.training.fit import fit_cell

HYPER = {"scope": "rigl-mnist", "delta_t": 10, "end": 0.75}
DENSITY = 0.15


@pytest.fixture(scope="module")
def cell(settings):
    """Six epochs on digits."""
    recipe = settings.recipes["digits-20"].model_copy(
        update={"epochs": 6, "label_smoothing": 0.1, "warmup": 0}
    )
    hyper = {**HYPER, "sparsity": 0.93}
    data = data_fields(settings.data["digits"])
    return Cell(
        "rigl-restart", "lenet-300-100-rigl", "digits", recipe, DENSITY, 3, hyper=hyper, **data
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def outcome(cell, settings, runs):
    return fit_cell(cell, settings, runs=runs)


@pytest.fixture(scope="module")
def first(runs, outcome):
    """Masks at the end of the first run."""
    (search_id,) = outcome.result.environment["searches"]
    return Masks(search_cache.read(runs / "searches" / f"{search_id}.pt").state)


@pytest.fixture(scope="module")
def rigl(cell, settings):
    """The cell of RigL that the first run is to equal."""
    return fit_cell(replace(cell, method="rigl", hyper=HYPER), settings)


def test_the_first_run_is_the_cell_of_rigl_bit_by_bit(first, rigl):
    assert first.digest() == rigl.masks.digest()


def test_it_is_charged_as_much_as_that_cell(outcome, rigl):
    assert outcome.result.flops.scoring == pytest.approx(rigl.result.flops.training, rel=1e-12)


def test_what_is_left_is_the_architecture_of_that_cell(first, rigl):
    network = nn.Sequential(nn.Linear(64, 300), nn.Linear(300, 100), nn.Linear(100, 10))
    named = {f"{number}.weight": mask for number, mask in enumerate(first.values())}
    units = live_units(network, Masks(named), (64,))
    sizes = [int(units["0"].inputs.sum()), *(int(u.outputs.sum()) for u in units.values())]
    assert tuple(sizes) == final_architecture(first).units == rigl.result.architecture.units
    assert sizes[1] < 300


def on_a_path(masks):
    """Inputs, neurons and outputs with a path of kept weights from and to the ends."""
    from_inputs, to_outputs = [torch.ones(64, dtype=torch.bool)], [torch.ones(10, dtype=torch.bool)]
    for mask in masks:
        from_inputs.append((mask & from_inputs[-1]).any(1))
    for mask in reversed(masks):
        to_outputs.append((mask & to_outputs[-1][:, None]).any(0))
    return [one & other for one, other in zip(from_inputs, reversed(to_outputs), strict=True)]


def test_the_second_run_stays_within_it_at_the_sparsities_asked_for(outcome, first):
    alive = on_a_path(list(first.values()))
    for index, (mask, sparsity) in enumerate(
        zip(outcome.masks.values(), (0.93, 0.9 * 0.93, 0.0), strict=True)
    ):
        block = alive[index + 1][:, None] & alive[index][None]
        assert not (mask & ~block).any()
        assert int(mask.sum()) == kept_count(int(block.sum()), 1 - sparsity)
    assert outcome.result.density < DENSITY


def test_it_learns_from_new_weights(outcome, rigl):
    assert outcome.result.accuracy.best > 0.7
    assert outcome.masks.digest() != rigl.masks.digest()


def test_the_first_run_ends_with_the_epochs_as_that_cell_does(cell, settings, tmp_path):
    recipe = cell.recipe.model_copy(update={"epochs": 2, "steps": 10**6})
    short = replace(cell, recipe=recipe, hyper={**cell.hyper, "delta_t": 2})
    (search_id,) = fit_cell(short, settings, runs=tmp_path).result.environment["searches"]
    first = search_cache.read(tmp_path / "searches" / f"{search_id}.pt").state
    rigl = fit_cell(replace(short, method="rigl", hyper={**HYPER, "delta_t": 2}), settings)
    assert Masks(first).digest() == rigl.masks.digest()


def module(density, sparsity, width=16):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, width), nn.ReLU(), nn.Linear(width, 3))
    context = MethodContext(density, Recipe(epochs=1, batch_size=8, lr=0.1), 3, RandomStreams(1))
    return RigLRestart(network, context, sparsity=sparsity)


def batches():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 8, 1, 6, 6, generator=generator)
    return list(zip(images, torch.randint(0, 3, (4, 8), generator=generator), strict=True))


def test_the_second_network_is_never_denser_than_the_cell_asks_for():
    masks = module(0.2, sparsity=0.0).sparsify(batches())
    assert 0 < masks.kept <= kept_count(masks.total, 0.2)


def test_new_weights_are_those_of_a_network_of_the_smaller_size():
    method = module(0.12, sparsity=0.5, width=64)
    before = method.network[1].weight.clone()
    method.sparsify(batches())
    block = method.blocks["1.weight"]
    inputs = int(block.any(0).sum())
    assert inputs < 36
    bound = inputs**-0.5  # PyTorch's initialisation by the number of inputs
    assert bound * 0.8 < float(method.network[1].weight[block].detach().abs().max()) <= bound
    assert not torch.equal(method.network[1].weight[block], before[block])


def test_a_sparsity_of_one_is_refused():
    with pytest.raises(BenchError, match="sparsity must be at least 0 and below 1"):
        module(0.2, sparsity=1.0)


def test_resumed_on_another_device_it_grows_weights_there():
    method = module(0.2, sparsity=0.5)
    method.set_masks(method.sparsify(batches()))
    saved = {}
    method.on_save_checkpoint(saved)
    resumed = module(0.2, sparsity=0.5)
    resumed.on_load_checkpoint(saved)  # on the CPU, before the Trainer moves the network
    gradients = {n: torch.ones(m.shape, device="meta") for n, m in resumed.masks.items()}
    grown = resumed.growth(0, gradients)
    assert {score.device.type for score in grown.values()} == {"meta"}
