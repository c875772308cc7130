"""Training of one network and of many together, over a bare loop: time of a step of one network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from pai_bench import networks
from pai_bench.bench import interleaved
from pai_bench.bench.random_data import random_arrays
from pai_bench.config.schema import Benchmark, Recipe
from pai_bench.core.hardware import Hardware
from pai_bench.core.rng import RandomStreams
from pai_bench.data.augment import crop_flip, draw_crops, pad
from pai_bench.data.image_tensors import ImageTensors
from pai_bench.data.module import InMemoryData
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell, data_fields
from pai_bench.launch.probe import best_size, measured
from pai_bench.training.build import build_module, build_trainer
from pai_bench.training.optimizer import build_optimizer
from pai_bench.training.setup import set_deterministic
from pai_bench.training.together.data import BundleData
from pai_bench.training.together.member import Member
from pai_bench.training.together.module import BundleClassifier
from pai_bench.training.together.stacked_network import StackedNetwork

IN_STEP = 8
STEPS = 60
BARE = "bare loop"
REPEATS = 3


@dataclass(frozen=True)
class Task:
    """What is trained: a network on data of a shape, and how."""

    network: str
    data: str
    precision: str = "32-true"
    batch: int = 128

    def cell(self, settings: Benchmark) -> Cell:
        """A cell of the task, masked at random."""
        colour = settings.data[self.data].shape[0] == 3
        recipe = Recipe(
            epochs=1, batch_size=self.batch, lr=0.1, momentum=0.9, weight_decay=5e-4,
            augment="crop-flip" if colour else "none",
        )  # fmt: skip
        return Cell("random", self.network, self.data, recipe, 0.1, 1, precision=self.precision,
                    **data_fields(settings.data[self.data]))  # fmt: skip


ON_CPU = (Task("lenet-300-100", "digits", batch=64), Task("lenet-300-100", "mnist"))
ON_GPU = (
    Task("resnet-20", "cifar10"), Task("resnet-20", "cifar10", "bf16-mixed"),
    Task("wrn-22-2", "cifar10"), Task("vgg-16-bn", "cifar10"),
)  # fmt: skip


def measure(console: Console, settings: Benchmark, accelerator: str = "cpu") -> None:
    """Print milliseconds of a step of one network, trained in each way that there is.

    Pixels are random: time does not depend on them.
    """
    gpu = accelerator == "gpu"
    for task in ON_GPU if gpu else ON_CPU:
        bench = _Bench(task, settings, torch.device("cuda" if gpu else "cpu"))
        turns = interleaved.take(bench.ways(), REPEATS)
        title = f"{task.network}, {task.data} shapes, batch {task.batch}, {task.precision}"
        interleaved.print_turns(console, title, "ms per step of one network", turns, BARE)


class _Bench:
    """The ways of one task."""

    def __init__(self, task: Task, settings: Benchmark, device: torch.device) -> None:
        self.cell = task.cell(settings)
        counts = (STEPS * task.batch, task.batch)
        data = settings.data[task.data].model_copy(update={"images": counts})
        self.settings, self.device = settings, device
        self.arrays = random_arrays(data)
        self.hardware = Hardware("gpu" if device.type == "cuda" else "cpu", "1")
        self.best = best_size(measured(self.cell, settings, str(device)))

    def ways(self) -> dict[str, Callable[[], float]]:
        """Each way and its milliseconds."""
        return dict(self._ways())

    def _ways(self) -> Iterator[tuple[str, Callable[[], float]]]:
        size = max(2, self.best)
        yield BARE, self._bare
        yield "plain script: DataLoader, transforms of images, item()", self._script
        yield "ours, alone", lambda: self._ours(1, stacked=False)
        yield f"ours, {IN_STEP} in step", lambda: self._ours(IN_STEP, stacked=False)
        yield f"ours, a stack of {size}", lambda: self._ours(size, stacked=True)
        yield f"bare loop of a stack of {size}", lambda: self._bare_stack(size)
        if self.device.type == "cuda":
            yield (
                f"ours, a stack of {size}, as a graph",
                lambda: self._ours(size, True, graphs=True),
            )
            yield "ours, alone, not deterministic", self._fastest

    def _network(self, seed: int = 0) -> nn.Module:
        data = self.settings.data[self.cell.data]
        with RandomStreams(seed).as_global("init"):
            network = networks.build(
                self.settings.networks[self.cell.network], data.shape, data.classes
            )
        return network.to(self.device)

    def _autocast(self) -> Any:
        enabled = self.cell.precision == "bf16-mixed"
        return torch.autocast(self.device.type, torch.bfloat16, enabled)

    def _images(self) -> ImageTensors:
        images = ImageTensors(self.arrays, self.settings.data[self.cell.data], self.cell.recipe)
        images.to(self.device)
        return images

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of the training set, made on the device."""
        data = InMemoryData(self._images(), RandomStreams(1))
        return iter(data.train_dataloader())

    def _timed(self, step: Callable[[Tensor, Tensor], Any], networks_: int = 1) -> float:
        batches = list(self._batches()) if self.device.type == "cpu" else self._batches()
        self._synchronise()
        started = time.perf_counter()
        for images, labels in batches:
            step(images, labels)
        self._synchronise()
        return 1e3 * (time.perf_counter() - started) / STEPS / networks_

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _bare(self) -> float:
        network = self._network().train()
        optimizer = build_optimizer(network, self.cell.recipe)

        def step(images: Tensor, labels: Tensor) -> None:
            optimizer.zero_grad()
            with self._autocast():
                loss = cross_entropy(network(images), labels)
            loss.backward()
            optimizer.step()

        return self._timed(step)

    def _bare_stack(self, size: int) -> float:
        """A stack without Trainer, methods and masks: what the harness adds is the rest."""
        built = [self._network(seed) for seed in range(size)]
        stack = StackedNetwork(built)
        stack.use([torch.Generator() for _ in built])
        optimizer = build_optimizer(nn.ModuleList(built), self.cell.recipe)
        stack.take_over(optimizer)

        def step(images: Tensor, labels: Tensor) -> None:
            stack.zero_grad()
            with self._autocast():
                logits = stack.logits(images.repeat(1, size, 1, 1))
                loss = cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(size))
            (loss * size).backward()
            optimizer.step()

        return self._timed(step, size)

    def _ours(self, size: int, stacked: bool, graphs: bool = False) -> float:
        """The harness: methods with masks, callbacks, Trainer; batches included."""
        cells = tuple(replace(self.cell, density=0.1 + 0.01 * k) for k in range(size))
        trainer = build_trainer(Bundle(cells), self.hardware)
        if self.device.type == "cuda":
            set_deterministic(self.settings.deterministic)
        images = self._images()
        data = [InMemoryData(images, RandomStreams(cell.seed)) for cell in cells]
        methods = [build_module(cell, self.settings, ()) for cell in cells]
        module: Any
        if size == 1:
            module, (batches,) = methods[0], data
            trainer.fit(module, datamodule=batches)
        else:
            members = [Member(*of) for of in zip(cells, methods, data, strict=True)]
            module = BundleClassifier(members, stacked, graphs)
            trainer.fit(module, datamodule=BundleData(data))
        return 1e3 * float(module.phase_timer.seconds["train"]) / STEPS / size

    def _fastest(self) -> float:
        deterministic = self.settings
        self.settings = deterministic.model_copy(update={"deterministic": False})
        try:
            return self._ours(1, stacked=False)
        finally:
            self.settings = deterministic

    def _script(self) -> float:
        """As authors' codes train: images are transformed one by one, each loss is read."""
        network = self._network().train()
        optimizer = torch.optim.SGD(network.parameters(), 0.1, 0.9, weight_decay=5e-4)
        loader = DataLoader(_ImageByImage(self), self.cell.recipe.batch_size, shuffle=True)
        self._synchronise()
        started, total = time.perf_counter(), 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            with self._autocast():
                loss = cross_entropy(network(images.to(self.device)), labels.to(self.device))
            loss.backward()
            optimizer.step()
            total += loss.item()
        return 1e3 * (time.perf_counter() - started) / STEPS


class _ImageByImage(Dataset[tuple[Tensor, Tensor]]):
    """A data set of single images, cropped and flipped where the recipe says so."""

    def __init__(self, bench: _Bench) -> None:
        data = bench.settings.data[bench.cell.data]
        self._images, self._labels = bench.arrays.train_images, bench.arrays.train_labels
        self._crop = bench.cell.recipe.augment != "none"
        self._mean, self._std = (
            torch.tensor(values).view(-1, 1, 1) for values in (data.mean, data.std)
        )

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self._images[index]
        if self._crop:
            crop = draw_crops(1, torch.default_generator)
            image = crop_flip(pad(image[None]), torch.zeros(1, dtype=torch.long), crop)[0]
        return (image / 255 - self._mean) / self._std, self._labels[index]
