"""Where data lie on this machine: known without importing torch."""

from __future__ import annotations

import os
from pathlib import Path

from pai_bench.config import Data


def cache_folder() -> Path:
    """Folder for decoded tensors: PAI_BENCH_CACHE, else pai-bench in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("PAI_BENCH_CACHE") or Path(base) / "pai-bench")


def cached_file(name: str, data: Data) -> Path:
    """File that holds the decoded tensors of a data set, once they were decoded."""
    return cache_folder() / f"{name}-{data.digest[:16]}.safetensors"


def mirror_folder(setting: str | None) -> Path | None:
    """Folder with parquet files: PAI_BENCH_MIRROR, else the setting `mirror`, else none."""
    given = os.environ.get("PAI_BENCH_MIRROR") or setting
    return Path(given).expanduser() if given else None
