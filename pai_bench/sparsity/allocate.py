"""Layer densities: uniform, Erdős–Rényi, and its kernel variant (RigL)."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Literal, get_args

from pai_bench.core.errors import BenchError, unknown

Shapes = Mapping[str, tuple[int, ...]]
"""Weight name -> shape: (out, in) of linear layers, (out, in, height, width) of convolutions."""
Rounding = Literal["floor", "ceil"]


def uniform(shapes: Shapes, density: float, dense: Collection[str] = ()) -> dict[str, float]:
    """Give every layer the same density; those named in `dense` stay dense, uncompensated.

    RigL, section 3: with the first convolution in `dense`. Errors are those of
    `erdos_renyi_kernel`.

    >>> uniform({"a": (2, 4), "b": (3, 6)}, 0.5, dense=["a"])
    {'a': 1.0, 'b': 0.5}
    """
    _check(shapes, density, dense)
    return {name: 1.0 if name in dense else density for name in shapes}


def erdos_renyi(
    shapes: Shapes,
    density: float,
    dense: Collection[str] = (),
    rounding: Rounding = "floor",
) -> dict[str, float]:
    """Densities in proportion to (in + out) / (in x out), whatever the size of the kernel.

    Saturation, `dense`, `rounding` and errors are those of `erdos_renyi_kernel`.

    >>> densities = erdos_renyi({"a": (4, 2), "b": (6, 3), "c": (6, 4, 2)}, 0.5)
    >>> {name: round(1 - d, 2) for name, d in densities.items()}
    {'a': 0.21, 'b': 0.47, 'c': 0.56}
    """
    for name, shape in shapes.items():
        if len(shape) < 2:
            raise BenchError(f"{name}: shape {shape} has no inputs and outputs to count")
    return _in_proportion(shapes, _by_channels, density, dense, rounding)


def erdos_renyi_kernel(
    shapes: Shapes,
    density: float,
    dense: Collection[str] = (),
    rounding: Rounding = "floor",
) -> dict[str, float]:
    """Densities in proportion to the sum of a weight's dimensions over their product (ERK).

    A layer whose density would exceed 1 is kept dense, and the remaining budget is distributed over
    the others: the number of weights kept over all layers is that of `density` (RigL's code;
    section 1.8 of its specification).

    Args:
        shapes: Weight name -> shape.
        density: Density of all layers together, those in `dense` excepted.
        dense: Names of layers that stay dense and do not count towards `density`.
        rounding: How the number of zeros per layer is rounded; `ceil` gives the figures that the
            paper printed.

    Returns:
        Weight name -> density.

    Raises:
        BenchError: The density is outside (0, 1], no layer has a name in `dense`, a layer has no
            weight, or `rounding` is none of the two.

    >>> densities = erdos_renyi_kernel({"a": (4, 2), "b": (6, 3), "c": (6, 4, 2)}, 0.5)
    >>> {name: round(1 - d, 3) for name, d in densities.items()}
    {'a': 0.0, 'b': 0.31, 'c': 0.655}
    """
    return _in_proportion(shapes, _by_dimensions, density, dense, rounding)


def rigl_mnist(shapes: Shapes, density: float) -> dict[str, float]:
    """Densities of RigL's LeNet on MNIST: first layer sparsity s, last dense, between them 0.9 s.

    (Section 1.11 of its specification, and its code.) s is such that `density` is that of all
    layers together: for LeNet-300-100, s = 0.98 is density 0.0347257. A network of one layer has
    that density.

    Raises:
        BenchError: The dense last layer alone takes (nearly) all of `density` or more.

    >>> shapes = {"fc1": (300, 784), "fc2": (100, 300), "fc3": (10, 100)}
    >>> {name: round(1 - d, 4) for name, d in rigl_mnist(shapes, 0.0347257).items()}
    {'fc1': 0.98, 'fc2': 0.882, 'fc3': 0.0}
    """
    _check(shapes, density, ())
    sizes = [math.prod(shape) for shape in shapes.values()]
    if len(sizes) == 1:
        return dict.fromkeys(shapes, density)
    factors = _of_first_layer(len(sizes))
    sparsified = sum(factor * size for factor, size in zip(factors, sizes, strict=True))
    sparsity = (1 - density) * sum(sizes) / sparsified
    if sparsity > 1:
        raise BenchError(f"density {density:g} is impossible: rigl-mnist leaves more than that")
    return rigl_mnist_at(shapes, sparsity)


def rigl_mnist_at(names: Collection[str], sparsity: float) -> dict[str, float]:
    """The same for a `sparsity` of the first layer.

    >>> rigl_mnist_at(["fc1", "fc2", "fc3"], 0.5)
    {'fc1': 0.5, 'fc2': 0.55, 'fc3': 1.0}
    """
    factors = _of_first_layer(len(names))
    return {name: 1 - factor * sparsity for name, factor in zip(names, factors, strict=True)}


def _of_first_layer(count: int) -> list[float]:
    """Sparsities of RigL's LeNet as parts of that of the first layer."""
    return [1.0] + [0.9] * (count - 2) + [0.0] * (count > 1)


def _by_channels(shape: tuple[int, ...]) -> float:
    return (shape[0] + shape[1]) / (shape[0] * shape[1])


def _by_dimensions(shape: tuple[int, ...]) -> float:
    return sum(shape) / math.prod(shape)


def _in_proportion(
    shapes: Shapes,
    raw: Callable[[tuple[int, ...]], float],
    density: float,
    dense: Collection[str],
    rounding: Rounding,
) -> dict[str, float]:
    """Scale the raw densities to the budget; layers that saturate become dense in turn."""
    _check(shapes, density, dense)
    if rounding not in get_args(Rounding):
        raise unknown("rounding", str(rounding), get_args(Rounding))
    free = {name: raw(shape) for name, shape in shapes.items() if name not in dense}
    sizes = {name: math.prod(shapes[name]) for name in free}
    round_ = math.floor if rounding == "floor" else math.ceil
    zeros = {name: round_((1 - density) * sizes[name]) for name in free}
    budget = sum(sizes.values()) - sum(zeros.values())
    while free:
        factor = budget / sum(raw_density * sizes[name] for name, raw_density in free.items())
        highest = max(free.values())
        if factor * highest <= 1:
            break
        for name in [name for name, raw_density in free.items() if raw_density == highest]:
            budget -= sizes[name]
            del free[name]
    return {name: factor * free[name] if name in free else 1.0 for name in shapes}


def _check(shapes: Shapes, density: float, dense: Collection[str]) -> None:
    if not 0 < density <= 1:
        raise BenchError(f"density {density:g} is impossible: it must be above 0, at most 1")
    for name, shape in shapes.items():
        if math.prod(shape) < 1:
            raise BenchError(f"{name}: shape {shape} holds no weight")
    for name in dense:
        if name not in shapes:
            raise BenchError(f'dense: no layer is called "{name}"; known: {", ".join(shapes)}')
