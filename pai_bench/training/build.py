"""Build what a training needs: data modules, the method around its network, the Trainer."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytorch_lightning as pl
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.trainer.connectors import callback_connector
from torch import nn

from pai_bench import networks
from pai_bench.config.schema import Benchmark, Recipe
from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import Hardware, loader_workers
from pai_bench.core.rng import RandomStreams
from pai_bench.data import files, sources
from pai_bench.data.image_tensors import ImageTensors
from pai_bench.data.module import InMemoryData
from pai_bench.data.stream import StreamedData
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.networks import init
from pai_bench.registry import methods as registry
from pai_bench.store.search_cache import SearchCache
from pai_bench.training.callbacks.progress_reporter import ProgressReporter
from pai_bench.training.context import MethodContext
from pai_bench.training.module import SparseClassifier
from pai_bench.training.progress import OnProgress, ignore
from pai_bench.training.rank import PATIENCE, Environment, Rank

DataModule = InMemoryData | StreamedData


def build_data(bundle: Bundle, settings: Benchmark, ranks_here: int = 1) -> list[DataModule]:
    """Build a data module for each network of a bundle: each its own order, images shared.

    Args:
        bundle: The networks' cells.
        settings: Data sets.
        ranks_here: Number of processes that train the network on this machine.

    Raises:
        BenchError: The data set cannot be loaded, or is not the one that benchmark.yaml describes.
    """
    name, recipe = bundle.cells[0].data, bundle.cells[0].recipe
    data, rngs = settings.data[name], [RandomStreams(cell.seed) for cell in bundle]
    if data.stream:
        workers = loader_workers(ranks_here)
        return [_streamed(name, settings, recipe, rng, workers) for rng in rngs]
    images = ImageTensors(_arrays(name, settings), data, recipe)
    return [InMemoryData(images, rng) for rng in rngs]


def _streamed(
    name: str, settings: Benchmark, recipe: Recipe, rng: RandomStreams, workers: int
) -> StreamedData:
    data = settings.data[name]
    files_found = files.find(name, data, settings.mirror)
    streamed = StreamedData(files_found.splits(), data, recipe, rng, workers)
    if (streamed.train_size, streamed.test_size) != data.images:
        raise BenchError(
            f"data set {name} from {files_found.source}: {streamed.train_size} training and "
            f"{streamed.test_size} test photographs, benchmark.yaml says {list(data.images)}"
        )
    return streamed


_last_arrays: dict[tuple[str, str], sources.Arrays] = {}


def _arrays(name: str, settings: Benchmark) -> sources.Arrays:
    """Decoded data, read-only, cached for the next cell of this process."""
    data = settings.data[name]
    key = name, data.version
    if key not in _last_arrays:
        _last_arrays.clear()
        _last_arrays[key] = sources.load(name, data, settings.mirror)
    return _last_arrays[key]


def build_module(
    cell: Cell, settings: Benchmark, plugins: tuple[Path, ...], runs: Path | None = None
) -> SparseClassifier:
    """Build the method around a network with the initial weights of the cell's seed.

    Args:
        cell: What to train.
        settings: Data sets and networks.
        plugins: Files with methods, networks or data sets of one's own.
        runs: Folder of results, which holds the search cache; without it nothing is cached.

    Raises:
        BenchError: Method or network is unknown, or a hyper-parameter is not allowed.
    """
    data, rng = settings.data[cell.data], RandomStreams(cell.seed)
    method: type[SparseClassifier] = registry.load(cell.method, plugins)

    def initial_network(stream: str) -> nn.Module:
        with rng.as_global(stream):
            return networks.build(settings.networks[cell.network], data.shape, data.classes)

    other_start = partial(initial_network, "init/other")
    search_cache = SearchCache(runs, cell, settings.take_over) if runs else None
    context = MethodContext(
        cell.density, cell.recipe, data.classes, rng, cell.sanity_check, other_start, search_cache,
        init.named(settings.networks[cell.network].init),
    )  # fmt: skip
    network = initial_network("init")
    if cell.precision == "64-true":
        network.double()  # The Trainer does so too late: after it has read a checkpoint.
    return method(network, context, **cell.hyper)


def build_trainer(
    bundle: Bundle,
    hardware: Hardware,
    on_progress: OnProgress = ignore,
    rank: Rank | None = None,
) -> pl.Trainer:
    """Build a Trainer without logger and checkpoint files: results are written by the store.

    Args:
        bundle: What is trained.
        hardware: What it is trained on.
        on_progress: Callback after each epoch.
        rank: Which of the processes this is, where several devices train one network.
    """
    recipe = bundle.cells[0].recipe
    with _our_callbacks_alone():
        return pl.Trainer(
            max_epochs=recipe.epochs,
            max_steps=recipe.steps or -1,
            accelerator=hardware.accelerator,
            devices=_devices(hardware.devices) if rank is None else hardware.each_device,
            num_nodes=hardware.nodes if rank is not None else 1,
            strategy="auto" if rank is None else DDPStrategy(timeout=PATIENCE),
            plugins=[] if rank is None else [Environment(rank)],
            use_distributed_sampler=False,
            precision=bundle.cells[0].precision,  # type: ignore[arg-type]
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[ProgressReporter(bundle, on_progress)],
        )


def _our_callbacks_alone() -> AbstractContextManager[Any]:
    """Keep callbacks away that installed packages offer to every Trainer: no result is to depend on
    them, and looking for them reads a file of each package, for each cell.
    """
    return patch.object(callback_connector, "_load_external_callbacks", lambda _group: [])


def _devices(option: str) -> Any:
    """Parse the device of one cell, for the Trainer: the number 1, or the index in `3,`.

    >>> _devices("auto"), _devices("1"), _devices("3,")
    (1, 1, [3])
    """
    if option == "auto":
        return 1
    devices = [int(index) for index in option.split(",") if index.strip()]
    if "," in option and len(devices) == 1:
        return devices
    if devices == [1]:
        return 1
    raise BenchError(f"devices {option}: one network trains on several devices by strategy ddp")
