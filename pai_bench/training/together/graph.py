"""The step of a stack as a CUDA graph: all its kernels are launched at once, without Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from pai_bench.training.together.data import BundleBatch

WARM_UP = 3
"""Steps before the one that is captured: kernels are chosen, and momentum begins."""
Step = Callable[[BundleBatch], Tensor]


class Device(Protocol):
    """What a graph asks of its device."""

    def warm_up(self, step: Callable[[], Tensor]) -> Tensor:
        """Do a step as capturing wants those before it."""

    def capture(self, step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Record a step without doing it; return what does it, and where its result will be."""


class GPU:
    """A GPU: steps before a capture are on a stream of their own, as PyTorch's manual asks."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()

    def warm_up(self, step: Callable[[], Tensor]) -> Tensor:
        """Do a step on the stream; what comes next waits for it."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            result = step()
        torch.cuda.current_stream().wait_stream(self._stream)
        return result

    def capture(self, step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Record the kernels of a step."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = step()
        return graph.replay, result


def graph_device(device: torch.device) -> Device | None:
    """What records steps on a device; None where nothing does."""
    return GPU() if device.type == "cuda" else None


def can_be_graphed(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimizer takes its learning rate from the device, so that a graph can follow it.

    Adam counts its steps on the CPU, and SGD's kernel reads a rate of 32 bits.
    """
    tensors = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    is_single = all(tensor.dtype == torch.float32 for tensor in tensors)
    return isinstance(optimizer, torch.optim.SGD) and is_single


class GraphedStep:
    """Trains on batches of the largest size by a graph, on others, as the last of a pass, without.

    Args:
        step: Trains on a batch and returns losses. It has to do the same each time, and neither
            reads a number from the device nor draws from the CPU.
        optimizer: The one that it steps; its learning rates become tensors on the device.
        device: Where the tensors are.
    """

    def __init__(self, step: Step, optimizer: torch.optim.Optimizer, device: Device) -> None:
        self._step, self._optimizer, self._device = step, optimizer, device
        self._warm = self._size = 0
        self._inputs: BundleBatch | None = None
        self._replay: Callable[[], None]
        self._losses: Tensor

    def __call__(self, batch: BundleBatch) -> Tensor:
        """Train on a batch; the losses are valid until the next one."""
        if self._warm < WARM_UP:
            self._warm, self._size = self._warm + 1, max(self._size, batch.size)
            self._move_rates()
            return self._device.warm_up(lambda: self._step(batch))
        if batch.size != self._size:
            return self._step(batch)
        self._load(batch, self._inputs or self._capture(batch))
        self._replay()
        return self._losses

    def _move_rates(self) -> None:
        """Make the learning rates tensors on the device, which the schedule fills.

        A checkpoint has them too, wherever they were when it was read.
        """
        for group in self._optimizer.param_groups:
            device = group["params"][0].device
            group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=device)

    def _capture(self, batch: BundleBatch) -> BundleBatch:
        """Record a step; return the tensors that it reads."""
        inputs = BundleBatch([(x.clone(), y.clone()) for x, y in batch.of_seeds], batch.seed_of)
        self._replay, self._losses = self._device.capture(lambda: self._step(inputs))
        self._inputs = inputs
        return inputs

    def _load(self, batch: BundleBatch, inputs: BundleBatch) -> None:
        for of_seed, new in zip(inputs.of_seeds, batch.of_seeds, strict=True):
            for tensor, value in zip(of_seed, new, strict=True):
                tensor.copy_(value)
