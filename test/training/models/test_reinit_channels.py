"""Channels that have died start anew, and the student's output stays the same."""

import copy

import torch
from torch import nn

from lowlight_enhance.training.models.reinit_channels import revive
from lowlight_enhance.training.models.student import Student, StudentConfig

DEAD = {"encoder.1.first.0": 5, "decoder.0.squeeze.0": 3, "decoder.0.gate.reduce.0": 2, "context.reduce": 2}
"""Convolutions and how many of their first channels die."""


def worn_out() -> Student:
    student = Student(StudentConfig(channels=(8, 12, 16), head=8)).eval()
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.bias, -0.5, 0.5)
    nn.init.normal_(student.out.weight, std=0.1)
    after = {name: name.replace("first", "second").replace("squeeze", "smooth") for name in DEAD}
    after |= {"decoder.0.gate.reduce.0": "decoder.0.gate.expand", "context.reduce": "context.expand"}
    with torch.no_grad():
        for name, count in DEAD.items():
            student.get_submodule(name).get_parameter("weight")[:count] *= 1e-30
            student.get_submodule(after[name]).get_parameter("weight")[:, :count] *= 1e-30
    return student


def frames() -> torch.Tensor:
    return torch.rand(2, 5, 64, 96, generator=torch.Generator().manual_seed(1))


def test_dead_channels_get_weights_and_the_output_stays() -> None:
    student, x = worn_out(), frames()
    before = copy.deepcopy(student)
    assert revive(student, [x]) == sum(DEAD.values())
    assert torch.allclose(student.eval()(x), before(x), atol=1e-6)
    for name, count in DEAD.items():
        old, new = (net.get_submodule(name).get_parameter("weight") for net in (before, student))
        assert new[:count].flatten(1).norm(dim=1).min() > 0.1
        assert torch.equal(old[count:], new[count:])


def test_new_channels_are_normalised_and_can_learn() -> None:
    student, x = worn_out(), frames()
    revive(student, [x])
    seen: list[torch.Tensor] = []
    block = student.encoder[1]
    block.first[1].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    student.eval()(x).square().mean().backward()
    new = seen[0][:, : DEAD["encoder.1.first.0"]]
    assert torch.allclose(new.mean((0, 2, 3)), torch.zeros(5), atol=1e-3)
    assert torch.allclose(new.var((0, 2, 3)), torch.ones(5), atol=0.1)
    gradient = block.second[0].weight.grad
    assert gradient is not None
    assert gradient[:, :5].abs().sum(dim=(0, 2, 3)).min() > 0.0


def test_a_healthy_student_is_left_alone() -> None:
    student = Student(StudentConfig(channels=(8, 12, 16), head=8))
    before = copy.deepcopy(student.state_dict())
    assert revive(student, [frames()]) == 0
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
