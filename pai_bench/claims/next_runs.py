"""What to run for claims that have no verdict, cheapest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, islice

from pai_bench.claims.lookup import NOT_YET, ResultLookup
from pai_bench.claims.schema import Claim, Claims, MethodSpec
from pai_bench.claims.verdicts import SEEDS, Verdict, judge
from pai_bench.config.overrides import with_overrides
from pai_bench.config.schema import Benchmark
from pai_bench.experiment import grid
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.grid import Selection
from pai_bench.registry.declaration import MethodInfo

Seconds = Callable[[Sequence[Cell], Benchmark], float]
"""How long cells take on this machine; the settings hold their suite."""


@dataclass
class NextRun:
    """Cells of one or two suites that no result is known of, and the claims that need them."""

    cells: dict[str, list[Cell]]
    """By suite."""
    claims: list[str] = field(default_factory=list)
    """As `paper:id`."""
    seconds: float = 0.0

    @property
    def ids(self) -> frozenset[str]:
        """Of all its cells."""
        return frozenset(cell.id for cells in self.cells.values() for cell in cells)


class NextRuns:
    """Finds what would decide claims.

    Args:
        settings: The benchmark.
        methods: Declarations of the methods.
        measured: Results so far.
        seconds: Estimate of what cells take.
    """

    def __init__(
        self,
        settings: Benchmark,
        methods: Mapping[str, MethodInfo],
        measured: ResultLookup,
        seconds: Seconds,
    ) -> None:
        self._settings, self._methods = settings, methods
        self._measured, self._seconds = measured, seconds
        self._cells: dict[tuple[str, tuple[int, ...]], list[Cell]] = {}

    def of(self, papers: Iterable[Claims]) -> list[NextRun]:
        """List runs by how long they take, each without the cells of those before it.

        An inconclusive claim asks for as many seeds as would probably decide it; one that no number
        of seeds would decide asks for none. Replays, spectra and accounting runs are not listed.
        """
        by_cells: dict[frozenset[str], NextRun] = {}
        for claims in papers:
            for verdict in judge(claims, self._measured):
                run = NextRun(self._missing(verdict))
                if run.cells:
                    known = by_cells.setdefault(run.ids, run)
                    known.claims.append(f"{claims.content.paper}:{verdict.claim.id}")
        for run in by_cells.values():
            run.seconds = self._cost(run)
        ordered = sorted(by_cells.values(), key=lambda run: run.seconds)
        return list(self._without_earlier(ordered))

    def _without_earlier(self, ordered: Iterable[NextRun]) -> Iterator[NextRun]:
        """Leave out cells of earlier runs; what is left of nothing joins the run before it."""
        listed: set[str] = set()
        before: NextRun | None = None
        for run in ordered:
            for suite, cells in list(run.cells.items()):
                run.cells[suite] = [cell for cell in cells if cell.id not in listed]
            listed |= run.ids
            if before is not None and not run.ids:
                before.claims += run.claims
                continue
            run.seconds, before = self._cost(run), run
            yield run

    def _cost(self, run: NextRun) -> float:
        return sum(
            self._seconds(cells, with_overrides(self._settings, suite))
            for suite, cells in run.cells.items()
        )

    def _missing(self, verdict: Verdict) -> dict[str, list[Cell]]:
        """Cells that the claim needs and nothing is known of, by suite."""
        claim = verdict.claim
        few = verdict.state == "inconclusive" and (verdict.needed or verdict.adjusted is None)
        if (
            claim.replay
            or claim.of_untrained
            or verdict.failed
            or not (few or (verdict.state == "not run" and verdict.reason == NOT_YET))
        ):
            return {}
        missing: dict[str, list[Cell]] = {}
        for method, suite in ((claim.method, claim.suite), (claim.against, claim.against_suite)):
            if method is not None and suite:
                cells = self._of_line(claim, method, suite, verdict.needed or 0)
                missing.setdefault(suite, []).extend(cells)
        return {suite: cells for suite, cells in missing.items() if cells}

    def _of_line(self, claim: Claim, method: MethodSpec, suite: str, needed: int) -> list[Cell]:
        """Cells of one line at the claim's density, of seeds without a value."""
        known = self._measured.values(claim, method, suite)
        if isinstance(known, str) and known != NOT_YET:
            return []
        have = set() if isinstance(known, str) else set(known)
        label = self._measured.label(method, suite)
        return [
            cell
            for cell in self._planned(suite, needed)
            if cell.label == label and claim.is_at(cell.density) and cell.seed not in have
            and not cell.sanity_check
        ]  # fmt: skip

    def _planned(self, suite: str, needed: int) -> list[Cell]:
        """Cells of a suite, of its own seeds and of as many further ones as are needed."""
        settings = with_overrides(self._settings, suite)
        own = settings.suites[suite].seeds
        further = (seed for seed in count(1) if seed not in own)
        seeds = tuple(islice(chain(own, further), max(needed, SEEDS, len(own))))
        if (suite, seeds) not in self._cells:
            selection = Selection(seeds=seeds)
            self._cells[suite, seeds] = grid.cells(settings, self._methods, suite, selection)
        return self._cells[suite, seeds]


def within(runs: Sequence[NextRun], budget: float) -> dict[str, list[Cell]]:
    """Cells of the first runs that fit into a time together, one run at least, by suite."""
    chosen: dict[str, list[Cell]] = {}
    spent = 0.0
    for run in runs:
        spent += run.seconds
        if chosen and spent > budget:
            break
        for suite, cells in run.cells.items():
            chosen.setdefault(suite, []).extend(cells)
    return chosen
