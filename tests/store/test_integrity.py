"""A stored cell that is not what was written is found out, whatever of it was changed."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from pai_bench.core.errors import BenchError
from pai_bench.sparsity.masks import Masks
from pai_bench.store.integrity import Altered
from pai_bench.store.result import Accuracy, Flops, Layer, Result
from pai_bench.store.store import Store

RESULT = Result(
    "done",
    accuracy=Accuracy(0.75, 0.875, 1),
    density=0.5,
    layers=(Layer("w", (2, 2), 4, 2, 2, 1),),
    flops=Flops(8.0, 4.0, 0.0, 12.0),
    hyper={"alpha": 1e-300},
    environment={"packages": {"torch": "2"}, "command": "caf\udce9"},
)
CURVES = {"test_accuracy": [0.875, 0.75], "test_loss": [0.1, 0.30000000000000004]}
MASKS = Masks({"w": torch.tensor([[True, False], [False, True]])})
FILES = ("cell.json", "curves.json", "masks.safetensors", "result.json")


@pytest.fixture
def cells(quick):
    return quick(methods=("snip",), densities=(0.1,), seeds=(1, 2))[-2:]


@pytest.fixture
def store(tmp_path, cells):
    store = Store(tmp_path, "quick")
    store.put(cells[0], RESULT, CURVES, MASKS)
    store.put(cells[1], replace(RESULT, density=0.25), {**CURVES, "test_loss": [1.0, 2.0]}, MASKS)
    return store


def leaves(record, path=()):
    """Paths to all values of a record."""
    if isinstance(record, dict | list) and record:
        keys = record if isinstance(record, dict) else range(len(record))
        for key in keys:
            yield from leaves(record[key], (*path, key))
    else:
        yield path


def without_digest(path):
    """Make a result as versions without a digest of the record wrote it."""
    record = json.loads(path.read_text())
    del record["digest"]
    path.write_text(json.dumps(record))


def test_every_value_of_a_result_is_under_its_digest(store, cells):
    path = store.folder / cells[0].id / "result.json"
    whole = path.read_text()
    for *way, last in leaves(json.loads(whole)):
        record = json.loads(whole)
        place = record
        for key in way:
            place = place[key]
        place[last] = 7 if place[last] != 7 else 8
        path.write_text(json.dumps(record))
        assert store.verify(cells[0].id), (way, last)
        with pytest.raises(BenchError):
            store.get(cells[0].id)
    path.write_text(json.dumps(json.loads(whole), sort_keys=True))  # only how it is written
    assert store.verify(cells[0].id) == []


@pytest.mark.parametrize("name", FILES)
def test_files_of_two_cells_that_are_mixed_are_no_result(store, cells, name):
    one, other = (store.folder / cell.id for cell in cells)
    if name == "masks.safetensors":
        Masks({"w": torch.tensor([[True, True], [True, True]])}).save(other / name)
    shutil.copy(other / name, one / name)
    assert len(store.verify(cells[0].id)) == 1
    if name != "masks.safetensors":
        with pytest.raises(Altered):
            store.entries([cells[0].id])


def test_a_file_of_no_result_is_told(store, cells):
    store.put(cells[0], RESULT)
    (store.folder / cells[0].id / "curves.json").write_text("{}")
    assert store.verify(cells[0].id) == [f"{store.folder}/{cells[0].id}/curves.json: of no result"]


def test_without_a_digest_of_its_own_the_accuracy_has_to_be_that_of_the_curves(store, cells):
    path = store.folder / cells[0].id / "result.json"
    without_digest(path)
    assert store.verify(cells[0].id) == []
    path.write_text(path.read_text().replace('"last": 0.75', '"last": 0.875'))
    assert "its accuracy is not that of its curves" in store.verify(cells[0].id)[0]


def test_evidence_of_a_result_without_a_digest_gets_none(tmp_path, store, cells):
    without_digest(store.folder / cells[0].id / "result.json")
    kept = Store(tmp_path / "kept", "quick")
    assert store.export(kept) == 2
    digests = [
        "digest" in json.loads((kept.folder / c.id / "result.json").read_text()) for c in cells
    ]
    assert digests == [False, True]
    assert [kept.verify(cell.id) for cell in cells] == [[], []]
