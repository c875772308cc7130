"""Cost estimates of a list of cells: FLOPs and seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pai_bench.config.overrides import with_overrides
from pai_bench.config.schema import Benchmark, Recipe
from pai_bench.experiment.cell import Cell


@dataclass(frozen=True)
class CostEstimate:
    """Estimated cost of a list of cells: FLOPs, and seconds on this machine."""

    flops: float
    seconds: float
    basis: str
    """What the seconds are based on, in words."""


@dataclass(frozen=True)
class Assumption:
    """How fast a device trains, assumed until there are results on this machine."""

    name: str
    step_overhead: float
    """Overhead per training step in seconds."""
    flops: float
    """FLOP/s."""


CORE = Assumption("a typical CPU core", 5e-4, 8e10)
GPU = Assumption("a GPU as assumed, not measured", 1.6e-3, 2e13)
Speed = Callable[[Cell], float]
"""Ratio of measured to assumed seconds of cells like this one."""


def estimate_cost(
    cells: Sequence[Cell],
    settings: Benchmark,
    speed: Speed | None = None,
    jobs: int = 1,
    assumed: Assumption = CORE,
) -> CostEstimate:
    """Estimate the cost of `cells`, run by `jobs` workers side by side.

    Args:
        cells: The cells to run.
        settings: The benchmark.
        speed: Ratio of measured to assumed seconds of finished cells on this machine.
        jobs: Number of workers.
        assumed: The device.
    """
    flops = sum(training_flops(cell, settings) for cell in cells)
    seconds = sum(
        assumed_seconds(cell, settings, assumed) * (speed(cell) if speed else 1) for cell in cells
    )
    basis = "finished cells on this machine" if speed else assumed.name
    return CostEstimate(flops, seconds / max(1, jobs), basis)


def training_flops(cell: Cell, settings: Benchmark) -> float:
    """Dense training FLOPs: 2 per multiply-accumulate, one forward and two backward parts."""
    macs = settings.networks[cell.network].macs.get(cell.data, 0)
    return 6.0 * macs * cell.recipe.images_seen(training_images(cell, settings))


def assumed_seconds(cell: Cell, settings: Benchmark, assumed: Assumption = CORE) -> float:
    """Training seconds of one cell on the assumed device, evaluation after each epoch included."""
    train, test = training_images(cell, settings), settings.data[cell.data].images[1]
    steps = cell.recipe.training_steps(train)
    evaluation = training_flops(cell, settings) * test / train / 3
    flops = training_flops(cell, settings) + evaluation
    return steps * assumed.step_overhead + flops / assumed.flops


def training_images(cell: Cell, settings: Benchmark) -> int:
    """Training images of one epoch, held-out images excluded."""
    return _trained_on(settings, cell.data, cell.recipe)


def ordinary_images(settings: Benchmark, suite: str) -> int | None:
    """Training images of one run of a suite at its ordinary length, without `+length=`.

    Returns None for a suite that the settings do not have.
    """
    name, *changes = suite.split("+")
    if name not in settings.suites:
        return None
    ordinary = "+".join([name, *(c for c in changes if not c.startswith("length="))])
    settings = with_overrides(settings, ordinary)
    recipe = settings.recipes[settings.suites[ordinary].recipe]
    return recipe.images_seen(_trained_on(settings, settings.suites[ordinary].data, recipe))


def _trained_on(settings: Benchmark, data: str, recipe: Recipe) -> int:
    return round(settings.data[data].images[0] * (1 - recipe.holdout))
