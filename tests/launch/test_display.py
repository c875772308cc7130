"""The progress display: what it counts, and how long it says that things will take."""

import io

import pytest
from rich.console import Console

from pai_bench.experiment.bundle import Bundle
from pai_bench.launch import display
from pai_bench.launch.events import Finished, Started
from pai_bench.training.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    return now


def test_time_left_follows_the_work_done_weighed_by_cost(quick, clock):
    cells = quick(methods=("snip",), densities=(0.1,), seeds=(1, 2, 3))
    costs = dict(zip((cell.id for cell in cells), (1.0, 1.0, 2.0), strict=True))
    shown = display.ProgressDisplay(Console(file=io.StringIO()), cells, lambda cell: costs[cell.id])
    assert shown.seconds_left() is None
    shown.update(Started(Bundle((cells[0],))))
    clock[0] += 10
    shown.update(Finished(cells[0], "done"))
    assert shown.seconds_left() == pytest.approx(30)
    shown.update(Started(Bundle((cells[2],))))
    shown.update(Progress(Bundle((cells[2],)), 1, 2))
    assert shown.seconds_left() == pytest.approx(10)
    assert shown.status() == "1/3 cells done · 2 left · time left: 10 s"


def test_what_an_interrupted_training_had_done_took_none_of_this_time(quick, clock):
    cells = quick(methods=("snip",), densities=(0.1,), seeds=(1,))
    shown = display.ProgressDisplay(Console(file=io.StringIO()), cells, lambda _: 1.0)
    for event in (
        Started(Bundle((cells[0],))),
        Progress(Bundle((cells[0],)), 0, 100),
        Progress(Bundle((cells[0],)), 60, 100),
    ):
        shown.update(event)
    clock[0] += 10
    shown.update(Progress(Bundle((cells[0],)), 61, 100))
    clock[0] += 10
    shown.update(Progress(Bundle((cells[0],)), 62, 100))
    assert shown.seconds_left() == pytest.approx(10 * 38)


def test_epochs_that_are_told_of_several_at_once_were_trained_all_the_same(quick, clock):
    cells = quick(methods=("snip",), densities=(0.1,), seeds=(1, 2))
    shown = display.ProgressDisplay(Console(file=io.StringIO()), cells, lambda _: 1.0)
    shown.update(Started(Bundle((cells[0],))))
    for epoch in range(5, 105, 5):
        clock[0] += 5
        shown.update(Progress(Bundle((cells[0],)), epoch, 200))
    assert shown.seconds_left() == pytest.approx(300, rel=0.1)


def test_how_long_masks_took_says_nothing_of_the_training(quick, clock):
    first, second = quick(methods=("snip",), densities=(0.1,), seeds=(1, 2))
    shown = display.ProgressDisplay(Console(file=io.StringIO()), [first, second], lambda _: 1.0)
    shown.update(Started(Bundle((first,))))
    clock[0] += 7200  # Its masks are chosen by a long search.
    shown.update(Progress(Bundle((first,)), 1, 50))
    clock[0] += 10
    shown.update(Progress(Bundle((first,)), 2, 50))
    assert shown.seconds_left() > 7200  # The other one has its search before it.
    shown.update(Started(Bundle((second,))))
    assert shown.seconds_left() > 7200
    for epoch in (1, 2):
        shown.update(Progress(Bundle((second,)), epoch, 50))
        clock[0] += 11
    assert shown.seconds_left() == pytest.approx(48 * 11 - 11)


def test_the_start_of_the_workers_is_not_taken_for_their_speed(quick, clock):
    cells = quick(methods=("snip",), densities=(0.1,), seeds=(1,))
    shown = display.ProgressDisplay(Console(file=io.StringIO()), cells, lambda _: 1.0)
    shown.update(Started(Bundle((cells[0],))))
    clock[0] += 5
    shown.update(Progress(Bundle((cells[0],)), 1, 100))
    assert shown.seconds_left() is None
    clock[0] += 11
    assert shown.seconds_left() == pytest.approx(16 * 99)


def test_a_log_gets_lines_and_failures_are_told_at_once(quick, clock):
    cells = quick(methods=("snip",), densities=(0.1,), seeds=(1, 2))
    out = io.StringIO()
    with display.ProgressDisplay(Console(file=out, width=100), cells, lambda _: 1.0) as shown:
        shown.update(Started(Bundle((cells[0],))))
        clock[0] += 6
        shown.update(Progress(Bundle((cells[0],)), 0, 2, "round 2 of 5"))
        shown.update(Progress(Bundle((cells[0],)), 1, 2))
        clock[0] += 6
        shown.update(Progress(Bundle((cells[0],)), 2, 2))
        shown.update(Finished(cells[0], "failed", "no [red]memory[/]"))
        shown.update(Finished(cells[1], "done"))
    text = out.getvalue()
    assert "0/2 cells done · 2 left" in text
    assert "snip · density 0.1 · seed 1 · choosing masks, round 2 of 5" in text
    assert "snip · density 0.1 · seed 1 · epoch 2/2" in text
    assert "epoch 1/2" not in text
    assert "failed: snip · density 0.1 · seed 1: no [red]memory[/]" in text
    assert text.rstrip().endswith("2/2 cells done · 0 left · 1 failed · took 12 s")


def test_a_terminal_gets_a_live_display_of_the_cells_in_hand(quick, clock):
    cells = quick(methods=("snip",), densities=(0.1,), seeds=(1,))
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True)
    with display.ProgressDisplay(console, cells, lambda _: 1.0) as shown:
        shown.update(Started(Bundle((cells[0],))))
        shown.update(Progress(Bundle((cells[0],)), 0, 2))
        shown.update(Progress(Bundle((cells[0],)), 1, 2))
    lines = out.getvalue().splitlines()
    assert any("0/1 cells done" in line for line in lines)
    assert any("snip · density 0.1 · seed 1 · epoch 1/2" in line for line in lines)


def test_a_bundle_is_one_line_and_counts_its_cells_one_by_one(quick, clock):
    cells = quick(methods=("snip",), densities=(0.1,), seeds=(1, 2))
    out = io.StringIO()
    bundle = Bundle(tuple(cells))
    with display.ProgressDisplay(Console(file=out, width=100), cells, lambda _: 1.0) as shown:
        shown.update(Started(bundle))
        clock[0] += 20
        shown.update(Progress(bundle, 1, 2))
        assert shown.seconds_left() == pytest.approx(20)
        shown.update(Finished(cells[0], "done"))
        assert shown.status().startswith("1/2 cells done")
        shown.update(Finished(cells[1], "done"))
    assert "seed 1 and 1 more · epoch 1/2" in out.getvalue()
