"""Commands for recordings: `lowlight bag` and `lowlight replay`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lowlight_enhance.commands.arguments import (
    METADATA_PARAMETERS,
    PIPELINE_PARAMETERS,
    Commands,
    add_network_options,
    add_node_parameters,
    network_settings,
    pipeline_config,
    positive,
    seconds,
)
from lowlight_enhance.commands.failures import EXIT_INCOMPLETE, EXIT_USER_ERROR
from lowlight_enhance.core.errors import ConfigError, LowlightError

if TYPE_CHECKING:
    from lowlight_enhance.tools.bags.jobs import Job
    from lowlight_enhance.tools.bags.settings import BagReport, BagSettings


def add_bag(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add `lowlight bag`."""
    parser = commands.add_parser("bag", help="enhance the cameras of recorded bags")
    parser.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="IN",
        help="rosbag2 folder, .mcap or .db3 file, or a folder that contains rosbag2 folders at any depth",
    )
    parser.add_argument(
        "target",
        type=Path,
        metavar="OUT",
        help="new bag; for several bags, an existing folder in which they are created",
    )
    parser.add_argument("--force", action="store_true", help="replace existing bags")
    parser.add_argument(
        "--workers",
        type=positive,
        default=1,
        metavar="N",
        help="number of bags processed at once (default: %(default)s)",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="one Ray task per bag: 'local', 'auto' (the cluster of this machine) or ray://host:port; extra: ray",
    )
    _add_topic_options(parser)
    add_network_options(parser)
    _add_file_options(parser)
    add_node_parameters(parser, PIPELINE_PARAMETERS | METADATA_PARAMETERS)
    parser.set_defaults(run=_run_bag)


def _add_topic_options(parser: argparse.ArgumentParser) -> None:
    topics = parser.add_argument_group("topics")
    topics.add_argument(
        "--topic",
        action="append",
        default=[],
        dest="images",
        help="image topic to enhance; repeatable (default: every camera)",
    )
    topics.add_argument(
        "--replace", action="store_true", help="write enhanced images to the topic of the input images"
    )
    topics.add_argument(
        "--exclude", action="append", default=[], metavar="TOPIC", help="topic that is not copied; repeatable"
    )
    topics.add_argument(
        "--camera-info",
        action="append",
        default=[],
        metavar="[IMAGE=]TOPIC",
        help="calibration topic; repeatable; 'none' for none (default: camera_info in the namespace of the image)",
    )
    topics.add_argument(
        "--metadata",
        action="append",
        default=[],
        metavar="[IMAGE=]TOPIC",
        help="topic of capture metadata; repeatable; 'none' for none (default: found by type and namespace)",
    )
    topics.add_argument("--metadata-type", default="", metavar="TYPE", help="message type of capture metadata")
    topics.add_argument("--iso", type=float, help="ISO of frames without metadata")
    topics.add_argument(
        "--exposure",
        type=seconds,
        metavar="SECONDS",
        dest="exposure_s",
        help="exposure time of frames without metadata",
    )


def _add_file_options(parser: argparse.ArgumentParser) -> None:
    files = parser.add_argument_group("files")
    files.add_argument(
        "--format",
        choices=("same", "raw", "jpeg", "png"),
        default="same",
        help="format of enhanced images (default: as the input images)",
    )
    files.add_argument("--jpeg-quality", type=positive, metavar="1..100", help="quality of JPEG images")
    files.add_argument(
        "--storage",
        choices=("same", "sqlite3", "mcap"),
        default="same",
        help="file format of the new bag (default: as IN)",
    )
    files.add_argument(
        "--compression",
        choices=("same", "none", "file", "message", "storage"),
        default="same",
        help="what is compressed with zstd; 'storage': the chunks of mcap (default: as IN)",
    )


def add_replay(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight replay`."""
    parser = commands.add_parser("replay", help="publish a recorded bag into a ROS 2 graph, without ros2 bag")
    parser.add_argument("bag", type=Path, metavar="BAG", help="rosbag2 folder, or .mcap or .db3 file")
    parser.add_argument("--topics", nargs="+", default=[], metavar="TOPIC", help="play only these topics")
    parser.add_argument("--rate", type=float, default=1.0, help="speed (default: %(default)g)")
    parser.add_argument("--loop", action="store_true", help="repeat until interrupted")
    parser.add_argument(
        "--clock",
        type=float,
        nargs="?",
        const=100.0,
        default=0.0,
        metavar="HZ",
        help="publish the bag's time on /clock, for nodes with use_sim_time (default: off; without HZ: %(const)g)",
    )
    parser.add_argument("--now", action="store_true", help="set the stamps of messages to the current time")
    parser.add_argument(
        "--start-offset", type=float, default=0.0, metavar="SECONDS", help="skip the first seconds of the bag"
    )
    parser.add_argument(
        "--delay", type=float, default=0.0, metavar="SECONDS", help="pause before playing (default: %(default)g)"
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="longest wait for a first subscriber, after the pause; 0: do not wait (default: %(default)g)",
    )
    # Ctrl-C is the usual way to end a replay: as after ros2 bag play, launch must not report a failure.
    parser.set_defaults(run=_run_replay, interrupted_status=0)


def _run_replay(options: argparse.Namespace) -> int:
    from lowlight_enhance.tools.replay import player

    settings = player.ReplaySettings(
        rate=options.rate,
        loop=options.loop,
        clock_hz=options.clock,
        topics=tuple(dict.fromkeys(options.topics)),
        start_offset_s=options.start_offset,
        delay_s=options.delay,
        wait_s=options.wait,
        restamp=options.now,
    )
    player.replay_bag(options.bag, settings)
    return 0


def _settings(options: argparse.Namespace) -> BagSettings:
    from lowlight_enhance.tools.bags.settings import BagSettings
    from lowlight_enhance.tools.bags.topics import TopicOptions

    jpeg_quality = {} if options.jpeg_quality is None else {"jpeg_quality": options.jpeg_quality}
    return BagSettings(
        topics=TopicOptions(
            images=tuple(dict.fromkeys(options.images)),
            camera_info=tuple(options.camera_info),
            metadata=tuple(options.metadata),
            metadata_type=options.metadata_type,
            exclude=tuple(options.exclude),
            replace=options.replace,
            format=options.format,
        ),
        stream=pipeline_config(options, options.iso, options.exposure_s),
        storage=options.storage,
        compression=options.compression,
        **network_settings(options),
        **jpeg_quality,
    )


def _run_bag(options: argparse.Namespace) -> int:
    from lowlight_enhance.tools.bags import jobs as bag_jobs
    from lowlight_enhance.tools.bags import ray_jobs, scheduler

    from tqdm import tqdm  # isort: skip (if several extras are missing, the error names that of the bag reader)

    if options.ray is not None and options.workers > 1:
        raise ConfigError("--workers is for processes of this machine; leave it out with --ray")
    settings = _settings(options)
    failed: list[Job] = []
    damaged = 0
    jobs, frames = _inspect_bags(
        bag_jobs.plan_jobs(options.sources, options.target, options.force, _model_files(settings)), settings, failed
    )

    def on_finished(job: Job, outcome: BagReport | LowlightError) -> None:
        nonlocal damaged
        if isinstance(outcome, LowlightError):
            failed.append(job)
            tqdm.write(f"lowlight: {outcome}", file=sys.stderr)
            return
        damaged += outcome.damaged_frames
        for warning in outcome.warnings:
            tqdm.write(f"{job.source}: {warning}", file=sys.stderr)
        tqdm.write(f"{job.target}: {outcome}", file=sys.stdout)

    with contextlib.ExitStack() as stack:
        if options.ray is not None:
            stack.enter_context(ray_jobs.ray_cluster(options.ray, settings.threads or 1))
        progress = stack.enter_context(tqdm(total=frames, unit="frame", disable=None))
        if options.ray is not None:
            ray_jobs.run_ray_jobs(jobs, settings, progress.update, on_finished)
        else:
            scheduler.run_jobs(jobs, settings, options.workers, progress.update, on_finished)
    if failed:
        return EXIT_USER_ERROR
    return EXIT_INCOMPLETE if damaged else 0


def _model_files(settings: BagSettings) -> tuple[Path, ...]:
    """Return the files that the command reads besides the bags."""
    return () if settings.model is None else (Path(settings.model),)


def _inspect_bags(jobs: list[Job], settings: BagSettings, failed: list[Job]) -> tuple[list[Job], int]:
    """Print the cameras of each bag. Return the usable jobs and the number of their frames.

    Jobs whose bag cannot be read are appended to ``failed``.
    """
    from lowlight_enhance.tools.bags.enhance import inspect_bag

    frames, usable = 0, []
    for job in jobs:
        try:
            selection = inspect_bag(job.source, settings)
        except LowlightError as error:
            failed.append(job)
            print(f"lowlight: {error}", file=sys.stderr)
            continue
        usable.append(job)
        frames += sum(camera.frames for camera in selection.cameras)
        for camera in selection.cameras:
            print(f"{job.source}: {camera}")
        for topic, reason in selection.skipped.items():
            print(f"{job.source}: {topic} is not enhanced ({reason}); choose it with --topic {topic}")
    return usable, frames
