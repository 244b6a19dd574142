import pytest
import torch

from lowlight_enhance.training.models.affine_unet import (
    AffineUNet,
    AffineUNetConfig,
    apply_local_affine,
    white_levels,
)
from lowlight_enhance.training.models.blocks import parameter_count

TINY = AffineUNetConfig(unshuffle=2, channels=(4, 6, 8), head=4)


def test_the_shipped_size_is_the_papers() -> None:
    assert 2.28e6 <= parameter_count(AffineUNet()) <= 2.52e6


@pytest.mark.parametrize("size", [(8, 8), (16, 40)])
def test_maps_have_the_size_of_the_input(size: tuple[int, int]) -> None:
    model = AffineUNet(TINY).eval()
    assert model.config.size_multiple == 8
    assert model(torch.rand(2, 5, *size)).shape == (2, 6, *size)


@pytest.mark.parametrize("exposure", [1.0, 0.5, 0.1])
def test_an_untrained_student_brightens_the_picture_to_white(exposure: float) -> None:
    well_exposed = torch.rand(1, 3, 16, 16)
    well_exposed[:, 1, 4:8, 8:12] = 1.0
    rgb = exposure * well_exposed
    maps = AffineUNet(TINY).eval()(torch.cat((rgb, torch.zeros(1, 2, 16, 16)), 1))
    assert torch.allclose(apply_local_affine(maps, rgb), well_exposed, atol=0.1)


def test_the_white_level_is_the_brightest_area_of_each_picture() -> None:
    rgb = torch.full((2, 3, 16, 16), 0.2)
    rgb[0, 2, 4:8, 8:12] = 0.8  # 2x2 blocks of 2x2 pixels
    rgb[0, 0, 0, 0] = 1.0  # noise of one pixel
    rgb[1, 1, 8:10, 8:10] = 1.0  # one block
    white, fine = white_levels(torch.nn.functional.pixel_unshuffle(rgb, 2))
    assert white.shape == fine.shape == (2, 1, 1, 1)
    assert torch.allclose(white.ravel(), torch.tensor([0.8, 0.4]))
    assert torch.allclose(fine.ravel(), torch.tensor([0.8, 1.0]))


def test_a_black_frame_gives_finite_maps() -> None:
    assert torch.isfinite(AffineUNet(TINY).eval()(torch.zeros(1, 5, 16, 16))).all()


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
