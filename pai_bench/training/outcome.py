"""The outcome of a cell: the result that is stored, its curves and its masks."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn

from pai_bench.config.schema import Benchmark
from pai_bench.core import distributed, environment, xla
from pai_bench.core.errors import BenchError
from pai_bench.data.module import InMemoryData
from pai_bench.experiment.cell import Cell
from pai_bench.sparsity import account
from pai_bench.sparsity.architecture import final_architecture
from pai_bench.sparsity.compact import compact_network
from pai_bench.sparsity.masks import Masks, layers, left_out
from pai_bench.sparsity.perceptron import Architecture
from pai_bench.store.result import Accuracy, CompactedNetwork, Flops, Layer, Result
from pai_bench.store.store import Curves
from pai_bench.training.build import DataModule
from pai_bench.training.evaluation import accuracy
from pai_bench.training.module import SparseClassifier


@dataclass(frozen=True)
class Outcome:
    """Everything that is stored for a cell."""

    result: Result
    curves: Curves | None = None
    masks: Masks | None = None


@dataclass(frozen=True)
class Together:
    """How a network was trained: alone, in step with others, or in a stack."""

    mode: Literal["alone", "in step", "stack"] = "alone"
    networks: int = 1
    """Number of networks that were trained together."""
    note: str = ""
    """Why it was not trained as was asked."""
    devices: int = 1
    """Number of devices that trained the network together."""
    accumulate: int = 1
    """Number of pieces in which each of them passed its part of a batch."""
    nodes: int = 1
    """Number of machines that the devices belong to."""
    graph: bool = False
    """Whether its steps were those of a CUDA graph."""


def result_of(
    cell: Cell,
    settings: Benchmark,
    module: SparseClassifier,
    batches: DataModule,
    seconds: dict[str, float],
    device: torch.device,
    together: Together,
) -> Result:
    """Build the result of a trained network.

    Args:
        cell: The cell that was trained.
        settings: The benchmark, with the cell's data set.
        module: The method, on the CPU, with its curves, masks and costs.
        batches: The data module that it was trained on.
        seconds: Wall-clock seconds by phase, and `total`.
        device: Device that it was trained on.
        together: How it was trained.
    """
    data = settings.data[cell.data]
    software = environment.describe(device_name(device), torch.get_num_threads())
    macs = account.macs_by_layer(module.network, data.shape)
    effective = account.effective(module.network, module.masks, data.shape)
    accuracies = module.learning_curves.points["test_accuracy"]
    best = max(accuracies)
    after_steps = module.learning_curves.after_steps
    return Result(
        status="done",
        accuracy=Accuracy(accuracies[-1], best, accuracies.index(best) + 1),
        accuracy_after={str(steps): value for steps, value in after_steps.items()},
        train_accuracy=_train_accuracy(module, batches),
        measured=module.measured,
        bits_per_step=module.learning_curves.points["test_loss"][-1] / math.log(2)
        if data.text
        else None,
        density=module.masks.density(),
        effective=effective.density(),
        collapsed=tuple(module.masks.collapsed()),
        constant_scores=module.constant_scores,
        left_out=left_out(module.network),
        layers=_layers(module, effective),
        flops=_flops(module, macs),
        sparse_bytes=account.sparse_bytes(module.network, module.masks),
        compacted=None if module.exact_density else _compacted(module, data.shape),
        architecture=_architecture(module.masks, macs),
        seconds=seconds,
        memory_mb=_memory(device),
        hyper=asdict(module.hyper),
        environment={
            **software,
            "data": batches.provenance(),
            "training": _training(together, device),
            **_searches(module),
        },
    )


def _train_accuracy(module: SparseClassifier, batches: DataModule) -> float | None:
    """Accuracy on the part of the training images that the recipe names, if it does."""
    part = batches.recipe.evaluate_train
    if not part:
        return None
    if not isinstance(batches, InMemoryData):
        raise BenchError("evaluate_train: not of images that are decoded batch by batch; leave out")
    return accuracy(module, batches.first_batches(part))


def _training(together: Together, device: torch.device) -> dict[str, Any]:
    """How the network was trained; the precision is part of the cell."""
    record = {key: value for key, value in asdict(together).items() if value}
    for key in ("devices", "accumulate", "nodes"):
        if record[key] == 1:
            del record[key]
    if together.devices > 1:
        record["strategy"] = "ddp"
    if device.type == "cuda":
        record["deterministic"] = torch.are_deterministic_algorithms_enabled()
        record["tf32"] = {
            "convolutions": torch.backends.cudnn.allow_tf32,
            "products": torch.backends.cuda.matmul.allow_tf32,
        }
    return record


def _searches(module: SparseClassifier) -> dict[str, list[str]]:
    return {"searches": module.search_ids} if module.search_ids else {}


def _layers(module: SparseClassifier, effective: Masks) -> tuple[Layer, ...]:
    start, end, alive = (
        module.initial_nonzero,
        module.masks.kept_by_layer(),
        effective.kept_by_layer(),
    )
    return tuple(
        Layer(name, tuple(mask.shape), mask.numel(), start[name], end[name], alive[name])
        for name, mask in module.masks.items()
    )


def _flops(module: SparseClassifier, macs: dict[str, int]) -> Flops:
    training = module.training_cost.flops(macs, module.masks.weights_by_layer())
    return Flops(
        inference_dense=2.0 * sum(macs.values()),
        inference=account.inference_flops(macs, module.masks),
        scoring=module.scoring_flops,
        training=training + module.scoring_flops,
    )


def _compacted(module: SparseClassifier, shape: tuple[int, ...]) -> CompactedNetwork | None:
    """Size of the network without dead units; None where it cannot be compacted."""
    try:
        compacted = compact_network(module.network, module.masks, shape)
    except BenchError:
        return None
    return CompactedNetwork(
        units=_units(compacted),
        units_dense=_units(module.network),
        parameters=_parameters(compacted),
        parameters_dense=_parameters(module.network),
        flops=2.0 * sum(account.macs_by_layer(compacted, shape).values()),
    )


def _architecture(masks: Masks, macs: dict[str, int]) -> Architecture | None:
    """Architecture without dead neurons; None for other networks than multilayer perceptrons."""
    if sum(macs.values()) != masks.total:
        return None
    try:
        return final_architecture(masks)
    except BenchError:
        return None


def _units(network: nn.Module) -> int:
    return sum(len(layer.weight) for _, layer in layers(network))


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _memory(device: torch.device) -> float | None:
    """Peak memory of all devices that trained the network, together."""
    if device.type == "cuda":
        return distributed.total(torch.cuda.max_memory_allocated(device) / 2**20)
    if device.type == "xla":
        return None
    peaks = distributed.gathered(environment.peak_memory_mb())
    return None if None in peaks else sum(peak for peak in peaks if peak is not None)


def device_name(device: torch.device) -> str:
    """Name of a device in results: the model of a GPU, what XLA runs on, else the type."""
    if device.type == "xla":
        return xla.device_name()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
