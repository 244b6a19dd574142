"""Section of a report for scored images: metrics, sample images, artifacts and the metadata test."""

from __future__ import annotations

from collections.abc import Sequence

from lowlight_enhance.core.enhancement.enhancer import Enhance
from lowlight_enhance.evaluation.metrics import ReferenceMetrics
from lowlight_enhance.evaluation.report.content import FrameMetrics, SampleFrame, Section, Table
from lowlight_enhance.evaluation.report.measured_enhance import MeasuredCall, MeasuredEnhance
from lowlight_enhance.evaluation.score_summary import summarize_scores
from lowlight_enhance.evaluation.scoring import METADATA_TEST, ScoredImage, Scores, darkest_fifth, mean_over_scenes

SAMPLES = 6
"""Images that are shown, from the lowest PSNR to the highest."""


def score_section(title: str, scored: Sequence[ScoredImage], measured: MeasuredEnhance) -> Section:
    """Return a section of scored images.

    Args:
        title: title of the section.
        scored: result of ``score_images``.
        measured: the ``Enhance`` that ``score_images`` called.
    """
    calls, place = [], 0
    for entry in scored:
        calls.append(measured.calls[place])
        # The metadata test makes three calls for an image with known metadata.
        place += sum(scores is not None for scores in (entry.after, entry.withheld, entry.shuffled))
    frames = tuple(_frame_metrics(entry, call) for entry, call in zip(scored, calls, strict=True))
    samples = _samples(scored, frames, measured.enhance)
    return Section(title, frames, tuple(samples), (), tuple(_tables(scored)))


def _frame_metrics(entry: ScoredImage, call: MeasuredCall) -> FrameMetrics:
    return FrameMetrics(
        name=entry.image.name,
        scene=entry.image.scene,
        input=call.input,
        output=call.output,
        iso=entry.iso,
        exposure_s=entry.exposure_s,
        input_metrics=_reference_metrics(entry.before),
        output_metrics=_reference_metrics(entry.after),
        latency_ms={"total": call.latency_ms},
    )


def _reference_metrics(scores: Scores) -> ReferenceMetrics:
    return ReferenceMetrics(scores.psnr, scores.ssim, scores.hue_deg)


def _samples(scored: Sequence[ScoredImage], frames: Sequence[FrameMetrics], enhance: Enhance) -> list[SampleFrame]:
    """Return the images at regular intervals in the order of their PSNR."""
    order = sorted(range(len(scored)), key=lambda index: scored[index].after.psnr)
    count = min(SAMPLES, len(order))
    samples = []
    for index in (order[round(n * (len(order) - 1) / max(count - 1, 1))] for n in range(count)):
        pair = scored[index].image.load()
        enhanced = enhance(pair.dark, scored[index].image.capture)
        samples.append(SampleFrame(frames[index], pair.dark, enhanced, pair.bright))
    return samples


def _tables(scored: Sequence[ScoredImage]) -> list[Table]:
    metadata = summarize_scores(scored)["metadata"]
    if not metadata:
        return [_artifact_table(scored)]
    test = Table(
        "Metadata test",
        ("ISO", *("PSNR dB", "SSIM") * len(METADATA_TEST)),
        tuple(
            (label, *(text for s in scores.values() for text in (f"{s['psnr']:.2f}", f"{s['ssim']:.3f}")))
            for label, scores in metadata.items()
        ),
        "The same images with their own ISO and exposure time, without them, and with those of another image.",
        (("", 1), *((name, 2) for name in METADATA_TEST)),
    )
    return [_artifact_table(scored), test]


def _artifact_table(scored: Sequence[ScoredImage]) -> Table:
    shown = {
        "input": mean_over_scenes(scored, "before"),
        "output": mean_over_scenes(scored),
        "output, darkest fifth": mean_over_scenes(darkest_fifth(scored)),
    }
    return Table(
        "Artifacts",
        ("", "PSNR GT-mean", "cast a*", "cast b*", "SSIM of dark regions", "noise ratio", "clipped"),
        tuple((name, *_artifact_cells(scores)) for name, scores in shown.items()),
        "PSNR GT-mean: after the image is scaled to the brightness of the reference. Cast: mean offset in CIELAB "
        "towards red (a*) and yellow (b*). Dark regions: the darkest quarter of the reference. Noise ratio: noise in "
        "flat blocks divided by that of the reference. Clipped: share of clipped pixels minus that of the reference.",
    )


def _artifact_cells(s: Scores) -> tuple[str, ...]:
    signed = (f"{s.cast_a:+.1f}", f"{s.cast_b:+.1f}")
    return (f"{s.psnr_gt_mean:.2f}", *signed, f"{s.dark_ssim:.3f}", f"{s.noise_ratio:.2f}", f"{s.clipped_excess:+.4f}")
