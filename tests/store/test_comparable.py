"""Results of several folders beside one another: what stands, and what is said of the rest."""

from dataclasses import replace

import pytest

from pai_bench.store import comparable
from pai_bench.store.result import Accuracy, Flops, Result
from pai_bench.store.store import Store


def done(accuracy):
    return Result("done", accuracy=Accuracy(accuracy, accuracy, 1))


FAILED = Result("failed", "out of memory")
COUNTED = Result("counted", flops=Flops(1.0, 1.0, 1.0, 1.0))


@pytest.fixture
def joined(tmp_path, quick, methods):
    """Reads a suite whose one cell has these results, in a folder each."""
    (cell,) = quick(methods=("snip",), densities=(0.1,), seeds=(1,))

    def join(*results):
        folders = [tmp_path / str(number) for number in range(len(results))]
        for folder, result in zip(folders, results, strict=True):
            if result:
                Store(folder, "quick").put(cell, result)
        return comparable.of_folders(folders, "quick", [cell], methods)

    join.cell = cell
    return join


@pytest.mark.parametrize(
    ("results", "stands", "differing"),
    [
        ([done(0.9), done(0.9)], 0, 0),
        ([done(0.9), done(0.8)], 0, 1),
        ([FAILED, done(0.8)], 1, 0),
        ([COUNTED, FAILED], 1, 0),
        ([COUNTED, FAILED, done(0.8), done(0.9)], 2, 1),
        ([None, COUNTED], 1, 0),
    ],
)
def test_finished_goes_before_failed_before_counted_and_first_before_further(
    joined, results, stands, differing
):
    found = joined(*results)
    (entry,) = found.entries.values()
    assert entry.folder.parent.parent.name == str(stands)
    assert (found.differing, found.stale) == (differing, 0)


def test_cells_and_what_is_left_out_add_up_over_folders(joined, tmp_path, methods):
    seeds = [replace(joined.cell, seed=seed) for seed in (2, 3)]
    for folder, cell in zip("01", seeds, strict=True):
        Store(tmp_path / folder, "quick").put(cell, done(0.7))
        Store(tmp_path / folder, "quick").put(replace(cell, method_version=99), done(0.6))
    found = joined(done(0.9), None)
    assert [cell.seed for cell in found.cells[:1]] == [1]
    assert {cell.seed for cell in found.cells} == {1, 2, 3}
    assert sorted(entry.cell.seed for entry in found.entries.values()) == [1, 2, 3]
    assert found.stale == 2
