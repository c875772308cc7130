"""The processes of this machine that train a network: how they start, and what they end with."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

from pai_bench.core import environment, processes
from pai_bench.core.machine import MachineFault
from pai_bench.core.node import VARIABLES
from pai_bench.experiment.bundle import Bundle
from pai_bench.training.alone import fit_alone
from pai_bench.training.checkpoint import LOOK, never
from pai_bench.training.failure import Failure
from pai_bench.training.meeting import NodeLost
from pai_bench.training.outcome import Outcome
from pai_bench.training.progress import Progress, ignore
from pai_bench.training.rank import Rank
from pai_bench.training.setup import TrainingSetup

GRACE = 30.0
"""Seconds in which the processes may write a checkpoint, once they are asked to end."""
FAREWELL = 5.0
"""Seconds in which a process ends that has nothing left to do."""


class RankProcesses:
    """The processes of some ranks, which end with a `with` block.

    Args:
        ranks: Those of this machine, in their order.
        bundle: The cell that they train.
        setup: How.
    """

    def __init__(self, ranks: Sequence[Rank], bundle: Bundle, setup: TrainingSetup) -> None:
        self._setup, self._is_asked = setup, False
        self._started = [(rank.number, *_start(rank, bundle, setup)) for rank in ranks]

    def __enter__(self) -> RankProcesses:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """End them: those that are done by themselves, so that they end what they started."""
        if isinstance(error, KeyboardInterrupt | NodeLost):
            self.ask_to_end()
        until = time.monotonic() + (GRACE if self._is_asked else 0.0)
        for _number, _pipe, process in self._started:
            process.join(max(0.0, until - time.monotonic()))
        for _number, pipe, _process in self._started:
            pipe.close()
        for _number, _pipe, process in self._started:
            process.join(FAREWELL)
            if process.exitcode is None:
                processes.kill_group(process.pid)
                process.kill()
                process.join()

    def ask_to_end(self) -> None:
        """Ask them to write a checkpoint and end: all ranks agree on that."""
        self._is_asked = True
        for _, _, process in self._started:
            process.terminate()

    def outcome(self, look: Callable[[], Outcome | None]) -> Outcome:
        """Wait until all are done, or one has failed; return the outcome of the first of them.

        Args:
            look: Called about once a second; what it returns or raises ends the waiting.
        """
        by_pipe = {pipe: (number, process) for number, pipe, process in self._started}
        first: Outcome | None = None
        waiting = set(by_pipe)
        while waiting:
            if processes.is_asked_to_end() and not self._is_asked:
                self.ask_to_end()
            if (found := look()) is not None:
                return found
            for pipe in wait(list(waiting), timeout=LOOK):
                assert isinstance(pipe, Connection)
                number, process = by_pipe[pipe]
                try:
                    message = pickle.loads(pipe.recv_bytes())
                except (EOFError, OSError):
                    return _died(number, process)
                if isinstance(message, Progress):
                    self._setup.on_progress(message)
                    continue
                if isinstance(message, BaseException):
                    raise message
                if message.result.status == "failed":
                    return message  # type: ignore[no-any-return]
                waiting.discard(pipe)
                first = message if first is None or number == self._started[0][0] else first
        assert first is not None
        return first


def _start(rank: Rank, bundle: Bundle, setup: TrainingSetup) -> tuple[Connection, Any]:
    """Start the process of a rank."""
    context = processes.context()
    pipe, of_rank = context.Pipe()
    own = replace(setup, on_progress=ignore, is_lost=never, rank=rank)
    variables = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    arguments = of_rank, bundle, own, variables, environment.command_line()
    process = context.Process(target=_train, args=arguments, name=f"rank-{rank.number}")
    process.start()
    of_rank.close()
    return pipe, process


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
    processes.end_on((signal.SIGTERM,))
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
    while not pipe.poll(LOOK) and not processes.is_asked_to_end():
        pass
