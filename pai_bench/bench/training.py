"""Overhead of the harness: a training step relative to a bare loop, with interleaved timing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import pytorch_lightning as pl
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from pai_bench import networks
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
from pai_bench.training.build import build_module, build_trainer

CPU = Hardware(accelerator="cpu", devices="1")


def measure(console: Console, settings: Benchmark) -> None:
    """Print seconds per training step of LeNet-300-100 on MNIST-shaped tensors at batch 128.

    Pixels are random: time does not depend on them.
    """
    cell = _cell(settings)
    arrays = random_arrays(settings.data["mnist"])
    ways: dict[str, Callable[[], float]] = {
        "bare PyTorch loop": lambda: _bare(cell, settings, arrays),
        "our path, dense": lambda: _ours(cell, settings, arrays),
        "our path, masked": lambda: _ours(
            replace(cell, method="random", density=0.1), settings, arrays
        ),
        "Trainer + DataLoader + log": lambda: _plain(cell, settings, arrays),
    }
    turns = interleaved.take(ways)
    title = "LeNet-300-100, MNIST shapes, batch 128, one epoch"
    interleaved.print_turns(console, title, "ms per step", turns, "bare PyTorch loop")
    dense = statistics.median(turn["our path, dense"] for turn in turns)
    upkeep = 100 * 1e3 * _upkeep(cell, settings) / dense
    console.print(f"mask upkeep alone: {upkeep:.1f} % of a dense step", highlight=False)


def _upkeep(cell: Cell, settings: Benchmark, calls: int = 2000) -> float:
    """Seconds to mask all gradients once."""
    module = build_module(replace(cell, method="random", density=0.1), settings, ())
    module.set_masks(module.sparsify([]))
    for parameter in module.network.parameters():
        parameter.grad = torch.ones_like(parameter)
    started = time.perf_counter()
    for _ in range(calls):
        module.mask_enforcement.mask_gradients()
    return (time.perf_counter() - started) / calls


def _cell(settings: Benchmark) -> Cell:
    recipe = settings.recipes["mnist-20"].model_copy(update={"epochs": 1})
    return Cell(
        "dense", "lenet-300-100", "mnist", recipe, 1.0, 1, **data_fields(settings.data["mnist"])
    )


def _network(cell: Cell, settings: Benchmark) -> nn.Module:
    data = settings.data[cell.data]
    with RandomStreams(cell.seed).as_global("init"):
        return networks.build(settings.networks[cell.network], data.shape, data.classes)


def _optimizer(cell: Cell, network: nn.Module) -> torch.optim.Optimizer:
    recipe = cell.recipe
    return torch.optim.SGD(
        network.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay
    )


def _bare(cell: Cell, settings: Benchmark, arrays: Arrays) -> float:
    """Milliseconds per step of a plain PyTorch loop on the same uint8 tensors."""
    data, size = settings.data[cell.data], cell.recipe.batch_size
    network = _network(cell, settings)
    optimizer = _optimizer(cell, network)
    mean, std = torch.tensor(data.mean).view(-1, 1, 1), torch.tensor(data.std).view(-1, 1, 1)
    order = torch.randperm(len(arrays.train_labels)).split(size)
    started = time.perf_counter()
    for index in order:
        images = (arrays.train_images[index].float() / 255 - mean) / std
        optimizer.zero_grad()
        loss = cross_entropy(network(images), arrays.train_labels[index])
        loss.backward()
        optimizer.step()
    return 1e3 * (time.perf_counter() - started) / len(order)


def _ours(cell: Cell, settings: Benchmark, arrays: Arrays) -> float:
    """Milliseconds per step of a cell: the harness's module, batches and Trainer."""
    module = build_module(cell, settings, ())
    data = InMemoryData(
        ImageTensors(arrays, settings.data[cell.data], cell.recipe), RandomStreams(cell.seed)
    )
    data.test_size = 1
    build_trainer(Bundle((cell,)), CPU).fit(module, datamodule=data)
    return 1e3 * module.phase_timer.seconds["train"] / len(data.train_dataloader())


class _PlainModule(pl.LightningModule):
    """A module as in tutorials, with `self.log` in each step."""

    def __init__(self, network: nn.Module, cell: Cell) -> None:
        super().__init__()
        self.network, self._cell = network, cell
        self.started = self.seconds = 0.0

    def training_step(self, batch: list[Tensor], _index: int) -> Tensor:
        images, labels = batch
        loss = cross_entropy(self.network(images), labels)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return _optimizer(self._cell, self.network)

    def on_train_epoch_start(self) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self) -> None:
        self.seconds = time.perf_counter() - self.started


def _plain(cell: Cell, settings: Benchmark, arrays: Arrays) -> float:
    """Milliseconds per step of the Trainer with a DataLoader and logging."""
    data = settings.data[cell.data]
    images = (arrays.train_images.float() / 255 - data.mean[0]) / data.std[0]
    loader: DataLoader[tuple[Tensor, ...]] = DataLoader(
        TensorDataset(images, arrays.train_labels), cell.recipe.batch_size, shuffle=True
    )
    module = _PlainModule(_network(cell, settings), cell)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, loader)
    return 1e3 * module.seconds / len(loader)
