"""What the README tells people to type works."""

import re
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from pai_bench import networks
from pai_bench.experiment import grid
from pai_bench.registry import methods as registry
from pai_bench.registry import plugins
from pai_bench.training import fit

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_method_of_the_tutorial_is_listed_trained_and_loses(tmp_path, settings, quick):
    source = BLOCKS[0]
    assert len(source.splitlines()) <= 20
    path = tmp_path / "my_method.py"
    path.write_text(source)
    methods = registry.available((path,))
    (cell,) = grid.cells(settings, methods, "quick", grid.Selection(("smallest",), (0.1,), (1,)))
    recipe = quick(epochs=3)[0].recipe
    result = fit.fit_cell(replace(cell, recipe=recipe), settings, plugins=(path,)).result
    magnitude = quick(methods=("magnitude",), densities=(0.1,), seeds=(1,), epochs=3)[0]
    assert result.status == "done", result.reason
    assert result.accuracy.last < fit.fit_cell(magnitude, settings).result.accuracy.last


def test_the_network_and_the_data_set_of_the_tutorial_are_declared(tmp_path, settings):
    path = tmp_path / "mine.py"
    path.write_text(BLOCKS[1])
    extended = plugins.extend(settings, (path,))
    network = networks.build(extended.networks["tiny-net"], (1, 8, 8), 2)
    assert network(torch.zeros(3, 1, 8, 8)).shape == (3, 2)
    assert extended.data["mine"].images == (900, 100)


def test_the_functional_api_works_as_shown(capsys):
    known = {
        "network": nn.Linear(20, 10),
        "images": torch.randn(8, 20),
        "labels": torch.arange(8),
    }
    exec(BLOCKS[2], known)
    assert "weight  20 of 200 kept  density 0.1" in capsys.readouterr().out
    assert int(known["network"].weight.count_nonzero()) == 20


def test_every_make_target_and_variable_that_is_named_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^(?:    )?make ([a-z-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for variable in set(re.findall(r"\b([A-Z]{4,})=", README)) - {"PAI_BENCH_MIRROR"}:
        assert f"$({variable})" in makefile or f"call flag,{variable}," in makefile, variable


def test_every_suite_and_paper_that_is_named_exists(settings):
    for paper in re.findall(r"PAPER=(\S+?)[`\s]", README):
        assert paper in settings.papers
    known = {short for paper in settings.papers.values() for short in paper.suites}
    for suite in re.findall(r"SUITE=([\w-]+)", README):
        assert suite in known | settings.suites.keys()
