"""The report as one HTML page: everything is in it, so it opens anywhere and asks no network for anything."""

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
from lowlight_enhance.core.files import atomic_file
from lowlight_enhance.core.process_info import processor_name
from lowlight_enhance.evaluation.report import figures
from lowlight_enhance.evaluation.report.content import Picture, Report, Sample
from lowlight_enhance.evaluation.report.plots import plots

FOLDER = Path(__file__).parent
"""Where the page's template, style and script lie."""

MAX_PICTURE_BYTES = 12_000_000
"""Of all pictures together, as files; for more of them each becomes smaller and coarser."""

FORMS = ((1280, 92), (960, 90), (800, 85), (640, 80), (480, 75), (320, 70), (200, 60))
"""Longest side in pixels and JPEG quality of pictures, tried in turn."""

BROAD = 5
"""Tables of more columns take the page's whole width."""

_HEADINGS = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6"}


def write_page(report: Report, target: Path) -> None:
    """Write it.

    Raises:
        DataError: the target cannot be written.
    """
    text = page(report)
    with atomic_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def page(report: Report) -> str:
    """The HTML.

    Every text of the report is shown as text, whatever it holds: names of topics come from bags of strangers. Scripts
    other than the page's own two do not run (Content-Security-Policy).
    """
    plotly_js = plotly.offline.get_plotlyjs().replace("\r\n", "\n").replace("\r", "\n")
    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    chapters = list(_chapters(report))
    drawn = {f"plot-{c['id']}-{n}": plot for c in chapters for n, plot in enumerate(c["plots"])}
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        report=report,
        chapters=chapters,
        plots={name: {"data": plot.data, "layout": plot.layout} for name, plot in drawn.items()},
        card=Markup(_html_of(report.card.text)) if report.card and report.card.text else "",
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        plotly_js=Markup(plotly_js),
        script=Markup(script),
        script_sources=" ".join(f"'sha256-{_sha256(text)}'" for text in (plotly_js, script)),
        made=f"lowlight_enhance {__version__}, {datetime.now():%Y-%m-%d %H:%M}, {processor_name()}",
    )


def _chapters(report: Report) -> Iterator[dict[str, Any]]:
    """What the template shows of each chapter."""
    pictures = _pictures([sample for chapter in report.chapters for sample in chapter.samples])
    for number, chapter in enumerate(report.chapters):
        tables = figures.tables(chapter) if chapter.frames else chapter.tables
        yield {
            "id": f"{number}",
            "title": chapter.title,
            "notes": chapter.notes,
            "frames": len(chapter.frames),
            "tiles": figures.tiles(chapter) if chapter.frames else [],
            "broad_tables": [table for table in tables if len(table.columns) > BROAD],
            "small_tables": [table for table in tables if len(table.columns) <= BROAD],
            "plots": plots(chapter) if chapter.frames else [],
            "samples": [_shown(sample, next(pictures)) for sample in chapter.samples],
        }


def _shown(sample: Sample, pictures: Mapping[str, str]) -> dict[str, Any]:
    frame = sample.frame
    facts = [
        f"ISO {figures.iso(frame.iso)}" if frame.iso else "ISO unknown",
        figures.exposure(frame.exposure_s) if frame.exposure_s else "exposure unknown",
        f"brightness {frame.before.mean:.0f} → {frame.after.mean:.0f}",
    ]
    if frame.likeness_before and frame.likeness_after:
        facts.append(f"PSNR {frame.likeness_before.psnr_db:.1f} → {frame.likeness_after.psnr_db:.1f} dB")
    if frame.bypassed:
        facts.append("passed through untouched")
    height, width = sample.before.shape[:2]
    return {"name": figures.label(frame), "facts": facts, "pictures": pictures, "width": width, "height": height}


def _pictures(samples: list[Sample]) -> Iterator[Mapping[str, str]]:
    """Data URIs by what they show, sample by sample, all together within ``MAX_PICTURE_BYTES``."""
    parts = [
        {
            name: picture
            for name, picture in (
                ("input", sample.before),
                ("output", sample.after),
                ("reference", sample.reference),
            )
            if picture is not None
        }
        for sample in samples
    ]
    encoded: list[dict[str, bytes]] = []
    for side, quality in FORMS:
        encoded = [{name: _jpeg(picture, side, quality) for name, picture in part.items()} for part in parts]
        if sum(len(content) for part in encoded for content in part.values()) <= MAX_PICTURE_BYTES:
            break
    for part in encoded:
        yield {name: f"data:image/jpeg;base64,{base64.b64encode(data).decode()}" for name, data in part.items()}


def _jpeg(picture: Picture, longest_side: int, quality: int) -> bytes:
    height, width = picture.shape[:2]
    scale = longest_side / max(height, width)
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    if scale < 1.0:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
    done, content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise DataError(f"cannot write a picture of {width}x{height} pixels as JPEG; leave frames of that size out")
    return content.tobytes()


def _html_of(markdown: str) -> str:
    """Markdown as HTML: HTML within it is shown as text, and headings stand below the page's own."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(markdown)
    for token in tokens:
        token.tag = _HEADINGS.get(token.tag, token.tag)
    text: str = reader.renderer.render(tokens, reader.options, {})
    table = '<div class="scrolls" role="region" aria-label="table of the model card" tabindex="0"><table>'
    return text.replace("<table>", table).replace("</table>", "</table></div>")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
