"""NTT against the authors' code, on the small problem that it was run on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pai_bench.data import sources
from pai_bench.methods.functional import prune
from pai_bench.networks import ntk
from pai_bench.networks.lenet import lenet_5, lenet_300_100
from pai_bench.registry import methods as registry
from pai_bench.reproductions.ntt.student import Objective, Student
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.sparsity.select import topk_masks

FOLDER = Path(__file__).parents[1] / "golden" / "ntt"
DENSITY = 0.4
KERNEL_TOLERANCE = {"f64": 1e-12, "f32": 1e-5}
GRADIENT_TOLERANCE = {"f64": 1e-12, "f32": 1e-6}
OBJECTIVES = {
    "grad": ("loss", Objective(1e-3, 1e-4 / DENSITY, "dense")),
    "gradmt": ("loss_maskedtangent", Objective(1e-3, 1e-4 / DENSITY, "masked")),
    "grad_nok": ("loss_nok", Objective(0.0, 0.0, "dense")),
    "grad_k1": ("loss_k1", Objective(1.0, 0.0, "dense")),
}


class Golden:
    """The vectors in one precision; the authors' linear weights are (in, out)."""

    def __init__(self, kind):
        self.kind = kind
        self._arrays = np.load(FOLDER / f"ntt_tiny_mlp_{kind}.npz")

    def __getitem__(self, name):
        return torch.from_numpy(self._arrays[name])

    def parameters(self, prefix):
        found = {}
        for number in range(3):
            found[f"fc{number}.weight"] = self[f"{prefix}_W{number}"].T.contiguous()
            found[f"fc{number}.bias"] = self[f"{prefix}_b{number}"]
        return found

    def masks(self, prefix):
        return Masks({f"fc{n}.weight": self[f"{prefix}_{n}"].T.bool() for n in range(3)})

    def teacher(self):
        net = nn.Sequential()
        for number, (inputs, outputs) in enumerate([(12, 10), (10, 8), (8, 3)]):
            net.add_module(f"fc{number}", nn.Linear(inputs, outputs))
            if number < 2:
                net.add_module(f"relu{number}", nn.ReLU())
        net.to(self["x"].dtype).load_state_dict(self.parameters("teacher"))
        return net.eval()

    def student(self, objective, start="student", lr=5e-3):
        student = Student(self.teacher(), self.masks("mask"), objective, lr)
        for name, value in self.parameters(start).items():
            student.parameters[name].copy_(value)
        return student


@pytest.fixture(params=["f64", "f32"])
def golden(request):
    return Golden(request.param)


def same(one, other):
    return list(one) == list(other) and all(torch.equal(one[n], other[n]) for n in one)


def furthest(one, other):
    return max(float((one[name] - other[name]).abs().max()) for name in other)


@pytest.mark.parametrize("method", ["chain", "hooks", "jacobian"])
def test_kernels(golden, method):
    x, masks, net = golden["x"], golden.masks("mask"), golden.teacher()
    student = {
        name: value * masks[name] if name in masks else value
        for name, value in golden.parameters("student").items()
    }
    outputs, teacher = ntk.outputs_and_kernel(net, x, 4, method=method)
    dense = ntk.empirical_ntk(net, x[:4], x[4:], method=method, parameters=student)
    masked = ntk.empirical_ntk(net, x[:4], x[4:], "masked", masks, method, parameters=student)
    tolerance = KERNEL_TOLERANCE[golden.kind]
    for found, expected in [
        (outputs, "f_teacher"),
        (teacher, "ntk_teacher"),
        (dense, "ntk_student"),
        (masked, "ntk_student_maskedtangent"),
    ]:
        assert found.shape == golden[expected].shape
        assert float((found.detach() - golden[expected]).abs().max()) <= tolerance, expected


@pytest.mark.parametrize("prefix", OBJECTIVES)
def test_loss_and_gradient(golden, prefix):
    name, objective = OBJECTIVES[prefix]
    student = golden.student(objective)
    found = student.gradients(golden["x"])
    assert furthest(found, golden.parameters(prefix)) <= GRADIENT_TOLERANCE[golden.kind]
    for layer, mask in student.masks.items():
        assert found[layer][~mask].abs().max() == 0
    relative = float(student.loss(golden["x"]) / golden[name]) - 1
    assert abs(relative) <= KERNEL_TOLERANCE[golden.kind]


def test_components_of_the_loss(golden):
    student = golden.student(OBJECTIVES["grad"][1])
    distances = student.distances(student.masked(), golden["x"])
    found = {"ker_dist": distances.kernel, "target_dist": distances.outputs, "l2_sq": student.l2()}
    for name, value in found.items():
        assert float(value) == pytest.approx(
            float(golden[name]), rel=KERNEL_TOLERANCE[golden.kind]
        ), name


@pytest.mark.parametrize(("scope", "name"), [("local", "mask"), ("global", "maskglobal")])
def test_masks_by_magnitude(golden, scope, name):
    scores = {name: weight.detach().abs() for name, weight in prunable(golden.teacher())}
    assert same(topk_masks(scores, DENSITY, scope=scope, rule="above"), golden.masks(name))


@pytest.mark.parametrize(("scope", "name"), [("local", "layer"), ("global", "global")])
@pytest.mark.parametrize(("method", "prefix"), [("snip", "snip"), ("logit-snip", "lsnip")])
def test_masks_of_both_snips(golden, method, prefix, scope, name):
    batch = golden["x"], golden["y_onehot"].argmax(1)
    found = prune(golden.teacher(), method, DENSITY, [batch], scope=scope)
    assert same(found, golden.masks(f"{prefix}_{name}"))


def test_logit_snip_needs_no_labels():
    assert registry.available()["logit-snip"].needs_labels is False


def test_trajectory_with_moving_masks(golden):
    student = golden.student(OBJECTIVES["grad"][1], start="teacher")
    losses, moved = [], []
    for step, x in enumerate(golden["traj_x"], 1):
        losses.append(float(student.loss(x)))
        student.step(x)
        if step % 5 == 0 and step < 40 - 5:
            scores = {name: student.parameters[name].abs() for name in student.masks}
            masks = topk_masks(scores, DENSITY, scope="local", rule="above")
            moved.append(sum(int((masks[n] ^ student.masks[n]).sum()) for n in masks))
            student.set_masks(masks)
    assert moved == golden["traj_maskchange"].tolist()
    tolerances = {"f64": (1e-10, 1e-10), "f32": (2e-6, 1e-5)}[golden.kind]
    assert losses == pytest.approx(golden["traj_loss"].tolist(), abs=tolerances[0])
    assert furthest(student.parameters, golden.parameters("trajfinal")) <= tolerances[1]
    assert same(student.masks, golden.masks("trajmask"))


OFFICIAL = np.load(FOLDER / "ntt_official_mnist.npz")
"""MNIST as the authors' notebook saw it, and what it printed of its first run."""


class InHWC(nn.Flatten):
    """The authors flatten pictures by rows, columns, channels."""

    def forward(self, pictures):
        return pictures.movedim(1, -1).flatten(1)


def official(name):
    """The notebook's untrained networks; kernels there are (height, width, in, out)."""
    if name == "lenet_300_100":
        parts, net = ["lenet_300_100"], lenet_300_100((1, 28, 28), 10)
    else:
        parts, net = ["lenet_5_first", "lenet_5_second"], lenet_5((1, 28, 28), 10)
        net.flatten = InHWC()
    given = {}
    for part in parts:
        for key, array in np.load(FOLDER / f"ntt_official_{part}.npz").items():
            tensor = torch.from_numpy(array)
            given[key] = torch.cat([given[key], tensor]) if key in given else tensor
    with torch.no_grad():
        for number, (_, weight) in enumerate(prunable(net)):
            value = given[f"W{number}"]
            weight.copy_(value.permute(3, 2, 0, 1) if value.ndim == 4 else value.T)
        biases = [value for name, value in net.named_parameters() if name.endswith("bias")]
        for number, bias in enumerate(biases):
            bias.copy_(given[f"b{number}"])
    return net.eval()


def pixels(raw):
    mean, std = float(OFFICIAL["mean"]), float(OFFICIAL["std"])
    return (torch.as_tensor(raw).float().view(-1, 1, 28, 28) / 255 - mean) / std


def official_student(name, l2):
    net = official(name)
    scores = {n: weight.detach().abs() for n, weight in prunable(net)}
    masks = topk_masks(scores, 0.03, scope="local", rule="above")
    return Student(net, masks, Objective(1e-3, l2 / 0.03, "dense"), 5e-4)


def check_log(student, name, step):
    """Loss, distances of kernels and of outputs, and L2 term: as the notebook printed them."""
    printed = next(row[2:] for row in OFFICIAL[f"log_{name}"] if row[1] == step)
    validation = pixels(OFFICIAL["validation"])
    with torch.no_grad():
        distances = student.distances(student.masked(), validation)
    found = student.loss(validation), distances.kernel, distances.outputs, student.l2()
    tolerances = (1e-3, 0.02, 6e-4, 1e-3) if step == 0 else (1e-3, 0.5, 1e-3, 0.02)
    for value, expected, tolerance in zip(found, printed, tolerances, strict=True):
        assert float(value) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize(
    ("name", "l2", "kept"),
    [
        ("lenet_300_100", 1e-4, [7055, 899, 29]),
        ("lenet_5", 1e-5, [14, 749, 11999, 149]),
    ],
)
def test_before_transfer_as_the_notebook_printed_it(name, l2, kept):
    student = official_student(name, l2)
    assert list(student.masks.kept_by_layer().values()) == kept
    check_log(student, name, 0)


@pytest.mark.slow
def test_200_steps_as_the_notebook_printed_them(mirror, settings):
    images = sources.load("mnist", settings.data["mnist"], str(mirror)).train_images
    student, flips = official_student("lenet_300_100", 1e-4), []
    for step, chosen in enumerate(OFFICIAL["batches"].astype(np.int64), 1):
        student.step(pixels(images[chosen]))
        if step % 100 == 0:
            scores = {name: student.parameters[name].abs() for name in student.masks}
            masks = topk_masks(scores, 0.03, scope="local", rule="above")
            flips.append([int((masks[n] & ~student.masks[n]).sum()) for n in masks])
            check_log(student, "lenet_300_100", step)
            student.set_masks(masks)
    assert flips == [[4386, 541, 4], [3774, 391, 4]]


def test_random_masks_keep_as_many_weights_of_each_unit_as_the_authors():
    """Theirs are made of a mask with one weight fewer than the density asks for."""
    found = prune(
        official("lenet_300_100"), "random", 0.03, [], scope="local", draw="shuffled-magnitude"
    )
    for number, mask in enumerate(found.values()):
        theirs = np.unpackbits(OFFICIAL[f"randmask{number}"])[: mask.numel()]
        by_unit = torch.from_numpy(theirs.reshape(mask.T.shape)).sum(0)
        difference = mask.sum(1) - by_unit
        assert difference.sum() == 1
        assert difference.abs().sum() == 1
