"""A page about how suites would run on a cluster, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from pai_bench.claims.lookup import evidence_folders
from pai_bench.cli.context import Arguments, Context
from pai_bench.experiment import grid
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.cost import GPU
from pai_bench.launch.simulation import (
    CHECKPOINT,
    SimulatedBundle,
    Sizes,
    hours_on,
    largest_checkpoints,
    simulated_bundles,
)
from pai_bench.store.store import Store
from pai_bench.store.stored_result import CELL, CURVES, RESULT, StoredResult

Work = Mapping[str, Sequence[SimulatedBundle]]
"""Bundles by suite."""


@dataclass(frozen=True)
class _Evidence:
    """What the results that are kept with the code say of all others."""

    factors: Mapping[str, float]
    records: float


def simulate(context: Context, parsed: Arguments, suites: Sequence[str]) -> int:
    """Print how suites would run on so many GPUs."""
    evidence = _evidence(context)
    work = _work(context, suites, evidence)
    lines = [*_head(parsed.gpus), *_suites(work), *_clusters(work, parsed.gpus)]
    for line in [*lines, *_assumptions(context, work, evidence)]:
        context.console.print(line, soft_wrap=True, markup=False, highlight=False)
    return 0


def _work(context: Context, suites: Sequence[str], evidence: _Evidence) -> Work:
    """Bundle each suite; a cell that several suites have is run by the first."""
    searching = {name for name, info in context.methods.items() if info.trains_to_score}
    factors = {name: factor for name, factor in evidence.factors.items() if name in searching}
    cells, known = {}, set[str]()
    for suite in suites:
        of_suite = grid.cells(context.settings, context.methods, suite)
        cells[suite] = [cell for cell in of_suite if cell.id not in known]
        known |= {cell.id for cell in of_suite}
    sizes = _sizes(context, [cell for of_suite in cells.values() for cell in of_suite], evidence)
    return {
        suite: simulated_bundles(of_suite, context.settings, searching, factors, sizes)
        for suite, of_suite in cells.items()
        if of_suite
    }


def _sizes(context: Context, cells: Sequence[Cell], evidence: _Evidence) -> Sizes:
    from pai_bench.networks.describe import describe

    settings = context.settings
    described = {}
    for network, name in dict.fromkeys((cell.network, cell.data) for cell in cells):
        data = settings.data[name]
        described[network, name] = describe(settings.networks[network], data.shape, data.classes)
    return Sizes(
        {key: sizes.prunable for key, sizes in described.items()},
        {key: sizes.parameters for key, sizes in described.items()},
        evidence.records,
    )


def _evidence(context: Context) -> _Evidence:
    """How much longer searching methods take than the dense network, and what records take."""
    spent: dict[str, float] = {}
    expected: dict[str, float] = {}
    bytes_of_records: list[int] = []
    for folder in evidence_folders():
        for path in sorted(path for path in folder.iterdir() if path.is_dir()):
            entries = [e for e in Store(folder, path.name).entries() if e.numbers.status == "done"]
            bytes_of_records += [_record_bytes(entry) for entry in entries]
            dense = [_seconds(entry) for entry in entries if entry.cell.method == "dense"]
            for entry in entries if dense else ():
                method = entry.cell.method
                if context.methods[method].trains_to_score:
                    spent[method] = spent.get(method, 0.0) + _seconds(entry)
                    expected[method] = expected.get(method, 0.0) + mean(dense)
    factors = {name: max(1.0, spent[name] / expected[name]) for name in spent}
    return _Evidence(factors, mean(bytes_of_records) if bytes_of_records else 0.0)


def _seconds(entry: StoredResult) -> float:
    return float(entry.result.seconds["total"])


def _record_bytes(entry: StoredResult) -> int:
    return sum((entry.folder / name).stat().st_size for name in (CELL, RESULT, CURVES)
               if (entry.folder / name).is_file())  # fmt: skip


def _head(gpus: Sequence[int]) -> Iterator[str]:
    asked = ",".join(map(str, gpus))
    yield "# The suites of all papers on a cluster, by simulation"
    yield ""
    yield (
        f"Made by `pai-bench plan --gpus {asked} > docs/pages/explanation/cluster-simulation.md`. "
        "No GPU has been measured: the speed of one is assumed, as said below, so that hours are "
        "good for orders of magnitude, and for what bounds a run."
    )
    yield ""


def _suites(work: Work) -> Iterator[str]:
    yield from _heading(
        "suite", "network", "data", "cells", "bundles", "networks in one, at most", "GPU-hours",
        "longest bundle, h", "results, MB", words=3,
    )  # fmt: skip
    for suite, bundles in work.items():
        cell = bundles[0].bundle.cells[0]
        hours = [one.seconds / 3600 for one in bundles]
        yield _row(
            suite, cell.network, cell.data, sum(len(one.bundle) for one in bundles), len(bundles),
            max(len(one.bundle) for one in bundles), _number(sum(hours)), _number(max(hours)),
            _number(sum(one.results for one in bundles) / 1e6),
        )  # fmt: skip
    yield ""


def _clusters(work: Work, counts: Sequence[int]) -> Iterator[str]:
    yield from _heading(
        "GPUs", "cells", "bundles", "GPU-hours", "hours until all is done", "GPUs busy",
        "checkpoints at one time, GB", "results, GB", words=0,
    )  # fmt: skip
    bundles = [one for of_suite in work.values() for one in of_suite]
    hours = sum(one.seconds for one in bundles) / 3600
    for gpus in counts:
        until = hours_on(bundles, gpus)
        yield _row(
            gpus, sum(len(one.bundle) for one in bundles), len(bundles), _number(hours),
            _number(until), f"{hours / gpus / until:.0%}",
            _number(largest_checkpoints(bundles, gpus) / 1e9),
            _number(sum(one.results for one in bundles) / 1e9),
        )  # fmt: skip
    longest = max(bundles, key=lambda one: one.seconds)
    yield ""
    yield (
        f"The longest bundle ({longest.bundle}, {longest.bundle.cells[0].network}) takes "
        f"{_number(longest.seconds / 3600)} h: more GPUs are done no sooner than that, unless "
        "several train one network."
    )
    yield ""


def _heading(*columns: str, words: int) -> Iterator[str]:
    yield _row(*columns)
    yield "|" + "---|" * words + "---:|" * (len(columns) - words)


def _row(*columns: object) -> str:
    return f"| {' | '.join(map(str, columns))} |"


def _assumptions(context: Context, work: Work, evidence: _Evidence) -> Iterator[str]:
    yield "What it rests on:"
    yield ""
    yield (
        f"- Speed: {GPU.flops:.0e} FLOP/s and {1e3 * GPU.step_overhead:g} ms a step beside them, "
        f"dense: {GPU.name}, and no particular model. `pai-bench plan` assumes the same until "
        "there are results of the machine's own GPUs."
    )
    yield (
        "- A GPU that is free takes the longest bundle that is left. Bundles are made as a run on "
        "GPUs makes them, of the size at which more networks in a stack would gain less than 5 % "
        "by these speeds; photographs, and methods that search for long, come alone. A cell that "
        "several suites have is run once."
    )
    yield f"- Searches: {_searches(context, work, evidence)}"
    yield (
        f"- Bytes: masks take one a prunable weight, and JSON {evidence.records / 1e3:.1f} kB a "
        "cell, the mean of the results kept with the code. Checkpoints are those of as many "
        f"bundles as run at one time, the largest ones, at {CHECKPOINT} bytes a parameter. Stored "
        "searches, decoded data and W&B's files come on top."
    )
    yield (
        "- Evaluation after each epoch is counted; reading and decoding data, the queue and what "
        "fails are not."
    )


def _searches(context: Context, work: Work, evidence: _Evidence) -> str:
    cells = [cell for bundles in work.values() for one in bundles for cell in one.bundle]
    names = [name for name in dict.fromkeys(cell.method for cell in cells)
             if context.methods[name].trains_to_score]  # fmt: skip
    known = ", ".join(f"{n} {evidence.factors[n]:.2g}" for n in names if n in evidence.factors)
    unknown = ", ".join(name for name in names if name not in evidence.factors)
    left_out = f"; left out, for it is not known, of {unknown}" if unknown else ""
    return (
        "a cell of a method that trains before it prunes takes, in the results kept with the code "
        f"(on CPUs, pooled over suites), so many times as long as the dense network: {known}"
        f"{left_out}. A search that cells share is counted for each of them."
    )


def _number(value: float) -> str:
    """Three significant digits, without an exponent.

    >>> _number(0.01234), _number(12.34), _number(12345.6)
    ('0.0123', '12.3', '12,346')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
