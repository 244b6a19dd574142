"""`lowlight evaluate --detector`: does the enhancement help a detector?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowlight_enhance.commands.arguments import non_negative, positive
from lowlight_enhance.commands.report import bag_config, check_outputs, load_enhance, report_path, writes_report

if TYPE_CHECKING:
    from lowlight_enhance.core.enhancement.enhancer import Enhance
    from lowlight_enhance.evaluation.detection.boxes import BoxDetector
    from lowlight_enhance.evaluation.detection.clips import Clip
    from lowlight_enhance.evaluation.detection.compare import Comparison
    from lowlight_enhance.evaluation.detection.keypoints import Keypoints

BASELINES = ("gamma", "auto_gamma", "clahe")


def add_detector_options(parser: argparse.ArgumentParser) -> None:
    """``--detector`` and what goes with it."""
    group = parser.add_argument_group("does it help a detector? (docs/detectors.md)")
    group.add_argument(
        "--detector",
        action="append",
        metavar="KIND",
        dest="detectors",
        help="orb, sift, hog (people), face, or an ONNX file of a YOLO kind; give it again for more",
    )
    group.add_argument(
        "--baseline",
        action="append",
        choices=BASELINES,
        dest="baselines",
        help="what to compare with beside the dark input; give it again for more (default: all)",
    )
    group.add_argument(
        "--sequence",
        action="append",
        type=Path,
        default=[],
        metavar="DIR",
        dest="sequences",
        help="consecutive frames as pictures, for keypoints; give it again for more",
    )
    group.add_argument("--labels", type=Path, metavar="PATH", help="COCO's JSON, or a folder of YOLO's text files")
    group.add_argument("--classes", metavar="A,B,...", help="names of the classes in the order of their numbers")
    group.add_argument("--layout", choices=("v5", "v8", "nms"), help="of the ONNX file's boxes (default: recognised)")
    group.add_argument(
        "--detector-size", type=non_negative, default=0, metavar="PX", help="side of the ONNX file's input"
    )
    group.add_argument("--confidence", type=float, default=0.25, help="of its boxes that count (default: %(default)g)")
    group.add_argument("--keypoints", type=positive, default=500, help="most of a frame (default: %(default)s)")
    group.add_argument(
        "--within", type=float, default=3.0, metavar="PX", help="largest error of a keypoint (default: %(default)g)"
    )
    group.add_argument(
        "--views", type=non_negative, default=3, help="frames of a camera over each photograph (default: %(default)s)"
    )
    group.add_argument("--limit", type=positive, metavar="N", help="at most so many pictures, spread over the index")


def run_detector(options: argparse.Namespace) -> int:
    """Run ``lowlight evaluate --detector``; returns the exit code."""
    from lowlight_enhance.core.errors import DataError
    from lowlight_enhance.core.files import make_folder
    from lowlight_enhance.core.inference.model_zoo import default_model
    from lowlight_enhance.evaluation.detection import compare, report
    from lowlight_enhance.evaluation.detection.labels import check_labels, read_labels

    check_outputs(options)
    chosen = options.model or default_model()
    keypoints, detectors = _detectors(options)
    names = _names(options) or next((d.classes for d in detectors if d.name not in ("hog", "face")), ())
    labels = read_labels(options.labels, names) if options.labels else None
    if labels is not None:
        check_labels(labels, detectors)
    reports = writes_report(options)
    enhance = load_enhance(options, chosen)
    clips = _clips(options, bool(keypoints)) + _recordings(options, enhance)
    if not clips:
        raise DataError("no frames: give --pairs, --photos, --sequence or --bag, and check --split and --max-mean")
    shown = compare.renderings(enhance, options.baselines or BASELINES)
    if options.out:
        make_folder(options.out)
    comparison = compare.compare(_progress(clips), shown, keypoints, detectors, labels)
    title = f"{chosen.name} on {', '.join(f'{path.parent.name}/{path.name}' for path in _sources(options))}"
    print(title)
    for table in report.tables(comparison):
        print(f"\n{table}")
    if comparison.unlabelled:
        print(f"\n{comparison.unlabelled} times a frame had neither labels nor a reference and was left out")
    if options.out:
        report.write(comparison, _settings(options, chosen), options.out)
    if reports:
        print(f"\n{_write_page(options, title, comparison)}")
    return 0


def _write_page(options: argparse.Namespace, title: str, comparison: Comparison) -> Path:
    """The tables as an HTML page; where it is."""
    from lowlight_enhance.evaluation.detection.report import page_tables
    from lowlight_enhance.evaluation.report.content import Report, Section
    from lowlight_enhance.evaluation.report.page import write_page

    target = report_path(options) or Path("report.html")
    facts = (("detectors", ", ".join(options.detectors)), ("gain", "of the enhanced frames, 95 % interval by scenes"))
    write_page(Report(title, facts, (Section("Detectors", (), (), tables=page_tables(comparison)),)), target)
    return target


def _detectors(options: argparse.Namespace) -> tuple[list[Keypoints], list[BoxDetector]]:
    """What ``--detector`` names.

    Raises:
        ConfigError: a word that is neither a kind nor a file, or two files of one name.
    """
    from lowlight_enhance.core.errors import ConfigError
    from lowlight_enhance.evaluation.detection.keypoints import KeypointOptions, Keypoints
    from lowlight_enhance.evaluation.detection.opencv import Faces, People
    from lowlight_enhance.evaluation.detection.yolo import Yolo, YoloOptions

    keypoints: list[Keypoints] = []
    boxes: list[BoxDetector] = []
    yolo = YoloOptions(
        options.layout, _names(options), options.confidence, size=options.detector_size, threads=options.threads
    )
    for kind in dict.fromkeys(options.detectors):
        if kind == "orb" or kind == "sift":
            keypoints.append(Keypoints(kind, KeypointOptions(options.keypoints, options.within)))
        elif kind == "hog":
            boxes.append(People())
        elif kind == "face":
            boxes.append(Faces())
        elif Path(kind).is_file():
            boxes.append(Yolo(Path(kind), yolo))
        else:
            raise ConfigError(f"--detector {kind}: choose orb, sift, hog or face, or name an ONNX file that exists")
    if len({detector.name for detector in boxes}) < len(boxes):
        raise ConfigError("two detectors bear one name; give one of the files another")
    return keypoints, boxes


def _clips(options: argparse.Namespace, with_keypoints: bool) -> list[Clip]:
    """The pictures that the options name.

    Raises:
        DataError: an index or a folder cannot be read.
    """
    from lowlight_enhance.core.errors import DataError
    from lowlight_enhance.core.metadata.capture import CaptureMetadata
    from lowlight_enhance.evaluation.detection import clips
    from lowlight_enhance.simulation.low_light import SENSORS, DarkExposure
    from lowlight_enhance.training.data.manifest import read_pairs, read_photos

    found: list[Clip] = []
    if options.data:
        pairs = [pair for pair in read_pairs(options.data) if options.split in (pair.split, "all")]
        if options.max_mean < 255.0:
            pairs = [pair for pair in pairs if clips.read_picture(pair.dark).mean() <= options.max_mean]
        found += [clips.pair(p.dark, p.bright, p.capture, p.scene) for p in _spread(pairs, options.limit)]
    if options.photos:
        if options.sensor not in SENSORS:
            raise DataError(f"sensor '{options.sensor}' is not calibrated; choose one of {', '.join(SENSORS)}")
        listed = [path for path, split in read_photos(options.photos) if options.split in (split, "all")]
        for number, path in enumerate(_spread(listed, options.limit)):
            capture = CaptureMetadata(options.iso[number % len(options.iso)], 1 / 60)
            exposure = DarkExposure(options.stops, capture, SENSORS[options.sensor])
            found.append(clips.darkened(path, exposure, (0, number)))
            if with_keypoints and options.views > 1:
                found.append(clips.moving(path, exposure, options.views, (0, number)))
    for folder in options.sequences:
        found += clips.sequences(folder)
    return found


def _recordings(options: argparse.Namespace, enhance: Enhance) -> list[Clip]:
    """The cameras of ``--bag``."""
    if not options.bag:
        return []
    from lowlight_enhance.evaluation.detection.recordings import recordings

    return recordings(options.bag, bag_config(options), enhance)


def _spread(items: list[Any], limit: int | None) -> list[Any]:
    """At most ``limit`` of them, evenly over the list."""
    if limit is None or limit >= len(items):
        return items
    return [items[number * len(items) // limit] for number in range(limit)]


def _names(options: argparse.Namespace) -> tuple[str, ...]:
    return tuple(name.strip() for name in (options.classes or "").split(",") if name.strip())


def _sources(options: argparse.Namespace) -> list[Path]:
    return [path for path in (options.data, options.photos, *options.sequences, options.bag) if path]


def _settings(options: argparse.Namespace, chosen: Path) -> dict[str, Any]:
    """What the figures depend on, for ``summary.json``."""
    from lowlight_enhance.core.inference.model_file import read_model

    names = ("detectors", "baselines", "split", "max_mean", "stops", "iso", "sensor", "keypoints", "within", "views")
    kept = {name: getattr(options, name) for name in (*names, "limit", "layout", "classes", "confidence")}
    sha256 = "" if chosen.suffix == ".pt" else read_model(chosen).sha256
    return {"model": chosen.name, "sha256": sha256, "frames": [str(path) for path in _sources(options)]} | kept


def _progress(clips: list[Clip]) -> Any:
    """The clips, with a bar where tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return clips
    return tqdm(clips, unit="clip", leave=False, disable=None)
