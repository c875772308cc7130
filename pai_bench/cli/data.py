"""Data sets and this machine: fetch, export, is it ready?"""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from pai_bench.cli.context import Arguments, Context, say
from pai_bench.config.schema import Data
from pai_bench.core.errors import BenchError, unknown
from pai_bench.data.locations import first_digest


def data(context: Context, parsed: Arguments) -> int:
    """Fetch, decode, verify and cache data sets; `data export NAME FOLDER` writes a mirror."""
    if parsed.names[:1] == ["export"]:
        return _export(context, parsed.names[1:], parsed.part_size)
    if parsed.part_size:
        raise BenchError("--part-size: only `pai-bench data export` writes parts")
    if parsed.names[:1] == ["import"]:
        return _import(context, parsed.names[1:])
    names = parsed.names or list(context.settings.data)
    if len(names) == 1:
        _fetch(context, names[0])
        return 0
    missing = []
    for name in names:
        try:
            _fetch(context, name)
        except BenchError as error:
            missing.append(name)
            say(context, name, str(error))
    if missing:
        what = f"{len(missing)} of {len(names)} data sets are not ready: {', '.join(missing)}"
        raise BenchError(f"{what}; the others are")
    return 0


def _fetch(context: Context, name: str) -> None:
    """Make one data set ready, and say what it is."""
    from pai_bench.data import files, sources

    settings = _data_settings(context, name)
    if settings.stream:
        source = files.find(name, settings, context.settings.mirror)
        say(context, name, f"{len(source.train) + len(source.test)} files in {source.folder}")
        return
    known = first_digest(name, settings)
    arrays = sources.load(name, settings, context.settings.mirror)
    sizes = f"{len(arrays.train_labels):,} training and {len(arrays.test_labels):,} test images"
    pinned = (
        "as pinned"
        if settings.digest
        else "as this machine saw it first"
        if known
        else ("pinned from now on, on this machine" if settings.hub else "(none is pinned)")
    )
    say(context, name, f"{sizes}, digest {arrays.digest} {pinned}")


def _export(context: Context, names: list[str], part_size: int) -> int:
    from pai_bench.data import files

    if len(names) != 2:
        raise BenchError("write: pai-bench data export DATASET FOLDER")
    name, folder = names[0], Path(names[1])
    settings = _data_settings(context, name)
    paths = files.export(name, settings, folder, context.settings.mirror, part_size)
    size = sum(path.stat().st_size for path in paths) / 1e6
    if part_size:
        say(context, name, f"{len(paths)} parts, {size:,.0f} MB; where they are brought to")
        context.console.print(f"  pai-bench data import {folder.name}", highlight=False)
        return 0
    say(context, name, f"{len(paths)} files, {size:,.0f} MB; read them with")
    _print_mirror(context, folder)
    return 0


def _import(context: Context, names: list[str]) -> int:
    from pai_bench.data import parts

    if not 1 <= len(names) <= 2:
        raise BenchError("write: pai-bench data import FOLDER [INTO]")
    folder, target = Path(names[0]), Path(names[-1])
    paths = parts.join(folder, target)
    size = sum(path.stat().st_size for path in paths) / 1e6
    say(context, "joined", f"{len(paths)} files, {size:,.0f} MB; read them with")
    _print_mirror(context, target)
    return 0


def _print_mirror(context: Context, folder: Path) -> None:
    context.console.print(f"  PAI_BENCH_MIRROR={folder.resolve()}", soft_wrap=True, highlight=False)


def _data_settings(context: Context, name: str) -> Data:
    if name not in context.settings.data:
        raise unknown("data set", name, context.settings.data)
    return context.settings.data[name]


def doctor(context: Context, parsed: Arguments) -> int:
    """Say whether this machine is ready, and what to do where it is not."""
    from pai_bench.cli.doctor import checks

    broken = 0
    for check in checks(context.settings, context.runs):
        mark = {True: "[green]ok[/]", False: "[red]no[/]", None: "[yellow]--[/]"}[check.ok]
        advice = f" → {check.advice}" if not check.ok and check.advice else ""
        context.console.print(f"{mark}  ", end="")
        context.console.print(Text(f"{check.name}: {check.found}{advice}"))
        broken += check.ok is False
    return 1 if broken else 0
