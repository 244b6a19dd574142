"""Checkpoints of every kind with networks of a few hundred parameters, untrained, so that tests need no training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.training.distill import DistillConfig
from lowlight_enhance.training.engine import checkpoint
from lowlight_enhance.training.models.affine_unet import AffineUNet, AffineUNetConfig
from lowlight_enhance.training.models.network import NetworkConfig
from lowlight_enhance.training.models.teacher import Teacher, TeacherConfig
from lowlight_enhance.training.train_student import TrainStudentConfig
from lowlight_enhance.training.train_teacher import TrainTeacherConfig

MODEL_INPUT = ModelInput(working_size=32, size_multiple=4)
STUDENT = AffineUNetConfig(unshuffle=2, channels=(4, 8), head=4)
TEACHER = TeacherConfig(channels=(4, 8), head=4)
STEP = 7


def write_student(path: Path, student: AffineUNetConfig = STUDENT) -> Path:
    """Write a checkpoint as ``train-student`` does; the average and the trained network differ."""
    config = TrainStudentConfig(network=NetworkConfig("affine", affine=student), model_input=MODEL_INPUT)
    state = {"student_trained": AffineUNet(student), "student": vivid(AffineUNet(student))}
    checkpoint.save(path, state, STEP, 20.0, config)
    return path


def write_distilled_paper(path: Path) -> Path:
    """Write a checkpoint as ``distill`` does for the paper's student, whose output is a picture."""
    config = DistillConfig(network=NetworkConfig("paper", paper=TEACHER), model_input=MODEL_INPUT)
    checkpoint.save(path, {"student": vivid(config.network.build())}, STEP, 20.0, config)
    return path


def write_distilled_affine(path: Path) -> Path:
    """Write a checkpoint as ``distill`` does for the network that ships, whose output is maps."""
    config = DistillConfig(network=NetworkConfig("affine", affine=STUDENT), model_input=MODEL_INPUT)
    checkpoint.save(path, {"student": vivid(config.network.build())}, STEP, 20.0, config)
    return path


def write_teacher(path: Path) -> Path:
    """Write a checkpoint as ``train-teacher`` does."""
    config = TrainTeacherConfig(network=NetworkConfig("paper", paper=TEACHER), model_input=MODEL_INPUT)
    checkpoint.save(path, {"teacher": vivid(Teacher(TEACHER))}, STEP, 20.0, config)
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "student": write_student,
    "distilled paper": write_distilled_paper,
    "distilled affine": write_distilled_affine,
    "teacher": write_teacher,
}


def vivid(model: nn.Module) -> nn.Module:
    """``model`` with a last convolution, and batch statistics, that leave a mark on the picture."""
    out = model.get_submodule("out")
    assert isinstance(out, nn.Conv2d)
    nn.init.normal_(out.weight, std=0.3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.1)
            module.running_var.data = torch.rand_like(module.running_var) + 0.5
    return model
