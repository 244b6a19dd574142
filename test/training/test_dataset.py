from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lowlight_enhance.core.capture import CaptureMetadata
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.model_input import ModelInput
from lowlight_enhance.training.dataset import (
    SID_SONY_CAPTURES,
    Batches,
    BatchShape,
    DataConfig,
    LoadedPair,
    crop,
    draw_exposure,
    load_pairs,
    read_pairs,
    read_photos,
    scene_split,
)

SHAPES = (BatchShape(48, 32, 3), BatchShape(32, 32, 2))


def photo(seed: int = 0, size: int = 64) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def batches(**changes: object) -> Batches:
    pair = LoadedPair((photo(1) // 4).astype(np.uint8), photo(1), CaptureMetadata(400.0, 0.1))
    config = DataConfig(shapes=SHAPES, **changes)  # type: ignore[arg-type]
    return Batches([pair], [photo(2), photo(3)], config, ModelInput(), seed=5, steps=10)


def test_a_batch_has_the_shapes_of_its_kind() -> None:
    for step in range(6):
        inputs, dark, bright = batches()[step]
        count, full = dark.shape[0], dark.shape[2]
        assert BatchShape(full, inputs.shape[2], count) in SHAPES
        assert inputs.shape == (count, 5, 32, 32)
        assert bright.shape == dark.shape == (count, 3, full, full)
        assert 0.0 <= float(bright.min()) <= float(bright.max()) <= 1.0


def test_batches_depend_on_nothing_but_seed_and_step() -> None:
    whole = [batches()[step] for step in range(4)]
    resumed = batches()
    assert all(torch.equal(a, b) for a, b in zip(whole[3], resumed[3], strict=True))
    assert not torch.equal(whole[2][0].mean(), whole[3][0].mean())


def test_dark_is_darker_than_bright() -> None:
    _, dark, bright = batches(well_lit=0.0, stops=(2.0, 4.0))[0]
    assert float(dark.mean()) < 0.7 * float(bright.mean())


def test_metadata_is_withheld_as_often_as_asked() -> None:
    always = batches(withhold=1.0)[0][0]
    assert torch.all(always[:, 3:] == -1.0)
    never = batches(withhold=0.0, withhold_one=0.0)
    planes = torch.cat([never[step][0][:, 3:, 0, 0] for step in range(6)])
    assert torch.all((planes >= 0.0) & (planes <= 1.0))
    one = batches(withhold=0.0, withhold_one=1.0)
    planes = torch.cat([one[step][0][:, 3:, 0, 0] for step in range(6)])
    assert torch.all((planes == -1.0).sum(1) == 1)


def test_a_crop_is_the_same_window_of_each_picture() -> None:
    base = photo(4, 100)
    first, second = crop((base, 255 - base), 40, np.random.default_rng(0))
    assert first.shape == (40, 40, 3)
    assert np.abs(first.astype(int) + second - 255).max() <= 1


def test_drawn_exposures_are_within_their_ranges() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_exposure(DataConfig(well_lit=0.0), rng) for _ in range(300)]
    assert all(1.0 <= e.stops <= 7.5 for e in drawn)
    isos = [e.capture.iso or 0.0 for e in drawn]
    assert min(isos) >= 50.0
    assert max(isos) <= 25600.0
    assert sum(iso > 3200 for iso in isos) > 50


def test_pairs_are_read_with_what_is_known(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), photo())
    (tmp_path / "pairs.csv").write_text("scene,dark,bright,iso,exposure_s,split\nhall,a.png,b.png,800,,val\n")
    (pair,) = read_pairs(tmp_path / "pairs.csv")
    assert (pair.scene, pair.split, pair.capture) == ("hall", "val", CaptureMetadata(800.0, None))
    assert np.array_equal(load_pairs([pair])[0].bright, photo()[:, :, ::-1])  # files are BGR, pictures RGB


def test_other_column_names_and_missing_splits(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "n.png"), photo())
    (tmp_path / "pairs.csv").write_text("noisy,clean,scene\nn.png,n.png,roof\n")
    assert read_pairs(tmp_path / "pairs.csv")[0].split == scene_split("roof")
    (tmp_path / "photos.csv").write_text("file\nn.png\n")
    assert read_photos(tmp_path / "photos.csv") == [(tmp_path / "n.png", scene_split("n.png"))]


def test_scenes_are_split_by_name_alone() -> None:
    splits = [scene_split(f"scene {i}") for i in range(1200)]
    assert splits == [scene_split(f"scene {i}") for i in range(1200)]
    assert 60 < splits.count("val") < 140


def test_mistakes_in_an_index_are_named(tmp_path: Path) -> None:
    index = tmp_path / "pairs.csv"
    with pytest.raises(DataError, match=r"pairs\.csv"):
        read_pairs(index)
    index.write_text("scene,left,right\n1,a,b\n")
    with pytest.raises(DataError, match="no column dark or noisy; found scene, left, right"):
        read_pairs(index)
    index.write_text("dark,bright\ngone.png,gone.png\n")
    with pytest.raises(DataError, match=r"line 2: .*gone\.png does not exist"):
        read_pairs(index)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("text")
    (tmp_path / "pairs.csv").write_text("dark,bright\nx.png,x.png\n")
    with pytest.raises(DataError, match=r"x\.png as a picture"):
        load_pairs(read_pairs(tmp_path / "pairs.csv"))


def test_no_pictures_at_all_is_an_error() -> None:
    with pytest.raises(DataError, match="--pairs"):
        Batches([], [], DataConfig(), ModelInput(), 0, 1)


def pairs_only(pairs: list[LoadedPair], **changes: object) -> Batches:
    config = DataConfig(shapes=SHAPES, darkened=0.0, withhold=0.0, withhold_one=0.0, **changes)  # type: ignore[arg-type]
    return Batches(pairs, [], config, ModelInput(), seed=5, steps=40)


def test_well_lit_pairs_come_as_often_as_asked() -> None:
    lit, dark = photo(1), photo(2)
    pairs = [
        LoadedPair(lit, lit, CaptureMetadata()),
        LoadedPair((dark // 4).astype(np.uint8), dark, CaptureMetadata()),
    ]
    for share, low, high in ((0.0, 0, 0), (0.25, 15, 40), (1.0, 100, 100)):
        samples = [pairs_only(pairs, well_lit_pairs=share, redarken=0.0)[step][1:] for step in range(40)]
        same = [bool(torch.equal(d, b)) for darks, brights in samples for d, b in zip(darks, brights, strict=True)]
        if share:
            assert low <= 100 * sum(same) / len(same) <= high
    assert not pairs_only(pairs).lit_pairs  # 0: no pair is set apart, each is drawn as often as the other


def test_a_pair_of_middling_brightness_is_darkened_below_the_limit() -> None:
    bright = np.full((64, 64, 3), 150, np.uint8)
    middling = LoadedPair(np.full((64, 64, 3), 90, np.uint8), bright, CaptureMetadata())
    limited = pairs_only([middling], dark_below=60.0, redarken=0.0)
    means = [255.0 * float(limited[step][1].mean()) for step in range(20)]
    assert all(15.0 < mean < 66.0 for mean in means)
    assert torch.all(limited[0][0][:, 3] >= 0.0), "the ISO of its noise is known"
    assert 255.0 * float(pairs_only([middling], redarken=0.0)[0][1].mean()) == pytest.approx(90.0, abs=0.1)


def test_unknown_captures_are_guessed_as_often_as_asked() -> None:
    pair = LoadedPair((photo(1) // 4).astype(np.uint8), photo(1), CaptureMetadata())
    told = pairs_only([pair], guessed_capture=1.0, redarken=0.0)[0][0][:, 3:, 0, 0]
    low_iso = ModelInput().encode(photo(), CaptureMetadata(900.0, 1.0))[0, 3, 0, 0]
    assert torch.all((told >= 0.0) & (told[:, :1] < float(low_iso)))
    assert torch.all(pairs_only([pair], redarken=0.0)[0][0][:, 3:] == -1.0)
    known = LoadedPair(pair.dark, pair.bright, CaptureMetadata(6400.0, 0.01))
    plane = ModelInput().encode(photo(), known.capture)[0, 3, 0, 0]
    assert torch.all(pairs_only([known], guessed_capture=1.0, redarken=0.0)[0][0][:, 3] == float(plane))


def test_both_pictures_of_a_sample_are_turned_alike() -> None:
    picture = photo(1)
    pair = LoadedPair(picture, picture, CaptureMetadata())
    _, dark, bright = pairs_only([pair], turn=1.0, redarken=0.0)[0]
    straight = pairs_only([pair], turn=0.0, redarken=0.0)[0][1]
    assert torch.equal(dark, bright)
    assert not torch.equal(dark, straight)


def test_captures_come_from_the_list_as_often_as_asked() -> None:
    rng = np.random.default_rng(0)
    listed = {float(row[0]) for row in SID_SONY_CAPTURES}
    for share, expected in ((0.0, 0), (1.0, 50)):
        drawn = [draw_exposure(DataConfig(sid_captures=share), rng) for _ in range(50)]
        assert sum(exposure.capture.iso in listed for exposure in drawn) == expected
