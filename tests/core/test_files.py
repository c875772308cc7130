"""Files and folders are there whole or not at all, whoever writes and whatever fails."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pai_bench.core import files
from pai_bench.core.files import atomic_folder, atomic_write, remove_old_parts, remove_parts


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


def left_by_the_dead(tmp_path, name):
    """Write a file and a folder by that name as far as a writer gets who is killed."""
    with atomic_write(tmp_path / name) as file:
        left = [tmp_path / f".{name}.0{file.name.rpartition('.')[0][-5:]}{suffix}.part"
                for suffix in ("a", "b")]  # fmt: skip
        assert file.name.startswith(f".{name}.")
        assert file.name.endswith(".part")
        file.touch()
    (tmp_path / name).unlink()
    left[0].write_text("half")
    left[1].mkdir()
    return {part.name for part in left}


def test_who_may_write_next_removes_what_is_half_written(tmp_path):
    left = left_by_the_dead(tmp_path, "cell")
    other = left_by_the_dead(tmp_path, "cell2")
    (tmp_path / ".hidden.json").touch()
    assert {*names(tmp_path)} == {".hidden.json", *left, *other}
    remove_parts(tmp_path / "cell")
    assert {*names(tmp_path)} == {".hidden.json", *other}


def test_what_was_touched_within_a_day_stays(tmp_path, monkeypatch):
    left = left_by_the_dead(tmp_path, "cell")
    (tmp_path / ".index.jsonl").touch()
    remove_old_parts(tmp_path)
    assert {*names(tmp_path)} == {".index.jsonl", *left}
    monkeypatch.setattr(files, "OLD", -1.0)
    remove_old_parts(tmp_path)
    assert names(tmp_path) == [".index.jsonl"]


def test_a_folder_that_is_to_stay_stays(tmp_path):
    path = tmp_path / "cell"

    def stays(folder):
        return (folder / "done").exists()

    def write(name):
        with atomic_folder(path, stays) as beside:
            (beside / name).touch()

    write("failed")
    write("done")
    with pytest.raises(FileExistsError, match="cell"):
        write("other")
    assert "done" in names(path)
    assert names(tmp_path) == ["cell"]


def test_what_is_to_stay_and_comes_in_the_last_moment_is_put_back(tmp_path):
    """The folder was looked at, then another process wrote what is to stay."""
    path, looks = tmp_path / "cell", []
    path.mkdir()
    (path / "failed").touch()

    def stays(folder):
        looks.append(folder)
        if len(looks) == 1:
            (path / "done").touch()
            return False
        return (folder / "done").exists()

    with pytest.raises(FileExistsError), atomic_folder(path, stays) as beside:
        (beside / "other").touch()
    assert "done" in names(path)
    assert names(tmp_path) == ["cell"]
