"""This project: its version, and where its files lie in a checkout or an installed package."""

from __future__ import annotations

from pathlib import Path

VERSION = "0.1.0"
"""Read from here by pyproject.toml too: a checkout that is not installed knows it as well."""
PACKAGE = Path(__file__).parents[1]
"""Folder of the package."""
ROOT = (PACKAGE / "reproductions").resolve().parent
"""Folder that holds baselines/ and reproductions/: the checkout, or the package where it was
installed from a wheel."""
SETTINGS = PACKAGE / "benchmark.yaml"
"""The settings that come with the package."""


def settings_file() -> Path:
    """Find the settings that hold where none are named: benchmark.yaml here, else our own."""
    local = Path("benchmark.yaml")
    return local if local.is_file() else SETTINGS


def at(path: Path, line: int) -> str:
    """Write file and line, the file relative to the project where it lies inside."""
    path = path.resolve()
    return f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}:{line}"
