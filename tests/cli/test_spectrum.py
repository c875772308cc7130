"""`pai-bench spectrum`: measured once, stored, told in a table."""

from pathlib import Path

from pai_bench.cli.main import main

CONFIG = ("--config", str(Path(__file__).parents[2] / "benchmark.yaml"))
ASKED = ("spectrum", "quick", "--methods", "dense,magnitude,imp", "--densities", "0.05",
         "--seeds", "1", *CONFIG)  # fmt: skip


def test_spectra_are_stored_and_not_measured_again(tmp_path, monkeypatch, capsys):
    from pai_bench.training import spectra

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(spectra, "IMAGES", 5)
    assert main([*ASKED]) == 0
    first = capsys.readouterr().out
    assert "measured magnitude, density 0.05, seed 1" in first
    assert "1 cells: imp chooses its masks in training" in first
    assert len(list((tmp_path / "runs").glob("spectrum-quick-*.json"))) == 2
    assert main([*ASKED]) == 0
    again = capsys.readouterr().out
    assert "measured" not in again
    assert again == first[first.index("quick: spectra") :]
