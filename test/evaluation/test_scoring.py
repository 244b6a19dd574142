"""Scores of images with references, and the metadata test."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.evaluation import score_summary, scoring
from lowlight_enhance.evaluation.binning import EXPOSURE_BINS_S, ISO_BINS, by_bin
from lowlight_enhance.evaluation.scoring import EvaluationImage, ImagePair

GREY = np.full((32, 32, 3), 128, np.uint8)


def image(scene: str, dark: int, iso: float | None = None, exposure_s: float | None = None) -> EvaluationImage:
    capture = CaptureMetadata(iso, exposure_s)
    picture = np.full((32, 32, 3), dark, np.uint8)
    return EvaluationImage(f"{scene}_{dark}", scene, capture, lambda: ImagePair(picture, GREY, capture))


def unchanged(rgb: Any, _: CaptureMetadata) -> Any:
    return rgb


def test_scores_of_known_images() -> None:
    same = scoring.score_image(GREY, GREY)
    assert (same.psnr, same.l1) == (100.0, 0.0)
    assert same.ssim == pytest.approx(1.0)
    shifted = scoring.score_image(GREY + 51, GREY)
    assert shifted.l1 == pytest.approx(0.2)
    assert shifted.psnr == pytest.approx(-20 * math.log10(0.2), abs=1e-3)


def test_means_count_every_scene_once() -> None:
    scored = scoring.score_images([image("a", 100), image("a", 100), image("b", 28)], unchanged)
    near, far = scored[0].after.l1, scored[2].after.l1
    assert scoring.mean_over_scenes(scored).l1 == pytest.approx((near + far) / 2)
    assert score_summary.summarize_scores(scored)["output_over_frames"]["l1"] == pytest.approx((2 * near + far) / 3)


def test_the_darkest_fifth_is_chosen_by_the_input() -> None:
    scored = scoring.score_images([image(str(dark), dark) for dark in (90, 10, 70, 50, 30)], unchanged)
    assert [row.dark_mean for row in scoring.darkest_fifth(scored)] == [10.0]
    assert score_summary.summarize_scores(scored)["output_of_darkest_fifth"]["l1"] == pytest.approx(118 / 255)
    assert [row.dark_mean for row in scoring.darkest_fifth(scored[:1])] == [90.0]


def test_bins_by_iso_and_exposure_time() -> None:
    scored = scoring.score_images([image("a", 9, 400.0, 0.01), image("b", 9, 401.0, 1.0), image("c", 9)], unchanged)
    assert {k: len(v) for k, v in by_bin(scored, lambda entry: entry.iso, ISO_BINS).items()} == {
        "0 to 400": 1,
        "400 to 1600": 1,
        "unknown": 1,
    }
    assert set(by_bin(scored, lambda entry: entry.exposure_s, EXPOSURE_BINS_S)) == {
        "0.004 to 0.033333",
        "0.25 to 2",
        "unknown",
    }


def test_the_metadata_test_enhances_with_true_withheld_and_shuffled_metadata() -> None:
    captures: list[CaptureMetadata] = []

    def remember(rgb: Any, capture: CaptureMetadata) -> Any:
        captures.append(capture)
        return rgb + (10 if capture.iso == 5000.0 + rgb[0, 0, 0] else 0)

    images = [image(str(i), i, 5000.0 + i) for i in range(5)]
    scored = scoring.score_images(images, remember, metadata_test=True)
    assert [captures[3 * i] for i in range(5)] == [f.capture for f in images]
    assert all(captures[3 * i + 1] == UNKNOWN for i in range(5))
    shuffled = [captures[3 * i + 2] for i in range(5)]
    assert set(shuffled) <= {f.capture for f in images}
    assert all(mine != f.capture for mine, f in zip(shuffled, images, strict=True))
    groups = score_summary.summarize_scores(scored)["metadata"]
    assert list(groups) == ["3200 to 12800", "all"]
    scores = groups["3200 to 12800"]
    assert scores["true"]["psnr"] > scores["withheld"]["psnr"] == scores["shuffled"]["psnr"]


def test_shuffled_metadata_differ_and_unknown_ones_are_left_out() -> None:
    captures: list[CaptureMetadata] = []

    def remember(rgb: Any, capture: CaptureMetadata) -> Any:
        captures.append(capture)
        return rgb

    images = [image("a", 9, 800.0, 0.1) for _ in range(6)]
    images += [image("b", 30), image("c", 40, None, 0.5), image("d", 50, 100.0, 0.1)]
    scored = scoring.score_images(images, remember, metadata_test=True)
    assert len(captures) == 3 * 8 + 1, "unknown metadata cannot be withheld"
    assert set(captures[2:18:3]) <= {CaptureMetadata(None, 0.5), CaptureMetadata(100.0, 0.1)}
    assert [row.image.scene for row in scored if row.withheld is None] == ["b"]
    groups = scoring.metadata_groups(scored)
    assert {label: len(inside) for label, inside in groups.items()} == {
        "0 to 400": 1,
        "400 to 1600": 6,
        "unknown": 1,
        "all": 8,
    }
    printed = score_summary.describe("model", scored)
    for label in ("ISO 400 to 1600, true", "ISO unknown, shuffled", "ISO all, withheld"):
        assert label in printed


@pytest.mark.parametrize("known", [0, 5])
def test_a_metadata_test_of_equal_metadata_is_an_error_before_the_work(known: int) -> None:
    def never(rgb: Any, _: CaptureMetadata) -> Any:
        raise AssertionError("the error must come before the work")

    images = [image(str(i), i, 800.0 if i < known else None) for i in range(5)]
    with pytest.raises(DataError, match=rf"{known} of these 5 images have known metadata.*--iso 200 800 6400"):
        scoring.score_images(images, never, metadata_test=True)


def test_scores_are_written_as_csv_and_json(tmp_path: Path) -> None:
    scored = scoring.score_images([image("a", 9, 400.0, 0.01), image("b", 30)], unchanged)
    score_summary.write_scores(scored, tmp_path / "out")
    with (tmp_path / "out" / "frames.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["scene"] for line in lines] == ["a", "b"]
    assert float(lines[1]["after_psnr"]) == pytest.approx(scored[1].after.psnr)
    assert lines[0]["withheld_psnr"] == ""
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["output"]["hue_deg"] is None
    assert summary["frames"] == 2


def test_no_images_are_an_error() -> None:
    with pytest.raises(DataError, match="no images"):
        scoring.score_images([], unchanged)
