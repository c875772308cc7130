"""What the options of a command ask for."""

import pytest

from pai_bench.config.overrides import with_overrides
from pai_bench.core import kernels
from pai_bench.experiment import grid
from pai_bench.store.store import Store


def test_kernels_are_no_part_of_what_a_cell_is(call, tmp_path, settings, methods):
    suite = "quick+epochs=1"
    chosen = ("--set", "epochs=1", "--methods", "dense", "--seeds", "1", "--jobs", "1")
    code, *_ = call("run", "quick", *chosen, "--kernels", "native", "--wandb", "disabled")
    assert code == 0
    selection = grid.Selection(("dense",), seeds=(1,))
    (cell,) = grid.cells(with_overrides(settings, suite), methods, suite, selection)
    environment = Store(tmp_path / "runs", suite).get(cell.id).result.environment
    assert not environment["portable"]
    assert "--kernels native" in environment["command"]


def test_kernels_of_another_name_are_one_line(call):
    code, _, err = call("run", "quick", "--kernels", "fast")
    assert code == 2
    assert "argument --kernels: invalid choice: 'fast'" in err


@pytest.mark.parametrize("command", [("spectrum", "no-suite"), ("replay", "rigl")], ids=" ".join)
def test_commands_that_train_nothing_choose_kernels_too(command, call, monkeypatch):
    chosen = []
    monkeypatch.setattr(kernels, "choose", lambda portable, _threads: chosen.append(portable))
    for name in ("native", "portable"):
        assert call(*command, "--kernels", name)[0] != 0
    assert chosen == [False, True]
