"""Files and folders are there whole or not at all, whoever writes and whatever fails."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pai_bench.core import files
from pai_bench.core.files import atomic_folder, atomic_write, remove_stale


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def broken_off(path, error):
    path.write_text("half")
    raise error


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_replaced_when_its_block_ends(tmp_path, sync):
    path = tmp_path / "new" / "file.txt"
    for text in ("one", "two"):
        with atomic_write(path, sync=sync) as beside:
            beside.write_text(text)
            assert text == "one" or path.read_text() == "one"
        assert path.read_text() == text
    assert names(path.parent) == ["file.txt"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_after_an_error_the_file_is_as_before(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("before")
    with pytest.raises(error), atomic_write(path) as beside:
        broken_off(beside, error)
    assert path.read_text() == "before"
    assert names(tmp_path) == ["file.txt"]


def test_a_folder_is_replaced_whole(tmp_path):
    path = tmp_path / "runs" / "cell"
    with atomic_folder(path) as beside:
        (beside / "a").write_text("1")
        assert not path.exists()
    with atomic_folder(path) as beside:
        (beside / "b").write_text("2")
        assert names(path) == ["a"]
    assert names(path) == ["b"]
    assert names(path.parent) == ["cell"]


def test_after_an_error_the_folder_is_as_before(tmp_path):
    path = tmp_path / "cell"
    with atomic_folder(path) as beside:
        (beside / "a").write_text("1")
    with pytest.raises(OSError, match=r"^$"), atomic_folder(path) as beside:
        broken_off(beside / "b", OSError)
    assert names(path) == ["a"]
    assert names(tmp_path) == ["cell"]


def test_two_writers_of_one_file_never_share_what_they_write(tmp_path):
    path, all_write = tmp_path / "file.txt", threading.Barrier(4)

    def write(text):
        with atomic_write(path) as beside, beside.open("w") as file:
            all_write.wait()
            file.write(text * 1000)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in [letter * 1000 for letter in "abcd"]
    assert names(tmp_path) == ["file.txt"]


def test_many_that_write_one_folder_at_once_leave_one_that_is_whole(tmp_path):
    path = tmp_path / "cell"

    def write(number):
        with atomic_folder(path) as beside:
            (beside / "a").write_text(f"{number}")
            (beside / "b").write_text(f"{number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(200)))
    assert (path / "a").read_text() == (path / "b").read_text()
    assert names(tmp_path) == ["cell"]


def test_what_dead_writers_left_is_removed_and_the_living_are_spared(tmp_path, monkeypatch):
    left = tmp_path / ".hidden.json"
    left.write_text("nobody's")
    with atomic_write(tmp_path / "file") as file, atomic_folder(tmp_path / "cell") as folder:
        file.write_text("being written")
        remove_stale(tmp_path)
        assert len(names(tmp_path)) == 3
        assert all(beside.name.endswith(f".{os.getpid()}") for beside in (file, folder))
        monkeypatch.setattr(files, "_is_alive", lambda _: False)
        remove_stale(tmp_path)
        assert names(tmp_path) == [".hidden.json"]
        file.write_text("again")
        folder.mkdir()
