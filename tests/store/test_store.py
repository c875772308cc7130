"""The store: complete or absent, read back as written, altered files found."""

import json
import math
import os
import random
from dataclasses import replace

import pytest
import torch

from pai_bench.core.errors import BenchError
from pai_bench.sparsity.masks import Masks
from pai_bench.store.result import Accuracy, Flops, Layer, Result
from pai_bench.store.store import Store, find, is_finished

RESULT = Result(
    "done",
    accuracy=Accuracy(0.9, 0.95, 2),
    density=0.5,
    effective=0.4,
    layers=(Layer("w", (2, 2), 4, 2, 2, 1),),
    flops=Flops(8.0, 4.0, 0.0, 12.0),
    seconds={"train": 1.0},
    environment={"packages": {"torch": "2"}},
)
CURVES = {"test_accuracy": [0.9, 0.95]}
MASKS = Masks({"w": torch.tensor([[True, False], [False, True]])})


@pytest.fixture
def cell(quick):
    return quick(methods=("snip",), densities=(0.1,), seeds=(1,))[0]


@pytest.fixture
def store(tmp_path, cell):
    store = Store(tmp_path, "quick")
    store.put(cell, RESULT, CURVES, MASKS)
    return store


def test_what_is_read_is_what_was_written(store, cell):
    entry = store.get(cell.id)
    assert entry.cell == cell
    assert entry.result == RESULT
    assert entry.curves() == CURVES
    assert torch.equal(entry.masks()["w"], MASKS["w"])
    assert store.status(cell) == "done"
    assert store.verify(cell.id) == []
    assert sorted(p.name for p in entry.folder.iterdir()) == [
        "cell.json",
        "curves.json",
        "masks.safetensors",
        "result.json",
    ]


def test_a_result_is_replaced_whole(store, cell):
    store.put(cell, Result("failed", "no reason"))
    entry = store.get(cell.id)
    assert entry.result.status == "failed"
    assert entry.curves() == {}
    assert [p.name for p in store.folder.iterdir()] == [cell.id]


def test_an_interrupted_write_leaves_no_result(tmp_path, cell, monkeypatch):
    store = Store(tmp_path, "quick")

    def full_disk(*_):
        raise OSError("no space left")

    monkeypatch.setattr(Masks, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        store.put(cell, RESULT, CURVES, MASKS)
    assert store.status(cell) is None
    assert store.ids() == []


def test_who_takes_a_cell_over_removes_what_is_half_written_of_it_alone(store, cell):
    left, other = store.folder / f".{cell.id}.0123.part", store.folder / ".0123456789ab.0123.part"
    left.mkdir()
    other.mkdir()
    store.clean(cell)
    assert not left.exists()
    assert other.exists()
    assert store.ids() == [cell.id]


def test_a_finished_result_is_not_replaced_where_it_is_to_stay(store, cell):
    with pytest.raises(FileExistsError):
        store.put(cell, Result("failed", "later"), stays=is_finished)
    assert store.get(cell.id).result == RESULT
    store.put(cell, Result("failed", "later"))
    store.put(cell, RESULT, CURVES, MASKS, stays=is_finished)
    assert store.get(cell.id).result == RESULT
    assert [p.name for p in store.folder.iterdir()] == [cell.id]


@pytest.mark.parametrize("name", ["curves.json", "masks.safetensors", "cell.json"])
def test_an_altered_file_is_found(store, cell, name):
    path = store.folder / cell.id / name
    path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    assert any(name in problem or "cannot" in problem for problem in store.verify(cell.id))


def test_a_missing_file_is_found(store, cell):
    (store.folder / cell.id / "curves.json").unlink()
    (problem,) = store.verify(cell.id)
    assert problem.startswith(f"{store.folder / cell.id / 'curves.json'}: cannot be read")


def test_a_record_under_a_wrong_id_is_found(store, cell):
    wrong = "0" * 12
    (store.folder / cell.id).rename(store.folder / wrong)
    assert f"is of the cell {cell.id}" in store.verify(wrong)[0]


def test_an_unreadable_result_is_one_line_that_names_the_file(store, cell):
    path = store.folder / cell.id / "result.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(BenchError, match=r"result\.json: cannot be read") as error:
        store.get(cell.id)
    assert "\n" not in str(error.value)


def test_numbers_that_are_none_are_never_written(tmp_path, cell):
    with pytest.raises(ValueError, match="not JSON compliant"):
        Store(tmp_path, "quick").put(cell, Result("done", density=float("nan")))
    assert Store(tmp_path, "quick").status(cell) is None


def test_every_float_is_read_back_to_the_last_bit(store, cell):
    draw = random.Random(1)
    finite = [5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 9007199254740993.0, -0.0]
    drawn = [math.ldexp(draw.random(), draw.randint(-1070, 1023)) for _ in range(2000)]
    store.put(cell, RESULT, {"test_loss": finite + drawn})
    read = store.get(cell.id).curves()["test_loss"]
    assert list(map(float.hex, read)) == list(map(float.hex, finite + drawn))


def test_a_file_name_that_is_no_text_may_stand_in_a_reason(store, cell):
    reason = os.fsdecode(b"cannot read caf\xe9.parquet")
    store.put(cell, Result("failed", reason))
    assert store.get(cell.id).result.reason == reason


def test_a_cell_is_found_by_the_start_of_its_id(tmp_path, store, cell, quick):
    assert find([tmp_path], cell.id[:6]).cell == cell
    with pytest.raises(BenchError, match="no stored cell"):
        find([tmp_path], "zz")
    for other in quick(methods=("random",), densities=(0.1, 0.2, 0.05, 0.02, 0.01), epochs=2):
        store.put(other, Result("failed", "x"))
    starts = [name[0] for name in store.ids()]
    twice = next(c for c in starts if starts.count(c) > 1)
    with pytest.raises(BenchError, match="start of several"):
        find([tmp_path], twice)


def test_the_record_says_what_was_hashed(store, cell):
    record = json.loads((store.folder / cell.id / "cell.json").read_text())
    assert record["identity"]["method"] == {"name": "snip", "version": 1}
    assert record["id"] == cell.id


def test_evidence_names_no_folder_of_the_machine(tmp_path, cell):
    store = Store(tmp_path / "runs", "quick")
    data = {"digest": "0", "source": "/home/somebody/mirror/mnist"}
    command = "pai-bench run quick --runs /home/somebody/runs --plugin own.py"
    known = {**RESULT.environment, "data": data, "command": command}
    store.put(cell, replace(RESULT, environment=known), CURVES)
    kept = Store(tmp_path / "kept", "quick")
    assert store.export(kept) == 1
    published = kept.get(cell.id).result.environment
    assert published["data"] == {"digest": "0", "source": "a mirror"}
    assert published["command"] == "pai-bench run quick --runs runs --plugin own.py"
    assert kept.verify(cell.id) == []
    path = kept.folder / cell.id / "result.json"
    path.write_text(path.read_text().replace("a mirror", "the hub"))
    assert "altered" in kept.verify(cell.id)[0]


def test_evidence_is_not_taken_from_where_it_goes(tmp_path, cell):
    store = Store(tmp_path / "runs", "quick")
    store.put(cell, RESULT, CURVES)
    with pytest.raises(BenchError, match="the results are here; name another folder"):
        store.export(Store(tmp_path / "other" / ".." / "runs", "quick"))


def test_what_was_only_counted_does_not_replace_the_evidence_of_a_training(tmp_path, cell):
    trained, kept = Store(tmp_path / "runs", "quick"), Store(tmp_path / "kept", "quick")
    counted = Store(tmp_path / "counted", "quick")
    trained.put(cell, RESULT, CURVES)
    counted.put(cell, Result("counted", flops=RESULT.flops))
    assert counted.export(kept) == 1
    assert kept.get(cell.id).result.status == "counted"
    assert trained.export(kept) == counted.export(kept) == 1
    assert kept.get(cell.id).result.status == "done"
    assert kept.verify(cell.id) == []
