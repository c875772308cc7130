"""Spectra of the tangent kernels of networks as their trainings would begin; nothing is trained."""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from pai_bench.config.schema import Benchmark
from pai_bench.core import environment
from pai_bench.core.errors import BenchError
from pai_bench.data.module import InMemoryData
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.networks.ntk.spectrum import eigenvalues
from pai_bench.sparsity.masks import Masks
from pai_bench.store.result import Result, TangentSpectrum
from pai_bench.training.build import build_data, build_module
from pai_bench.training.callbacks.mask_selection import scoring_batches
from pai_bench.training.module import SparseClassifier
from pai_bench.training.sanity_checks import after_selection
from pai_bench.training.setup import set_process

IMAGES = 100
"""Training images of a kernel: so many NTK-SAP's second figure has."""
_MOST = 10_000
"""Rows of a kernel: eigenvalues of more take too long."""


class Spectra:
    """Measures spectra, each against that of the dense network of its seed, on a CPU.

    Args:
        settings: Data sets and networks.
        plugins: Files with methods, networks or data sets of one's own.
    """

    def __init__(self, settings: Benchmark, plugins: tuple[Path, ...] = ()) -> None:
        self._settings, self._plugins = settings, plugins
        self._dense: tuple[Hashable, Tensor] | None = None

    def of(self, cell: Cell) -> Result:
        """Choose the masks of a cell as its training does, and measure what that would start from.

        The images are the first of a random order of the training images that nothing else uses,
        augmented as in training.

        Returns:
            A result with the status `spectrum`.

        Raises:
            BenchError: The masks depend on training, or the network has no tangent kernel of such
                a size.
        """
        started = time.perf_counter()
        set_process(self._settings)
        module = build_module(cell, self._settings, self._plugins)
        if module.prunes and (module.trains_to_score or module.when != "init"):
            raise BenchError(f"{module.name} chooses its masks in training")
        (data,) = build_data(Bundle((cell,)), self._settings)
        if not isinstance(data, InMemoryData):
            raise BenchError(f"{cell.data} is streamed: spectra are measured of small images")
        masks = starting_masks(module, data)
        scored = time.perf_counter()
        images = _images(module, data)
        dense = self._of_dense(cell, images)
        # What is not pruned is the dense network, down to the last bit.
        own = eigenvalues(module.network, images, masks) if module.prunes else dense
        ended = time.perf_counter()
        software = environment.describe("cpu", torch.get_num_threads())
        return Result(
            "spectrum",
            density=masks.density(),
            spectrum=TangentSpectrum(_rounded(own), _rounded(dense), len(images)),
            seconds={"score": scored - started, "total": ended - started},
            hyper=asdict(module.hyper),
            environment={**software, "data": data.provenance()},
        )

    def _of_dense(self, cell: Cell, images: Tensor) -> Tensor:
        """Spectrum of the dense network; the last is kept, for the other methods of a seed."""
        key = cell.kind, cell.seed
        if self._dense is None or self._dense[0] != key:
            initial = build_module(cell, self._settings, self._plugins).network
            self._dense = key, eigenvalues(initial, images)
        return self._dense[1]


def starting_masks(module: SparseClassifier, data: InMemoryData) -> Masks:
    """Choose the masks that a training would start with, and give them to the module."""
    with module.context.rng.as_global("training"):
        masks = module.sparsify(scoring_batches(module, data))
    module.set_masks(after_selection(module.context, masks, module.network))
    return module.masks


def _images(module: SparseClassifier, data: InMemoryData) -> Tensor:
    rows = IMAGES * module.context.classes
    if rows > _MOST:
        raise BenchError(
            f"the kernel of {IMAGES} images and {module.context.classes} classes has {rows:,} "
            f"rows; spectra are measured of {_MOST:,} at most"
        )
    stream = module.context.rng.generator("spectrum")
    index = torch.randperm(data.train_size, generator=stream)[:IMAGES]
    return data.images.batch(index, stream)[0]


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values.tolist())
