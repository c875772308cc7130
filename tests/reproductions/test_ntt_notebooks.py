"""What the authors' notebooks ran on, drawn from their seeds, against what their code drew."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pai_bench.networks.lenet import lenet_5
from pai_bench.reproductions.ntt import threefry
from pai_bench.reproductions.ntt.notebooks import BATCH, CNN, MLP, STEPS, batches, pixels, split
from pai_bench.sparsity.masks import prunable

FOLDER = Path(__file__).parents[1] / "golden" / "ntt"
OFFICIAL = np.load(FOLDER / "ntt_official_mnist.npz")


def vectors(*parts):
    """The notebook's untrained network of run 1; a tensor may lie in several files."""
    found = {}
    for part in parts:
        for key, array in np.load(FOLDER / f"ntt_official_{part}.npz").items():
            found[key] = np.concatenate([found[key], array]) if key in found else array
    return found


@pytest.mark.parametrize(
    ("notebook", "parts"),
    [(MLP, ["lenet_300_100"]), (CNN, ["lenet_5_first", "lenet_5_second"])],
    ids=["lenet-300-100", "lenet-5"],
)
def test_initial_weights_are_those_that_the_authors_code_draws(notebook, parts):
    theirs, network = vectors(*parts), notebook.teacher(1)
    for number, (name, weight) in enumerate(prunable(network)):
        weight = weight.detach()
        kernel = torch.from_numpy(theirs[f"W{number}"])
        if kernel.ndim == 4:
            kernel = kernel.permute(3, 2, 0, 1)
        elif kernel.shape[0] == 800:  # theirs are by row, column, channel
            kernel = kernel.view(16, 50, 500).transpose(0, 1).reshape(800, 500).T
        else:
            kernel = kernel.T
        assert float((weight - kernel).abs().max()) < 1.5e-7, name
    biases = [p for name, p in network.named_parameters() if name.endswith("bias")]
    for number, bias in enumerate(biases):
        assert float((bias.detach() - torch.from_numpy(theirs[f"b{number}"])).abs().max()) < 1.5e-8


def test_another_run_draws_other_weights():
    first, second = (dict(prunable(MLP.teacher(run)))["fc1.weight"] for run in (1, 2))
    assert abs(float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])) < 0.01


def test_inputs_after_pooling_are_in_our_order():
    """The network computes what theirs does, which flattens by row, column, channel."""
    network, images = CNN.teacher(1), torch.rand(2, 1, 28, 28)
    same = lenet_5((1, 28, 28), 10)
    same.load_state_dict(network.state_dict())
    theirs = torch.from_numpy(vectors("lenet_5_first", "lenet_5_second")["W2"])
    with torch.no_grad():
        features = same[:6](images)
        expected = features.movedim(1, -1).flatten(1) @ theirs + same.fc1.bias
        assert torch.allclose(same[:8](images), expected, atol=1e-6)


@pytest.mark.slow
def test_batches_and_held_out_images_are_those_of_the_first_run(mirror, settings):
    from pai_bench.data import sources

    theirs = OFFICIAL["batches"].astype(np.int64)
    ours = [chosen for _, chosen in zip(theirs, batches(1), strict=False)]
    assert np.array_equal(ours, theirs)
    images = sources.load("mnist", settings.data["mnist"], str(mirror)).train_images
    held_out = images[torch.from_numpy(split()[0][:BATCH])].view(BATCH, -1)
    assert np.array_equal(held_out.numpy(), OFFICIAL["validation"].reshape(BATCH, -1))
    mean, deviation = float(OFFICIAL["mean"]), float(OFFICIAL["std"])
    ours = images.double().mean() / 255, images.double().std(correction=0) / 255
    assert [float(value) for value in ours] == pytest.approx([mean, deviation], abs=1e-7)
    assert float(pixels(torch.full((784,), 255, dtype=torch.uint8), mean, deviation).max()) == (
        pytest.approx((1 - mean) / deviation)
    )


def test_the_second_run_goes_on_in_the_pass_where_the_first_has_ended():
    first = batches(1)
    for _ in range(STEPS):
        next(first)
    second = batches(2)
    for _ in range(3):
        assert np.array_equal(next(second), next(first))


def test_words_are_those_of_the_published_generator():
    """Known answers of Random123 for Threefry-2x32 with 20 rounds."""
    cases = [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ]
    for key, counters, expected in cases:
        words = [np.array([word], np.uint32) for word in counters]
        found = threefry._threefry(np.array(key, np.uint32), *words)
        assert [int(word[0]) for word in found] == list(expected)
