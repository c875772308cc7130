"""Parquet files: found, checked by digest, exported; never read when they were altered."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pai_bench.config.schema import Data
from pai_bench.core.errors import BenchError
from pai_bench.data import files, parts


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("PAI_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PAI_BENCH_MIRROR", raising=False)


def settings(**changes):
    fields = {"hub": "nobody/tiny", "revision": "0", "classes": 2, "shape": (1, 2, 2)}
    fields |= {"images": (1, 1), "mean": (0.0,), "std": (1.0,), "stream": True}
    return Data(**{**fields, **changes})


def write(path, rows=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"label": list(range(rows))}), path)


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror"
    write(folder / "tiny/data/train-00001-of-00002.parquet", 4)
    write(folder / "tiny/data/train-00000-of-00002.parquet", 3)
    write(folder / "tiny/data/valid-00000-of-00001.parquet", 2)
    return folder


def find(mirror, **changes):
    return files.find("tiny", settings(test="valid", **changes), str(mirror))


def refusal(mirror, **changes):
    with pytest.raises(BenchError) as caught:
        find(mirror, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_are_found_in_order_by_split(mirror):
    found = find(mirror)
    assert [path.name[:11] for path in found.train] == ["train-00000", "train-00001"]
    assert [path.name for path in found.test] == ["valid-00000-of-00001.parquet"]
    assert found.source == str(mirror / "tiny")


def test_of_several_parts_only_the_named_one_is_read(mirror):
    write(mirror / "tiny/other/train-00000-of-00001.parquet")
    write(mirror / "tiny/other/valid-00000-of-00001.parquet")
    assert len(find(mirror, subset="data").train) == 2
    assert len(find(mirror, subset="other").train) == 1


def test_a_split_called_otherwise_is_missing(mirror):
    assert "no file test-*.parquet" in refusal(mirror, **{"train": "test"})


@pytest.mark.parametrize("damage", ["cut short", "other"])
def test_a_file_that_changed_since_its_first_use_is_named_and_not_read(mirror, damage):
    path = mirror / "tiny/data/train-00001-of-00002.parquet"
    find(mirror)
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:-20])
        assert refusal(mirror).startswith(f"{path}: no complete parquet file")
    else:
        write(path, 5)
        message = refusal(mirror)
        assert message.startswith(f"{path}: SHA-256 is ")
        assert "from the first time" in message
        assert refusal(mirror) == message


def test_a_pinned_set_is_checked_by_what_is_decoded_not_by_its_files(mirror):
    find(mirror, digest="0" * 64)
    write(mirror / "tiny/data/train-00001-of-00002.parquet", 5)
    assert find(mirror, digest="0" * 64)


def test_an_unchanged_file_is_hashed_once(mirror, monkeypatch):
    find(mirror)
    monkeypatch.setattr(files, "sha256", lambda _path: pytest.fail("hashed again"))
    assert find(mirror)


class TestExport:
    """`pai-bench data export`."""

    def export(self, mirror, target, **changes):
        return files.export("tiny", settings(test="valid", **changes), target, str(mirror))

    def test_an_export_is_a_mirror(self, mirror, tmp_path):
        written = self.export(mirror, tmp_path / "out")
        found = find(tmp_path / "out")
        assert sorted(written) == sorted([*found.train, *found.test])
        for path in written:
            original = mirror / path.relative_to(tmp_path / "out")
            assert path.read_bytes() == original.read_bytes()

    def test_its_list_of_digests_is_that_of_sha256sum(self, mirror, tmp_path):
        self.export(mirror, tmp_path / "out")
        folder = tmp_path / "out/tiny"
        for line in (folder / files.MANIFEST).read_text().splitlines():
            digest, name = line.split("  ")
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest

    def test_an_altered_file_of_an_export_is_named(self, mirror, tmp_path):
        written = self.export(mirror, tmp_path / "out")
        write(written[0], 9)
        message = refusal(tmp_path / "out")
        assert message.startswith(f"{written[0]}: SHA-256 is")
        assert "its list of digests says" in message
        assert refusal(tmp_path / "out", digest="0" * 64) == message

    def test_a_file_that_is_not_listed_is_not_read(self, mirror, tmp_path):
        self.export(mirror, tmp_path / "out")
        extra = tmp_path / "out/tiny/data/train-00009-of-00010.parquet"
        write(extra)
        assert refusal(tmp_path / "out").startswith(f"{extra}: not listed in")

    def test_an_interrupted_export_is_completed(self, mirror, tmp_path, monkeypatch):
        real = files.shutil.copyfile

        def interrupted(source, target):
            if "valid" in Path(source).name:
                raise KeyboardInterrupt
            return real(source, target)

        monkeypatch.setattr(files.shutil, "copyfile", interrupted)
        with pytest.raises(KeyboardInterrupt):
            self.export(mirror, tmp_path / "out")
        assert not (tmp_path / "out/tiny" / files.MANIFEST).exists()
        monkeypatch.setattr(files.shutil, "copyfile", real)
        before = (tmp_path / "out/tiny/data/train-00000-of-00002.parquet").stat().st_mtime_ns
        assert len(self.export(mirror, tmp_path / "out")) == 3
        assert (
            tmp_path / "out/tiny/data/train-00000-of-00002.parquet"
        ).stat().st_mtime_ns == before

    def test_what_comes_with_a_library_needs_no_export(self, mirror, tmp_path):
        with pytest.raises(BenchError, match="comes with a library"):
            files.export("digits", settings(hub=None), tmp_path / "out", str(mirror))

    def test_a_mirror_is_not_written_into_itself(self, mirror):
        with pytest.raises(BenchError, match="where the files of tiny are read from"):
            self.export(mirror, mirror)


class TestParts:
    """`data export --part-size`, and `data import` on another machine."""

    @pytest.fixture
    def brought(self, mirror, tmp_path):
        """The folder that parts of at most 150 bytes are brought to."""
        files.export("tiny", settings(test="valid"), tmp_path / "out", str(mirror), 150)
        return tmp_path / "out"

    def test_joined_parts_are_the_mirror_that_was_exported(self, mirror, brought, tmp_path):
        pieces = [path for path in brought.rglob("*") if ".part-" in path.name]
        assert len(pieces) > 6
        assert max(path.stat().st_size for path in pieces) == 150
        joined = parts.join(brought, tmp_path / "there")
        found = find(tmp_path / "there")
        assert sorted(joined) == sorted([*found.train, *found.test])
        for path in joined:
            original = mirror / path.relative_to(tmp_path / "there")
            assert path.read_bytes() == original.read_bytes()

    def test_parts_may_be_joined_where_they_are_and_are_not_read_before(self, brought):
        message = refusal(brought)
        assert f"`pai-bench data import {brought}` joins them" in message
        parts.join(brought, brought)
        assert len(find(brought).train) == 2

    def test_a_second_import_writes_only_what_is_not_whole(self, brought, tmp_path):
        whole, cut, _ = parts.join(brought, tmp_path / "there")
        before = whole.stat().st_mtime_ns
        cut.write_bytes(b"cut")
        parts.join(brought, tmp_path / "there")
        assert whole.stat().st_mtime_ns == before
        assert len(find(tmp_path / "there").train) == 2

    def test_a_part_that_is_missing_or_altered_is_named_and_nothing_is_joined(
        self, brought, tmp_path
    ):
        first, second, *_ = sorted(brought.rglob("*.part-*"))
        content = first.read_bytes()
        first.write_bytes(content[:-1])
        with pytest.raises(BenchError, match=rf"^{first}: SHA-256 is .*bring it over again$"):
            parts.join(brought, tmp_path / "there")
        first.write_bytes(content)
        second.unlink()
        with pytest.raises(BenchError, match=rf"^{second}: missing; bring it over"):
            parts.join(brought, tmp_path / "there")
        assert not (tmp_path / "there").exists()

    def test_parts_of_another_export_do_not_make_the_file(self, brought, tmp_path):
        (brought / "tiny" / files.MANIFEST).write_text(f"{'0' * 64}  data/train-0.parquet\n")
        with pytest.raises(BenchError, match="export again"):
            parts.join(brought, tmp_path / "there")
        assert not list((tmp_path / "there").rglob("*.parquet*"))

    def test_too_many_parts_and_none_at_all_are_one_line(self, mirror, tmp_path):
        source = next(mirror.rglob("train-00001*"))
        source.write_bytes(source.read_bytes() * 3)
        with pytest.raises(BenchError, match="are more than 1000 parts of 1"):
            parts.split(source, tmp_path / "out/train.parquet", 1)
        with pytest.raises(BenchError, match="nothing to import"):
            parts.join(mirror, tmp_path / "there")
