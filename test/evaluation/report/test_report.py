"""Aggregates, tables and plots of a report, and its HTML page, without a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("jinja2", reason="of the extra 'report'")
pytest.importorskip("plotly", reason="of the extra 'report'")
pytest.importorskip("markdown_it", reason="of the extra 'report'")

from report_content import HOSTILE, frame, report, sample, statistics

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.inference.model_zoo import find_model
from lowlight_enhance.evaluation.report import aggregation, card, page, plots, tables
from lowlight_enhance.evaluation.report.content import Report, Section, Table

# Aggregates and tables


def section_of(*frames: Any) -> Section:
    return Section("camera", tuple(frames), ())


def table(section: Section, title: str) -> Table:
    return next(table for table in tables.section_tables(section) if table.title == title)


def test_means_count_every_scene_once_and_leave_out_nan() -> None:
    frames = [frame(0, scene="a"), frame(0, scene="a"), frame(6, scene="b")]
    assert aggregation.mean(frames, lambda f: f.output.mean_luma) == pytest.approx((100.0 + 106.0) / 2)
    assert aggregation.mean(frames, lambda f: f.output_metrics.hue_error_deg if f.output_metrics else None) is None


def test_metrics_by_iso_and_exposure_time() -> None:
    section = section_of(frame(0), frame(6), frame(8, iso=None))
    by_iso = table(section, "By ISO")
    assert [row[0] for row in by_iso.rows] == ["all", "400 to 1600", "3200 to 12800", "unknown"]
    assert by_iso.rows[0][1:4] == ("3", "10.00", "24.67")
    assert by_iso.rows[1][1:6] == ("1", "10.00", "20.00", "0.300", "0.800")
    assert by_iso.rows[1][-2:] == ("20.0", aggregation.MISSING)
    assert [row[0] for row in table(section, "By exposure time").rows] == ["all", "1/250 s to 1/30 s"]


def test_without_metadata_all_frames_are_one_row() -> None:
    found = tables.section_tables(section_of(*(frame(n, iso=None, exposure_s=None) for n in range(3))))
    assert "unknown" in found[0].title
    assert [row[:2] for row in found[0].rows] == [("all", "3")]
    assert found[1].title == "Lowest PSNR"


def test_scenes_are_counted_where_they_have_several_frames() -> None:
    by_iso = table(section_of(frame(0, scene="a"), frame(1, scene="a"), frame(2)), "By ISO")
    assert by_iso.columns[1] == "frames / scenes"
    assert by_iso.rows[0][1] == "3 / 2"


def test_frames_with_the_lowest_psnr_come_first() -> None:
    worst = table(section_of(*(frame(n) for n in (7, 3, 9, 4, 5, 8))), "Lowest PSNR")
    assert [row[0] for row in worst.rows] == ["0.30 s", "0.40 s", "0.50 s", "0.70 s", "0.80 s"]


def test_without_references_there_are_no_reference_metrics() -> None:
    frames = [frame(number, input_metrics=None, output_metrics=None) for number in range(3)]
    titles = [entry.title for entry in tables.section_tables(section_of(*frames))]
    assert titles == ["Without a reference", "Source of the metadata", "Latency"]
    assert "PSNR" not in [tile.label for tile in tables.tiles(section_of(*frames))]
    assert "PSNR" not in [plot.title for plot in plots.plots(section_of(*frames))]


def test_flicker_is_a_root_mean_square() -> None:
    (tile,) = [t for t in tables.tiles(section_of(frame(0), frame(3), frame(4))) if t.label == "flicker"]
    assert (tile.input, tile.output) == ("0.71", "0.35")


def test_a_summary_has_plain_values() -> None:
    found = aggregation.section_summary(section_of(*(frame(number) for number in range(10))))
    json.dumps(found, allow_nan=False)
    assert found["output"]["brightness"] == pytest.approx(104.5)
    assert found["metadata"] == {"exact": 6, "last": 4}
    assert found["latency_ms"] == {"median": 14.5, "p95": 19.0}


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (1 / 50, "1/50 s"), (2.0, "2 s"), (0.5, "0.5 s"), (1 / 8000, "1/8000 s")]
)
def test_exposure_times_as_text(seconds: float | None, text: str) -> None:
    assert aggregation.exposure_text(seconds) == text


# Plots


def test_plots_of_a_recording_and_of_photographs() -> None:
    recording = [plot.title for plot in plots.plots(section_of(*(frame(n) for n in range(4))))]
    assert recording[:3] == ["PSNR", "SSIM", "Hue error"]
    assert recording[3:] == ["Brightness", "Noise", "Sharpness", "Flicker", "Latency", "Metadata"]
    photographs = plots.plots(section_of(frame(0, time_s=None, name="<b>x</b>"), frame(1, time_s=None)))
    assert [plot.title for plot in photographs][:2] == ["PSNR by darkness", "SSIM by darkness"]
    assert photographs[0].data[0]["text"][0] == "&lt;b&gt;x&lt;/b&gt;"


def test_plots_are_valid_json() -> None:
    frames = [frame(n, input=statistics(0.0), exposure_s=None, metadata_age_s=None) for n in range(3)]
    for plot in plots.plots(section_of(*frames)):
        json.dumps([plot.data, plot.layout], allow_nan=False)


def test_unknown_metadata_is_not_plotted() -> None:
    unknown = section_of(*(frame(n, iso=None, exposure_s=None, match="none") for n in range(3)))
    assert "Metadata" not in [plot.title for plot in plots.plots(unknown)]


def test_long_recordings_are_thinned_and_outliers_do_not_stretch_the_histogram(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plots, "MAX_POINTS", 100)
    slow = frame(999, latency_ms={"total": 9000.0})
    drawn = {plot.title: plot for plot in plots.plots(section_of(*(frame(n) for n in range(999)), slow))}
    assert len(drawn["Brightness"].data[0]["x"]) == 100
    assert max(drawn["Latency"].data[0]["x"]) < 2000.0
    assert "at most 9000.0 ms" in drawn["Latency"].note


# Page


class Parts(HTMLParser):
    """Scripts, attributes that refer to other resources, and the shown text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.kinds: list[str | None] = []
        self.places: list[str] = []
        self.tags: list[str] = []
        self.policy, self.text = "", ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        attributes = dict(attrs)
        self.places += [value for name, value in attrs if name in ("src", "href", "action", "srcset") and value]
        if tag == "script":
            self.scripts.append("")
            self.kinds.append(attributes.get("type"))
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"] or ""

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["script"]:
            self.scripts[-1] += data
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")


@pytest.fixture(scope="module")
def parts() -> Parts:
    return Parts(page.render_page(report(title=HOSTILE, sections=2)))


def test_the_page_refers_to_no_other_resource(parts: Parts) -> None:
    assert [place for place in parts.places if not place.startswith(("data:", "#"))] == []


def test_only_the_scripts_of_the_page_may_run(parts: Parts) -> None:
    assert parts.kinds == ["application/json", None, None]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in parts.scripts[1:]]
    assert re.findall(r"'sha256-([^']+)'", parts.policy) == hashes
    assert parts.policy.startswith("default-src 'none';")
    assert "http" not in parts.policy
    assert "unsafe" not in parts.policy.partition("style-src")[0]


def test_untrusted_texts_are_escaped(parts: Parts) -> None:
    assert HOSTILE in parts.text
    assert f"Model: {HOSTILE}" in parts.text
    assert "<b>2</b>" in parts.text, "HTML in a model card is text as well"


def test_plots_are_escaped_json(parts: Parts) -> None:
    assert "<" not in parts.scripts[0]
    assert sorted(json.loads(parts.scripts[0])) == sorted(f"plot-{c}-{n}" for c in (0, 1) for n in range(9))


def test_a_section_without_frames_shows_its_tables() -> None:
    alone = Section("detectors", (), (), ("of 3 clips",), (Table("Gain", ("", "gain"), (("orb", "2.0"),)),))
    parts = Parts(page.render_page(Report("night", (), (alone,))))
    assert all(text in parts.text for text in ("of 3 clips", "Gain", "orb"))
    assert json.loads(parts.scripts[0]) == {}


def test_images_are_embedded_within_the_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def sizes() -> list[tuple[int, int]]:
        (found,) = page._encode_all([page._sample_images(sample(0, side=480))])
        raw = [base64.b64decode(uri.partition(",")[2]) for uri in found.values()]
        assert list(found) == ["input", "output", "reference"]
        return [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[:2] for data in raw]

    assert sizes() == [(480, 640)] * 3
    monkeypatch.setattr(page, "MAX_IMAGE_BYTES", 6000)
    assert sizes()[0] < (480, 640)


def test_a_model_card_is_converted_to_html() -> None:
    text = page._html_of("# Models\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[x](javascript:alert(1))\n")
    assert "<h3>Models</h3>" in text
    assert "<td>1</td>" in text
    assert "href" not in text


def test_a_page_is_written_atomically(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        page.write_page(report(), tmp_path / "nowhere" / "report.html")
    page.write_page(report(), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8").endswith("</html>")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_cards_of_shipped_and_of_other_models(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the onnx package writes the tests' models")
    from tiny_model import write_tiny_model

    shipped = card.model_card(Enhancer(find_model("student_int8"), threads=1))
    assert shipped.name == "student_int8"
    assert "Training data" in shipped.markdown
    assert dict(shipped.facts)["parameters"].startswith("2.4"), "as the model card says"
    own = card.model_card(Enhancer(write_tiny_model(tmp_path / "mine.onnx"), threads=1))
    assert (own.name, own.markdown) == ("mine", "")
    assert dict(own.facts)["sha256"] == hashlib.sha256((tmp_path / "mine.onnx").read_bytes()).hexdigest()
    assert dict(own.facts)["exposure range"] == "1/16000 s to 30 s"
