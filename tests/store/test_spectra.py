"""Spectra as files: of one cell each, beside the result of its training, noticed when altered."""

import json

import pytest

from pai_bench.core.errors import BenchError
from pai_bench.store import comparable, spectra
from pai_bench.store.merging import plan_merge
from pai_bench.store.result import Result, TangentSpectrum

RESULT = Result(
    "spectrum",
    spectrum=TangentSpectrum((3.5, 1.0), (4.0, 2.0), 2),
    environment={"command": "pai-bench spectrum quick --runs /somewhere/runs"},
)


def test_what_is_written_is_read_by_suite(tmp_path, quick):
    (cell,) = quick(methods=("snip",), densities=(0.1,), seeds=(1,))
    spectra.write(tmp_path, "quick", cell, RESULT)
    spectra.write(tmp_path, "quick+epochs=2", cell, RESULT)
    (found,) = spectra.read(tmp_path, "quick")
    assert found.cell == cell
    assert found.result.spectrum == RESULT.spectrum
    assert found.result.environment["command"] == "pai-bench spectrum quick --runs runs"
    assert spectra.read(tmp_path / "nowhere", "quick") == []


def test_a_spectrum_that_was_altered_or_renamed_is_refused(tmp_path, quick):
    one, other = quick(methods=("snip",), densities=(0.1,), seeds=(1, 2))
    path = spectra.write(tmp_path, "quick", one, RESULT)
    whole = path.read_text()
    path.write_text(whole.replace("3.5", "3.6"))
    with pytest.raises(BenchError, match="altered since it was written; remove it to measure"):
        spectra.read(tmp_path, "quick")
    path.rename(spectra.path_of(tmp_path, "quick", other))
    spectra.path_of(tmp_path, "quick", other).write_text(whole)
    with pytest.raises(BenchError, match="not a spectrum of the cell"):
        spectra.read(tmp_path, "quick")


@pytest.mark.parametrize("record", [{}, [], {"result": {}}, {"result": 1, "digest": ""}])
def test_another_file_of_that_name_is_one_line(record, tmp_path):
    (tmp_path / "spectrum-quick-0123456789ab.json").write_text(json.dumps(record))
    with pytest.raises(BenchError, match=r"spectrum-quick-0123456789ab\.json"):
        spectra.read(tmp_path, "quick")


def test_spectra_of_other_versions_stand_beside_no_others(tmp_path, quick, methods):
    from dataclasses import replace

    (cell,) = quick(methods=("snip",), densities=(0.1,), seeds=(1,))
    spectra.write(tmp_path, "quick", cell, RESULT)
    spectra.write(tmp_path, "quick", replace(cell, method_version=99), RESULT)
    found = comparable.stored_spectra([tmp_path], "quick", [cell], methods)
    assert [entry.cell for entry in found] == [cell]


def test_merging_takes_spectra_along_and_names_those_that_differ(tmp_path, quick, methods):
    from dataclasses import replace

    one, other = quick(methods=("snip",), densities=(0.1,), seeds=(1, 2))
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    spectra.write(tmp_path / "a", "quick", one, replace(RESULT, seconds={"total": 1.0}))
    spectra.write(tmp_path / "b", "quick", one, replace(RESULT, seconds={"total": 2.0}))
    path = spectra.write(tmp_path / "b", "quick", other, RESULT)
    plan = plan_merge([tmp_path / "a", tmp_path / "b"], tmp_path / "a", methods)
    assert (list(plan.copies.values()), plan.same, plan.contradictions) == ([path], 1, [])
    changed = replace(RESULT, spectrum=TangentSpectrum((9.0, 1.0), (4.0, 2.0), 2))
    spectra.write(tmp_path / "b", "quick", one, changed)
    plan = plan_merge([tmp_path / "a", tmp_path / "b"], tmp_path / "a", methods)
    assert len(plan.contradictions) == 1
