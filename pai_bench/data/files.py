"""The parquet files of a data set: found in a mirror or on the hub, and checked by digest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from pai_bench.config.schema import Data
from pai_bench.core.errors import BenchError, first_line
from pai_bench.core.files import atomic_write
from pai_bench.data import parts
from pai_bench.data.digests import MANIFEST, read_digests, sha256
from pai_bench.data.hub import from_hub
from pai_bench.data.locations import cache_folder, mirror_folder
from pai_bench.data.split_files import Files, check_complete, collect


def find(name: str, settings: Data, mirror: str | None = None) -> Files:
    """Locate the files of a data set: in the mirror folder if there is one, else on the hub.

    Files of the hub are fetched once, by huggingface_hub, at the pinned revision. Every file is
    checked: against SHA256SUMS of its mirror, against the digests that benchmark.yaml pins for the
    hub's files, and, where there are neither, against what this machine saw the first time.

    Raises BenchError when files are missing, cannot be fetched, or are not what they should be.
    """
    folder = mirror_folder(mirror)
    if folder is None:
        return _verified(name, settings, from_hub(name, settings))
    return _verified(name, settings, _from_mirror(name, settings, folder))


def _from_mirror(name: str, settings: Data, mirror: Path) -> Files:
    folder = mirror / (settings.folder or name)
    if parts.has_parts(folder) and not any(folder.rglob("*.parquet")):
        raise BenchError(
            f"{folder}: holds files in parts; `pai-bench data import {mirror}` joins them"
        )
    if not folder.is_dir():
        raise BenchError(
            f"data set {name}: the mirror has no folder {folder}; put the parquet files of "
            f"{settings.hub} there, or unset PAI_BENCH_MIRROR to read the hub"
        )
    part = folder / (settings.subset or ".")
    return collect(folder, part if part.is_dir() else folder, settings, str(folder))


def _verified(name: str, settings: Data, files: Files) -> Files:
    """Check every file, or raise BenchError with the first one that is not what it should be."""
    listed = read_digests(files.folder / MANIFEST) or _pinned(settings, files)
    digests = _FirstDigests(name, files.folder)
    for path in (*files.train, *files.test):
        _check_footer(path)
        relative = path.relative_to(files.folder).as_posix()
        if listed is not None and relative not in listed:
            raise BenchError(f"{path}: not listed in {files.folder / MANIFEST}; not read")
        if listed is None and settings.digest is not None:
            continue  # What is decoded from it has a pinned digest of its own.
        digest = digests.digest(path, relative)
        expected = digests.first(relative, digest) if listed is None else listed[relative]
        if digest != expected:
            who = "its list of digests" if listed else f"{digests.path} (from the first time, here)"
            raise BenchError(
                f"{path}: SHA-256 is {digest[:16]}…, {who} says {expected[:16]}…: the file was "
                f"altered or cut short; {_again(path)}. Not read"
            )
    check_complete(files)
    digests.keep()
    return files


def _check_footer(path: Path) -> None:
    """Name a file that ends too early: the end of a parquet file says what is in it."""
    import pyarrow.parquet

    try:
        pyarrow.parquet.read_metadata(path)
    except (OSError, ValueError) as error:
        raise BenchError(
            f"{path}: no complete parquet file: {first_line(error)} To mend it, {_again(path)}"
        ) from None


def _again(path: Path) -> str:
    """Say how to get a file anew: of a file in the hub's cache, only a link has its name."""
    return f"delete {path.resolve()} and fetch it again"


def _pinned(settings: Data, files: Files) -> dict[str, str] | None:
    """Digests that benchmark.yaml has for the hub's own files; a mirror may hold others."""
    of_hub = settings.hub is not None and files.source.startswith(settings.hub)
    return dict(settings.files) if settings.files and of_hub else None


class _FirstDigests:
    """Digests of files that this machine has read before: a file is hashed again if it changed."""

    def __init__(self, name: str, folder: Path) -> None:
        key = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        self.path = cache_folder() / f"{name}-{key}.seen.json"
        try:
            self._known: dict[str, list[object]] = json.loads(self.path.read_text())
        except (OSError, ValueError):
            self._known = {}
        self._now: dict[str, list[object]] = {}

    def digest(self, path: Path, relative: str) -> str:
        """SHA-256 of the file, remembered as long as its size and time are the same."""
        about = path.stat()
        cached = self._known.get(relative)
        if cached is None or cached[:2] != [about.st_size, about.st_mtime_ns]:
            cached = [about.st_size, about.st_mtime_ns, sha256(path)]
        self._now[relative] = cached
        return str(cached[2])

    def first(self, relative: str, now: str) -> str:
        """Digest of the file when it was first read here; `now` if that is now."""
        return str(self._known[relative][2]) if relative in self._known else now

    def keep(self) -> None:
        """Write down what was seen; a cache that cannot be written is no error."""
        if not self._now:
            return
        with contextlib.suppress(OSError), atomic_write(self.path) as beside:
            beside.write_text(json.dumps(self._now))


def export(
    name: str, settings: Data, target: Path, mirror: str | None = None, part_size: int = 0
) -> Sequence[Path]:
    """Copy the verified files of a data set to the mirror folder `target`, digests beside them.

    Copies appear under their names when they are whole, the list of digests last: an export that
    was interrupted is completed by the next one.

    Args:
        name: The data set.
        settings: Its entry in benchmark.yaml.
        target: A mirror folder.
        mirror: Where its files are read from; the hub unless given.
        part_size: Write files in parts of at most so many bytes instead (data/parts.py).

    Returns:
        What was written.

    Raises:
        BenchError: The data set comes with a library, or the target is where its files are.
    """
    if settings.hub is None:
        raise BenchError(f"data set {name}: comes with a library, there is nothing to export")
    files = find(name, settings, mirror)
    folder = target / (settings.folder or name)
    if folder.resolve() == files.folder.resolve():
        raise BenchError(f"{folder}: is where the files of {name} are read from")
    lines, exported = [], []
    for path in (*files.train, *files.test):
        relative = path.relative_to(files.folder)
        if part_size:
            exported += parts.split(path, folder / relative, part_size)
            digest = sha256(path)
        else:
            digest = _copy(path, folder / relative)
            exported.append(folder / relative)
        lines.append(f"{digest}  {relative.as_posix()}\n")
    (folder / MANIFEST).write_text("".join(lines), encoding="utf-8")
    if part_size:
        return [*exported, parts.write_digests(folder, exported)]
    _verified(name, settings, _from_mirror(name, settings, target))
    return exported


def _copy(path: Path, target: Path) -> str:
    """Copy a file unless the same one is there; return its digest."""
    digest = sha256(path)
    if target.is_file() and sha256(target) == digest:
        return digest
    with atomic_write(target) as beside:
        shutil.copyfile(path, beside)
    return digest
