"""Checkpoints of trainings on an XLA device."""

from __future__ import annotations

from typing import Any

from lightning_fabric.plugins import TorchCheckpointIO, XLACheckpointIO
from torch import Tensor

from pai_bench.core.nested import map_tensors


class XLACheckpoints(XLACheckpointIO):
    """Writes a checkpoint as it is; torch_xla would make lists of its tuples, which may be keys."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint with all tensors on the CPU."""
        on_cpu = map_tensors(checkpoint, Tensor.cpu)
        TorchCheckpointIO.save_checkpoint(self, on_cpu, path, storage_options)
