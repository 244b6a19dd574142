"""The report's picture in docs/: `python test/helpers/report_picture.py docs/pictures/report.png`.

A recording is made of scikit-image's free photographs, each panned over and darkened by the physics of a camera, with
the metadata that a RealSense publishes; `lowlight evaluate --bag` reports on it; Chromium shows the page.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bag_maker
import skimage.data
from bag_maker import FIRST_NS, IMAGE, PERIOD_NS, REALSENSE, BagMessage
from PIL import Image
from playwright.sync_api import sync_playwright

from lowlight_enhance.cli import main
from lowlight_enhance.simulation.sequences import SequenceOptions, simulate_sequence

FRAMES = 20
WIDTH, HEIGHT = 640, 480
SCENES = (
    (skimage.data.astronaut, 800.0, 2.5),
    (skimage.data.coffee, 1600.0, 3.5),
    (skimage.data.chelsea, 6400.0, 4.5),
)
"""Photograph, ISO, and stops of under-exposure."""

VIEW = {"width": 1180, "height": 1060}
COLOURS = 256
"""Of the picture, so that it stays small."""


def image(stamp_ns: int, rgb: Any) -> Any:
    header = bag_maker.header(stamp_ns)
    return bag_maker.T[IMAGE](header, HEIGHT, WIDTH, "rgb8", 0, 3 * WIDTH, rgb.reshape(-1))


def messages() -> Iterator[BagMessage]:
    number = 0
    for photograph, iso, stops in SCENES:
        options = SequenceOptions(WIDTH, HEIGHT, FRAMES, iso=iso, stops=stops)
        for frame in simulate_sequence("pan", photograph(), photograph(), options, seed=number):
            ns = FIRST_NS + number * PERIOD_NS
            exposure_us, gain = round(1e6 * (frame.capture.exposure_s or 0)), round(iso / 100)
            text = f'{{"actual_exposure":{exposure_us},"gain_level":{gain},"auto_exposure":0}}'
            yield BagMessage("/camera/metadata", ns, REALSENSE, bag_maker.T[REALSENSE](bag_maker.header(ns), text))
            yield BagMessage("/camera/image_raw", ns + 1, IMAGE, image(ns, frame.dark))
            yield BagMessage("/reference/image", ns + 2, IMAGE, image(ns, frame.reference))
            number += 1


def photograph_of(page_file: Path, target: Path) -> None:
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as scratch:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=VIEW, color_scheme="light")
        page.goto(page_file.as_uri())
        page.screenshot(path=Path(scratch) / "page.png")
        browser.close()
        with Image.open(Path(scratch) / "page.png") as shot:
            shot.convert("RGB").quantize(COLOURS).save(target, optimize=True)


def run(target: Path, kept: Path | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = kept or Path(scratch)
        bag = bag_maker.write_bag(Path(scratch) / "night_walk", messages())
        main(["evaluate", "--bag", str(bag), "--reference-topic", "/reference/image", "--out", str(folder)])
        photograph_of(folder / "report.html", target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("target", type=Path)
    parser.add_argument("--keep", type=Path, help="folder for the report itself")
    options = parser.parse_args()
    run(options.target.absolute(), options.keep and options.keep.absolute())
