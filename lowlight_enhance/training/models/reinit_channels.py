"""Gives channels of a student that have died a new start, without changing what the student puts out.

Adam with an L2 term drives every weight whose gradient is smaller than its decay to zero, and a hidden channel without
outgoing weights has no gradient: long runs with frozen batch statistics lost three quarters of the deepest level. Such
a channel gets fresh incoming weights here, while its outgoing ones, which are next to nothing, become zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lowlight_enhance.training.models.blocks import AttentionGate, ResBlock
from lowlight_enhance.training.models.student import DecoderLevel, GlobalContext, Student

DEAD = 1e-3
"""A channel is dead whose weights, incoming or outgoing, are smaller than this share of the largest channel's."""


@dataclass(frozen=True, slots=True)
class _Hidden:
    """Channels that lead from one convolution to just one other."""

    before: nn.Conv2d
    norm: nn.BatchNorm2d | None
    after: nn.Conv2d


def revive(student: Student, inputs: Iterable[Tensor], seed: int = 1) -> int:
    """Start dead hidden channels anew, in place.

    Args:
        student: what it puts out stays the same.
        inputs: (B, 5, h, w) batches, on which the batch statistics of new channels are taken.
        seed: of the new weights.

    Returns:
        How many channels were dead.
    """
    generator = torch.Generator().manual_seed(seed)
    born = [(hidden, _restart(hidden, generator)) for hidden in _hidden_channels(student)]
    normed = [(hidden.before, hidden.norm, channels) for hidden, channels in born if hidden.norm is not None]
    moments: dict[nn.Module, list[Tensor]] = {}

    def note(module: nn.Module, _inputs: object, output: Tensor) -> None:
        moments.setdefault(module, []).append(torch.stack((output.mean((0, 2, 3)), output.square().mean((0, 2, 3)))))

    handles = [before.register_forward_hook(note) for before, _, _ in normed]
    student.eval()
    with torch.inference_mode():
        for batch in inputs:
            student(batch)
    for handle in handles:
        handle.remove()
    with torch.no_grad():
        for before, norm, channels in normed:
            mean, square = torch.stack(moments[before]).mean(0)
            running_mean, running_var = norm.running_mean, norm.running_var
            assert running_mean is not None
            assert running_var is not None
            running_mean[channels] = mean[channels]
            running_var[channels] = (square - mean.square())[channels].clamp_min(1e-6)
            norm.weight[channels], norm.bias[channels] = 1.0, 0.0
    return sum(len(channels) for _, channels in born)


def _hidden_channels(student: Student) -> Iterator[_Hidden]:
    for module in student.modules():
        if isinstance(module, ResBlock):
            yield _of(module.first, module.second[0])
        elif isinstance(module, GlobalContext):
            yield _Hidden(module.reduce, None, module.expand)
        elif isinstance(module, DecoderLevel):
            yield _of(module.squeeze, module.smooth[0])
        elif isinstance(module, AttentionGate):
            yield _of(module.reduce, module.expand)


def _of(before: nn.Sequential, after: nn.Module) -> _Hidden:
    convolution, norm = before
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(after, nn.Conv2d)
    return _Hidden(convolution, norm, after)


def _restart(hidden: _Hidden, generator: torch.Generator) -> Tensor:
    """New incoming and no outgoing weights for the dead channels; returns their places."""
    before, after = hidden.before.weight, hidden.after.weight
    incoming, outgoing = before.flatten(1).norm(dim=1), after.transpose(0, 1).flatten(1).norm(dim=1)
    dead = (incoming < DEAD * incoming.max()) | (outgoing < DEAD * outgoing.max())
    channels: Tensor = dead.nonzero().flatten()
    with torch.no_grad():
        deviation = (2.0 / before[0].numel()) ** 0.5  # He et al. (2015)
        before[channels] = deviation * torch.randn(len(channels), *before.shape[1:], generator=generator)
        after[:, channels] = 0.0
        if hidden.before.bias is not None:
            hidden.before.bias[channels] = 0.0
    return channels
