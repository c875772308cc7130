"""What is said of a whole folder of results."""

from dataclasses import replace

import pytest
import torch

from pai_bench.core.errors import BenchError
from pai_bench.store.result import Accuracy, Result
from pai_bench.store.search_cache import Search, SearchCache
from pai_bench.store.store import Store
from pai_bench.store.verification import (
    check_single,
    differing_twins,
    single_files,
    suites_of,
    verify_suite,
)

RESULT = Result("done", accuracy=Accuracy(0.75, 0.75, 1))


@pytest.fixture
def cells(quick):
    return quick(methods=("snip",), densities=(0.1,), seeds=(1, 2, 3))[-3:]


def test_a_suite_is_counted_and_what_is_wrong_is_named(tmp_path, cells, methods):
    store = Store(tmp_path, "quick")
    store.put(cells[0], RESULT, {"test_accuracy": [0.75]})
    store.put(cells[1], Result("failed", "x"))
    store.put(replace(cells[2], method_version=99), RESULT)
    found = verify_suite(tmp_path, "quick", methods)
    assert (found.results, found.failed, found.other_version, found.problems) == (3, 1, 1, [])
    path = store.folder / cells[0].id / "result.json"
    path.write_text(path.read_text().replace("0.75", "0.76"))
    (store.folder / cells[1].id / "result.json").unlink()  # a folder that holds no result
    found = verify_suite(tmp_path, "quick", methods)
    assert found.results == 1
    assert sorted(problem.partition(";")[0] for problem in found.problems) == sorted(
        [
            f"{path}: altered since it was written",
            f"{store.folder}/{cells[1].id}/result.json: cannot be read "
            f"([Errno 2] No such file or directory: '{store.folder}/{cells[1].id}/result.json')",
        ]
    )
    assert suites_of(tmp_path) == ["quick"]
    assert verify_suite(tmp_path, "none", methods) is None
    with pytest.raises(BenchError, match="no such folder"):
        suites_of(tmp_path / "none")


def test_one_cell_with_two_outcomes_is_named(tmp_path, cells):
    stores = [Store(tmp_path, name) for name in ("one", "two")]
    for store, accuracy in zip(stores, (0.75, 0.5), strict=True):
        store.put(cells[0], RESULT, {"test_accuracy": [0.75]})
        store.put(cells[1], RESULT, {"test_accuracy": [accuracy]})
    one, two = (store.folder for store in stores)
    assert differing_twins([one, two]) == [f"{cells[1].id}: curves differ between {one} and {two}"]


def test_files_of_their_own_are_checked_searches_too(tmp_path, cells):
    cache = SearchCache(tmp_path, cells[0])
    name, _ = cache.get_or_compute({}, lambda: Search({"order": torch.arange(4)}, 1.0))
    (path,) = single_files(tmp_path)
    assert path == tmp_path / "searches" / f"{name}.pt"
    check_single(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BenchError, match="damaged"):
        check_single(path)
