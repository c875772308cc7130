"""Train one network on several devices: a process for each of them, of which this one is none.

The processes do the same, each on its part of every batch (see core/distributed.py); the first one
writes checkpoints and has the outcome. One that fails ends all. Asked to end, by a signal or
because this process is gone, they write a checkpoint before they do.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

from pai_bench.config.schema import Recipe
from pai_bench.core import environment, processes
from pai_bench.core.errors import BenchError
from pai_bench.core.machine import MachineFault
from pai_bench.experiment.bundle import Bundle
from pai_bench.networks.batch_norm import check_parts
from pai_bench.training.alone import fit_alone
from pai_bench.training.checkpoint import LOOK, LeaseLost, never
from pai_bench.training.failure import Failure
from pai_bench.training.outcome import Outcome
from pai_bench.training.progress import Progress, ignore
from pai_bench.training.rank import LOCALHOST, Rank
from pai_bench.training.setup import TrainingSetup

GRACE = 30.0
"""Seconds in which the processes may write a checkpoint, once they are asked to end."""
FAREWELL = 5.0
"""Seconds in which a process ends that has nothing left to do."""


def fit_on_ranks(bundle: Bundle, setup: TrainingSetup) -> Outcome:
    """Train the network of a bundle of one cell on the devices of `setup`.

    Raises:
        BenchError: The hardware is not available, or the recipe does not fit to it.
        OutOfTime: The deadline has passed.
        LeaseLost: Another process has taken the bundle over.
    """
    size = setup.hardware.ranks
    _check(bundle.cells[0].recipe, size, setup.hardware.accumulate)
    port = _free_port()
    started = [_start(Rank(number, size, port), bundle, setup) for number in range(size)]
    try:
        return _outcome(dict(started), setup)
    except KeyboardInterrupt:
        for _, process in started:
            process.terminate()
        for _, process in started:
            process.join(GRACE)
        raise
    finally:
        _end(started)


def _end(started: Sequence[tuple[Connection, Any]]) -> None:
    """End all processes: those that are done by themselves, so that they end what they started."""
    for pipe, _ in started:
        pipe.close()
    for _, process in started:
        process.join(FAREWELL)
        if process.exitcode is None:
            processes.kill_group(process.pid)
            process.kill()
            process.join()


def _check(recipe: Recipe, ranks: int, pieces: int) -> None:
    if recipe.batch_size < ranks * pieces:
        raise BenchError(
            f"a batch of {recipe.batch_size} cannot be divided among {ranks} devices"
            f"{f' in {pieces} pieces each' if pieces > 1 else ''}: use fewer"
        )
    check_parts(recipe.batch_norm_parts, ranks)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((LOCALHOST, 0))
        return int(found.getsockname()[1])


def _start(rank: Rank, bundle: Bundle, setup: TrainingSetup) -> tuple[Connection, Any]:
    """Start the process of a rank."""
    context = processes.context()
    pipe, of_rank = context.Pipe()
    own = replace(setup, on_progress=ignore, is_lost=never, rank=rank)
    arguments = of_rank, bundle, own, dict(os.environ), environment.command_line()
    process = context.Process(target=_train, args=arguments, name=f"rank-{rank.number}")
    process.start()
    of_rank.close()
    return pipe, process


def _outcome(started: Mapping[Connection, Any], setup: TrainingSetup) -> Outcome:
    """Wait until all ranks are done, or one has failed; return the outcome of the first."""
    numbers = {pipe: number for number, pipe in enumerate(started)}
    first: Outcome | None = None
    waiting = set(started)
    while waiting:
        if setup.is_lost(False):
            raise LeaseLost
        for pipe in wait(list(waiting), timeout=LOOK):
            assert isinstance(pipe, Connection)
            try:
                message = pickle.loads(pipe.recv_bytes())
            except (EOFError, OSError):
                return _died(numbers[pipe], started[pipe])
            if isinstance(message, Progress):
                setup.on_progress(message)
                continue
            if isinstance(message, BaseException):
                raise message
            if message.result.status == "failed":
                return message  # type: ignore[no-any-return]
            waiting.discard(pipe)
            first = message if numbers[pipe] == 0 else first
    assert first is not None
    return first


def _died(number: int, process: Any) -> Outcome:
    """Say what ended the process of a rank. Raises MachineFault if it was the system."""
    process.join()
    code = process.exitcode
    if code in processes.KILLED:
        raise MachineFault(processes.killed(code, f"the process of device {number}"))
    reason = f"the process of device {number} ended with exit code {code} before the training did"
    return Failure(reason, "").outcome(0.0)


def _train(
    pipe: Connection, bundle: Bundle, setup: TrainingSetup, variables: dict[str, str], command: str
) -> None:
    """Main of a rank's process: train, and send what came out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, processes.end_when_asked)
    processes.lead_group()
    processes.exit_with_parent(GRACE)
    environment.adopt(variables, command)
    from pai_bench.training.fit import quiet

    quiet()
    # Lightning would give each rank a share of all cores.
    os.environ["OMP_NUM_THREADS"] = str(setup.settings.threads)

    def send(message: object) -> None:
        with suppress(OSError):  # Nobody is there to hear it.
            pipe.send_bytes(pickle.dumps(message))

    assert setup.rank is not None
    reports = replace(setup, on_progress=send) if setup.rank.number == 0 else setup
    try:
        outcome = fit_alone(bundle, reports)
    except BaseException as error:
        send(error)
        raise SystemExit(1) from None
    send(outcome if setup.rank.number == 0 else replace(outcome, curves=None, masks=None))
    # Others may still be talking to this process: it is ended when all are done.
    pipe.poll(None)
