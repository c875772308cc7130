"""Locations of data on this machine; does not import torch."""

from __future__ import annotations

import os
from pathlib import Path

from pai_bench.config.schema import Data
from pai_bench.core.errors import BenchError


def cache_folder() -> Path:
    """Cache folder of decoded tensors: PAI_BENCH_CACHE, else pai-bench in the user's cache.

    Raises BenchError where neither that nor a home folder is known.
    """
    if named := os.environ.get("PAI_BENCH_CACHE"):
        return Path(named)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "pai-bench"
    return _home("PAI_BENCH_CACHE", Path("~/.cache/pai-bench"))


def _home(variable: str, path: Path) -> Path:
    """A path with `~` resolved. Raises BenchError where no home folder is known."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise BenchError(f"{path}: this user has no home folder; set {variable}") from None


def cached_file(name: str, data: Data) -> Path:
    """Cache file of a data set's decoded tensors."""
    return cache_folder() / f"{name}-{data.version[:16]}.safetensors"


def digest_file(name: str, data: Data) -> Path:
    """File with the digest of the tensors that this machine saw first, where none is pinned."""
    return cache_folder() / f"{name}-{data.version[:16]}.digest"


def first_digest(name: str, data: Data) -> str | None:
    """Digest of the tensors of the hub that this machine saw first; None before that."""
    if data.hub is None:
        return None
    try:
        return digest_file(name, data).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def mirror_folder(setting: str | None) -> Path | None:
    """Folder with parquet files: PAI_BENCH_MIRROR, else the setting `mirror`, else none."""
    folder = os.environ.get("PAI_BENCH_MIRROR") or setting
    return _home("PAI_BENCH_MIRROR", Path(folder)) if folder else None


def redact_source(source: str) -> str:
    """Describe the source of data without folders of this machine: results are published.

    >>> redact_source("ylecun/mnist at revision 77f3"), redact_source("/home/me/mirror/mnist")
    ('ylecun/mnist at revision 77f3', 'a mirror')
    >>> redact_source("/home/me/own.py:load")
    'own.py:load'
    """
    if not Path(source).is_absolute():
        return source
    return Path(source).name if ".py:" in source else "a mirror"


def readiness(name: str, data: Data, setting: str | None) -> str:
    """Describe where a run on this machine would take the data set from."""
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
