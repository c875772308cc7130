"""Cost of kernels that are the same on all processors, over those that libraries choose."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context

import torch
from rich.console import Console
from torch.nn.functional import cross_entropy

from pai_bench import networks
from pai_bench.bench import interleaved
from pai_bench.config.schema import Benchmark
from pai_bench.core import kernels, native, portable
from pai_bench.core.errors import BenchError

NATIVE = "native"
TASKS = (("lenet-300-100", "digits", 64), ("lenet-300-100", "mnist", 128),
         ("lenet-5", "mnist", 128), ("resnet-20", "cifar10", 32))  # fmt: skip
"""Network, shapes of its data, batch size."""
SECONDS = 0.5
"""Duration of one measurement."""


def measure(console: Console, settings: Benchmark) -> None:
    """Print milliseconds of bare training steps by both choices, each in a process of its own."""
    if not portable.is_supported():
        console.print("no portable kernels on this processor", highlight=False)
        return
    variables = portable.variables(settings.threads)
    own = {**dict.fromkeys(variables), **native.variables(settings.threads)}
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(_worker(chosen))
            for name, chosen in ((NATIVE, own), ("portable", variables))
        }
        for task in TASKS:
            ways = {
                name: _way(worker, name == "portable", task, settings)
                for name, worker in workers.items()
            }
            title = f"{task[0]}, {task[1]} shapes, batch {task[2]}: kernels"
            turns = interleaved.take(ways)
            interleaved.print_turns(console, title, "ms per step", turns, NATIVE)


def _way(
    worker: ProcessPoolExecutor, is_portable: bool, task: tuple[str, str, int], settings: Benchmark
) -> Callable[[], float]:
    return lambda: worker.submit(_step, is_portable, *task, settings).result()


@contextmanager
def _worker(variables: Mapping[str, str | None]) -> Iterator[ProcessPoolExecutor]:
    """A process that starts with these environment variables; those that are None are not set."""
    before = {name: os.environ.get(name) for name in variables}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as worker:
        _set(variables)
        worker.submit(os.getpid).result()  # The process starts with the first task.
        _set(before)
        yield worker


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _step(is_portable: bool, network: str, data: str, batch: int, settings: Benchmark) -> float:
    """Milliseconds of a bare training step on random pixels."""
    torch.set_num_threads(settings.threads)
    if not kernels.use(is_portable) and (is_portable or native.is_faster()):
        raise BenchError("the kernels are not in place in a new process")
    shape, classes = settings.data[data].shape, settings.data[data].classes
    model = networks.build(settings.networks[network], shape, classes)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    images, labels = torch.randn(batch, *shape), torch.arange(batch) % classes
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        optimizer.zero_grad()
        cross_entropy(model(images), labels).backward()
        optimizer.step()
        steps += 1
    return 1e3 * (time.perf_counter() - started) / steps
