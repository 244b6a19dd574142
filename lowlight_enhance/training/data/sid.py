"""The See-in-the-Dark data set (C. Chen et al., "Learning to See in the Dark", CVPR 2018) as pairs of PNG files.

Its lists name, line by line, a short exposure and the long one of the same scene, with ISO and f-number; the file
names carry the exposure times; several shorts share a long. Each raw file is developed once (see ``raw``), and an
index for each camera lists the pairs that are whole. A later run makes only what is missing.
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
"""EXIF and list differ where one is more than this share above the other: file names round 1/30 s to 0.033 s."""

LINE = re.compile(
    r"(?:\./)?(?P<dark>\w+/\w+/(?P<scene>[^\W_]+)_\d+_(?P<dark_s>\d+(?:\.\d+)?)s\.\w+)\s+"
    r"(?:\./)?(?P<bright>\w+/\w+/[^\W_]+_\d+_(?P<bright_s>\d+(?:\.\d+)?)s\.\w+)\s+"
    r"ISO(?P<iso>\d+)\s+F\d+(?:\.\d+)?"
)


@dataclass(frozen=True, slots=True)
class ListedPair:
    """One line of a list; files are relative to the data set's folder."""

    dark: str
    bright: str
    dark_capture: CaptureMetadata
    bright_capture: CaptureMetadata
    scene: str
    split: str

    @property
    def listed(self) -> tuple[tuple[str, CaptureMetadata], ...]:
        """Both files, each with what the list says of it."""
        return (self.dark, self.dark_capture), (self.bright, self.bright_capture)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run left.

    Attributes:
        pairs: number of pairs in each index that was written.
        developed: raw files that this run developed.
        kept: raw files whose PNG was there already.
        broken: why a raw file was left out, by its path.
    """

    pairs: Mapping[Path, int]
    developed: int
    kept: int
    broken: Mapping[str, str]


def prepare(folder: Path, out: Path, cameras: Sequence[str], bits: Bits = 8, jobs: int | None = None) -> Prepared:
    """Develop the data set below ``folder`` into PNG files and indices (``sony.csv``, ``fuji.csv``) below ``out``.

    One run at a time may work on ``out``.

    Args:
        folder: holds ``Sony/short/*.ARW``, ``Sony/long/*.ARW`` and so on; the lists stand there or in ``Sony/``.
        out: created where it is missing; files keep their place and name, with the suffix ``.png``.
        cameras: of ``CAMERAS``.
        bits: depth of the PNG files; one of another depth that is there already is made anew.
        jobs: processes at once, each of which takes about half a gigabyte; None for one a core.

    Raises:
        DataError: no lists, no raw files of a camera, a list that cannot be read, or a folder that cannot be written.
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
    """Those of ``CAMERAS`` whose photographs are in ``folder``.

    Raises:
        DataError: none.
    """
    found = tuple(camera for camera in CAMERAS if (folder / camera.capitalize()).is_dir())
    if not found:
        names = " nor ".join(camera.capitalize() for camera in CAMERAS)
        raise DataError(f"{folder} has neither a folder {names}; unpack the data set there")
    return found


def read_lists(folder: Path, camera: str) -> list[ListedPair]:
    """Every pair of ``camera``'s lists of training, validation and test.

    Raises:
        DataError: no list at all, or a line that is none of theirs.
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
            "copy the data set's lists there, or name another --camera"
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
    """Create ``folders``, and remove what killed runs left in them."""
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
    """Each source with what its camera noted, or with the reason why it cannot be developed, as they are finished."""
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
            "cannot bear that file (remove it); run again to go on from here"
        ) from error
    finally:
        with _interrupts_ignored():
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """A second Ctrl-C, while the files in work are finished (some seconds), would leave the pool waiting for ever."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _prepare_process() -> None:
    """Ctrl-C is the parent's to handle, its end ends this process too, and LibRaw takes one core."""
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
    """A sentence for each file whose EXIF contradicts the list."""
    entries = dict.fromkeys(entry for pairs in listed.values() for pair in pairs for entry in pair.listed)
    for file, said in entries:
        noted = captures.get(file, CaptureMetadata())
        for what, of_list, of_exif in (
            ("ISO", said.iso, noted.iso),
            ("exposure time in seconds", said.exposure_s, noted.exposure_s),
        ):
            if of_list and of_exif and max(of_list, of_exif) > (1.0 + TOLERANCE) * min(of_list, of_exif):
                yield f"{file}: {what} is {of_exif:g} in EXIF and {of_list:g} in the list; EXIF is believed"


def _write_index(index: Path, pairs: Sequence[ListedPair], captures: Mapping[str, CaptureMetadata]) -> int:
    """Write the pairs whose both files were developed; returns their number."""
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
