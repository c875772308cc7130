"""Text: cut into sequences exactly, every next byte a label once; or refused in one line."""

import inspect
import string
import textwrap

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pai_bench.config.schema import Data, Recipe
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams
from pai_bench.data import sources
from pai_bench.data.image_tensors import ImageTensors
from pai_bench.data.module import InMemoryData

TEXT = {
    split: inspect.getsource(module) for split, module in (("train", textwrap), ("test", string))
}
LENGTH = 16
COUNTS = (200, 90)


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Give each test an empty cache and a mirror of its own."""
    monkeypatch.setenv("PAI_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PAI_BENCH_MIRROR", str(tmp_path))
    for split, text in TEXT.items():
        write(tmp_path, split, text.splitlines(keepends=True))


def write(mirror, split, rows, shards=1, column="text"):
    (mirror / "code").mkdir(exist_ok=True)
    for index in range(shards):
        part = rows[index * len(rows) // shards : (index + 1) * len(rows) // shards]
        path = mirror / "code" / f"{split}-{index:05d}-of-{shards:05d}.parquet"
        pq.write_table(pa.table({column: part, "number": list(range(len(part)))}), path)


def settings(**changes):
    fields = {"hub": "nobody/code", "revision": "0", "text": "text", "classes": 256}
    return Data(**{**fields, "shape": (1, 1, LENGTH), "images": COUNTS, **changes})


def load(**changes):
    return sources.load("code", settings(**changes))


def module(**recipe):
    chosen = Recipe(**{"epochs": 1, "batch_size": 7, "lr": 0.1, **recipe})
    return InMemoryData(ImageTensors(load(), settings(), chosen), RandomStreams(1))


def joined(symbols):
    return bytes(symbols.flatten().tolist())


def expected(split, count):
    return TEXT[split].encode()[: count * LENGTH + 1]


@pytest.mark.parametrize("shards", [1, 3])
def test_every_byte_is_a_symbol_once_and_a_label_once(tmp_path, shards):
    (tmp_path / "code" / "train-00000-of-00001.parquet").unlink()
    write(tmp_path, "train", TEXT["train"].splitlines(keepends=True), shards)
    arrays = load()
    assert arrays.train_images.shape == (COUNTS[0], 1, 1, LENGTH)
    assert arrays.test_labels.shape == (COUNTS[1], LENGTH)
    for split, count in zip(("train", "test"), COUNTS, strict=True):
        found = arrays.tensors()
        assert joined(found[f"{split}_images"]) == expected(split, count)[:-1]
        assert joined(found[f"{split}_labels"]) == expected(split, count)[1:]
        assert found[f"{split}_labels"].dtype == torch.uint8


def test_rows_may_be_empty_and_symbols_are_bytes(tmp_path):
    write(tmp_path, "test", ["é", None, "", "a" * LENGTH])
    arrays = load(images=(1, 1))
    assert joined(arrays.test_images) == "é".encode() + b"a" * (LENGTH - 2)


def test_all_of_a_text_can_be_used_and_not_one_byte_more(tmp_path):
    write(tmp_path, "test", ["a" * (3 * LENGTH), "b"])
    assert joined(load(images=(1, 3)).test_labels)[-1:] == b"b"
    write(tmp_path, "test", ["a" * (3 * LENGTH)])
    with pytest.raises(BenchError, match=r"code: 48 bytes of text in test-.* asks for 3 seq.* 49"):
        load(images=(1, 3), digest="0" * 64)


def test_what_was_decoded_is_pinned_and_kept(tmp_path):
    digest = load().digest
    pinned = load(digest=digest)
    (tmp_path / "code").rename(tmp_path / "gone")
    assert load(digest=digest).digest == digest
    assert torch.equal(load(digest=digest).train_labels, pinned.train_labels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": "txt"}, 'no column "txt"; it has text, number'),
        ({"text": "number"}, 'column "number" is no text'),
        ({"images": (10**6, 1)}, "asks for 1,000,000 sequences of 16"),
        ({"classes": 100}, "benchmark.yaml says 100 classes"),
        ({"digest": "0" * 64}, "not trained on"),
    ],
)
def test_what_is_wrong_with_a_text_is_one_line(changes, message):
    with pytest.raises(BenchError) as caught:
        load(**changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_epoch_holds_every_sequence_once_with_the_symbols_that_follow():
    data = module()
    batches = list(data.train_dataloader())
    symbols, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert symbols.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert symbols[:, 0, 0].long()[:, 1:].equal(labels[:, :-1])
    found = sorted(joined(row) for row in symbols.long())
    assert found == sorted(joined(row) for row in data.images.arrays.train_images)
    assert [len(images) for images, _ in batches][-2:] == [7, COUNTS[0] % 7]


def test_sequences_are_evaluated_in_batches_of_the_training():
    data = module()
    batches = list(data.val_dataloader())
    assert [len(images) for images, _ in batches[:2]] == [7, 7]
    assert len(batches) == len(data.val_dataloader())
    assert joined(torch.cat([labels for _, labels in batches])) == expected("test", COUNTS[1])[1:]


def test_whole_sequences_are_held_out():
    data = module(holdout=0.25, evaluate="validation")
    assert (data.train_size, data.test_size) == (150, 50)
    tensors = data.images.tensors
    both = torch.cat([tensors["train_images"], tensors["test_images"]])
    assert sorted(map(joined, both)) == sorted(map(joined, data.images.arrays.train_images))


@pytest.mark.parametrize(
    "recipe", [{"augment": "crop-flip"}, {"normalise": "image"}, {"mean": (0.5,), "std": (1.0,)}]
)
def test_recipes_for_images_are_refused(recipe):
    with pytest.raises(BenchError, match=r"symbols|images"):
        module(**recipe)
