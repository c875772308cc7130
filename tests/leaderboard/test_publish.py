"""What is said while a board goes to where it is read."""

import io

import pytest
from rich.console import Console

from pai_bench.leaderboard import publish
from pai_bench.leaderboard.wandb.mirror import Mirrored


@pytest.mark.parametrize(
    ("every", "lines"), [(0.0, ["W&B: 1 of 2 runs written", "W&B: 2 of 2 runs written"]), (9e9, [])]
)
def test_a_log_tells_how_many_runs_were_written(
    every, lines, made, paged, store, settings, monkeypatch
):
    def mirror(_board, _report, _settings, _folder, _mode, _rebuild, told):
        told(1, 2)
        told(2, 2)
        return Mirrored("offline", 2)

    monkeypatch.setattr(publish, "LOG_EVERY", every)
    monkeypatch.setattr(publish, "mirror", mirror)
    console = Console(file=io.StringIO(), width=80)
    assert publish.publish(console, made, paged, store).is_file()
    assert publish.mirrored(console, made, paged, settings, "offline").written == 2
    said = console.file.getvalue().splitlines()
    assert [line for line in said if "runs written" in line] == lines


def test_an_interrupt_ends_the_mirror_and_nothing_else(made, paged, settings, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(publish, "mirror", interrupted)
    console = Console(file=io.StringIO(), width=80)
    mirror = publish.mirrored(console, made, paged, settings, "offline")
    assert (mirror.written, mirror.problem) == (0, "interrupted")
