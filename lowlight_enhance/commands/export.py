"""Commands that write models and figures: `lowlight export`, `lowlight figures` and `lowlight noise-figure`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lowlight_enhance.commands.arguments import Commands, non_negative, positive
from lowlight_enhance.commands.evaluate import add_image_options, evaluation_images
from lowlight_enhance.core.errors import ConfigError

if TYPE_CHECKING:
    from lowlight_enhance.training.export.reduced_precision import Reduction


def add_export(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight export`."""
    parser = commands.add_parser("export", help="write a checkpoint as an ONNX file, or its float32 weights")
    parser.add_argument(
        "checkpoint", type=Path, help="best.pt or last.pt of a run, or a safetensors or float32 ONNX file"
    )
    parser.add_argument(
        "target", type=Path, metavar="OUT", help="file to write: .onnx, or .safetensors to fine-tune from"
    )
    parser.add_argument("--working-size", type=non_negative, help="shorter side in pixels of the network's input")
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default="fp32",
        help="precision of weights and arithmetic; fp16 is for GPUs, int8 for CPUs (default: %(default)s)",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="CSV",
        help="fp16 and int8: manifest of pairs, or of frames (file, iso, exposure_s), in all light of the robot",
    )
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR", help="folder of the files in --calibration (default: that of the CSV)"
    )
    parser.add_argument(
        "--min-psnr",
        type=float,
        metavar="DB",
        help="fp16 and int8: least PSNR to the pictures of the fp32 file (default: 40)",
    )
    parser.add_argument(
        "--max-loss",
        type=float,
        metavar="DB",
        help="fp16 and int8: largest loss of PSNR against the references of pairs (default: 0.25)",
    )
    parser.add_argument(
        "--float-tail",
        type=int,
        metavar="N",
        help="int8: number of convolutions at the end that stay in float32 (default: 1; a narrow network may need 2)",
    )
    parser.set_defaults(run=_run_export)


def _run_export(options: argparse.Namespace) -> int:
    from lowlight_enhance.core.paths import check_sources_not_overwritten
    from lowlight_enhance.training.export.onnx_export import export
    from lowlight_enhance.training.export.onnx_weights import SUFFIX as ONNX_SUFFIX
    from lowlight_enhance.training.export.weights import SUFFIX, write_weights
    from lowlight_enhance.training.networks import load_network

    if options.target.suffix not in (ONNX_SUFFIX, SUFFIX):
        raise ConfigError(f"cannot write {options.target}: its name must end in {ONNX_SUFFIX} or {SUFFIX}")
    check_sources_not_overwritten(filter(None, (options.checkpoint, options.calibration)), [options.target])
    reduction = _reduction(options)
    if options.target.suffix == SUFFIX:
        if reduction is not None or options.working_size is not None:
            raise ConfigError("--precision and --working-size are for ONNX files, not for float32 weights")
        write_weights(load_network(options.checkpoint), options.target)
        print(options.target)
        return 0
    exported = export(options.checkpoint, options.target, reduction=reduction, working_size=options.working_size)
    print(f"{options.target} (largest difference to the checkpoint: {exported.difference:.2g} of full scale)")
    if exported.fidelity:
        print(f"{options.precision}: {exported.fidelity}")
    return 0


def _reduction(options: argparse.Namespace) -> Reduction | None:
    """Return the settings of a precision below float32; None for float32."""
    from lowlight_enhance.training.export.calibration import listed_frames
    from lowlight_enhance.training.export.reduced_precision import Limits, Reduction

    given = {"min_psnr_db": options.min_psnr, "max_loss_db": options.max_loss}
    limits = {name: value for name, value in given.items() if value is not None}
    if options.float_tail is not None and options.precision != "int8":
        raise ConfigError("--float-tail is for --precision int8")
    if options.precision == "fp32":
        if options.calibration or limits:
            raise ConfigError("--calibration, --min-psnr and --max-loss are for --precision fp16 or int8")
        return None
    if options.calibration is None:
        raise ConfigError(f"--precision {options.precision} needs --calibration CSV, frames that measure the loss")
    frames, tail = listed_frames(options.calibration, options.data_root), options.float_tail
    return Reduction(options.precision, frames, Limits(**limits), 1 if tail is None else tail)


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
