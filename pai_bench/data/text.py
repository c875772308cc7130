"""Text as sequences of symbols: bytes, and for each of them the one that follows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from pai_bench.config.schema import Recipe
from pai_bench.core.errors import BenchError, first_line


def sequences(paths: Sequence[Path], column: str, count: int, length: int) -> tuple[Tensor, Tensor]:
    """Cut the text of some parquet files into `count` sequences of `length` bytes.

    Rows are joined as they are, in the order of files and rows, in UTF-8. Each byte but the very
    first one is predicted once: a sequence begins with the byte that ends the labels of the one
    before. Text beyond the last sequence is not used. Returns symbols uint8 (count, 1, 1, length)
    and the symbols that follow, uint8 (count, length).

    Raises BenchError where there is no such column, or not that much text.
    """
    joined = b"".join(_bytes(path, column) for path in paths)
    wanted = count * length + 1
    if len(joined) < wanted:
        raise BenchError(
            f"{paths[0].parent}: {len(joined):,} bytes of text in {paths[0].name} and its like, "
            f"benchmark.yaml asks for {count:,} sequences of {length}: {wanted:,} bytes"
        )
    symbols = torch.from_numpy(np.frombuffer(joined, dtype=np.uint8, count=wanted).copy())
    following = symbols[1:].clone().view(count, length)
    return symbols[:-1].clone().view(count, 1, 1, length), following


def _bytes(path: Path, column: str) -> bytes:
    """All rows of the column of text, joined; rows without a value are empty."""
    try:
        names = pq.read_schema(path).names
        if column not in names:
            raise BenchError(f'{path}: no column "{column}"; it has {", ".join(names)}')
        rows = pq.read_table(path, columns=[column]).column(column).cast(pa.binary())
    except (OSError, pa.ArrowException) as error:
        raise BenchError(f'{path}: column "{column}" is no text: {first_line(error)}') from error
    return b"".join(row for row in rows.to_pylist() if row)


def check_recipe(recipe: Recipe) -> None:
    """Raise BenchError for a recipe that treats symbols as pixels."""
    if recipe.augment != "none":
        raise BenchError(f"augment: {recipe.augment} is for images; of text it must be none")
    if recipe.normalise == "image" or recipe.mean is not None:
        raise BenchError("normalise: symbols of text are not normalised")
