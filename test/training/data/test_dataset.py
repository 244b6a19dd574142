"""Batches: encoding, determinism, and what the settings ask for."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.training.data.config import BatchShape, DataConfig
from lowlight_enhance.training.data.dataset import Batches
from lowlight_enhance.training.data.pictures import LoadedPair, Sources, TrainingPictures, load_training_pictures

SHAPES = (BatchShape(48, 32, 3), BatchShape(32, 32, 2))


def photo(seed: int = 0, size: int = 64) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def pictures(pairs: list[LoadedPair], photos: list[np.ndarray]) -> TrainingPictures:
    return TrainingPictures(pairs, photos, [pair.bright for pair in pairs], [])


def batches(**changes: object) -> Batches:
    pair = LoadedPair((photo(1) // 4).astype(np.uint8), photo(1), CaptureMetadata(400.0, 0.1))
    config = DataConfig(shapes=SHAPES, **changes)  # type: ignore[arg-type]
    return Batches(pictures([pair], [photo(2), photo(3)]), config, ModelInput(), seed=5, steps=10)


def pairs_only(pairs: list[LoadedPair], **changes: object) -> Batches:
    settings = {"darken_pairs": 0.0, "metadata_dropout": 0.0, "metadata_dropout_single": 0.0, "impute_captures": 0.0}
    config = DataConfig(shapes=SHAPES, simulated=0.0, **{**settings, **changes})  # type: ignore[arg-type]
    return Batches(pictures(pairs, []), config, ModelInput(), seed=5, steps=40)


def test_a_batch_has_the_shapes_of_its_kind() -> None:
    for step in range(6):
        inputs, dark, bright, labelled = batches()[step]
        count, full = dark.shape[0], dark.shape[2]
        assert BatchShape(full, inputs.shape[2], count) in SHAPES
        assert inputs.shape == (count, 5, 32, 32)
        assert bright.shape == dark.shape == (count, 3, full, full)
        assert labelled.tolist() == [1.0] * count
        assert 0.0 <= float(bright.min()) <= float(bright.max()) <= 1.0


def test_batches_depend_on_nothing_but_seed_and_step() -> None:
    whole = [batches()[step] for step in range(4)]
    assert all(torch.equal(a, b) for a, b in zip(whole[3], batches()[3], strict=True))
    assert not torch.equal(whole[2][0].mean(), whole[3][0].mean())


def test_metadata_is_withheld_as_often_as_asked() -> None:
    always = batches(metadata_dropout=1.0)[0][0]
    assert torch.all(always[:, 3:] == -1.0)
    never = batches(metadata_dropout=0.0, metadata_dropout_single=0.0)
    planes = torch.cat([never[step][0][:, 3:, 0, 0] for step in range(6)])
    assert torch.all((planes >= 0.0) & (planes <= 1.0))
    one = batches(metadata_dropout=0.0, metadata_dropout_single=1.0)
    planes = torch.cat([one[step][0][:, 3:, 0, 0] for step in range(6)])
    assert torch.all((planes == -1.0).sum(1) == 1)


def test_no_pictures_at_all_is_an_error() -> None:
    with pytest.raises(DataError, match="--pairs"):
        Batches(pictures([], []), DataConfig(), ModelInput(), 0, 1)


@pytest.mark.parametrize(("simulated", "unused"), [(0.0, "--photos"), (1.0, "the training pairs of --pairs")])
def test_pictures_that_would_never_be_drawn_are_an_error(simulated: float, unused: str) -> None:
    with pytest.raises(ConfigError, match=f"simulated is {simulated:g}, so {unused} would never be used"):
        batches(simulated=simulated)


def test_unlabelled_pictures_that_would_never_be_drawn_are_an_error() -> None:
    some = replace(pictures([], [photo(1)]), unlabelled=[photo(2)])
    with pytest.raises(ConfigError, match="unlabelled is 0, so --unlabelled would never be used"):
        Batches(some, DataConfig(), ModelInput(), 0, 1)
    Batches(some, DataConfig(unlabelled=0.1), ModelInput(), 0, 1)


def test_well_lit_pairs_come_as_often_as_asked() -> None:
    lit, dark = photo(1), photo(2)
    pairs = [
        LoadedPair(lit, lit, CaptureMetadata()),
        LoadedPair((dark // 4).astype(np.uint8), dark, CaptureMetadata()),
    ]
    for share, low, high in ((0.25, 15, 40), (1.0, 100, 100)):
        samples = [pairs_only(pairs, well_lit_pairs=share)[step][1:3] for step in range(40)]
        same = [bool(torch.equal(d, b)) for darks, brights in samples for d, b in zip(darks, brights, strict=True)]
        assert low <= 100 * sum(same) / len(same) <= high


def test_a_pair_that_is_darkened_further_keeps_what_is_known_of_its_capture() -> None:
    bright = np.full((64, 64, 3), 200, np.uint8)

    def darkened(capture: CaptureMetadata) -> tuple[torch.Tensor, torch.Tensor]:
        pair = LoadedPair(np.full((64, 64, 3), 120, np.uint8), bright, capture)
        inputs, dark, *_ = pairs_only([pair], darken_pairs=1.0, sid_captures=0.0)[0]
        return inputs[:, 3:, 0, 0], dark

    def planes(iso: float, exposure_s: float) -> tuple[float, ...]:
        return ModelInput().plane_values(CaptureMetadata(iso, exposure_s))

    seen, dark = darkened(CaptureMetadata(800.0, 4.0))
    assert seen[:, 0].tolist() == pytest.approx([planes(800.0, 1.0)[0]] * len(seen))
    assert torch.all((seen[:, 1] > planes(800.0, 1.0)[1]) & (seen[:, 1] < planes(800.0, 4.0)[1]))
    assert torch.equal(seen[:, 1].argsort(), dark.mean((1, 2, 3)).argsort()), "the darker, the less time"
    unknown = darkened(CaptureMetadata())[0]
    assert len(set(unknown[:, 0].tolist())) == len(unknown), "an ISO is drawn for each"


def test_unknown_captures_are_imputed_as_often_as_asked() -> None:
    pair = LoadedPair((photo(1) // 4).astype(np.uint8), photo(1), CaptureMetadata())
    seen = pairs_only([pair], impute_captures=1.0)[0][0][:, 3:, 0, 0]
    low_iso = ModelInput().encode(photo(), CaptureMetadata(900.0, 1.0))[0, 3, 0, 0]
    assert torch.all((seen >= 0.0) & (seen[:, :1] < float(low_iso)))
    assert torch.all(pairs_only([pair])[0][0][:, 3:] == -1.0)
    known = LoadedPair(pair.dark, pair.bright, CaptureMetadata(6400.0, 0.01))
    plane = ModelInput().encode(photo(), known.capture)[0, 3, 0, 0]
    assert torch.all(pairs_only([known], impute_captures=1.0)[0][0][:, 3] == float(plane))


def test_exposure_times_of_well_lit_pairs_are_imputed_as_often_as_asked() -> None:
    lit = LoadedPair(photo(1), photo(1), CaptureMetadata(6400.0, 0.01))
    own = ModelInput().encode(photo(), lit.capture)[0, 3:, 0, 0]
    seen = pairs_only([lit], impute_captures=1.0, well_lit_pairs=1.0)[0][0][:, 3:, 0, 0].numpy()
    assert np.all(seen[:, 0] == own[0])
    assert len(set(seen[:, 1])) == len(seen)
    assert np.all(pairs_only([lit], well_lit_pairs=1.0)[0][0][:, 3:, 0, 0].numpy() == own)


def test_both_pictures_of_a_sample_are_turned_alike() -> None:
    pair = LoadedPair(photo(1), photo(1), CaptureMetadata())
    _, dark, bright, _ = pairs_only([pair], rotate=1.0)[0]
    straight = pairs_only([pair], rotate=0.0)[0][1]
    assert torch.equal(dark, bright)
    assert not torch.equal(dark, straight)


def test_samples_are_mirrored_as_often_as_asked() -> None:
    ramp = np.tile(np.arange(64, dtype=np.uint8)[None, :, None], (64, 1, 3))
    pair = LoadedPair(ramp, ramp, CaptureMetadata())
    for hflip, low, high in ((0.0, 0.0, 0.0), (0.5, 0.3, 0.7), (1.0, 1.0, 1.0)):
        samples = [pairs_only([pair], hflip=hflip)[step][1] for step in range(20)]
        mirrored = [bool(one[0, 0, 0] > one[0, 0, -1]) for batch in samples for one in batch]
        assert low <= sum(mirrored) / len(mirrored) <= high


def test_unlabelled_pictures_come_as_often_as_asked() -> None:
    some = TrainingPictures([], [photo(2)], [], [], unlabelled=[photo(3) // 8])
    config = DataConfig(shapes=SHAPES, unlabelled=0.4)
    labels = torch.cat([Batches(some, config, ModelInput(), seed=5, steps=60)[step][3] for step in range(60)])
    assert 0.45 < float(labels.mean()) < 0.75
    alone = Batches(some, DataConfig(shapes=SHAPES, unlabelled=1.0), ModelInput(), seed=5, steps=1)[0]
    assert torch.equal(alone[1], alone[2])
    assert alone[3].sum() == 0.0


def test_averages_have_planes_of_their_own() -> None:
    changes = {"averaged": 1.0, "simulated": 1.0, "metadata_dropout": 0.0, "metadata_dropout_single": 0.0}
    config = DataConfig(shapes=(BatchShape(32, 32, 6),), **changes)  # type: ignore[arg-type]
    some = Batches(pictures([], [photo(2)]), config, ModelInput(), seed=5, steps=4)
    spread = torch.cat([some[step][0][:, 3].flatten(1).std(1) for step in range(4)])
    assert (spread > 0.0).any(), "counts differ within some frames"
    assert (spread == 0.0).any(), "and are uniform in others"


def test_large_crops_are_taken_from_large_pictures() -> None:
    size = 352
    large = photo(1, size)
    config = DataConfig(shapes=(BatchShape(size, 32, 4),), simulated=1.0, lamps=0.0)
    some = TrainingPictures([], [photo(2, 48)], [large], [])
    bright = Batches(some, config, ModelInput(), seed=5, steps=1)[0][2]
    plain, mirrored = (np.abs(255 * bright[0].permute(1, 2, 0).numpy() - p).max() for p in (large, large[:, ::-1]))
    assert min(plain, mirrored) < 1.0


def data_set(folder: Path, count: int = 6) -> tuple[Path, Path]:
    """Indices of ``count`` pairs, the last of which validates, and of as many photographs."""
    rows = []
    for i in range(count):
        cv2.imwrite(str(folder / f"d{i}.png"), photo(i) // 4)
        cv2.imwrite(str(folder / f"b{i}.png"), photo(i))
        rows.append(f"s{i},d{i}.png,b{i}.png,{'val' if i == count - 1 else 'train'}")
    (folder / "pairs.csv").write_text("scene,dark,bright,split\n" + "\n".join(rows))
    (folder / "photos.csv").write_text("file,split\n" + "\n".join(f"b{i}.png,train" for i in range(count)))
    return folder / "pairs.csv", folder / "photos.csv"


def test_batches_are_the_same_with_little_memory(tmp_path: Path) -> None:
    pairs, photos = data_set(tmp_path)
    roomy, tight = (load_training_pictures(Sources([pairs], [photos]), 255.0, memory) for memory in (1.0, 3e-5))
    config = DataConfig(shapes=SHAPES, well_lit_pairs=0.1)
    for step in range(4):
        a, b = (Batches(some, config, ModelInput(), seed=5, steps=9)[step] for some in (roomy, tight))
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert str(roomy) == str(tight) == "5 pairs and 6 photographs to train, 1 pairs to validate"
