import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn
from torchmetrics.functional.image import structural_similarity_index_measure

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.training.losses import (
    BEST_PSNR,
    HUE_CHROMA_FLOOR,
    SMALLEST_FOR_MS_SSIM,
    PerceptualLoss,
    ReconstructionWeights,
    as_displayed,
    hinge_discriminator,
    hinge_generator,
    hue_penalty,
    local_psnr,
    multiscale_similarity,
    reconstruction_loss,
    structural_similarity,
    vgg_features,
)

PAPER = ReconstructionWeights()


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_ssim_is_torchmetrics_own(noise: float) -> None:
    torch.manual_seed(1)
    a = torch.rand(2, 3, 40, 52)
    b = (a + noise * torch.randn_like(a)).clamp(0, 1)
    _, full = structural_similarity_index_measure(a, b, data_range=1.0, return_full_image=True)
    inside = full[..., 5:-5, 5:-5].mean()
    assert float(structural_similarity(a, b)) == pytest.approx(float(inside), abs=1e-4)


def test_a_stride_samples_the_same_map() -> None:
    torch.manual_seed(1)
    a, b = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    assert float(structural_similarity(a, b, 2)) == pytest.approx(float(structural_similarity(a, b)), abs=0.01)


def test_the_loss_is_the_weighted_sum_and_zero_for_equal_pictures() -> None:
    a, b = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    loss, parts = reconstruction_loss(a, b, PAPER)
    assert float(loss) == pytest.approx(0.5 * float(parts["l1"]) + 0.35 * (1 - float(parts["ssim"])), rel=1e-5)
    assert float(reconstruction_loss(a, a, PAPER)[0]) == pytest.approx(0.0, abs=1e-5)


def test_psnr_in_the_loss_counts_a_tenth_less_error_alike_in_a_good_picture_and_a_bad_one() -> None:
    target = torch.full((1, 3, 64, 64), 0.4)
    gains = [float(local_psnr(target + 0.9 * e, target) - local_psnr(target + e, target)) for e in (0.05, 0.3)]
    assert gains == pytest.approx([20 * math.log10(1 / 0.9)] * 2, rel=0.05)
    plain, parts = reconstruction_loss(target + 0.1, target, PAPER)
    relative, more = reconstruction_loss(target + 0.1, target, ReconstructionWeights(psnr=0.01))
    assert float(more["psnr"]) == pytest.approx(20.0, abs=0.1)
    assert float(plain - relative) == pytest.approx(0.01 * float(more["psnr"]), rel=1e-3)
    assert parts.keys() == {"l1", "ssim"}


def test_the_hue_penalty_adds_to_the_other_losses() -> None:
    target = torch.tensor([0.6, 0.2, 0.1])[None, :, None, None].expand(1, 3, 32, 32)
    output = target.flip(1)
    plain, without = reconstruction_loss(output, target, PAPER)
    coloured, parts = reconstruction_loss(output, target, ReconstructionWeights(hue=0.2))
    assert "hue" not in without
    assert float(parts["hue"]) == pytest.approx(float(hue_penalty(output, target)))
    assert float(coloured - plain) == pytest.approx(0.2 * float(parts["hue"]), rel=1e-4)


def test_local_psnr_is_the_mean_over_blocks_and_ends_at_its_limit() -> None:
    target = torch.full((2, 3, 64, 32), 0.5)
    output = target.clone()
    output[0, :, :32] += 0.1
    output[0, :, 32:] += 0.2
    output[1] += 0.1
    expected = [-20 * math.log10(e) for e in (0.1, 0.2, 0.1, 0.1)]
    assert float(local_psnr(output, target)) == pytest.approx(sum(expected) / 4, rel=1e-2)
    assert float(local_psnr(target, target)) == pytest.approx(BEST_PSNR)


def test_a_lamp_brighter_than_white_hardly_costs_but_is_still_told_to_come_down() -> None:
    white = torch.ones(1, 3, 16, 16)
    beyond = torch.full_like(white, 1.5, requires_grad=True)
    loss = (as_displayed(beyond) - white).abs().mean()
    assert float(loss.detach()) < 0.05
    (gradient,) = torch.autograd.grad(loss, beyond)
    assert bool((gradient > 0).all())
    inside = torch.rand(1, 3, 16, 16)
    assert torch.allclose(as_displayed(inside), inside)


def test_the_loss_leads_somewhere() -> None:
    target = torch.rand(1, 3, 24, 24)
    output = torch.rand(1, 3, 24, 24, requires_grad=True)
    before, _ = reconstruction_loss(output, target, PAPER)
    (gradient,) = torch.autograd.grad(before, output)
    after, _ = reconstruction_loss(output - 100 * gradient, target, PAPER)
    assert float(after.detach()) < float(before.detach())


def test_hinge_losses_are_the_papers() -> None:
    real, fake = torch.tensor([[2.0], [0.25]]), torch.tensor([[-3.0], [0.5]])
    assert float(hinge_discriminator((real,), (fake,))) == pytest.approx((0.0 + 0.75) / 2 + (0.0 + 1.5) / 2)
    assert float(hinge_generator((fake,))) == pytest.approx((3.0 - 0.5) / 2)


def test_hinge_losses_are_means_over_heads_of_any_shape() -> None:
    heads = (torch.full((2, 1), 0.5), torch.full((2, 1, 4, 4), -0.5))
    assert float(hinge_generator(heads)) == pytest.approx(0.0)
    zero = tuple(torch.zeros_like(h) for h in heads)
    assert float(hinge_discriminator(heads, zero)) == pytest.approx((0.5 + 1.5) / 2 + 1.0)


def test_similarity_is_that_of_equal_pictures_at_most() -> None:
    a = torch.rand(1, 3, 176, 176)
    noisy = (a + 0.1 * torch.randn_like(a)).clamp(0, 1)
    for similarity in (structural_similarity, multiscale_similarity):
        assert float(similarity(a, a)) == pytest.approx(1.0, abs=1e-5)
        assert float(similarity(noisy, a)) < 0.99


def test_ms_ssim_refuses_what_is_too_small_for_its_scales() -> None:
    at_least = torch.rand(1, 3, SMALLEST_FOR_MS_SSIM, SMALLEST_FOR_MS_SSIM)
    assert torch.isfinite(multiscale_similarity(at_least, at_least))
    with pytest.raises(ConfigError, match="176 pixels, these have 175"):
        multiscale_similarity(at_least[:, :, 1:], at_least[:, :, 1:])


def colour(r: float, g: float, b: float) -> torch.Tensor:
    return torch.tensor((r, g, b)).view(1, 3, 1, 1).expand(1, 3, 4, 4)


def test_hue_penalty_grows_with_the_angle() -> None:
    red, orange, green, cyan = (
        colour(0.8, 0.1, 0.1),
        colour(0.8, 0.45, 0.1),
        colour(0.1, 0.8, 0.1),
        colour(0.1, 0.8, 0.8),
    )
    same, near, far, opposite = (float(hue_penalty(o, red)) for o in (red, orange, green, cyan))
    assert 0.0 <= same < 0.31 * HUE_CHROMA_FLOOR
    assert same < near < far < opposite
    assert far == pytest.approx(0.7 * 1.5, rel=0.01)  # chroma times (1 - cos 120 degrees)
    assert opposite == pytest.approx(0.7 * 2.0, rel=0.01)


def test_hue_penalty_is_blind_to_dark_and_grey_pixels_of_the_reference() -> None:
    tint = colour(0.2, 0.8, 0.2)
    for reference in (colour(0.5, 0.5, 0.5), colour(0.0, 0.0, 0.0)):
        assert float(hue_penalty(tint, reference)) == pytest.approx(0.0, abs=1e-6)
    assert float(hue_penalty(tint, colour(0.02, 0.0, 0.0))) < 0.05 * float(hue_penalty(tint, colour(0.8, 0.0, 0.0)))


def test_hue_penalty_takes_no_account_of_saturation_but_greying_does_not_pay() -> None:
    red = colour(0.8, 0.1, 0.1)
    assert float(hue_penalty(colour(0.5, 0.3, 0.3), red)) == pytest.approx(float(hue_penalty(red, red)), abs=0.01)
    assert float(hue_penalty(colour(0.4, 0.4, 0.4), red)) == pytest.approx(0.7, rel=0.01)


def test_hue_penalty_has_a_gradient_at_grey() -> None:
    grey = colour(0.4, 0.4, 0.4).clone().requires_grad_()
    (gradient,) = torch.autograd.grad(hue_penalty(grey, colour(0.8, 0.1, 0.1)), grey)
    assert torch.all(torch.isfinite(gradient))
    assert torch.all(gradient[:, 0] < 0)  # more red
    assert torch.all(gradient[:, 1:] > 0)


def test_perceptual_loss_compares_features_and_leaves_their_network_alone() -> None:
    features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    loss = PerceptualLoss(features)
    a, b = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8, requires_grad=True)
    assert float(loss(a, a)) == 0.0
    value = loss(b, a)
    value.backward()
    assert float(value) > 0.0
    assert b.grad is not None
    assert all(p.grad is None for p in features.parameters())
    mean = torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert torch.allclose(features(torch.zeros(1, 3, 8, 8)), features((mean - loss.mean) / loss.deviation))


def test_without_torchvision_the_perceptual_loss_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(ConfigError, match=r"needs torchvision.*perceptual: 0"):
        vgg_features(tmp_path / "vgg16.pth")


def test_vgg_weights_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Vgg(nn.Module):
        def __init__(self, weights: None) -> None:
            super().__init__()
            self.features = nn.Sequential(*(nn.Conv2d(1, 1, 1) for _ in range(20)))

    stand_in = ModuleType("torchvision.models")
    stand_in.vgg16 = Vgg  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", stand_in)
    with pytest.raises(ConfigError, match=r"gone\.pth is not a weights file"):
        vgg_features(tmp_path / "gone.pth")
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"other\.pth is not a weights file"):
        vgg_features(tmp_path / "other.pth")
    model = Vgg(None)
    torch.save(model.state_dict(), tmp_path / "vgg16.pth")
    features = vgg_features(tmp_path / "vgg16.pth")
    assert len(list(features.children())) == 16
    assert torch.equal(next(features.parameters()), next(model.parameters()))
