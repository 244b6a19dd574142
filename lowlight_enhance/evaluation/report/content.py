"""What a report tells, as plain values: whoever evaluates fills these in, the page shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""


@dataclass(frozen=True, slots=True)
class Looks:
    """Measures of one picture that need no reference; all of its luma, 0..255.

    Attributes:
        mean: brightness.
        noise: standard deviation of the noise, estimated.
        laplacian: sharpness: variance of the Laplacian.
        tenengrad: sharpness: mean square of the Sobel gradient.
    """

    mean: float
    noise: float
    laplacian: float
    tenengrad: float


@dataclass(frozen=True, slots=True)
class Likeness:
    """Measures of one picture against its reference.

    Attributes:
        psnr_db: at most 100, which stands for equality.
        ssim: Gaussian window 11, sigma 1.5, mean over R, G and B.
        hue_deg: mean error of the CIELAB hue, 0..180; NaN where the reference is grey.
    """

    psnr_db: float
    ssim: float
    hue_deg: float


@dataclass(frozen=True, slots=True)
class FrameFigures:
    """One frame, dark before and enhanced after.

    Attributes:
        name: of the frame.
        scene: frames of one scene count once together in means over scenes.
        before: of the dark frame.
        after: of the enhanced one.
        iso: as it was told to the network; None: unknown.
        exposure_s: the same.
        likeness_before: of the dark frame; None without a reference.
        likeness_after: of the enhanced frame.
        time_s: since the first frame of a recording; None for single photographs.
        match: how the metadata was found, as in ``core.stream.Match``; "" for single photographs.
        metadata_age_s: how far its stamp was from the frame's; None where no message told.
        bypassed: passed through untouched.
        flicker: root mean square over 8x8 blocks of the change of luma since the frame before, less the reference's
            where there is one; None for a first frame and for single photographs.
        flicker_input: the same of the dark frame, its change taken times the gain in brightness.
        latency_ms: milliseconds by stage, and ``total``; empty where nothing was computed.
    """

    name: str
    scene: str
    before: Looks
    after: Looks
    iso: float | None = None
    exposure_s: float | None = None
    likeness_before: Likeness | None = None
    likeness_after: Likeness | None = None
    time_s: float | None = None
    match: str = ""
    metadata_age_s: float | None = None
    bypassed: bool = False
    flicker: float | None = None
    flicker_input: float | None = None
    latency_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """A frame to look at: dark, enhanced, and its reference where there is one."""

    frame: FrameFigures
    before: Picture
    after: Picture
    reference: Picture | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Figures in rows; the first column names the row.

    Attributes:
        title: of the table.
        columns: headers, as many as each row has entries.
        rows: texts.
        note: what to know of it.
        groups: headers above the columns with the number of columns below each; empty: none.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    groups: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Chapter:
    """One camera, or one set of photographs.

    Attributes:
        title: its name.
        frames: in their order.
        samples: frames to look at.
        notes: what else is to be known.
        tables: further tables.
    """

    title: str
    frames: tuple[FrameFigures, ...]
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class Card:
    """What the model is: its facts by name, and its model card in Markdown, or ""."""

    name: str
    facts: tuple[tuple[str, str], ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All of it.

    Attributes:
        title: what was evaluated.
        facts: how, by name.
        chapters: at least one.
        card: of the model; None where none ran.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    chapters: tuple[Chapter, ...]
    card: Card | None = None
