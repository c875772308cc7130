"""Odd networks and batches × methods: the right masks, or a refusal of one line.

A case is odd in one way. Where it has an ordinary twin, its masks must be those of the twin; else
they keep the right number of weights. Nothing that is the caller's may change in either case.
"""

import contextlib
import functools
import importlib.util
import random
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from pai_bench import prune
from pai_bench.config.schema import Recipe
from pai_bench.core.errors import BenchError
from pai_bench.sparsity.select import kept_count


def neighbour(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


odd = neighbour("odd_networks")
RECIPE = Recipe(epochs=1, batch_size=8, lr=0.05)
METHODS: dict[str, dict[str, Any]] = {
    "random": {},
    "magnitude": {},
    "snip": {},
    "logit-snip": {},
    "iterative-snip": {"rounds": 3},
    "force": {"rounds": 3},
    "grasp": {},
    "synflow": {"rounds": 3},
    "ntk-sap": {"rounds": 2, "repeats": 1},
    "imp": {"rounds": 2, "recipe": RECIPE},
}
BLIND = {"random", "magnitude"}
"""Methods that never run the network."""
NO_DATA = {*BLIND, "synflow", "ntk-sap"}
BY_LOSS = {"snip", "iterative-snip", "force", "grasp", "imp"}
"""Methods that score by the cross-entropy."""
ALL = set(METHODS)


@dataclass
class Odd:
    """One case."""

    build: Callable[[], Any]
    """Makes the network, the same one each time."""
    batches: Callable[[], Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of `prune`."""
    twin: Callable[[], nn.Module] | None = None
    """Makes the ordinary network, whose masks have the same values in the same order."""
    twin_batches: Callable[[], Any] | None = None
    refused: set[str] = field(default_factory=set)
    """Methods that must refuse it in one line; all others must return masks."""
    either: set[str] = field(default_factory=set)
    """Methods that may refuse it, but must return the right masks if they do not."""
    differs: set[str] = field(default_factory=set)
    """Methods whose masks are not those of the twin, by what they draw."""
    says: str = ""
    """What a refusal says."""
    warns: str = ""
    """What a warning says, for every method that is not refused."""
    within: Callable[[], Any] | None = None
    """Makes a context manager around the call."""


CASES: dict[str, Odd] = {
    # Networks:
    "ordinary": Odd(odd.net, twin=odd.net),
    "sequential": Odd(odd.sequential, twin=odd.net),
    "Module.compile": Odd(odd.changed(lambda n: n.compile(backend="eager")), twin=odd.net),
    "torch.compile": Odd(odd.changed(lambda n: torch.compile(n, backend="eager")), twin=odd.net),
    "DataParallel": Odd(odd.changed(nn.DataParallel), twin=odd.net),
    "DataParallel of torch.compile": Odd(
        odd.changed(lambda n: nn.DataParallel(torch.compile(n, backend="eager"))), twin=odd.net
    ),
    "keeps activations": Odd(odd.changed(odd.ran, odd.forward(odd.keeps)), twin=odd.net),
    "keeps activations, fresh": Odd(odd.forward(odd.keeps), twin=odd.net),
    "lock": Odd(odd.changed(odd.locked), refused=ALL, says="lock"),
    "generator attribute": Odd(odd.changed(odd.opened), refused=ALL, says="stream"),
    "forward is a closure": Odd(
        odd.changed(odd.closed), twin=odd.net, refused=ALL - BLIND, says="of this very network"
    ),
    "forward is a closure of a frozen network": Odd(
        odd.changed(lambda n: (odd.closed(n), odd.freeze(n))[1]),
        twin=odd.net,
        refused=ALL - BLIND,
        says="do not depend on any prunable weight|of this very network",
    ),
    "forward is a bound method": Odd(odd.changed(odd.bound), twin=odd.net),
    "checkpoint": Odd(odd.forward(odd.checkpointed(False)), twin=odd.net),
    "checkpoint, reentrant": Odd(
        odd.forward(odd.checkpointed(True)), twin=odd.net, refused=ALL - BLIND, says="use_reentrant"
    ),
    "in place on the input": Odd(
        odd.forward(odd.in_place), twin=odd.forward(lambda n, x: n.b(n.a(x - 0.5).relu()))
    ),
    "float16": Odd(odd.changed(nn.Module.half), twin=odd.changed(lambda n: n.half().float())),
    "bfloat16": Odd(
        odd.changed(nn.Module.bfloat16), twin=odd.changed(lambda n: n.bfloat16().float())
    ),
    "bfloat16 last layer": Odd(
        odd.changed(odd.to_half_last, odd.forward(odd.half_last)),
        twin=odd.changed(lambda n: (n.b.bfloat16(), n.float())[1]),
    ),
    "float64": Odd(odd.changed(nn.Module.double), twin=odd.changed(nn.Module.double)),
    "forward casts to float32": Odd(
        odd.forward(lambda n, x: n.b(n.a(x.float()).relu().float())),
        twin=odd.net,
        refused={"synflow"},
        says="dtype",
    ),
    "built in inference mode": Odd(odd.inference_built, twin=odd.net),
    "frozen": Odd(odd.changed(odd.freeze), twin=odd.net, either={"imp"}),
    "no gradient": Odd(
        odd.forward(lambda n, x: n.b(n.a(x).relu()).detach()),
        twin=odd.net,
        refused=ALL - BLIND,
        says="do not depend",
    ),
    "lazy": Odd(odd.lazy, refused=ALL, says="no shape yet"),
    "lazy, after a batch": Odd(odd.lazy_run),
    "weight_norm": Odd(
        odd.parametrized(parametrizations.weight_norm), refused=ALL, says="a.weight"
    ),
    "weight_norm, old": Odd(
        odd.parametrized(nn.utils.weight_norm), refused=ALL, says="weight_norm"
    ),
    "spectral_norm": Odd(
        odd.parametrized(parametrizations.spectral_norm), refused=ALL, says="a.weight"
    ),
    "spectral_norm, old": Odd(
        odd.parametrized(nn.utils.spectral_norm), refused=ALL, says="a.weight"
    ),
    "torch.nn.utils.prune": Odd(
        odd.parametrized(lambda layer: nn.utils.prune.l1_unstructured(layer, "weight", 0.5)),
        refused=ALL,
        says="prune",
    ),
    "tied": Odd(
        odd.changed(odd.tie, odd.square),
        refused=ALL,
        says="no parameter of its own: it is a.weight",
    ),
    "shared memory": Odd(
        odd.changed(odd.share_memory, odd.square), refused=ALL, says="share their memory"
    ),
    "expanded": Odd(odd.changed(odd.expand), refused=ALL, says="expanded view"),
    "NaN in the last layer": Odd(
        odd.changed(odd.nan_last), refused=ALL, says="b.weight is not finite"
    ),
    "meta": Odd(lambda: odd.Net().to("meta"), refused=ALL, says="meta device"),
    "zero width": Odd(lambda: odd.seeded(odd.Net, 6, 0, 4), refused=ALL, says="no elements"),
    "complex": Odd(lambda: odd.Net().to(torch.complex64), refused=ALL, says="complex64"),
    "no network": Odd(lambda: odd.images(), refused=ALL, says="must be a torch.nn.Module"),
    "no layers": Odd(lambda: nn.ReLU(), refused=ALL, says="no conv or linear layer"),
    "unused layer": Odd(lambda: odd.seeded(odd.Spare), either={"imp"}),
    "constant weights": Odd(
        odd.changed(odd.constant),
        refused={"magnitude"},
        either=ALL - {"random"},
        says="score the same",
    ),
    "draws from every generator": Odd(odd.forward(odd.chances)),
    "dropout": Odd(
        odd.forward(lambda n, x: functional.dropout(n.b(n.a(x).relu()), 0.5, n.training))
    ),
    "batch norm": Odd(odd.normed, twin=odd.normed),
    "batch norm, one image": Odd(
        odd.normed,
        lambda: [(odd.images(1), odd.labels(1))],
        refused={*BY_LOSS, "logit-snip", "ntk-sap"},
        says="more than 1 value per channel",
    ),
    "batch norm without statistics": Odd(
        lambda: odd.normed(track_running_stats=False),
        refused={"synflow"},
        says="running|more than 1",
    ),
    "one layer twice": Odd(
        odd.forward(lambda n, x: n.b(n.b(n.a(x).relu()).relu()), inputs=6, hidden=6, classes=6)
    ),
    # Outputs and losses:
    "one output": Odd(
        lambda: odd.seeded(odd.Net, 6, 10, 1),
        twin=lambda: odd.seeded(odd.Net, 6, 10, 1),
        refused=BY_LOSS,
        says="one output",
    ),
    "one output, own loss": Odd(
        lambda: odd.seeded(odd.Net, 6, 10, 1),
        options={"loss": odd.mean_square},
        refused={"random", "magnitude", "logit-snip", "synflow", "ntk-sap"},
        says="loss= has no effect",
    ),
    "own loss, the cross-entropy": Odd(
        odd.net,
        options={"loss": functional.cross_entropy},
        twin=odd.net,
        refused={"random", "magnitude", "logit-snip", "synflow", "ntk-sap"},
    ),
    "own loss is no number": Odd(
        odd.net, options={"loss": lambda o, y: o}, refused=ALL, says="loss="
    ),
    "softmax last": Odd(
        odd.forward(lambda n, x: n.b(n.a(x).relu()).softmax(1)),
        refused={"synflow"},
        says="score the same",
    ),
    "layer norm last": Odd(
        odd.forward(lambda n, x: functional.layer_norm(n.b(n.a(x).relu()), (4,))),
        refused={"synflow"},
        says="score the same",
    ),
    "tuple": Odd(
        odd.forward(lambda n, x: (n.b(n.a(x).relu()), x)),
        twin=odd.net,
        refused=ALL - BLIND,
        says="returns a tuple",
    ),
    "tuple, first": Odd(
        odd.forward(lambda n, x: (n.b(n.a(x).relu()), x)), twin=odd.net, options={"output": 0}
    ),
    "dict": Odd(
        odd.forward(lambda n, x: {"logits": n.b(n.a(x).relu()), "x": x}),
        twin=odd.net,
        options={"output": "logits"},
    ),
    "object": Odd(
        odd.forward(lambda n, x: odd.Answer(n.b(n.a(x).relu()))),
        twin=odd.net,
        options={"output": "logits"},
    ),
    "output is not there": Odd(
        odd.forward(lambda n, x: (n.b(n.a(x).relu()),)),
        options={"output": 3},
        refused=ALL - BLIND,
        says="output=3",
    ),
    "output by a function": Odd(
        odd.forward(lambda n, x: [n.b(n.a(x).relu()) / 2]),
        twin=odd.net,
        options={"output": lambda found: found[0] * 2},
    ),
    "images for outputs": Odd(
        odd.forward(lambda n, x: n.b(n.a(x).relu())[..., None, None]),
        refused=BY_LOSS,
        says="labels have shape",
    ),
    # Batches:
    "numpy": Odd(odd.net, odd.with_batches(lambda x, y: (x.numpy(), y.numpy())), twin=odd.net),
    "DataLoader": Odd(odd.net, odd.loader, twin=odd.net),
    "generator": Odd(odd.net, lambda: iter(odd.ordinary()), refused=ALL, says="again and again"),
    "one pair": Odd(
        odd.net, lambda: (odd.images(), odd.labels()), refused=ALL, says="write \\[\\(inputs"
    ),
    "triples": Odd(
        odd.net,
        odd.with_batches(lambda x, y: (x, y, y)),
        twin=odd.net,
        refused=ALL - BLIND,
        says="must be a pair",
    ),
    "None": Odd(
        odd.net, lambda: None, twin=odd.net, refused=ALL - BLIND, says="at least one batch"
    ),
    "bytes": Odd(
        odd.net,
        odd.with_batches(lambda x, y: ((x * 9).byte(), y)),
        twin=odd.net,
        twin_batches=odd.with_batches(lambda x, y: ((x * 9).byte().float(), y)),
    ),
    "inference mode inputs": Odd(odd.net, odd.inference_inputs, twin=odd.net),
    "inputs with gradient": Odd(
        odd.net, odd.with_batches(lambda x, y: (x.requires_grad_() * 1, y)), twin=odd.net
    ),
    "empty batch": Odd(
        odd.net,
        lambda: [(odd.images()[:0], odd.labels()[:0])],
        twin=odd.net,
        refused=ALL - BLIND,
        says="empty",
    ),
    "NaN inputs": Odd(
        odd.net,
        odd.with_batches(lambda x, y: (x / 0 * 0, y)),
        twin=odd.net,
        refused=ALL - NO_DATA,
        says="not finite",
    ),
    "meta inputs": Odd(
        odd.net,
        odd.with_batches(lambda x, y: (x.to("meta"), y)),
        twin=odd.net,
        refused=ALL - BLIND,
        says="meta",
    ),
    "no labels": Odd(
        odd.net,
        odd.with_batches(lambda x, y: (x, None)),
        twin=odd.net,
        refused=BY_LOSS,
        says="labels are",
    ),
    "float labels": Odd(
        odd.net,
        odd.with_batches(lambda x, y: (x, y.float())),
        twin=odd.net,
        refused=BY_LOSS,
        says="labels are",
    ),
    "bool labels": Odd(
        odd.net,
        odd.with_batches(lambda x, y: (x, y > 1)),
        twin=odd.net,
        twin_batches=odd.with_batches(lambda x, y: (x, (y > 1).long())),
    ),
    "a column of labels": Odd(
        odd.net, odd.with_batches(lambda x, y: (x, y[:, None])), twin=odd.net
    ),
    "int32 labels": Odd(odd.net, odd.with_batches(lambda x, y: (x, y.int())), twin=odd.net),
    "uint8 labels": Odd(odd.net, odd.with_batches(lambda x, y: (x, y.byte())), twin=odd.net),
    "a list of labels": Odd(odd.net, odd.with_batches(lambda x, y: (x, y.tolist())), twin=odd.net),
    "probabilities": Odd(
        odd.net, odd.with_batches(lambda x, y: (x, functional.one_hot(y, 4).float())), twin=odd.net
    ),
    "label out of range": Odd(
        odd.net,
        odd.with_batches(lambda x, y: (x, y + 1)),
        twin=odd.net,
        refused=BY_LOSS,
        says="label 4 is out of range",
    ),
    "all labels ignored": Odd(
        odd.net,
        odd.with_batches(lambda x, y: (x, y * 0 - 100)),
        twin=odd.net,
        refused=BY_LOSS,
        says="-100",
    ),
    "some labels ignored": Odd(
        odd.net,
        odd.with_batches(lambda x, y: (x, y.where(y > 0, -100))),
        twin=odd.net,
        twin_batches=odd.with_batches(lambda x, y: (x, y.where(y > 0, -100))),
    ),
    "tokens": Odd(
        lambda: odd.seeded(odd.Tokens),
        odd.ids,
        twin=odd.token_net,
        twin_batches=odd.embedded,
        refused={"synflow", "ntk-sap"},
        says="takes integers",
        differs={"imp"},
        warns="embedding.weight",
    ),
    "two inputs": Odd(
        lambda: odd.seeded(odd.Two),
        odd.halves(lambda x, y: (x, y)),
        twin=odd.net,
        differs={"ntk-sap"},
    ),
    "two inputs by name": Odd(
        lambda: odd.seeded(odd.Two),
        odd.halves(lambda x, y: {"right": y, "left": x}),
        twin=odd.net,
        differs={"ntk-sap"},
    ),
    "a dictionary for input": Odd(
        lambda: odd.seeded(odd.One),
        odd.halves(lambda x, y: {"left": x, "right": y}),
        twin=odd.net,
        differs={"ntk-sap"},
    ),
    # Weights:
    "matrices": Odd(lambda: odd.seeded(odd.Raw), refused=ALL, says="no conv or linear layer"),
    "matrices, prunable": Odd(
        lambda: odd.seeded(odd.Raw), options={"prunable": ["a", "b"]}, twin=odd.net
    ),
    "matrices, by a rule": Odd(
        lambda: odd.seeded(odd.Raw), options={"prunable": lambda n, p: True}, twin=odd.net
    ),
    "prunable is unknown": Odd(
        odd.net, options={"prunable": ["c.weight"]}, refused=ALL, says="no parameter"
    ),
    "prunable is a vector": Odd(
        odd.net, options={"prunable": ["a.bias"]}, refused=ALL, says="vector"
    ),
    "LSTM": Odd(
        lambda: odd.seeded(odd.Sequence), odd.sequences, warns="rnn.weight_ih_l0, rnn.weight_hh_l0"
    ),
    "LSTM, prunable": Odd(
        lambda: odd.seeded(odd.Sequence),
        odd.sequences,
        options={"prunable": ["rnn.weight_*", "head.weight"]},
    ),
    "RNN, prunable": Odd(
        lambda: odd.seeded(odd.Sequence, nn.RNN),
        odd.sequences,
        twin=odd.Unrolled,
        twin_batches=odd.sequences,
        options={"prunable": ["rnn.weight_*", "head.weight"]},
    ),
    "attention": Odd(
        lambda: odd.seeded(odd.Attention), odd.sequences, warns="attend.in_proj_weight"
    ),
    "attention, prunable": Odd(
        lambda: odd.seeded(odd.Attention), odd.sequences, options={"prunable": lambda n, p: True}
    ),
    "transposed convolution": Odd(
        lambda: odd.seeded(odd.Pictures, lambda: nn.ConvTranspose2d(3, 3, 3)),
        odd.pictures,
        warns="middle.weight: 81 weights",
    ),
    "transposed convolution, prunable": Odd(
        lambda: odd.seeded(odd.Pictures, lambda: nn.ConvTranspose2d(3, 3, 3)),
        odd.pictures,
        options={"prunable": lambda n, p: True},
    ),
    # Surroundings:
    "density is text": Odd(
        odd.net, options={"density": "0.5"}, refused=ALL, says="must be a number"
    ),
    "default device": Odd(odd.net, within=odd.default_device, twin=odd.net),
    "inference mode": Odd(odd.net, within=torch.inference_mode, twin=odd.net),
}


def tensors(value):
    """Copies of the tensors in a nested value."""
    if isinstance(value, torch.Tensor | np.ndarray):
        yield torch.as_tensor(value).detach().clone()
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors(item)


def state(network, batches):
    """All that is the caller's."""
    modules = list(network.modules()) if isinstance(network, nn.Module) else []
    held = [t for m in modules for t in (*m._parameters.values(), *m._buffers.values())]
    own = [t for t in held if t is not None and not nn.parameter.is_lazy(t)]
    numpy = np.random.get_state()
    return [
        *tensors(own), *tensors(batches), torch.get_rng_state(), torch.from_numpy(numpy[1].copy()),
        (numpy[2], random.getstate(), [m.training for m in modules]),
        [(t.requires_grad, t.grad is None) for t in own if t.is_leaf],
    ]  # fmt: skip


def same(one, other):
    if isinstance(one, torch.Tensor):
        nan = one.is_floating_point() and not one.is_meta and bool(one.isnan().any())
        return one.is_meta or nan or torch.equal(one, other)
    return one == other


def pruned(network, method, density, batches, options):
    arguments = {"density": density, **METHODS[method], **options}
    return prune(network, method, batches=batches, **arguments)


@functools.cache
def twin_masks(twin, batches, method, density):
    return list(pruned(twin(), method, density, (batches or odd.ordinary)(), {}).values())


def outcome(name, method, density=0.4):
    """What comes of a case: right, refused, raw, silent, changed or unsaid; and details."""
    case = CASES[name]
    network, batches = case.build(), (case.batches or odd.ordinary)()
    before = state(network, batches)
    context = case.within() if case.within else contextlib.nullcontext()
    with warnings.catch_warnings(record=True) as said, context:
        warnings.simplefilter("always")
        try:
            masks, problem = pruned(network, method, density, batches, case.options), None
        except Exception as error:
            masks, problem = None, error
    after = state(network, batches)
    if len(before) != len(after) or not all(map(same, before, after)):
        return "changed", repr(problem)
    if problem is not None:
        kind = "refused" if isinstance(problem, BenchError) and "\n" not in str(problem) else "raw"
        return kind, f"{type(problem).__name__}: {problem}"
    if method in case.refused:
        return "silent", f"{masks.kept} of {masks.total} kept"
    warned = [str(w.message) for w in said if "masks.start" not in str(w.message)]
    if case.warns and not any(re.search(case.warns, text) for text in warned):
        return "unsaid", repr(warned)
    if masks.kept != kept_count(masks.total, density):
        return "silent", f"{masks.kept} of {masks.total} kept"
    if case.twin and method not in case.differs:
        twin = twin_masks(case.twin, case.twin_batches, method, density)
        for one, other in zip(masks.values(), twin, strict=True):
            if not torch.equal(one.cpu(), other):
                return "silent", f"{int((one.cpu() != other).sum())} of {masks.total} differ"
    return "right", ""


@pytest.mark.parametrize("name", CASES)
def test_the_masks_are_right_or_refused_in_one_line(name):
    case, found = CASES[name], {method: outcome(name, method) for method in METHODS}
    wanted = {m: "refused" if m in case.refused else "right" for m in METHODS}
    wrong = {
        method: found[method]
        for method in METHODS
        if found[method][0] != wanted[method]
        and not (method in case.either and found[method][0] == "refused")
    }
    assert not wrong
    for method in case.refused:
        assert re.search(case.says, found[method][1]), found[method]
