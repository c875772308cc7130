"""FLOPs of a whole training by counting alone: no data, and nothing is trained."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from pai_bench.config.schema import Benchmark
from pai_bench.core import environment
from pai_bench.core.errors import BenchError
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.cost import training_images
from pai_bench.sparsity import account
from pai_bench.store.result import Flops, Result
from pai_bench.training.build import build_module
from pai_bench.training.length import TrainingLength
from pai_bench.training.module import SparseClassifier

REASON = "FLOPs and size were counted, nothing was trained"


def counted(cell: Cell, settings: Benchmark, plugins: tuple[Path, ...] = ()) -> Result:
    """Count the FLOPs of a cell: of its inference and of its whole training, scoring included.

    The masks are those that the training of the cell would start from. What the method does in
    training is counted as `SparseClassifier.count_training` says.

    Args:
        cell: The cell.
        settings: Data sets and networks; no data are read.
        plugins: Files with methods, networks or data sets of one's own.

    Returns:
        A result with the status `counted`, and no accuracy.

    Raises:
        BenchError: The masks depend on data or on training, so that they cannot be counted.
    """
    module = build_module(cell, settings, plugins)
    _check(module)
    if cell.recipe.holdout:
        raise BenchError("how many images of each class are held out depends on the data")
    images = training_images(cell, settings)
    with module.context.rng.as_global("training"):
        blank = _blank_batches(cell, settings, images)
        module.set_masks(module.sparsify(module.restrict_inputs(blank)))
    steps = cell.recipe.training_steps(images)
    module.count_training(TrainingLength(steps, images, cell.recipe.batch_size))
    macs = _macs(module.network, cell.network, settings.data[cell.data].shape)
    training = module.training_cost.flops(macs, module.masks.weights_by_layer())
    flops = Flops(
        inference_dense=2.0 * sum(macs.values()),
        inference=account.inference_flops(macs, module.masks),
        scoring=module.scoring_flops,
        training=training + module.scoring_flops,
    )
    software = environment.describe("cpu", torch.get_num_threads())
    return Result(
        "counted",
        REASON,
        flops=flops,
        sparse_bytes=account.sparse_bytes(module.network, module.masks),
        density=module.masks.density(),
        hyper=asdict(module.hyper),
        environment=software,
    )


def _check(module: SparseClassifier) -> None:
    if module.prunes and module.trains_to_score:
        raise BenchError(f"{module.name} trains to choose its masks")
    if module.prunes and (module.needs_data or module.needs_labels):
        raise BenchError(f"{module.name} chooses its masks by data")


def _blank_batches(cell: Cell, settings: Benchmark, images: int) -> list[tuple[torch.Tensor, None]]:
    """Zeros of the shapes of the batches that a training scores; they take no memory."""
    data, recipe = settings.data[cell.data], cell.recipe
    count = min(images, recipe.score_images_per_class * data.classes)
    blank = torch.zeros(1, *data.shape).expand(count, *data.shape)
    return [(batch, None) for batch in blank.split(recipe.score_batch_size)]


_macs_of: dict[tuple[str, tuple[int, ...]], dict[str, int]] = {}


def _macs(network: nn.Module, name: str, shape: tuple[int, ...]) -> dict[str, int]:
    """Multiply-accumulates by layer: the same for all cells of a network."""
    if (name, shape) not in _macs_of:
        _macs_of[name, shape] = account.macs_by_layer(network, shape)
    return _macs_of[name, shape]
