"""One cell -> its result: the only place that knows the Trainer."""

from __future__ import annotations

import logging
import math
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from pai_bench import networks
from pai_bench.config.schema import Benchmark
from pai_bench.core import environment
from pai_bench.core.errors import BenchError, first_line
from pai_bench.core.hardware import Hardware, loader_workers
from pai_bench.core.rng import RandomStreams
from pai_bench.data import files, sources
from pai_bench.data.module import InMemoryData
from pai_bench.data.stream import StreamedData
from pai_bench.experiment.cell import Cell
from pai_bench.networks import init
from pai_bench.registry import methods as registry
from pai_bench.sparsity import account
from pai_bench.sparsity.architecture import final_architecture
from pai_bench.sparsity.compact import compact_network
from pai_bench.sparsity.masks import Masks, layers
from pai_bench.sparsity.perceptron import Architecture
from pai_bench.store.result import Accuracy, CompactedNetwork, Flops, Layer, Result
from pai_bench.store.search_cache import SearchCache
from pai_bench.store.store import Curves
from pai_bench.training.checkpoint import TrainingCheckpoint
from pai_bench.training.module import Collapsed, MethodContext, SparseClassifier

OnEpoch = Callable[[int, int], None]
OnScoring = Callable[[str], None]
DataModule = InMemoryData | StreamedData


@dataclass(frozen=True)
class Outcome:
    """All that is stored of a cell."""

    result: Result
    curves: Curves | None = None
    masks: Masks | None = None


def fit(
    cell: Cell,
    settings: Benchmark,
    hardware: Hardware | None = None,
    plugins: tuple[Path, ...] = (),
    on_epoch: OnEpoch = lambda _epoch, _epochs: None,
    runs: Path | None = None,
    on_scoring: OnScoring = lambda _reached: None,
) -> Outcome:
    """Run one cell. An exception becomes a failed result with its reason, except an interrupt.

    Under `runs`, if it is given, lie searches that cells share, and trainings that are under way: a
    cell goes on where an earlier run of it was interrupted.

    Raises BenchError when the accelerator, devices, strategy or precision are not to be had here:
    that is no result of the cell.
    """
    quiet()
    started = time.perf_counter()
    try:
        trainer = build_trainer(cell, hardware or Hardware(), on_epoch)
    except Exception as error:
        raise BenchError(f"hardware as asked cannot be used: {first_line(error)}") from error
    try:
        return _fit(cell, settings, trainer, plugins, runs, on_scoring)
    except (Exception, SystemExit) as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error  # Lightning turns Ctrl-C into an exit.
        reason = f"{type(error).__name__}: {first_line(error)}"
        seconds = {"total": time.perf_counter() - started}
        known = environment.describe("unknown", torch.get_num_threads())
        trace = "" if isinstance(error, BenchError) else traceback.format_exc()
        return Outcome(Result("failed", reason, trace, seconds=seconds, environment=known))


def _fit(
    cell: Cell,
    settings: Benchmark,
    trainer: pl.Trainer,
    plugins: tuple[Path, ...],
    runs: Path | None,
    on_scoring: OnScoring,
) -> Outcome:
    started = time.perf_counter()
    torch.set_num_threads(settings.threads)
    environment.peak_memory_reset()
    data = build_data(cell, settings)
    loaded = time.perf_counter() - started
    module = build_module(cell, settings, plugins, runs)
    module.on_scoring = on_scoring
    device = trainer.strategy.root_device
    halfway = TrainingCheckpoint(runs, cell, _device_name(device), plugins) if runs else None
    with module.context.rng.as_global("training"), _released(data):
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        skipped = _train(module, data, trainer, halfway)
        if trainer.global_step % len(data.train_dataloader()):
            # `steps` ended in the midst of an epoch: the Trainer evaluates after whole ones only.
            trainer.validate(module, datamodule=data, verbose=False)
    module.cpu()
    module.set_masks(module.masks)
    seconds = {**module.seconds, "data": loaded + data.seconds}
    seconds["train"] -= data.seconds
    seconds["score"] += module.reused_seconds
    seconds["total"] = time.perf_counter() - started + module.reused_seconds
    result = _result(cell, settings, module, data, seconds, device)
    if halfway and halfway.times:
        result = halfway.noted(result)
    if skipped:
        result = replace(result, status="skipped", reason=skipped)
    return Outcome(result, module.curves, module.masks)


def _train(
    module: SparseClassifier,
    data: DataModule,
    trainer: pl.Trainer,
    halfway: TrainingCheckpoint | None,
) -> str:
    """Train, and return ""; or only evaluate what is not to be trained, and return why."""
    known = halfway.join(trainer) if halfway else None
    try:
        trainer.fit(module, datamodule=data, ckpt_path=known, weights_only=True)
    except Collapsed as reason:
        trainer.validate(module, datamodule=data, verbose=False)
        return f"collapsed, and so not trained: {first_line(reason)}"
    return ""


@contextmanager
def _released(data: DataModule) -> Iterator[None]:
    """Let worker processes go at the end, also when the Trainer does not (after an exception)."""
    try:
        yield
    finally:
        data.teardown("fit")


def build_data(cell: Cell, settings: Benchmark) -> DataModule:
    """Build the batches of the cell: its data set, recipe and streams."""
    data, rng = settings.data[cell.data], RandomStreams(cell.seed)
    if not data.stream:
        return InMemoryData(_arrays(cell.data, settings), data, cell.recipe, rng)
    found = files.find(cell.data, data, settings.mirror)
    workers = loader_workers()
    streamed = StreamedData(found.splits(), data, cell.recipe, rng, workers)
    if (streamed.train_size, streamed.test_size) != data.images:
        raise BenchError(
            f"data set {cell.data} from {found.source}: {streamed.train_size} training and "
            f"{streamed.test_size} test photographs, benchmark.yaml says {list(data.images)}"
        )
    return streamed


_last_arrays: dict[tuple[str, str], sources.Arrays] = {}


def _arrays(name: str, settings: Benchmark) -> sources.Arrays:
    """Decoded data, kept for the next cell of this process: nobody writes to it."""
    data = settings.data[name]
    key = name, data.version
    if key not in _last_arrays:
        _last_arrays.clear()
        _last_arrays[key] = sources.load(name, data, settings.mirror)
    return _last_arrays[key]


def build_module(
    cell: Cell, settings: Benchmark, plugins: tuple[Path, ...], runs: Path | None = None
) -> SparseClassifier:
    """Build the method around a network that has the initial weights of the cell's seed."""
    data, rng = settings.data[cell.data], RandomStreams(cell.seed)
    method: type[SparseClassifier] = registry.load(cell.method, plugins)

    def start(stream: str) -> nn.Module:
        with rng.as_global(stream):
            return networks.build(settings.networks[cell.network], data.shape, data.classes)

    other = partial(start, "init/other")
    searches = SearchCache(runs, cell) if runs else None
    context = MethodContext(
        cell.density, cell.recipe, data.classes, rng, cell.sanity_check, other, searches,
        init.named(settings.networks[cell.network].init),
    )  # fmt: skip
    return method(start("init"), context, **cell.hyper)


def build_trainer(cell: Cell, hardware: Hardware, on_epoch: OnEpoch) -> pl.Trainer:
    """A Trainer that trains and evaluates, and writes nothing: the store is ours."""
    return pl.Trainer(
        max_epochs=cell.recipe.epochs,
        max_steps=cell.recipe.steps or -1,
        accelerator=hardware.accelerator,
        devices=_devices(hardware.devices),
        strategy=hardware.strategy,
        precision=cell.precision,  # type: ignore[arg-type]
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[_Epochs(on_epoch)],
    )


def _devices(given: str) -> Any:
    """Read the device of one cell: the only one there is, or the index in `3,`.

    >>> _devices("auto"), _devices("1"), _devices("3,")
    (1, 1, [3])
    """
    if given == "auto":
        return 1
    devices = [int(part) for part in given.split(",") if part.strip()]
    if "," in given and len(devices) == 1:
        return devices
    if devices == [1]:
        return 1
    raise BenchError(f"devices {given}: one cell trains on one device; use several workers")


class _Epochs(pl.Callback):
    """Tells the progress display which epoch has ended; 0 while masks are chosen."""

    def __init__(self, on_epoch: OnEpoch) -> None:
        self._on_epoch = on_epoch

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._on_epoch(0, trainer.max_epochs or 0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch:
            self._on_epoch(trainer.current_epoch, trainer.max_epochs or 0)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._on_epoch(trainer.current_epoch + 1, trainer.max_epochs or 0)


def _result(
    cell: Cell,
    settings: Benchmark,
    module: SparseClassifier,
    batches: DataModule,
    seconds: dict[str, float],
    device: torch.device,
) -> Result:
    data = settings.data[cell.data]
    known = environment.describe(_device_name(device), torch.get_num_threads())
    macs = account.macs_by_layer(module.network, data.shape)
    reached = account.effective(module.network, module.masks, data.shape)
    accuracies = module.curves["test_accuracy"]
    best = max(accuracies)
    return Result(
        status="done",
        accuracy=Accuracy(accuracies[-1], best, accuracies.index(best) + 1),
        bits_per_step=module.curves["test_loss"][-1] / math.log(2) if data.text else None,
        density=module.masks.density(),
        effective=reached.density(),
        collapsed=tuple(module.masks.collapsed()),
        layers=_layers(module, reached),
        flops=_flops(module, macs),
        compacted=None if module.exact_density else _compacted(module, data.shape),
        architecture=_architecture(module.masks, macs),
        seconds=seconds,
        memory_mb=_memory(device),
        hyper=asdict(module.hyper),
        environment={**known, "data": batches.provenance(), **_searches(module)},
    )


def _searches(module: SparseClassifier) -> dict[str, list[str]]:
    return {"searches": module.searches} if module.searches else {}


def _layers(module: SparseClassifier, reached: Masks) -> tuple[Layer, ...]:
    start, end, alive = (
        module.initial_nonzero,
        module.masks.kept_by_layer(),
        reached.kept_by_layer(),
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
    """What is left when dead units are removed; None where the network cannot be followed."""
    try:
        small = compact_network(module.network, module.masks, shape)
    except BenchError:
        return None
    return CompactedNetwork(
        units=_units(small),
        units_dense=_units(module.network),
        parameters=_parameters(small),
        parameters_dense=_parameters(module.network),
        flops=2.0 * sum(account.macs_by_layer(small, shape).values()),
    )


def _architecture(masks: Masks, macs: dict[str, int]) -> Architecture | None:
    """What is left without dead neurons, where masked linear layers in a row are all there is."""
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
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return environment.peak_memory_mb()


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def quiet() -> None:
    """Silence what Lightning says at every fit; it would be said once per cell."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    warnings.filterwarnings("ignore", module="torch.utils.flop_counter")
