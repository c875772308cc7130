"""The method that is checked, and ways to run it on small problems."""

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
"""As in the shipped benchmark.yaml, whatever the one in use says."""
TRAINING = Recipe(epochs=2, batch_size=64, lr=0.1, momentum=0.9, weight_decay=1e-4, holdout=0.8)
"""On a fifth of the images: enough to see that weights move and masks do not."""
SETTINGS = Benchmark(
    data={"digits": DIGITS},
    networks={"check": Network(build="pai_bench.methods.conformance.problems:resnet")},
    recipes={},
    suites={},
    papers={},
)

FEW: Mapping[str, Any] = {"rounds": 2, "epochs": 1, "search_epochs": 1}


class Wrong(Exception):
    """What is wrong, where, and how to mend it, in one line."""


class Noteworthy(Exception):
    """Nothing is wrong, but it is good to know; or there was nothing to look at."""


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
    """Of the random streams."""
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
        """Images and labels, on the device."""
        drawn = self.problem.batches(self.start)
        return [(images.to(self.device), labels.to(self.device)) for images, labels in drawn]


class Subject:
    """A method under examination.

    Where a method has rounds, or epochs of a search, a few are enough to show what it does.
    """

    def __init__(
        self, cls: type[SparseClassifier], info: MethodInfo, plugins: tuple[Path, ...]
    ) -> None:
        self.cls, self.info, self.plugins = cls, info, plugins
        self.few = {key: value for key, value in FEW.items() if key in info.hyper}
        self.printed: list[str] = []
        """What came to standard output so far, by check."""

    @property
    def counts_at_start(self) -> bool:
        """Whether the masks that training starts with have the asked number of weights."""
        return self.cls.when == "init" or issubclass(self.cls, PruneAtInit)

    def module(self, case: Case) -> SparseClassifier:
        """Build the method around the network of `case`."""
        network = case.problem.network(case.start, case.dtype)
        density = case.density if self.cls.prunes else 1.0
        other = partial(case.problem.network, case.start + 1, case.dtype)
        context = MethodContext(
            density, RECIPE, CLASSES, RandomStreams(case.seed), other_start=other
        )
        return self.cls(network, context, **{**self.few, **case.hyper}).to(case.device)

    def masks(self, case: Case, batches: Any = None) -> Masks:
        """Choose masks as a cell does: what the method does not need is withheld from it."""
        return self.chosen_by(self.module(case), case, batches)

    def checked_masks(self, case: Case) -> None:
        """Choose masks, and look at their names, shapes and device."""
        module = self.module(case)
        found = self.chosen_by(module, case)
        look_at(found, module, f"{self.cls.__name__} {case}")

    def chosen_by(self, module: SparseClassifier, case: Case, batches: Any = None) -> Masks:
        """Let the `module` of a case choose; raises Wrong for whatever it raises."""
        given = case.batches() if batches is None else batches
        try:
            return module.sparsify(module.restrict_inputs(given))
        except (Exception, SystemExit) as error:
            raise Wrong(
                f"{self.cls.__name__} {case}: {type(error).__name__}: {first_line(error)}"
                f"{self.line_of(error)}; {_how_to_mend(case)}"
            ) from error

    def line_of(self, error: BaseException) -> str:
        """The line of the method's own file that raised an error, if one of its lines did."""
        frames = traceback.extract_tb(error.__traceback__)
        own = [f.lineno for f in frames if Path(f.filename).resolve() == Path(self.info.path)]
        return f" ({Path(self.info.path).name}:{own[-1]})" if own else ""

    def cell(self, seed: int = 1) -> Cell:
        """Two epochs on scikit-learn's digits."""
        return Cell(
            method=self.info.name,
            network="check",
            data="digits",
            recipe=TRAINING,
            density=0.25 if self.cls.prunes else 1.0,
            seed=seed,
            hyper=self.few,
            **data_fields(DIGITS),
        )

    def run_cell(self) -> Outcome:
        """Run the whole cell on the CPU, as a worker does."""
        return fit_cell(self.cell(), SETTINGS, Hardware("cpu", "1"), self.plugins)

    @cached_property
    def outcome(self) -> Outcome:
        """What became of the cell."""
        return self.run_cell()

    @cached_property
    def trained(self) -> tuple[SparseClassifier, pl.Trainer]:
        """The same cell's module, which an outcome does not hold, and its Trainer."""
        return self.train()

    def train(
        self, checkpoint: TrainingCheckpoint | None = None, stop: int | None = None
    ) -> tuple[SparseClassifier, pl.Trainer]:
        """Train from the start, or resume from `checkpoint`; stop after so many steps."""
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
        """The module of the cell, its initial weights drawn from the stream `start`."""
        cell = self.cell()
        rng = RandomStreams(cell.seed)
        with rng.as_global(start):
            built = networks.build(SETTINGS.networks[cell.network], DIGITS.shape, DIGITS.classes)
        context = MethodContext(cell.density, cell.recipe, DIGITS.classes, rng)
        return self.cls(built, context, **cell.hyper)


class _Stop(pl.Callback):
    """Ends a training after so many steps, if a number is given."""

    def __init__(self, step: int | None) -> None:
        self._step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self._step:
            trainer.should_stop = True


@dataclass(frozen=True)
class Place:
    """Where a method was found, before it is imported."""

    info: MethodInfo
    plugins: tuple[Path, ...]

    def load(self) -> Subject:
        """Import the method; raises BenchError as the registry does."""
        return Subject(registry.load(self.info.name, self.plugins), self.info, self.plugins)


def find(method: str | type, plugins: tuple[Path, ...]) -> Place:
    """Find a method by name; a class is looked for in its own file, unless it is known already.

    Raises BenchError where there is none.
    """
    name = method if isinstance(method, str) else name_of(method)
    if not isinstance(method, str):
        path = _file_of(method)
        known = registry.available(plugins).get(name)
        plugins = plugins if known and Path(known.path) == path else (*plugins, path)
    methods = registry.available(plugins)
    if name not in methods:
        raise unknown("method", name, methods)
    return Place(methods[name], plugins)


def name_of(method: type) -> str:
    """The name that a class was registered with; its own where it was not."""
    return str(vars(method).get("name", method.__name__))


def _file_of(cls: type) -> Path:
    try:
        return Path(inspect.getfile(cls)).resolve()
    except (TypeError, OSError):
        raise BenchError(f"{cls.__name__} is in no file: workers could not import it") from None


def _how_to_mend(case: Case) -> str:
    if case.dtype != torch.float32:
        return "scores() may convert its copy of the network, as network.double() does"
    return "mend it, or say in a BenchError what the method cannot do"


def look_at(masks: Any, module: SparseClassifier, where: str) -> None:
    """Raise Wrong unless there is one bool mask of the right shape for each prunable weight."""
    if not isinstance(masks, Masks):
        raise Wrong(
            f"{where}: sparsify() returned {type(masks).__name__}; return Masks, one bool tensor "
            "per prunable weight"
        )
    weights = dict(prunable(module.network))
    for name in weights.keys() ^ masks.keys():
        told = "no mask for" if name in weights else "a mask for what is not prunable:"
        raise Wrong(f"{where}: {told} {name}; loop over prunable(network)")
    for name, weight in weights.items():
        found = masks[name]
        if found.shape != weight.shape:
            shapes = f"{tuple(found.shape)}, the weight has {tuple(weight.shape)}"
            raise Wrong(f"{where}: the mask of {name} has shape {shapes}; keep the weight's shape")
        if found.device != weight.device:
            places = f"on {found.device}, the weight on {weight.device}"
            raise Wrong(f"{where}: the mask of {name} is {places}; make it on weight.device")


def difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> str:
    """Name the first layer whose masks differ, or return ""."""
    unequal = (name for name in one if not torch.equal(one[name], other[name]))
    return next(unequal, "")
