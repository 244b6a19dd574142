"""`lowlight`: parse, call, print. What a command needs is imported when it runs, so ``--help`` is instant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lowlight_enhance import __version__
from lowlight_enhance.commands import bags, evaluate, node, pictures, training, video
from lowlight_enhance.commands.arguments import EXIT_USER_ERROR
from lowlight_enhance.core.errors import LowlightError

EXIT_INTERRUPTED = 130

EXTRAS = {
    "rclpy": "ros",
    "rcl_interfaces": "ros",
    "sensor_msgs": "ros",
    "std_msgs": "ros",
    "diagnostic_msgs": "ros",
    "lifecycle_msgs": "ros",
    "rosbags": "offline",
    "apsw": "offline",
    "av": "offline",
    "ray": "ray",
    "skimage": "demo",
    "jinja2": "report",
    "markdown_it": "report",
    "plotly": "report",
    "pycocotools": "detector",
    "torch": "train",
    "accelerate": "train",
    "tensorboard": "train",
    "torchmetrics": "train",
    "onnx": "train",
    "onnxscript": "train",
    "yaml": "train",
    "tqdm": "train",
    "rawpy": "train",
    "PIL": "train",
    "matplotlib": "train",
}
"""Modules that an installation without extras lacks, and the extra that brings each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 2 after an error that the user can mend, 130 when interrupted."""
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except LowlightError as error:
        print(f"lowlight: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        remedy = f"pip install 'lowlight_enhance[{extra}]'"
        if extra == "ros":
            remedy += ", or source a ROS 2 installation"
        print(f"lowlight: '{options.command}' needs the Python module {error.name}: {remedy}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return code


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command; each sets ``run``, a function from the parsed options to an exit code."""
    parser = argparse.ArgumentParser(prog="lowlight", description="Make dark images usable.")
    parser.add_argument("--version", action="version", version=f"lowlight_enhance {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    pictures.add_image(commands)
    node.add_bench(commands)
    node.add_soak(commands)
    pictures.add_flicker(commands)
    video.add_video(commands)
    bags.add_bag(commands)
    bags.add_replay(commands)
    node.add_demo(commands)
    training.add_prepare_sid(commands)
    training.add_noise_figure(commands)
    training.add_train_teacher(commands)
    training.add_distill(commands)
    training.add_train_student(commands)
    training.add_summary(commands)
    training.add_export(commands)
    evaluate.add_evaluate(commands)
    training.add_figures(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
