"""Cost of tangent kernels: a kernel-matching step, in units of a training step."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pai_bench import networks
from pai_bench.bench import interleaved
from pai_bench.config.schema import Benchmark
from pai_bench.core import environment
from pai_bench.networks import ntk
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.sparsity.select import topk_masks

IMAGES = 64
DENSITY = 0.03


def measure(console: Console, settings: Benchmark) -> None:
    """Print the time of NTT's step on LeNet-300-100, and the memory of that on LeNet-5.

    A step computes the kernels of the dense and of a sparse network between the halves of a batch
    of 64, and the gradient of their distance; the alternatives compute derivatives by autograd, or
    whole Jacobians.
    """
    task = _KernelTask("lenet-300-100-ntt", settings)
    fast = {
        "training step": task.train,
        "NTT step": lambda: task.match("auto"),
        "NTT step, by autograd": lambda: task.match("hooks"),
    }
    title = f"LeNet-300-100, {IMAGES} images, density {DENSITY}"
    turns = interleaved.take({name: _several(step, 10) for name, step in fast.items()})
    interleaved.print_turns(console, title, "ms", turns, "training step")
    slow = interleaved.take(
        {
            "NTT step": _several(lambda: task.match("auto"), 10),
            "NTT step, by Jacobians": _several(lambda: task.match("jacobian"), 1),
        },
        repeats=3,
    )
    interleaved.print_turns(console, f"{title}, by Jacobians", "ms", slow, "NTT step")
    _memory(console, settings)


class _KernelTask:
    """A dense network, a sparse copy of it, and a batch on which to match their kernels."""

    def __init__(self, name: str, settings: Benchmark) -> None:
        data = settings.data["mnist"]
        self.network: nn.Module = networks.build(settings.networks[name], data.shape, data.classes)
        self.network.eval()
        self.images = torch.randn(IMAGES, *data.shape)
        scores = {n: weight.detach().abs() for n, weight in prunable(self.network)}
        self.masks: Masks = topk_masks(scores, DENSITY, scope="local")
        parameters = self.network.named_parameters()
        self.student = {n: p.detach().clone().requires_grad_() for n, p in parameters}
        self.adam = torch.optim.Adam(list(self.student.values()), 5e-4, fused=True)
        dense = list(self.network.parameters())
        self.dense_adam = torch.optim.Adam(dense, 1e-3, fused=True)

    def train(self) -> None:
        """Take a training step of the dense network, without the Trainer."""
        self.dense_adam.zero_grad()
        labels = torch.arange(IMAGES) % 10
        cross_entropy(self.network(self.images), labels).backward()
        self.dense_adam.step()

    def match(self, method: ntk.Method) -> None:
        """Take one kernel-matching step of the sparse copy."""
        with torch.no_grad():
            target = self._outputs_and_kernel(dict(self.network.named_parameters()), method)
        masked = {n: p * self.masks[n] if n in self.masks else p for n, p in self.student.items()}
        student = self._outputs_and_kernel(masked, method)
        self.adam.zero_grad()
        distances = [(a - b).square().mean() for a, b in zip(student, target, strict=True)]
        (distances[0] + 1e-3 * distances[1]).backward()
        self.adam.step()

    def _outputs_and_kernel(
        self, parameters: dict[str, Tensor], method: ntk.Method
    ) -> tuple[Tensor, Tensor]:
        return ntk.outputs_and_kernel(
            self.network, self.images, IMAGES // 2, method=method, parameters=parameters
        )


def _several(step: Callable[[], None], times: int) -> Callable[[], float]:
    """Return a timer: mean milliseconds of a step, over `times` successive ones."""

    def measured() -> float:
        started = time.perf_counter()
        for _ in range(times):
            step()
        return 1e3 * (time.perf_counter() - started) / times

    return measured


def _memory(console: Console, settings: Benchmark) -> None:
    """Print the peak memory that two steps on LeNet-5 add, where the system reports it.

    In a new process: memory that an earlier measurement has freed would not count again.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        more, seconds = fresh.submit(_two_steps, "lenet-5", settings).result()
    if more is not None:
        summary = f"LeNet-5: {more:.0f} MiB more at the peak, {seconds:.1f} s a step"
        console.print(summary, highlight=False)


def _two_steps(network: str, settings: Benchmark) -> tuple[float | None, float]:
    """Return the MiB that two steps add to the peak memory, and the seconds of one step."""
    torch.set_num_threads(settings.threads)
    task = _KernelTask(network, settings)
    environment.peak_memory_reset()
    before = environment.peak_memory_mb()
    seconds = median(_several(lambda: task.match("auto"), 1)() / 1e3 for _ in range(2))
    after = environment.peak_memory_mb()
    return None if before is None or after is None else after - before, seconds
