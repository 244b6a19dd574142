"""Training pictures: decoded on demand, and cached up to a memory limit."""

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
"""Default memory for decoded pictures, in 1e9 bytes."""

T = TypeVar("T")
Item = TypeVar("Item")


def load_rgb(path: Path) -> Picture:
    """Read a picture as (H, W, 3) uint8 RGB.

    Raises:
        DataError: the file is not a readable picture.
    """
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise DataError(f"cannot read {path} as a picture; remove it from the manifest or replace it")
    return np.ascontiguousarray(bgr[:, :, ::-1], dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class LoadedPair:
    """A decoded pair; both pictures are (H, W, 3) uint8 RGB of the same size."""

    dark: Picture
    bright: Picture
    capture: CaptureMetadata

    @classmethod
    def of(cls, pair: Pair, load: Callable[[Path], Picture]) -> LoadedPair:
        """Read both pictures of a pair with ``load``.

        Raises:
            DataError: a picture cannot be read, or the sizes differ.
        """
        dark, bright = load(pair.dark), load(pair.bright)
        if dark.shape != bright.shape:
            sizes = (f"{path} is {p.shape[1]}x{p.shape[0]}" for path, p in ((pair.dark, dark), (pair.bright, bright)))
            raise DataError(f"{', but '.join(sizes)}: both pictures of a pair must be aligned and of the same size")
        return cls(dark, bright, pair.capture)


class PictureStore:
    """Cache of decoded pictures. Beyond ``limit_bytes``, the least recently used ones are dropped."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._pictures: OrderedDict[Path, Picture] = OrderedDict()

    def __call__(self, path: Path) -> Picture:
        """Return the picture in ``path`` as a read-only (H, W, 3) uint8 RGB array.

        Raises:
            DataError: the file is not a readable picture.
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

    def peek(self, path: Path) -> Picture:
        """Return the picture in ``path`` like a call, but keep it only if it is in the cache already."""
        return self(path) if path in self else load_rgb(path)

    def fill(self, paths: Iterable[Path]) -> None:
        """Decode pictures until the cache is full, so that processes forked from this one share them.

        Raises:
            DataError: a file is not a readable picture.
        """
        for path in paths:
            if self.held_bytes >= self.limit_bytes:
                return
            self(path)


class LazySequence(Sequence[T]):
    """A sequence whose element n is ``load(items[n])``, computed at each access."""

    def __init__(self, items: Sequence[Item], load: Callable[[Item], T]) -> None:
        self._items, self._load = items, load

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> LazySequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | LazySequence[T]:
        if isinstance(index, slice):
            return LazySequence(self._items[index], self._load)
        return self._load(self._items[index])


@dataclass(frozen=True, slots=True)
class TrainingPictures:
    """Pictures of a training.

    Attributes:
        pairs: pairs of the training split.
        photos: well-exposed photographs of the training split, from which dark frames are simulated.
        references: bright pictures of ``pairs``, each once.
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
    """Return the pictures of manifests. As many as fit the memory are decoded here, the others when they are used.

    Args:
        sources: manifests.
        max_mean: largest mean (0..255) of the dark picture of a validation pair.
        memory_gb: memory for decoded pictures, in 1e9 bytes.

    Raises:
        DataError: a manifest or a picture that is decoded here cannot be read, or the sizes of a pair differ.
    """
    # OpenCV's thread pool does not survive a fork: the processes that make batches would hang.
    cv2.setNumThreads(1)
    store = PictureStore(round(memory_gb * 1e9))

    def load(pair: Pair) -> LoadedPair:
        return LoadedPair.of(pair, store)

    listed = [pair for manifest in sources.pairs for pair in read_pairs(manifest, sources.root)]
    to_train = [pair for pair in listed if pair.split == "train"]
    to_validate = [pair for pair in listed if pair.split == "val"]
    listed_photos = [row for manifest in sources.photos for row in read_photos(manifest, sources.root)]
    files = [file for file, split in listed_photos if split == "train"]
    validation_files = [file for file, split in listed_photos if split == "val"]
    dark_rows = [row for manifest in sources.unlabelled for row in read_photos(manifest, sources.root)]
    dark_files = [file for file, split in dark_rows if split == "train"]
    references = list(dict.fromkeys(pair.bright for pair in to_train))
    store.fill([*files, *references, *(pair.dark for pair in to_train)])
    store.fill(pair.dark for pair in to_validate)
    validation_set = [pair for pair in to_validate if store.peek(pair.dark).mean() <= max_mean]
    store.fill(pair.bright for pair in validation_set)
    for pair in (*to_train, *validation_set):
        if pair.dark in store and pair.bright in store:
            load(pair)
    return TrainingPictures(
        pairs=LazySequence(to_train, load),
        photos=LazySequence(files, store),
        references=LazySequence(references, store),
        validation=LazySequence(validation_set, load),
        validation_photos=LazySequence(validation_files, store),
        unlabelled=LazySequence(dark_files, store),
    )


def load_pairs(pairs: Sequence[Pair]) -> list[LoadedPair]:
    """Decode pairs. A reference that several dark pictures share is decoded once.

    Raises:
        DataError: a picture cannot be read, or the sizes of a pair differ.
    """
    brights = {path: load_rgb(path) for path in {pair.bright for pair in pairs}}
    return [LoadedPair.of(pair, lambda path: brights[path] if path in brights else load_rgb(path)) for pair in pairs]
