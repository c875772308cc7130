"""The parquet files of a data set: found in a mirror or on the hub, and checked by digest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from pai_bench.config.schema import Data
from pai_bench.core.errors import BenchError, first_line
from pai_bench.core.files import atomic_write
from pai_bench.data import parts
from pai_bench.data.digests import MANIFEST, read_digests, sha256
from pai_bench.data.locations import cache_folder, mirror_folder

SHARD = re.compile(r"-\d+-of-(\d+)")
"""How many files a split has, in the names of its files."""


@dataclass(frozen=True)
class Files:
    """Where the parquet files of both splits lie, and where they came from."""

    train: tuple[Path, ...]
    test: tuple[Path, ...]
    folder: Path
    source: str

    def splits(self) -> dict[str, tuple[Path, ...]]:
        """Files by role."""
        return {"train": self.train, "test": self.test}


def find(name: str, settings: Data, mirror: str | None = None) -> Files:
    """Locate the files of a data set: in the mirror folder if there is one, else on the hub.

    Files of the hub are fetched once, by huggingface_hub, at the pinned revision. Every file is
    checked: against SHA256SUMS of its mirror, against the digests that benchmark.yaml pins for the
    hub's files, and, where there are neither, against what this machine saw the first time.

    Raises BenchError when files are missing, cannot be fetched, or are not what they should be.
    """
    folder = mirror_folder(mirror)
    if folder is None:
        return _verified(name, settings, _from_hub(name, settings))
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
    return _collect(folder, part if part.is_dir() else folder, settings, str(folder))


def _from_hub(name: str, settings: Data) -> Files:
    """Use what was fetched before, if it is all there; else ask the hub."""
    with contextlib.suppress(Exception):
        snapshot = _snapshot(settings, local=True)
        _check_complete(snapshot)
        return snapshot
    try:
        _announce(name, settings)
        return _snapshot(settings, local=False)
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(_why_not(name, settings, error)) from error


def _snapshot(settings: Data, local: bool) -> Files:
    """Find or fetch the files of both splits, at the pinned revision."""
    import huggingface_hub

    assert settings.hub is not None
    folder = huggingface_hub.snapshot_download(
        settings.hub,
        repo_type="dataset",
        revision=settings.revision,
        allow_patterns=_patterns(settings),
        local_files_only=local,
    )
    source = f"{settings.hub} at revision {settings.revision}"
    return _collect(Path(folder), Path(folder) / (settings.subset or "."), settings, source)


def _patterns(settings: Data) -> list[str]:
    return [f"{settings.subset or '**'}/{s}-*.parquet" for s in (settings.train, settings.test)]


def _announce(name: str, settings: Data) -> None:
    """Say how much is to be fetched, before it is; bars of huggingface_hub show how far it is.

    It goes on with a file where the connection broke, and keeps whole files after an interrupt.
    """
    import huggingface_hub

    listed = huggingface_hub.HfApi().list_repo_tree(
        str(settings.hub), repo_type="dataset", revision=settings.revision, recursive=True
    )
    sizes = {entry.path: entry.size for entry in listed if hasattr(entry, "size")}
    patterns = _patterns(settings)
    wanted = [path for path in sizes if any(fnmatch(path, pattern) for pattern in patterns)]
    size = sum(sizes[path] for path in wanted) / 1e6
    print(
        f"{name}: {len(wanted)} files, {size:,.1f} MB, from {settings.hub} on the hub; those that "
        "are whole after an interrupt are kept",
        file=sys.stderr,
    )


def _why_not(name: str, settings: Data, error: Exception) -> str:
    """Say why nothing could be fetched, from what the hub answered, and what to do about it."""
    import huggingface_hub

    answer = _answer(error)
    status = getattr(getattr(answer, "response", None), "status_code", None)
    if settings.gated and (status in (401, 403) or huggingface_hub.get_token() is None):
        return _how_to_get_access(name, str(settings.hub))
    advice = (
        "the token of this machine is not accepted: run `hf auth login` again, or unset HF_TOKEN"
        if status in (401, 403)
        else "without a connection, set PAI_BENCH_MIRROR to a folder that holds "
        f"{settings.folder or name}/*.parquet"
    )
    answered = " ".join(str(answer).split())
    return (
        f"data set {name}: {settings.hub} could not be fetched from the hub "
        f"({type(answer).__name__}: {answered}); {advice}"
    )


def _answer(error: BaseException) -> BaseException:
    """The hub's own answer among the causes of an error, where there is one."""
    from huggingface_hub.errors import HfHubHTTPError

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, HfHubHTTPError):
        cause = cause.__cause__
    return cause or error


def _how_to_get_access(name: str, hub: str) -> str:
    return (
        f"data set {name}: {hub} is gated; accept its terms at "
        f"https://huggingface.co/datasets/{hub}, make a token at "
        "https://huggingface.co/settings/tokens (one that may read gated repositories), run "
        "`hf auth login` (or set HF_TOKEN), then try again; or set PAI_BENCH_MIRROR to a folder "
        "that has it"
    )


def _collect(folder: Path, part: Path, settings: Data, source: str) -> Files:
    candidates = []
    for split in (settings.train, settings.test):
        files = tuple(sorted(part.rglob(f"{split}-*.parquet")))
        if not files:
            raise BenchError(f"data set from {source}: {part}: no file {split}-*.parquet")
        candidates.append(files)
    return Files(candidates[0], candidates[1], folder, source)


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
    _check_complete(files)
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


def _check_complete(files: Files) -> None:
    """Compare the number of files of each split with what their names say (`-of-00294`)."""
    for paths in files.splits().values():
        named = {int(match[1]) for path in paths if (match := SHARD.search(path.name))}
        if named and named != {len(paths)}:
            raise BenchError(
                f"{paths[0].parent}: {len(paths)} of {max(named)} files "
                f"{paths[0].name.partition('-')[0]}-*.parquet; fetch all of them"
            )


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
