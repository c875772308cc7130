"""Text as sequences of bytes, each labelled with the byte that follows."""

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

    Rows are concatenated, in the order of files and rows, in UTF-8. Each byte but the first is
    predicted once: a sequence begins with the last label of the previous one. Text beyond the last
    sequence is not used.

    Returns:
        Symbols uint8 (count, 1, 1, length), and the symbols that follow, uint8 (count, length).

    Raises:
        BenchError: There is no such column, or not enough text.
    """
    joined = b"".join(_bytes(path, column) for path in paths)
    needed = count * length + 1
    if len(joined) < needed:
        raise BenchError(
            f"{paths[0].parent}: {len(joined):,} bytes of text in {paths[0].name} and its like, "
            f"benchmark.yaml asks for {count:,} sequences of {length}: {needed:,} bytes"
        )
    symbols = torch.from_numpy(np.frombuffer(joined, dtype=np.uint8, count=needed).copy())
    following = symbols[1:].clone().view(count, length)
    return symbols[:-1].clone().view(count, 1, 1, length), following


def _bytes(path: Path, column: str) -> bytes:
    """Concatenate all rows of the text column; null rows count as empty."""
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
