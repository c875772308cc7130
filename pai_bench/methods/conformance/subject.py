"""The method under test, and ways to run it on small problems."""

from __future__ import annotations

import inspect
import random
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from pai_bench import networks
from pai_bench.config.schema import Benchmark, Data, Network, Recipe
from pai_bench.core.errors import BenchError, first_line, unknown
from pai_bench.core.hardware import Hardware
from pai_bench.core.rng import RandomStreams
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell, data_fields
from pai_bench.methods.base import PruneAtInit
from pai_bench.methods.conformance.problems import CLASSES, MLP, Problem
from pai_bench.registry import methods as registry
from pai_bench.registry.declaration import MethodInfo
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.training.build import build_data, build_trainer
from pai_bench.training.checkpoint import TrainingCheckpoint
from pai_bench.training.context import MethodContext
from pai_bench.training.fit import fit_cell
from pai_bench.training.module import SparseClassifier
from pai_bench.training.outcome import Outcome

RECIPE = Recipe(epochs=1, batch_size=8, lr=0.1, momentum=0.9)
DIGITS = Data(
    classes=10,
    shape=(1, 8, 8),
    images=(1438, 359),
    digest="a84fd4877a3d21810a0aa4c34967dd3225b9e72b129848fb4db99c771e4895d1",
    mean=(0.0192,),
    std=(0.0236,),
)
"""As in the shipped benchmark.yaml; the suite does not depend on the user's."""
TRAINING = Recipe(epochs=2, batch_size=64, lr=0.1, momentum=0.9, weight_decay=1e-4, holdout=0.8)
"""On a fifth of the images: enough to see that weights change and masks do not."""
SETTINGS = Benchmark(
    data={"digits": DIGITS},
    networks={"check": Network(build="pai_bench.methods.conformance.problems:resnet")},
    recipes={},
    suites={},
    papers={},
)

REDUCED: Mapping[str, Any] = {"rounds": 2, "epochs": 1, "search_epochs": 1}
"""Hyper-parameters that lengthen the choice of masks, if a method has them, and short values."""


class Failure(Exception):
    """A check failed: what is wrong, where, and how to fix it, in one line."""


class Advice(Exception):
    """A check did not fail, but has advice; or it does not apply here."""


def seed_everything(seed: int) -> None:
    """Seed every global generator that a method might draw from."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


@dataclass(frozen=True)
class Case:
    """One choice of masks on a small problem."""

    problem: Problem = MLP
    density: float = 0.25
    seed: int = 1
    """Seed of the random streams."""
    start: int = 0
    """Seed of the initial weights and the data."""
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    hyper: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        options = "".join(f", {key}={value}" for key, value in self.hyper.items())
        dtype = "" if self.dtype == torch.float32 else f" in {self.dtype}".replace("torch.", "")
        device = "" if self.device == "cpu" else f" on {self.device}"
        return f"on {self.problem.name}{dtype}{device} at density {self.density:g}{options}"

    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """Draw images and labels, on the device."""
        batches = self.problem.batches(self.start)
        return [(images.to(self.device), labels.to(self.device)) for images, labels in batches]


class Subject:
    """The method under test, with few rounds and epochs (see `REDUCED`)."""

    def __init__(
        self, cls: type[SparseClassifier], info: MethodInfo, plugins: tuple[Path, ...]
    ) -> None:
        self.cls, self.info, self.plugins = cls, info, plugins
        self.reduced = {key: value for key, value in REDUCED.items() if key in info.hyper}
        self.printed: list[str] = []
        """First line that each check printed to standard output."""

    @property
    def counts_at_start(self) -> bool:
        """Whether the masks that training starts with keep the target number of weights."""
        return self.cls.when == "init" or issubclass(self.cls, PruneAtInit)

    def module(self, case: Case) -> SparseClassifier:
        """Build the method around the network of `case`."""
        network = case.problem.network(case.start, case.dtype)
        density = case.density if self.cls.prunes else 1.0
        other_start = partial(case.problem.network, case.start + 1, case.dtype)
        context = MethodContext(
            density, RECIPE, CLASSES, RandomStreams(case.seed), other_start=other_start
        )
        return self.cls(network, context, **{**self.reduced, **case.hyper}).to(case.device)

    def masks(self, case: Case, batches: Any = None) -> Masks:
        """Choose masks as a cell does, from batches restricted to what the method needs."""
        return self.select(self.module(case), case, batches)

    def checked_masks(self, case: Case) -> None:
        """Choose masks, and check their names, shapes and device."""
        module = self.module(case)
        masks = self.select(module, case)
        check_masks(masks, module, f"{self.cls.__name__} {case}")

    def select(self, module: SparseClassifier, case: Case, batches: Any = None) -> Masks:
        """Choose masks by the `module` of a case; any exception becomes a Failure."""
        batches = case.batches() if batches is None else batches
        try:
            return module.sparsify(module.restrict_inputs(batches))
        except (Exception, SystemExit) as error:
            raise Failure(
                f"{self.cls.__name__} {case}: {type(error).__name__}: {first_line(error)}"
                f"{self.line_of(error)}; {_fix(case)}"
            ) from error

    def line_of(self, error: BaseException) -> str:
        """The last line of the method's file in the traceback of an error, or ""."""
        frames = traceback.extract_tb(error.__traceback__)
        lines = [f.lineno for f in frames if Path(f.filename).resolve() == Path(self.info.path)]
        return f" ({Path(self.info.path).name}:{lines[-1]})" if lines else ""

    def cell(self, seed: int = 1) -> Cell:
        """Two epochs on scikit-learn's digits."""
        return Cell(
            method=self.info.name,
            network="check",
            data="digits",
            recipe=TRAINING,
            density=0.25 if self.cls.prunes else 1.0,
            seed=seed,
            hyper=self.reduced,
            **data_fields(DIGITS),
        )

    def run_cell(self) -> Outcome:
        """Train the cell on the CPU, as a worker does."""
        return fit_cell(self.cell(), SETTINGS, Hardware("cpu", "1"), self.plugins)

    @cached_property
    def outcome(self) -> Outcome:
        """Outcome of the cell."""
        return self.run_cell()

    @cached_property
    def trained(self) -> tuple[SparseClassifier, pl.Trainer]:
        """Module and Trainer of the same cell, which an outcome does not hold."""
        return self.train()

    def train(
        self, checkpoint: TrainingCheckpoint | None = None, stop: int | None = None
    ) -> tuple[SparseClassifier, pl.Trainer]:
        """Train from the start, or resume from `checkpoint`; stop after step `stop`."""
        cell = self.cell()
        data = build_data(Bundle((cell,)), SETTINGS)[0]
        trainer = build_trainer(Bundle((cell,)), Hardware("cpu", "1"))
        path = checkpoint.join(trainer) if checkpoint else None
        trainer.callbacks.append(_Stop(stop))  # type: ignore[attr-defined]
        module = self.untrained()
        with module.context.rng.as_global("training"):
            trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
        return module, trainer

    def untrained(self, start: str = "init") -> SparseClassifier:
        """Build the module of the cell, with initial weights from the random stream `start`."""
        cell = self.cell()
        rng = RandomStreams(cell.seed)
        with rng.as_global(start):
            network = networks.build(SETTINGS.networks[cell.network], DIGITS.shape, DIGITS.classes)
        context = MethodContext(cell.density, cell.recipe, DIGITS.classes, rng)
        return self.cls(network, context, **cell.hyper)


class _Stop(pl.Callback):
    """Stops a training after a step, if one is given."""

    def __init__(self, step: int | None) -> None:
        self._step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self._step:
            trainer.should_stop = True


@dataclass(frozen=True)
class Location:
    """A method that is not imported yet, and the plugins that it needs."""

    info: MethodInfo
    plugins: tuple[Path, ...]

    def load(self) -> Subject:
        """Import the method. Raises BenchError as the registry does."""
        return Subject(registry.load(self.info.name, self.plugins), self.info, self.plugins)


def find(method: str | type, plugins: tuple[Path, ...]) -> Location:
    """Find a method by name or class; the file of a class that is not registered is a plugin.

    Raises:
        BenchError: There is no such method.
    """
    name = method if isinstance(method, str) else name_of(method)
    if not isinstance(method, str):
        path = _file_of(method)
        registered = registry.available(plugins).get(name)
        plugins = plugins if registered and Path(registered.path) == path else (*plugins, path)
    methods = registry.available(plugins)
    if name not in methods:
        raise unknown("method", name, methods)
    return Location(methods[name], plugins)


def name_of(method: type) -> str:
    """The name that a class is registered with, else the name of the class."""
    return str(vars(method).get("name", method.__name__))


def _file_of(cls: type) -> Path:
    try:
        return Path(inspect.getfile(cls)).resolve()
    except (TypeError, OSError):
        raise BenchError(
            f"{cls.__name__} is not defined in a file: workers could not import it"
        ) from None


def _fix(case: Case) -> str:
    if case.dtype != torch.float32:
        return "scores() may convert its copy of the network, by network.double() for example"
    return "fix it, or raise a BenchError that says what the method does not support"


def check_masks(masks: Any, module: SparseClassifier, where: str) -> None:
    """Raise Failure unless there is one bool mask of the right shape for each prunable weight."""
    if not isinstance(masks, Masks):
        raise Failure(
            f"{where}: sparsify() returned {type(masks).__name__}; return Masks, one bool tensor "
            "per prunable weight"
        )
    weights = dict(prunable(module.network))
    for name in weights.keys() ^ masks.keys():
        problem = "no mask for" if name in weights else "a mask for a weight that is not prunable:"
        raise Failure(f"{where}: {problem} {name}; loop over prunable(network)")
    for name, weight in weights.items():
        mask = masks[name]
        if mask.shape != weight.shape:
            shapes = f"{tuple(mask.shape)}, the weight has {tuple(weight.shape)}"
            raise Failure(
                f"{where}: the mask of {name} has shape {shapes}; keep the weight's shape"
            )
        if mask.device != weight.device:
            devices = f"on {mask.device}, the weight on {weight.device}"
            raise Failure(f"{where}: the mask of {name} is {devices}; create it on weight.device")


def difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> str:
    """Name the first layer whose masks differ, or return ""."""
    unequal = (name for name in one if not torch.equal(one[name], other[name]))
    return next(unequal, "")
