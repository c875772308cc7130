"""NTT against the authors' code, on the small problem that it was run on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pai_bench import ntk
from pai_bench.methods import registry
from pai_bench.methods.door import prune
from pai_bench.sparsity.masks import Masks, prunable
from pai_bench.sparsity.select import keep_top
from reproductions.ntt.student import Objective, Student

FOLDER = Path(__file__).parent / "golden" / "ntt"
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
    assert same(keep_top(scores, DENSITY, scope=scope, rule="above"), golden.masks(name))


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
            masks = keep_top(scores, DENSITY, scope="local", rule="above")
            moved.append(sum(int((masks[n] ^ student.masks[n]).sum()) for n in masks))
            student.take(masks)
    assert moved == golden["traj_maskchange"].tolist()
    tolerances = {"f64": (1e-10, 1e-10), "f32": (2e-6, 1e-5)}[golden.kind]
    assert losses == pytest.approx(golden["traj_loss"].tolist(), abs=tolerances[0])
    assert furthest(student.parameters, golden.parameters("trajfinal")) <= tolerances[1]
    assert same(student.masks, golden.masks("trajmask"))
