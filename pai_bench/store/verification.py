"""Whether a folder of results is what was written: every cell of every suite, and its searches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pai_bench.core.errors import BenchError
from pai_bench.registry.declaration import MethodInfo
from pai_bench.store.index import cell_ids
from pai_bench.store.integrity import DIGEST
from pai_bench.store.replayed import read_replay
from pai_bench.store.spectra import read_spectrum
from pai_bench.store.store import Store
from pai_bench.store.stored_result import CURVES, MASKS, RESULT, read_record


@dataclass
class SuiteVerification:
    """What could be checked of the results of one suite, and what is wrong with them."""

    folder: Path
    results: int = 0
    without_digest: int = 0
    """Results of older versions: files and accuracy were checked, other numbers could not be."""
    without_masks: int = 0
    """Evidence: masks are left out, their digest is kept."""
    other_version: int = 0
    """Results of methods that have another version today: they stand on no leaderboard."""
    failed: int = 0
    problems: list[str] = field(default_factory=list)


def verify_suite(
    runs: Path, suite: str, methods: Mapping[str, MethodInfo]
) -> SuiteVerification | None:
    """Check every cell of a suite; None where the folder holds no cell."""
    store = Store(runs, suite)
    ids = cell_ids(str(store.folder))
    if not ids:
        return None
    found = SuiteVerification(store.folder)
    for cell_id in ids:
        if problems := store.verify(cell_id):
            found.problems += problems
        else:
            _count(found, store, cell_id, methods)
    return found


def _count(
    found: SuiteVerification, store: Store, cell_id: str, methods: Mapping[str, MethodInfo]
) -> None:
    entry, record = store.get(cell_id), read_record(f"{store.folder}/{cell_id}")
    info = methods.get(entry.cell.method)
    found.results += 1
    found.failed += entry.numbers.status == "failed"
    found.without_digest += DIGEST not in record
    found.without_masks += MASKS in record.get("left_out", ()) and MASKS in record["files"]
    found.other_version += info is not None and info.version != entry.cell.method_version


def suites_of(runs: Path) -> list[str]:
    """Names of the folders in a folder of results that hold cells. Raises BenchError: no folder."""
    if not runs.is_dir():
        raise BenchError(f"{runs}: no such folder of results")
    return [path.name for path in sorted(runs.iterdir()) if cell_ids(str(path))]


def single_files(runs: Path) -> list[Path]:
    """List the replays, spectra and searches in a folder of results, which are a file each."""
    patterns = ("replay-*.json", "spectrum-*.json", "searches/*.pt")
    return sorted(path for pattern in patterns for path in runs.glob(pattern))


def check_single(path: Path) -> None:
    """Raise BenchError where a replay, a spectrum or a search is none, or is damaged."""
    if path.suffix == ".pt":
        from pai_bench.store.search_cache import check  # loads PyTorch

        check(path)
    elif path.name.startswith("replay-"):
        read_replay(path)
    else:
        read_spectrum(path)


def differing_twins(folders: Sequence[Path]) -> list[str]:
    """Name the cells that lie in several suites with different curves or masks.

    Each may be what its machine computed: other processors round differently.

    Args:
        folders: Folders of suites, checked by `verify_suite`.
    """
    by_id: dict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        for cell_id in cell_ids(str(folder)):
            by_id[cell_id].append(folder / cell_id)
    return [
        f"{paths[0].name}: {named} differ between {paths[0].parent} and {other.parent}"
        for paths in by_id.values()
        for other in paths[1:]
        if (named := _difference(paths[0], other))
    ]


def _difference(one: Path, other: Path) -> str:
    """What was trained to other bits, by the digests of the two records."""
    if not all((path / RESULT).is_file() for path in (one, other)):
        return ""
    files = [read_record(str(path))["files"] for path in (one, other)]
    named = {CURVES: "curves", MASKS: "masks"}
    return " and ".join(
        word
        for name, word in named.items()
        if all(name in digests for digests in files) and files[0][name] != files[1][name]
    )
