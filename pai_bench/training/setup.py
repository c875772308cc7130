"""How bundles are trained: settings, hardware, folder of results."""

from __future__ import annotations

import math
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch

from pai_bench.config.schema import Benchmark
from pai_bench.core import allocator, kernels, xla
from pai_bench.core.errors import BenchError, first_line
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.experiment.cell import Cell
from pai_bench.training.build import build_module, build_trainer
from pai_bench.training.checkpoint import IsLost, TrainingCheckpoint, never
from pai_bench.training.checkpoint_state import made_with
from pai_bench.training.module import SparseClassifier
from pai_bench.training.outcome import device_name
from pai_bench.training.progress import OnProgress
from pai_bench.training.rank import Rank
from pai_bench.training.search_checkpoint import SearchCheckpoint
from pai_bench.training.xla_checkpoint import XLACheckpoints


def set_deterministic(deterministic: bool) -> None:
    """Let kernels on a GPU give the same bits each time, or be as fast as they can.

    Operators that have no such kernel still run; PyTorch warns of them.
    """
    # Read by cuBLAS when it starts: https://docs.nvidia.com/cuda/cublas/#results-reproducibility
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    # Filling fresh memory with NaN costs time, and changes no result.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic


def set_process(settings: Benchmark) -> None:
    """Give this process the CPU threads and kernels of the settings, and let it keep memory."""
    allocator.keep_freed_memory()
    torch.set_num_threads(settings.threads)
    kernels.use(settings.portable)


@dataclass(frozen=True)
class TrainingSetup:
    """The arguments of `fit`, and what is built of them for each bundle."""

    settings: Benchmark
    hardware: Hardware
    plugins: tuple[Path, ...]
    on_progress: OnProgress
    runs: Path | None
    deadline: float = math.inf
    is_lost: IsLost = never
    rank: Rank | None = None
    """Which of the processes this is, where several devices train one network."""

    def trainer(self, bundle: Bundle) -> pl.Trainer:
        """Build the Trainer of a bundle.

        Raises:
            BenchError: Accelerator, devices, strategy or precision are not available here.
        """
        try:
            trainer = build_trainer(bundle, self.hardware, self.on_progress, self.rank)
        except Exception as error:
            raise BenchError(f"hardware as asked cannot be used: {first_line(error)}") from error
        if trainer.strategy.root_device.type == "cuda":
            set_deterministic(self.settings.deterministic)
        if trainer.strategy.root_device.type == "xla":
            xla.set_process()
            trainer.strategy.checkpoint_io = XLACheckpoints()
        return trainer

    def module(self, cell: Cell, device: torch.device) -> SparseClassifier:
        """Build the method of a cell; one that trains to score resumes, if it does so alone.

        Raises:
            BenchError: Method or network is unknown, or a hyper-parameter is not allowed.
        """
        module = build_module(cell, self.settings, self.plugins, self.runs)
        if module.trains_to_score and self.rank is None and device.type != "xla":
            software = made_with(device_name(device), self.plugins)
            module.search_checkpoint = SearchCheckpoint(software, self.deadline)
        return module

    @property
    def ranks_here(self) -> int:
        """Number of processes that train the network on this machine."""
        return self.rank.here if self.rank else 1

    def joined(self, device: torch.device) -> AbstractContextManager[None]:
        """Join the other processes that train the network, if there are any."""
        return self.rank.joined(device) if self.rank else nullcontext()

    def stream(self, name: str) -> str:
        """Name of a random stream that each process draws from by itself."""
        return self.rank.stream(name) if self.rank else name

    def checkpoint(self, bundle: Bundle, device: torch.device) -> TrainingCheckpoint | None:
        """Build the callback that writes checkpoints; None without a folder of results."""
        if self.runs is None:
            return None
        name = device_name(device)
        return TrainingCheckpoint(
            self.runs, bundle, name, self.plugins, self.deadline, self.is_lost
        )
