"""Where data lie on this machine: known without importing torch."""

from __future__ import annotations

import os
from pathlib import Path

from pai_bench.config.schema import Data


def cache_folder() -> Path:
    """Folder for decoded tensors: PAI_BENCH_CACHE, else pai-bench in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("PAI_BENCH_CACHE") or Path(base) / "pai-bench")


def cached_file(name: str, data: Data) -> Path:
    """File that holds the decoded tensors of a data set, once they were decoded."""
    return cache_folder() / f"{name}-{data.version[:16]}.safetensors"


def mirror_folder(setting: str | None) -> Path | None:
    """Folder with parquet files: PAI_BENCH_MIRROR, else the setting `mirror`, else none."""
    given = os.environ.get("PAI_BENCH_MIRROR") or setting
    return Path(given).expanduser() if given else None


def redact_source(source: str) -> str:
    """Say where data came from without naming folders of this machine: results are published.

    >>> redact_source("ylecun/mnist at revision 77f3"), redact_source("/home/me/mirror/mnist")
    ('ylecun/mnist at revision 77f3', 'a mirror')
    >>> redact_source("/home/me/own.py:load")
    'own.py:load'
    """
    if not Path(source).is_absolute():
        return source
    return Path(source).name if ".py:" in source else "a mirror"


def readiness(name: str, data: Data, setting: str | None) -> str:
    """Say in words where a run would take the data set from on this machine."""
    if data.load is not None:
        return "of a plugin"
    if data.hub is None:
        return "built in"
    if cached_file(name, data).is_file():
        return "decoded"
    mirror = mirror_folder(setting)
    if mirror is not None:
        folder = mirror / (data.folder or name)
        return "in the mirror" if folder.is_dir() else "not in the mirror"
    return "to be fetched; needs a token" if data.gated else "to be fetched"
