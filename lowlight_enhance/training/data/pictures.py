"""Pictures of a training: decoded when they are asked for, and kept as far as memory is allowed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.training.data.manifest import Pair, read_pairs, read_photos

Picture = NDArray[np.uint8]

DEFAULT_MEMORY_GB = 8.0
"""For decoded pictures."""

T = TypeVar("T")
Item = TypeVar("Item")


def load_rgb(path: Path) -> Picture:
    """(H, W, 3) uint8 RGB.

    Raises:
        DataError: not a readable picture.
    """
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise DataError(f"cannot read {path} as a picture; remove it from the index or replace it")
    return np.ascontiguousarray(bgr[:, :, ::-1], dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class LoadedPair:
    """A pair in memory, (H, W, 3) uint8 RGB both."""

    dark: Picture
    bright: Picture
    capture: CaptureMetadata

    @classmethod
    def of(cls, pair: Pair, load: Callable[[Path], Picture]) -> LoadedPair:
        """``pair``, opened by ``load``.

        Raises:
            DataError: a picture cannot be read, or one is larger than the other.
        """
        dark, bright = load(pair.dark), load(pair.bright)
        if dark.shape != bright.shape:
            sizes = (f"{path} is {p.shape[1]}x{p.shape[0]}" for path, p in ((pair.dark, dark), (pair.bright, bright)))
            raise DataError(f"{', but '.join(sizes)}: bring both pictures of a pair to one size, pixel upon pixel")
        return cls(dark, bright, pair.capture)


class PictureStore:
    """Decoded pictures by file. Beyond a number of bytes, those that were not asked for longest make room."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._pictures: OrderedDict[Path, Picture] = OrderedDict()

    def __call__(self, path: Path) -> Picture:
        """The picture in ``path``, (H, W, 3) uint8 RGB, not to be written to.

        Raises:
            DataError: not a readable picture.
        """
        if path in self._pictures:
            self._pictures.move_to_end(path)
            return self._pictures[path]
        picture = load_rgb(path)
        picture.setflags(write=False)
        self._pictures[path] = picture
        self.held_bytes += picture.nbytes
        while self.held_bytes > self.limit_bytes and len(self._pictures) > 1:
            self.held_bytes -= self._pictures.popitem(last=False)[1].nbytes
        return picture

    def __contains__(self, path: Path) -> bool:
        return path in self._pictures

    def fill(self, paths: Iterable[Path]) -> None:
        """Decode these, as far as they fit: processes forked from this one share them, and a broken one is found.

        Raises:
            DataError: not a readable picture.
        """
        for path in paths:
            if self.held_bytes >= self.limit_bytes:
                return
            self(path)


class Opened(Sequence[T]):
    """What ``items`` name, each opened when it is asked for."""

    def __init__(self, items: Sequence[Item], opening: Callable[[Item], T]) -> None:
        self._items, self._opening = items, opening

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Opened[T]: ...
    def __getitem__(self, index: int | slice) -> T | Opened[T]:
        if isinstance(index, slice):
            return Opened(self._items[index], self._opening)
        return self._opening(self._items[index])


@dataclass(frozen=True, slots=True)
class TrainingPictures:
    """What a training reads.

    Attributes:
        pairs: of the training split.
        photos: of the training split, to be darkened.
        references: the bright pictures of ``pairs``, each once.
        validation: pairs of the validation split.
        validation_photos: photographs of the validation split.
        unlabelled: dark pictures without reference.
    """

    pairs: Sequence[LoadedPair]
    photos: Sequence[Picture]
    references: Sequence[Picture]
    validation: Sequence[LoadedPair]
    validation_photos: Sequence[Picture] = ()
    unlabelled: Sequence[Picture] = ()

    def __str__(self) -> str:
        return (
            f"{len(self.pairs)} pairs and {len(self.photos)} photographs to train, "
            f"{len(self.validation)} pairs to validate"
        )


@dataclass(frozen=True, slots=True)
class Sources:
    """Manifests of the pictures of a run.

    Attributes:
        pairs: manifests of real pairs.
        photos: manifests of well-exposed photographs, from which dark frames are simulated.
        unlabelled: manifests of dark pictures without reference, for distillation.
        root: folder to which the files in the manifests are relative; None: the folder of each manifest.
    """

    pairs: Sequence[Path] = ()
    photos: Sequence[Path] = ()
    unlabelled: Sequence[Path] = ()
    root: Path | None = None


def load_training_pictures(
    sources: Sources, max_mean: float, memory_gb: float = DEFAULT_MEMORY_GB
) -> TrainingPictures:
    """The pictures that some CSV indices list, as many of them decoded at once as memory is allowed.

    Args:
        sources: manifests.
        max_mean: largest mean (0..255) of the dark frame of a validation pair.
        memory_gb: for decoded pictures, in 1e9 bytes.

    Raises:
        DataError: an index or a picture cannot be read, or the pictures of a pair differ in size; pictures that do not
            fit the memory are looked at when they are drawn.
    """
    # OpenCV's thread pool does not survive the fork into the processes that make batches: they would hang in it.
    cv2.setNumThreads(1)
    store = PictureStore(round(memory_gb * 1e9))

    def load(pair: Pair) -> LoadedPair:
        return LoadedPair.of(pair, store)

    listed = [pair for manifest in sources.pairs for pair in read_pairs(manifest, sources.root)]
    to_train = [pair for pair in listed if pair.split == "train"]
    to_validate = [pair for pair in listed if pair.split == "val" and store(pair.dark).mean() <= max_mean]
    listed_photos = [row for manifest in sources.photos for row in read_photos(manifest, sources.root)]
    files = [file for file, split in listed_photos if split == "train"]
    validation_files = [file for file, split in listed_photos if split == "val"]
    dark_rows = [row for manifest in sources.unlabelled for row in read_photos(manifest, sources.root)]
    dark_files = [file for file, split in dark_rows if split == "train"]
    references = list(dict.fromkeys(pair.bright for pair in to_train))
    store.fill([*files, *references, *(pair.dark for pair in to_train), *(pair.bright for pair in to_validate)])
    for pair in (*to_train, *to_validate):
        if pair.dark in store and pair.bright in store:
            load(pair)
    return TrainingPictures(
        pairs=Opened(to_train, load),
        photos=Opened(files, store),
        references=Opened(references, store),
        validation=Opened(to_validate, load),
        validation_photos=Opened(validation_files, store),
        unlabelled=Opened(dark_files, store),
    )


def load_pairs(pairs: Sequence[Pair]) -> list[LoadedPair]:
    """All pairs, decoded; a reference that several dark frames share is decoded once.

    Raises:
        DataError: a picture cannot be read, or those of a pair differ in size.
    """
    brights = {path: load_rgb(path) for path in {pair.bright for pair in pairs}}
    return [LoadedPair.of(pair, lambda path: brights[path] if path in brights else load_rgb(path)) for pair in pairs]
