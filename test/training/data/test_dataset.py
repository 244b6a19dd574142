from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.simulation.sensors import WHITE_DN
from lowlight_enhance.training.data.dataset import (
    SID_SONY_CAPTURES,
    Batches,
    BatchShape,
    DataConfig,
    crop,
    draw_black_offset,
    draw_exposure,
)
from lowlight_enhance.training.data.manifest import read_pairs, read_photos, scene_split
from lowlight_enhance.training.data.pictures import (
    LoadedPair,
    PictureStore,
    TrainingPictures,
    load_pairs,
    load_training_pictures,
)

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


def test_black_offsets_come_as_often_as_asked_and_not_in_well_lit_frames() -> None:
    rng = np.random.default_rng(0)
    dark = [draw_exposure(DataConfig(well_lit=0.0, black_offset=0.5), rng).black_offset for _ in range(400)]
    assert sum(map(any, dark)) == pytest.approx(200, abs=40)
    lit = [draw_exposure(DataConfig(well_lit=1.0, black_offset=1.0), rng).black_offset for _ in range(50)]
    assert not any(map(any, lit))


@pytest.mark.parametrize("stops", [2.0, 5.0, 7.0])
def test_a_veil_has_the_colour_of_the_light_and_hides_no_more_than_it_may(stops: float) -> None:
    rng, balance = np.random.default_rng(0), np.array([2.0, 1.0, 1.5])
    drawn = np.array([draw_black_offset(stops, (2.0, 1.5), rng) for _ in range(2000)]) * balance
    grey = min(0.18 * WHITE_DN * 2.0**-stops, 100.0)
    assert np.quantile(drawn[:, 1], 0.95) < grey + 10.0
    assert -grey - 10.0 < np.quantile(drawn[:, 1], 0.05) < -0.5 * grey
    assert (drawn[:, 1] > 0.0).mean() == pytest.approx(0.5, abs=0.1)
    if stops == 2.0:  # the sensor's own part is small beside the light's
        assert np.corrcoef(drawn.T).min() > 0.9


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
    with pytest.raises(DataError, match=r"line 2: no column dark or noisy, .*; found scene, left, right"):
        read_pairs(index)
    index.write_text("dark,bright\ngone.png,gone.png\n")
    with pytest.raises(DataError, match=r"line 2: .*gone\.png does not exist"):
        read_pairs(index)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"dark,bright,iso\na.png,a.png,800\n\na.png,a.png,auto\n", "line 4: iso is 'auto', expected a number"),
        (b"dark,bright,exposure_s\na.png,a.png,1/60\n", "line 2: exposure_s is '1/60'"),
        (b"dark,bright,split\na.png,a.png,training\n", "line 2: split is 'training', expected train, val, test or"),
        (b"dark,bright,scene\na.png,a.png,\na.png,a.png,caf\xe9\n", "line 3: not UTF-8"),
        (b"dark,bright,iso\na.png,,800,more\n", "line 2: no column bright or clean, or nothing in it; found dark"),
    ],
)
def test_values_that_make_no_sense_are_named(tmp_path: Path, text: bytes, says: str) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), photo())
    index = tmp_path / "pairs.csv"
    index.write_bytes(text)
    with pytest.raises(DataError, match=rf"pairs\.csv, {says}"):
        read_pairs(index)


def test_the_split_of_a_photograph_is_one(tmp_path: Path) -> None:
    (tmp_path / "photos.csv").write_bytes(b"\xef\xbb\xbffile,split\na.png,val\n")  # as spreadsheets write UTF-8
    assert read_photos(tmp_path / "photos.csv") == [(tmp_path / "a.png", "val")]
    (tmp_path / "photos.csv").write_text("file,split\na.png,val\nb.png,Train\n")
    with pytest.raises(DataError, match=r"photos\.csv, line 3: split is 'Train'"):
        read_photos(tmp_path / "photos.csv")


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("text")
    (tmp_path / "pairs.csv").write_text("dark,bright\nx.png,x.png\n")
    with pytest.raises(DataError, match=r"x\.png as a picture"):
        load_pairs(read_pairs(tmp_path / "pairs.csv"))


@pytest.mark.parametrize("size", [48, 80])
def test_pictures_of_a_pair_must_have_one_size(tmp_path: Path, size: int) -> None:
    pairs, photos = data_set(tmp_path)
    cv2.imwrite(str(tmp_path / "b2.png"), photo(2, size))
    says = rf"d2\.png is 64x64, but .*b2\.png is {size}x{size}"
    with pytest.raises(DataError, match=says):
        load_training_pictures([pairs], [photos], 255.0)
    with pytest.raises(DataError, match=says):
        load_pairs(read_pairs(pairs))
    tight = load_training_pictures([pairs], [photos], 255.0, memory_gb=1e-6)
    with pytest.raises(DataError, match=says):
        list(tight.pairs)


def test_no_pictures_at_all_is_an_error() -> None:
    with pytest.raises(DataError, match="--pairs"):
        Batches(pictures([], []), DataConfig(), ModelInput(), 0, 1)


@pytest.mark.parametrize(("darkened", "unused"), [(0.0, "--photos"), (1.0, "the training pairs of --pairs")])
def test_pictures_that_would_never_be_drawn_are_refused(darkened: float, unused: str) -> None:
    with pytest.raises(ConfigError, match=f"darkened is {darkened:g}, so {unused} would never be drawn"):
        batches(darkened=darkened)


def pairs_only(pairs: list[LoadedPair], **changes: object) -> Batches:
    config = DataConfig(shapes=SHAPES, darkened=0.0, withhold=0.0, withhold_one=0.0, **changes)  # type: ignore[arg-type]
    return Batches(pictures(pairs, []), config, ModelInput(), seed=5, steps=40)


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
    assert not pairs_only(pairs).lit  # 0: no pair is set apart, each is drawn as often as the other


def test_a_pair_of_middling_brightness_is_darkened_below_the_limit() -> None:
    bright = np.full((64, 64, 3), 150, np.uint8)
    middling = LoadedPair(np.full((64, 64, 3), 90, np.uint8), bright, CaptureMetadata())
    limited = pairs_only([middling], dark_below=60.0, redarken=0.0)
    means = [255.0 * float(limited[step][1].mean()) for step in range(20)]
    assert all(15.0 < mean < 66.0 for mean in means)
    assert torch.all(limited[0][0][:, 3] >= 0.0), "the ISO of its noise is known"
    assert 255.0 * float(pairs_only([middling], redarken=0.0)[0][1].mean()) == pytest.approx(90.0, abs=0.1)


def test_a_pair_that_is_darkened_further_keeps_what_is_known_of_its_capture() -> None:
    bright = np.full((64, 64, 3), 200, np.uint8)

    def redarkened(capture: CaptureMetadata) -> tuple[torch.Tensor, torch.Tensor]:
        pair = LoadedPair(np.full((64, 64, 3), 120, np.uint8), bright, capture)
        inputs, dark, _ = pairs_only([pair], redarken=1.0, sid_captures=0.0, contrast=0.0)[0]
        return inputs[:, 3:, 0, 0], dark

    def planes(iso: float, exposure_s: float) -> tuple[float, ...]:
        return ModelInput().planes(CaptureMetadata(iso, exposure_s))

    told, dark = redarkened(CaptureMetadata(800.0, 4.0))
    assert told[:, 0].tolist() == pytest.approx([planes(800.0, 1.0)[0]] * len(told))
    assert torch.all((told[:, 1] > planes(800.0, 1.0)[1]) & (told[:, 1] < planes(800.0, 4.0)[1]))
    order = dark.mean((1, 2, 3)).argsort()
    assert torch.equal(told[:, 1].argsort(), order), "the darker, the less time"
    noise = {iso: float(redarkened(CaptureMetadata(iso, 4.0))[1].std((2, 3)).mean()) for iso in (100.0, 25600.0)}
    assert noise[25600.0] > 2.0 * noise[100.0]
    unknown = redarkened(CaptureMetadata())[0]
    iso_alone = redarkened(CaptureMetadata(iso=800.0))[0]
    assert len(set(unknown[:, 0].tolist())) == len(unknown), "an ISO is drawn for each"
    assert torch.all(iso_alone[:, 0] == told[0, 0])
    assert torch.all(iso_alone[:, 1] >= 0.0)


def test_a_well_lit_crop_is_as_bright_as_wanted() -> None:
    some = (np.full((64, 64, 3), 30, np.uint8), *(np.full((64, 64, 3), grey, np.uint8) for grey in (90, 120, 150)))
    pairs = [LoadedPair(picture, picture, CaptureMetadata()) for picture in some]

    def darkest(lit_from: float) -> float:
        samples = pairs_only(pairs, well_lit_pairs=1.0, lit_from=lit_from)
        return min(255.0 * float(mean) for step in range(40) for mean in samples[step][1].mean((1, 2, 3)))

    assert darkest(66.0) > 89.0
    assert darkest(0.0) < 40.0


def photos_only(grey: int, **changes: object) -> list[tuple[float, float]]:
    """Means (0..255) of dark and bright of the samples made from a photograph of one grey."""
    config = DataConfig(shapes=(BatchShape(48, 32, 4),), darkened=1.0, **changes)  # type: ignore[arg-type]
    some = Batches(pictures([], [np.full((64, 64, 3), grey, np.uint8)]), config, ModelInput(), seed=5, steps=15)
    both = (some[step][1:] for step in range(15))
    return [(255.0 * float(d.mean()), 255.0 * float(b.mean())) for ds, bs in both for d, b in zip(ds, bs, strict=True)]


def test_a_photograph_is_darkened_below_the_limit_or_not_at_all() -> None:
    free = photos_only(200, stops=(0.5, 2.0), well_lit=0.3)
    ruled = photos_only(200, stops=(0.5, 2.0), well_lit=0.3, dark_below=60.0, lit_from=66.0)
    assert any(66.0 < dark < 160.0 for dark, _ in free)
    assert all(dark < 66.0 or dark > 185.0 for dark, _ in ruled)
    assert {dark > 185.0 for dark, _ in ruled} == {False, True}
    dim = photos_only(50, well_lit=1.0, dark_below=60.0, lit_from=66.0)
    assert all(dark < 0.8 * bright for dark, bright in dim), "too dark to count as well lit"


def test_unknown_captures_are_guessed_as_often_as_asked() -> None:
    pair = LoadedPair((photo(1) // 4).astype(np.uint8), photo(1), CaptureMetadata())
    told = pairs_only([pair], guessed_capture=1.0, redarken=0.0)[0][0][:, 3:, 0, 0]
    low_iso = ModelInput().encode(photo(), CaptureMetadata(900.0, 1.0))[0, 3, 0, 0]
    assert torch.all((told >= 0.0) & (told[:, :1] < float(low_iso)))
    assert torch.all(pairs_only([pair], redarken=0.0)[0][0][:, 3:] == -1.0)
    known = LoadedPair(pair.dark, pair.bright, CaptureMetadata(6400.0, 0.01))
    plane = ModelInput().encode(photo(), known.capture)[0, 3, 0, 0]
    assert torch.all(pairs_only([known], guessed_capture=1.0, redarken=0.0)[0][0][:, 3] == float(plane))


def test_exposure_times_of_well_lit_pairs_are_guessed_as_often_as_asked() -> None:
    lit = LoadedPair(photo(1), photo(1), CaptureMetadata(6400.0, 0.01))
    own = ModelInput().encode(photo(), lit.capture)[0, 3:, 0, 0]
    told = pairs_only([lit], guessed_exposure=1.0, well_lit_pairs=1.0)[0][0][:, 3:, 0, 0].numpy()
    assert np.all(told[:, 0] == own[0])
    assert len(set(told[:, 1])) == len(told)
    assert np.all(pairs_only([lit], well_lit_pairs=1.0)[0][0][:, 3:, 0, 0].numpy() == own)
    unknown = LoadedPair(lit.dark, lit.bright, CaptureMetadata())
    assert torch.all(pairs_only([unknown], guessed_exposure=1.0, well_lit_pairs=1.0)[0][0][:, 3:] == -1.0)


def test_both_pictures_of_a_sample_are_turned_alike() -> None:
    picture = photo(1)
    pair = LoadedPair(picture, picture, CaptureMetadata())
    _, dark, bright = pairs_only([pair], turn=1.0, redarken=0.0)[0]
    straight = pairs_only([pair], turn=0.0, redarken=0.0)[0][1]
    assert torch.equal(dark, bright)
    assert not torch.equal(dark, straight)


def test_samples_are_mirrored_as_often_as_asked() -> None:
    ramp = np.tile(np.arange(64, dtype=np.uint8)[None, :, None], (64, 1, 3))
    pair = LoadedPair(ramp, ramp, CaptureMetadata())
    for flip, low, high in ((0.0, 0.0, 0.0), (0.5, 0.3, 0.7), (1.0, 1.0, 1.0)):
        samples = [pairs_only([pair], flip=flip, redarken=0.0)[step][1] for step in range(20)]
        mirrored = [bool(one[0, 0, 0] > one[0, 0, -1]) for batch in samples for one in batch]
        assert low <= sum(mirrored) / len(mirrored) <= high


def test_captures_come_from_the_list_as_often_as_asked() -> None:
    rng = np.random.default_rng(0)
    listed = {float(row[0]) for row in SID_SONY_CAPTURES}
    for share, expected in ((0.0, 0), (1.0, 50)):
        drawn = [draw_exposure(DataConfig(sid_captures=share), rng) for _ in range(50)]
        assert sum(exposure.capture.iso in listed for exposure in drawn) == expected


def test_large_crops_are_taken_from_large_pictures() -> None:
    size = 352
    large = photo(1, size)
    config = DataConfig(shapes=(BatchShape(size, 32, 4),), darkened=1.0, stops=(1.0, 1.0), well_lit=0.0)
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
    roomy, tight = (load_training_pictures([pairs], [photos], 255.0, memory) for memory in (1.0, 3e-5))
    config = DataConfig(shapes=SHAPES, well_lit_pairs=0.1)
    for step in range(4):
        a, b = (Batches(some, config, ModelInput(), seed=5, steps=9)[step] for some in (roomy, tight))
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert str(roomy) == str(tight) == "5 pairs and 6 photographs to train, 1 pairs to validate"


def test_a_store_holds_no_more_than_it_may_and_forgets_what_was_not_asked_for_longest(tmp_path: Path) -> None:
    data_set(tmp_path)
    paths = [tmp_path / f"b{i}.png" for i in range(4)]
    one = photo().nbytes
    store = PictureStore(2 * one)
    first = store(paths[0])
    store(paths[1])
    assert store(paths[0]) is first
    store(paths[2])  # takes the place of the second
    assert store.held_bytes == 2 * one
    assert store(paths[0]) is first
    store.fill(paths)
    assert store(paths[0]) is first  # full: nothing is thrown out to fill it
    assert not first.flags.writeable
    assert PictureStore(1)(paths[0]).shape == (64, 64, 3)  # one picture is always held


def test_a_broken_picture_is_found_before_training(tmp_path: Path) -> None:
    pairs, photos = data_set(tmp_path)
    (tmp_path / "d2.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"d2\.png as a picture"):
        load_training_pictures([pairs], [photos], 255.0)
