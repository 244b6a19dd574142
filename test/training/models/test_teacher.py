import pytest
import torch

from lowlight_enhance.training.models.teacher import PAPER_STUDENT, Teacher, TeacherConfig

TINY = TeacherConfig(channels=(4, 6, 8), head=4)


@pytest.mark.parametrize("size", [(8, 8), (16, 40)])
def test_the_picture_has_the_size_of_the_input_and_its_range(size: tuple[int, int]) -> None:
    picture = Teacher(TINY).eval()(50.0 * torch.randn(2, 5, *size)).detach()
    assert picture.shape == (2, 3, *size)
    assert 0.0 <= float(picture.min()) <= float(picture.max()) <= 1.0


def test_the_paper_gives_the_second_to_last_level() -> None:
    assert TeacherConfig().channels[-2] == 512
    assert len(PAPER_STUDENT.channels) < len(TeacherConfig().channels)


def test_every_level_halves_the_size_and_every_skip_reaches_the_decoder() -> None:
    model, x = Teacher(TINY).eval(), torch.rand(1, 5, 32, 16)
    sizes = []
    for block in model.encoder:
        x = block(x)
        sizes.append(tuple(x.shape[1:]))
    assert sizes == [(4, 16, 8), (6, 8, 4), (8, 4, 2)]
    assert [level.up[0].in_channels for level in model.decoder] == [8, 6]
    assert [level.first[0].in_channels for level in model.decoder] == [12, 8]  # doubled by the gated skip


def test_gates_have_a_bottleneck_of_half_the_channels() -> None:
    for level, channels in zip(Teacher().decoder, (512, 256, 128, 64), strict=True):
        assert level.gate.reduce[0].out_channels == channels // 2
        assert level.gate.expand.out_channels == channels


def test_capture_metadata_reaches_the_output() -> None:
    model, rgb = Teacher(TINY).eval(), torch.rand(1, 3, 16, 16)
    low, high = (model(torch.cat((rgb, torch.full((1, 2, 16, 16), v)), 1)) for v in (0.0, 1.0))
    assert (low - high).abs().max() > 0


def test_dropout_acts_in_training_alone() -> None:
    model, x = Teacher(TeacherConfig(channels=(4, 6, 8), head=4, dropout=0.5)), torch.rand(1, 5, 16, 16)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))
