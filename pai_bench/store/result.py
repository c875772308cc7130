"""What is known of a cell after it ran: a typed record that is stored as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, ConfigDict, TypeAdapter

from pai_bench.sparsity.perceptron import Architecture

Status = Literal["done", "failed", "skipped", "counted", "replayed", "spectrum"]
"""`counted`: FLOPs without a training; a result of the training replaces it. `replayed`: values of
a program of a paper's authors, which is no cell (store/replayed.py). `spectrum`: of the network
before its training, which stands beside the result of that (store/spectra.py)."""
FINISHED: tuple[Status, ...] = ("done", "skipped")
"""A network that has been evaluated."""
FINITE = ConfigDict(allow_inf_nan=False, extra="forbid")


def _with_sources(environment: Mapping[str, Any]) -> Mapping[str, Any]:
    """Check what is read of an environment: it is free in what else it holds."""
    data = environment.get("data") or {}
    if not isinstance(data, Mapping) or not isinstance(data.get("source", ""), str):
        raise ValueError("data: has no source")
    if not isinstance(environment.get("packages") or {}, Mapping):
        raise ValueError("packages: are no versions by name")
    if not isinstance(environment.get("command", ""), str):
        raise ValueError("command: is no text")
    return environment


def precedence(status: Status) -> int:
    """Order of what stays of two results of a cell: finished, then failed, then counted ones."""
    return 2 if status in FINISHED else int(status == "failed")


@dataclass(frozen=True, slots=True)
class Layer:
    """One prunable weight tensor: numbers of weights."""

    name: str
    shape: tuple[int, ...]
    total: int
    kept_start: int
    kept_end: int
    effective: int
    """Kept weights at the end that lie on a path from an input to an output."""


@dataclass(frozen=True)
class Accuracy:
    """Test accuracy, as fractions. The leaderboard ranks by the last epoch."""

    __pydantic_config__ = FINITE

    last: float
    best: float
    """The best of all epochs: selected on the test set, reported because papers do."""
    best_epoch: int


@dataclass(frozen=True)
class Flops:
    """Floating-point operations, 2 per multiply-accumulate of conv and linear layers."""

    __pydantic_config__ = FINITE

    inference_dense: float
    """One image through the dense network."""
    inference: float
    """One image through the masked network, only kept weights counted."""
    scoring: float
    """All that choosing the masks took, counted on the operators that really ran."""
    training: float
    """Scoring, and for each training image seen three times inference with the masks of that time,
    more where gradients were dense (sparsity/training_cost.py)."""


@dataclass(frozen=True)
class CompactedNetwork:
    """The smaller dense network that computes what the masked one does (sparsity/compact.py)."""

    __pydantic_config__ = FINITE

    units: int
    """Output channels and neurons of all conv and linear layers."""
    units_dense: int
    parameters: int
    parameters_dense: int
    flops: float
    """One image through it."""

    def shares(self, flops: Flops) -> list[float]:
        """Units, parameters and inference FLOPs, over those of the dense network."""
        return [
            self.units / self.units_dense,
            self.parameters / self.parameters_dense,
            self.flops / flops.inference_dense,
        ]


@dataclass(frozen=True)
class TangentSpectrum:
    """Eigenvalues of tangent kernels before the first step, the largest first, of six digits."""

    __pydantic_config__ = FINITE

    eigenvalues: tuple[float, ...]
    dense: tuple[float, ...]
    """Those of the network from which nothing is pruned, with the same weights and images."""
    images: int


class Numbers(NamedTuple):
    """What tables show of a result: few enough that thousands are read at once (store/index.py)."""

    status: Status
    reason: str
    accuracy: float | None
    """Of the last epoch."""
    best_accuracy: float | None
    bits_per_step: float | None
    density: float | None
    effective: float | None
    collapsed: bool
    """Whether some layer has lost all its weights."""
    by_position: bool
    """Whether the weights of some layer all scored the same."""
    compacted: Sequence[float] | None
    """Units, parameters and FLOPs without dead units, over those of the dense network."""
    training_flops: float | None


@dataclass(frozen=True)
class Result:
    """Outcome of one cell. Failures and skips are results too: they have a reason, and no rest."""

    __pydantic_config__ = FINITE

    status: Status
    reason: str = ""
    traceback: str = ""
    accuracy: Accuracy | None = None
    accuracy_after: Mapping[str, float] = field(default_factory=dict)
    """Number of steps -> test accuracy, where the recipe asks for it (`evaluate_at`)."""
    train_accuracy: float | None = None
    """At the end, of a part of the training images (the recipe's `evaluate_train`)."""
    measured: Mapping[str, Any] = field(default_factory=dict)
    """What only this method has to measure: plain data, by names of its own."""
    bits_per_step: float | None = None
    """Of text: mean test loss of the last epoch, in bits for each symbol."""
    density: float | None = None
    """Achieved: kept over prunable, at the end of training."""
    effective: float | None = None
    collapsed: tuple[str, ...] = ()
    """Layers of which nothing is kept."""
    constant_scores: tuple[str, ...] = ()
    """Layers whose weights all scored the same: what is kept of them, is by position."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Number of weights in each matrix and kernel that no mask covers, by parameter name."""
    layers: tuple[Layer, ...] = ()
    flops: Flops | None = None
    sparse_bytes: float | None = None
    """Of weights, biases and masks in memory (sparsity/account.py)."""
    compacted: CompactedNetwork | None = None
    """Of methods whose masks come in whole units, on networks that can be traced."""
    architecture: Architecture | None = None
    """Of networks that are linear layers in a row, all of them masked."""
    replayed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Of replays: values by column of the claims, then by metric."""
    spectrum: TangentSpectrum | None = None
    """Of results with the status `spectrum`."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall-clock seconds of data, score, train and eval; `total` has the overhead too."""
    memory_mb: float | None = None
    """Peak memory while the cell ran: of the device on a GPU, of the process on a CPU."""
    hyper: Mapping[str, Any] = field(default_factory=dict)
    """All hyper-parameters of the method, defaults included."""
    environment: Annotated[Mapping[str, Any], AfterValidator(_with_sources)] = field(
        default_factory=dict
    )

    @property
    def numbers(self) -> Numbers:
        """What tables show of it."""
        accuracy, flops = self.accuracy, self.flops
        return Numbers(
            self.status,
            self.reason,
            accuracy.last if accuracy else None,
            accuracy.best if accuracy else None,
            self.bits_per_step,
            self.density,
            self.effective,
            bool(self.collapsed),
            bool(self.constant_scores),
            self.compacted.shares(flops) if self.compacted and flops else None,
            flops.training if flops else None,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        fields = asdict(self)
        for name in ("replayed", "spectrum"):
            if not getattr(self, name):
                del fields[name]
        return {"shrunk" if name == "compacted" else name: fields[name] for name in fields}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Result:
        """Build the record back from `to_json()`. Raises ValueError for what is none."""
        values = {"compacted" if name == "shrunk" else name: fields[name] for name in fields}
        return _validator().validate_python(values)


@cache
def _validator() -> TypeAdapter[Result]:
    """Checks types, and that numbers are finite: files may have been edited."""
    return TypeAdapter(Result)
