"""Render a report as one HTML page without external resources, so that it opens offline and on any machine."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import plotly.offline
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from lowlight_enhance import __version__
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.files import write_text
from lowlight_enhance.core.process_info import processor_name
from lowlight_enhance.evaluation.report.aggregation import exposure_text, frame_label, iso_text
from lowlight_enhance.evaluation.report.content import Image, Picture, Report, SampleFrame
from lowlight_enhance.evaluation.report.plots import plots
from lowlight_enhance.evaluation.report.tables import section_tables, tiles

FOLDER = Path(__file__).parent
"""Folder of the template, the style sheet and the script."""

MAX_IMAGE_BYTES = 12_000_000
"""Largest size of all images of a page. Beyond it every image is encoded smaller and coarser."""

JPEG_SETTINGS = ((1280, 92), (960, 90), (800, 85), (640, 80), (480, 75), (320, 70), (200, 60))
"""Longest side in pixels and JPEG quality, tried in turn until ``MAX_IMAGE_BYTES`` suffice."""

WIDE_COLUMNS = 5
"""Tables with more columns take the full width of the page."""

_HEADINGS = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6"}


def write_page(report: Report, target: Path) -> None:
    """Write a report as an HTML file.

    Raises:
        DataError: the target cannot be written.
    """
    text = render_page(report)
    write_text(target, text)


def render_page(report: Report) -> str:
    """Return the HTML of a report.

    All texts are escaped, because topic names come from untrusted bags. The Content-Security-Policy allows only the
    two scripts of the page.
    """
    plotly_js = plotly.offline.get_plotlyjs().replace("\r\n", "\n").replace("\r", "\n")
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    sections = list(_sections(report))
    drawn = {f"plot-{s['id']}-{n}": plot for s in sections for n, plot in enumerate(s["plots"])}
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    card = report.model_card
    return environment.get_template("page.html").render(
        report=report,
        sections=sections,
        plots={name: {"data": plot.data, "layout": plot.layout} for name, plot in drawn.items()},
        card=Markup(_html_of(card.markdown)) if card and card.markdown else "",
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        plotly_js=Markup(plotly_js),
        script=Markup(script),
        script_sources=" ".join(f"'sha256-{_sha256(text)}'" for text in (plotly_js, script)),
        made=f"lowlight_enhance {__version__}, {datetime.now():%Y-%m-%d %H:%M}, {processor_name()}",
    )


def _sections(report: Report) -> Iterator[dict[str, Any]]:
    """Yield the values of each section for the template."""
    samples = [sample for section in report.sections for sample in section.samples]
    pictures = [picture for section in report.sections for row in section.pictures for picture in row]
    encoded = iter(_encode_all([_sample_images(sample) for sample in samples] + [_picture_image(p) for p in pictures]))
    sample_uris = {id(sample): next(encoded) for sample in samples}
    picture_uris = {id(picture): next(encoded)["picture"] for picture in pictures}
    for number, section in enumerate(report.sections):
        tables = section_tables(section) if section.frames else section.tables
        yield {
            "id": f"{number}",
            "title": section.title,
            "notes": section.notes,
            "frames": len(section.frames),
            "tiles": tiles(section) if section.frames else [],
            "wide_tables": [table for table in tables if len(table.columns) > WIDE_COLUMNS],
            "narrow_tables": [table for table in tables if len(table.columns) <= WIDE_COLUMNS],
            "plots": plots(section) if section.frames else [],
            "samples": [_sample_values(sample, sample_uris[id(sample)]) for sample in section.samples],
            "pictures": [
                [{"caption": picture.caption, "uri": picture_uris[id(picture)]} for picture in row]
                for row in section.pictures
            ],
        }


def _sample_values(sample: SampleFrame, uris: Mapping[str, str]) -> dict[str, Any]:
    frame = sample.frame
    facts = [
        f"ISO {iso_text(frame.iso)}" if frame.iso else "ISO unknown",
        exposure_text(frame.exposure_s) if frame.exposure_s else "exposure unknown",
        f"brightness {frame.input.mean_luma:.0f} → {frame.output.mean_luma:.0f}",
    ]
    if frame.input_metrics and frame.output_metrics:
        facts.append(f"PSNR {frame.input_metrics.psnr_db:.1f} → {frame.output_metrics.psnr_db:.1f} dB")
    if frame.bypassed:
        facts.append("passed through unchanged")
    height, width = sample.input.shape[:2]
    return {"name": frame_label(frame), "facts": facts, "pictures": uris, "width": width, "height": height}


def _sample_images(sample: SampleFrame) -> dict[str, Image]:
    images = {"input": sample.input, "output": sample.output}
    return images if sample.reference is None else images | {"reference": sample.reference}


def _picture_image(picture: Picture) -> dict[str, Image]:
    return {"picture": picture.image}


def _encode_all(groups: list[dict[str, Image]]) -> list[dict[str, str]]:
    """Encode images as data URIs that together stay within ``MAX_IMAGE_BYTES`` where possible."""
    encoded: list[dict[str, bytes]] = []
    for side, quality in JPEG_SETTINGS:
        encoded = [{name: _jpeg(image, side, quality) for name, image in group.items()} for group in groups]
        if sum(len(content) for group in encoded for content in group.values()) <= MAX_IMAGE_BYTES:
            break
    prefix = "data:image/jpeg;base64,"
    return [{name: prefix + base64.b64encode(data).decode() for name, data in group.items()} for group in encoded]


def _jpeg(image: Image, longest_side: int, quality: int) -> bytes:
    height, width = image.shape[:2]
    scale = longest_side / max(height, width)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if scale < 1.0:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
    is_encoded, content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not is_encoded:
        raise DataError(f"cannot encode an image of {width}x{height} pixels as JPEG; leave out frames of that size")
    return content.tobytes()


def _html_of(markdown: str) -> str:
    """Convert Markdown to HTML. HTML inside is escaped, and headings are two levels lower."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(markdown)
    for token in tokens:
        token.tag = _HEADINGS.get(token.tag, token.tag)
    text: str = reader.renderer.render(tokens, reader.options, {})
    table = '<div class="scrolls" role="region" aria-label="table of the model card" tabindex="0"><table>'
    return text.replace("<table>", table).replace("</table>", "</table></div>")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
