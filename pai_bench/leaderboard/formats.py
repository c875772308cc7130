"""The formats of an exported board, named where nothing else need be imported."""

from __future__ import annotations

from typing import Literal, get_args

Format = Literal["csv", "parquet", "latex", "markdown"]
FORMATS: tuple[str, ...] = get_args(Format)
