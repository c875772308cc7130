"""One board to all places where it is read: terminal, page, Weights & Biases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from pai_bench.config.schema import Benchmark
from pai_bench.core.files import atomic_write
from pai_bench.leaderboard import html
from pai_bench.leaderboard.board import Board
from pai_bench.leaderboard.page import Page
from pai_bench.leaderboard.terminal import print_board
from pai_bench.leaderboard.wandb.mirror import Mirrored, Mode, OnWritten, mirror
from pai_bench.leaderboard.wandb.report import report
from pai_bench.store.store import Store

WANDB_FOLDER = Path("wandb")
LOG_EVERY = 5.0
"""Seconds between two lines of progress in a log."""
_BUFFER = 1 << 20
"""Bytes of a page that are written at once: with 8 KiB, writing takes twice as long."""


def publish(console: Console, selected: Board, page: Page, store: Store) -> Path:
    """Print the `selected` board, and write the `page` of the whole board; return its path."""
    print_board(console, selected, str(page.data["title"]))
    return write_page(page, store.folder)


def mirrored(
    console: Console,
    board: Board,
    page: Page,
    settings: Benchmark,
    wandb: Mode,
    rebuild: bool = False,
) -> Mirrored:
    """Mirror a board to W&B, and show how far that is; an interrupt ends it, and nothing else."""
    summary = report(board, page, settings)
    try:
        with _counted(console) as count:
            return mirror(board, summary, settings, WANDB_FOLDER, wandb, rebuild, count)
    except KeyboardInterrupt:
        return Mirrored(wandb, problem="interrupted")


@contextmanager
def _counted(console: Console) -> Iterator[OnWritten]:
    """Show how many runs W&B has got: on a terminal as it goes, in a log every few seconds."""
    last = time.monotonic()
    with console.status("W&B") as status:

        def count(written: int, of: int) -> None:
            nonlocal last
            text = f"W&B: {written} of {of} runs written"
            status.update(text)
            if not console.is_terminal and time.monotonic() - last >= LOG_EVERY:
                last = time.monotonic()
                console.print(text, highlight=False)

        yield count


def write_page(page: Page, folder: Path) -> Path:
    """Write a page into a folder, whole or not at all; return its path."""
    path = folder / "leaderboard.html"
    with atomic_write(path) as beside, beside.open("w", _BUFFER, encoding="utf-8") as file:
        file.writelines(html.render(page.data, page.shared, page.cells))
    return path
