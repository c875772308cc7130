"""How many networks a device trains fastest as one: measured, in a process of its own."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from pai_bench.config.schema import Benchmark
from pai_bench.core.hardware import Hardware, gpus_of
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.cost import training_images

SIZES = (1, 2, 4, 8, 16, 32)
GAIN = 0.95
"""A larger stack must bring the time of a step of one network below this part of the best so far:
results of small stacks are stored sooner."""
MEMORY = 0.6
"""Part of the device's memory that a stack may take."""
PATIENCE = 120.0
"""Seconds after which the probe is given up."""
STEPS = 8
PART = 0.8
"""Part of a time budget that bare steps may take: there is evaluation, too."""


def fastest_stack(
    cell: Cell, settings: Benchmark, hardware: Hardware, budget: float = math.inf
) -> int:
    """Measure how many networks like that of a cell are trained fastest as one.

    Args:
        cell: One of the cells to train.
        settings: The benchmark.
        hardware: What they are trained on.
        budget: Seconds in which a stack is to finish, if some stack can.

    Returns:
        Networks of a stack; 1 where the network cannot be stacked, or nothing is gained.
    """
    gpus = gpus_of(hardware)
    device = f"cuda:{gpus[0]}" if gpus else "cpu"
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    pipe, of_probe = context.Pipe()
    steps = cell.recipe.training_steps(training_images(cell, settings))
    longest = PART * budget / steps
    task = (of_probe, cell, settings, device, longest)
    probe = context.Process(target=_probe, args=task, daemon=True)
    probe.start()
    of_probe.close()
    try:
        return int(pipe.recv()) if pipe.poll(PATIENCE) else 1
    except EOFError:
        return 1
    finally:
        probe.kill()
        probe.join()


def _probe(pipe: Connection, cell: Cell, settings: Benchmark, device: str, longest: float) -> None:
    pipe.send(best_size(measured(cell, settings, device), longest))


def best_size(measurements: Iterable[tuple[int, float]], longest: float = math.inf) -> int:
    """Choose the size of stacks from seconds of one step of stacks of growing sizes.

    Args:
        measurements: Networks in a stack, and the seconds of one step of it.
        longest: Seconds that a step may take.

    >>> best_size([(1, 1.0), (2, 1.2), (4, 1.6), (8, 3.2)])
    4
    >>> best_size([(1, 1.0), (2, 1.2), (4, 1.6), (8, 3.2)], longest=1.3)
    2
    """
    best, fastest = 1, math.inf
    for size, seconds in measurements:
        if size > 1 and seconds > longest:
            break
        if seconds / size < GAIN * fastest:
            best, fastest = size, seconds / size
        elif size > 2 * best:
            break
    return best


def measured(cell: Cell, settings: Benchmark, device: str) -> Iterator[tuple[int, float]]:
    """Measure bare training steps of stacks of more and more networks, as long as they fit.

    The steps are those of networks whose masks stay.

    Args:
        cell: Its network, batch size, optimizer and precision are used; the data are random.
        settings: The benchmark.
        device: A device of torch.

    Yields:
        Networks in the stack, and the seconds of one step of it.
    """
    import torch

    from pai_bench.training.together.stacked_layers import NotStackable

    torch.set_num_threads(settings.threads)
    for size in SIZES:
        try:
            yield size, _seconds(cell, settings, size, torch.device(device))
        except (NotStackable, torch.OutOfMemoryError):
            return
        if device.startswith("cuda"):
            _free, total = torch.cuda.mem_get_info(device)
            if 2 * torch.cuda.max_memory_allocated(device) > MEMORY * total:
                return


def _seconds(cell: Cell, settings: Benchmark, size: int, device: Any) -> float:
    import torch
    from torch import nn

    from pai_bench import networks
    from pai_bench.training.optimizer import build_optimizer
    from pai_bench.training.together.stacked_network import StackedNetwork, check_stackable

    data, recipe = settings.data[cell.data], cell.recipe
    built = [networks.build(settings.networks[cell.network], data.shape, data.classes).to(device)
             for _ in range(size)]  # fmt: skip
    images = torch.randn(recipe.batch_size, *data.shape, device=device)
    check_stackable(built[:1], images[:2])
    stack = StackedNetwork(built)
    stack.use([torch.Generator() for _ in built])
    optimizer = build_optimizer(nn.ModuleList(built), recipe)
    stack.take_over(optimizer)
    inputs = images.repeat(1, size, 1, 1)
    autocast = torch.autocast(device.type, torch.bfloat16, cell.precision == "bf16-mixed")

    def step() -> None:
        stack.zero_grad()
        with autocast:
            loss = stack.logits(inputs).float().square().mean()
        loss.backward()
        optimizer.step()

    for _ in range(3):
        step()
    return _timed(step, device)


def _timed(step: Any, device: Any) -> float:
    import torch

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    started = now()
    for _ in range(STEPS):
        step()
    return (now() - started) / STEPS
