"""The command line: one command, its errors in one line each, and its exit code."""

from __future__ import annotations

import io
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from pai_bench.cli.context import Arguments, Context
from pai_bench.cli.parser import READING, build_parser
from pai_bench.config import loader
from pai_bench.config.overrides import with_launcher_options
from pai_bench.core.environment import set_command_line
from pai_bench.core.errors import BenchError
from pai_bench.core.machine import machine_fault
from pai_bench.registry import methods as registry
from pai_bench.registry.plugins import extend


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 for failed cells, 2 for bad input, 130 when interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _write_what_can_be_written()
    set_command_line(words)
    try:
        parsed = build_parser().parse_args(words)
        command: Callable[[Context, Arguments], int] = parsed.command
        return command(_context(parsed), parsed)
    except BenchError as error:
        return _refused(error)
    except (OSError, MemoryError) as error:
        return _refused(machine_fault(error) or error)
    except KeyboardInterrupt as interrupt:
        detail = str(interrupt) or "the same command resumes"
        print(f"\ninterrupted: what is done is stored; {detail}", file=sys.stderr)
        return 130


def _refused(error: BaseException) -> int:
    print(f"pai-bench: error: {error}", file=sys.stderr)
    return 2


def _context(parsed: Arguments) -> Context:
    plugins = tuple(path.resolve() for path in parsed.plugin)
    methods = registry.available(plugins)
    settings = extend(loader.load(parsed.config, methods), plugins)
    if "launcher_options" in parsed:
        settings = with_launcher_options(settings, parsed.launcher, parsed.launcher_options)
    runs, named = _folders(parsed)
    options = tuple(f"--runs {shlex.quote(str(folder))}" for folder in parsed.runs or ())
    options += ("--evidence",) * getattr(parsed, "evidence", False)
    return Context(_console(), settings, methods, plugins, runs, named, options)


def _folders(parsed: Arguments) -> tuple[Path, tuple[Path, ...]]:
    """The folder that results go to, and all that were asked for."""
    named = list(dict.fromkeys(parsed.runs or ()))
    if len(named) > 1 and "evidence" not in parsed:
        several = ", ".join(READING)
        raise BenchError(f"--runs: this command takes one folder; {several} read several")
    for folder in named:
        if folder.exists() and not folder.is_dir():
            raise BenchError(f"--runs: {folder} is a file, and no folder")
    runs = named[0] if named else Path("runs")
    if "evidence" in parsed and parsed.evidence:
        from pai_bench.claims.lookup import evidence_folders

        known = {folder.resolve() for folder in named}
        kept = [folder for folder in evidence_folders() if folder.resolve() not in known]
        named = [*(named or [runs]), *kept]
    return runs, tuple(named)


def _write_what_can_be_written() -> None:
    """Let `?` stand for what a console cannot show: a table must not end what has been trained."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _console() -> Console:
    """A console as wide as the terminal, or as COLUMNS says; in a log, wide enough for tables."""
    console = Console()
    told = console.is_terminal or os.environ.get("COLUMNS", "").isdigit()
    return console if told else Console(width=110)


if __name__ == "__main__":
    sys.exit(main())
