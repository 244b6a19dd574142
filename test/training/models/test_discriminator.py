import torch

from lowlight_enhance.training.models.discriminator import Discriminator, DiscriminatorConfig

CHANNELS = (4, 6, 8)


def test_one_score_a_picture_at_any_size() -> None:
    model = Discriminator(DiscriminatorConfig(CHANNELS)).eval()
    for size in ((16, 16), (24, 40)):
        (score,) = model(torch.rand(3, 3, *size))
        assert score.shape == (3, 1)


def test_a_u_net_also_judges_every_pixel() -> None:
    model = Discriminator(DiscriminatorConfig(CHANNELS, per_pixel=True)).eval()
    score, pixels = model(torch.rand(2, 3, 16, 24))
    assert score.shape == (2, 1)
    assert pixels.shape == (2, 1, 16, 24)


def test_scores_are_not_bounded() -> None:
    model = Discriminator(DiscriminatorConfig(CHANNELS, per_pixel=True)).eval()
    with torch.no_grad():
        for layer in (model.score, model.pixel_score):
            assert layer is not None
            layer.bias.fill_(-7.0)  # type: ignore[union-attr]
    assert all(float(s.detach().max()) < -2.0 for s in model(torch.rand(2, 3, 16, 16)))


def test_both_have_the_papers_body() -> None:
    plain, pixels = Discriminator(), Discriminator(DiscriminatorConfig(per_pixel=True))
    body = {name: tuple(p.shape) for name, p in plain.named_parameters()}
    assert body.items() <= {name: tuple(p.shape) for name, p in pixels.named_parameters()}.items()
