"""Files of the hub, put into huggingface_hub's cache so that a half-fetched one goes on.

The library fetches a file anew whenever a process was interrupted within it. Its cache holds each
file under its SHA-256, and what lies there is not fetched: so the file is completed under a name
beside that, checked, renamed, and found by the library.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pai_bench.data.digests import sha256

WORKERS = 8
"""Files that are fetched side by side, as huggingface_hub does."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set on the hub."""

    hub: str
    revision: str | None
    path: str
    size: int
    """Bytes."""
    digest: str | None
    """SHA-256; None for a file that is not stored as a large one, which the library fetches."""


def fetch(files: Iterable[RemoteFile]) -> None:
    """Fetch what is not in the cache; an interrupt loses at most the last 10 MB of each file.

    Raises:
        OSError: What came is not the file that the hub lists.
        Exception: Whatever huggingface_hub raises where a file cannot be had.
    """
    pending = deque(file for file in files if file.digest and not _blob(file).exists())
    errors: list[Exception] = []

    def work() -> None:
        with contextlib.suppress(IndexError):
            while not errors:
                try_one(pending.popleft())

    def try_one(file: RemoteFile) -> None:
        try:
            _complete(file)
        except Exception as error:
            errors.append(error)

    # Threads of a pool would keep an interrupted process alive until their files are whole.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _blob(file: RemoteFile) -> Path:
    """Where huggingface_hub's cache has a file."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = repo_folder_name(repo_id=file.hub, repo_type="dataset")
    return Path(constants.HF_HUB_CACHE) / folder / "blobs" / str(file.digest)


def _complete(file: RemoteFile) -> None:
    """Fetch what is missing of a file, unless another process does it meanwhile."""
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    whole = _blob(file)
    whole.parent.mkdir(parents=True, exist_ok=True)
    half = whole.with_name(f"{whole.name}.incomplete")
    lock = whole.with_name(f"{whole.name}.lock")
    with WeakFileLock(lock):
        if not whole.exists():
            _fetch_rest(file, half)
            half.replace(whole)
    lock.unlink(missing_ok=True)


def _fetch_rest(file: RemoteFile, half: Path) -> None:
    """Complete what there is of a file; where that is not its own beginning, fetch it anew."""
    with half.open("ab") as out:
        is_begun = out.tell() > 0
        _append(file, out)
        is_whole = sha256(half) == file.digest
        if is_begun and not is_whole:
            out.truncate(0)
            _append(file, out)
            is_whole = sha256(half) == file.digest
    if not is_whole:
        half.unlink()
        raise OSError(f"{file.path} is not the file that the hub lists")


def _append(file: RemoteFile, out: BinaryIO) -> None:
    """Ask for the bytes from the end of `out` on."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    out.seek(0, 2)
    url = hf_hub_url(file.hub, file.path, repo_type="dataset", revision=file.revision)
    http_get(
        url,
        out,
        resume_size=out.tell(),
        headers=build_hf_headers(),
        expected_size=file.size,
        displayed_filename=file.path,
    )
    out.flush()
