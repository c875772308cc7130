"""`pai-bench verify`, and what other commands say of results that were altered."""

import pytest

from pai_bench.experiment import grid
from pai_bench.store import replayed, spectra
from pai_bench.store.replayed import Replica
from pai_bench.store.result import Accuracy, Result, TangentSpectrum
from pai_bench.store.store import Store


@pytest.fixture
def altered(tmp_path, quick, settings, methods):
    """A folder of results, one of which was edited by hand."""
    cells = grid.cells(settings, methods, "ntt-mnist-steps")[-2:]
    store = Store(tmp_path / "runs", "ntt-mnist-steps")
    for cell in cells:
        store.put(cell, Result("done", accuracy=Accuracy(0.9, 0.9, 1)), {"test_accuracy": [0.9]})
    path = store.folder / cells[-1].id / "result.json"
    path.write_text(path.read_text().replace("0.9", "0.99"))
    return path


def test_a_store_is_whole_until_somebody_edits_it(call, tmp_path, altered):
    code, out, _ = call("verify", "runs")
    assert code == 1
    assert f"wrong    runs/ntt-mnist-steps/{altered.parent.name}/result.json: altered since" in out
    altered.write_text(altered.read_text().replace("0.99", "0.9"))
    code, out, _ = call("verify", "runs")
    assert code == 0
    assert "wrong  " not in out.partition("└")[2]


def test_spectra_and_replays_are_checked_too(call, tmp_path, quick):
    (cell,) = quick(methods=("snip",), densities=(0.1,), seeds=(1,))
    (tmp_path / "runs").mkdir()
    spectrum = Result("spectrum", spectrum=TangentSpectrum((3.5,), (4.0,), 1))
    path = spectra.write(tmp_path / "runs", "quick", cell, spectrum)
    replayed.write(tmp_path / "runs", "ntt", "lenet-5", Replica(1, 1), Result("replayed"))
    code, out, _ = call("verify", "runs")
    assert code == 0
    assert "2 replays, spectra and searches, checked too" in out
    path.write_text(path.read_text().replace("3.5", "3.6"))
    code, out, _ = call("verify", "runs")
    assert code == 1
    assert f"wrong    runs/{path.name}: altered since it was written" in out


def test_the_evidence_is_what_was_written(call):
    assert call("verify")[0] == 0


@pytest.mark.parametrize(
    "command",
    [
        ("leaderboard", "--suite", "ntt-mnist-steps"),
        ("leaderboard", "--suite", "ntt-mnist-steps", "--wandb", "offline"),
        ("claims", "ntt", "--runs", "runs"),
        ("export", "ntt-mnist-steps"),
        ("compare", "ntt", "random", "--suite", "ntt-mnist-steps"),
        ("evidence", "ntt-mnist-steps", "kept"),
    ],
)
def test_no_command_shows_what_was_altered(call, tmp_path, altered, command):
    code, out, err = call(*command)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert f"{altered.parent.name}/result.json: altered since it was written; remove the" in err
    assert not (tmp_path / "wandb").exists()
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere",), "nowhere: no such folder of results"),
        (("--rerun", "0"), "not a number of cells: '0'"),
        (("--rerun", "³"), "not a number of cells: '³'"),
    ],
)
def test_bad_input_is_one_line(call, arguments, says):
    code, _, err = call("verify", *arguments)
    assert code == 2
    assert says in err
    assert err.count("\n") == 1


def test_an_empty_folder_has_nothing_to_verify(call, tmp_path):
    (tmp_path / "runs").mkdir()
    assert "runs: no results to verify" in call("verify", "runs")[2]
