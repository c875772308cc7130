"""The kinds of figures and of files, named where nothing else need be imported."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["accuracy", "flops", "ranks", "layers", "path", "claims", "spectra"]
KINDS: tuple[str, ...] = get_args(Kind)
FORMATS = ("pdf", "svg", "png")
COLUMNS = (1, 2)
"""Columns of a page of two that a figure is as wide as."""
