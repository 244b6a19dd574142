"""Many bags: one after the other or several at once, each in a process of its own, each whole or not at all."""

from __future__ import annotations

import contextlib
import multiprocessing
import shutil
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from lowlight_enhance.core.errors import DataError, LowlightError
from lowlight_enhance.core.files import atomic_folder
from lowlight_enhance.core.process_info import cores
from lowlight_enhance.tools.bags.enhance import Tell, enhance_bag
from lowlight_enhance.tools.bags.settings import BagReport, BagSettings

METADATA = "metadata.yaml"
"""What makes a folder a bag."""

ENDS_WITHIN_S = 10.0
"""Time that a process gets to end when it is asked to."""


@dataclass(frozen=True, slots=True)
class Job:
    """One bag to enhance.

    Attributes:
        source: the bag.
        target: the new one.
    """

    source: Path
    target: Path


Done = Callable[[Job, "BagReport | LowlightError"], object]
"""Is told what became of each bag."""


def jobs_of(sources: Sequence[Path], target: Path, force: bool) -> list[Job]:
    """Which bag goes where: one to ``target``, several into the folder ``target``.

    Args:
        sources: the bags, and folders with bags somewhere in them, which are written into folders of the same names.
        target: where to write.
        force: a bag that is there already may be replaced.

    Raises:
        DataError: a target that is in the way, or two of one name.
    """
    names = [pair for source in sources for pair in _bags_at(source, target)]
    is_one = len(names) == 1 and names[0][0] in sources
    if not is_one and not target.is_dir():
        raise DataError(f"several bags need a folder to be written into, and {target} is none; create it")
    if not target.parent.is_dir():
        raise DataError(f"the folder {target.parent} does not exist; create it, or name another target")
    jobs = [Job(bag, target if is_one else target / name) for bag, name in names]
    for job in jobs:
        if any(other.target == job.target and other is not job for other in jobs):
            raise DataError(f"two bags would be written as {job.target}; enhance them in two runs")
        if job.target.resolve() == job.source.resolve() or job.source.resolve() in job.target.resolve().parents:
            raise DataError(f"{job.target} lies in the bag that is read; name another folder")
        _check_free(job.target, force)
    return jobs


def _bags_at(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """The bag, or every bag somewhere in a folder that is none itself; and its place below the folder to write.

    What lies in ``target`` or in a hidden folder is left alone.
    """
    own = [(source, Path(source.resolve().name if source.is_dir() else source.stem))]
    if not source.is_dir() or (source / METADATA).exists():
        return own
    found = [(path.parent, path.parent.relative_to(source)) for path in sorted(source.rglob(METADATA))]
    hidden = [any(part.startswith(".") for part in name.parts) for _, name in found]
    outside = [target.resolve() not in bag.resolve().parents for bag, _ in found]
    return [pair for pair, hides, is_out in zip(found, hidden, outside, strict=True) if is_out and not hides] or own


def _check_free(target: Path, force: bool) -> None:
    if not target.exists() and not target.is_symlink():
        return
    if not force:
        raise DataError(f"{target} exists; name another target, or replace it with --force")
    if target.is_symlink() or not target.is_dir() or (any(target.iterdir()) and not (target / METADATA).exists()):
        raise DataError(f"{target} is no bag, so --force does not replace it; name another target")


@contextlib.contextmanager
def writing(job: Job) -> Iterator[Path]:
    """``atomic_folder`` of the job's target, with the folders around it, which go again where they stay empty."""
    missing = [folder for folder in job.target.parents if not folder.exists()]
    job.target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic_folder(job.target) as folder:
            yield folder
    except BaseException:
        with contextlib.suppress(OSError):
            for empty in missing:
                empty.rmdir()
        raise


def run(jobs: Sequence[Job], settings: BagSettings, workers: int, tell: Tell, done: Done) -> None:
    """Enhance all of them; an error that one of them meets does not stop the others.

    Args:
        jobs: which bags.
        settings: how.
        workers: processes at once; 1: in this process.
        tell: is told of every frame.
        done: is told what became of each bag.
    """
    if workers > 1 and len(jobs) > 1:
        _run_apart(jobs, settings, workers, tell, done)
        return
    for job in jobs:
        done(job, _run_here(job, settings, tell))


def _run_here(job: Job, settings: BagSettings, tell: Tell) -> BagReport | LowlightError:
    try:
        with writing(job) as folder:
            return enhance_bag(job.source, folder, settings, tell)
    except LowlightError as error:
        return error


def _run_apart(jobs: Sequence[Job], settings: BagSettings, workers: int, tell: Tell, done: Done) -> None:
    if settings.threads is None:
        settings = replace(settings, threads=max(1, cores() // workers))
    waiting, running = deque(jobs), list[_Worker]()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                running.append(_Worker(waiting.popleft(), settings))
            ready = wait([worker.pipe for worker in running])
            for worker in [worker for worker in running if worker.pipe in ready]:
                outcome = worker.hear(tell)
                if outcome is not None:
                    running.remove(worker)
                    done(worker.job, outcome)
    finally:
        for worker in reversed(running):  # the first one made the folder that others lie in
            worker.stop()


class _Worker:
    """A process that enhances one bag, into a temporary folder that this process looks after."""

    def __init__(self, job: Job, settings: BagSettings) -> None:
        self.job = job
        self._folder = contextlib.ExitStack()
        folder = self._folder.enter_context(writing(job))
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe(duplex=False)
        self._process: BaseProcess = context.Process(target=_work, args=(job.source, folder, settings, theirs))
        self._process.start()
        theirs.close()

    def hear(self, tell: Tell) -> BagReport | LowlightError | None:
        """Pass on what it says; its result once it has one."""
        try:
            said = self.pipe.recv()
        except EOFError:
            self._process.join()
            said = DataError(
                f"the process that enhanced {self.job.source} ended with code {self._process.exitcode}; where memory "
                "is short, use fewer --workers"
            )
        if isinstance(said, int):
            tell(said)
            return None
        return self._end(said)

    def _end(self, outcome: BagReport | LowlightError) -> BagReport | LowlightError:
        """Keep the new bag, or throw it away after an error."""
        self._process.join()
        self.pipe.close()
        try:
            with self._folder:
                if isinstance(outcome, LowlightError):
                    raise outcome
        except LowlightError as error:
            return error
        return outcome

    def stop(self) -> None:
        """End it, and remove what it has written."""
        self._process.terminate()
        self._process.join(ENDS_WITHIN_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        with contextlib.suppress(_StoppedError), self._folder:
            raise _StoppedError


class _StoppedError(Exception):
    """Leaves the temporary folder without keeping what is in it."""


def _work(source: Path, folder: Path, settings: BagSettings, pipe: Connection) -> None:
    """What the process does: frames as they are done, then the report or the error, go through the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal's Ctrl-C the parent hears too, and ends this
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        pipe.send(enhance_bag(source, folder, settings, pipe.send))
    except LowlightError as error:
        pipe.send(error)
    except BrokenPipeError:  # the parent is gone
        shutil.rmtree(folder.parent, ignore_errors=True)
