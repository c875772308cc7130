"""What the READMEs print is what the evidence says, and the evidence is whole."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from pai_bench.claims.lookup import evidence_folders
from pai_bench.claims.metric_registry import NO_CONTEXT, measured
from pai_bench.config.overrides import with_overrides
from pai_bench.experiment import grid
from pai_bench.leaderboard import evidence_board, evidence_report
from pai_bench.leaderboard.board import board
from pai_bench.leaderboard.terminal import print_board
from pai_bench.store import spectra
from pai_bench.store.store import Store

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"<!-- evidence: (\S+) (\S+) -->\n```\n(.*?)```", re.DOTALL)
BLOCKS = [
    pytest.param(*match.groups(), id=f"{path.parent.name}-{match.group(2)}")
    for path in evidence_report.pages(None)
    for match in BLOCK.finditer(path.read_text())
]
FOLDERS = [
    path for kept_in in evidence_folders() for path in sorted(kept_in.iterdir()) if path.is_dir()
]


@pytest.mark.parametrize(("folder", "suite", "printed"), BLOCKS)
def test_each_printed_line_is_a_line_of_the_table_in_its_order(
    folder, suite, printed, settings, methods
):
    store = Store(ROOT / folder, suite)
    settings = with_overrides(settings, suite)
    cells = grid.cells(settings, methods, suite)
    console = Console(file=io.StringIO(), width=110)
    print_board(console, board(store, suite, cells, settings.methods_of_papers()), suite)
    rendered = [line.rstrip() for line in console.file.getvalue().splitlines()]
    lines = [line.rstrip() for line in printed.splitlines() if line.strip() not in ("", "...")]
    assert len(lines) > 5
    position = -1
    for line in lines:
        assert line in rendered[position + 1 :], line
        position = rendered.index(line, position + 1)


@pytest.mark.parametrize("page", evidence_report.pages(None), ids=lambda path: path.parent.name)
def test_what_a_readme_repeats_is_what_the_evidence_says_today(page, settings, methods):
    """`make evidence-report` writes it anew."""
    text = page.read_text()
    assert evidence_report.refresh(text, settings, methods) == text


def test_the_evidence_leaderboard_is_what_the_evidence_says_today(settings, methods):
    assert (ROOT / evidence_board.PAGE).read_text() == evidence_board.evidence_leaderboard(
        settings, methods
    )


def _first_seeds(label, found, planned):
    """As many seeds of a line as were found, in the order of the suite."""
    seeds = dict.fromkeys(cell.seed for cell in planned if cell.label == label)
    return list(seeds)[: len({cell.seed for cell in found if cell.label == label})]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_evidence_is_whole_and_belongs_to_the_cells_of_today(folder, settings, methods):
    store = Store(folder.parent, folder.name)
    assert [problem for cell_id in store.ids() for problem in store.verify(cell_id)] == []
    resolved = with_overrides(settings, folder.name)
    planned = grid.cells(resolved, methods, folder.name)
    statuses = {entry.result.status for entry in store.entries()}
    if statuses == {"counted"}:  # those that claims about FLOPs are about
        assert set(store.ids()) <= {cell.id for cell in planned}
    else:  # a line has its first seeds, at all densities: none was picked
        found = [entry.cell for entry in store.entries()]
        assert {cell.id for cell in found} == {
            cell.id for cell in planned if cell.seed in _first_seeds(cell.label, found, planned)
        }
    commits = {entry.result.environment["commit"] for entry in store.entries()}
    assert all(commit and not commit.endswith("+changes") for commit in commits)


def test_there_is_evidence():
    assert len(BLOCKS) >= 2
    assert len(FOLDERS) >= 2


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_kind_of_result_has_metrics_outside_of_any_table_of_claims(folder):
    """As pages and exports ask for them."""
    entries = {entry.cell.method: entry for entry in Store(folder.parent, folder.name).entries()}
    assert all(measured(entry.result, NO_CONTEXT) for entry in entries.values())


def test_the_drawn_spectra_are_those_of_the_evidence(settings, methods):
    """`pai-bench plot ntk-sap-cifar10 --kind spectra` (README) draws them anew."""
    matplotlib = pytest.importorskip("matplotlib", reason="figures need matplotlib")
    from pai_bench.leaderboard.figures.drawing import Request, drawn

    kept = (ROOT / "reproductions/ntk_sap/spectra.svg").read_bytes()
    if f"Matplotlib v{matplotlib.__version__},".encode() not in kept:
        pytest.skip("drawn by another version of matplotlib")
    request = Request("ntk-sap-cifar10", "spectra", columns=2)
    folder = ROOT / "reproductions/ntk_sap/evidence"
    assert drawn(request, settings, methods, [folder]).content("svg") == kept


def test_spectra_of_the_evidence_are_of_planned_cells(settings, methods):
    seeds = (1, 2, 3, 4, 5, 6)  # More than trainings have: settled when three had been seen.
    planned = grid.cells(settings, methods, "ntk-sap-cifar10", grid.Selection(seeds=seeds))
    found = spectra.read(ROOT / "reproductions/ntk_sap/evidence", "ntk-sap-cifar10")
    assert {entry.cell.id for entry in found} <= {cell.id for cell in planned}
    of_lines = {(entry.cell.label, entry.cell.seed) for entry in found}
    assert of_lines == {(line, seed) for line, _ in of_lines for seed in seeds}
    assert all(len(entry.result.spectrum.eigenvalues) == 1000 for entry in found)
