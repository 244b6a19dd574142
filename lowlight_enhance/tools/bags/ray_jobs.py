"""Enhance many bags on many machines, with one Ray task per bag. Ray repeats tasks whose worker is lost.

All machines must reach the bags under the same paths, as on a network file system.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lowlight_enhance.core.errors import ConfigError, DataError, LowlightError
from lowlight_enhance.core.process_info import available_cores
from lowlight_enhance.tools.bags.enhance import ProgressCallback, enhance_bag
from lowlight_enhance.tools.bags.jobs import Job, StoppedError, job_output
from lowlight_enhance.tools.bags.scheduler import JobCallback
from lowlight_enhance.tools.bags.settings import BagReport, BagSettings

RETRIES = 3
"""How often a task is repeated after its worker or machine is lost. User errors are not repeated."""

PROGRESS_PERIOD_S = 0.5
"""Time between progress messages of a task."""

CANCEL_TIMEOUT_S = 10.0
"""Time that cancelled tasks have to end."""

EnhanceBag = Callable[[Path, Path, BagSettings, ProgressCallback], BagReport]


@contextlib.contextmanager
def ray_cluster(address: str, threads: int) -> Iterator[None]:
    """Connect to a Ray cluster inside the block, or use the existing connection of this process.

    Args:
        address: ``local`` starts a cluster on this machine; ``auto`` finds the one that this machine belongs to;
            otherwise ``ray://host:port`` or ``host:port``.
        threads: CPUs of each task. A local cluster has at least as many.

    Raises:
        ConfigError: there is no cluster at this address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # by default Ray sends usage reports
    import ray

    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"address": address, "log_to_driver": False}
    if address == "local":
        options |= {"num_cpus": max(available_cores(), threads), "include_dashboard": False}
    sigterm_handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**options)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"no Ray cluster at {address} ({reason}); start one with 'ray start --head', or use --ray local"
        ) from error
    signal.signal(signal.SIGTERM, sigterm_handler)  # Ray installs its own handler
    try:
        yield
    finally:
        ray.shutdown()


@dataclass(slots=True)
class _Task:
    """A running job: its number, its scratch folder, and the number of frames it has reported."""

    job: Job
    number: int
    folder: Path
    output: contextlib.ExitStack
    reported_frames: int = 0


def run_ray_jobs(
    jobs: Sequence[Job],
    settings: BagSettings,
    on_progress: ProgressCallback,
    on_finished: JobCallback,
    enhance: EnhanceBag = enhance_bag,
) -> None:
    """Enhance all bags on the cluster of ``ray_cluster``. An error in one bag does not stop the others.

    Args:
        jobs: the bags.
        settings: options of all bags. A task uses as many CPUs as inference has threads, by default one.
        on_progress: called with the number of frames that were processed since the last call.
        on_finished: called with the result of each bag.
        enhance: function that a task runs.
    """
    import ray
    from ray.util.queue import Queue

    threads = settings.threads or 1
    model = None if settings.model is None else settings.model.absolute()
    settings = replace(settings, threads=threads, model=model)
    messages: Any = Queue(actor_options={"num_cpus": 0})
    start_task = ray.remote(num_cpus=threads, max_retries=RETRIES)(_enhance)
    running: dict[Any, _Task] = {}
    try:
        for number, job in enumerate(jobs):
            try:
                output = contextlib.ExitStack()
                folder = output.enter_context(job_output(Job(job.source, job.target.absolute())))
            except LowlightError as error:
                on_finished(job, error)
                continue
            task = _Task(job, number, folder, output)
            running[start_task.remote(job.source.absolute(), folder, settings, number, messages, enhance)] = task
        while running:
            ready, _ = ray.wait(list(running), timeout=PROGRESS_PERIOD_S)
            _report_progress(messages, {task.number: task for task in running.values()}, on_progress)
            for reference in ready:
                outcome = _outcome(reference, running[reference])
                task = running.pop(reference)
                if isinstance(outcome, BagReport):
                    on_progress(max(0, _frames(outcome) - task.reported_frames))
                on_finished(task.job, outcome)
    finally:
        _stop(running)
        messages.shutdown(force=True)


def _enhance(
    source: Path, folder: Path, settings: BagSettings, number: int, messages: Any, enhance: EnhanceBag
) -> tuple[Path, BagReport] | LowlightError:
    """Enhance one bag in a task. Each attempt has its own folder: a worker that only seems lost may still write to it.

    Returns:
        The folder of the new bag and its report, or a user error.
    """
    import ray

    frames, last = 0, time.monotonic()

    def report(new_frames: int) -> None:
        nonlocal frames, last
        frames += new_frames
        if time.monotonic() - last >= PROGRESS_PERIOD_S:
            last = time.monotonic()
            with contextlib.suppress(ray.exceptions.RayError):  # progress is optional
                messages.put((number, frames))

    attempt = folder.parent / uuid.uuid4().hex / folder.name
    try:
        attempt.parent.mkdir()
        return attempt, enhance(source, attempt, settings, report)
    except LowlightError as error:
        return error
    except FileNotFoundError:
        return DataError(
            f"{folder.parent.parent} is not on {platform.node()}, or was removed; all machines of the "
            "cluster must reach the bags under the same paths"
        )


def _report_progress(messages: Any, tasks: dict[int, _Task], on_progress: ProgressCallback) -> None:
    """Pass progress on. Frames that a repeated task processes again are not counted twice."""
    import ray

    with contextlib.suppress(ray.exceptions.RayError):
        for number, frames in messages.get_nowait_batch(messages.qsize()):
            task = tasks.get(number)
            if task is not None and frames > task.reported_frames:
                on_progress(frames - task.reported_frames)
                task.reported_frames = frames


def _outcome(reference: Any, task: _Task) -> BagReport | LowlightError:
    """Return the result of a task. Its new bag is moved to the target, or removed after an error."""
    import ray

    try:
        with task.output:
            try:
                result = ray.get(reference)
            except ray.exceptions.RayTaskError:
                raise
            except ray.exceptions.RayError as error:
                raise DataError(
                    f"{task.job.source}: {RETRIES + 1} workers were lost ({type(error).__name__}); if "
                    "memory is short, raise --threads, so that fewer tasks run at once"
                ) from error
            if isinstance(result, LowlightError):
                raise result
            attempt, report = result
            attempt.replace(task.folder)
    except LowlightError as error:
        return error
    assert isinstance(report, BagReport)
    return report


def _frames(report: BagReport) -> int:
    return sum(camera.enhanced + camera.damaged_frames for camera in report.cameras)


def _stop(running: dict[Any, _Task]) -> None:
    """Cancel tasks, wait until they have ended, and remove their output."""
    import ray

    for reference in running:
        with contextlib.suppress(ray.exceptions.RayError):
            ray.cancel(reference, force=True)
    if running:
        ray.wait(list(running), num_returns=len(running), timeout=CANCEL_TIMEOUT_S)
    for task in reversed(running.values()):  # the first job may have created the parent folder of the others
        with contextlib.suppress(StoppedError), task.output:
            raise StoppedError
