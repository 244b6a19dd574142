"""Pairs of PNG files from the raw files of See-in-the-Dark.

The data set is that of C. Chen et al., "Learning to See in the Dark", CVPR 2018.

Each line of its lists names a short exposure and the long exposure of the same scene, with ISO and f-number. The file
names contain the exposure times. Several short exposures share a long one. Each raw file is developed once (see
``raw``), and a manifest for each camera lists the complete pairs. A later run develops only what is missing.
"""

from __future__ import annotations

import contextlib
import csv
import logging
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from lowlight_enhance.core.errors import DataError, ImageError
from lowlight_enhance.core.files import atomic_file, make_folder
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.core.scratch import remove_leftovers

if TYPE_CHECKING:
    from lowlight_enhance.tools.camera_raw import Bits

logger = logging.getLogger(__name__)

CAMERAS = ("sony", "fuji")
SPLITS = ("train", "val", "test")
COLUMNS = ("dark", "bright", "iso", "exposure_s", "scene", "split")

TOLERANCE = 0.05
"""Relative difference between EXIF and list that is tolerated: file names round 1/30 s to 0.033 s."""

LINE = re.compile(
    r"(?:\./)?(?P<dark>\w+/\w+/(?P<scene>[^\W_]+)_\d+_(?P<dark_s>\d+(?:\.\d+)?)s\.\w+)\s+"
    r"(?:\./)?(?P<bright>\w+/\w+/[^\W_]+_\d+_(?P<bright_s>\d+(?:\.\d+)?)s\.\w+)\s+"
    r"ISO(?P<iso>\d+)\s+F\d+(?:\.\d+)?"
)


@dataclass(frozen=True, slots=True)
class ListedPair:
    """A line of a list. Files are relative to the folder of the data set."""

    dark: str
    bright: str
    dark_capture: CaptureMetadata
    bright_capture: CaptureMetadata
    scene: str
    split: str

    @property
    def listed(self) -> tuple[tuple[str, CaptureMetadata], ...]:
        """Return both files with their captures in the list."""
        return (self.dark, self.dark_capture), (self.bright, self.bright_capture)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Result of a run.

    Attributes:
        pairs: number of pairs in each written manifest.
        developed: number of raw files that this run developed.
        kept: number of raw files whose PNG file existed before.
        broken: reason why a raw file was skipped, by path.
    """

    pairs: Mapping[Path, int]
    developed: int
    kept: int
    broken: Mapping[str, str]


def prepare(folder: Path, out: Path, cameras: Sequence[str], bits: Bits = 8, jobs: int | None = None) -> Prepared:
    """Develop a data set into PNG files and manifests (``sony.csv``, ``fuji.csv``).

    Only one run at a time may use ``out``.

    Args:
        folder: folder with ``Sony/short/*.ARW``, ``Sony/long/*.ARW`` and so on; the lists are there or in ``Sony/``.
        out: folder to write, created if it is missing. Files keep their relative path, with the suffix ``.png``.
        cameras: names from ``CAMERAS``.
        bits: depth of the PNG files. Existing files of another depth are replaced.
        jobs: number of processes, each of which takes about half a gigabyte; None: one per core.

    Raises:
        DataError: lists or raw files of a camera are missing, a list is invalid, or a folder cannot be written.
    """
    listed = {camera: read_lists(folder, camera) for camera in cameras}
    for camera in cameras:
        if not (folder / camera.capitalize()).is_dir():
            raise DataError(
                f"{folder} has no folder {camera.capitalize()}; unpack the data set there, or name another --camera"
            )
    sources = list(dict.fromkeys(file for pairs in listed.values() for pair in pairs for file, _ in pair.listed))
    _make_folders({(out / source).parent for source in sources})
    captures = dict(_developed_before(sources, out, bits))
    kept = len(captures)
    broken: dict[str, str] = {}
    with logging_redirect_tqdm():
        missing = [source for source in sources if source not in captures]
        for source, result in _develop_all(missing, folder, out, bits, jobs or os.cpu_count() or 1):
            if isinstance(result, CaptureMetadata):
                captures[source] = result
            else:
                broken[source] = result
                logger.warning("%s is left out: %s", source, result)
        for difference in _differences(listed, captures):
            logger.warning("%s", difference)
    indices = {camera: out / f"{camera}.csv" for camera in cameras}
    counts = {index: _write_index(index, listed[camera], captures) for camera, index in indices.items()}
    return Prepared(counts, len(captures) - kept, kept, broken)


def cameras_in(folder: Path) -> tuple[str, ...]:
    """Return the cameras whose photographs are in ``folder``.

    Raises:
        DataError: there are none.
    """
    found = tuple(camera for camera in CAMERAS if (folder / camera.capitalize()).is_dir())
    if not found:
        names = " nor ".join(camera.capitalize() for camera in CAMERAS)
        raise DataError(f"{folder} has neither a folder {names}; unpack the data set there")
    return found


def read_lists(folder: Path, camera: str) -> list[ListedPair]:
    """Return the pairs in the training, validation and test lists of a camera.

    Raises:
        DataError: there is no list, or a line is invalid.
    """
    name = camera.capitalize()
    lists = {
        split: path
        for split in SPLITS
        for path in (folder / name / f"{name}_{split}_list.txt", folder / f"{name}_{split}_list.txt")
        if path.is_file()
    }
    if not lists:
        raise DataError(
            f"no {name}_train_list.txt, {name}_val_list.txt or {name}_test_list.txt in {folder}; "
            "copy the lists of the data set there, or name another --camera"
        )
    return [pair for split, path in lists.items() for pair in _read_list(path, camera, split)]


def _read_list(path: Path, camera: str, split: str) -> Iterator[ListedPair]:
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        found = LINE.fullmatch(line.strip())
        if found is None:
            raise DataError(
                f"{path}, line {number}: expected './Sony/short/ID_NN_0.1s.ARW ./Sony/long/ID_NN_10s.ARW ISO200 F8', "
                f"found '{line.strip()}'; correct it or copy the list again"
            )
        iso = float(found["iso"])
        yield ListedPair(
            dark=found["dark"],
            bright=found["bright"],
            dark_capture=CaptureMetadata.sanitized(iso, float(found["dark_s"])),
            bright_capture=CaptureMetadata.sanitized(iso, float(found["bright_s"])),
            scene=f"{camera}_{found['scene']}",
            split=split,
        )


def _png(out: Path, source: str) -> Path:
    return (out / source).with_suffix(".png")


def _make_folders(folders: set[Path]) -> None:
    """Create folders, and remove temporary files of killed runs from them."""
    for folder in folders:
        make_folder(folder)
        remove_leftovers(folder)


def _developed_before(sources: Sequence[str], out: Path, bits: Bits) -> Iterator[tuple[str, CaptureMetadata]]:
    from lowlight_enhance.training.data.raw import developed_capture

    for source in sources:
        capture = developed_capture(_png(out, source), bits)
        if capture is not None:
            yield source, capture


def _develop_all(
    sources: Sequence[str], folder: Path, out: Path, bits: Bits, jobs: int
) -> Iterator[tuple[str, CaptureMetadata | str]]:
    """Yield each source, as it is finished, with its capture or with the reason why it cannot be developed."""
    if not sources:
        return
    unfinished = dict.fromkeys(sources)
    pool = ProcessPoolExecutor(
        min(jobs, len(sources)), multiprocessing.get_context("spawn"), initializer=_prepare_process
    )
    try:
        tasks = {pool.submit(_develop, folder / source, _png(out, source), bits): source for source in sources}
        for task in tqdm(as_completed(tasks), "developing", len(tasks), unit="raw", disable=None):
            source = tasks[task]
            result = task.result()
            del unfinished[source]
            yield source, result
    except BrokenProcessPool as error:
        suspects = ", ".join(list(unfinished)[:jobs])
        raise DataError(
            f"a process died while it developed one of {suspects}: memory ran out (give fewer --jobs), or LibRaw "
            "crashes on that file (remove it); run again to continue"
        ) from error
    finally:
        with _interrupts_ignored():
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore SIGINT in the block: a second Ctrl-C while the pool finishes its last files would block it for ever."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _prepare_process() -> None:
    """Leave Ctrl-C to the parent process, end with it, and let LibRaw use one core."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _develop(source: Path, target: Path, bits: Bits) -> CaptureMetadata | str:
    from lowlight_enhance.training.data.raw import develop_file  # loads OpenMP, which reads OMP_NUM_THREADS just once

    try:
        return develop_file(source, target, bits)
    except ImageError as error:
        return str(error)


def _differences(listed: Mapping[str, Sequence[ListedPair]], captures: Mapping[str, CaptureMetadata]) -> Iterator[str]:
    """Yield a message for each file whose EXIF contradicts the list."""
    entries = dict.fromkeys(entry for pairs in listed.values() for pair in pairs for entry in pair.listed)
    for file, said in entries:
        noted = captures.get(file, CaptureMetadata())
        for what, of_list, of_exif in (
            ("ISO", said.iso, noted.iso),
            ("exposure time in seconds", said.exposure_s, noted.exposure_s),
        ):
            if of_list and of_exif and max(of_list, of_exif) > (1.0 + TOLERANCE) * min(of_list, of_exif):
                yield f"{file}: {what} is {of_exif:g} in EXIF and {of_list:g} in the list; EXIF is used"


def _write_index(index: Path, pairs: Sequence[ListedPair], captures: Mapping[str, CaptureMetadata]) -> int:
    """Write the pairs of which both files were developed, and return their number."""
    whole = [pair for pair in pairs if pair.dark in captures and pair.bright in captures]
    with atomic_file(index) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for pair in whole:
            noted = captures[pair.dark]
            iso = noted.iso or pair.dark_capture.iso
            exposure_s = noted.exposure_s or pair.dark_capture.exposure_s
            names = [Path(name).with_suffix(".png").as_posix() for name in (pair.dark, pair.bright)]
            writer.writerow([*names, f"{iso:g}", f"{exposure_s:g}", pair.scene, pair.split])
    return len(whole)
