"""Cost of mask updates: RigL's, relative to the hundred steps between two of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from rich.console import Console

from pai_bench.bench import interleaved
from pai_bench.bench.random_data import random_arrays
from pai_bench.config.schema import Benchmark
from pai_bench.core.hardware import Hardware
from pai_bench.core.rng import RandomStreams
from pai_bench.data.image_tensors import ImageTensors
from pai_bench.data.module import InMemoryData
from pai_bench.data.sources import Arrays
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell, data_fields
from pai_bench.methods.dynamic import DynamicSparse
from pai_bench.training.build import build_module, build_trainer
from pai_bench.training.module import SparseClassifier

DELTA_T = 100
STEPS = f"{DELTA_T} steps"


@dataclass(frozen=True)
class UpdateCase:
    """A network, its data and recipe, and the number of steps to time."""

    network: str
    data: str
    recipe: str
    steps: int
    repeats: int = interleaved.REPEATS


CASES = (
    UpdateCase("lenet-300-100-rigl", "mnist", "rigl-mnist", steps=200),
    UpdateCase("wrn-22-2", "cifar10", "rigl-cifar10", steps=2, repeats=3),
)


def measure(console: Console, settings: Benchmark) -> None:
    """Print the time of an update at density 0.1, and that of the steps between two updates.

    The update consists of drop, growth, new masks and the optimizer's state; the dense gradient of
    the extra batch, which costs a training step, is timed separately. Pixels are random: time does
    not depend on them.
    """
    for case in CASES:
        arrays = random_arrays(settings.data[case.data])
        cell = _cell(case, settings)
        turns = interleaved.take(_ways(case, cell, settings, arrays), case.repeats)
        title = f"Moving masks: {case.network} at density {cell.density:g}"
        interleaved.print_turns(console, title, "ms", turns, STEPS)


def _ways(
    case: UpdateCase, cell: Cell, settings: Benchmark, arrays: Arrays
) -> dict[str, Callable[[], float]]:
    module, _ = _trained(replace(cell, method="rigl"), settings, arrays, steps=2)
    assert isinstance(module, DynamicSparse)
    gradients = module.gradients_of_another_batch(0)
    return {
        STEPS: partial(_steps, cell, settings, arrays, case.steps),
        "an update": partial(_timed, partial(module.update_masks, 0, gradients)),
        "its dense gradient": partial(_timed, partial(module.gradients_of_another_batch, 0)),
    }


def _cell(case: UpdateCase, settings: Benchmark) -> Cell:
    recipe = settings.recipes[case.recipe].model_copy(update={"epochs": 1, "steps": None})
    data = data_fields(settings.data[case.data])
    return Cell("random", case.network, case.data, recipe, 0.1, 1, hyper={"scope": "erk"}, **data)


def _trained(
    cell: Cell, settings: Benchmark, arrays: Arrays, steps: int
) -> tuple[SparseClassifier, float]:
    """Train for `steps` steps; return the module, and the seconds of its steps."""
    module = build_module(cell, settings, ())
    data = InMemoryData(
        ImageTensors(arrays, settings.data[cell.data], cell.recipe), RandomStreams(cell.seed)
    )
    data.train_size, data.test_size = steps * cell.recipe.batch_size, 1
    trainer = build_trainer(Bundle((cell,)), Hardware("cpu", "1"))
    trainer.fit(module, datamodule=data)
    return module, module.phase_timer.seconds["train"]


def _steps(cell: Cell, settings: Benchmark, arrays: Arrays, steps: int) -> float:
    """Milliseconds of the steps between two updates, with the static masks of `random`."""
    return 1e3 * DELTA_T * _trained(cell, settings, arrays, steps)[1] / steps


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - started)
