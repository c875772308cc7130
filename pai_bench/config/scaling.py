"""Recipes that are as good as a published one but for their length: `rigl-mnist+length=5`."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from typing import Any

from pai_bench.config.schema import Recipe
from pai_bench.core.errors import BenchError


def scale_schedule(recipe: Recipe, factor: object, images: int, where: str) -> Mapping[str, Any]:
    """Return the changes that make a training on `images` images `factor` times as long.

    Epochs, steps, warm-up and every anchor of the learning rate are multiplied (RigL, section 4:
    what methods count as a part of the training grows by itself, intervals in steps stay). Where
    whole epochs do not come out, the training counts in steps instead, and these are rounded to
    the nearest.

    Raises BenchError, beginning with `where`, for a factor that is no number above 0, or that
    leaves no step.

    >>> recipe = Recipe(epochs=10, batch_size=50, lr=0.1, schedule="step", milestones=(5,))
    >>> scale_schedule(recipe, 5, 1000, "")
    {'epochs': 50, 'warmup': 0.0, 'milestones': [25]}
    >>> scale_schedule(recipe, 0.1, 1000, "")
    {'epochs': 1, 'warmup': 0.0, 'schedule_unit': 'step', 'milestones': [10]}
    """
    times = _factor(factor, where)
    epochs = recipe.epochs * times
    anchors = [milestone * times for milestone in recipe.milestones]
    changes: dict[str, Any] = {"epochs": ceil(epochs), "warmup": float(recipe.warmup * times)}
    per_epoch = ceil(images / recipe.batch_size)
    if recipe.steps is not None:
        changes["steps"] = round(recipe.steps * times)
    elif epochs.denominator > 1:
        changes["steps"] = round(epochs * per_epoch)
    if changes.get("steps") == 0:
        raise BenchError(f"{where}: length {factor} leaves no step of training")
    ends = [epochs] if recipe.steps is None or recipe.schedule == "cosine" else []
    whole = all(value.denominator == 1 for value in (*ends, *anchors))
    if recipe.schedule_unit == "epoch" and not whole:
        anchors = [anchor * per_epoch for anchor in anchors]
        changes["warmup"] *= per_epoch
        changes["schedule_unit"] = "step"
    return {**changes, "milestones": [round(anchor) for anchor in anchors]}


def _factor(factor: object, where: str) -> Fraction:
    """Read the factor as it was written: 0.1 is a tenth."""
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not 0 < factor < 1e6:
        raise BenchError(f"{where}: length must be a number above 0, got {factor}")
    return Fraction(repr(factor))
