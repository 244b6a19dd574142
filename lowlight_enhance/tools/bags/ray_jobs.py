"""Many bags on many machines: one Ray task a bag. Where and when a task runs, and once more after a loss, is Ray's.

The bags lie where every machine finds them under the same path, as on a network file system.
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
from lowlight_enhance.core.process_info import cores
from lowlight_enhance.tools.bags.enhance import ProgressCallback, enhance_bag
from lowlight_enhance.tools.bags.jobs import Job, job_output
from lowlight_enhance.tools.bags.scheduler import JobCallback
from lowlight_enhance.tools.bags.settings import BagReport, BagSettings

RETRIES = 3
"""Times that a task is begun anew where its worker or machine is lost; what a user can mend is no loss."""

TELL_EVERY_S = 0.5
"""Between two words of a task, and two looks at all of them."""

ENDS_WITHIN_S = 10.0
"""Time that tasks get to end when they are cancelled."""

EnhanceBag = Callable[[Path, Path, BagSettings, ProgressCallback], BagReport]


@contextlib.contextmanager
def ray_cluster(address: str, threads: int) -> Iterator[None]:
    """A Ray cluster, or the one that this process is connected to already.

    Args:
        address: ``local`` starts one on this machine; ``auto`` finds the one that this machine belongs to;
            ``ray://host:port`` and ``host:port`` name one.
        threads: CPUs that a task takes, of which a local cluster has enough for one at least.

    Raises:
        ConfigError: no cluster there.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports to its makers unless it is told not to
    import ray

    if ray.is_initialized():
        yield
        return
    how: dict[str, Any] = {"address": address, "log_to_driver": False}
    if address == "local":
        how |= {"num_cpus": max(cores(), threads), "include_dashboard": False}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**how)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"no Ray cluster at {address} ({reason}); start one with 'ray start --head', or use --ray local"
        ) from error
    signal.signal(signal.SIGTERM, on_sigterm)  # which Ray has replaced by its own
    try:
        yield
    finally:
        ray.shutdown()


@dataclass(slots=True)
class _Task:
    """A job on its way: its number, the folder that becomes its target, and the frames it has told of."""

    job: Job
    number: int
    folder: Path
    keeping: contextlib.ExitStack
    told: int = 0


def run_ray_jobs(
    jobs: Sequence[Job],
    settings: BagSettings,
    tell: ProgressCallback,
    done: JobCallback,
    enhance: EnhanceBag = enhance_bag,
) -> None:
    """Enhance all of them on the cluster that is ``ray_cluster``; an error that one meets does not stop the others.

    Args:
        jobs: which bags.
        settings: how; a task takes as many CPUs as an inference has threads, by default one.
        tell: is told of frames.
        done: is told what became of each bag.
        enhance: what a task does.
    """
    import ray
    from ray.util.queue import Queue

    threads = settings.threads or 1
    model = None if settings.model is None else settings.model.absolute()
    settings = replace(settings, threads=threads, model=model)
    words: Any = Queue(actor_options={"num_cpus": 0})
    begin = ray.remote(num_cpus=threads, max_retries=RETRIES)(_enhance)
    running: dict[Any, _Task] = {}
    try:
        for number, job in enumerate(jobs):
            try:
                keeping = contextlib.ExitStack()
                folder = keeping.enter_context(job_output(Job(job.source, job.target.absolute())))
            except LowlightError as error:
                done(job, error)
                continue
            task = _Task(job, number, folder, keeping)
            running[begin.remote(job.source.absolute(), folder, settings, number, words, enhance)] = task
        while running:
            ready, _ = ray.wait(list(running), timeout=TELL_EVERY_S)
            _hear(words, {task.number: task for task in running.values()}, tell)
            for reference in ready:
                outcome = _outcome(reference, running[reference])
                task = running.pop(reference)
                if isinstance(outcome, BagReport):
                    tell(max(0, _frames(outcome) - task.told))
                done(task.job, outcome)
    finally:
        _stop(running)
        words.shutdown(force=True)


def _enhance(
    source: Path, folder: Path, settings: BagSettings, number: int, words: Any, enhance: EnhanceBag
) -> tuple[Path, BagReport] | LowlightError:
    """What a task does, in a folder of its own, lest a worker that only seems lost disturbs its successor.

    Returns:
        The new bag and its report, or what the user can mend.
    """
    import ray

    frames, last = 0, time.monotonic()

    def telling(more: int) -> None:
        nonlocal frames, last
        frames += more
        if time.monotonic() - last >= TELL_EVERY_S:
            last = time.monotonic()
            with contextlib.suppress(ray.exceptions.RayError):  # what is told to nobody must not cost the bag
                words.put((number, frames))

    attempt = folder.parent / uuid.uuid4().hex / folder.name
    try:
        attempt.parent.mkdir()
        return attempt, enhance(source, attempt, settings, telling)
    except LowlightError as error:
        return error
    except FileNotFoundError:
        return DataError(
            f"{folder.parent.parent} is not on {platform.node()}, or was taken away; bags must lie where every "
            "machine of the cluster finds them under the same path"
        )


def _hear(words: Any, tasks: dict[int, _Task], tell: ProgressCallback) -> None:
    """Pass on what the tasks have told; one that begins anew is not counted again."""
    import ray

    with contextlib.suppress(ray.exceptions.RayError):
        for number, frames in words.get_nowait_batch(words.qsize()):
            task = tasks.get(number)
            if task is not None and frames > task.told:
                tell(frames - task.told)
                task.told = frames


def _outcome(reference: Any, task: _Task) -> BagReport | LowlightError:
    """What a task came to; its new bag is kept, or what it wrote is thrown away."""
    import ray

    try:
        with task.keeping:
            try:
                result = ray.get(reference)
            except ray.exceptions.RayTaskError:
                raise
            except ray.exceptions.RayError as error:
                raise DataError(
                    f"{task.job.source}: {RETRIES + 1} workers were lost over it ({type(error).__name__}); where "
                    "memory is short, raise --threads, and fewer run at once"
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
    """Cancel tasks, wait until they have ended, and remove what they have written."""
    import ray

    for reference in running:
        with contextlib.suppress(ray.exceptions.RayError):
            ray.cancel(reference, force=True)
    if running:
        ray.wait(list(running), num_returns=len(running), timeout=ENDS_WITHIN_S)
    for task in reversed(running.values()):  # the first one made the folder that others lie in
        with contextlib.suppress(_StoppedError), task.keeping:
            raise _StoppedError


class _StoppedError(Exception):
    """Leaves the temporary folder without keeping what is in it."""
