"""The files of both splits of a data set, as they are found in a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pai_bench.config.schema import Data
from pai_bench.core.errors import BenchError

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


def collect(folder: Path, part: Path, settings: Data, source: str) -> Files:
    """List the files below `part`. Raises BenchError where a split has none."""
    candidates = []
    for split in (settings.train, settings.test):
        files = tuple(sorted(part.rglob(f"{split}-*.parquet")))
        if not files:
            raise BenchError(f"data set from {source}: {part}: no file {split}-*.parquet")
        candidates.append(files)
    return Files(candidates[0], candidates[1], folder, source)


def check_complete(files: Files) -> None:
    """Compare the number of files of each split with what their names say (`-of-00294`)."""
    for paths in files.splits().values():
        named = {int(match[1]) for path in paths if (match := SHARD.search(path.name))}
        if named and named != {len(paths)}:
            raise BenchError(
                f"{paths[0].parent}: {len(paths)} of {max(named)} files "
                f"{paths[0].name.partition('-')[0]}-*.parquet; fetch all of them"
            )
