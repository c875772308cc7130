"""What was measured: finished cells of several folders of results, found by suite and method."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
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
from pai_bench.store import comparable, replayed
from pai_bench.store.replayed import Replica
from pai_bench.store.result import Result
from pai_bench.store.store import StoredResult

NOT_YET = "its cells have not run"
FAILED = "its cells failed, for reasons that are on the leaderboard"
NOT_REPLAYED = "not every printed run has been replayed so far"


class ResultLookup:
    """Reads each suite once, from all folders; a cell that lies in several counts once."""

    def __init__(
        self,
        settings: Benchmark,
        methods: Mapping[str, MethodInfo],
        folders: Sequence[Path],
    ) -> None:
        self.settings, self.methods, self.folders = settings, methods, tuple(folders)
        self._suites: dict[str, _Suite] = {}
        self._ordinary: dict[str, int | None] = {}
        self._replays: dict[tuple[str, str], Mapping[Replica, Result]] = {}

    def values(self, claim: Claim, method: MethodSpec, suite: str) -> dict[int, float] | str:
        """Measure a claim's metric by seed, or say why there is nothing to measure."""
        if claim.metric is None:
            return f"{claim.metric_name} is not measured"
        if suite.partition("+")[0] not in self.settings.suites:
            return f"no suite {suite} in benchmark.yaml"
        of_suite = self._suite(suite)
        label = self._label(method, of_suite.template)
        if label not in of_suite.densities:
            return f"{label} does not run in the suite {suite}"
        if not any(map(claim.is_at, of_suite.densities[label])):
            return f"the suite {suite} has no density {claim.density_text}"
        images = self._images(suite)
        context = MetricContext(claim.epoch, images, claim.printed_name, claim.column)
        by_seed = {
            entry.cell.seed: value
            for entry in of_suite.results.get(label, ())
            if claim.is_at(entry.cell.density)
            and (value := claim.metric(entry.result, context)) is not None
        }
        return by_seed or (FAILED if self.failed(claim, method, suite) else NOT_YET)

    def failed(self, claim: Claim, method: MethodSpec, suite: str) -> list[int]:
        """List the seeds of a line, at a claim's density, whose cells failed."""
        of_suite = self._suite(suite)
        label = self._label(method, of_suite.template)
        return sorted(
            entry.cell.seed
            for entry in of_suite.results.get(label, ())
            if claim.is_at(entry.cell.density) and entry.numbers.status == "failed"
        )

    def replays(self, claim: Claim) -> dict[int, dict[int, float]] | str:
        """What replays give for a claim, by the authors' run and our replica, or why nothing.

        A replica that is in several folders counts once: the one that was run for more steps.
        """
        found = self._replayed(claim.paper, claim.replay)
        context, by_run = MetricContext(column=claim.at), dict[int, dict[int, float]]()
        for replica, result in found.items():
            value = claim.metric(result, context) if claim.metric else None
            if value is not None:
                by_run.setdefault(replica.run, {})[replica.number] = value
        runs = claim.value.of_runs if claim.value else []
        missing = [run for run in range(1, len(runs) + 1) if run not in by_run]
        return NOT_REPLAYED if missing else by_run

    def _replayed(self, paper: str, program: str) -> Mapping[Replica, Result]:
        if (paper, program) not in self._replays:
            longest: dict[Replica, Result] = {}
            for folder in self.folders:
                for replica, result in replayed.read(folder, paper, program).items():
                    earlier = longest.get(replica)
                    if earlier is None or len(earlier.replayed) < len(result.replayed):
                        longest[replica] = result
            self._replays[paper, program] = longest
        return self._replays[paper, program]

    def is_counted(self, claim: Claim, method: MethodSpec, suite: str) -> bool:
        """Tell whether what is known of a claim was counted, without a training."""
        of_suite = self._suite(suite)
        label = self._label(method, of_suite.template)
        statuses = {
            entry.numbers.status
            for entry in of_suite.results.get(label, ())
            if claim.is_at(entry.cell.density)
        }
        return statuses - {"spectrum"} == {"counted"}

    def label(self, method: MethodSpec, suite: str) -> str | None:
        """Name the line that a method of a claims file is in a suite; None without that suite."""
        if suite.partition("+")[0] not in self.settings.suites:
            return None
        return self._label(method, self._suite(suite).template)

    def _label(self, method: MethodSpec, template: Cell) -> str:
        """Name the line of the leaderboard that a method of a claims file would be."""
        name, hyper = hyper_of(method)
        info = self.methods.get(name)
        if info is not None:
            with contextlib.suppress(BenchError):
                info.check(hyper)
                hyper = info.without_defaults(hyper)
        return replace(template, method=name, hyper=hyper).label

    def _suite(self, suite: str) -> _Suite:
        """Read a suite, or remember it."""
        if suite not in self._suites:
            planned = grid.cells(with_overrides(self.settings, suite), self.methods, suite)
            asked = self.folders, suite, planned, self.methods
            trained = comparable.of_folders(*asked).entries.values()
            spectra = comparable.stored_spectra(*asked)
            self._suites[suite] = _Suite.of(planned, [*trained, *spectra])
        return self._suites[suite]

    def _images(self, suite: str) -> int | None:
        if suite not in self._ordinary:
            self._ordinary[suite] = cost.ordinary_images(self.settings, suite)
        return self._ordinary[suite]


@dataclass(frozen=True)
class _Suite:
    """The planned cells of a suite and all comparable finished ones, by label."""

    template: Cell
    """Any cell of it: they share network, data and recipe."""
    densities: Mapping[str, Set[float]]
    results: Mapping[str, Sequence[StoredResult]]
    """Without those of sanity checks."""

    @classmethod
    def of(cls, planned: Sequence[Cell], entries: Iterable[StoredResult]) -> _Suite:
        densities: dict[str, set[float]] = {}
        for cell in planned:
            densities.setdefault(cell.label, set()).add(cell.density)
        results: dict[str, list[StoredResult]] = {}
        for entry in entries:
            if not entry.cell.sanity_check:
                results.setdefault(entry.cell.label, []).append(entry)
        return cls(planned[0], densities, results)


def evidence_folders(root: Path = ROOT) -> list[Path]:
    """List the folders of results that are kept with the code."""
    folders = [root / "baselines/evidence", *sorted((root / "reproductions").glob("*/evidence"))]
    return [folder for folder in folders if folder.is_dir()]
