"""What ended a training."""

from __future__ import annotations

import traceback
from typing import NamedTuple

import torch

from pai_bench.core import environment, processes
from pai_bench.core.errors import BenchError, first_line
from pai_bench.core.machine import machine_fault
from pai_bench.store.result import Result
from pai_bench.training.checkpoint import Halt, OutOfTime
from pai_bench.training.outcome import Outcome


class Failure(NamedTuple):
    """An exception as it is stored."""

    reason: str
    trace: str
    """Empty for a mistake in what was asked: its one line says all."""

    def outcome(self, seconds: float) -> Outcome:
        """Return the outcome of a cell that ended like this after so many seconds."""
        software = environment.describe("unknown", torch.get_num_threads())
        spent = {"total": seconds}
        return Outcome(Result("failed", *self, seconds=spent, environment=software))


def failure_of(error: BaseException) -> Failure:
    """Describe an exception.

    Raises:
        KeyboardInterrupt: It was one: Lightning turns Ctrl-C into an exit.
        Halt: It was that, or came when the training was to stop: nothing has failed.
        MachineFault: The machine failed, which says nothing about what was trained.
    """
    if isinstance(error, Halt):
        raise error
    if (
        processes.is_asked_to_end()
    ):  # The queue has ended processes that it was loading data by, say.
        raise OutOfTime from error
    if isinstance(error.__context__, KeyboardInterrupt):
        raise KeyboardInterrupt from error
    if fault := machine_fault(error):
        raise fault from error
    reason = f"{type(error).__name__}: {first_line(error)}"
    trace = "" if isinstance(error, BenchError) else "".join(traceback.format_exception(error))
    return Failure(reason, trace)
