"""Train and store one bundle: what every launcher calls where the training happens."""

from __future__ import annotations

from collections.abc import Callable

from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import Hardware
from pai_bench.core.machine import fault_of_writing
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.launch.events import Event, Finished, Rejected, Stopped
from pai_bench.launch.request import RunRequest
from pai_bench.store.result import Result
from pai_bench.store.store import Store
from pai_bench.training import checkpoint
from pai_bench.training.checkpoint import OutOfTime
from pai_bench.training.failure import failure_of
from pai_bench.training.fit import fit
from pai_bench.training.outcome import Outcome


def run_bundle(
    request: RunRequest, bundle: Bundle, hardware: Hardware, emit: Callable[[Event], None]
) -> None:
    """Train the cells of a bundle, and store their outcomes.

    Args:
        request: Settings, folder of results and plugins.
        bundle: The cells to train.
        hardware: The device of this worker, one of the request's.
        emit: Callback for events, in the order in which they happen.
    """
    store = Store(request.runs, request.suite)
    try:
        outcomes = fit(
            bundle, request.settings, hardware, request.plugins, emit, request.runs,
            request.stacked, request.deadline,
        )  # fmt: skip
        finished = [(cell, _put(store, cell, outcome)) for cell, outcome
                    in zip(bundle, outcomes, strict=True)]  # fmt: skip
        checkpoint.discard(request.runs, bundle)
    except OutOfTime:
        return emit(Stopped(bundle))
    except BenchError as error:
        return emit(Rejected(bundle, str(error)))
    except Exception as error:
        fault = fault_of_writing(error, store.folder)
        if fault is None:
            raise
        return emit(Rejected(bundle, str(fault)))
    for cell, result in finished:
        emit(Finished(cell, result.status, result.reason))
    return None


def _put(store: Store, cell: Cell, outcome: Outcome) -> Result:
    """Store an outcome; one with numbers that no file can hold, as NaN, is a failure."""
    try:
        store.put(cell, outcome.result, outcome.curves, outcome.masks)
    except ValueError as error:
        failed = failure_of(error).outcome(outcome.result.seconds.get("total", 0.0)).result
        store.put(cell, failed)
        return failed
    return outcome.result
