"""What was measured: finished cells of several folders of results, found by suite and method."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isclose
from pathlib import Path

from pai_bench.claims.metric_registry import MetricContext
from pai_bench.claims.schema import Claim, MethodSpec, hyper_of
from pai_bench.config.overrides import with_overrides
from pai_bench.config.schema import Benchmark
from pai_bench.core.errors import BenchError
from pai_bench.core.project import ROOT
from pai_bench.experiment import cost, grid
from pai_bench.experiment.cell import Cell
from pai_bench.registry.declaration import MethodInfo
from pai_bench.store import comparable
from pai_bench.store.store import Store, StoredResult

SAME = 1e-3
"""Relative difference below which two densities are the same: papers print few digits."""

NOT_YET = "its cells have not run"


class ResultLookup:
    """Reads each suite once, from all folders; a cell that lies in several counts once."""

    def __init__(
        self,
        settings: Benchmark,
        methods: Mapping[str, MethodInfo],
        folders: Sequence[Path],
    ) -> None:
        self.settings, self.methods, self.folders = settings, methods, tuple(folders)
        self._suites: dict[str, tuple[list[Cell], list[StoredResult]]] = {}
        self._ordinary: dict[str, int | None] = {}

    def values(self, claim: Claim, method: MethodSpec, suite: str) -> dict[int, float] | str:
        """Measure a claim's metric by seed, or say why there is nothing to measure."""
        if claim.metric is None:
            return f"{claim.metric_name} is not measured"
        if suite.partition("+")[0] not in self.settings.suites:
            return f"no suite {suite} in benchmark.yaml"
        planned, entries = self._suite(suite)
        label = self._label(method, planned[0])
        densities = [cell.density for cell in planned if cell.label == label]
        if not densities:
            return f"{label} does not run in the suite {suite}"
        if not any(isclose(density, claim.density, rel_tol=SAME) for density in densities):
            return f"the suite {suite} has no density {claim.at}"
        context = MetricContext(claim.epoch, self._images(suite))
        found = {
            entry.cell.seed: claim.metric(entry.result, context)
            for entry in entries
            if entry.cell.label == label
            and isclose(entry.cell.density, claim.density, rel_tol=SAME)
            and not entry.cell.sanity_check
        }
        return {seed: v for seed, v in found.items() if v is not None} or NOT_YET

    def label(self, method: MethodSpec, suite: str) -> str | None:
        """Name the line that a method of a claims file is in a suite; None without that suite."""
        if suite.partition("+")[0] not in self.settings.suites:
            return None
        return self._label(method, self._suite(suite)[0][0])

    def _label(self, method: MethodSpec, template: Cell) -> str:
        """Name the line of the leaderboard that a method of a claims file would be."""
        name, hyper = hyper_of(method)
        info = self.methods.get(name)
        if info is not None:
            with contextlib.suppress(BenchError):
                info.check(hyper)
                hyper = info.without_defaults(hyper)
        return replace(template, method=name, hyper=hyper).label

    def _suite(self, suite: str) -> tuple[list[Cell], list[StoredResult]]:
        """The planned cells of a suite, and all comparable finished ones."""
        if suite not in self._suites:
            planned = grid.cells(with_overrides(self.settings, suite), self.methods, suite)
            found: dict[str, StoredResult] = {}
            for folder in self.folders:
                store = Store(folder, suite)
                found = {**comparable.stored_cells(store, planned, self.methods).entries, **found}
            self._suites[suite] = planned, list(found.values())
        return self._suites[suite]

    def _images(self, suite: str) -> int | None:
        if suite not in self._ordinary:
            self._ordinary[suite] = cost.ordinary_images(self.settings, suite)
        return self._ordinary[suite]


def evidence_folders(root: Path = ROOT) -> list[Path]:
    """List the folders of results that are kept with the code."""
    found = [root / "baselines/evidence", *sorted((root / "reproductions").glob("*/evidence"))]
    return [folder for folder in found if folder.is_dir()]
