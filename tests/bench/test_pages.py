"""The measurement of pages makes the results that it says, and a page that holds them all."""

import io

from rich.console import Console

from pai_bench.bench import pages, stored
from pai_bench.store.store import Store


def test_results_are_as_many_as_asked_for_and_whole(tmp_path, settings, methods):
    store = stored.fill(tmp_path, settings, methods, 40)
    assert len(store.ids()) == 40
    assert [store.verify(cell_id) for cell_id in store.ids()] == [[]] * 40


def test_the_page_holds_all_results(settings, methods, monkeypatch, tmp_path):
    monkeypatch.setattr(pages, "RESULTS", 40)
    console = Console(file=io.StringIO(), width=200)
    pages.measure(console, settings)
    assert "A page of 40 results" in console.file.getvalue()
    assert "40 results are listed in 0.0" in console.file.getvalue()
    stored.fill(tmp_path, settings, methods, 40)
    pages._build(tmp_path, settings, methods)
    text = (tmp_path / "mnist/leaderboard.html").read_text()
    assert all(f'"id":"{cell_id}"' in text for cell_id in Store(tmp_path, "mnist").ids())
