"""The index: what it tells is what the files hold today, whatever becomes of it."""

import json
import multiprocessing
import os
from dataclasses import replace

import pytest

from pai_bench.core.errors import BenchError
from pai_bench.store import index
from pai_bench.store.index import Line, updated_index
from pai_bench.store.result import (
    Accuracy,
    CompactedNetwork,
    Flops,
    Result,
)
from pai_bench.store.store import Store, find

RESULT = Result(
    "done",
    accuracy=Accuracy(0.9, 0.95, 2),
    density=0.1,
    flops=Flops(8.0, 4.0, 0.0, 12.0),
    compacted=CompactedNetwork(1, 2, 3, 4, 4.0),
)
CURVES = {"test_accuracy": [0.9, 0.95]}


@pytest.fixture(autouse=True)
def written(monkeypatch):
    """Indexes are written however little they hold."""
    monkeypatch.setattr(index, "WORTH_WRITING", 1)
    index.clear_cache()


@pytest.fixture
def cells(quick):
    return quick(methods=("dense", "snip", "ntk-sap"), densities=(0.1,), sanity_checks=("invert",))


@pytest.fixture
def store(tmp_path, cells):
    store = Store(tmp_path, "quick")
    for cell in cells:
        store.put(cell, replace(RESULT, density=cell.density), CURVES)
    return store


def read(store):
    """Read the index as a new process does."""
    index.clear_cache()
    return updated_index(store.folder)


def refused(*_):
    raise AssertionError("read, although it is in the index")


def told(found):
    return {key: (entry.cell, entry.numbers) for key, entry in found.entries.items()}


def test_a_second_reading_opens_no_cell_and_tells_the_same(store, cells, monkeypatch):
    first = read(store)
    monkeypatch.setattr(index, "read_stored", refused)
    second = read(store)
    assert told(second) == told(first)
    assert list(second.entries) == sorted(cell.id for cell in cells)
    for entry in second.entries.values():
        again = type(entry.cell).from_resolved(entry.cell.resolved())
        assert (again.id, again.kind, again.identity) == (
            entry.cell.id, entry.cell.kind, entry.cell.identity,
        )  # fmt: skip
        assert entry.result == store.get(entry.cell.id).result
        assert entry.numbers == entry.result.numbers


def test_a_result_that_changes_by_hand_or_anew_is_seen(store, cells):
    read(store)
    one, two, gone = (cell.id for cell in cells[:3])
    store.put(cells[0], Result("failed", "no reason"))
    path = store.folder / two / "result.json"
    path.write_text(path.read_text().replace("0.95", "0.96"))
    (store.folder / gone / "result.json").unlink()
    for found in (updated_index(store.folder), read(store)):
        assert found.entries[one].numbers.reason == "no reason"
        assert gone not in found.entries
        assert two not in found.entries
        with pytest.raises(BenchError, match="altered since it was written"):
            found.get(two)


def test_a_change_that_sets_the_time_back_is_seen(store, cells):
    path = store.folder / cells[0].id / "result.json"
    assert cells[0].id in read(store).entries
    stat = path.stat()
    path.write_text(path.read_text().replace('"last": 0.9,', '"last": 0.8,'))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    assert path.stat().st_mtime_ns == stat.st_mtime_ns
    with pytest.raises(BenchError, match="altered since it was written"):
        read(store).get(cells[0].id)


def test_a_cell_that_became_unreadable_is_told_each_time(store, cells):
    read(store)
    path = store.folder / cells[0].id / "result.json"
    path.write_text(path.read_text()[:40])
    for _ in range(2):
        found = read(store)
        assert cells[0].id not in found.entries
        with pytest.raises(BenchError, match="cannot be read"):
            found.get(cells[0].id)
        with pytest.raises(BenchError, match="cannot be read"):
            store.entries()


@pytest.mark.parametrize("how", ["cut", "flipped", "empty", "other", "program", "folder"])
def test_an_index_that_is_damaged_or_of_another_program_is_made_anew(store, how, monkeypatch):
    first, path = read(store), store.folder / index.NAME
    content = path.read_bytes()
    damaged = {
        "cut": content[:-20],
        "flipped": content.replace(b"0.95", b"0.59"),
        "empty": b"",
        "other": b"[]\n{}",
    }
    if how == "program":
        monkeypatch.setattr(index, "program", lambda: "another")
    elif how == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(damaged[how])
    assert told(read(store)) == told(first)
    if how != "folder":
        monkeypatch.setattr(index, "read_stored", refused)
        assert told(read(store)) == told(first)


def test_a_folder_that_cannot_be_written_is_read_without(store, monkeypatch):
    def read_only(*_, **__):
        raise PermissionError("read-only")

    monkeypatch.setattr(index, "atomic_write", read_only)
    assert len(read(store).entries) == len(store.ids())
    assert not (store.folder / index.NAME).exists()


def test_few_new_cells_are_not_worth_writing(store, cells, monkeypatch):
    monkeypatch.setattr(index, "WORTH_WRITING", len(cells) + 1)
    read(store)
    assert not (store.folder / index.NAME).exists()


def test_lines_are_gone_with_the_result_that_they_were_made_from(store, cells):
    found = read(store)
    found.lines_for("page")
    for cell in cells:
        found.keep_line(cell.id, Line("{}", {"recipe": "ab"}))
    found.records["ab"] = {"epochs": 1}
    found.save()
    store.put(cells[0], Result("failed", "no reason"))
    again = read(store)
    lines = again.lines_for("page")
    assert set(lines) == {cell.id for cell in cells[1:]}
    assert lines[cells[1].id] == Line("{}", {"recipe": "ab"})
    assert again.records == {"ab": {"epochs": 1}}
    assert again.lines_for("another page") == {}


def test_a_reason_that_is_no_text_stays_as_it_was(store, cells):
    reason = os.fsdecode(b"cannot read caf\xe9.parquet")
    store.put(cells[0], Result("failed", reason))
    for _ in range(2):
        assert read(store).entries[cells[0].id].numbers.reason == reason


def test_the_index_is_no_cell_no_suite_and_no_evidence(tmp_path, store, cells):
    read(store)
    assert (store.folder / index.NAME).is_file()
    assert sorted(store.ids()) == sorted(cell.id for cell in cells)
    assert find([tmp_path], cells[0].id).cell == cells[0]
    store.clean_old()
    assert (store.folder / index.NAME).is_file()
    kept = Store(tmp_path / "kept", "quick")
    store.export(kept)
    assert {path.name for path in kept.folder.iterdir()} == {cell.id for cell in cells}
    copied = Store(tmp_path, "other")
    assert copied.copy_from(cells[0])
    assert [path.name for path in copied.folder.iterdir()] == [cells[0].id]


def read_and_write(folder, turns):
    for _ in range(turns):
        index.clear_cache()
        index.WORTH_WRITING = 1
        found = updated_index(folder)
        found._new = 1
        found.save()


def test_processes_that_write_at_once_leave_one_that_is_whole(store, monkeypatch):
    read(store)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=read_and_write, args=(store.folder, 20)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    monkeypatch.setattr(index, "read_stored", refused)
    assert len(read(store).entries) == len(store.ids())
    names = [path.name for path in store.folder.iterdir() if path.name.startswith(".")]
    assert names == [index.NAME]
    assert json.loads((store.folder / index.NAME).read_text().splitlines()[1])["program"]
