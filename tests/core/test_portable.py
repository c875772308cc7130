"""Bits that do not depend on the processor: products by kernels that have a name."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from pai_bench.core import openblas, portable

in_use = pytest.mark.skipif(
    not portable.is_in_use(), reason="this processor, or this NumPy, has no portable kernels"
)


def matrices(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


VIEWS = {
    "as it is": lambda tensor: tensor,
    "transposed": lambda tensor: tensor.mT.contiguous().mT,
    "every second column": lambda tensor: tensor.repeat_interleave(2, -1)[..., ::2],
    "rows of a wider one": lambda tensor: torch.cat([tensor, tensor], -1)[..., : tensor.shape[-1]],
    "expanded": lambda tensor: tensor[..., :1].expand(tensor.shape),
}


@pytest.mark.parametrize("right", VIEWS)
@pytest.mark.parametrize("left", VIEWS)
def test_products_are_those_of_numpy_in_whatever_layout(left, right):
    a, b = VIEWS[left](matrices(4, 5)), VIEWS[right](matrices(5, 3, seed=1))
    expected = torch.from_numpy(np.einsum("ij,jk->ik", a, b))
    added = matrices(3, seed=2)
    torch.testing.assert_close(openblas.mm(a, b), expected)
    torch.testing.assert_close(openblas.addmm(added, a, b), expected + added)
    stacks = a.expand(2, 4, 5), b.expand(2, 5, 3)
    torch.testing.assert_close(openblas.bmm(*stacks), expected.expand(2, 4, 3))
    more = openblas.baddbmm(matrices(2, 1, 3), *stacks, beta=2, alpha=0.5)
    torch.testing.assert_close(more, 2 * matrices(2, 1, 3) + 0.5 * expected)


def test_what_is_not_added_may_be_nan():
    product = openblas.addmm(
        torch.full((3,), torch.nan), torch.ones(2, 4), torch.ones(4, 3), beta=0
    )
    assert product.tolist() == [[4.0] * 3] * 2


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (torch.ones(2, 4, dtype=torch.bfloat16), torch.ones(4, 3, dtype=torch.bfloat16)),
        (torch.ones(2, 0), torch.ones(0, 3)),
        (torch.ones(0, 4), torch.ones(4, 3)),
        (torch.ones(2, 4, dtype=torch.long), torch.ones(4, 3, dtype=torch.long)),
    ],
    ids=["bfloat16", "nothing to sum", "no rows", "integers"],
)
def test_what_numpy_cannot_multiply_is_left_to_pytorch(left, right):
    product = openblas.mm(left, right)
    assert product.dtype == left.dtype
    assert product.tolist() == [[float(left.shape[1])] * 3] * len(left)


@in_use
def test_shapes_that_clash_are_told_in_the_words_of_pytorch():
    with pytest.raises(RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied"):
        torch.mm(torch.ones(2, 3), torch.ones(4, 2))


@in_use
def test_layers_and_their_gradients_go_through_the_kernels():
    layer, images = nn.Linear(6, 4, dtype=torch.float64), matrices(8, 6)
    images.requires_grad_()
    assert torch.autograd.gradcheck(layer, images)
    torch.testing.assert_close(layer(images), images @ layer.weight.T + layer.bias)


def ramp(*shape):
    """Numbers of all sizes from -0.5 to 0.5 that are the same everywhere."""
    steps = torch.arange(np.prod(shape), dtype=torch.float32).reshape(shape)
    return ((steps * 78.233).remainder(1.0) - 0.5).requires_grad_()


def bits(*tensors):
    parts = [tensor.detach().contiguous().numpy().tobytes() for tensor in tensors]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


@in_use
def test_a_network_has_the_bits_that_it_has_on_other_processors():
    """The digests were made on an AMD EPYC (Zen 4).

    Where they differ, results of that processor differ from the evidence.
    """
    images = ramp(64, 1, 28, 28)
    filters, hidden, last = ramp(6, 1, 5, 5), ramp(300, 864), ramp(10, 300)
    maps = nn.functional.max_pool2d(nn.functional.conv2d(images, filters).relu(), 2)
    logits = (maps.flatten(1) @ hidden.T).relu() @ last.T
    nn.functional.cross_entropy(logits / 100, torch.arange(64) % 10).backward()
    assert bits(maps) == "b20826bb8c45f1c4"
    assert bits(logits) == "c70baba73e3f809d"
    assert bits(filters.grad, hidden.grad, last.grad) == "e86de5ea76155e43"


def test_kernels_that_were_not_chosen_before_the_libraries_came_are_not_promised():
    program = (
        "import torch\nfrom pai_bench.core import portable\n"
        "portable.choose(1)\nprint(portable.use(), portable.is_in_use())"
    )
    environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path)}
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert answer.stdout.split() == ["False", "False"], answer.stderr


def test_a_processor_without_the_instructions_keeps_its_own(monkeypatch):
    monkeypatch.setattr(portable, "is_supported", lambda: False)
    monkeypatch.setattr(portable, "_is_in_use", False)
    assert portable.choose(1) == {}
    assert not portable.use()
