"""What the README tells people to type works."""

import re
from dataclasses import replace
from pathlib import Path

from pai_bench.experiment import grid
from pai_bench.registry import methods as registry
from pai_bench.training import fit

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
(METHOD,) = re.findall(r'```python title="my_method.py"\n(.*?)```', README, re.DOTALL)


def test_the_method_of_the_tutorial_is_listed_trained_and_loses(tmp_path, settings, quick):
    assert len(METHOD.splitlines()) <= 20
    path = tmp_path / "my_method.py"
    path.write_text(METHOD)
    methods = registry.available((path,))
    (cell,) = grid.cells(settings, methods, "quick", grid.Selection(("smallest",), (0.1,), (1,)))
    recipe = quick(epochs=3)[0].recipe
    result = fit.fit_cell(replace(cell, recipe=recipe), settings, plugins=(path,)).result
    magnitude = quick(methods=("magnitude",), densities=(0.1,), seeds=(1,), epochs=3)[0]
    assert result.status == "done", result.reason
    assert result.accuracy.last < fit.fit_cell(magnitude, settings).result.accuracy.last


def test_a_visitor_reads_it_in_three_minutes():
    assert len(README.splitlines()) <= 150


def test_every_page_that_is_named_exists():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).is_file(), link
