from pathlib import Path

import cv2
import numpy as np
import pytest

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.training.data.manifest import read_pairs, read_photos, scene_split
from lowlight_enhance.training.data.pictures import PictureStore, Sources, load_pairs, load_training_pictures


def photo(seed: int = 0, size: int = 64) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


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


def test_test_rows_are_never_opened(tmp_path: Path) -> None:
    pairs, photos = data_set(tmp_path)
    for manifest in (pairs, photos):
        manifest.write_text(manifest.read_text().replace("0.png,train", "0.png,test"))
    (tmp_path / "d0.png").write_bytes(b"not a picture")
    (tmp_path / "b0.png").write_bytes(b"not a picture")
    pictures = load_training_pictures(Sources([pairs], [photos]), 255.0)
    assert len(pictures.pairs) == 4
    assert len(pictures.photos) == 5


def test_files_are_relative_to_the_root_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pairs, photos = data_set(tmp_path / "data")
    for manifest in (pairs, photos):
        manifest.rename(tmp_path / manifest.name)
    sources = Sources(
        [tmp_path / "pairs.csv"], [tmp_path / "photos.csv"], [tmp_path / "photos.csv"], tmp_path / "data"
    )
    pictures = load_training_pictures(sources, 255.0)
    assert len(pictures.unlabelled) == 6
    assert pictures.unlabelled[0].shape == (64, 64, 3)


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
        load_training_pictures(Sources([pairs], [photos]), 255.0)
    with pytest.raises(DataError, match=says):
        load_pairs(read_pairs(pairs))
    tight = load_training_pictures(Sources([pairs], [photos]), 255.0, memory_gb=1e-6)
    with pytest.raises(DataError, match=says):
        list(tight.pairs)


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


def test_validation_pictures_do_not_displace_training_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = data_set(tmp_path)
    listed = read_pairs(manifests[0])
    validated = [path for pair in listed if pair.split == "val" for path in (pair.dark, pair.bright)]
    # room for the five training references and dark frames, which are photographs too, and for the sixth photograph
    pictures = load_training_pictures(
        Sources([manifests[0]], [manifests[1]]), 255.0, memory_gb=11 * photo().nbytes / 1e9
    )
    reads: list[Path] = []
    monkeypatch.setattr("lowlight_enhance.training.data.pictures.load_rgb", lambda path: reads.append(path) or photo())
    assert len(list(pictures.pairs)) == 5
    assert not set(reads) - set(validated)


def test_a_broken_picture_is_found_before_training(tmp_path: Path) -> None:
    pairs, photos = data_set(tmp_path)
    (tmp_path / "d2.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"d2\.png as a picture"):
        load_training_pictures(Sources([pairs], [photos]), 255.0)
