"""Images in parquet files: counted from the metadata, read one row group at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pai_bench.config.schema import Data
from pai_bench.core.errors import BenchError, first_line

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RowGroup:
    """The images of one row group, as the bytes of their files."""

    files: pa.ChunkedArray
    labels: Integers

    def bytes_of(self, row: int) -> bytes | None:
        """Bytes of one image; None where the parquet file has none."""
        image: bytes | None = self.files[row].as_py()
        return image


class Shards:
    """Images of some parquet files, numbered from 0 in the order of files and rows.

    The column of images is the hub's struct{bytes, path}, or the bytes themselves. Only metadata
    are read on construction, and the object can be pickled for worker processes.

    Raises:
        BenchError: A file is no parquet file or lacks a column, or there are no images at all.
    """

    def __init__(self, files: Sequence[Path], settings: Data) -> None:
        self._settings = settings
        places: list[tuple[Path, int, int]] = []
        rows: list[int] = []
        outline = hashlib.sha256()
        for path in files:
            sizes = _row_groups(path, settings)
            outline.update(f"{path.name} {path.stat().st_size} {sizes}\n".encode())
            starts = np.cumsum([0, *sizes])[:-1].tolist()
            nonempty = [group for group, size in enumerate(sizes) if size]
            places += [(path, group, starts[group]) for group in nonempty]
            rows += [sizes[group] for group in nonempty]
        if not rows:
            names = ", ".join(str(path) for path in files)
            raise BenchError(f"{names or 'no parquet file is given'}: there are no images")
        self._places = places
        self.rows: Integers = np.array(rows, dtype=np.int64)
        """Number of images in each row group."""
        self._ends: Integers = np.cumsum(self.rows)
        self.size = int(self.rows.sum())
        self.digest = outline.hexdigest()
        """SHA-256 of names, sizes and row groups of the files, not of their contents."""

    def locate(self, numbers: Integers) -> tuple[Integers, Integers]:
        """Row group of each image, and its row within that."""
        groups = np.searchsorted(self._ends, numbers, side="right")
        return groups, numbers - (self._ends - self.rows)[groups]

    def read(self, group: int) -> RowGroup:
        """Read a row group.

        Raises:
            BenchError: It cannot be read, or a label is null or outside the classes.
        """
        path, index, start = self._places[group]
        image, label = self._settings.image, self._settings.label
        try:
            file = pq.ParquetFile(path, pre_buffer=False)
            nested = pa.types.is_struct(file.schema_arrow.field(image).type)
            columns = [f"{image}.bytes" if nested else image, label]
            table = file.read_row_group(index, columns=columns, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise BenchError(f"{path}: row group {index}: {first_line(error)}") from error
        labels = table.column(label)
        if labels.null_count or not _within(labels, self._settings.classes):
            raise BenchError(
                f"{path}: rows {start} to {start + table.num_rows - 1}: labels must be 0 to "
                f"{self._settings.classes - 1}; a split without labels (-1) cannot be used"
            )
        images = table.column(image)
        return RowGroup(pc.struct_field(images, "bytes") if nested else images, labels.to_numpy())


def _row_groups(path: Path, settings: Data) -> list[int]:
    """Number of rows in each row group of a file."""
    try:
        with pq.ParquetFile(path) as file:
            names, metadata = file.schema_arrow.names, file.metadata
    except (OSError, pa.ArrowException) as error:
        raise BenchError(f"{path}: not a readable parquet file: {first_line(error)}") from error
    for column in (settings.image, settings.label):
        if column not in names:
            raise BenchError(f'{path}: no column "{column}"; it has {", ".join(names)}')
    return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]


def _within(labels: pa.ChunkedArray, classes: int) -> bool:
    extremes = pc.min_max(labels)
    return bool(extremes["min"].as_py() >= 0 and extremes["max"].as_py() < classes)
