"""`pai-bench plan --gpus`: what a cluster would take, and the page about all papers."""

import re
from pathlib import Path

import pytest

from pai_bench.config.overrides import with_overrides
from pai_bench.experiment import grid
from pai_bench.experiment.cost import GPU, Assumption, assumed_seconds
from pai_bench.launch.simulation import (
    CHECKPOINT,
    Sizes,
    hours_on,
    largest_checkpoints,
    simulated_bundles,
    stack_size,
)

PAGE = Path(__file__).parents[2] / "docs" / "pages" / "explanation" / "cluster-simulation.md"


def test_the_page_is_what_the_command_prints(call):
    code, out, _ = call("plan", "--gpus", "64,512")
    assert code == 0
    assert out == PAGE.read_text(), (
        "pai-bench plan --gpus 64,512 > docs/pages/explanation/cluster-simulation.md"
    )


def test_one_suite_is_simulated_with_the_methods_that_are_its_own(call):
    code, out, _ = call("plan", "quick", "--gpus", "4")
    assert code == 0
    assert re.search(r"^\| quick \| lenet-300-100 \| digits \| 201 \|", out, re.MULTILINE)
    assert re.search(r"^\| 4 \| 201 \|", out, re.MULTILINE)
    assert "dessilbi" not in out


def test_what_is_no_number_of_gpus_is_one_line(call):
    code, _, err = call("plan", "--gpus", "64,x")
    assert (code, err.count("\n"), "not a number of GPUs: 'x'" in err) == (2, 1, True)


@pytest.fixture
def simulated(settings, methods):
    """Bundles of a suite, with sizes that are easy to reckon with."""

    def make(suite, assumed=GPU, **factors):
        known = with_overrides(settings, suite)
        cells = grid.cells(known, methods, suite)
        key = cells[0].network, cells[0].data
        sizes = Sizes({key: 1000}, {key: 2000}, 10.0)
        work = simulated_bundles(cells, known, set(factors), factors, sizes, assumed)
        return cells, known, work

    return make


def test_each_cell_is_in_one_bundle_and_bytes_are_theirs(simulated):
    cells, _, work = simulated("quick")
    assert sorted(c.id for one in work for c in one.bundle) == sorted(c.id for c in cells)
    assert sum(one.results for one in work) == len(cells) * 1010
    assert largest_checkpoints(work, 10**6) == len(cells) * 2000 * CHECKPOINT
    sizes = sorted((one.checkpoint for one in work), reverse=True)
    assert largest_checkpoints(work, 2) == sum(sizes[:2])


def test_a_stack_shares_what_a_step_costs_beside_arithmetic(simulated):
    only_steps = Assumption("steps", 1.0, 1e30)
    cells, known, work = simulated("quick", only_steps)
    assert max(len(one.bundle) for one in work) == 32
    alone = assumed_seconds(cells[0], known, only_steps)
    assert [one.seconds for one in work] == pytest.approx([alone] * len(work))
    only_flops = Assumption("arithmetic", 0.0, 1e9)
    cells, known, work = simulated("quick", only_flops)
    assert stack_size(cells[0], known, only_flops) == 1
    assert len(work) == len(cells)


def test_searches_take_as_long_as_they_did_elsewhere(simulated):
    _, _, before = simulated("quick")
    cells, known, work = simulated("quick", imp=5.0)
    searching = [cell for cell in cells if cell.method == "imp"]
    more = sum(one.seconds for one in work) - sum(one.seconds for one in before)
    assert searching
    assert more == pytest.approx(4 * sum(assumed_seconds(c, known, GPU) for c in searching))


def test_photographs_come_alone(settings, methods):
    cell = grid.cells(settings, methods, "rigl-imagenet")[0]
    assert stack_size(cell, settings) == 1


@pytest.mark.parametrize("gpus", [1, 2, 3, 100])
def test_the_queue_is_done_when_its_last_gpu_is(simulated, gpus):
    _, _, work = simulated("mnist")
    hours = [one.seconds / 3600 for one in work]
    until = hours_on(work, gpus)
    assert until >= max(max(hours), sum(hours) / gpus) * (1 - 1e-9)
    assert until <= sum(hours) / gpus + max(hours)  # Graham's bound of any such queue
