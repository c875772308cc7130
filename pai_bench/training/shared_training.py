"""A training that other nodes take part in, as node 0 tells them of it: plain data, no pickle."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

from pydantic import TypeAdapter

from pai_bench.config.schema import Benchmark
from pai_bench.core.hardware import Hardware
from pai_bench.experiment.bundle import Bundle
from pai_bench.training.progress import ignore
from pai_bench.training.setup import TrainingSetup


@dataclass(frozen=True)
class SharedTraining:
    """What a node needs to know of a training."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"ser_json_inf_nan": "constants"}

    bundle: Bundle
    """One cell."""
    settings: Benchmark
    hardware: Hardware
    ranks: int
    """Number of processes on each node."""
    plugins: tuple[Path, ...]
    runs: Path | None
    deadline: float
    port: int
    """Where rank 0 is met."""

    @classmethod
    def of(cls, bundle: Bundle, setup: TrainingSetup, port: int) -> SharedTraining:
        """Describe a training of this node."""
        return cls(
            bundle, setup.settings, setup.hardware, setup.hardware.ranks,
            tuple(path.resolve() for path in setup.plugins),
            setup.runs.resolve() if setup.runs else None, setup.deadline, port,
        )  # fmt: skip

    @classmethod
    def of_json(cls, text: str) -> SharedTraining:
        """Read what `as_json` wrote."""
        return _trainings().validate_json(text)

    def as_json(self) -> str:
        """Write it."""
        return _trainings().dump_json(self).decode()

    def setup(self) -> TrainingSetup:
        """What this node trains by."""
        return TrainingSetup(
            self.settings, self.hardware, self.plugins, ignore, self.runs, self.deadline
        )


@cache
def _trainings() -> TypeAdapter[SharedTraining]:
    return TypeAdapter(SharedTraining)
