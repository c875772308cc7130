"""READMEs are written from evidence: numbers that changed, claims that failed, lines that went."""

import pytest

from pai_bench.core.errors import BenchError
from pai_bench.experiment import grid
from pai_bench.leaderboard import evidence_report
from pai_bench.store.result import Accuracy, Result
from pai_bench.store.store import Store

FILE = """
paper: some
authors: [Ann One]
year: 2020
sources: {table: {what: Table 1}}
suites: {quick: {deviations: [digits for photographs]}}
lines: {SNIP: snip, GraSP: grasp}
tables:
  one: {about: Accuracy on digits, source: table, suite: quick, densities: 0.5 0.1,
        doubt: misprinted, rows: {SNIP: 95.0 80.0, GraSP: 95.0 93.0}}
missing: [the appendix]
"""
PAGE = """# Some

<!-- evidence: reproductions/some/evidence quick -->
```
  method                 density   sparsity         accuracy %   n
...
  snip                       0.5       50 %       11.11 ± 2.22   3       -0.56 ± 0.69         0.5
...
                             0.1       90 %       11.11 ± 2.22   3       -0.56 ± 0.69         0.5
...
```

<!-- claims: some -->
outdated
<!-- end of claims -->

The end.
"""


@pytest.fixture
def root(tmp_path, settings, methods):
    """A project with the claims of one paper, and evidence of SNIP."""
    folder = tmp_path / "reproductions" / "some"
    store = Store(folder / "evidence", "quick")
    for cell in grid.cells(settings, methods, "quick", grid.Selection(("snip",), (0.5, 0.1))):
        value = 0.95 + 0.0001 * cell.seed
        store.put(cell, Result("done", accuracy=Accuracy(value, value, 1), density=0.1))
    (folder / "claims.yaml").write_text(FILE)
    (folder / "README.md").write_text(PAGE)
    return tmp_path


def test_blocks_show_the_evidence_and_only_the_lines_that_were_chosen(root, settings, methods):
    fresh = evidence_report.refresh(PAGE, settings, methods, root)
    block = fresh.partition("```\n")[2].partition("```")[0].splitlines()
    assert [line.split()[:4] for line in block if line != "..."][1:] == [
        ["snip", "0.5", "50", "%"],
        ["0.1", "90", "%", "95.02"],
    ]
    assert "11.11" not in fresh
    assert block.count("...") == 3
    assert "vs best baseline" in block[0]


def test_a_line_that_is_gone_is_an_error(root, settings, methods):
    page = PAGE.replace("  snip    ", "  snap    ")
    with pytest.raises(BenchError, match="evidence of quick has no line any more for: snap"):
        evidence_report.refresh(page, settings, methods, root)


def test_each_verdict_is_told_failures_and_deviations_too(root, settings, methods):
    fresh = evidence_report.refresh(PAGE, settings, methods, root)
    section = fresh.partition("<!-- claims: some -->")[2].partition("<!-- end of claims -->")[0]
    assert "outdated" not in section
    assert "4 claims: 1 reproduced, 1 not reproduced, 0 inconclusive, 2 not run" in section
    assert "| one/SNIP/0.5 | 95.0 | 95.02 | +0.02 [" in section
    assert "**Not reproduced**" in section
    assert "SNIP at density 0.1: 80.0 (Accuracy on digits)" in section
    assert "The print itself is in doubt: misprinted." in section
    assert "`pai-bench run quick --methods snip --densities 0.1`" in section
    assert "- digits for photographs" in section
    assert "- 2: its cells have not run" in section
    assert "- the appendix" in section
    assert "`quick` (6 cells)" in section
    assert fresh.endswith("\nThe end.\n")


def test_a_page_is_written_once_and_then_stays(root, settings, methods):
    (page,) = evidence_report.pages("some", root)
    assert evidence_report.refresh_file(page, settings, methods, root) is True
    written = page.read_text()
    assert evidence_report.refresh_file(page, settings, methods, root) is False
    assert page.read_text() == written


def test_outside_of_a_checkout_it_says_so(tmp_path):
    with pytest.raises(BenchError, match="reports are written in a checkout"):
        evidence_report.pages(None, tmp_path)
