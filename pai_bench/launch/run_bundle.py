"""Train and store one bundle: what every launcher calls where the training happens."""

from __future__ import annotations

from collections.abc import Callable

from pai_bench.core.errors import BenchError
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.launch.events import Event, Finished, Rejected, Stopped
from pai_bench.launch.request import RunRequest
from pai_bench.store.store import Store
from pai_bench.training import checkpoint
from pai_bench.training.checkpoint import OutOfTime
from pai_bench.training.fit import fit


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
    except OutOfTime:
        return emit(Stopped(bundle))
    except BenchError as error:
        return emit(Rejected(bundle, str(error)))
    for cell, outcome in zip(bundle, outcomes, strict=True):
        store.put(cell, outcome.result, outcome.curves, outcome.masks)
    checkpoint.discard(request.runs, bundle)
    for cell, outcome in zip(bundle, outcomes, strict=True):
        emit(Finished(cell, outcome.result.status, outcome.result.reason))
    return None
