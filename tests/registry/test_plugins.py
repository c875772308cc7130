"""Networks and data sets of one's own: declared, found, ranked; or refused in one line."""

import subprocess
import sys
from dataclasses import replace

import pytest

from pai_bench.cli.main import main
from pai_bench.config.overrides import with_overrides
from pai_bench.core import import_utils
from pai_bench.core.errors import BenchError
from pai_bench.experiment import grid
from pai_bench.registry import plugins
from pai_bench.training import fit

OWN = """
import numpy as np
from torch import nn

from pai_bench import dataset, network


@network("tiny-net", init="kaiming")
def build(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes))


@dataset("stripes", classes=2, shape=[1, 4, 4], images=[40, 10], mean=[0.5], std=[0.5])
def load():
    def part(count):
        labels = np.arange(count) % 2
        images = np.zeros((count, 1, 4, 4), np.uint8)
        images[labels == 0, :, ::2] = 255
        images[labels == 1, :, :, ::2] = 255
        return images, labels
    return part(40), part(10)
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def stripes(settings, methods, own, **changes):
    extended = plugins.extend(settings, (own,))
    name = "quick+network=tiny-net+data=stripes+epochs=3"
    extended = with_overrides(extended, name)
    chosen = grid.Selection(("snip",), (0.5,), (1,))
    (cell,) = grid.cells(extended, methods, name, chosen)
    return cell, extended


def test_a_network_and_a_data_set_of_a_file_train(settings, methods, own):
    cell, extended = stripes(settings, methods, own)
    result = fit.fit_cell(cell, extended).result
    assert result.status == "done", result.reason
    assert result.accuracy.last == 1.0
    assert result.density == 0.5


def test_a_changed_file_makes_new_cells(settings, methods, own):
    before, _ = stripes(settings, methods, own)
    assert stripes(settings, methods, own)[0].id == before.id
    own.write_text(OWN + "\n# something else\n")
    assert stripes(settings, methods, own)[0].id != before.id


def test_declarations_are_read_without_running_the_file(settings, own):
    own.write_text(OWN + "\nraise SystemExit('ran')\n")
    extended = plugins.extend(settings, (own,))
    assert "tiny-net" in extended.networks
    assert extended.data["stripes"].images == (40, 10)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"tiny-net"', '"resnet-20"', 'the network "resnet-20" is taken by benchmark.yaml'),
        ('"stripes"', '"mnist"', 'the dataset "mnist" is taken by benchmark.yaml'),
        ("classes=2", "classes=-2", "dataset stripes: classes: input should be greater than 0"),
        ("classes=2", "clases=2", "dataset stripes: "),
        ("classes=2", "classes=len('ab')", 'write @dataset("name", key=value, ...)'),
        ("import numpy", "import import", "cannot be read as Python"),
    ],
)
def test_what_cannot_be_is_one_line_with_file_and_line(settings, own, old, new, says):
    own.write_text(OWN.replace(old, new))
    with pytest.raises(BenchError) as caught:
        plugins.extend(settings, (own,))
    assert str(caught.value).startswith(f"{own}:")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("return part(40), part(10)", "return 1", "data set stripes from"),
        ("np.uint8", "np.float32", "images uint8"),
        ("return part(40)", "return part(41)", "train images are (41, 1, 4, 4)"),
        ("labels = np.arange(count) % 2", "labels = np.arange(count) % 3", "labels go from 0 to 2"),
        ("return images, labels", "raise OSError('no disk')", "OSError: no disk"),
    ],
)
def test_data_that_are_not_what_was_declared_are_refused(
    settings, methods, own, tmp_path, monkeypatch, old, new, says
):
    monkeypatch.setenv("PAI_BENCH_CACHE", str(tmp_path / "cache"))
    own.write_text(OWN.replace(old, new))
    cell, extended = stripes(settings, methods, own)
    result = fit.fit_cell(replace(cell, seed=2), extended).result
    assert result.status == "failed"
    assert says in result.reason


@pytest.mark.slow
def test_both_are_ranked_by_one_command(tmp_path, own, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = str(plugins.Path(__file__).parents[2] / "benchmark.yaml")
    options = ("--plugin", str(own), "--network", "tiny-net", "--data", "stripes")
    more = ("--set", "epochs=2", "--seeds", "1", "--densities", "0.5", "--jobs", "1")
    code = main(["run", "quick", *options, *more, "--methods", "random,dense", "--config", config])
    assert code == 0, capsys.readouterr().err
    assert "quick+network=tiny-net+data=stripes+epochs=2" in capsys.readouterr().out


def test_an_installed_package_that_wants_a_known_name_is_passed_over(
    settings, own, monkeypatch, capsys
):
    own.write_text(OWN.replace('"tiny-net"', '"resnet-20"'))
    found = {"pai_bench.networks": [("own", own)], "pai_bench.data": []}
    monkeypatch.setattr(import_utils, "installed", found.get)
    extended = plugins.extend(settings, ())
    assert extended.networks["resnet-20"] == settings.networks["resnet-20"]
    assert "stripes" in extended.data
    said = capsys.readouterr().err
    assert f'{own}:8: the network "resnet-20" is taken by benchmark.yaml; passed over' in said


def test_the_module_needs_no_torch():
    code = "import sys, pai_bench.registry.plugins; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
