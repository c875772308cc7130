"""How bundles are trained: settings, hardware, folder of results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch

from pai_bench.config.schema import Benchmark
from pai_bench.core.errors import BenchError, first_line
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.training.build import build_trainer
from pai_bench.training.checkpoint import TrainingCheckpoint
from pai_bench.training.outcome import device_name
from pai_bench.training.progress import OnProgress


@dataclass(frozen=True)
class TrainingSetup:
    """The arguments of `fit`, and what is built of them for each bundle."""

    settings: Benchmark
    hardware: Hardware
    plugins: tuple[Path, ...]
    on_progress: OnProgress
    runs: Path | None
    deadline: float = math.inf

    def trainer(self, bundle: Bundle) -> pl.Trainer:
        """Build the Trainer of a bundle.

        Raises:
            BenchError: Accelerator, devices, strategy or precision are not available here.
        """
        try:
            return build_trainer(bundle, self.hardware, self.on_progress)
        except Exception as error:
            raise BenchError(f"hardware as asked cannot be used: {first_line(error)}") from error

    def checkpoint(self, bundle: Bundle, device: torch.device) -> TrainingCheckpoint | None:
        """Build the callback that writes checkpoints; None without a folder of results."""
        if self.runs is None:
            return None
        name = device_name(device)
        return TrainingCheckpoint(self.runs, bundle, name, self.plugins, self.deadline)
