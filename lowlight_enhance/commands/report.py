"""Options of the report of `lowlight evaluate`, and `lowlight evaluate --bag`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lowlight_enhance.commands.arguments import (
    METADATA_PARAMETERS,
    PIPELINE_PARAMETERS,
    add_node_parameters,
    pipeline_config,
    positive,
    seconds,
)

if TYPE_CHECKING:
    from lowlight_enhance.core.enhancement.enhancer import Enhance
    from lowlight_enhance.evaluation.bags import BagEvaluationConfig
    from lowlight_enhance.evaluation.report.content import ModelCard, Section

BAG_PARAMETERS = [name for name in PIPELINE_PARAMETERS | METADATA_PARAMETERS if name != "output.encoding"]


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Declare ``--report``, ``--bag`` and the options of bags."""
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="HTML report (default: report.html in --out; with --bag and no --out in the current folder)",
    )
    bag = parser.add_argument_group("recordings (docs/evaluation.md)")
    bag.add_argument("--bag", type=Path, metavar="BAG", help="rosbag2 folder, or .mcap or .db3 file")
    bag.add_argument(
        "--topic", action="append", default=[], dest="images", help="image topic; repeatable (default: every camera)"
    )
    bag.add_argument("--reference-topic", default="", metavar="TOPIC", help="well-lit images with the same stamps")
    bag.add_argument(
        "--enhanced-topic", default="", metavar="TOPIC", help="images that are already enhanced; no model runs"
    )
    bag.add_argument(
        "--metadata",
        action="append",
        default=[],
        metavar="[IMAGE=]TOPIC",
        help="capture metadata; repeatable, 'none' for none (default: found by type and namespace)",
    )
    bag.add_argument("--default-iso", type=float, help="ISO of frames without metadata")
    bag.add_argument(
        "--default-exposure", type=seconds, metavar="SECONDS", help="exposure time of frames without metadata"
    )
    bag.add_argument("--every", type=positive, default=1, metavar="N", help="evaluate every Nth frame")
    bag.add_argument("--max-frames", type=positive, metavar="N", help="largest number of frames of each camera")
    add_node_parameters(parser, BAG_PARAMETERS)


def run_bag_report(options: argparse.Namespace) -> int:
    """Run ``lowlight evaluate --bag`` and return the exit status."""
    from lowlight_enhance.core.malloc import reuse_image_buffers
    from lowlight_enhance.evaluation import bags
    from lowlight_enhance.evaluation.report import page
    from lowlight_enhance.evaluation.report.content import Report
    from lowlight_enhance.evaluation.report.files import write_files

    from tqdm import tqdm  # isort: skip (if several extras are missing, the error names that of the bag reader)

    reuse_image_buffers()
    check_outputs(options)
    config = bag_config(options)
    cameras = bags.find_evaluated_cameras(options.bag, config)
    enhance, card = (None, None) if options.enhanced_topic else _load_model(options)
    with tqdm(total=bags.total_frames(cameras, config), unit="frame", disable=None) as progress:
        sections = bags.evaluate_bag(options.bag, enhance, config, progress.update)
    if options.out:
        write_files(sections, options.out)
    target = report_path(options) or Path("report.html")
    page.write_page(Report(options.bag.name, _facts(options, sections, card), tuple(sections), card), target)
    for section in sections:
        print(_describe(section))
    print(target)
    return 0


def _facts(
    options: argparse.Namespace, sections: list[Section], card: ModelCard | None
) -> tuple[tuple[str, str], ...]:
    last_s = max(frame.time_s or 0.0 for section in sections for frame in section.frames)
    facts = [("enhanced by", card.name if card else f"topic {options.enhanced_topic}")]
    facts += [("frames", f"{sum(len(section.frames) for section in sections)} in {last_s:.1f} s")]
    facts += [("reference", options.reference_topic)] if options.reference_topic else []
    return tuple(facts)


def bag_config(options: argparse.Namespace) -> BagEvaluationConfig:
    """Return the configuration of a bag evaluation."""
    from lowlight_enhance.evaluation.bags import BagEvaluationConfig

    return BagEvaluationConfig(
        images=tuple(dict.fromkeys(options.images)),
        metadata=tuple(options.metadata),
        reference_topic=options.reference_topic,
        enhanced_topic=options.enhanced_topic,
        stream=pipeline_config(options, options.default_iso, options.default_exposure),
        every=options.every,
        max_frames=options.max_frames,
    )


def load_enhance(options: argparse.Namespace, model: Path) -> Enhance:
    """Return the ``Enhance`` of an ONNX file or a checkpoint. Only checkpoints import PyTorch."""
    if model.suffix in (".pt", ".safetensors"):
        from lowlight_enhance.training import evaluate

        return evaluate.load_enhance(model, options.working_size, options.threads, options.upsampling)
    from lowlight_enhance.core.enhancement.enhancer import Enhancer

    return Enhancer(model, threads=options.threads, working_size=options.working_size, upsampling=options.upsampling)


def _load_model(options: argparse.Namespace) -> tuple[Enhance, ModelCard]:
    from lowlight_enhance.core.enhancement.enhancer import Enhancer
    from lowlight_enhance.core.inference.model_zoo import default_model
    from lowlight_enhance.evaluation.report.card import checkpoint_card, model_card

    path = options.model or default_model()
    enhance = load_enhance(options, path)
    if not isinstance(enhance, Enhancer):
        return enhance, checkpoint_card(path)
    enhance.warm_up()
    return enhance, model_card(enhance)


def report_path(options: argparse.Namespace) -> Path | None:
    """Return the path of the report that the options name; None if they name none."""
    if options.report:
        return Path(options.report)
    return options.out / "report.html" if options.out else None


def check_outputs(options: argparse.Namespace) -> None:
    """Check before the work starts that the report can be written. ``--out`` has been checked and may not exist yet.

    Raises:
        DataError: the report cannot be written.
    """
    from lowlight_enhance.core.files import check_output_file

    if options.report and options.report.parent != options.out:
        check_output_file(options.report)
    elif not (options.report or options.out) and options.bag:
        check_output_file(Path("report.html"))


def writes_report(options: argparse.Namespace) -> bool:
    """Return whether a report is to be written.

    With ``--out`` alone and without the modules of the report, print what is missing and return False.

    Raises:
        ModuleNotFoundError: ``--report`` is given, and a module of the extra is missing.
    """
    if report_path(options) is None:
        return False
    try:
        from lowlight_enhance.evaluation.report import page  # noqa: F401
    except ModuleNotFoundError as error:
        if options.report:
            raise
        print(f"no report.html without the Python module {error.name}: pip install 'lowlight_enhance[report]'")
        return False
    return True


def _describe(section: Section) -> str:
    """Return the main values of a section as text."""
    from lowlight_enhance.evaluation.report.tables import tiles

    lines = [f"{section.title}: {len(section.frames)} frames"]
    for tile in tiles(section):
        change = f"{tile.input} -> {tile.output}" if tile.input else tile.output
        lines.append(f"  {tile.label:<12} {change} {tile.unit}".rstrip())
    return "\n".join([*lines, *(f"  {note}" for note in section.notes)])
