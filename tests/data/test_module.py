"""Batches depend on (seed, epoch) alone, and hold every image once."""

import copy

import pytest
import torch

from pai_bench.config.schema import Data, Recipe
from pai_bench.core.errors import BenchError
from pai_bench.core.rng import RandomStreams
from pai_bench.data.augment import pad
from pai_bench.data.image_tensors import ImageTensors
from pai_bench.data.module import EVALUATION_BATCH, InMemoryData
from pai_bench.data.sources import Arrays

TRAIN, TEST, CLASSES = 103, 2 * EVALUATION_BATCH + 5, 7
SETTINGS = Data(
    classes=CLASSES,
    shape=(2, 6, 6),
    images=(TRAIN, TEST),
    digest="0" * 64,
    mean=(0.4, 0.6),
    std=(0.2, 0.5),
)


def arrays():
    """Images whose number in their split stands in their first channel as two base-256 digits."""
    parts = {}
    for split, count in (("train", TRAIN), ("test", TEST)):
        number = torch.arange(count)
        images = torch.randint(0, 256, (count, 2, 6, 6), generator=torch.Generator().manual_seed(1))
        images[:, 0, 0, 0], images[:, 0, 0, 1] = number // 256, number % 256
        parts |= {f"{split}_images": images.to(torch.uint8), f"{split}_labels": number % CLASSES}
    return Arrays(**parts)


def module(seed=1, **recipe):
    chosen = Recipe(**{"epochs": 1, "batch_size": 10, "lr": 0.1, **recipe})
    return InMemoryData(ImageTensors(arrays(), SETTINGS, chosen), RandomStreams(seed))


def raw(images):
    """Undo the normalisation."""
    mean, std = (torch.tensor(v).view(2, 1, 1) for v in (SETTINGS.mean, SETTINGS.std))
    return ((images * std + mean) * 255).round().long()


def numbers(batches):
    """The numbers of the images in `batches`, in order."""
    images = raw(torch.cat([images for images, _ in batches]))
    return (images[:, 0, 0, 0] * 256 + images[:, 0, 0, 1]).tolist()


def equal(one, other):
    return len(one) == len(other) and all(
        torch.equal(a, b)
        for x, y in zip(one, other, strict=True)
        for a, b in zip(x, y, strict=True)
    )


@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_batches_of_one_seed_are_the_same_whatever_was_drawn_before(augment):
    torch.manual_seed(0)
    one = list(module(augment=augment).train_dataloader())
    torch.manual_seed(99)
    torch.rand(13)
    other = module(augment=augment)
    other.score_batches()
    assert equal(one, list(other.train_dataloader()))


def test_drawing_batches_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    list(module(augment="crop-flip").train_dataloader())
    module(augment="crop-flip").score_batches()
    assert torch.equal(before, torch.get_rng_state())


def test_another_seed_is_another_order():
    assert numbers(module(1).train_dataloader()) != numbers(module(2).train_dataloader())


@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_epochs_differ(augment):
    batches = module(augment=augment).train_dataloader()
    assert not equal(list(batches), list(batches))


def test_the_order_of_an_epoch_is_a_permutation_from_its_own_stream():
    loader = module(3).train_dataloader()
    for epoch in range(2):
        drawn = torch.randperm(TRAIN, generator=RandomStreams(3).generator(f"data-order/{epoch}"))
        assert numbers(loader) == drawn.tolist()


def test_each_epoch_crops_anew():
    one = module(augment="crop-flip", batch_size=TRAIN)
    one.images.tensors["train_images"][one.images.tensors["train_images"] > 0] = (
        255  # The padding stays 0.
    )
    loader = one.train_dataloader()
    (first, _), (second, _) = [next(iter(loader)) for _ in range(2)]
    assert not torch.equal(first, second)


def test_augmentation_does_not_change_the_order():
    plain, augmented = module(), module(augment="crop-flip")
    labels = [torch.cat([target for _, target in m.train_dataloader()]) for m in (plain, augmented)]
    assert torch.equal(*labels)


@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_a_pass_that_starts_at_a_later_epoch_gives_the_batches_of_that_epoch(augment):
    batches = module(augment=augment).train_dataloader()
    epochs = [list(batches) for _ in range(4)]
    resumed = module(augment=augment).train_dataloader()
    resumed.epoch = 2
    assert equal(list(resumed), epochs[2])
    assert equal(list(resumed), epochs[3])


@pytest.mark.parametrize("done", [0, 1, 4, 11])
@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_a_pass_goes_on_where_its_state_was_taken(done, augment):
    loader = module(augment=augment).train_dataloader()
    whole = [batch for _ in range(3) for batch in loader][11:]
    started = module(augment=augment).train_dataloader()
    list(started)
    running = iter(started)
    for _ in range(done):
        next(running)
    state = copy.deepcopy(started.state_dict())
    resumed = module(augment=augment).train_dataloader()
    resumed.load_state_dict(state)
    assert resumed.state_dict()["batches"] == state["batches"] == done % 11
    rest = list(resumed) + ([] if done == 11 else list(resumed))
    assert equal(rest, whole[done:])


def test_a_state_of_other_batches_is_refused():
    state = module(batch_size=20).train_dataloader().state_dict()
    with pytest.raises(BenchError, match="checkpoint of an epoch of 6 batches; this one has 11"):
        module(batch_size=10).train_dataloader().load_state_dict(state)


@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_extra_batches_depend_on_seed_and_number_alone(augment):
    one, other = module(augment=augment), module(augment=augment)
    extra = [one.extra_batch(number) for number in range(13)]
    list(other.train_dataloader())
    assert equal([other.extra_batch(5), other.extra_batch(12)], [extra[5], extra[12]])
    assert not equal([module(2, augment=augment).extra_batch(5)], [extra[5]])
    if augment == "none":
        assert sorted(numbers(extra[:11])) == list(range(TRAIN))
        assert numbers(extra[:11]) != numbers(one.train_dataloader())


@pytest.mark.parametrize("size", [10, 103, 200, 1])
def test_every_image_comes_once_per_epoch_with_its_label(size):
    loader = module(batch_size=size).train_dataloader()
    expected = len(loader)
    for _ in range(2):
        batches = list(loader)
        order = numbers(batches)
        assert sorted(order) == list(range(TRAIN))
        assert torch.cat([labels for _, labels in batches]).tolist() == [n % 7 for n in order]
        assert len(batches) == expected
        assert [len(labels) for _, labels in batches[:-1]] == [size] * (len(batches) - 1)
        assert len(batches[-1][1]) == (TRAIN % size or size)


def test_pixels_are_scaled_to_one_and_normalised_by_channel():
    (images, _), *_ = module().val_dataloader()
    pixels = arrays().test_images[:EVALUATION_BATCH].double() / 255
    for channel, (mean, std) in enumerate(zip(SETTINGS.mean, SETTINGS.std, strict=True)):
        expected = (pixels[:, channel] - mean) / std
        assert torch.allclose(images[:, channel].double(), expected, atol=1e-5)
    assert images.dtype == torch.float32


def test_cropped_images_are_padded_with_black_before_they_are_normalised():
    images = torch.cat([images for images, _ in module(augment="crop-flip").train_dataloader()])
    black = torch.tensor([-0.4 / 0.2, -0.6 / 0.5]).view(2, 1)
    corners = images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    share = (corners - black).abs().amax(1).lt(1e-5).float().mean()
    assert 0.6 < share < 0.8  # a corner is padding unless its crop is shifted off both its edges


@pytest.mark.parametrize(
    ("per_class", "size", "expected"), [(10, 256, [70]), (10, 32, [32, 32, 6]), (100, 64, [64, 39])]
)
def test_score_batches_hold_so_many_images_per_class(per_class, size, expected):
    batches = module(score_images_per_class=per_class, score_batch_size=size).score_batches()
    assert [len(labels) for _, labels in batches] == expected
    order = numbers(batches)
    assert len(set(order)) == len(order)
    assert set(order) <= set(range(TRAIN))
    assert torch.cat([labels for _, labels in batches]).tolist() == [n % 7 for n in order]


def test_score_batches_are_the_same_at_any_time_and_random():
    fresh, used = module(augment="crop-flip"), module(augment="crop-flip")
    list(used.train_dataloader())
    used.score_batches()
    assert equal(fresh.score_batches(), used.score_batches())
    assert numbers(module().score_batches()) != sorted(numbers(module().score_batches()))
    assert numbers(module(1).score_batches()) != numbers(module(2).score_batches())


def test_score_batches_are_augmented_as_training_batches_are():
    plain, augmented = module().score_batches(), module(augment="crop-flip").score_batches()
    assert torch.equal(plain[0][1], augmented[0][1])
    assert not torch.equal(plain[0][0], augmented[0][0])


def test_score_batches_drawn_afresh_hold_the_same_images_in_another_order_and_crop():
    batches = module(score_batch_size=32).score_batches()
    second, third = batches.afresh(2), batches.afresh(3)
    assert sorted(numbers(second)) == sorted(numbers(batches))
    assert len({tuple(numbers(each)) for each in (batches, second, third)}) == 3
    assert [len(labels) for _, labels in second] == [len(labels) for _, labels in batches]
    assert torch.cat([y for _, y in second]).tolist() == [n % 7 for n in numbers(second)]
    cropped = module(augment="crop-flip", score_images_per_class=1).score_batches()
    assert not equal(cropped.afresh(2), cropped.afresh(3))
    assert equal(cropped.afresh(2), module(
        augment="crop-flip", score_images_per_class=1).score_batches().afresh(2))  # fmt: skip


def test_evaluation_covers_the_test_set_in_order():
    loader = module(augment="crop-flip").val_dataloader()
    batches = list(loader)
    assert len(loader) == len(batches) == 3
    assert numbers(batches) == list(range(TEST))
    assert torch.equal(torch.cat([labels for _, labels in batches]), arrays().test_labels)


def test_making_batches_leaves_the_stored_pixels_alone():
    one = module(augment="crop-flip")
    list(one.train_dataloader()), list(one.val_dataloader()), one.score_batches()
    assert torch.equal(one.images.tensors["train_images"], pad(arrays().train_images))
    assert torch.equal(one.images.tensors["test_images"], arrays().test_images)


def held_out(**recipe):
    return module(holdout=0.25, **recipe)


def test_held_out_images_are_never_trained_on():
    whole, rest = module(), held_out()
    trained = numbers(rest.train_dataloader())
    assert len(trained) == rest.train_size < whole.train_size
    tuned = held_out(evaluate="validation")
    validated = numbers(tuned.val_dataloader())
    assert sorted(trained + validated) == list(range(TRAIN))
    assert tuned.test_size == len(validated)


def test_without_validation_a_holdout_is_evaluated_on_the_test_set():
    assert numbers(held_out().val_dataloader()) == numbers(module().val_dataloader())


def test_scoring_never_sees_what_is_held_out():
    tuned = held_out(evaluate="validation", score_images_per_class=1000)
    scored = {n for images, _ in tuned.score_batches() for n in numbers([(images, None)])}
    assert scored == set(numbers(tuned.train_dataloader()))


def test_the_holdout_is_the_same_at_every_seed():
    held = [numbers(held_out(evaluate="validation", seed=s).val_dataloader()) for s in (1, 2)]
    assert held[0] == held[1]


@pytest.mark.parametrize("augment", ["crop-flip", "mirror-crop-flip", "resized-crop-flip"])
@pytest.mark.parametrize("normalise", ["channels", "image", "none"])
def test_every_augmentation_goes_with_every_normalisation(augment, normalise):
    data = module(augment=augment, normalise=normalise)
    batches = list(data.train_dataloader())
    assert sum(len(labels) for _, labels in batches) == TRAIN
    assert all(images.isfinite().all() and images.dtype == torch.float32 for images, _ in batches)
    assert equal(batches, list(module(augment=augment, normalise=normalise).train_dataloader()))


def test_an_image_is_normalised_before_it_is_mirrored_and_cropped():
    """The mirrored edge belongs to the normalised image (RigL's specification, 3.3)."""
    data = module(augment="mirror-crop-flip", normalise="image")
    images = arrays().train_images
    flat = images.double().flatten(1)
    normal = (images - flat.mean(1).view(-1, 1, 1, 1)) / flat.std(1, correction=0).view(-1, 1, 1, 1)
    allowed = [set(v.flatten().float().mul(1e3).round().tolist()) for v in normal]
    for index in range(0, TRAIN, 20):
        chosen = torch.tensor([index])
        crop, _ = data.images.batch(chosen, torch.Generator().manual_seed(index))
        found = {round(v) for v in (crop.flatten() * 1e3).tolist()}
        assert all(any(abs(v - a) <= 1 for a in allowed[index]) for v in found)
