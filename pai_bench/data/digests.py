"""Digests of files, and lists of them in the format of `sha256sum`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pai_bench.core.errors import BenchError

MANIFEST = "SHA256SUMS"
"""Digests of the files of a mirror folder."""
BLOCK = 2**20


def read_digests(manifest: Path) -> dict[str, str] | None:
    """Read a list: path relative to its folder -> digest; None where there is no such file."""
    try:
        lines = manifest.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    pairs = [line.split(maxsplit=1) for line in lines if line.strip()]
    if any(len(pair) != 2 for pair in pairs):
        raise BenchError(f"{manifest}: not in the format of sha256sum")
    return {path.lstrip("*"): digest for digest, path in pairs}


def sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hex digits."""
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            hashed.update(block)
    return hashed.hexdigest()
