"""The formats of an exported board, named where nothing else need be imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Format = Literal["csv", "parquet", "latex", "markdown"]
FORMATS: tuple[str, ...] = get_args(Format)
ENDINGS: Mapping[str, Format] = {
    ".csv": "csv", ".parquet": "parquet", ".tex": "latex", ".md": "markdown",
}  # fmt: skip
"""Format of a file by the end of its name."""
