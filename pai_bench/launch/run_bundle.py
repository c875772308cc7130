"""Train and store one bundle: what every launcher calls where the training happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import Hardware
from pai_bench.core.machine import fault_of_writing
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.launch.cell_leases import CellLeases, acquire, store_result
from pai_bench.launch.events import Event, PutOff, Rejected, Stopped
from pai_bench.launch.progress_writer import BundleWriter
from pai_bench.launch.request import RunRequest
from pai_bench.store import lease
from pai_bench.store.checkpoint_files import discard
from pai_bench.store.lease_entry import LOOKS
from pai_bench.training.checkpoint import LeaseLost, OutOfTime
from pai_bench.training.failure import failure_of
from pai_bench.training.fit import fit
from pai_bench.training.outcome import Outcome
from pai_bench.training.progress import Progress


def run_bundle(
    request: RunRequest, bundle: Bundle, hardware: Hardware, emit: Callable[[Event], None]
) -> None:
    """Train the cells of a bundle that nobody else trains, and store their outcomes.

    Args:
        request: Settings, folder of results and plugins.
        bundle: The cells to train.
        hardware: The device of this worker, one of the request's.
        emit: Callback for events, in the order in which they happen.
    """
    try:
        held = acquire(request, bundle)
        with lease.held(*held.leases.values()):
            for event in held.events:
                emit(event)
            events = _train(held, hardware, emit) if held.to_train else []
    except OutOfTime:
        return emit(Stopped(bundle))
    except BenchError as error:
        return emit(Rejected(bundle, str(error)))
    except Exception as error:
        fault = fault_of_writing(error, request.runs / request.suite)
        if fault is None:
            raise
        return emit(Rejected(bundle, str(fault)))
    for event in events:
        emit(event)
    return None


def _train(held: CellLeases, hardware: Hardware, emit: Callable[[Event], None]) -> list[Event]:
    """Train and store what this process holds the leases of; return what became of it."""
    request, bundle = held.request, held.to_train
    assert bundle is not None
    writer = BundleWriter(request.runs, bundle, request.settings.take_over / LOOKS)

    def on_progress(progress: Progress) -> None:
        writer.update(progress)
        emit(replace(progress, bundle=held.bundle))

    try:
        with writer.writing():
            outcomes = fit(
                bundle, request.settings, hardware, request.plugins, on_progress, request.runs,
                request.stacked, request.deadline, held.is_lost,
            )  # fmt: skip
    except LeaseLost:
        return [PutOff(held.bundle, bundle.cells)]
    events = [_put(held, cell, outcome) for cell, outcome in zip(bundle, outcomes, strict=True)]
    if not held.is_lost():
        discard(request.runs, bundle)
    return events


def _put(held: CellLeases, cell: Cell, outcome: Outcome) -> Event:
    """Store an outcome; one with numbers that no file can hold, as NaN, is a failure."""
    try:
        return store_result(held, cell, outcome.result, outcome.curves, outcome.masks)
    except ValueError as error:
        failed = failure_of(error).outcome(outcome.result.seconds.get("total", 0.0))
        return store_result(held, cell, failed.result)
