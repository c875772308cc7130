"""Rows of the leaderboard: means and intervals over seeds, differences paired by seed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean

from pai_bench.claims.statistics import Estimate, estimate
from pai_bench.experiment.cell import Cell
from pai_bench.store.store import Store, StoredResult


@dataclass(frozen=True)
class Difference:
    """Mean difference to another line, over the seeds that both have."""

    against: str
    estimate: Estimate


@dataclass(frozen=True)
class Missing:
    """A cell without a number, and why."""

    seed: int
    status: str
    reason: str


@dataclass(frozen=True)
class Row:
    """One method at one density: the cells that differ in their seed only."""

    label: str
    method: str
    density: float
    cells: tuple[Cell, ...]
    entries: tuple[StoredResult, ...]
    """The finished ones of `cells`."""
    missing: tuple[Missing, ...]
    accuracy: Estimate | None
    bits: Estimate | None
    """Of text: test loss of the last epoch, in bits for each symbol."""
    best_epoch: float | None
    """Mean over seeds of the best epoch's accuracy, which is selected on the test set."""
    achieved: float | None
    effective: float | None
    collapsed: int
    """Number of seeds with a layer of which nothing is kept."""
    by_position: int = 0
    """Number of seeds with a layer whose weights all scored the same: some are kept by position."""
    compacted: tuple[float, float, float] | None = None
    """Without dead units: units, parameters and inference FLOPs over the dense network's, means
    over seeds."""
    training_flops: float | None = None
    """Mean over seeds, scoring included."""
    delta: Difference | None = None
    """To the baseline with the highest mean at this density."""
    stored: tuple[StoredResult, ...] = ()
    """All results of `cells`, those that failed included."""
    sanity_check: str = ""
    """The sanity check that these cells are, if they are one."""
    checks: Mapping[str, Estimate] = field(default_factory=dict)
    """Sanity check -> accuracy of the row minus that under the check, paired by seed."""

    @cached_property
    def by_seed(self) -> dict[int, float]:
        """Last-epoch accuracy of the finished cells, by seed."""
        return {e.cell.seed: a for e in self.entries if (a := e.numbers.accuracy) is not None}


@dataclass(frozen=True)
class Board:
    """The rows of one suite, methods together, densities descending."""

    suite: str
    rows: tuple[Row, ...]
    sanity_checked: tuple[Row, ...] = ()
    """The sanity checks of the rows: not ranked, told by each row's `checks`."""

    @property
    def checks(self) -> list[str]:
        """Name the sanity checks that some row has been put to."""
        return list(dict.fromkeys(check for row in self.rows for check in row.checks))

    @property
    def evaluated(self) -> str:
        """Name the images that accuracies are measured on: test or validation."""
        return next((row.cells[0].recipe.evaluate for row in self.rows), "test")

    def best_at(self, density: float) -> str | None:
        """Name the line with the highest mean at `density`, over the seeds that all rows share."""
        return self._best.get(density)

    @cached_property
    def _best(self) -> dict[Hashable, str]:
        by_density = _by(self.rows, lambda row: row.density)
        best = {density: ranked(rows) for density, rows in by_density.items()}
        return {density: rows[0].label for density, rows in best.items() if rows}

    @property
    def uneven(self) -> list[tuple[float, list[int], list[int]]]:
        """Densities whose rows have other seeds: numbers of seeds, and the seeds that all share."""
        found = []
        for density in sorted({row.density for row in self.rows}, reverse=True):
            rows = [r for r in self.rows if r.density == density and r.accuracy is not None]
            counts = sorted({len(row.by_seed) for row in rows})
            shared = _shared_seeds(rows)
            if rows and counts != [len(shared)]:
                found.append((density, counts, sorted(shared)))
        return found


def board(store: Store, suite: str, cells: Iterable[Cell], of_papers: Iterable[str]) -> Board:
    """Compute the leaderboard of `cells` from what `store` holds of them; see `board_of`."""
    cells = list(cells)
    entries = {entry.cell.id: entry for entry in store.entries({cell.id for cell in cells})}
    return board_of(entries, suite, cells, of_papers)


def board_of(
    stored: Mapping[str, StoredResult], suite: str, cells: Iterable[Cell], of_papers: Iterable[str]
) -> Board:
    """Compute the leaderboard of `cells` from what is stored of them, by id.

    A cell that collapsed or is far off counts like any other; one that failed or has not run is
    listed with its reason. `of_papers` are the methods that are no baselines.
    """
    groups: dict[tuple[str, float, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.label, cell.density, cell.sanity_check), []).append(cell)
    all_rows = [_row(group, stored) for group in groups.values()]
    ours = frozenset(of_papers)
    order = {label: index for index, label in enumerate(dict.fromkeys(r.label for r in all_rows))}
    all_rows.sort(key=lambda r: (order[r.label], -r.density))
    plain, sanity_checked = (
        [r for r in all_rows if bool(r.sanity_check) is b] for b in (False, True)
    )
    best = {
        density: _best_baselines(of, ours)
        for density, of in _by(plain, lambda r: r.density).items()
    }
    checks = _by(sanity_checked, lambda r: (r.label, r.density))
    rows = [
        _with_checks(_with_delta(row, best[row.density]), checks.get((row.label, row.density), []))
        for row in plain
    ]
    return Board(suite, tuple(rows), tuple(sanity_checked))


def _by(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> dict[Hashable, list[Row]]:
    groups: dict[Hashable, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _row(cells: Sequence[Cell], stored: Mapping[str, StoredResult]) -> Row:
    entries = [entry for cell in cells if (entry := stored.get(cell.id)) is not None]
    done = [entry for entry in entries if _is_done(entry)]
    numbers = [entry.numbers for entry in done]
    bits = [n.bits_per_step for n in numbers if n.bits_per_step is not None]
    accuracies = [n.accuracy for n in numbers if n.accuracy is not None]
    return Row(
        label=cells[0].label,
        method=cells[0].method,
        density=cells[0].density,
        cells=tuple(cells),
        entries=tuple(done),
        missing=_missing(cells, stored) if len(done) < len(cells) else (),
        accuracy=estimate(accuracies) if accuracies else None,
        bits=estimate(bits) if bits else None,
        best_epoch=_mean_of(n.best_accuracy for n in numbers),
        achieved=_mean_of(n.density for n in numbers),
        effective=_mean_of(n.effective for n in numbers),
        collapsed=sum(n.collapsed for n in numbers),
        by_position=sum(n.by_position for n in numbers),
        compacted=_mean_shares([n.compacted for n in numbers if n.compacted]),
        training_flops=_mean_of(n.training_flops for n in numbers),
        stored=tuple(entries),
        sanity_check=cells[0].sanity_check,
    )


def _mean_shares(shares: Sequence[Sequence[float]]) -> tuple[float, float, float] | None:
    """What is left of networks when dead units are removed; None where that was not looked at."""
    if not shares:
        return None
    units, parameters, flops = map(fmean, zip(*shares, strict=True))
    return units, parameters, flops


def _is_done(entry: StoredResult) -> bool:
    """Tell whether there is a number: networks that collapsed and were skipped have one too."""
    return entry.numbers.accuracy is not None


def _missing(cells: Sequence[Cell], stored: Mapping[str, StoredResult]) -> tuple[Missing, ...]:
    """The cells without a number, and why."""
    pairs = [(cell, stored.get(cell.id)) for cell in cells]
    return tuple(
        Missing(cell.seed, entry.numbers.status, entry.numbers.reason)
        if entry
        else Missing(cell.seed, "not run", "not run yet")
        for cell, entry in pairs
        if entry is None or not _is_done(entry)
    )


def _best_baselines(rows: Iterable[Row], of_papers: frozenset[str]) -> list[Row]:
    """The two best baselines of one density, best first: what all others are compared with.

    The second one is for the first, which is not compared with itself.
    """
    return ranked(row for row in rows if row.method not in of_papers)[:2]


def ranked(rows: Iterable[Row]) -> list[Row]:
    """Rows that have a number, the highest mean first: over the seeds that all of them share.

    A row of one lucky seed does not stand above one of four. Where no seed is shared, each is
    ranked by its own mean.
    """
    measured = [row for row in rows if row.accuracy is not None]
    shared = _shared_seeds(measured)

    def mean(row: Row) -> float:
        if row.accuracy is None or len(row.by_seed) == len(shared) or not shared:
            return _mean(row)
        return fmean(row.by_seed[seed] for seed in sorted(shared))

    return sorted(measured, key=mean, reverse=True)


def _shared_seeds(rows: Sequence[Row]) -> set[int]:
    return set.intersection(*(set(row.by_seed) for row in rows)) if rows else set()


def _with_delta(row: Row, best_baselines: Sequence[Row]) -> Row:
    """Add the difference to the best baseline of its density, itself left out."""
    best = next((other for other in best_baselines if other.label != row.label), None)
    if row.accuracy is None or best is None:
        return row
    paired = paired_difference(row, best)
    if paired is None:
        return row
    return replace(row, delta=Difference(best.label, paired))


def _with_checks(row: Row, checks: Sequence[Row]) -> Row:
    """Add the difference to each of its sanity checks."""
    if not checks:
        return row
    paired = {check.sanity_check: paired_difference(row, check) for check in checks}
    return replace(
        row, checks={name: difference for name, difference in paired.items() if difference}
    )


def paired_difference(row: Row, other: Row) -> Estimate | None:
    """Estimate the difference in last-epoch accuracy over the seeds that both rows have.

    Both cells of a pair started from the same weights and saw the same batches.
    """
    ours, theirs = row.by_seed, other.by_seed
    common = sorted(ours.keys() & theirs.keys())
    return estimate([ours[seed] - theirs[seed] for seed in common]) if common else None


def _mean(row: Row) -> float:
    return row.accuracy.mean if row.accuracy is not None else float("-inf")


def _mean_of(values: Iterable[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return fmean(numbers) if numbers else None
