"""A folder of made-up results, as many as wanted: what reading costs does not depend on values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pai_bench.config.schema import Benchmark
from pai_bench.core import environment
from pai_bench.experiment import grid
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.grid import Selection
from pai_bench.registry.declaration import MethodInfo
from pai_bench.store.result import Accuracy, Flops, Layer, Result
from pai_bench.store.store import Store

SUITE = "mnist"
SEEDS = tuple(range(1, 11))
SHAPES = {"fc1.weight": (300, 784), "fc2.weight": (100, 300), "fc3.weight": (10, 100)}


def fill(runs: Path, settings: Benchmark, methods: Mapping[str, MethodInfo], count: int) -> Store:
    """Store `count` results of the suite `mnist`: ten seeds, as many densities as it takes."""
    store = Store(runs, SUITE)
    for number, cell in enumerate(cells(settings, methods, count)):
        store.put(cell, _result(number, cell, settings, methods), _curves(number, cell))
    return store


def cells(settings: Benchmark, methods: Mapping[str, MethodInfo], count: int) -> list[Cell]:
    """List the first `count` cells of the methods of the suite over a fine grid of densities."""
    lines = {c.label for c in grid.cells(settings, methods, SUITE) if c.density < 1}
    densities = tuple(_densities(1 + count // (len(SEEDS) * len(lines))))
    selection = Selection(densities=densities, seeds=SEEDS)
    return grid.cells(settings, methods, SUITE, selection)[:count]


def _densities(count: int) -> Iterator[float]:
    return (round(0.9 * 0.005 ** (k / max(count - 1, 1)), 6) for k in range(count))


def _result(
    number: int, cell: Cell, settings: Benchmark, methods: Mapping[str, MethodInfo]
) -> Result:
    last = _accuracy(number)
    layers = [
        Layer(name, shape, total, *(3 * [round(cell.density * total)]))
        for name, shape in SHAPES.items()
        for total in [shape[0] * shape[1]]
    ]
    dense = 2.0 * sum(layer.total for layer in layers)
    seconds = {"data": 3.9, "score": 0.5, "train": 55.0 + number % 7, "eval": 2.8, "total": 63.0}
    hyper = {name: parameter.default for name, parameter in methods[cell.method].hyper.items()}
    return Result(
        "done",
        accuracy=Accuracy(last, last + 1e-3, 1),
        density=cell.density,
        effective=0.97 * cell.density,
        layers=tuple(layers),
        flops=Flops(dense, cell.density * dense, 1e9, 3.6e6 * cell.density * dense),
        seconds=seconds,
        memory_mb=537.0,
        hyper={**hyper, **cell.hyper},
        environment=environment.describe("cpu", settings.threads),
    )


def _curves(number: int, cell: Cell) -> dict[str, list[float]]:
    epochs = range(cell.recipe.epochs)
    accuracy = [_accuracy(number) * (1 - 0.5 ** (epoch + 2)) for epoch in epochs]
    losses = [1.0 / (1 + epoch + number / 1e5) for epoch in epochs]
    return {"train_loss": losses, "test_accuracy": accuracy, "test_loss": losses}


def _accuracy(number: int) -> float:
    return round(0.95 + 0.04 * (number * 0.618034 % 1), 4)
