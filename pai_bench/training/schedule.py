"""The recipe's learning-rate schedule. Imports no torch."""

from __future__ import annotations

import math

from pai_bench.config.schema import Recipe


def is_by_step(recipe: Recipe) -> bool:
    """Tell whether the learning rate may change with each step; else it does between epochs."""
    return recipe.warmup > 0 or recipe.schedule_unit == "step"


def steps_per_unit(recipe: Recipe, steps_per_epoch: int) -> int:
    """How often the schedule is stepped in one of its units."""
    return steps_per_epoch if is_by_step(recipe) and recipe.schedule_unit == "epoch" else 1


def learning_rates(recipe: Recipe, images: int) -> list[float]:
    """Learning rate of the last step of each epoch, with `images` in the training set.

    >>> recipe = Recipe(epochs=3, batch_size=10, lr=1.0, schedule="step", milestones=(2,))
    >>> learning_rates(recipe, 25)
    [1.0, 1.0, 0.1]
    """
    steps, taken = -(-images // recipe.batch_size), recipe.training_steps(images)
    counts = (
        min((epoch + 1) * steps, taken) - 1 if is_by_step(recipe) else epoch
        for epoch in range(-(-taken // steps))
    )
    return [recipe.lr * factor(recipe, count / steps_per_unit(recipe, steps)) for count in counts]


def factor(recipe: Recipe, done: float) -> float:
    """Factor of the learning rate after `done` units of the schedule, epochs or steps.

    >>> recipe = Recipe(epochs=100, batch_size=1, lr=1.0, schedule="step", milestones=(30,),
    ...     warmup=5)
    >>> [factor(recipe, done) for done in (0, 1, 5, 29.9, 30)]
    [0.0, 0.2, 1.0, 1.0, 0.1]
    """
    if done < recipe.warmup:
        return done / recipe.warmup
    if recipe.schedule == "step":
        return float(recipe.gamma ** sum(done >= milestone for milestone in recipe.milestones))
    if recipe.schedule == "cosine":
        after_warmup = _length(recipe) - recipe.warmup
        progress = min(1.0, (done - recipe.warmup) / after_warmup) if after_warmup > 0 else 1.0
        return (1 + math.cos(math.pi * progress)) / 2
    return 1.0


def _length(recipe: Recipe) -> int:
    """Length of the training in units of the schedule."""
    return (recipe.steps or recipe.epochs) if recipe.schedule_unit == "step" else recipe.epochs
