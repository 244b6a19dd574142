"""Content of a report as plain values. Evaluations create these objects, ``page`` renders them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.evaluation.image_statistics import ImageStatistics
from lowlight_enhance.evaluation.metrics import ReferenceMetrics

Image = NDArray[np.uint8]
"""(H, W, 3) RGB."""


@dataclass(frozen=True, slots=True)
class FrameMetrics:
    """Measurements of one frame: the dark input and the enhanced output.

    Attributes:
        name: name of the frame.
        scene: frames of one scene count once together in means over scenes.
        input: statistics of the dark frame.
        output: statistics of the enhanced frame.
        iso: ISO given to the network; None: unknown.
        exposure_s: exposure time in seconds given to the network; None: unknown.
        input_metrics: the dark frame against the reference; None without a reference.
        output_metrics: the enhanced frame against the reference; None without a reference.
        time_s: seconds since the first frame of a recording; None for photographs.
        match: source of the metadata, as in ``core.pipeline.Match``; "" for photographs.
        metadata_age_s: difference between the stamps of frame and metadata; None without a metadata message.
        bypassed: the frame was passed through unchanged.
        flicker: root mean square over 8x8 blocks of the change of luma since the previous frame, minus the change of
            the reference if there is one; None for the first frame and for photographs.
        flicker_input: the same for the dark frame, multiplied by the gain in brightness.
        latency_ms: milliseconds of each stage, and ``total``; empty if no model ran.
    """

    name: str
    scene: str
    input: ImageStatistics
    output: ImageStatistics
    iso: float | None = None
    exposure_s: float | None = None
    input_metrics: ReferenceMetrics | None = None
    output_metrics: ReferenceMetrics | None = None
    time_s: float | None = None
    match: str = ""
    metadata_age_s: float | None = None
    bypassed: bool = False
    flicker: float | None = None
    flicker_input: float | None = None
    latency_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SampleFrame:
    """A frame that the report shows: dark input, enhanced output, and reference if there is one."""

    frame: FrameMetrics
    input: Image
    output: Image
    reference: Image | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts; the first column names the row.

    Attributes:
        title: title of the table.
        columns: headers, as many as each row has entries.
        rows: cells of each row.
        note: text below the table.
        groups: headers above the columns, each with the number of columns below it; empty: none.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    groups: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """An image with a caption, for example with drawn boxes."""

    caption: str
    image: Image


@dataclass(frozen=True, slots=True)
class Section:
    """One camera, one set of photographs, or one detector comparison.

    Attributes:
        title: title of the section.
        frames: frames in their order.
        samples: frames that are shown with a movable line between input and output.
        notes: remarks below the title.
        tables: further tables.
        pictures: rows of images, such as one frame in several renderings.
    """

    title: str
    frames: tuple[FrameMetrics, ...]
    samples: tuple[SampleFrame, ...]
    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[tuple[Picture, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Facts about the model by name, and its model card in Markdown, or ""."""

    name: str
    facts: tuple[tuple[str, str], ...]
    markdown: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """A report.

    Attributes:
        title: name of the evaluated data and model.
        facts: settings of the evaluation, by name.
        sections: sections, at least one.
        model_card: card of the model; None if no model ran.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    model_card: ModelCard | None = None
