"""Files that say how far runs are: what is written is read, and what is no such file is not."""

import os
import time
from dataclasses import replace

import pytest

from pai_bench.store import progress_files
from pai_bench.store.lease_entry import Holder, here
from pai_bench.store.progress_files import BundleProgress, CellProgress, RunProgress

CELL = CellProgress("c1", "random (scope=erk)", 0.1, 2, "invert", 0.5)
BUNDLE = BundleProgress("ab12", Holder(host="node7", process=12), 3, 20, "", 65.0, (CELL,))
RUN = RunProgress("mnist", Holder(host="node1", process=9), 3, 1, 8, None)


def unwritten(found):
    return [replace(progress, written=0.0) for progress in found]


def test_what_is_written_is_read_the_latest_last(tmp_path):
    other = replace(BUNDLE, bundle="0f", seconds_left=None)
    for progress in (other, BUNDLE, RUN):
        progress_files.write(tmp_path, progress)
    os.utime(tmp_path / "progress" / "ab12.json", (1e9, 1e9))
    assert unwritten(progress_files.bundles(tmp_path)) == [BUNDLE, other]
    assert progress_files.bundles(tmp_path)[0].written == 1e9
    assert unwritten(progress_files.all_runs(tmp_path)) == [RUN]


@pytest.mark.parametrize("content", ["", '{"bundle": "ab', '{"bundle": "ab12"}', "[]", "\xff"])
def test_what_is_no_such_file_is_passed_over(content, tmp_path):
    progress_files.write(tmp_path, BUNDLE)
    (tmp_path / "progress" / "ff.json").write_text(content, encoding="latin-1")
    assert unwritten(progress_files.bundles(tmp_path)) == [BUNDLE]


def test_what_has_ended_leaves_nothing(tmp_path):
    for progress in (BUNDLE, RUN):
        progress_files.write(tmp_path, progress)
        progress_files.discard(tmp_path, progress)
        progress_files.discard(tmp_path, progress)
    assert list(tmp_path.iterdir()) == []


def test_what_the_dead_have_left_goes(tmp_path):
    alive, dead = here(), replace(here(), started="0")
    for name, holder in (("aa", alive), ("bb", dead)):
        progress_files.write(tmp_path, replace(BUNDLE, bundle=name, holder=holder))
    for holder in (dead, RUN.holder):
        progress_files.write(tmp_path, replace(RUN, holder=holder))
    folder = tmp_path / "progress"
    (folder / ".bb.json.123.part").touch()
    progress_files.forget(tmp_path, 60.0)
    names = {path.name for path in folder.iterdir()}
    assert names == {"aa.json", "run-node1-9.json", ".bb.json.123.part"}
    for silent in names - {"aa.json"}:
        os.utime(folder / silent, (time.time() - 70,) * 2)
    progress_files.forget(tmp_path, 60.0)
    assert [path.name for path in folder.iterdir()] == ["aa.json"]


def test_a_folder_that_cannot_be_written_to_is_no_failure(tmp_path):
    (tmp_path / "progress").write_text("a file")
    progress_files.write(tmp_path, BUNDLE)
    progress_files.discard(tmp_path, BUNDLE)
    assert progress_files.bundles(tmp_path) == []
