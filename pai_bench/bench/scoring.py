"""What choosing masks costs: a round of scoring in units of a training step on the same batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from pai_bench import networks
from pai_bench.bench import turns
from pai_bench.config import Benchmark, Recipe
from pai_bench.methods import optimizer, registry
from pai_bench.methods.base import PruneAtInit, Task
from pai_bench.streams import Streams

ROUNDS = 2
"""Rounds that are timed, after a first one in which FLOPs are counted too."""
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Case:
    """A method on ResNet-20, and the batch that one pass of its scoring looks at."""

    method: str
    images: int
    double: bool = False
    """Scores in float64, and so is the step that it is compared with."""
    hyper: Mapping[str, Any] = field(default_factory=dict)


CASES = (
    Case("snip", 100),
    Case("grasp", 100),
    Case("ntk-sap", 100, hyper={"repeats": 1}),
    Case("synflow", 1, double=True),
)


def measure(console: Console, settings: Benchmark) -> None:
    """Print, for each method, a round of scoring over a training step: time, and FLOPs.

    ResNet-20 on CIFAR-10 shapes; NTK-SAP with one weight draw a round: 3 forward passes and one
    backward pass through two networks, R times that for R draws; SynFlow with its one input.
    FLOPs are those of the operators that run, counted by torch: the ratio of FLOPs is what theory
    asks, and the last column what of the time theory does not explain. Ranking is part of it.
    """
    table = Table(title="Scoring on ResNet-20, one round", title_justify="left")
    for heading in ("method", "batch", "s / round", "steps", "steps by FLOPs", "time / theory"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for case in CASES:
        table.add_row(*_row(case, settings))
    console.print(table)


def _row(case: Case, settings: Benchmark) -> tuple[str, ...]:
    network, batch = _network(case, settings), _batch(case)
    recipe = settings.recipes["ntk-sap-cifar10"]
    step = _step(network, batch, recipe)
    round_ = partial(_rounds, case, network, batch, recipe)
    theory = _flops(partial(round_, 1)) / _flops(step)
    ways = {"round": partial(_later_round, round_), "step": partial(_timed, step)}
    taken = turns.take(ways, repeats=3)
    found = turns.ratios(taken, "round", "step")
    ratio = median(found)
    return (
        case.method,
        str(case.images),
        f"{median(turn['round'] for turn in taken):.3f}",
        f"{ratio:.2f} ({min(found):.2f} to {max(found):.2f})",
        f"{theory:.2f}",
        f"{ratio / theory:.2f}",
    )


def _network(case: Case, settings: Benchmark) -> nn.Module:
    data = settings.data["cifar10"]
    network = networks.build(settings.networks["resnet-20"], data.shape, data.classes)
    return network.double() if case.double else network


def _batch(case: Case) -> Batch:
    kind = torch.float64 if case.double else torch.float32
    return torch.randn(case.images, 3, 32, 32, dtype=kind), torch.arange(case.images) % 10


def _rounds(case: Case, network: nn.Module, batch: Batch, recipe: Recipe, rounds: int) -> None:
    method = registry.load(case.method)
    assert issubclass(method, PruneAtInit)
    task = Task(0.1, recipe, classes=10, streams=Streams(1))
    method(network, task, rounds=rounds, **case.hyper).sparsify([batch])


def _step(network: nn.Module, batch: Batch, recipe: Recipe) -> Callable[[], None]:
    """A training step as a cell takes it."""
    chosen = optimizer.optimizer(network, recipe)

    def step() -> None:
        chosen.zero_grad()
        cross_entropy(network.train()(batch[0]), batch[1]).backward()
        chosen.step()

    return step


def _later_round(rounds: Callable[[int], None]) -> float:
    """Seconds of a round after the first."""
    return (_timed(partial(rounds, 1 + ROUNDS)) - _timed(partial(rounds, 1))) / ROUNDS


def _timed(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _flops(call: Callable[[], None]) -> float:
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())
