"""Options of `lowlight evaluate --detector`."""

from __future__ import annotations

import argparse
from pathlib import Path

from lowlight_enhance.commands.arguments import non_negative, positive

# These choices repeat constants of ``evaluation`` and ``simulation``: importing those would slow ``lowlight --help``.
BASELINES = ("blur", "gamma", "auto_gamma", "clahe")
DEFAULT_BASELINES = ("blur", "gamma", "clahe")
KINDS = ("orb", "sift", "klt", "hog", "face", "text")
LAYOUTS = ("v5", "v8", "nms", "yolox", "yolox_decoded", "rtdetr")
LABEL_FORMATS = ("auto", "box", "polygon", "pose")
MOTIONS = ("static", "hover", "pan", "rotate", "zoom", "flight")


def add_detector_options(parser: argparse.ArgumentParser) -> None:
    """Declare ``--detector`` and its options."""
    group = parser.add_argument_group("detectors, trackers and text (docs/detectors.md)")
    group.add_argument(
        "--detector",
        action="append",
        metavar="KIND",
        dest="detectors",
        help=f"{', '.join(KINDS)}, or an ONNX file of a YOLO, YOLOX or RT-DETR detector; repeatable",
    )
    group.add_argument(
        "--baseline",
        action="append",
        choices=BASELINES,
        dest="baselines",
        help=f"rendering to compare with, beside the dark frame; repeatable (default: {', '.join(DEFAULT_BASELINES)})",
    )
    _add_clip_options(group)
    _add_box_options(group)
    group.add_argument(
        "--keypoints", type=positive, default=500, help="keypoints per frame for orb and sift (default: %(default)s)"
    )
    group.add_argument(
        "--within",
        type=float,
        default=3.0,
        metavar="PX",
        help="largest error in pixels of a repeated keypoint (default: %(default)g)",
    )


def _add_clip_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--sequence",
        action="append",
        type=Path,
        default=[],
        metavar="DIR",
        dest="sequences",
        help="folder of consecutive dark frames as images; repeatable",
    )
    group.add_argument(
        "--video", action="append", type=Path, default=[], metavar="FILE", dest="videos", help="dark video; repeatable"
    )
    group.add_argument(
        "--clip-frames",
        type=positive,
        default=8,
        metavar="N",
        help="frames of the clip that is made of each photograph and ends with it; 1: the photograph alone (default: "
        "%(default)s; at least 16 for klt)",
    )
    group.add_argument(
        "--motion", choices=MOTIONS, default="flight", help="camera motion of these clips (default: %(default)s)"
    )
    group.add_argument(
        "--light",
        action="append",
        type=_light,
        default=[],
        metavar="STOPS:ISO",
        dest="lights",
        help="light of darkened photographs; repeatable, one table each (default: --stops and --iso)",
    )
    group.add_argument(
        "--limit", type=positive, metavar="N", help="largest number of images, at regular intervals in the manifest"
    )


def _add_box_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--labels", type=Path, metavar="PATH", help="COCO JSON file, or folder of YOLO text files")
    group.add_argument(
        "--label-format", choices=LABEL_FORMATS, default="auto", help="lines of YOLO text files (default: recognised)"
    )
    group.add_argument(
        "--classes", metavar="A,B,...", help="class names in the order of their numbers, of detector and labels"
    )
    group.add_argument("--layout", choices=LAYOUTS, help="outputs of the ONNX file (default: recognised)")
    group.add_argument(
        "--detector-size", type=non_negative, default=0, metavar="PX", help="side of the ONNX file's input"
    )
    group.add_argument(
        "--confidence", type=float, default=0.25, help="lowest score of a box that counts (default: %(default)g)"
    )


def _light(text: str) -> tuple[float, float]:
    stops, _, iso = text.partition(":")
    try:
        return float(stops), float(iso)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not STOPS:ISO, such as 4:3200") from None
