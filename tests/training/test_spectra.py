"""Spectra are of the networks that trainings start from."""

import math

import pytest
import torch

from pai_bench.claims.metrics import largest_eigenvalue, spectrum_distance
from pai_bench.core.errors import BenchError
from pai_bench.experiment.bundle import Bundle
from pai_bench.store.result import Result, TangentSpectrum
from pai_bench.training import spectra
from pai_bench.training.build import build_data, build_module
from pai_bench.training.fit import fit_cell
from pai_bench.training.spectra import Spectra, starting_masks


@pytest.mark.parametrize("method", ["snip", "ntk-sap", "random"])
def test_masks_are_those_that_the_training_has(settings, quick, method):
    cell = quick(methods=(method,), densities=(0.05,), seeds=(1,))[0]
    (data,) = build_data(Bundle((cell,)), settings)
    masks = starting_masks(build_module(cell, settings, ()), data)
    trained = fit_cell(cell, settings).masks
    assert all(torch.equal(masks[name], trained[name]) for name in trained)


def test_a_sparse_network_is_measured_against_the_dense_one_of_its_seed(
    settings, quick, monkeypatch
):
    monkeypatch.setattr(spectra, "IMAGES", 6)
    measure = Spectra(settings)
    cells = quick(methods=("dense", "magnitude"), densities=(0.05,), seeds=(1, 2))
    dense, sparse, other_dense, _ = (measure.of(cell) for cell in cells)
    assert dense.spectrum.eigenvalues == dense.spectrum.dense == sparse.spectrum.dense
    assert dense.spectrum.dense != other_dense.spectrum.dense
    assert len(sparse.spectrum.eigenvalues) == 60
    assert largest_eigenvalue(sparse) < largest_eigenvalue(dense)
    assert spectrum_distance(sparse) > spectrum_distance(dense) == 0
    assert sparse.density == pytest.approx(0.05, rel=1e-3)
    assert Result.from_json(sparse.to_json()) == sparse


def test_methods_that_choose_in_training_have_none(settings, quick):
    cell = quick(methods=("imp",), densities=(0.05,), seeds=(1,))[0]
    with pytest.raises(BenchError, match="imp chooses its masks in training"):
        Spectra(settings).of(cell)


def test_distance_is_in_decades_and_rounding_errors_are_one_floor():
    found = TangentSpectrum((100.0, 1.0, -1e-20), (10.0, 10.0, 0.0), 1)
    expected = (1 + 1 + math.log10(100 / 10)) / 3
    assert spectrum_distance(Result("spectrum", spectrum=found)) == pytest.approx(expected)
    assert spectrum_distance(Result("done")) is None
