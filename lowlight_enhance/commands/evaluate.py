"""`lowlight evaluate`: measure the quality of a model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lowlight_enhance.commands.arguments import Commands, model, non_negative, positive
from lowlight_enhance.commands.detector import run_detector
from lowlight_enhance.commands.detector_options import add_detector_options
from lowlight_enhance.commands.report import (
    add_report_options,
    check_outputs,
    load_enhance,
    report_path,
    run_bag_report,
    writes_report,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowlight_enhance.evaluation.report.measured_enhance import MeasuredEnhance
    from lowlight_enhance.evaluation.scoring import EvaluationImage, ScoredImage


def add_evaluate(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight evaluate`."""
    parser = commands.add_parser("evaluate", help="score a model on a bag, on image pairs or on darkened photographs")
    parser.add_argument(
        "model", type=model, nargs="?", help="shipped model, ONNX file or checkpoint (default: student_int8)"
    )
    add_image_options(parser, isos=[800.0])
    parser.add_argument(
        "--metadata-test",
        action="store_true",
        help="also enhance without metadata, and with the metadata of another image",
    )
    parser.add_argument("--working-size", type=non_negative, help="shorter side in pixels of the network's input")
    parser.add_argument(
        "--upsampling",
        choices=["local_affine", "guided", "gain", "resize"],
        default="local_affine",
        help="upsampling of the network's result to full size (default: %(default)s)",
    )
    parser.add_argument("--threads", type=positive, help="CPU threads (default: ONNX Runtime decides)")
    parser.add_argument("--out", type=Path, help="folder for frames.csv, summary.json and report.html")
    add_report_options(parser)
    add_detector_options(parser)
    parser.set_defaults(run=_run_evaluate)


def _run_evaluate(options: argparse.Namespace) -> int:
    if options.detectors:
        return run_detector(options)
    if options.bag:
        return _run_bag(options)
    from lowlight_enhance.core.inference.model_zoo import default_model
    from lowlight_enhance.evaluation.report.measured_enhance import MeasuredEnhance
    from lowlight_enhance.evaluation.score_summary import describe, write_scores
    from lowlight_enhance.evaluation.scoring import score_images

    check_outputs(options)
    images = evaluation_images(options, options.command)
    model_path = options.model or default_model()
    measured = MeasuredEnhance(load_enhance(options, model_path))
    has_report = writes_report(options)
    scored = score_images(images, measured if has_report else measured.enhance, options.metadata_test)
    print(describe(f"{model_path.name} on {options.data or options.photos}", scored))
    if options.out:
        write_scores(scored, options.out)
    if has_report:
        print(_write_report(options, model_path, scored, measured))
    return 0


def _run_bag(options: argparse.Namespace) -> int:
    from lowlight_enhance.core.errors import ConfigError

    if options.data or options.photos:
        raise ConfigError("evaluate accepts one of --bag, --pairs and --photos")
    return run_bag_report(options)


def _write_report(
    options: argparse.Namespace, model_path: Path, scored: Sequence[ScoredImage], measured: MeasuredEnhance
) -> Path:
    """Write the HTML report of scored images and return its path."""
    from lowlight_enhance.core.enhancement.enhancer import Enhancer
    from lowlight_enhance.evaluation.report import page
    from lowlight_enhance.evaluation.report.card import checkpoint_card, model_card
    from lowlight_enhance.evaluation.report.content import Report
    from lowlight_enhance.evaluation.report.score_section import score_section

    source, enhance = options.data or options.photos, measured.enhance
    card = model_card(enhance) if isinstance(enhance, Enhancer) else checkpoint_card(model_path)
    facts = [("frames", f"{len(scored)}"), ("enhanced by", card.name), ("split", options.split)]
    facts.append(("shown", "from the lowest PSNR to the highest"))
    if options.photos:
        electrons = f", full well {options.full_well:g} electrons" if options.full_well else ""
        facts.append(("simulated", f"{options.stops:g} stops under-exposed, noise of {options.sensor}{electrons}"))
    title = f"{source.parent.name}/{source.name}"
    target = report_path(options) or Path("report.html")
    section = score_section(title, scored, measured)
    page.write_page(Report(f"{card.name} on {title}", tuple(facts), (section,), card), target)
    return target


def add_image_options(parser: argparse.ArgumentParser, isos: list[float]) -> None:
    """Declare the options that choose images: real pairs or darkened photographs."""
    parser.add_argument(
        "--pairs", "--data", type=Path, metavar="CSV", dest="data", help="manifest of image pairs (alias: --data)"
    )
    parser.add_argument("--photos", type=Path, metavar="CSV", help="manifest of photographs to darken")
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR", help="folder of the files in the manifest (default: the manifest's)"
    )
    parser.add_argument(
        "--split",
        choices=("val", "train", "test", "all"),
        default="val",
        help="split of the manifest to use (default: %(default)s)",
    )
    parser.add_argument(
        "--max-mean", type=float, default=255.0, metavar="MEAN", help="largest mean of the dark image, 0..255"
    )
    parser.add_argument(
        "--stops", type=float, default=3.0, help="under-exposure of photographs (default: %(default)g)"
    )
    parser.add_argument(
        "--iso",
        type=float,
        nargs="+",
        default=isos,
        help=f"ISO of darkened photographs, used in turn (default: {' '.join(f'{iso:g}' for iso in isos)})",
    )
    parser.add_argument("--sensor", default="SonyA7S2", help="sensor whose noise is simulated (default: %(default)s)")
    parser.add_argument(
        "--full-well",
        type=float,
        metavar="ELECTRONS",
        help="electrons that the simulated sensor holds at ISO 100; drones and robots: about 10000 (default: "
        "that of the sensor)",
    )


def evaluation_images(options: argparse.Namespace, command: str) -> list[EvaluationImage]:
    """Return the images that the options select.

    Raises:
        DataError: both or none of --pairs and --photos are given, or a manifest cannot be read.
    """
    from lowlight_enhance.core.errors import DataError
    from lowlight_enhance.training import evaluate

    if (options.data is None) == (options.photos is None):
        raise DataError(f"{command} needs one of --pairs and --photos")
    if options.data:
        return evaluate.real_images(options.data, options.split, options.max_mean, options.data_root)
    return evaluate.darkened_images(
        options.photos,
        options.stops,
        options.iso,
        options.split,
        options.sensor,
        options.full_well,
        root=options.data_root,
    )
