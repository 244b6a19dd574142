"""`lowlight bench`, `lowlight soak` and `lowlight demo`: measure and demonstrate the pipeline and the node."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lowlight_enhance.commands.arguments import (
    MODEL_HELP,
    Commands,
    add_model_options,
    add_runtime_option,
    model,
    non_negative,
    positive,
    size,
)
from lowlight_enhance.commands.failures import EXIT_INCOMPLETE

BENCH_OPTIONS = ("sizes", "rounds", "threads", "model", "runtime")


def add_bench(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight bench`."""
    parser = commands.add_parser("bench", help="time every stage of a frame, or the node itself")
    parser.add_argument(
        "--sizes",
        type=size,
        nargs="+",
        metavar="WIDTHxHEIGHT",
        help="frame sizes (default: 640x480 1280x720)",
    )
    parser.add_argument(
        "--rounds", type=positive, help="frames of each size (default: 60); with --node, rounds of each (default: 6)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to this file")
    add_model_options(parser, threads="2; with --node the runtime decides")
    add_runtime_option(parser)
    node = parser.add_argument_group("the node", "camera, node and listener, each a process, over Fast DDS")
    node.add_argument("--node", action="store_true", help="measure the node; needs ROS 2")
    node.add_argument("--hz", type=positive, dest="rate_hz", help="frame rate of the camera (default: 30)")
    node.add_argument("--seconds", type=float, help="length of each round (default: 5)")
    parser.set_defaults(run=_run_bench)


def _run_bench(options: argparse.Namespace) -> int:
    from lowlight_enhance.core.errors import ConfigError
    from lowlight_enhance.core.files import write_text
    from lowlight_enhance.tools.benchmark import pipeline_benchmark

    if options.node:
        return _run_node_bench(options)
    if options.rate_hz is not None or options.seconds is not None:
        raise ConfigError("--hz and --seconds need --node")
    settings = pipeline_benchmark.PipelineBenchmarkSettings(**_given_options(options, BENCH_OPTIONS))
    result = pipeline_benchmark.benchmark_pipeline(settings)
    print(result.table())
    if options.json:
        write_text(options.json, f"{result.to_json()}\n")
    return 0


def _run_node_bench(options: argparse.Namespace) -> int:
    from lowlight_enhance.core.files import write_text
    from lowlight_enhance.tools.benchmark import node_benchmark

    settings = node_benchmark.NodeBenchmarkSettings(**_given_options(options, [*BENCH_OPTIONS, "rate_hz", "seconds"]))
    result = node_benchmark.benchmark_node(settings)
    print(result.table())
    if options.json:
        write_text(options.json, f"{result.to_json()}\n")
    return 0


def add_soak(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight soak`."""
    parser = commands.add_parser("soak", help="run the node for minutes or hours and detect leaks; needs ROS 2")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the run (default: %(default)g)")
    parser.add_argument("--model", type=model, help=MODEL_HELP)
    parser.set_defaults(run=_run_soak)


def _run_soak(options: argparse.Namespace) -> int:
    from lowlight_enhance.tools.benchmark.soak import run_soak
    from lowlight_enhance.tools.harness.processes import ProcessError

    try:
        result = run_soak(options.minutes, options.model)
    except ProcessError as error:
        return _report_failures("soak", [str(error)])
    print(result.table())
    return _report_failures("soak", result.failures())


def add_demo(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight demo`."""
    parser = commands.add_parser("demo", help="camera, node and listener as three ROS 2 processes, with scores")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder to write (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=15.0, help="length of the run (default: %(default)g)")
    parser.add_argument("--model", type=model, help=MODEL_HELP)
    parser.add_argument("--working-size", type=non_negative, help="shorter side, in pixels, of the network's input")
    parser.add_argument(
        "--rate",
        type=positive,
        metavar="HZ",
        help="frame rate of the camera (default: the highest that this machine keeps up with)",
    )
    parser.set_defaults(run=_run_demo)


def _run_demo(options: argparse.Namespace) -> int:
    from lowlight_enhance.evaluation.metrics import psnr_db, ssim
    from lowlight_enhance.tools.demo.demo import DemoSettings, run_demo
    from lowlight_enhance.tools.demo.score import Score

    settings = DemoSettings(options.out, options.seconds, options.model, options.working_size, options.rate)
    result = run_demo(settings, lambda image, reference: Score(psnr_db(image, reference), ssim(image, reference)))
    print(result.report())
    return _report_failures("demo", result.failures())


def _given_options(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Return the options that were given; the settings classes define the defaults of the others."""
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _report_failures(command: str, failures: Sequence[str]) -> int:
    """Print each failure of a run; return the exit status."""
    for failure in failures:
        print(f"lowlight: the {command} failed: {failure}", file=sys.stderr)
    return EXIT_INCOMPLETE if failures else 0
