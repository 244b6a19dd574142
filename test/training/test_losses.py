import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from lowlight_enhance.training.losses import reconstruction_loss, structural_similarity


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
    loss, parts = reconstruction_loss(a, b, l1=0.5, ssim=0.35)
    assert float(loss) == pytest.approx(0.5 * parts["l1"] + 0.35 * (1 - parts["ssim"]), rel=1e-5)
    assert float(reconstruction_loss(a, a, 0.5, 0.35)[0]) == pytest.approx(0.0, abs=1e-5)


def test_the_loss_leads_somewhere() -> None:
    target = torch.rand(1, 3, 24, 24)
    output = torch.rand(1, 3, 24, 24, requires_grad=True)
    before, _ = reconstruction_loss(output, target, 0.5, 0.35)
    (gradient,) = torch.autograd.grad(before, output)
    after, _ = reconstruction_loss(output - 100 * gradient, target, 0.5, 0.35)
    assert float(after.detach()) < float(before.detach())
