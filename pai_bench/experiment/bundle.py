"""Bundles: cells that a launcher hands to a worker, to be trained together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pai_bench.core.errors import BenchError
from pai_bench.experiment.cell import Cell

SHARED = (
    "network", "network_version", "data", "digest", "mean", "std", "recipe", "precision",
)  # fmt: skip
"""Fields that the cells of a bundle have in common; method, density, seed and check may differ."""


@dataclass(frozen=True)
class Bundle:
    """K ≥ 1 cells that share network, data, recipe and precision, and so a device.

    Bundles organise work and are part of no identity: a cell has the same result in any bundle.

    Raises:
        BenchError: There is no cell, or two differ in what a bundle shares.
    """

    cells: tuple[Cell, ...]

    def __post_init__(self) -> None:
        if not self.cells:
            raise BenchError("a bundle holds at least one cell")
        for cell in self.cells[1:]:
            for field in SHARED:
                if getattr(cell, field) != getattr(self.cells[0], field):
                    raise BenchError(f"cells {self.cells[0].id} and {cell.id} differ in {field}")

    @property
    def id(self) -> str:
        """The id of a single cell; else 12 hex digits that depend on the cells and their order."""
        ids = [cell.id for cell in self.cells]
        return ids[0] if len(ids) == 1 else hashlib.sha256("".join(ids).encode()).hexdigest()[:12]

    def alone(self) -> list[Bundle]:
        """Each cell as a bundle of its own."""
        return [Bundle((cell,)) for cell in self.cells]

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)

    def __str__(self) -> str:
        more = f" and {len(self) - 1} more" if len(self) > 1 else ""
        return f"{self.cells[0]}{more}"


def bundles(cells: Sequence[Cell], size: int = 1) -> list[Bundle]:
    """Group cells into bundles of at most `size`, in their order.

    Only cells that agree in all fields of `SHARED` come into one bundle.

    >>> bundles([])
    []
    """
    by_key: dict[tuple[Any, ...], list[list[Cell]]] = {}
    groups: list[list[Cell]] = []
    for cell in cells:
        matching = by_key.setdefault(tuple(getattr(cell, field) for field in SHARED), [])
        if not matching or len(matching[-1]) == size:
            matching.append([])
            groups.append(matching[-1])
        matching[-1].append(cell)
    return [Bundle(tuple(group)) for group in groups]
