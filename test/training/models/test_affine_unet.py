import pytest
import torch

from lowlight_enhance.training.models.affine_unet import AffineUNet, AffineUNetConfig, apply_local_affine
from lowlight_enhance.training.models.blocks import parameter_count

TINY = AffineUNetConfig(unshuffle=2, channels=(4, 6, 8), head=4)


def test_the_shipped_size_is_the_papers() -> None:
    assert 2.28e6 <= parameter_count(AffineUNet()) <= 2.52e6


@pytest.mark.parametrize("size", [(8, 8), (16, 40)])
def test_maps_have_the_size_of_the_input(size: tuple[int, int]) -> None:
    model = AffineUNet(TINY).eval()
    assert model.config.size_multiple == 8
    assert model(torch.rand(2, 5, *size)).shape == (2, 6, *size)


def test_an_untrained_student_hardly_changes_the_picture() -> None:
    rgb = torch.rand(1, 3, 16, 16)
    maps = AffineUNet(TINY).eval()(torch.cat((rgb, torch.zeros(1, 2, 16, 16)), 1))
    assert torch.allclose(apply_local_affine(maps, rgb), rgb, atol=0.1)


def test_capture_metadata_reaches_the_output() -> None:
    torch.manual_seed(0)
    model, rgb = AffineUNet(TINY).eval(), torch.rand(1, 3, 16, 16)
    low, high = (model(torch.cat((rgb, torch.full((1, 2, 16, 16), v)), 1)) for v in (0.0, 1.0))
    assert (low - high).abs().max() > 0


def test_maps_are_enlarged_for_a_larger_frame() -> None:
    maps = torch.zeros(1, 6, 4, 4)
    maps[:, :3], maps[:, 3:] = 2.0, 0.25
    rgb = torch.rand(1, 3, 10, 12)
    assert torch.allclose(apply_local_affine(maps, rgb), 2.0 * rgb + 0.25)
