"""The commands of the offline half: data, training, export, evaluation."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lowlight_enhance.commands.arguments import Commands, non_negative, positive
from lowlight_enhance.commands.evaluate import add_image_options, evaluation_images

if TYPE_CHECKING:
    from lowlight_enhance.training.data.pictures import Sources


def add_prepare_sid(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight prepare-sid`."""
    parser = commands.add_parser("prepare-sid", help="develop the raw files of See-in-the-Dark as pairs of pictures")
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="holds Sony/, Fuji/ or both, and the data set's lists"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to write; completed if it exists"
    )
    parser.add_argument(
        "--camera", choices=("sony", "fuji", "both"), help="whose photographs (default: those that are there)"
    )
    parser.add_argument(
        "--bits", type=int, choices=(8, 16), default=8, help="depth of the PNGs (default: %(default)s)"
    )
    parser.add_argument("--jobs", type=positive, metavar="N", help="processes at once (default: one a core)")
    parser.set_defaults(run=_run_prepare_sid)


def _run_prepare_sid(options: argparse.Namespace) -> int:
    from lowlight_enhance.training.data import sid

    if options.camera is None:
        cameras = sid.cameras_in(options.folder)
    else:
        cameras = sid.CAMERAS if options.camera == "both" else (options.camera,)
    prepared = sid.prepare(options.folder, options.out, cameras, options.bits, options.jobs)
    for index, pairs in prepared.pairs.items():
        print(f"{index}: {pairs} pairs")
    print(f"{prepared.developed} raw files developed, {prepared.kept} were there already")
    if not prepared.broken:
        return 0
    print(f"{len(prepared.broken)} left out:", *prepared.broken, sep="\n  ", file=sys.stderr)
    return 1


def add_noise_figure(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight noise-figure`."""
    parser = commands.add_parser("noise-figure", help="draw the noise of darkened photographs against the light")
    parser.add_argument("target", type=Path, metavar="OUT.png", help="picture to write")
    parser.add_argument("--iso", type=float, default=1600.0, help="of the exposure (default: %(default)g)")
    parser.set_defaults(run=_run_noise_figure)


def _run_noise_figure(options: argparse.Namespace) -> int:
    from lowlight_enhance.training.noise_figure import draw

    largest = draw(options.target, options.iso)
    print(f"{options.target} (measured variance within {100.0 * largest:.1f} % of the model's)")
    return 0


def add_train_teacher(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight train-teacher`."""
    parser = commands.add_parser("train-teacher", help="train the paper's teacher against a discriminator")
    _add_training_options(parser)
    parser.set_defaults(run=_run_train_teacher)


def _run_train_teacher(options: argparse.Namespace) -> int:
    from lowlight_enhance.training.config import load_config
    from lowlight_enhance.training.train_teacher import TrainTeacherConfig, train_teacher

    last = train_teacher(load_config(TrainTeacherConfig, options.config), _sources(options), options.out)
    print(f"{last} (next: lowlight distill {last} --out DIR)")
    return 0


def add_distill(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight distill`."""
    parser = commands.add_parser("distill", help="train a student to put out what a teacher does")
    parser.add_argument("teacher", type=Path, metavar="TEACHER.pt", help="best.pt or last.pt of train-teacher")
    _add_training_options(parser)
    parser.add_argument(
        "--unlabelled", type=Path, nargs="+", default=[], metavar="CSV", help="manifests of dark pictures alone"
    )
    parser.set_defaults(run=_run_distill)


def _run_distill(options: argparse.Namespace) -> int:
    from lowlight_enhance.training.config import load_config
    from lowlight_enhance.training.distill import DistillConfig, distill
    from lowlight_enhance.training.networks import load_checkpoint

    config = load_config(DistillConfig, options.config)
    teacher = load_checkpoint(options.teacher)
    print(distill(config, teacher, _sources(options), options.out))
    return 0


def add_summary(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight summary`."""
    parser = commands.add_parser("summary", help="parameters, memory and arithmetic of the networks")
    parser.add_argument(
        "--size", type=positive, help="pixels of the square input, a multiple of 32 (default: the paper's sizes)"
    )
    parser.set_defaults(run=_run_summary)


def _run_summary(options: argparse.Namespace) -> int:
    from lowlight_enhance.training.models import summary

    print("\n".join(summary.table(options.size)))
    return 0


def _sources(options: argparse.Namespace) -> Sources:
    from lowlight_enhance.training.data.pictures import Sources

    return Sources(options.pairs, options.photos, getattr(options, "unlabelled", ()), options.data_root)


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pairs", type=Path, nargs="+", default=[], metavar="CSV", help="indices of real pairs")
    parser.add_argument("--photos", type=Path, nargs="+", default=[], metavar="CSV", help="indices of photographs")
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR", help="folder of the files in the manifests (default: each manifest's)"
    )
    parser.add_argument("--config", type=Path, metavar="YAML", help="settings that differ from the defaults")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; one found there is continued")


def add_train_student(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight train-student`."""
    parser = commands.add_parser("train-student", help="train the student on pairs and on darkened photographs")
    _add_training_options(parser)
    parser.add_argument(
        "--init", type=Path, metavar="CHECKPOINT", help="start from this student's weights; a run in --out goes first"
    )
    parser.set_defaults(run=_run_train_student)


def _run_train_student(options: argparse.Namespace) -> int:
    from lowlight_enhance.training.config import load_config
    from lowlight_enhance.training.networks import load_checkpoint
    from lowlight_enhance.training.train_student import TrainStudentConfig, train_student

    config = load_config(TrainStudentConfig, options.config)
    init = None if options.init is None else load_checkpoint(options.init)
    last = train_student(config, _sources(options), options.out, init)
    print(f"{last} (next: lowlight export {last} student.onnx)")
    return 0


def add_export(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight export`."""
    parser = commands.add_parser("export", help="write a checkpoint as an ONNX file, checked against it")
    parser.add_argument("checkpoint", type=Path, help="best.pt or last.pt of a run")
    parser.add_argument("target", type=Path, metavar="OUT.onnx", help="file to write")
    parser.add_argument(
        "--working-size", type=non_negative, help="shorter side in pixels of the copy the network sees"
    )
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
    parser.add_argument(
        "--float-tail",
        type=int,
        metavar="N",
        help="int8: as many convolutions at the end stay in float32 (default: 1; a narrow network may need 2)",
    )
    parser.set_defaults(run=_run_export)


def _run_export(options: argparse.Namespace) -> int:
    from lowlight_enhance.core.errors import ConfigError
    from lowlight_enhance.training.data.manifest import read_shots
    from lowlight_enhance.training.export.onnx_export import export
    from lowlight_enhance.training.export.reduced_precision import Limits, Reduction

    given = {"min_psnr_db": options.min_psnr, "max_loss_db": options.max_loss}
    limits = {name: value for name, value in given.items() if value is not None}
    reduction = None
    if options.float_tail is not None and options.precision != "int8":
        raise ConfigError("--float-tail is for --precision int8")
    if options.precision == "fp32":
        if options.calibration or limits:
            raise ConfigError("--calibration, --min-psnr and --max-loss are for --precision fp16 or int8")
    elif options.calibration is None:
        raise ConfigError(f"--precision {options.precision} needs --calibration CSV: frames that show what is lost")
    else:
        shots, tail = read_shots(options.calibration), options.float_tail
        reduction = Reduction(options.precision, shots, Limits(**limits), 1 if tail is None else tail)
    exported = export(options.checkpoint, options.target, reduction=reduction, working_size=options.working_size)
    print(f"{options.target} (largest difference to the checkpoint: {exported.difference:.2g} of full scale)")
    if exported.fidelity:
        print(f"{options.precision}: {exported.fidelity}")
    return 0


def add_figures(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight figures`."""
    parser = commands.add_parser("figures", help="draw figures of training runs, evaluations and models")
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
    add_image_options(parser, isos=[200.0, 800.0, 2000.0, 6400.0, 25600.0])
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
    from lowlight_enhance.training.figures import model_comparison, score_bars, training_curves

    if not options.runs and not options.evaluation and not options.models:
        raise DataError("nothing to draw: give --run, --evaluation, or --models with --data or --photos")
    images = evaluation_images(options, "--models") if options.models else []
    drawn: list[str] = []
    if options.runs:
        drawn += training_curves.draw_runs(options.runs, options.out)
    if options.evaluation:
        drawn += score_bars.draw_evaluation(options.evaluation, options.out)
    if options.models:
        settings = model_comparison.ComparisonSettings(options.scenes, options.size, options.rounds, options.threads)
        drawn += model_comparison.compare_models(options.models, images, settings, options.out)
    print("\n".join(drawn))
    return 0
