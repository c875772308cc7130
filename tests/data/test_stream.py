"""Streamed batches: the same for any number of workers, resumable, never all in memory."""

import io
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import cross_entropy

from pai_bench.config.schema import Data, Recipe
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams
from pai_bench.data import decoder as decoder_module
from pai_bench.data import order, stream_batches
from pai_bench.data.photographs import Crop, evaluation_pixels, training_pixels, uniforms
from pai_bench.data.stream import StreamedData

TRAIN, TEST, CLASSES, BATCH = 101, 37, 7, 10
SHAPE = (3, 8, 8)
SETTINGS = Data(
    classes=CLASSES,
    shape=SHAPE,
    images=(TRAIN, TEST),
    stream=True,
    mean=(0.4, 0.5, 0.6),
    std=(0.2, 0.3, 0.4),
)


def photograph(number):
    """A file whose pixels, however they are cropped, say which one it is."""
    size = 20 + number % 13, 15 + number % 7
    written = io.BytesIO()
    colour = number % 256, number // 256, 77
    Image.new("RGB", size, colour).save(written, "PNG", compress_level=0)
    return written.getvalue()


def noisy(number):
    random = np.random.default_rng(number)
    pixels = random.integers(0, 256, (30 + number % 9, 25 + number % 5, 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "JPEG")
    return written.getvalue()


def write(path, files, first=0, labels=None, group=6):
    labels = [(first + n) % CLASSES for n in range(len(files))] if labels is None else labels
    images = [{"bytes": file, "path": None} for file in files]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"image": pa.array(images, kind), "label": pa.array(labels, pa.int64())}
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return path


def folder_of(folder, make, broken=()):
    def file(number):
        return b"broken" if number in broken else make(number)

    train = [file(number) for number in range(TRAIN)]
    test = [file(number) for number in range(TEST)]
    return {
        "train": [
            write(folder / "train-0.parquet", train[:40]),
            write(folder / "train-1.parquet", train[40:], first=40),
        ],
        "test": [write(folder / "validation-0.parquet", test)],
    }


@pytest.fixture(scope="module")
def solid(tmp_path_factory):
    """Files of photographs of one colour each, which tells their number."""
    return folder_of(tmp_path_factory.mktemp("solid"), photograph)


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Files of photographs in which any other crop has other pixels."""
    return folder_of(tmp_path_factory.mktemp("noise"), noisy)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Pieces, blocks and lanes of a size at which all that can happen does."""
    monkeypatch.setattr(order, "PIECE_IMAGES", 4)
    monkeypatch.setattr(order, "BLOCK_IMAGES", 18)
    monkeypatch.setattr(order, "LANES", 3)
    monkeypatch.setattr(stream_batches, "EVALUATION_BATCH", 10)


@pytest.fixture(autouse=True)
def no_processes_left():
    """Workers go with whom they work for, not when the garbage collector comes by."""
    yield
    assert not torch.multiprocessing.active_children()


def data(files, seed=1, workers=0, rank=0, ranks=1, **recipe):
    given = {"epochs": 1, "batch_size": BATCH, "lr": 0.1, "augment": "resized-crop-flip"}
    chosen = Recipe(**given | recipe)
    return StreamedData(files, SETTINGS, chosen, RandomStreams(seed), workers, rank, ranks)


def raw(images):
    """Undo the normalisation."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (SETTINGS.mean, SETTINGS.std))
    return ((images * std + mean) * 255).round().to(torch.uint8)


def numbers(batches):
    """The numbers of photographs of one colour, in the order in which they come."""
    return [int(n) for images, _ in batches for n in raw(images)[:, 0, 4, 4]]


def equal(one, other):
    return len(one) == len(other) and all(
        torch.equal(a, b)
        for x, y in zip(one, other, strict=True)
        for a, b in zip(x, y, strict=True)
    )


@pytest.mark.parametrize("augment", ["none", "resized-crop-flip"])
def test_every_photograph_comes_once_per_epoch_with_its_label(solid, augment):
    loader = data(solid, augment=augment).train_dataloader()
    for _ in range(2):
        batches = list(loader)
        found = numbers(batches)
        assert sorted(found) == list(range(TRAIN))
        assert [int(n) for _, labels in batches for n in labels] == [n % CLASSES for n in found]
        assert [len(labels) for _, labels in batches] == [BATCH] * 10 + [1]
        assert len(batches) == len(loader)


def test_pixels_are_those_of_the_photograph_its_epoch_and_its_number(noise):
    one = data(noise, seed=4)
    crop = Crop(one.recipe.crop_scale, one.recipe.crop_ratio)
    loader = one.train_dataloader()
    for epoch in range(2):
        batches = list(loader)
        seed = RandomStreams(4).seed_of(f"augment/{epoch}")
        plan = [int(n) for batch in one.plan(epoch) for piece in batch for n in piece.numbers]
        found = torch.cat([images for images, _ in batches])
        for image, number in list(zip(found, plan, strict=True))[::7]:
            drawn = training_pixels(noisy(number), SHAPE, crop, uniforms(seed, number))
            assert torch.equal(raw(image), drawn)
            expected = (drawn / 255 - torch.tensor(SETTINGS.mean).view(3, 1, 1)) / torch.tensor(
                SETTINGS.std
            ).view(3, 1, 1)
            assert torch.allclose(image, expected, atol=1e-5)
            assert image.dtype == torch.float32


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_batches_do_not_depend_on_the_number_of_workers(noise, workers):
    alone, helped = data(noise), data(noise, workers=workers)
    one, other = alone.train_dataloader(), helped.train_dataloader()
    for _ in range(2):
        assert equal(list(one), list(other))
    assert equal(list(alone.val_dataloader()), list(helped.val_dataloader()))
    assert equal(list(alone.score_batches()), list(helped.score_batches()))


def test_seeds_and_epochs_differ_and_nothing_else_matters(solid):
    loader = data(solid).train_dataloader()
    first, second = numbers(loader), numbers(loader)
    torch.manual_seed(5)
    used = data(solid)
    used.score_batches()[0]
    again = used.train_dataloader()
    assert numbers(again) == first
    assert numbers(again) == second
    assert first != second
    assert numbers(data(solid, seed=2).train_dataloader()) != first


@pytest.mark.parametrize("workers", [0, 2])
def test_drawing_batches_leaves_the_global_generator_alone(solid, workers):
    before = torch.get_rng_state()
    one = data(solid, workers=workers)
    list(one.train_dataloader()), list(one.val_dataloader()), list(one.score_batches())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("ranks", [2, 5])
def test_ranks_see_disjoint_parts_and_step_equally_often(solid, ranks):
    parts = [data(solid, rank=rank, ranks=ranks) for rank in range(ranks)]
    passes = [list(part.train_dataloader()) for part in parts]
    assert sorted(n for batches in passes for n in numbers(batches)) == list(range(TRAIN))
    assert len({len(batches) for batches in passes}) == 1
    assert {len(labels) for _, labels in passes[0][:-1]} == {BATCH // ranks}
    tested = [n for part in parts for n in numbers(part.val_dataloader())]
    assert sorted(tested) == list(range(TEST))
    scored = [numbers(part.score_batches()) for part in parts]
    assert all(other == scored[0] for other in scored)


def test_ranks_are_those_of_torch_where_it_has_some(solid, monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    expected = data(solid, rank=1, ranks=2)
    found = data(solid)
    monkeypatch.undo()
    assert numbers(found.train_dataloader()) != numbers(expected.train_dataloader())
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    part = numbers(found.train_dataloader())
    monkeypatch.undo()
    assert sorted(part) == sorted(numbers(expected.train_dataloader()))


@pytest.mark.parametrize("ranks", [2, 3, 4])
@pytest.mark.parametrize("parts", [1, 12])
def test_ranks_have_together_the_batches_of_one_process(noise, ranks, parts):
    whole = list(data(noise, batch_norm_parts=parts).train_dataloader())
    shared = [data(noise, rank=rank, ranks=ranks, batch_norm_parts=parts) for rank in range(ranks)]
    loaders = [one.train_dataloader() for one in shared]
    for batch, *own in zip(whole, *loaders, strict=True):
        together = [torch.cat(tensors) for tensors in zip(*own, strict=True)]
        if parts > 1:
            assert equal([together], [batch])
        assert sorted(map(bytes, raw(together[0]).numpy())) == sorted(
            map(bytes, raw(batch[0]).numpy())
        )
        sizes = [len(labels) for _, labels in own]
        assert max(sizes) - min(sizes) <= 1
    extra = [d.extra_batch(3) for d in shared]
    assert sorted(n for _, labels in extra for n in labels.tolist()) == sorted(
        data(noise).extra_batch(3)[1].tolist()
    )


def test_evaluation_sees_each_test_photograph_once_the_same_way(noise, solid):
    one = data(solid)
    batches = list(one.val_dataloader())
    assert sorted(numbers(batches)) == list(range(TEST))
    assert len(batches) == len(one.val_dataloader()) == 4
    other = data(noise)
    assert equal(list(other.val_dataloader()), list(other.val_dataloader()))
    images = {
        raw(image).numpy().tobytes() for images, _ in other.val_dataloader() for image in images
    }
    assert images == {evaluation_pixels(noisy(n), SHAPE).numpy().tobytes() for n in range(TEST)}


@pytest.mark.parametrize("done", [0, 1, 6, 10, 11])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_pass_goes_on_where_its_state_was_taken(noise, done, workers):
    loader = data(noise).train_dataloader()
    list(loader)
    whole = list(loader) + list(loader)
    started = data(noise, workers=workers).train_dataloader()
    list(started)
    running = iter(started)
    for _ in range(done):
        next(running)
    state = pickle.loads(pickle.dumps(started.state_dict()))
    resumed = data(noise, workers=workers).train_dataloader()
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    rest = list(resumed)
    rest += [] if done == 11 else list(resumed)
    assert equal(rest, whole[done:])


def test_extra_batches_depend_on_seed_and_number_alone(solid):
    one, other = data(solid), data(solid, workers=2)
    extra = [one.extra_batch(number) for number in range(12)]
    assert sorted(numbers(extra[:11])) == list(range(TRAIN))
    running = iter(other.train_dataloader())
    for _ in range(3):
        next(running)
    assert equal([other.extra_batch(7), other.extra_batch(11)], [extra[7], extra[11]])
    assert equal([*running], [*data(solid).train_dataloader()][3:])  # It goes on undisturbed.
    other.teardown("fit")


def test_a_pass_that_was_broken_off_is_followed_by_the_next_epoch(solid):
    for workers in (0, 2):
        loader = data(solid, workers=workers).train_dataloader()
        for _ in zip(range(3), loader, strict=False):
            pass
        whole = data(solid).train_dataloader()
        list(whole)
        assert numbers(loader) == numbers(whole)


def test_a_state_of_other_batches_is_refused(solid):
    state = data(solid).train_dataloader().state_dict()
    with pytest.raises(BenchError, match="epoch of 11 batches; this one has 21"):
        data(solid, batch_size=5).train_dataloader().load_state_dict(state)


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_photographs_are_left_out_and_counted(tmp_path, workers):
    files = folder_of(tmp_path, photograph, broken={3, 50, 100})
    one = data(files, workers=workers)
    loader = one.train_dataloader()
    for epochs in (1, 2):
        batches = list(loader)
        assert sorted(numbers(batches)) == sorted(set(range(TRAIN)) - {3, 50, 100})
        assert [int(n) for _, y in batches for n in y] == [n % CLASSES for n in numbers(batches)]
        assert one.skipped == 3 * epochs
    assert sorted(numbers(one.val_dataloader())) == sorted(set(range(TEST)) - {3})
    assert one.skipped == 7


def test_a_training_batch_of_which_nothing_is_left_holds_the_next_photograph(tmp_path):
    broken = set(range(0, TRAIN, 2)) | {31}
    one = data(folder_of(tmp_path, photograph, broken), batch_size=1)
    batches = list(one.train_dataloader())
    assert len(batches) == TRAIN
    assert {len(labels) for _, labels in batches} == {1}
    assert set(numbers(batches)) == set(range(TRAIN)) - broken
    tested = list(one.val_dataloader())
    assert sorted(numbers(tested)) == sorted(set(range(TEST)) - broken)


def test_evaluation_goes_on_after_a_batch_of_which_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(stream_batches, "EVALUATION_BATCH", 1)
    one = data(folder_of(tmp_path, photograph, broken={5, 6, 7}))
    assert sorted(numbers(one.val_dataloader())) == sorted(set(range(TEST)) - {5, 6, 7})


def test_data_without_any_photograph_are_an_error(tmp_path):
    files = folder_of(tmp_path, photograph, broken=set(range(TRAIN)))
    with pytest.raises(BenchError, match="photographs in a row cannot be decoded"):
        list(data(files).train_dataloader())


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_labels_are_an_error_that_names_the_file(tmp_path, solid, workers):
    bad = write(tmp_path / "test-0.parquet", [photograph(n) for n in range(12)], labels=[-1] * 12)
    one = data({"train": solid["train"], "test": [bad]}, workers=workers)
    with pytest.raises(
        BenchError, match=r"^\S+test-0\.parquet: rows 0 to 5: labels must be 0 to 6"
    ):
        list(one.val_dataloader())


def test_recipes_that_cannot_be_followed_are_errors(solid):
    with pytest.raises(BenchError, match="augment: crop-flip is for images of one size"):
        data(solid, augment="crop-flip")
    with pytest.raises(BenchError, match="holdout"):
        data(solid, holdout=0.1)


@pytest.mark.parametrize(
    ("per_class", "size", "expected"), [(10, 256, [70]), (10, 32, [32, 32, 6]), (100, 64, [64, 37])]
)
def test_score_batches_hold_so_many_photographs_per_class(solid, per_class, size, expected):
    one = data(solid, score_images_per_class=per_class, score_batch_size=size)
    batches = one.score_batches()
    assert [len(labels) for _, labels in batches] == expected
    found = numbers(batches)
    assert len(set(found)) == len(found)
    assert found != sorted(found)
    assert [int(n) for _, labels in batches for n in labels] == [n % CLASSES for n in found]
    assert numbers(data(solid, seed=2).score_batches()) != numbers(data(solid).score_batches())


def test_score_batches_drawn_afresh_hold_the_same_photographs_in_another_order(solid, noise):
    batches = data(solid, score_batch_size=32).score_batches()
    second, third = batches.afresh(2), batches.afresh(3)
    assert sorted(numbers(second)) == sorted(numbers(batches))
    assert len({tuple(numbers(each)) for each in (batches, second, third)}) == 3
    assert [len(labels) for _, labels in second] == [len(labels) for _, labels in batches]
    cropped = [data(noise, score_images_per_class=1).score_batches() for _ in range(2)]
    assert equal(list(cropped[0].afresh(2)), list(cropped[1].afresh(2)))
    pixels = [images.sort(0).values for images, _ in (cropped[0][0], cropped[0].afresh(2)[0])]
    assert not torch.equal(*pixels)


def test_score_batches_are_decoded_when_asked_for_and_no_sooner(noise, monkeypatch):
    decoded = []
    plain = decoder_module.training_pixels
    monkeypatch.setattr(
        decoder_module, "training_pixels", lambda *given: decoded.append(1) or plain(*given)
    )
    batches = data(noise, score_batch_size=16).score_batches()
    assert (len(batches), len(decoded)) == (5, 0)
    second = batches[1]
    assert len(decoded) == 16
    assert equal([batches[1]], [second])
    assert equal([batches[-1]], [list(batches)[4]])
    assert equal(list(batches[1:3]), list(batches)[1:3])
    assert len(batches[1:3]) == 2
    with pytest.raises(IndexError):
        batches[5]


def test_two_passes_at_once_are_refused(solid):
    loader = data(solid).train_dataloader()
    first, second = iter(loader), iter(loader)
    next(first), next(second)
    with pytest.raises(RuntimeError, match="another pass"):
        next(first)


class Recorder(pl.LightningModule):
    """Trains a little, and keeps what it was trained on."""

    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, CLASSES))
        self.seen = []

    def training_step(self, batch, _index):
        self.seen.append((self.trainer.current_epoch, *(part.clone() for part in batch)))
        return cross_entropy(self.network(batch[0]), batch[1])

    def validation_step(self, batch, _index):
        assert len(batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


class StopAt(pl.Callback):
    """Saves a checkpoint after so many steps, then stops the Trainer."""

    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def trained(files, workers=0, callbacks=(), checkpoint=None):
    torch.manual_seed(0)
    module = Recorder()
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
    )
    trainer.fit(module, datamodule=data(files, workers=workers), ckpt_path=checkpoint)
    return module


@pytest.mark.parametrize("step", [4, 11, 17, 22, 32])
def test_a_trainer_that_was_stopped_goes_on_with_the_same_batches(noise, tmp_path, step):
    whole = trained(noise)
    stopped = trained(noise, callbacks=[StopAt(step, tmp_path / "stopped.ckpt")])
    assert len(stopped.seen) == step
    resumed = trained(noise, workers=2, checkpoint=tmp_path / "stopped.ckpt")
    together = stopped.seen + resumed.seen
    assert [epoch for epoch, *_ in together] == [n // 11 for n in range(33)]
    assert equal([part for _, *part in together], [part for _, *part in whole.seen])
    assert equal([resumed.state_dict().values()], [whole.state_dict().values()])


def test_the_trainer_gives_the_device_and_lets_the_workers_go(noise):
    one = data(noise, workers=2)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Recorder(), datamodule=one)
    assert one.device == torch.device("cpu")
    assert one.seconds > 0
    assert (one.train_size, one.test_size, one.classes) == (TRAIN, TEST, CLASSES)
    assert one.provenance()["images"] == [TRAIN, TEST]
    assert one.provenance()["source"] == "a mirror"  # No folder of this machine in a result.
