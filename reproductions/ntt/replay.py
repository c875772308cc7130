"""The transfers of the authors' notebooks, run again on their own weights and batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from pai_bench import Masks, prunable
from pai_bench.data.sources import Arrays
from pai_bench.reproductions.ntt.notebooks import (
    BATCH,
    CNN,
    MLP,
    STEPS,
    Notebook,
    batches,
    pixels,
    split,
)
from pai_bench.reproductions.ntt.student import Objective, Student
from pai_bench.sparsity.select import topk_masks
from pai_bench.store.replayed import Replica
from pai_bench.training.replay import OnStep, Program, Values
from pai_bench.training.search_checkpoint import SearchCheckpoint

DENSITY = 0.03
UPDATE_EVERY = 100
KEPT = (0, 100, 200, 500, 1000, 2000, 5000, 10_000, STEPS)
"""Steps of which the values are kept; the notebooks print every hundredth."""
NOISE = 1e-6
"""Relative noise on each initial weight of a replica, standard deviation: some roundings of a
float32, as two programs differ by that add in different orders."""


def transfer(
    notebook: Notebook,
    data: Arrays,
    replica: Replica,
    steps: int,
    checkpoint: SearchCheckpoint,
    on_step: OnStep,
) -> Values:
    """Replay the transfer of one run.

    Args:
        notebook: Network and weight of the L2 term.
        data: MNIST.
        replica: Number of the authors' run, and of the noise.
        steps: Where to stop.
        checkpoint: What it resumes from.
        on_step: Callback after each step.

    Returns:
        Total loss, distances and sum of squared weights after some numbers of steps.
    """
    standardised = _standardised(data)
    probe = standardised[torch.from_numpy(split()[0][:BATCH])]
    student, kept = _student(notebook, replica), Kept()
    checkpoint.add("student", student)
    checkpoint.add("kept", kept)
    if not student.steps:
        kept.values["0"] = _measured(student, probe)
    numbers = range(student.steps + 1, steps + 1)
    following = islice(batches(replica.run), student.steps, None)
    for step, images in zip(numbers, following, strict=False):
        student.step(standardised[torch.from_numpy(images)])
        if step in KEPT:
            kept.values[str(step)] = _measured(student, probe)
        if step % UPDATE_EVERY == 0 and step < STEPS - UPDATE_EVERY:
            student.set_masks(_by_magnitude(student.parameters, list(student.masks)))
        on_step(step)
        checkpoint.update()
    return {step: values for step, values in kept.values.items() if int(step) <= steps}


class Kept:
    """Values by the number of steps, for a checkpoint."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, float]] = {}

    def state_dict(self) -> dict[str, Any]:
        """The values so far."""
        return self.values

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with these."""
        self.values = state


def _standardised(data: Arrays) -> Tensor:
    """All training images, by their own mean and standard deviation."""
    raw = data.train_images.double() / 255
    return pixels(data.train_images, float(raw.mean()), float(raw.std(correction=0)))


def _student(notebook: Notebook, replica: Replica) -> Student:
    teacher = notebook.teacher(replica.run)
    _disturb(teacher, replica)
    weights = dict(prunable(teacher))
    masks = _by_magnitude({n: w.detach() for n, w in weights.items()}, list(weights))
    return Student(teacher, masks, Objective(1e-3, notebook.l2 / DENSITY, "dense"), 5e-4)


def _disturb(network: nn.Module, replica: Replica) -> None:
    noise = torch.Generator().manual_seed(replica.number)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1 + NOISE * torch.randn(parameter.shape, generator=noise))


def _by_magnitude(parameters: Mapping[str, Tensor], names: list[str]) -> Masks:
    scores = {name: parameters[name].abs() for name in names}
    return topk_masks(scores, DENSITY, scope="local", rule="above")


def _measured(student: Student, probe: Tensor) -> dict[str, float]:
    """What the notebooks print."""
    with torch.no_grad():
        distances = student.distances(student.masked(), probe)
    return {
        "transfer-loss": float(student.loss(probe)),
        "transfer-kernel": float(distances.kernel),
        "transfer-output": float(distances.outputs),
        "transfer-weights": float(student.l2()),
    }


def _programs() -> Iterator[tuple[str, Program]]:
    for notebook in (MLP, CNN):
        program = partial(transfer, notebook)
        yield notebook.network, Program("mnist", 2, STEPS, {"noise": NOISE}, 1, program)


PROGRAMS = dict(_programs())
"""By name, as claims.yaml has them under `replays`."""
