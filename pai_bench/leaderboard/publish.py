"""One board to all places where it is read: terminal, page, Weights & Biases."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from pai_bench.config import Benchmark
from pai_bench.leaderboard import html
from pai_bench.leaderboard.page import Page
from pai_bench.leaderboard.statistics import Board
from pai_bench.leaderboard.terminal import print_board
from pai_bench.leaderboard.wandb.mirror import Mirrored, Mode, mirror
from pai_bench.leaderboard.wandb.report import report
from pai_bench.store import Store

WANDB_FOLDER = Path("wandb")


def publish(
    console: Console,
    asked: Board,
    board: Board,
    page: Page,
    settings: Benchmark,
    store: Store,
    wandb: Mode,
    rebuild: bool = False,
) -> tuple[Path, Mirrored]:
    """Print what was `asked`; write the `page` of the whole `board` beside the results, and W&B.

    Returns the path of the page and what became of the mirror.
    """
    print_board(console, asked, str(page.data["title"]))
    path = write_page(page, store.folder)
    return path, mirror(
        board, report(board, page, settings), settings, WANDB_FOLDER, wandb, rebuild
    )


def write_page(page: Page, folder: Path) -> Path:
    """Write a page into a folder, whole or not at all; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "leaderboard.html"
    beside = path.with_suffix(".tmp")
    with beside.open("w", encoding="utf-8") as file:
        file.writelines(html.render(page.data, page.shared, page.cells))
    beside.replace(path)
    return path
