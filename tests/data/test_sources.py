"""Data sets: decoded exactly, checked against their digest, or refused in one line."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image as Picture

from pai_bench.config import loader
from pai_bench.config.schema import Data
from pai_bench.core.errors import BenchError
from pai_bench.data import sources
from pai_bench.data.locations import cached_file, digest_file
from pai_bench.data.sources import Arrays
from pai_bench.registry import methods as registry

SETTINGS = loader.load(Path(__file__).parents[2] / "benchmark.yaml", registry.available())
MIRROR = os.environ.get("PAI_BENCH_MIRROR")
COUNTS = {"train": 7, "test": 3}


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Give each test an empty cache and no mirror."""
    monkeypatch.setenv("PAI_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PAI_BENCH_MIRROR", raising=False)


@dataclass
class Tiny:
    """A data set in a mirror, and the arrays it was written from."""

    mirror: Path
    images: dict[str, np.ndarray]
    labels: dict[str, list[int]]

    @property
    def folder(self):
        return self.mirror / "tiny"

    def write(self, split, grey=(), shards=1):
        """Write parquet files in the schema of the hub; pictures at `grey` have one channel."""
        self.folder.mkdir(parents=True, exist_ok=True)
        kinds = datasets.Features(
            {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])}
        )
        pictures = [
            Picture.fromarray(pixels[..., 0] if index in grey else pixels.squeeze())
            for index, pixels in enumerate(self.images[split])
        ]
        columns = {"image": pictures, "label": self.labels[split]}
        table = datasets.Dataset.from_dict(columns, features=kinds)
        for index in range(shards):
            part = table.shard(shards, index, contiguous=True)
            part.to_parquet(self.folder / f"{split}-{index:05d}-of-{shards:05d}.parquet")

    def arrays(self):
        """The tensors that must come out."""
        parts = {}
        for split in COUNTS:
            images = torch.from_numpy(np.moveaxis(self.images[split], -1, 1).copy())
            parts |= {f"{split}_images": images}
            parts |= {f"{split}_labels": torch.tensor(self.labels[split])}
        return Arrays(**parts)

    def settings(self, **changes):
        """The settings of this data set, as benchmark.yaml would hold them."""
        height, width, channels = self.images["train"].shape[1:]
        fields = {
            "hub": "nobody/tiny",
            "revision": "0",
            "classes": 2,
            "shape": (channels, height, width),
            "images": tuple(COUNTS.values()),
            "digest": self.arrays().digest,
            "mean": (0.5,) * channels,
            "std": (0.5,) * channels,
        }
        return Data(**{**fields, **changes})

    def load(self, **changes):
        return sources.load("tiny", self.settings(**changes), str(self.mirror))


def make(folder, channels=3):
    random = np.random.default_rng(channels)
    tiny = Tiny(
        folder / "mirror",
        {s: random.integers(0, 256, (n, 4, 5, channels), np.uint8) for s, n in COUNTS.items()},
        {s: random.integers(0, 2, n).tolist() for s, n in COUNTS.items()},
    )
    tiny.write("train")
    tiny.write("test")
    return tiny


@pytest.fixture
def tiny(tmp_path):
    return make(tmp_path)


def cached(settings):
    return cached_file("tiny", settings)


def same(found, expected):
    return all(torch.equal(found.tensors()[k], v) for k, v in expected.tensors().items())


def refusal(tiny, **changes):
    """Return the one line with which loading is refused; nothing may be cached."""
    with pytest.raises(BenchError) as caught:
        tiny.load(**changes)
    assert "\n" not in str(caught.value)
    assert not cached(tiny.settings(**changes)).exists()
    return str(caught.value)


def test_digits_are_the_pinned_ones():
    arrays = sources.load("digits", SETTINGS.data["digits"])
    assert arrays.digest == SETTINGS.data["digits"].digest
    assert arrays.train_images.shape == (1438, 1, 8, 8)
    assert arrays.test_labels.bincount().min() > 20


def test_every_fifth_digit_is_a_test_image():
    from sklearn.datasets import load_digits

    images = torch.from_numpy(load_digits().images).byte()
    arrays = sources.load("digits", SETTINGS.data["digits"])
    assert torch.equal(arrays.test_images[:, 0], images[4::5])
    assert torch.equal(arrays.train_images[:5, 0], images[[0, 1, 2, 3, 5]])


@pytest.mark.skipif(MIRROR is None, reason="PAI_BENCH_MIRROR is not set")
@pytest.mark.parametrize("name", ["mnist", pytest.param("cifar10", marks=pytest.mark.slow)])
def test_real_pictures_are_the_pinned_ones(name):
    arrays = sources.load(name, SETTINGS.data[name], MIRROR)
    assert arrays.digest == SETTINGS.data[name].digest
    pixels = arrays.train_images.double().flatten(2).div(255)
    mean = pixels.mean((0, 2)).tolist()
    assert mean == pytest.approx(SETTINGS.data[name].mean, abs=2e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_mirror_is_decoded_exactly(tmp_path, channels):
    tiny = make(tmp_path, channels)
    found = tiny.load()
    assert same(found, tiny.arrays())
    assert found.train_images.dtype == torch.uint8
    assert found.train_labels.dtype == torch.int64
    assert found.train_images.is_contiguous()


def test_shards_are_read_in_order(tiny):
    (tiny.folder / "train-00000-of-00001.parquet").unlink()
    tiny.write("train", shards=3)
    assert len(list(tiny.folder.glob("train-*"))) == 3
    assert same(tiny.load(), tiny.arrays())


def test_the_environment_goes_before_the_mirror_of_the_settings(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("PAI_BENCH_MIRROR", str(tiny.mirror))
    settings = tiny.settings()
    assert same(sources.load("tiny", settings, str(tmp_path / "nowhere")), tiny.arrays())


def test_a_folder_of_another_name_is_read_when_the_settings_say_so(tiny):
    tiny.folder.rename(tiny.mirror / "other")
    assert same(tiny.load(folder="other"), tiny.arrays())


def test_grey_pictures_among_coloured_ones_get_three_equal_channels(tiny):
    tiny.images["train"][[1, 4]] = tiny.images["train"][[1, 4], :, :, :1]
    tiny.write("train", grey=(1, 4))
    found = tiny.load()
    assert same(found, tiny.arrays())
    assert torch.equal(found.train_images[4, 0], found.train_images[4, 2])


@pytest.mark.parametrize("part", ["images", "labels"])
def test_an_altered_value_is_refused_and_not_kept(tiny, part):
    settings = tiny.settings()
    if part == "images":
        tiny.images["test"][2, 0, 0, 1] ^= 1
    else:
        tiny.labels["test"][2] ^= 1
    tiny.write("test")
    message = refusal(tiny, digest=settings.digest)
    assert "data set tiny" in message
    assert settings.digest in message
    assert tiny.arrays().digest in message


def test_an_altered_mirror_is_refused_every_time(tiny):
    digest = tiny.settings().digest
    tiny.images["test"][0, 0, 0, 0] ^= 1
    tiny.write("test")
    assert refusal(tiny, digest=digest) == refusal(tiny, digest=digest)


def test_the_digest_depends_on_values_and_on_shapes(tiny):
    arrays = tiny.arrays()
    flat = Arrays(**{**arrays.tensors(), "test_images": arrays.test_images.flatten(2)})
    swapped = Arrays(*[arrays.tensors()[name] for name in reversed(sources.TENSORS)])
    assert len({arrays.digest, flat.digest, swapped.digest}) == 3


@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_a_cut_off_file_is_named(tiny, keep):
    path = tiny.folder / "test-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    assert f"{path}: no complete parquet file" in refusal(tiny)


def test_a_broken_picture_is_named_by_its_split(tiny):
    path = tiny.folder / "test-00000-of-00001.parquet"
    content = path.read_bytes()
    start = content.index(b"\x89PNG")
    path.write_bytes(content[:start] + bytes(40) + content[start + 40 :])
    assert f"data set tiny from {tiny.folder}, test files, cannot be decoded" in refusal(tiny)


def test_a_missing_folder_is_named_with_what_to_put_there(tiny):
    tiny.folder.rename(tiny.mirror / "elsewhere")
    message = refusal(tiny)
    assert str(tiny.folder) in message
    assert "nobody/tiny" in message


def test_a_missing_split_is_named(tiny):
    (tiny.folder / "test-00000-of-00001.parquet").unlink()
    assert f"{tiny.folder}: no file test-*.parquet" in refusal(tiny)


@pytest.mark.parametrize("column", ["image", "label"])
def test_a_missing_column_is_named(tiny, column):
    assert "'img'" in refusal(tiny, **{column: "img"})


def test_pictures_of_another_size_are_refused(tiny):
    message = refusal(tiny, shape=(3, 5, 4))
    assert "(7, 3, 4, 5)" in message
    assert "(7, 3, 5, 4)" in message


def test_another_number_of_pictures_is_refused(tiny):
    assert "train images are (7, 3, 4, 5)" in refusal(tiny, images=(8, 3))


def test_the_cache_serves_when_the_mirror_is_gone(tiny):
    tiny.load()
    tiny.folder.rename(tiny.mirror / "gone")
    assert same(tiny.load(), tiny.arrays())


def test_another_digest_is_another_cache(tiny):
    tiny.load()
    tiny.folder.rename(tiny.mirror / "gone")
    assert "no folder" in refusal(tiny, digest="0" * 64)


@pytest.mark.parametrize("damage", ["garbage", "cut off", "one bit"])
def test_a_damaged_cache_is_named_decoded_again_and_mended(tiny, damage, capfd):
    tiny.load()
    path = cached(tiny.settings())
    good = path.read_bytes()
    bad = {
        "garbage": b"garbage",
        "cut off": good[:-1],
        "one bit": good[:-1] + bytes([good[-1] ^ 1]),
    }
    path.write_bytes(bad[damage])
    assert same(tiny.load(), tiny.arrays())
    assert f"{path} is damaged" in capfd.readouterr().err
    assert same(tiny.load(), tiny.arrays())
    assert capfd.readouterr().err == ""


def test_nothing_but_the_tensors_is_left_in_the_cache(tiny):
    tiny.load()
    path = cached(tiny.settings())
    assert list(path.parent.iterdir()) == [path]


def test_a_cache_that_cannot_be_written_is_done_without(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PAI_BENCH_CACHE", str(tmp_path / "file"))
    assert same(tiny.load(), tiny.arrays())


def test_labels_beyond_the_classes_are_refused(tiny):
    assert "train labels go from 0 to 1, benchmark.yaml says 1 classes" in refusal(tiny, classes=1)


def test_an_unpinned_set_says_its_digest_and_keeps_to_it(tiny, capfd):
    found = tiny.load(digest=None)
    assert found.digest == tiny.arrays().digest
    path = cached(tiny.settings(digest=None))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert same(tiny.load(digest=None), tiny.arrays())
    assert f"{path} is damaged" in capfd.readouterr().err


def test_an_unpinned_set_whose_files_change_is_refused(tiny):
    tiny.load(digest=None)
    cached(tiny.settings(digest=None)).unlink()
    tiny.labels["test"][2] ^= 1
    tiny.write("test")
    message = refusal(tiny, digest=None)
    assert str(tiny.folder / "test-00000-of-00001.parquet") in message
    assert "from the first time" in message


def test_the_digest_that_was_seen_first_pins_a_set_wherever_it_is_read_from(tiny, tmp_path):
    first = tiny.load(digest=None).digest
    unpinned = tiny.settings(digest=None)
    cached_file("tiny", unpinned).unlink()
    tiny.images["train"][0] += 1
    tiny.mirror = tmp_path / "elsewhere"
    tiny.write("train")
    tiny.write("test")
    message = refusal(tiny, digest=None)
    assert f"this machine saw {first} first; not trained on" in message
    kept = digest_file("tiny", unpinned)
    assert f"delete {kept})" in message
    kept.unlink()
    changed = tiny.load(digest=None).digest
    assert changed != first
    assert kept.read_text() == f"{changed}\n"


def test_a_cache_of_other_tensors_than_were_seen_first_is_not_read(tiny, capfd):
    tiny.load(digest=None)
    digest_file("tiny", tiny.settings(digest=None)).write_text("0" * 64)
    with pytest.raises(BenchError, match=f"this machine saw {'0' * 64} first"):
        tiny.load(digest=None)
    assert "is damaged" in capfd.readouterr().err


def test_a_pinned_set_keeps_no_first_digest(tiny):
    tiny.load()
    assert not digest_file("tiny", tiny.settings()).exists()


def test_the_source_is_remembered_with_the_cache(tiny):
    assert tiny.load().source == tiny.load().source == str(tiny.folder)


def test_without_mirror_and_connection_it_says_what_to_do(tmp_path):
    code = (
        "from pai_bench.config.schema import Data\n"
        "from pai_bench.data import sources\n"
        "data = Data(hub='nobody/tiny', revision='0', classes=2, shape=(1, 2, 2), images=(1, 1),\n"
        "            digest='0' * 64, mean=(0.0,), std=(1.0,))\n"
        "try:\n    sources.load('tiny', data)\n"
        "except sources.BenchError as error:\n    print(error)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    (line,) = done.stdout.splitlines()
    assert "nobody/tiny could not be fetched from the hub" in line
    assert "set PAI_BENCH_MIRROR to a folder that holds tiny/*.parquet" in line
