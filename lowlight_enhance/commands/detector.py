"""`lowlight evaluate --detector`: measure whether the enhancement helps detectors, trackers and text recognition."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowlight_enhance.commands.arguments import pipeline_config
from lowlight_enhance.commands.detector_options import DEFAULT_BASELINES, KINDS
from lowlight_enhance.commands.report import bag_config, check_outputs, load_enhance, report_path, writes_report

if TYPE_CHECKING:
    from lowlight_enhance.core.enhancement.enhancer import Enhance
    from lowlight_enhance.evaluation.detection.boxes import BoxDetector
    from lowlight_enhance.evaluation.detection.clips import Clip
    from lowlight_enhance.evaluation.detection.compare import DetectorComparison, Detectors
    from lowlight_enhance.evaluation.detection.labels import Labels
    from lowlight_enhance.evaluation.detection.tables import ResultTable

MIN_TRACKED_CLIP = 16
"""Frames of a clip for tracking: temporal fusion needs the first few to settle, points are tracked over the rest."""


def run_detector(options: argparse.Namespace) -> int:
    """Run ``lowlight evaluate --detector`` and return the exit status."""
    from lowlight_enhance.core.errors import DataError
    from lowlight_enhance.core.inference.model_zoo import default_model
    from lowlight_enhance.evaluation.detection.compare import compare_renderings
    from lowlight_enhance.evaluation.detection.output import write_comparison
    from lowlight_enhance.evaluation.detection.renderings import renderings
    from lowlight_enhance.evaluation.detection.tables import result_tables

    check_outputs(options)
    stream = pipeline_config(options, options.default_iso, options.default_exposure)
    model = options.model or default_model()
    detectors = _detectors(options)
    if detectors.tracks:
        options.clip_frames = max(options.clip_frames, MIN_TRACKED_CLIP)
    labels = _labels(options, detectors.boxes)
    has_report = writes_report(options)
    enhance = None if options.enhanced_topic else load_enhance(options, model)
    clips = [*_image_clips(options), *_bag_clips(options, enhance)]
    if not clips:
        raise DataError(
            "no frames: give --pairs, --photos, --sequence, --video or --bag, and check --split and --max-mean"
        )
    settings = _settings(options, model)
    compared = renderings(enhance, options.baselines or DEFAULT_BASELINES, stream)
    comparison = compare_renderings(_with_progress(clips), compared, detectors, labels)
    tables = result_tables(comparison)
    title = f"{settings['model']} on {', '.join(f'{path.parent.name}/{path.name}' for path in _sources(options))}"
    print("\n\n".join([title, *map(str, tables)]))
    if comparison.unlabelled:
        print(f"\nskipped {comparison.unlabelled} frames that had neither labels nor a reference")
    if options.out:
        write_comparison(comparison, tables, settings, options.out)
    if has_report:
        print(f"\n{_write_page(options, title, comparison, tables)}")
    return 0


def _write_page(
    options: argparse.Namespace, title: str, comparison: DetectorComparison, tables: list[ResultTable]
) -> Path:
    """Write the HTML report and return its path."""
    from lowlight_enhance.evaluation.detection.output import comparison_section
    from lowlight_enhance.evaluation.report.content import Report
    from lowlight_enhance.evaluation.report.page import write_page

    target = report_path(options) or Path("report.html")
    facts = (
        ("detectors", ", ".join(Path(name).name for name in options.detectors)),
        ("differences", "enhanced stream minus another rendering, 90 % interval by resampling images"),
    )
    write_page(Report(title, facts, (comparison_section("Detectors", comparison, tables),)), target)
    return target


def _detectors(options: argparse.Namespace) -> Detectors:
    """Return the detectors that ``--detector`` names.

    Raises:
        ConfigError: a value is neither a kind nor a file, or two files have the same name.
    """
    from lowlight_enhance.core.errors import ConfigError
    from lowlight_enhance.evaluation.detection.compare import Detectors
    from lowlight_enhance.evaluation.detection.keypoints import KeypointOptions, Keypoints
    from lowlight_enhance.evaluation.detection.onnx_detector import OnnxDetector
    from lowlight_enhance.evaluation.detection.opencv_detectors import Faces, People
    from lowlight_enhance.evaluation.detection.text import RapidOcr

    kinds = list(dict.fromkeys(options.detectors))
    for kind in kinds:
        if kind not in KINDS and not Path(kind).is_file():
            raise ConfigError(f"--detector {kind}: choose one of {', '.join(KINDS)}, or give an existing ONNX file")
    keypoint_options = KeypointOptions(options.keypoints, options.within)
    keypoints = [Keypoints(kind, keypoint_options) for kind in kinds if kind in ("orb", "sift")]
    boxes: list[BoxDetector] = [People()] if "hog" in kinds else []
    boxes += [Faces()] if "face" in kinds else []
    boxes += [OnnxDetector(Path(kind), _detector_options(options)) for kind in kinds if kind not in KINDS]
    if len({detector.name for detector in boxes}) < len(boxes):
        raise ConfigError("two detectors have the same name; rename one of the files")
    return Detectors(keypoints, boxes, [RapidOcr()] if "text" in kinds else [], tracks="klt" in kinds)


def _detector_options(options: argparse.Namespace) -> Any:
    from lowlight_enhance.evaluation.detection.onnx_detector import DetectorOptions

    return DetectorOptions(
        options.layout,
        _class_names(options),
        options.confidence,
        size=options.detector_size,
        threads=options.threads,
    )


def _labels(options: argparse.Namespace, detectors: Iterable[BoxDetector]) -> Labels | None:
    """Return the labels.

    Raises:
        DataError: the labels cannot be read, or a detector knows none of their classes.
    """
    if not options.labels:
        return None
    from lowlight_enhance.evaluation.detection.labels import check_labels, read_labels

    names = next((d.classes for d in detectors if d.name not in ("hog", "face")), ())
    labels = read_labels(options.labels, _class_names(options), names, options.label_format)
    check_labels(labels, detectors)
    return labels


def _image_clips(options: argparse.Namespace) -> Iterator[Clip]:
    """Yield the clips of manifests, folders and videos.

    Raises:
        DataError: a manifest or a folder cannot be read.
    """
    from lowlight_enhance.evaluation.detection import clips
    from lowlight_enhance.training.data.manifest import read_pairs

    if options.data:
        pairs = [pair for pair in read_pairs(options.data, options.data_root) if options.split in (pair.split, "all")]
        if options.max_mean < 255.0:
            pairs = [pair for pair in pairs if clips.read_image(pair.dark).mean() <= options.max_mean]
        for pair in _evenly_spaced(pairs, options.limit):
            yield clips.pair_clip(pair.dark, pair.bright, pair.capture, pair.scene)
    if options.photos:
        yield from _photograph_clips(options)
    for folder in options.sequences:
        yield from clips.folder_clips(folder)
    for video in options.videos:
        yield clips.video_clip(video)


def _photograph_clips(options: argparse.Namespace) -> Iterator[Clip]:
    """Yield a clip of each photograph for each ``--light``.

    Raises:
        DataError: the manifest cannot be read.
        ConfigError: the sensor is unknown.
    """
    from lowlight_enhance.core.metadata.capture import CaptureMetadata
    from lowlight_enhance.evaluation.detection.clips import ClipSettings, photograph_clip
    from lowlight_enhance.simulation.low_light import DarkExposure
    from lowlight_enhance.simulation.sensors import find_sensor
    from lowlight_enhance.training.data.manifest import read_photos

    sensor = find_sensor(options.sensor, options.full_well)
    settings = ClipSettings(options.clip_frames, options.motion)
    photographs = [
        path for path, split in read_photos(options.photos, options.data_root) if options.split in (split, "all")
    ]
    for stops, iso in options.lights or [(options.stops, None)]:
        for number, path in enumerate(_evenly_spaced(photographs, options.limit)):
            value = options.iso[number % len(options.iso)] if iso is None else iso
            exposure = DarkExposure(stops, CaptureMetadata(value, 1 / settings.rate_hz), sensor)
            condition = f"{stops:g} stops, ISO {' '.join(f'{v:g}' for v in ([iso] if iso else options.iso))}"
            yield photograph_clip(path, exposure, settings, (0, number), condition)


def _bag_clips(options: argparse.Namespace, enhance: Enhance | None) -> list[Clip]:
    if not options.bag:
        return []
    from lowlight_enhance.evaluation.detection.bag_clips import bag_clips

    return bag_clips(options.bag, bag_config(options), enhance)


def _evenly_spaced(items: list[Any], limit: int | None) -> list[Any]:
    """Return at most ``limit`` of the items, at regular intervals."""
    if limit is None or limit >= len(items):
        return items
    return [items[number * len(items) // limit] for number in range(limit)]


def _class_names(options: argparse.Namespace) -> tuple[str, ...]:
    return tuple(name.strip() for name in (options.classes or "").split(",") if name.strip())


def _sources(options: argparse.Namespace) -> list[Path]:
    return [p for p in (options.data, options.photos, *options.sequences, *options.videos, options.bag) if p]


def _settings(options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """Return the settings that the results depend on, for ``summary.json``."""
    from lowlight_enhance.training.data.verification import sha256_of

    names = (
        "detectors",
        "baselines",
        "split",
        "max_mean",
        "stops",
        "iso",
        "lights",
        "sensor",
        "full_well",
        "clip_frames",
        "motion",
        "keypoints",
        "within",
        "limit",
        "layout",
        "classes",
        "confidence",
    )
    topic = options.enhanced_topic
    about = {
        "model": f"topic {topic}" if topic else model.name,
        "sha256": "" if topic else sha256_of(model),
    }
    values = {name: getattr(options, name) for name in names}
    return about | {"frames": [str(path) for path in _sources(options)]} | values


def _with_progress(clips: list[Clip]) -> Iterable[Clip]:
    """Return the clips, with a progress bar if tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return clips
    progress: Iterable[Clip] = tqdm(clips, unit="clip", leave=False, disable=None)
    return progress
