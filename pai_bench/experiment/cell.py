"""One point of the grid: a frozen record whose hash is its identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from pai_bench.config.schema import Data, Recipe

PROTOCOL = 1
"""Raised on any change of the harness that may change a result, so that identities differ."""
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_STORED = {"sanity_check": "ablation"}
"""Field -> its key in stored results, where that is the field's former name."""
_FIELDS = {stored: name for name, stored in _STORED.items()}


@dataclass(frozen=True)
class Cell:
    """Method, network, data, recipe, density and seed of one training run.

    `hyper` holds the hyper-parameters that differ from the method's defaults.
    """

    method: str
    network: str
    data: str
    recipe: Recipe
    density: float
    seed: int
    digest: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    hyper: Mapping[str, Any] = field(default_factory=dict)
    method_version: int = 1
    network_version: int = 1
    precision: str = "32-true"
    sanity_check: str = ""
    """Name of the sanity check, empty for an ordinary run (training/sanity_checks.py)."""

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The record that is hashed.

        Defaults of the recipe, the method and the precision are left out, so that a new option
        whose default keeps the behaviour changes no identity. The accelerator is not included (it
        is in the result's environment): a cell is the same experiment on every machine.
        """
        record: dict[str, Any] = {
            "protocol": PROTOCOL,
            "method": {
                "name": self.method,
                "version": self.method_version,
                **_hyper_entry(self.hyper),
            },
            "network": {"name": self.network, "version": self.network_version},
            "data": {
                "name": self.data,
                "digest": self.digest,
                "mean": self.mean,
                "std": self.std,
            },
            "recipe": self.recipe.model_dump(mode="json", exclude_defaults=True),
            "density": self.density,
            "seed": self.seed,
        }
        if self.precision != "32-true":
            record["precision"] = self.precision
        if self.sanity_check:
            record["ablation"] = self.sanity_check
        return record

    @cached_property
    def id(self) -> str:
        """First 12 hex digits of the SHA-256 of the identity as canonical JSON."""
        canonical = _CANONICAL.encode(self.identity)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @cached_property
    def kind(self) -> tuple[Hashable, ...]:
        """What two cells must share to stand on one board."""
        data = self.data, self.digest, self.mean, self.std
        return self.network, self.network_version, *data, self.recipe, self.precision

    @property
    def label(self) -> str:
        """Method and hyper-parameters: the line of the leaderboard that this cell belongs to.

        >>> Cell("random", "n", "d", None, .1, 1, "", (), (), {"scope": "local"}).label
        'random (scope=local)'
        """
        if not self.hyper:
            return self.method
        options = ", ".join(f"{key}={value}" for key, value in sorted(self.hyper.items()))
        return f"{self.method} ({options})"

    def __str__(self) -> str:
        sanity_check = f" · {self.sanity_check}" if self.sanity_check else ""
        return f"{self.label}{sanity_check} · density {self.density:g} · seed {self.seed}"

    def resolved(self) -> dict[str, Any]:
        """Return all fields, defaults included, as JSON data."""
        fields = {_STORED.get(k, k): v for k, v in asdict(self).items()}
        return {**fields, "recipe": self.recipe.model_dump(mode="json")}

    @classmethod
    def from_resolved(cls, fields: Mapping[str, Any]) -> Cell:
        """Restore a cell from the data of `resolved()`.

        Raises:
            ValueError: It is none; or KeyError, TypeError.
        """
        values = {_FIELDS.get(key, key): value for key, value in fields.items()}
        statistics = {key: tuple(fields[key]) for key in ("mean", "std")}
        cell = cls(**{**values, **statistics, "recipe": _recipe(json.dumps(fields["recipe"]))})
        _check_types(cell)
        return cell


def _check_types(cell: Cell) -> None:
    """Raise ValueError where a field of a cell that was read is not of its type."""
    texts = (cell.method, cell.network, cell.data, cell.digest, cell.precision, cell.sanity_check)
    whole = cell.seed, cell.method_version, cell.network_version
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a name is no text")
    if not all(type(number) is int and 0 <= number < 2**63 for number in whole):
        raise ValueError("seed or version is no number")
    if not (isinstance(cell.density, float | int) and 0 < cell.density <= 1):
        raise ValueError(f"density {cell.density!r} is impossible")
    if not all(isinstance(value, float | int) for value in (*cell.mean, *cell.std)):
        raise ValueError("mean or std is no number")
    if not isinstance(cell.hyper, Mapping):
        raise ValueError("hyper-parameters have no names")


@lru_cache(maxsize=256)
def _recipe(text: str) -> Recipe:
    """Read a recipe, cached: thousands of cells share one."""
    return Recipe.model_validate_json(text)


def _hyper_entry(hyper: Mapping[str, Any]) -> dict[str, Any]:
    return {"hyper": dict(hyper)} if hyper else {}


def data_fields(data: Data) -> dict[str, Any]:
    """Return the fields of a cell that come from the settings of its data set."""
    return {"digest": data.version, "mean": data.mean, "std": data.std}
