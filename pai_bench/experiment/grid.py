"""The grid of a suite: from settings to the list of cells to run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pai_bench.config.loader import method_entry
from pai_bench.config.schema import Benchmark, Suite
from pai_bench.core.errors import BenchError, unknown
from pai_bench.experiment.cell import Cell, data_fields
from pai_bench.registry.declaration import MethodInfo


@dataclass(frozen=True)
class Selection:
    """The part of a suite to run; an empty field selects everything."""

    methods: tuple[str, ...] = ()
    densities: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    precision: str = "32-true"
    sanity_checks: tuple[str, ...] = ()
    """Sanity checks to run in addition to those of the suite."""
    more: tuple[str, ...] = ()
    """Methods to run in addition to those of the suite, where `methods` is empty."""


def suite_of_paper(settings: Benchmark, paper: str, short: str = "quick") -> tuple[str, Selection]:
    """Return the suite that reproduces `paper`, and the selection of methods to run in it.

    The methods are the paper's own and every baseline of the suite: those of other papers are left
    out.

    Args:
        settings: The benchmark.
        paper: Key of the paper.
        short: Which of the paper's suites, such as `quick`.

    Raises:
        BenchError: The paper, or such a suite of it, is unknown.
    """
    if paper not in settings.papers:
        raise unknown("paper", paper, settings.papers)
    suites = settings.papers[paper].suites
    if short not in suites:
        raise unknown(f"suite of paper {paper}", short, suites)
    of_others = {
        name
        for key, entry in settings.papers.items()
        if key != paper
        for name in entry.methods
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
    does not list (plugins) run with their default hyper-parameters. Duplicates run once.

    Args:
        settings: The benchmark.
        methods: Declarations of the methods, by name.
        suite_name: Key of the suite.
        selection: The part of the suite to run; by default all of it.

    Raises:
        BenchError: The suite or a method is unknown, a density or seed is impossible, or the grid
            is empty.
    """
    if suite_name not in settings.suites:
        raise unknown("suite", suite_name, settings.suites)
    suite, selection = settings.suites[suite_name], selection or Selection()
    _check_densities(selection.densities)
    _check_seeds(selection.seeds)
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
    sanity_checks = ("", *suite.sanity_checks, *selection.sanity_checks)
    lines = _lines(suite, methods, selection, template)
    grid = [
        replace(line, density=density, seed=seed, sanity_check=sanity_check)
        for seed in selection.seeds or suite.seeds
        for line, densities in lines
        for density in densities
        for sanity_check in (sanity_checks if methods[line.method].prunes else ("",))
    ]
    if not grid:
        raise BenchError(f"suite {suite_name}: no cell is left to run in this selection")
    return list({cell.id: cell for cell in grid}.values())


def _check_densities(densities: Iterable[float]) -> None:
    for density in densities:
        if not 0 < density <= 1:
            raise BenchError(f"density {density:g} is impossible: it must be above 0, at most 1")


def _check_seeds(seeds: Iterable[int]) -> None:
    for seed in seeds:
        if not 0 <= seed < 2**63:
            raise BenchError(f"seed {seed} is impossible: it must be 0 or above, of 63 bits")


def _lines(
    suite: Suite, methods: Mapping[str, MethodInfo], selection: Selection, template: Cell
) -> list[tuple[Cell, list[float]]]:
    """Return each selected method as a cell without density and seed, and its densities."""
    entries = [pair for entry in suite.methods for pair in method_entry(entry).items()]
    listed = {name for name, _ in entries}
    for name in selection.methods or selection.more:
        if name not in methods:
            raise unknown_method(name, methods)
        if name not in listed:
            entries.append((name, {}))
    selected = [e for e in entries if not selection.methods or e[0] in selection.methods]
    lines = []
    for name, hyper in selected:
        info = methods[name]
        cell = replace(
            template,
            method=name,
            method_version=info.version,
            hyper=info.without_defaults(hyper),
        )
        densities = selection.densities or suite.densities
        below = sorted({d for d in densities if d < 1}, reverse=True)
        lines.append((cell, below if info.prunes else [1.0]))
    return lines


def unknown_method(name: str, known: Iterable[str]) -> BenchError:
    """Build the error for a method that nobody declared, with what may make it known."""
    error = unknown("method", name, known)
    return BenchError(f"{error}; --plugin FILE.py brings methods of a file of yours")
