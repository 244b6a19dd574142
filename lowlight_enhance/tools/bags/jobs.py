"""Assign a target to every bag, and check all targets before any work starts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowlight_enhance.core.errors import DataError, system_error_remedy
from lowlight_enhance.core.files import atomic_folder, make_folder, translate_os_errors
from lowlight_enhance.core.paths import check_sources_not_overwritten

METADATA_FILE = "metadata.yaml"
"""A folder with this file is a bag."""


@dataclass(frozen=True, slots=True)
class Job:
    """One bag to enhance.

    Attributes:
        source: the recorded bag, a folder or a file.
        target: folder of the new bag.
    """

    source: Path
    target: Path


def plan_jobs(sources: Sequence[Path], target: Path, force: bool, other_inputs: Sequence[Path] = ()) -> list[Job]:
    """Assign a target to every bag: one bag becomes ``target``, several go into the folder ``target``.

    Args:
        sources: bags, and folders that contain bags at any depth. Of such a folder, each bag keeps its relative path.
        target: folder to write.
        force: whether an existing bag may be replaced.
        other_inputs: other files that are read and must not be replaced, such as the model.

    Raises:
        DataError: a target exists, two jobs have the same target, or a target would replace or change a source.
    """
    names = [pair for source in sources for pair in _find_bags(source, target)]
    with translate_os_errors(target):
        is_single = len(names) == 1 and names[0][0] in sources
        if not is_single and not target.is_dir():
            raise DataError(f"several bags are written into a folder, and {target} is not one; create it")
        if not target.parent.is_dir():
            raise DataError(f"the folder {target.parent} does not exist; create it, or choose another target")
        jobs = [Job(bag, target if is_single else target / name) for bag, name in names]
        _check_targets_differ(jobs)
        _check_targets_outside_sources(jobs)
        check_sources_not_overwritten(_read_paths(jobs, other_inputs), [job.target for job in jobs])
        for job in jobs:
            _check_replaceable(job.target, force)
    return jobs


class StoppedError(Exception):
    """Raised inside ``job_output`` to remove the scratch folder of a job that is stopped."""


@contextlib.contextmanager
def job_output(job: Job) -> Iterator[Path]:
    """Yield the scratch folder of ``atomic_folder`` for the job's target.

    Missing parent folders are created, and removed again after an error.

    Raises:
        DataError: the target cannot be written.
    """
    missing = [folder for folder in job.target.parents if not folder.exists()]
    make_folder(job.target.parent)
    try:
        with atomic_folder(job.target) as folder:
            yield folder
    except BaseException:
        with contextlib.suppress(OSError):
            for empty in missing:
                empty.rmdir()
        raise


def _find_bags(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Return the bag, or all bags in a folder that is not one itself, each with its relative path below the target.

    Bags below ``target`` and in hidden folders are skipped.

    Raises:
        DataError: the source cannot be read.
    """
    try:
        return _bags_below(source, target)
    except OSError as error:
        raise DataError(f"cannot read {source}: {system_error_remedy(error)}") from error


def _bags_below(source: Path, target: Path) -> list[tuple[Path, Path]]:
    single = [(source, Path(source.resolve().name if source.is_dir() else source.stem))]
    if not source.is_dir() or (source / METADATA_FILE).exists():
        return single
    found = [(path.parent, path.parent.relative_to(source)) for path in sorted(source.rglob(METADATA_FILE))]
    resolved = target.resolve()
    return [
        (bag, name)
        for bag, name in found
        if resolved not in bag.resolve().parents and not any(part.startswith(".") for part in name.parts)
    ] or single


def _check_targets_differ(jobs: Sequence[Job]) -> None:
    seen: set[Path] = set()
    for job in jobs:
        resolved = job.target.resolve()
        if resolved in seen:
            raise DataError(f"two bags would be written as {job.target}; enhance them in two runs")
        seen.add(resolved)


def _check_targets_outside_sources(jobs: Sequence[Job]) -> None:
    """Files of a new bag inside a recorded one would change the recording."""
    folders = {job.source.resolve(): job.source for job in jobs}
    for job in jobs:
        for parent in job.target.resolve().parents:
            if parent in folders:
                raise DataError(f"{job.target} lies in the recorded bag {folders[parent]}; choose another target")


def _read_paths(jobs: Sequence[Job], other_inputs: Sequence[Path]) -> list[Path]:
    """Return all paths that the jobs read.

    Links count twice: the file that a link points to must survive, and so must the link itself, which is in its
    parent folder. The files of a bag are listed because they may be links to files elsewhere.
    """
    paths = [*other_inputs]
    for source in (job.source for job in jobs):
        paths.append(source)
        paths += sorted(source.iterdir()) if source.is_dir() else ()
    return [*paths, *(path.parent for path in paths if path.is_symlink())]


def _check_replaceable(target: Path, force: bool) -> None:
    if not target.exists() and not target.is_symlink():
        return
    if not force:
        raise DataError(f"{target} exists; choose another target, or replace it with --force")
    is_other_folder = target.is_dir() and any(target.iterdir()) and not (target / METADATA_FILE).exists()
    if target.is_symlink() or not target.is_dir() or is_other_folder:
        raise DataError(f"{target} is not a bag, so --force does not replace it; choose another target")
