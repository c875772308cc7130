"""Folders of several machines become one, unless they contradict each other."""

import shutil
from dataclasses import replace

import pytest
import torch

from pai_bench.core.errors import BenchError
from pai_bench.sparsity.masks import Masks
from pai_bench.store import replayed
from pai_bench.store.merging import plan_merge
from pai_bench.store.replayed import Replica
from pai_bench.store.result import Accuracy, Result
from pai_bench.store.search_cache import Search, SearchCache
from pai_bench.store.store import Store

CURVES = {"test_accuracy": [0.5, 0.9]}
RESULT = Result("done", accuracy=Accuracy(0.9, 0.9, 2), density=0.5, seconds={"total": 1.0},
                environment={"processor": "one"})  # fmt: skip
MASKS = Masks({"w": torch.tensor([True, False])})


@pytest.fixture
def cells(quick):
    return quick(methods=("snip",), densities=(0.5, 0.2, 0.1), seeds=(1, 2))


@pytest.fixture
def folders(tmp_path):
    return [tmp_path / name for name in "ab"]


@pytest.fixture
def merge(methods):
    """Plan a merge, and write it unless there are contradictions."""

    def run(folders, target, **more):
        plan = plan_merge(folders, target, methods, **more)
        if not plan.contradictions:
            plan.write()
        return plan

    return run


def files(folder):
    """All files of a folder, by what they hold."""
    return {path.relative_to(folder): path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file()}  # fmt: skip


def put(folder, cell, result=RESULT, suite="quick", masks=MASKS, curves=CURVES):
    store = Store(folder, suite)
    if result.status == "done":
        store.put(cell, result, curves, masks)
    else:
        store.put(cell, result)
    return store


def test_what_each_has_is_there_afterwards_and_twice_the_same(folders, cells, merge, tmp_path):
    put(folders[0], cells[0])
    put(folders[0], cells[1])
    put(folders[1], cells[1])
    put(folders[1], cells[2], suite="quick+epochs=1")
    before = [files(folder) for folder in folders]
    target = tmp_path / "c"
    plan = merge(folders, target)
    assert (len(plan.copies), plan.same) == (3, 1)
    assert files(target) == {**before[1], **before[0]}
    assert [files(folder) for folder in folders] == before
    assert merge(folders, target).copies == {}
    assert merge(folders, folders[0]).copies.keys() == {folders[0] / "quick+epochs=1" / cells[2].id}
    assert files(folders[0]) == files(target)


def test_an_interrupted_merge_is_repeated(folders, cells, methods, tmp_path, monkeypatch):
    for cell in cells[:3]:
        put(folders[1], cell)
    put(folders[0], cells[3])
    real, copied = shutil.copytree, []

    def copytree(source, *arguments, **named):
        if len(copied) == 2:
            raise KeyboardInterrupt
        copied.append(source)
        return real(source, *arguments, **named)

    target = tmp_path / "c"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copytree", copytree)
        with pytest.raises(KeyboardInterrupt):
            plan_merge(folders, target, methods).write()
    assert len(Store(target, "quick").ids()) == 2
    plan_merge(folders, target, methods).write()
    store = Store(target, "quick")
    assert len(store.ids()) == 4
    assert [store.verify(cell_id) for cell_id in store.ids()] == [[]] * 4
    assert not list(target.rglob("*.part"))


def test_results_that_took_another_time_elsewhere_are_the_same(folders, cells, merge, tmp_path):
    put(folders[0], cells[0])
    elsewhere = {"seconds": {"total": 9.0}, "memory_mb": 3.0, "environment": {"processor": "b"}}
    put(folders[1], cells[0], replace(RESULT, **elsewhere))
    plan = merge(folders, tmp_path / "c")
    assert plan.contradictions == []
    kept = Store(tmp_path / "c", "quick").get(cells[0].id).result
    assert kept == Store(folders[0], "quick").get(cells[0].id).result


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"curves": {"test_accuracy": [0.6, 0.9]}}, "curves"),
        ({"masks": Masks({"w": torch.tensor([False, True])})}, "masks"),
        ({"result": replace(RESULT, density=0.25)}, "numbers"),
        ({"result": replace(RESULT, status="skipped")}, "curves and masks"),
    ],
    ids=["curves", "masks", "numbers", "status"],
)
def test_a_contradiction_is_named_and_nothing_is_written(
    fields, words, folders, cells, merge, tmp_path
):
    put(folders[0], cells[0])
    put(folders[0], cells[1])
    put(folders[1], cells[0], **fields)
    before = [files(folder) for folder in folders]
    for target in (tmp_path / "c", folders[0], folders[1]):
        (line,) = merge(folders, target).contradictions
        assert line.startswith(f"{cells[0].id}: {words} differ between ")
        assert all(f"{folder}/quick/{cells[0].id}" in line for folder in folders)
    assert [files(folder) for folder in folders] == before
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("which", [0, 1])
def test_what_is_preferred_stays_where_two_differ(which, folders, cells, merge, tmp_path):
    put(folders[0], cells[0])
    put(folders[1], cells[0], curves={"test_accuracy": [0.6, 0.9]})
    merge(folders, tmp_path / "c", prefer=folders[which])
    assert files(tmp_path / "c") == files(folders[which])


@pytest.mark.parametrize("turn", [1, -1])
def test_finished_goes_before_failed_and_failed_before_counted(
    turn, folders, cells, merge, tmp_path
):
    statuses = [
        ("done", "failed"),
        ("failed", "counted"),
        ("done", "counted"),
        ("failed", "failed"),
    ]
    for cell, pair in zip(cells, statuses, strict=False):
        for folder, status in zip(folders, pair[::turn], strict=True):
            result = RESULT if status == "done" else Result(status, f"of {folder.name}")
            put(folder, cell, result)
    assert merge(folders, tmp_path / "c").contradictions == []
    store = Store(tmp_path / "c", "quick")
    assert [store.get(cell.id).result.status for cell in cells[:4]] == [p[0] for p in statuses]
    assert store.get(cells[3].id).result.reason == "of a"


def test_of_evidence_and_a_result_with_masks_that_with_masks_is_kept(
    folders, cells, merge, tmp_path
):
    source = put(tmp_path / "whole", cells[0])
    source.export(Store(folders[0], "quick"))
    put(folders[1], cells[0])
    merge(folders, tmp_path / "c")
    assert Store(tmp_path / "c", "quick").get(cells[0].id).masks().total == 2


def test_what_was_altered_is_not_merged(folders, cells, merge, tmp_path):
    put(folders[0], cells[0])
    store = put(folders[1], cells[1])
    path = store.folder / cells[1].id / "result.json"
    path.write_text(path.read_text().replace("0.9", "0.8"))
    with pytest.raises(BenchError, match=r"b/quick/.*/result.json: altered since it was written"):
        merge(folders, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_folder_that_is_none_is_named(folders, cells, merge):
    put(folders[0], cells[0])
    with pytest.raises(BenchError, match="b: no such folder of results"):
        merge(folders, folders[0])


def search(folder, cell, value, settings=None):
    found = Search({"order": torch.tensor([value]), "n": [1, {"x": 2.0}]}, 3.0)
    name, _ = SearchCache(folder, cell).get_or_compute(settings or {}, lambda: found)
    return folder / "searches" / f"{name}.pt"


def test_searches_are_joined_and_must_have_found_the_same(folders, cells, merge, tmp_path):
    for folder in folders:
        put(folder, cells[0])
        search(folder, cells[0], 1.0)
    only = search(folders[1], cells[0], 2.0, {"more": 1})
    plan = merge(folders, tmp_path / "c")
    assert plan.contradictions == []
    assert (tmp_path / "c" / "searches" / only.name).read_bytes() == only.read_bytes()
    assert len(list((tmp_path / "c" / "searches").iterdir())) == 2
    one, other = (search(folder, cells[-1], value)
                  for folder, value in zip(folders, (1.0, 2.0), strict=True))  # fmt: skip
    plan = merge(folders, tmp_path / "d")
    assert plan.contradictions == [
        f"{one.name}: what was found differ between {one} and {other}"
    ]  # fmt: skip


def test_a_search_under_a_wrong_name_is_not_merged(folders, cells, merge, tmp_path):
    for folder in folders:
        put(folder, cells[0])
    path = search(folders[0], cells[0], 1.0)
    path.rename(path.with_stem("0" * 12))
    with pytest.raises(BenchError, match=f"{'0' * 12}.pt: is of another search"):
        merge(folders, tmp_path / "c")


def test_replays_are_joined_and_must_be_the_same(folders, cells, merge, tmp_path):
    def replay(folder, run, value, seconds):
        result = Result("replayed", replayed={"a": {"m": value}}, seconds={"total": seconds})
        return replayed.write(folder, "ntt", "lenet", Replica(run, 1), result)

    for folder, seconds in zip(folders, (1.0, 2.0), strict=True):
        put(folder, cells[0])
        replay(folder, 1, 0.5, seconds)
    replay(folders[1], 2, 0.5, 1.0)
    merge(folders, tmp_path / "c")
    found = replayed.read(tmp_path / "c", "ntt", "lenet")
    assert {replica.run: result.seconds["total"] for replica, result in found.items()} == {
        1: 1.0, 2: 1.0,
    }  # fmt: skip
    replay(folders[0], 2, 0.6, 1.0)
    assert len(merge(folders, tmp_path / "d").contradictions) == 1
