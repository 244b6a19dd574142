"""`lowlight`: parse, call, print. What a command needs is imported when it runs, so ``--help`` is instant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from lowlight_enhance import __version__, bag_commands
from lowlight_enhance.core.errors import LowlightError

if TYPE_CHECKING:
    from lowlight_enhance.training.evaluate import Frame

EXIT_USER_ERROR = 2
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
    "skimage": "demo",
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
    _add_image(commands)
    _add_bench(commands)
    _add_soak(commands)
    _add_flicker(commands)
    bag_commands.add_bag(commands)
    bag_commands.add_replay(commands)
    _add_demo(commands)
    _add_prepare_sid(commands)
    _add_noise_figure(commands)
    _add_train_teacher(commands)
    _add_distill(commands)
    _add_train_student(commands)
    _add_summary(commands)
    _add_export(commands)
    _add_evaluate(commands)
    _add_figures(commands)
    return parser


Commands = argparse._SubParsersAction  # argparse names the type of its command list only so


def _add_image(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("image", help="enhance one picture file")
    parser.add_argument("source", type=Path, metavar="DARK", help="picture to read")
    parser.add_argument("target", type=Path, metavar="OUT", help="picture to write; its suffix names the format")
    parser.add_argument("--iso", type=float, help="ISO of the exposure (default: from EXIF, else unknown)")
    parser.add_argument(
        "--exposure",
        type=seconds,
        metavar="SECONDS",
        dest="exposure_s",
        help="exposure time, e.g. 0.03 or 1/30 (default: from EXIF, else unknown)",
    )
    _add_model_options(parser)
    _add_runtime_option(parser)
    parser.add_argument("--working-size", type=natural, help="shorter side in pixels of the copy the network sees")
    parser.set_defaults(run=_run_image)


def _run_image(options: argparse.Namespace) -> int:
    from lowlight_enhance.offline.image import enhance_file

    capture = enhance_file(
        options.source,
        options.target,
        options.iso,
        options.exposure_s,
        options.model,
        options.working_size,
        options.threads,
        options.runtime,
    )
    iso = "unknown" if capture.iso is None else f"{capture.iso:g}"
    exposure = "unknown" if capture.exposure_s is None else f"{capture.exposure_s:.4g} s"
    print(f"{options.target} (ISO {iso}, exposure {exposure})")
    return 0


def _add_bench(commands: Commands[argparse.ArgumentParser]) -> None:
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
    _add_model_options(parser, threads="2; with --node the runtime decides")
    _add_runtime_option(parser)
    node = parser.add_argument_group("the node", "camera, node and listener as processes, in turn with bare inference")
    node.add_argument("--node", action="store_true", help="measure the node; needs ROS 2")
    node.add_argument("--hz", type=positive, help="frames a second of the camera (default: 30)")
    node.add_argument("--seconds", type=float, help="of the camera in each turn (default: 5)")
    parser.set_defaults(run=_run_bench)


def _run_bench(options: argparse.Namespace) -> int:
    from lowlight_enhance.core.errors import ConfigError
    from lowlight_enhance.offline import bench

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
    from lowlight_enhance.ros import bench

    figures = bench.run(
        options.sizes,
        options.hz or bench.DEFAULT_HZ,
        bench.DEFAULT_SECONDS if options.seconds is None else options.seconds,
        options.rounds or bench.DEFAULT_ROUNDS,
        options.threads,
        options.model,
        options.runtime,
    )
    print(figures.table())
    if options.json:
        bench.write_json(figures, options.json)
    return 0


def _add_soak(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("soak", help="fly the node for minutes or hours and look for leaks; needs ROS 2")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the run (default: %(default)g)")
    parser.add_argument("--model", type=model, help=MODEL_HELP)
    parser.set_defaults(run=_run_soak)


def _run_soak(options: argparse.Namespace) -> int:
    from lowlight_enhance.ros import soak

    return soak.run(options.minutes, options.model)


def _add_flicker(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("flicker", help="measure how steady brightness and colour are from frame to frame")
    parser.add_argument("photographs", type=Path, nargs="+", metavar="PHOTO", help="well-lit pictures")
    parser.add_argument(
        "--size", type=size, default=(640, 480), metavar="WIDTHxHEIGHT", help="of a frame (default: 640x480)"
    )
    parser.add_argument("--frames", type=positive, default=24, help="of each sequence (default: %(default)s)")
    parser.add_argument(
        "--rate", type=float, default=30.0, metavar="HZ", help="frames a second (default: %(default)g)"
    )
    parser.add_argument("--iso", type=float, default=3200.0, help="of the camera (default: %(default)g)")
    parser.add_argument(
        "--stops", type=float, default=3.0, help="under-exposure of the photographs (default: %(default)g)"
    )
    parser.add_argument(
        "--step", type=float, default=1.0, metavar="STOPS", help="how far the exposure is cut (default: %(default)g)"
    )
    parser.add_argument(
        "--smoothing",
        type=float,
        metavar="SECONDS",
        help="time constant to compare with none (default: the node's)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    _add_model_options(parser)
    parser.set_defaults(run=_run_flicker)


def _run_flicker(options: argparse.Namespace) -> int:
    from lowlight_enhance.core.steady import SMOOTHING_S
    from lowlight_enhance.offline import flicker
    from lowlight_enhance.offline.sequences import SequenceOptions

    width, height = options.size
    how = SequenceOptions(width, height, options.frames, options.rate, options.iso, options.stops, options.step)
    smoothing_s = SMOOTHING_S if options.smoothing is None else options.smoothing
    report = flicker.run(options.photographs, how, smoothing_s, options.model, options.threads)
    print(report.table())
    if options.json:
        flicker.write_json(report, options.json)
    return 0


def _add_demo(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("demo", help="camera, node and listener as three ROS 2 processes, with figures")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder to write (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=15.0, help="length of the run (default: %(default)g)")
    parser.add_argument("--model", type=model, help=MODEL_HELP)
    parser.add_argument("--working-size", type=natural, help="shorter side in pixels of the copy the network sees")
    parser.add_argument("--rate", type=positive, metavar="HZ", help="of the camera (default: what the machine bears)")
    parser.set_defaults(run=_run_demo)


def _run_demo(options: argparse.Namespace) -> int:
    from lowlight_enhance.ros import demo

    return demo.run(options.out, options.seconds, options.model, options.working_size, options.rate)


def _add_prepare_sid(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("prepare-sid", help="develop the raw files of See-in-the-Dark as pairs of pictures")
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="holds Sony/, Fuji/ or both, and the data set's lists"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to write; completed if it exists"
    )
    parser.add_argument(
        "--camera", choices=("sony", "fuji", "both"), default="both", help="whose photographs (default: %(default)s)"
    )
    parser.add_argument(
        "--bits", type=int, choices=(8, 16), default=8, help="depth of the PNGs (default: %(default)s)"
    )
    parser.add_argument("--jobs", type=positive, metavar="N", help="processes at once (default: one a core)")
    parser.set_defaults(run=_run_prepare_sid)


def _run_prepare_sid(options: argparse.Namespace) -> int:
    from lowlight_enhance.training import sid

    cameras = sid.CAMERAS if options.camera == "both" else (options.camera,)
    prepared = sid.prepare(options.folder, options.out, cameras, options.bits, options.jobs)
    for index, pairs in prepared.pairs.items():
        print(f"{index}: {pairs} pairs")
    print(f"{prepared.developed} raw files developed, {prepared.kept} were there already")
    if not prepared.broken:
        return 0
    print(f"{len(prepared.broken)} left out:", *prepared.broken, sep="\n  ", file=sys.stderr)
    return 1


def _add_noise_figure(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("noise-figure", help="draw the noise of darkened photographs against the light")
    parser.add_argument("target", type=Path, metavar="OUT.png", help="picture to write")
    parser.add_argument("--iso", type=float, default=1600.0, help="of the exposure (default: %(default)g)")
    parser.set_defaults(run=_run_noise_figure)


def _run_noise_figure(options: argparse.Namespace) -> int:
    from lowlight_enhance.training.noise_figure import draw

    largest = draw(options.target, options.iso)
    print(f"{options.target} (measured variance within {100.0 * largest:.1f} % of the model's)")
    return 0


def _add_train_teacher(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("train-teacher", help="train the paper's teacher against a discriminator")
    _add_training_options(parser)
    parser.set_defaults(run=_run_train_teacher)


def _run_train_teacher(options: argparse.Namespace) -> int:
    from lowlight_enhance.training.config import load_config
    from lowlight_enhance.training.gan import TrainTeacherConfig, train_teacher

    best = train_teacher(load_config(TrainTeacherConfig, options.config), options.pairs, options.photos, options.out)
    print(f"{best} (lowlight distill {best} --out DIR trains a student from it)")
    return 0


def _add_distill(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("distill", help="train a student to put out what a teacher does")
    parser.add_argument("teacher", type=Path, metavar="TEACHER.pt", help="best.pt or last.pt of train-teacher")
    _add_training_options(parser)
    parser.set_defaults(run=_run_distill)


def _run_distill(options: argparse.Namespace) -> int:
    from lowlight_enhance.training.config import load_config
    from lowlight_enhance.training.distill import DistillConfig, distill

    config = load_config(DistillConfig, options.config)
    print(distill(config, options.teacher, options.pairs, options.photos, options.out))
    return 0


def _add_summary(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("summary", help="parameters, memory and arithmetic of the networks")
    parser.add_argument(
        "--size", type=positive, help="pixels of the square input, a multiple of 32 (default: the paper's sizes)"
    )
    parser.set_defaults(run=_run_summary)


def _run_summary(options: argparse.Namespace) -> int:
    from lowlight_enhance.training import summary

    print("\n".join(summary.table(options.size)))
    return 0


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pairs", type=Path, nargs="+", default=[], metavar="CSV", help="indices of real pairs")
    parser.add_argument("--photos", type=Path, nargs="+", default=[], metavar="CSV", help="indices of photographs")
    parser.add_argument("--config", type=Path, metavar="YAML", help="settings that differ from the defaults")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; one found there is continued")


def _add_train_student(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("train-student", help="train the student on pairs and on darkened photographs")
    _add_training_options(parser)
    parser.add_argument(
        "--init", type=Path, metavar="CHECKPOINT", help="start from this student's weights; a run in --out goes first"
    )
    parser.set_defaults(run=_run_train_student)


def _run_train_student(options: argparse.Namespace) -> int:
    from lowlight_enhance.training.config import load_config
    from lowlight_enhance.training.train import TrainStudentConfig, train_student

    config = load_config(TrainStudentConfig, options.config)
    best = train_student(config, options.pairs, options.photos, options.out, options.init)
    print(f"{best} (lowlight export {best} student.onnx makes it fly)")
    return 0


def _add_export(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("export", help="write a checkpoint as an ONNX file, checked against it")
    parser.add_argument("checkpoint", type=Path, help="best.pt or last.pt of a run")
    parser.add_argument("target", type=Path, metavar="OUT.onnx", help="file to write")
    parser.add_argument("--working-size", type=natural, help="shorter side in pixels of the copy the network sees")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default="fp32",
        help="of weights and arithmetic; fp16 is for GPUs, int8 for CPUs (default: %(default)s)",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="CSV",
        help="fp16 and int8: index of pairs, or of frames (file, iso, exposure_s), in every light that the robot sees",
    )
    parser.add_argument(
        "--min-psnr",
        type=float,
        metavar="DB",
        help="fp16 and int8: refuse pictures that are less like the fp32 file's (default: 40)",
    )
    parser.add_argument(
        "--max-loss",
        type=float,
        metavar="DB",
        help="fp16 and int8: refuse to lose more PSNR against the references of pairs (default: 0.25)",
    )
    parser.set_defaults(run=_run_export)


def _run_export(options: argparse.Namespace) -> int:
    from lowlight_enhance.core.errors import ConfigError
    from lowlight_enhance.training.export import export
    from lowlight_enhance.training.index import read_shots
    from lowlight_enhance.training.precision import Limits, Reduction

    given = {"min_psnr_db": options.min_psnr, "max_loss_db": options.max_loss}
    limits = {name: value for name, value in given.items() if value is not None}
    reduction = None
    if options.precision == "fp32":
        if options.calibration or limits:
            raise ConfigError("--calibration, --min-psnr and --max-loss are for --precision fp16 or int8")
    elif options.calibration is None:
        raise ConfigError(f"--precision {options.precision} needs --calibration CSV: frames that show what is lost")
    else:
        reduction = Reduction(options.precision, read_shots(options.calibration), Limits(**limits))
    exported = export(options.checkpoint, options.target, reduction=reduction, working_size=options.working_size)
    print(f"{options.target} (largest difference to the checkpoint: {exported.difference:.2g} of full scale)")
    if exported.fidelity:
        print(f"{options.precision}: {exported.fidelity}")
    return 0


def _add_evaluate(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("evaluate", help="score a model on pairs of photographs, or on darkened ones")
    parser.add_argument(
        "model", type=model, nargs="?", help="shipped model, ONNX file or checkpoint (default: student_int8)"
    )
    _add_frame_options(parser, isos=[800.0])
    parser.add_argument("--metadata-test", action="store_true", help="also with metadata withheld and shuffled")
    parser.add_argument("--working-size", type=natural, help="shorter side in pixels of the copy the network sees")
    parser.add_argument(
        "--upsampling",
        choices=["auto", "local_affine", "guided", "gain", "resize"],
        default="auto",
        help="way up to full size",
    )
    parser.add_argument("--threads", type=positive, help="CPU threads (default: ONNX Runtime decides)")
    parser.add_argument("--out", type=Path, help="folder for frames.csv and summary.json")
    parser.set_defaults(run=_run_evaluate)


def _run_evaluate(options: argparse.Namespace) -> int:
    from lowlight_enhance.core.shipped import default_model
    from lowlight_enhance.training import evaluate

    chosen = options.model or default_model()
    enhance = evaluate.load_enhance(chosen, options.working_size, options.threads, options.upsampling)
    rows = evaluate.evaluate(_frames(options, options.command), enhance, options.metadata_test)
    print(evaluate.describe(f"{chosen.name} on {options.data or options.photos}", rows))
    if options.out:
        evaluate.write(rows, options.out)
    return 0


def _add_figures(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("figures", help="draw the paper's figures of runs, evaluations and models")
    parser.add_argument(
        "--run",
        type=Path,
        nargs="+",
        action="extend",
        default=[],
        metavar="RUN",
        dest="runs",
        help="folders of trainings: losses.png and psnr.png",
    )
    parser.add_argument("--evaluation", type=Path, metavar="DIR", help="folder of an evaluation: evaluation.png")
    parser.add_argument(
        "--models",
        type=Path,
        nargs="+",
        default=[],
        metavar="MODEL",
        help="ONNX files or checkpoints, e.g. teacher and student: strips.png and times.png; on --data or --photos",
    )
    _add_frame_options(parser, isos=[200.0, 800.0, 2000.0, 6400.0, 25600.0])
    parser.add_argument("--scenes", type=positive, default=1, help="strips of each ISO bin (default: %(default)s)")
    parser.add_argument(
        "--size", type=positive, default=256, help="pixels of the square frame that is timed (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=positive, default=30, help="calls of each model (default: %(default)s)")
    parser.add_argument("--threads", type=positive, help="CPU threads (default: the frameworks decide)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.set_defaults(run=_run_figures)


def _run_figures(options: argparse.Namespace) -> int:
    from lowlight_enhance.core.errors import DataError
    from lowlight_enhance.training import figures

    if not options.runs and not options.evaluation and not options.models:
        raise DataError("nothing to draw: give --run, --evaluation, or --models with --data or --photos")
    frames = _frames(options, "--models") if options.models else []
    drawn: list[str] = []
    if options.runs:
        drawn += figures.of_runs(options.runs, options.out)
    if options.evaluation:
        drawn += figures.of_evaluation(options.evaluation, options.out)
    if options.models:
        how = figures.Comparison(options.scenes, options.size, options.rounds, options.threads)
        drawn += figures.of_models(options.models, frames, how, options.out)
    print("\n".join(drawn))
    return 0


def _add_frame_options(parser: argparse.ArgumentParser, isos: list[float]) -> None:
    parser.add_argument("--data", type=Path, metavar="CSV", help="index of real pairs")
    parser.add_argument("--photos", type=Path, metavar="CSV", help="index of photographs to darken")
    parser.add_argument("--split", default="val", help="val, train, test or all (default: %(default)s)")
    parser.add_argument(
        "--max-mean", type=float, default=255.0, help="largest mean (0..255) of a dark frame of a pair"
    )
    parser.add_argument(
        "--stops", type=float, default=3.0, help="under-exposure of photographs (default: %(default)g)"
    )
    parser.add_argument(
        "--iso",
        type=float,
        nargs="+",
        default=isos,
        help=f"ISO of darkened photographs, in turn (default: {' '.join(f'{iso:g}' for iso in isos)})",
    )
    parser.add_argument("--sensor", default="SonyA7S2", help="whose noise darkened photographs have")


def _frames(options: argparse.Namespace, asker: str) -> list[Frame]:
    from lowlight_enhance.core.errors import DataError
    from lowlight_enhance.training import evaluate

    if (options.data is None) == (options.photos is None):
        raise DataError(f"{asker} needs one of --data and --photos: pictures to enhance")
    if options.data:
        return evaluate.real_frames(options.data, options.split, options.max_mean)
    return evaluate.darkened_frames(options.photos, options.stops, options.iso, options.split, options.sensor)


MODEL_HELP = "name of a shipped model or path of an ONNX file (default: student_int8)"


def _add_model_options(parser: argparse.ArgumentParser, threads: str = "the runtime decides") -> None:
    parser.add_argument("--model", type=model, help=MODEL_HELP)
    parser.add_argument("--threads", type=positive, help=f"CPU threads (default: {threads})")


def _add_runtime_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runtime",
        choices=("onnxruntime", "openvino"),
        default="onnxruntime",
        help="library that runs the network; docs/runtimes.md compares them (default: %(default)s)",
    )


def seconds(text: str) -> float:
    """A time in seconds as photographers write it: ``0.03`` or ``1/30``."""
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise argparse.ArgumentTypeError(f"'{text}' is not a time in seconds, such as 0.03 or 1/30") from None


def model(text: str) -> Path:
    """The file of a shipped model's name, or of a path."""
    from lowlight_enhance.core.errors import ConfigError
    from lowlight_enhance.core.shipped import find_model

    try:
        return find_model(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def size(text: str) -> tuple[int, int]:
    """(width, height) of a text such as ``640x480``."""
    width, _, height = text.partition("x")
    try:
        return positive(width), positive(height)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size such as 640x480") from None


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = natural(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def natural(text: str) -> int:
    """A whole number of at least 0."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None
    if number < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
