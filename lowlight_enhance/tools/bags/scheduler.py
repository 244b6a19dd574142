"""Enhance many bags on this machine: one after the other, or several at once in processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import shutil
import signal
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from lowlight_enhance.core.errors import DataError, LowlightError
from lowlight_enhance.core.process_info import available_cores
from lowlight_enhance.tools.bags.enhance import ProgressCallback, enhance_bag
from lowlight_enhance.tools.bags.jobs import Job, StoppedError, job_output
from lowlight_enhance.tools.bags.settings import BagReport, BagSettings

TERMINATION_TIMEOUT_S = 10.0
"""Time that a worker process has to end after SIGTERM."""

JobCallback = Callable[[Job, "BagReport | LowlightError"], object]
"""Called once for each bag, with its report or its error."""


def run_jobs(
    jobs: Sequence[Job], settings: BagSettings, workers: int, on_progress: ProgressCallback, on_finished: JobCallback
) -> None:
    """Enhance all bags. An error in one bag does not stop the others.

    Args:
        jobs: the bags.
        settings: options of all bags.
        workers: number of processes; with 1, everything runs in this process.
        on_progress: called with the number of frames that were processed since the last call.
        on_finished: called with the result of each bag.
    """
    if workers > 1 and len(jobs) > 1:
        _run_in_processes(jobs, settings, workers, on_progress, on_finished)
        return
    for job in jobs:
        on_finished(job, _run_here(job, settings, on_progress))


def _run_here(job: Job, settings: BagSettings, on_progress: ProgressCallback) -> BagReport | LowlightError:
    try:
        with job_output(job) as folder:
            return enhance_bag(job.source, folder, settings, on_progress)
    except LowlightError as error:
        return error


def _run_in_processes(
    jobs: Sequence[Job], settings: BagSettings, workers: int, on_progress: ProgressCallback, on_finished: JobCallback
) -> None:
    if settings.threads is None:
        # By default every inference uses all cores; several at once would only compete for them.
        settings = replace(settings, threads=max(1, available_cores() // workers))
    waiting, running = deque(jobs), list[_Worker]()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.popleft()
                try:
                    running.append(_Worker(job, settings))
                except LowlightError as error:
                    on_finished(job, error)
            ready = wait([worker.pipe for worker in running])
            for worker in [worker for worker in running if worker.pipe in ready]:
                outcome = worker.receive(on_progress)
                if outcome is not None:
                    running.remove(worker)
                    on_finished(worker.job, outcome)
    finally:
        for worker in reversed(running):  # the first worker may have created the parent folder of the others
            worker.stop()


class _Worker:
    """A process that enhances one bag into a scratch folder. This process moves or removes that folder."""

    def __init__(self, job: Job, settings: BagSettings) -> None:
        self.job = job
        self._output = contextlib.ExitStack()
        folder = self._output.enter_context(job_output(job))
        # Not "fork": a forked process inherits locks that threads of OpenCV or ONNX Runtime hold at that moment.
        context = multiprocessing.get_context("spawn")
        self.pipe, child_pipe = context.Pipe(duplex=False)
        self._process: BaseProcess = context.Process(
            target=_worker_main, args=(job.source, folder, settings, child_pipe)
        )
        self._process.start()
        child_pipe.close()

    def receive(self, on_progress: ProgressCallback) -> BagReport | LowlightError | None:
        """Read one message of the process. Return its result when it has ended, else None."""
        try:
            message = self.pipe.recv()
        except EOFError:
            self._process.join()
            message = DataError(
                f"the process that enhanced {self.job.source} ended with code {self._process.exitcode}; if memory is "
                "short, use fewer --workers"
            )
        if isinstance(message, int):
            on_progress(message)
            return None
        return self._finish(message)

    def _finish(self, outcome: BagReport | LowlightError) -> BagReport | LowlightError:
        """Move the new bag to its target, or remove it after an error."""
        self._process.join()
        self.pipe.close()
        try:
            with self._output:
                if isinstance(outcome, LowlightError):
                    raise outcome
        except LowlightError as error:
            return error
        return outcome

    def stop(self) -> None:
        """Terminate the process and remove its output."""
        self._process.terminate()
        self._process.join(TERMINATION_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        with contextlib.suppress(StoppedError), self._output:
            raise StoppedError


def _worker_main(source: Path, folder: Path, settings: BagSettings, pipe: Connection) -> None:
    """Enhance one bag in a worker process. The pipe carries frame counts, then the report or the error."""
    # The parent also receives the terminal's Ctrl-C, and stops this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        pipe.send(enhance_bag(source, folder, settings, pipe.send))
    except LowlightError as error:
        pipe.send(error)
    except BrokenPipeError:  # the parent was killed
        shutil.rmtree(folder.parent, ignore_errors=True)
