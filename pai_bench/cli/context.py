"""What every command starts from, and how it speaks."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pai_bench.config.schema import Benchmark
from pai_bench.registry.declaration import MethodInfo

Arguments = argparse.Namespace


@dataclass(frozen=True)
class Context:
    """What every command starts from."""

    console: Console
    settings: Benchmark
    methods: Mapping[str, MethodInfo]
    plugins: tuple[Path, ...]
    runs: Path
    """Folder of results: what a command writes goes there."""
    named: tuple[Path, ...] = ()
    """Folders of results that were asked for by name, or as evidence."""
    options: tuple[str, ...] = ()
    """What asked for them on the command line."""

    @property
    def folders(self) -> list[Path]:
        """Folders that results are read from, `runs` first."""
        return list(self.named) or [self.runs]

    @property
    def judged(self) -> list[Path]:
        """Folders that verdicts rest on: those that were named, or the kept evidence and `runs`."""
        from pai_bench.claims.lookup import evidence_folders

        return list(self.named) or [*evidence_folders(), self.runs]


def say(context: Context, topic: str, line: str) -> None:
    """Print a line that begins with what it is about."""
    context.console.print(Text.assemble((f"{topic:<9}", "bold"), line), soft_wrap=True)
