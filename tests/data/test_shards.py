"""Parquet files of images: counted without reading, read one row group at a time."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pai_bench.config.schema import Data
from pai_bench.core.errors import BenchError
from pai_bench.data.shards import Shards

SETTINGS = Data(
    classes=10, shape=(3, 8, 8), images=(1, 1), mean=(0.5,), std=(0.5,), image="img", label="y"
)


def write(path, first, count, group=4, labels=None, struct=True, **columns):
    files = [str(number).encode() for number in range(first, first + count)]
    images = [{"bytes": file, "path": "a.jpg"} for file in files] if struct else files
    labels = [number % 10 for number in range(first, first + count)] if labels is None else labels
    table = pa.table(
        {"img": images, "y": pa.array(labels, pa.int64()), **columns},
    )
    pq.write_table(table, path, row_group_size=group)
    return path


def test_images_are_numbered_over_files_and_row_groups(tmp_path):
    files = [
        write(tmp_path / "a", 0, 10),
        write(tmp_path / "b", 10, 3),
        write(tmp_path / "c", 13, 9),
    ]
    shards = Shards(files, SETTINGS)
    assert shards.size == 22
    assert shards.rows.tolist() == [4, 4, 2, 3, 4, 4, 1]
    groups, rows = shards.locate(np.arange(22))
    for number, group, row in zip(range(22), groups, rows, strict=True):
        found = shards.read(group)
        assert found.bytes_of(int(row)) == str(number).encode()
        assert found.labels[row] == number % 10


def test_counting_reads_no_pixels(tmp_path, monkeypatch):
    files = [write(tmp_path / "a", 0, 10)]
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", None)
    assert Shards(files, SETTINGS).size == 10


def test_a_column_of_plain_bytes_and_other_columns_are_fine(tmp_path):
    files = [write(tmp_path / "a", 0, 5, struct=False, note=["x"] * 5)]
    assert Shards(files, SETTINGS).read(1).bytes_of(0) == b"4"


def test_empty_row_groups_and_missing_bytes(tmp_path):
    path = write(tmp_path / "a", 0, 0)
    table = pa.table({"img": [None, {"bytes": None, "path": "x"}], "y": [1, 2]})
    table = table.cast(
        pa.schema(
            [("img", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("y", pa.int64())]
        )
    )
    pq.write_table(table, tmp_path / "b")
    shards = Shards([path, tmp_path / "b", write(tmp_path / "c", 2, 1)], SETTINGS)
    assert shards.size == 3
    assert [shards.read(0).bytes_of(row) for row in (0, 1)] == [None, None]
    assert shards.locate(np.array([2]))[0].tolist() == [1]


def test_files_without_images_are_an_error(tmp_path):
    with pytest.raises(BenchError, match="no-rows: there are no images"):
        Shards([write(tmp_path / "no-rows", 0, 0)], SETTINGS)
    with pytest.raises(BenchError, match="no parquet file is given"):
        Shards([], SETTINGS)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all, but some bytes"])
def test_a_file_that_is_no_parquet_file_is_named(tmp_path, content):
    path = tmp_path / "train-00000.parquet"
    path.write_bytes(content)
    with pytest.raises(BenchError, match=r"train-00000\.parquet: not a readable parquet file"):
        Shards([path], SETTINGS)


def test_a_file_that_is_cut_or_missing_is_named(tmp_path):
    path = write(tmp_path / "cut.parquet", 0, 50)
    path.write_bytes(path.read_bytes()[:-30])
    for missing in (path, tmp_path / "none.parquet"):
        with pytest.raises(BenchError, match=missing.name):
            Shards([missing], SETTINGS)


def test_a_file_that_is_damaged_inside_is_named_when_it_is_read(tmp_path):
    path = write(tmp_path / "damaged.parquet", 0, 50)
    content = bytearray(path.read_bytes())
    content[4:200] = b"\xff" * 196
    path.write_bytes(content)
    with pytest.raises(BenchError, match=r"damaged\.parquet: row group 0"):
        Shards([path], SETTINGS).read(0)


def test_a_missing_column_is_named(tmp_path):
    path = write(tmp_path / "a", 0, 3)
    with pytest.raises(BenchError, match='no column "image"; it has img, y'):
        Shards([path], SETTINGS.model_copy(update={"image": "image"}))


@pytest.mark.parametrize("bad", [-1, 10, None])
def test_labels_that_are_none_are_an_error_with_file_and_rows(tmp_path, bad):
    path = write(tmp_path / "test-0.parquet", 0, 12, labels=[1, 2, 3, 4, 5, 6, bad, 8, 9, 0, 1, 2])
    shards = Shards([path], SETTINGS)
    shards.read(0)
    with pytest.raises(BenchError, match=r"test-0\.parquet: rows 4 to 7: labels must be 0 to 9"):
        shards.read(1)


def test_shards_can_be_sent_to_another_process_and_have_a_digest(tmp_path):
    files = [write(tmp_path / "a", 0, 10), write(tmp_path / "b", 10, 3)]
    shards = Shards(files, SETTINGS)
    assert pickle.loads(pickle.dumps(shards)).read(2).bytes_of(1) == b"9"
    assert shards.digest == Shards(files, SETTINGS).digest
    assert shards.digest != Shards(files[::-1], SETTINGS).digest
