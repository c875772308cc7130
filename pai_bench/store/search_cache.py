"""Searches that several cells share: run once, stored, charged to every cell that uses them.

A method that trains before it prunes (NTT, DessiLBI) often finds in one go what the cells of many
densities, or of many ways to use what was found, need. Each such cell stays a cell of its own, with
an identity and a result; what it takes from here is what it would have found by itself, bit by bit.

    runs/searches/<id>.pt       identity, state, FLOPs and seconds of one search
                  <id>.ckpt     what an unfinished one has reached (training/search_checkpoint.py)

Who runs a search holds its lease (lease.py), and all others that need it wait.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pai_bench.config.schema import CORRUPTING
from pai_bench.core.errors import BenchError, first_line
from pai_bench.core.files import atomic_write, remove_parts
from pai_bench.core.machine import MachineFault, machine_fault
from pai_bench.experiment.cell import Cell
from pai_bench.store.integrity import check_archive
from pai_bench.store.lease import Leases, held
from pai_bench.store.lease_watch import acquire_or_wait

FOLDER = "searches"
Identity = dict[str, Any]


@dataclass(frozen=True)
class Search:
    """What a search found and what it took."""

    state: Mapping[str, Any]
    """Tensors and plain data: strings, numbers, lists, dictionaries."""
    flops: float
    seconds: float = 0.0
    """Wall-clock. `SearchCache` adds what it measures to those of earlier runs."""


class SearchCache:
    """The stored searches that cells like `cell` may share."""

    def __init__(self, runs: Path, cell: Cell, take_over: float = 60.0) -> None:
        self.folder = runs / FOLDER
        self._leases = Leases(runs, take_over, FOLDER)
        self._shared = shared_identity(cell)

    def get_or_compute(
        self, settings: Mapping[str, Any], compute: Callable[[], Search]
    ) -> tuple[str, Search]:
        """Return id and outcome of the search with `settings`; `compute` runs it if need be.

        `settings` are plain JSON data: all that the search depends on beside network, data,
        recipe, seed, precision and the version of the method. Another process that wants the same
        search waits for this one, and runs it if this one dies. Raises BenchError when a stored
        search cannot be read.
        """
        identity = self._identity(settings)
        name = search_id(identity)
        path = self.folder / f"{name}.pt"
        while lease := acquire_or_wait(self._leases, f"search-{name}", path.is_file):
            remove_parts(path)
            with held(lease):
                started = time.perf_counter()
                search = compute()
                seconds = search.seconds + time.perf_counter() - started
                if lease.renew():
                    _write(path, identity, replace(search, seconds=seconds))
                    lease.end()
        self.checkpoint(settings).unlink(missing_ok=True)
        return name, read(path)

    def checkpoint(self, settings: Mapping[str, Any]) -> Path:
        """Path of the checkpoint of the search with `settings`."""
        return self.folder / f"{search_id(self._identity(settings))}.ckpt"

    def _identity(self, settings: Mapping[str, Any]) -> Identity:
        return {**self._shared, "settings": dict(settings)}


def shared_identity(cell: Cell) -> Identity:
    """The part of a cell's identity that its search depends on, whatever the method.

    Not its density and hyper-parameters (a method says which of them matter), and not the sanity
    checks that are made of masks or weights after the search.
    """
    hashed = replace(
        cell,
        hyper={},
        density=1.0,
        sanity_check=cell.sanity_check if cell.sanity_check in CORRUPTING else "",
    ).identity
    return {key: value for key, value in hashed.items() if key != "density"}


def search_id(identity: Mapping[str, Any]) -> str:
    """First 12 hex digits of the SHA-256 of the identity as canonical JSON."""
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def read(path: Path) -> Search:
    """Read a stored search. Raises MachineFault when it is not one, or not whole."""
    try:
        check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        return Search(content["state"], content["flops"], content["seconds"])
    except (OSError, KeyError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        if fault := machine_fault(error):
            raise fault from error
        problem = f"cannot be read ({first_line(error)}); remove it to search again"
        raise MachineFault(f"{path}: {problem}") from error


def check(path: Path) -> None:
    """Raise BenchError where a file is no search, or another than its name says."""
    read(path)
    identity = torch.load(path, map_location="cpu", weights_only=True).get("identity", "")
    if not identity or search_id(json.loads(identity)) != path.stem:
        raise BenchError(f"{path}: is of another search; remove it to search again")


def is_same(one: Path, other: Path) -> bool:
    """Tell whether two stored searches have found the same, bit by bit."""
    return same_data(read(one).state, read(other).state)


def same_data(one: Any, other: Any) -> bool:
    """Compare tensors and plain data."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_data(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same_data, one, other))
    return bool(one == other)


def _write(path: Path, identity: Identity, search: Search) -> None:
    content = {"state": dict(search.state), "flops": search.flops, "seconds": search.seconds}
    with atomic_write(path, sync=True) as beside:
        torch.save({"identity": json.dumps(identity), **content}, beside)
