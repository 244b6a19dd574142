import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.training.data.augment import to_float
from lowlight_enhance.training.data.config import DataConfig
from lowlight_enhance.training.data.pictures import LazySequence, LoadedPair, TrainingPictures
from lowlight_enhance.training.engine.validation import TILE, apply_output, resize_like, validate, validation_pairs


class Times(nn.Module):
    """The input's picture, ``factor`` times as bright; or the maps that make it so."""

    def __init__(self, factor: float, maps: bool = False) -> None:
        super().__init__()
        self.factor, self.maps = nn.Parameter(torch.tensor(factor)), maps

    def forward(self, x: Tensor) -> Tensor:
        rgb = x[:, :3]
        if not self.maps:
            return self.factor * rgb
        return torch.cat((self.factor * torch.ones_like(rgb), torch.zeros_like(rgb)), 1)


def pair(height: int = 40, width: int = 72) -> LoadedPair:
    dark = torch.randint(0, 120, (height, width, 3), dtype=torch.uint8).numpy()
    return LoadedPair(dark, (2 * dark).astype("uint8"), UNKNOWN)


MODEL_INPUT = ModelInput(working_size=32, size_multiple=16)


@pytest.mark.parametrize("maps", [False, True])
def test_a_perfect_network_scores_perfectly_though_its_input_is_padded(maps: bool) -> None:
    found = validate(Times(2.0, maps), [pair(), pair()], MODEL_INPUT).scores
    assert found["l1"] < 0.005  # the shrunk pictures are rounded to 8 bits
    assert found["psnr"] > 45.0
    assert found["ssim"] > 0.99


def test_the_l1_to_a_teacher_is_measured_beside() -> None:
    one = pair(32, 32)
    found = validate(Times(1.0), [one], MODEL_INPUT, Times(1.5)).scores
    assert found["teacher_l1"] == pytest.approx(0.5 * float(to_float(one.dark).mean()), rel=1e-4)


def test_the_picture_shows_dark_enhanced_and_reference() -> None:
    picture = validate(Times(2.0), [pair() for _ in range(5)], MODEL_INPUT).picture
    assert picture is not None
    assert picture.shape == (3, 3 * TILE, 3 * TILE)
    dark, enhanced, reference = picture.chunk(3, 2)
    assert torch.allclose(enhanced, 2.0 * dark, atol=1e-5)
    assert torch.allclose(enhanced, reference, atol=0.02)


def test_nothing_to_validate_is_no_score() -> None:
    assert validate(Times(1.0), [], MODEL_INPUT).scores == {}


class Told(nn.Module):
    """White where ISO is known (0..1 in its plane), else black (-1)."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.nothing + (x[:, 3:4] >= 0.0).float().expand(-1, 3, -1, -1)


@pytest.mark.parametrize(("withhold", "told"), [(0.0, True), (0.9, True), (1.0, False)])
def test_what_training_never_tells_validation_does_not_either(withhold: float, told: bool) -> None:
    dark, bright = pair().dark, np.full((40, 72, 3), 255, np.uint8)
    pictures = TrainingPictures([], [], [], [LoadedPair(dark, bright, CaptureMetadata(3200.0, 0.1))])
    (seen,) = validation_pairs(pictures, DataConfig(metadata_dropout=withhold), print)
    assert validate(Told(), [seen], MODEL_INPUT).scores["l1"] == pytest.approx(0.0 if told else 1.0)
    assert seen.dark is dark
    assert seen.bright is bright


def test_outputs_become_pictures() -> None:
    rgb = torch.rand(1, 3, 8, 8)
    assert apply_output(rgb, torch.zeros(1, 3, 16, 16)) is rgb
    maps = torch.cat((torch.full((1, 3, 4, 4), 2.0), torch.full((1, 3, 4, 4), 0.1)), 1)
    assert torch.allclose(apply_output(maps, rgb), 2.0 * rgb + 0.1)


def test_targets_are_averaged_to_the_size_of_the_output() -> None:
    target = torch.rand(1, 3, 8, 8)
    assert resize_like(target, target) is target
    assert torch.allclose(resize_like(target, torch.zeros(1, 3, 4, 4)), nn.functional.avg_pool2d(target, 2))


def test_targets_are_enlarged_smoothly() -> None:
    ramp = torch.arange(8.0).expand(1, 3, 8, 8)
    steps = resize_like(ramp, torch.zeros(1, 3, 16, 16)).diff(dim=3)
    assert float(steps[..., 1:-1].min()) == pytest.approx(0.5)
    assert float(steps.max()) == pytest.approx(0.5)


def test_validation_pairs_are_decoded_when_they_are_used() -> None:
    reads: list[int] = []

    def load(number: int) -> LoadedPair:
        reads.append(number)
        return pair()

    found = validation_pairs(TrainingPictures([], [], [], LazySequence(range(3), load)), DataConfig(), print)
    assert len(found) == 3
    assert reads == []
    assert len(list(found)) == 3
    assert reads == [0, 1, 2]


def test_photographs_become_the_same_simulated_pairs_in_every_run() -> None:
    photos = [np.full((32, 32, 3), 50 * (n + 1), np.uint8) for n in range(3)]
    pictures = TrainingPictures([], [], [], [], photos)
    first, second = (validation_pairs(pictures, DataConfig(), print) for _ in range(2))
    assert len(first) == 3
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.dark, other.dark)
    assert first[0].dark.dtype == np.uint8


def test_a_run_without_pairs_says_so() -> None:
    said: list[str] = []
    assert len(validation_pairs(TrainingPictures([], [], [], []), DataConfig(), said.append)) == 0
    assert "no pairs to validate on" in said[0]
