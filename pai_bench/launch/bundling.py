"""How cells are bundled: which networks a worker trains together, and how."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import Literal

from pai_bench.config.schema import Benchmark
from pai_bench.core.hardware import Hardware, gpus_of
from pai_bench.experiment.bundle import Bundle, bundles
from pai_bench.experiment.cell import Cell
from pai_bench.experiment.cost import assumed_seconds

Stack = Literal["auto", "off"] | int
IN_STEP = 8
"""Networks that are trained in step: more gain little, and are stored later."""
SEARCH = 10.0
"""Seconds of a training above which a search is long."""
LONGEST = 600.0
"""Seconds that a bundle in step may take, as assumed: its results are stored at its end."""


def is_stacked(stack: Stack, hardware: Hardware) -> bool:
    """Tell whether the networks of a bundle are to become one stack.

    Args:
        stack: `off`: each network is trained alone. A number: stacks of so many. `auto`: stacks on
            a GPU; on a CPU networks are trained in step, with the same results, bit by bit, as
            alone.
        hardware: What they are trained on.
    """
    if hardware.trains_alone:
        return False
    return isinstance(stack, int) or (stack == "auto" and bool(gpus_of(hardware)))


def bundled(
    cells: Sequence[Cell],
    stack: Stack,
    hardware: Hardware,
    settings: Benchmark,
    jobs: int = 1,
    budget: float = math.inf,
    searching: Container[str] = (),
    begun: Sequence[Bundle] = (),
) -> tuple[Bundle, ...]:
    """Group cells into bundles, enough of them for all workers.

    Cells whose method trains for long before it prunes come alone: in a bundle these searches would
    run one after another.

    Args:
        cells: What is to be trained, in this order.
        stack: See `is_stacked`.
        hardware: What the cells are trained on.
        settings: The benchmark.
        jobs: Number of workers.
        budget: Seconds that there are: larger bundles than fit into it would finish nothing.
        searching: Names of the methods that train before they prune.
        begun: Bundles of some of the cells that have a checkpoint: they are formed again.
    """
    if not cells:
        return ()
    size = bundle_size(cells[0], stack, hardware, settings, budget)
    again = [bundle for bundle in begun if len(bundle) <= size]
    of_these = {cell.id for bundle in again for cell in bundle}
    alone: list[Cell] = []
    others: list[Cell] = []
    for cell in cells:
        if cell.id in of_these:
            continue
        is_long = cell.method in searching and assumed_seconds(cell, settings) > SEARCH
        (alone if is_long else others).append(cell)
    grouped = bundles(others, max(1, min(size, -(-len(cells) // jobs)))) + bundles(alone) + again
    position = {cell.id: index for index, cell in enumerate(cells)}
    return tuple(sorted(grouped, key=lambda bundle: position[bundle.cells[0].id]))


def bundle_size(
    cell: Cell, stack: Stack, hardware: Hardware, settings: Benchmark, budget: float = math.inf
) -> int:
    """Choose how many cells like `cell` make a bundle, at most: on a GPU this is measured."""
    if hardware.trains_alone:
        return 1
    if isinstance(stack, int):
        return stack
    if stack == "off":
        return 1
    if gpus_of(hardware):
        from pai_bench.launch.probe import fastest_stack

        return fastest_stack(cell, settings, hardware, budget)
    if hardware.accelerator not in ("auto", "cpu"):
        return 1
    return max(1, min(IN_STEP, int(min(LONGEST, budget / 2) / assumed_seconds(cell, settings))))
