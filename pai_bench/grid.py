"""Settings -> the list of cells to run, and what they will cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pai_bench.cell import Cell, data_fields
from pai_bench.config import Benchmark, Suite, method_entry
from pai_bench.errors import BenchError, unknown
from pai_bench.methods.declaration import MethodInfo


@dataclass(frozen=True)
class Selection:
    """What of a suite is asked for; an empty part means all of it."""

    methods: tuple[str, ...] = ()
    densities: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    precision: str = "32-true"
    ablations: tuple[str, ...] = ()
    """Sanity checks to run beside the methods, besides those of the suite."""
    more: tuple[str, ...] = ()
    """Methods to run beside those of the suite, where none is chosen."""


def suite_of_paper(settings: Benchmark, paper: str, short: str = "quick") -> tuple[str, Selection]:
    """Find the suite that re-runs `paper`, and the methods to run in it.

    The methods are the paper's own and every baseline of the suite: all that belong to no paper.
    """
    if paper not in settings.papers:
        raise unknown("paper", paper, settings.papers)
    suites = settings.papers[paper].suites
    if short not in suites:
        raise unknown(f"suite of paper {paper}", short, suites)
    of_others = {
        name
        for key, other in settings.papers.items()
        if key != paper
        for name in other.methods
        if name not in settings.papers[paper].methods
    }
    suite = settings.suites[suites[short]]
    names = [name for entry in suite.methods for name in method_entry(entry)]
    return suites[short], Selection(methods=tuple(n for n in names if n not in of_others))


def cells(
    settings: Benchmark,
    methods: Mapping[str, MethodInfo],
    suite_name: str,
    selection: Selection | None = None,
) -> list[Cell]:
    """List the cells of a suite: seeds outermost, so that early results compare all methods.

    A method that does not prune runs once per seed, at density 1. All others run below density 1:
    at density 1 each of them *is* the dense network. Methods named in `selection` that the suite
    does not list (plugins) run with their default hyper-parameters. What is listed twice runs once.

    Raises BenchError for an unknown suite, method or an empty grid.
    """
    if suite_name not in settings.suites:
        raise unknown("suite", suite_name, settings.suites)
    suite, selection = settings.suites[suite_name], selection or Selection()
    _check_densities(selection.densities)
    data = settings.data[suite.data]
    network = settings.networks[suite.network]
    template = Cell(
        method="",
        network=suite.network,
        network_version=network.version,
        data=suite.data,
        recipe=settings.recipes[suite.recipe],
        density=1.0,
        seed=0,
        precision=selection.precision,
        **data_fields(data),
    )
    ablations = ("", *suite.ablations, *selection.ablations)
    found = [
        replace(cell, seed=seed, ablation=ablation)
        for seed in selection.seeds or suite.seeds
        for line in _lines(suite, methods, selection, template)
        for cell in line
        for ablation in (ablations if methods[cell.method].prunes else ("",))
    ]
    if not found:
        raise BenchError(f"suite {suite_name}: no cell is left to run by this choice")
    return list({cell.id: cell for cell in found}.values())


def _check_densities(densities: Iterable[float]) -> None:
    for density in densities:
        if not 0 < density <= 1:
            raise BenchError(f"density {density:g} is impossible: it must be above 0, at most 1")


def _lines(
    suite: Suite, methods: Mapping[str, MethodInfo], selection: Selection, template: Cell
) -> list[list[Cell]]:
    """One list of cells, over the densities, for each chosen method."""
    entries = [pair for entry in suite.methods for pair in method_entry(entry).items()]
    listed = {name for name, _ in entries}
    for name in selection.methods or selection.more:
        if name not in methods:
            raise unknown("method", name, methods)
        if name not in listed:
            entries.append((name, {}))
    chosen = [e for e in entries if not selection.methods or e[0] in selection.methods]
    lines = []
    for name, hyper in chosen:
        info = methods[name]
        cell = replace(
            template,
            method=name,
            method_version=info.version,
            hyper=info.without_defaults(hyper),
        )
        densities = selection.densities or suite.densities
        below = sorted({d for d in densities if d < 1}, reverse=True)
        lines.append([replace(cell, density=d) for d in (below if info.prunes else [1.0])])
    return lines


@dataclass(frozen=True)
class Cost:
    """What a list of cells will take: floating-point operations, and seconds on this machine."""

    flops: float
    seconds: float
    basis: str
    """What the seconds rest on, in words."""


STEP_OVERHEAD = 5e-4
"""Seconds per training step that no arithmetic explains, assumed until results say otherwise."""
CORE_FLOPS = 8e10
"""Floating-point operations per second of one CPU core, assumed until results say otherwise."""


def cost(
    cells_: Sequence[Cell], settings: Benchmark, speed: float | None = None, jobs: int = 1
) -> Cost:
    """Estimate the cost of `cells_`, run by `jobs` workers side by side.

    `speed` is the ratio of measured to assumed seconds of finished cells on this machine.
    """
    flops = sum(training_flops(cell, settings) for cell in cells_)
    seconds = sum(assumed_seconds(cell, settings) for cell in cells_) / max(1, jobs)
    if speed is None:
        return Cost(flops, seconds, "a typical CPU core")
    return Cost(flops, seconds * speed, "finished cells on this machine")


def training_flops(cell: Cell, settings: Benchmark) -> float:
    """Dense training FLOPs: 2 per multiply-accumulate, one forward and two backward parts."""
    macs = settings.networks[cell.network].macs.get(cell.data, 0)
    return 6.0 * macs * cell.recipe.images_seen(training_images(cell, settings))


def assumed_seconds(cell: Cell, settings: Benchmark) -> float:
    """Training seconds of one cell on the assumed core, evaluation after each epoch included."""
    train, test = training_images(cell, settings), settings.data[cell.data].images[1]
    steps = cell.recipe.steps or cell.recipe.epochs * -(-train // cell.recipe.batch_size)
    evaluation = training_flops(cell, settings) * test / train / 3
    return steps * STEP_OVERHEAD + (training_flops(cell, settings) + evaluation) / CORE_FLOPS


def training_images(cell: Cell, settings: Benchmark) -> int:
    """Training images of one epoch: what is held out is not trained on."""
    return round(settings.data[cell.data].images[0] * (1 - cell.recipe.holdout))
