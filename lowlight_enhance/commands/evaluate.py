"""`lowlight evaluate`: how good a model is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lowlight_enhance.commands.arguments import Commands, model, natural, positive
from lowlight_enhance.commands.detector import add_detector_options, run_detector
from lowlight_enhance.commands.report import add_report_options, report_on_rows, run_bag, wants_report

if TYPE_CHECKING:
    from lowlight_enhance.training.evaluate import Frame


def add_evaluate(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight evaluate`."""
    parser = commands.add_parser(
        "evaluate", help="score a model on a bag, on pairs of photographs, or on darkened ones"
    )
    parser.add_argument(
        "model", type=model, nargs="?", help="shipped model, ONNX file or checkpoint (default: student_int8)"
    )
    add_frame_options(parser, isos=[800.0])
    parser.add_argument(
        "--metadata-test",
        action="store_true",
        help="also with metadata withheld and shuffled, of frames whose ISO or exposure time is known and differs",
    )
    parser.add_argument("--working-size", type=natural, help="shorter side in pixels of the copy the network sees")
    parser.add_argument(
        "--upsampling",
        choices=["auto", "local_affine", "guided", "gain", "resize"],
        default="auto",
        help="way up to full size",
    )
    parser.add_argument("--threads", type=positive, help="CPU threads (default: ONNX Runtime decides)")
    parser.add_argument("--out", type=Path, help="folder for frames.csv and summary.json")
    add_report_options(parser)
    add_detector_options(parser)
    parser.set_defaults(run=_run_evaluate)


def _run_evaluate(options: argparse.Namespace) -> int:
    if options.detectors:
        return run_detector(options)
    if options.bag:
        return _run_bag(options)
    from lowlight_enhance.core.inference.model_zoo import default_model
    from lowlight_enhance.evaluation.report.observed import Observed
    from lowlight_enhance.training import evaluate

    frames = frames_of(options, options.command)
    chosen = options.model or default_model()
    enhance = Observed(evaluate.load_enhance(chosen, options.working_size, options.threads, options.upsampling))
    reports = wants_report(options)
    rows = evaluate.evaluate(frames, enhance if reports else enhance.enhance, options.metadata_test)
    print(evaluate.describe(f"{chosen.name} on {options.data or options.photos}", rows))
    if options.out:
        evaluate.write(rows, options.out)
    if reports:
        print(report_on_rows(options, chosen, rows, enhance))
    return 0


def _run_bag(options: argparse.Namespace) -> int:
    from lowlight_enhance.core.errors import ConfigError

    if options.data or options.photos:
        raise ConfigError("evaluate takes one of --bag, --pairs and --photos at a time")
    return run_bag(options)


def add_frame_options(parser: argparse.ArgumentParser, isos: list[float]) -> None:
    """Which frames a model is shown: real pairs or darkened photographs."""
    parser.add_argument(
        "--pairs", "--data", type=Path, metavar="CSV", dest="data", help="index of real pairs (--data is the same)"
    )
    parser.add_argument("--photos", type=Path, metavar="CSV", help="index of photographs to darken")
    parser.add_argument(
        "--split", choices=("val", "train", "test", "all"), default="val", help="which pictures (default: %(default)s)"
    )
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


def frames_of(options: argparse.Namespace, asker: str) -> list[Frame]:
    """The frames that the options name."""
    from lowlight_enhance.core.errors import DataError
    from lowlight_enhance.training import evaluate

    if (options.data is None) == (options.photos is None):
        raise DataError(f"{asker} needs one of --pairs and --photos: pictures to enhance")
    if options.data:
        return evaluate.real_frames(options.data, options.split, options.max_mean)
    return evaluate.darkened_frames(options.photos, options.stops, options.iso, options.split, options.sensor)
