"""The commands that time or show a frame's way and the node: `lowlight bench`, `soak` and `demo`."""

from __future__ import annotations

import argparse
from pathlib import Path

from lowlight_enhance.commands.arguments import (
    MODEL_HELP,
    Commands,
    add_model_options,
    add_runtime_option,
    model,
    natural,
    positive,
    size,
)


def add_bench(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight bench`."""
    parser = commands.add_parser("bench", help="time every stage of a frame's way, or the node itself")
    parser.add_argument(
        "--sizes",
        type=size,
        nargs="+",
        default=[(640, 480), (1280, 720)],
        metavar="WIDTHxHEIGHT",
        help="frame sizes (default: 640x480 1280x720)",
    )
    parser.add_argument(
        "--rounds", type=positive, help="frames of each size (default: 60); with --node, turns of each (default: 6)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    add_model_options(parser, threads="2; with --node the runtime decides")
    add_runtime_option(parser)
    node = parser.add_argument_group("the node", "camera, node and listener as processes, in turn with bare inference")
    node.add_argument("--node", action="store_true", help="measure the node; needs ROS 2")
    node.add_argument("--hz", type=positive, help="frames a second of the camera (default: 30)")
    node.add_argument("--seconds", type=float, help="of the camera in each turn (default: 5)")
    parser.set_defaults(run=_run_bench)


def _run_bench(options: argparse.Namespace) -> int:
    from lowlight_enhance.core.errors import ConfigError
    from lowlight_enhance.tools.benchmark import pipeline_benchmark as bench

    if options.node:
        return _run_node_bench(options)
    if options.hz is not None or options.seconds is not None:
        raise ConfigError("--hz and --seconds are for --node")
    rounds, threads = options.rounds or bench.DEFAULT_ROUNDS, options.threads or bench.DEFAULT_THREADS
    figures = bench.run(options.sizes, rounds, threads, options.model, None, options.runtime)
    print(figures.table())
    if options.json:
        bench.write_json(figures, options.json)
    return 0


def _run_node_bench(options: argparse.Namespace) -> int:
    from lowlight_enhance.tools.benchmark import node_benchmark

    figures = node_benchmark.run(
        options.sizes,
        options.hz or node_benchmark.DEFAULT_HZ,
        node_benchmark.DEFAULT_SECONDS if options.seconds is None else options.seconds,
        options.rounds or node_benchmark.DEFAULT_ROUNDS,
        options.threads,
        options.model,
        options.runtime,
    )
    print(figures.table())
    if options.json:
        node_benchmark.write_json(figures, options.json)
    return 0


def add_soak(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight soak`."""
    parser = commands.add_parser("soak", help="fly the node for minutes or hours and look for leaks; needs ROS 2")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the run (default: %(default)g)")
    parser.add_argument("--model", type=model, help=MODEL_HELP)
    parser.set_defaults(run=_run_soak)


def _run_soak(options: argparse.Namespace) -> int:
    from lowlight_enhance.tools.benchmark import soak

    return soak.run(options.minutes, options.model)


def add_demo(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight demo`."""
    parser = commands.add_parser("demo", help="camera, node and listener as three ROS 2 processes, with figures")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder to write (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=15.0, help="length of the run (default: %(default)g)")
    parser.add_argument("--model", type=model, help=MODEL_HELP)
    parser.add_argument("--working-size", type=natural, help="shorter side in pixels of the copy the network sees")
    parser.add_argument("--rate", type=positive, metavar="HZ", help="of the camera (default: what the machine bears)")
    parser.set_defaults(run=_run_demo)


def _run_demo(options: argparse.Namespace) -> int:
    from lowlight_enhance.tools.demo import demo

    return demo.run(options.out, options.seconds, options.model, options.working_size, options.rate)
