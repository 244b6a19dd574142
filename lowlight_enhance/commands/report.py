"""The report of `lowlight evaluate`: what its options mean, and how scores become chapters."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowlight_enhance.commands.arguments import (
    METADATA_OPTIONS,
    STREAM_OPTIONS,
    add_fields,
    positive,
    seconds,
    stream_config,
)

if TYPE_CHECKING:
    from lowlight_enhance.core.enhancement.enhancer import Enhance
    from lowlight_enhance.evaluation.bags import BagQuestions
    from lowlight_enhance.evaluation.report.content import Card, Chapter, FrameFigures, Likeness, Sample, Table
    from lowlight_enhance.evaluation.report.observed import Observed
    from lowlight_enhance.training.evaluate import Row, Scores

SAMPLES = 6
"""Photographs that are shown, from the least to the most alike."""

BAG_STREAM_OPTIONS = {name: kind for name, kind in STREAM_OPTIONS.items() if name != "output_encoding"}


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """``--report``, ``--bag`` and what goes with that."""
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="page with pictures, tables and plots (default: report.html in --out; with --bag else in this folder)",
    )
    bag = parser.add_argument_group("recordings (docs/evaluation.md)")
    bag.add_argument("--bag", type=Path, metavar="BAG", help="rosbag2 folder, or .mcap or .db3 file")
    bag.add_argument(
        "--topic", action="append", default=[], dest="images", help="image topic; repeatable (default: every camera)"
    )
    bag.add_argument("--reference-topic", default="", metavar="TOPIC", help="well-lit images of the same stamps")
    bag.add_argument(
        "--enhanced-topic", default="", metavar="TOPIC", help="images that are enhanced already; no model runs"
    )
    bag.add_argument(
        "--metadata",
        action="append",
        default=[],
        metavar="[IMAGE=]TOPIC",
        help="capture metadata; repeatable, 'none' for none (default: found by type and namespace)",
    )
    bag.add_argument("--default-iso", type=float, help="ISO where no metadata tells it")
    bag.add_argument("--default-exposure", type=seconds, metavar="SECONDS", help="exposure time where none tells it")
    bag.add_argument("--every", type=positive, default=1, metavar="N", help="only every Nth frame")
    bag.add_argument("--max-frames", type=positive, metavar="N", help="at most so many frames of each camera")
    add_fields(bag, BAG_STREAM_OPTIONS, "")
    add_fields(bag, METADATA_OPTIONS, "metadata_")


def run_bag(options: argparse.Namespace) -> int:
    """Run ``lowlight evaluate --bag``; returns the exit code."""
    from lowlight_enhance.evaluation import bags  # isort: skip (it is to be missed before tqdm)
    from lowlight_enhance.evaluation.report import page  # isort: skip (it is to be missed before the work)
    from tqdm import tqdm

    from lowlight_enhance.core.malloc import keep_image_buffers
    from lowlight_enhance.evaluation.report.content import Report
    from lowlight_enhance.evaluation.report.files import write_files

    keep_image_buffers()
    questions = questions_of(options)
    cameras = bags.cameras_of(options.bag, questions)
    enhance, card = (None, None) if options.enhanced_topic else _model(options)
    frames = bags.frames_in(cameras, questions)
    with tqdm(total=frames, unit="frame", disable=None) as progress:
        chapters = bags.evaluate_bag(options.bag, enhance, questions, progress.update)
    last_s = max(frame.time_s or 0.0 for chapter in chapters for frame in chapter.frames)
    facts = [("enhanced by", card.name if card else f"topic {options.enhanced_topic}")]
    facts += [("frames", f"{sum(len(chapter.frames) for chapter in chapters)} in {last_s:.1f} s")]
    facts += [("reference", options.reference_topic)] if options.reference_topic else []
    if options.out:
        write_files(chapters, options.out)
    target = target_of(options) or Path("report.html")
    page.write_page(Report(options.bag.name, tuple(facts), tuple(chapters), card), target)
    for chapter in chapters:
        print(_described(chapter))
    print(target)
    return 0


def questions_of(options: argparse.Namespace) -> BagQuestions:
    """What the options ask of a bag."""
    from lowlight_enhance.evaluation.bags import BagQuestions

    return BagQuestions(
        images=tuple(dict.fromkeys(options.images)),
        metadata=tuple(options.metadata),
        reference_topic=options.reference_topic,
        enhanced_topic=options.enhanced_topic,
        stream=stream_config(options, options.default_iso, options.default_exposure),
        every=options.every,
        max_frames=options.max_frames,
    )


def _model(options: argparse.Namespace) -> tuple[Enhance, Card]:
    from lowlight_enhance.core.enhancement.enhancer import Enhancer
    from lowlight_enhance.core.inference.model_zoo import default_model
    from lowlight_enhance.evaluation.report.card import card_of, checkpoint_card

    chosen = options.model or default_model()
    if chosen.suffix == ".pt":
        from lowlight_enhance.training.evaluate import load_enhance

        return load_enhance(chosen, options.working_size, options.threads, options.upsampling), checkpoint_card(chosen)
    enhancer = Enhancer(
        chosen, threads=options.threads, working_size=options.working_size, upsampling=options.upsampling
    )
    enhancer.warm_up()
    return enhancer, card_of(enhancer)


def target_of(options: argparse.Namespace) -> Path | None:
    """Where the report goes, if the options say it."""
    if options.report:
        return Path(options.report)
    return options.out / "report.html" if options.out else None


def _described(chapter: Chapter) -> str:
    """The chapter's main figures as lines to print."""
    from lowlight_enhance.evaluation.report.figures import tiles

    lines = [f"{chapter.title}: {len(chapter.frames)} frames"]
    for tile in tiles(chapter):
        change = f"{tile.before} -> {tile.after}" if tile.before else tile.after
        lines.append(f"  {tile.label:<12} {change} {tile.unit}".rstrip())
    return "\n".join([*lines, *(f"  {note}" for note in chapter.notes)])


def wants_report(options: argparse.Namespace) -> bool:
    """Whether scores of photographs end in a report; says what is missing where only ``--out`` asks for one.

    Raises:
        ModuleNotFoundError: ``--report`` asks for one, and a module of the extra is missing.
    """
    if target_of(options) is None:
        return False
    try:
        from lowlight_enhance.evaluation.report import page  # noqa: F401
    except ModuleNotFoundError as error:
        if options.report:
            raise
        print(f"no report.html, for want of {error.name}: pip install 'lowlight_enhance[report]'")
        return False
    return True


def report_on_rows(options: argparse.Namespace, chosen: Path, rows: Sequence[Row], observed: Observed) -> Path:
    """Write the report of scores against references; returns where it is."""
    from lowlight_enhance.core.enhancement.enhancer import Enhancer
    from lowlight_enhance.evaluation.report import page
    from lowlight_enhance.evaluation.report.card import card_of, checkpoint_card
    from lowlight_enhance.evaluation.report.content import Chapter, Report

    source = options.data or options.photos
    calls = observed.calls[:: len(observed.calls) // len(rows)]
    figures = tuple(
        _figures(row, call.before, call.after, call.latency_ms) for row, call in zip(rows, calls, strict=True)
    )
    enhance = observed.enhance
    card = card_of(enhance) if isinstance(enhance, Enhancer) else checkpoint_card(chosen)
    how = [("split", options.split), ("shown", "from the least alike to the most")]
    if options.photos:
        how += [("darkened by", f"{options.stops:g} stops, noise of {options.sensor}")]
    title = f"{source.parent.name}/{source.name}"
    chapter = Chapter(title, figures, tuple(_samples(rows, figures, enhance)), (), tuple(_tables(rows)))
    target = target_of(options) or Path("report.html")
    facts = (("frames", f"{len(rows)}"), ("enhanced by", card.name), *how)
    page.write_page(Report(f"{card.name} on {title}", facts, (chapter,), card), target)
    return target


def _figures(row: Row, before: Any, after: Any, latency_ms: float) -> FrameFigures:
    from lowlight_enhance.evaluation.report.content import FrameFigures

    return FrameFigures(
        name=row.frame.name,
        scene=row.frame.scene,
        before=before,
        after=after,
        iso=row.frame.capture.iso,
        exposure_s=row.frame.capture.exposure_s,
        likeness_before=_likeness(row.before),
        likeness_after=_likeness(row.after),
        latency_ms={"total": latency_ms},
    )


def _likeness(scores: Scores) -> Likeness:
    from lowlight_enhance.evaluation.report.content import Likeness

    return Likeness(scores.psnr, scores.ssim, scores.hue_deg)


def _samples(rows: Sequence[Row], figures: Sequence[FrameFigures], enhance: Enhance) -> list[Sample]:
    """Frames evenly over the order of their likeness, the least alike first."""
    from lowlight_enhance.evaluation.report.content import Sample

    order = sorted(range(len(rows)), key=lambda index: rows[index].after.psnr)
    count = min(SAMPLES, len(order))
    chosen = [order[round(n * (len(order) - 1) / max(count - 1, 1))] for n in range(count)]
    samples = []
    for index in chosen:
        pair = rows[index].frame.load()
        enhanced = enhance(pair.dark, rows[index].frame.capture)
        samples.append(Sample(figures[index], pair.dark, enhanced, pair.bright))
    return samples


def _tables(rows: Sequence[Row]) -> list[Table]:
    """What the scores hold beyond likeness: usual faults, and the metadata test."""
    from lowlight_enhance.evaluation.report.content import Table
    from lowlight_enhance.training import evaluate

    shown = {
        "input": evaluate.over_scenes(rows, "before"),
        "output": evaluate.over_scenes(rows),
        "output, darkest fifth": evaluate.over_scenes(evaluate.darkest_fifth(rows)),
    }
    faults = Table(
        "Usual faults",
        ("", "cast a*", "cast b*", "SSIM of dark parts", "grain", "clipped"),
        tuple(
            (
                name,
                f"{s.cast_a:+.1f}",
                f"{s.cast_b:+.1f}",
                f"{s.dark_ssim:.3f}",
                f"{s.noise_ratio:.2f}",
                f"{s.clipped_excess:+.4f}",
            )
            for name, s in shown.items()
        ),
        "Casts: mean offset in CIELAB, towards red (a*) and yellow (b*). Dark parts: the reference's darkest quarter. "
        "Grain: on flat patches, times the reference's. Clipped: share of pixels beyond the reference's.",
    )
    told = evaluate.summary(rows)["metadata"]
    if not told:
        return [faults]
    test = Table(
        "What the metadata are worth",
        ("ISO", *("PSNR dB", "SSIM") * len(evaluate.METADATA_TEST)),
        tuple(
            (label, *(text for s in scores.values() for text in (f"{s['psnr']:.2f}", f"{s['ssim']:.3f}")))
            for label, scores in told.items()
        ),
        "The same frames with ISO and exposure time told truly, withheld, and those of another frame.",
        (("", 1), *((name, 2) for name in evaluate.METADATA_TEST)),
    )
    return [faults, test]
