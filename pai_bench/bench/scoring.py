"""Cost of scoring: a round relative to a training step and to its bare passes."""

from __future__ import annotations

import copy
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

from pai_bench import networks
from pai_bench.bench import interleaved
from pai_bench.config.schema import Benchmark, Recipe
from pai_bench.core.rng import RandomStreams
from pai_bench.methods.base import PruneAtInit
from pai_bench.registry import methods as registry
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.training.context import MethodContext
from pai_bench.training.optimizer import build_optimizer

GOAL = 1.15
"""Largest accepted ratio of a round's time to that of its passes."""
TURNS = 5
Batch = tuple[Tensor, Tensor]
Passes = Callable[[nn.Module, Batch], object]


@dataclass(frozen=True)
class ScoringCase:
    """A method on ResNet-20, and the batch of one pass of its scoring."""

    method: str
    images: int
    theory: str
    """The passes that one round needs by the method's definition."""
    passes: Passes
    """Runs these passes in plain PyTorch."""
    later: int = 0
    """Rounds to time after the first, which also counts FLOPs; 0 times the first itself."""
    hyper: Mapping[str, Any] = field(default_factory=dict)
    double: bool = False
    """Whether scoring, and the step and passes that it is compared with, are in float64."""


def measure(console: Console, settings: Benchmark) -> None:
    """Print, for each method, what a round costs: over a training step, and over its bare passes.

    ResNet-20 on CIFAR-10 shapes, with interleaved timing on the same batch; SynFlow on its one
    input. The theoretical cost counts passes through the network: they are timed in plain PyTorch,
    without the masks, copies, checks and ranking that a round of ours includes. Methods of one
    round are timed with all that a cell does in it. NTK-SAP draws once a round here: five draws
    would share the overhead of a round. Times are CPU times, so that other load on the machine
    does not change the ratios.
    """
    table = Table(title="Scoring on ResNet-20, one round", title_justify="left")
    for heading in (
        "method", "batch", "CPU s / round", "steps", "theory", "its passes, in steps",
        "round / passes", f"goal {GOAL}",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if heading in ("method", "theory") else "right")
    for case in CASES:
        table.add_row(*_row(case, settings))
    console.print(table)


def _row(case: ScoringCase, settings: Benchmark) -> tuple[str, ...]:
    network, batch = _network(case, settings), _batch(case)
    recipe, calls = settings.recipes["ntk-sap-cifar10"], max(1, case.later)
    ways = {
        "passes": partial(_timed, partial(case.passes, copy.deepcopy(network), batch), calls),
        "round": partial(_round, case, copy.deepcopy(network), batch, recipe),
        "step": partial(_timed, _step(network, batch, recipe), calls),
    }
    turns = interleaved.take(ways, repeats=TURNS)
    overhead = interleaved.ratios(turns, "round", "passes")
    return (
        case.method,
        str(case.images),
        f"{median(turn['round'] for turn in turns):.3f}",
        f"{median(interleaved.ratios(turns, 'round', 'step')):.2f}",
        case.theory,
        f"{median(interleaved.ratios(turns, 'passes', 'step')):.2f}",
        f"{median(overhead):.2f} ({min(overhead):.2f} to {max(overhead):.2f})",
        "met" if median(overhead) <= GOAL else "not met",
    )


def _network(case: ScoringCase, settings: Benchmark) -> nn.Module:
    data = settings.data["cifar10"]
    network = networks.build(settings.networks["resnet-20"], data.shape, data.classes)
    return network.double() if case.double else network


def _batch(case: ScoringCase) -> Batch:
    dtype = torch.float64 if case.double else torch.float32
    return torch.randn(case.images, 3, 32, 32, dtype=dtype), torch.arange(case.images) % 10


def _step(network: nn.Module, batch: Batch, recipe: Recipe) -> Callable[[], None]:
    """Return a training step with the recipe's optimizer."""
    optimizer = build_optimizer(network, recipe)

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(network.train()(batch[0]), batch[1]).backward()
        optimizer.step()

    return step


def _round(case: ScoringCase, network: nn.Module, batch: Batch, recipe: Recipe) -> float:
    """CPU seconds of a round of our method: copying, scoring, checking and ranking."""
    method = registry.load(case.method)
    assert issubclass(method, PruneAtInit)
    context = MethodContext(0.1, recipe, classes=10, rng=RandomStreams(1))
    module = method(network, context, rounds=1 + case.later, **case.hyper)
    keep, ends = module.keep, [time.process_time()]

    def timed(scores: Mapping[str, Tensor]) -> Masks:
        masks = keep(scores)
        ends.append(time.process_time())
        return masks

    module.keep = timed  # type: ignore[method-assign]
    module.sparsify(module.restrict_inputs([batch]))
    return (ends[-1] - ends[1]) / case.later if case.later else ends[1] - ends[0]


def _timed(call: Callable[[], object], calls: int) -> float:
    """Mean CPU seconds of `calls` successive calls."""
    started = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - started) / calls


def _weights(network: nn.Module) -> list[Tensor]:
    return [weight for _, weight in prunable(network)]


def _loss_gradient(network: nn.Module, batch: Batch) -> None:
    loss = cross_entropy(network.train()(batch[0]), batch[1])
    torch.autograd.grad(loss, _weights(network))


def _hessian_product(network: nn.Module, batch: Batch) -> None:
    _loss_gradient(network, batch)
    weights = _weights(network)
    loss = cross_entropy(network.train()(batch[0]), batch[1])
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    inner = torch.stack([(g.detach() * g).sum() for g in gradients]).sum()
    torch.autograd.grad(inner, weights)


def _change_of_logits(network: nn.Module, batch: Batch) -> None:
    with torch.no_grad():
        network.train()(batch[0])
    network.eval()
    change = network(batch[0]) - network(batch[0])
    torch.autograd.grad(change.square().sum(), _weights(network))


def _flow(network: nn.Module, batch: Batch) -> None:
    torch.autograd.grad(network.eval()(batch[0]).sum(), _weights(network))


CASES = (
    ScoringCase("snip", 100, "1 forward, 1 backward", _loss_gradient),
    ScoringCase("grasp", 100, "2 forward, 2 backward, 1 through the backward", _hessian_product),
    ScoringCase(
        "ntk-sap", 100, "3 forward, 1 double backward", _change_of_logits, 2, hyper={"repeats": 1}
    ),
    ScoringCase("synflow", 1, "1 forward, 1 backward, float64", _flow, 20, double=True),
)
