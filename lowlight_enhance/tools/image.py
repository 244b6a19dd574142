"""`lowlight image`: enhance one image file with the ISO and exposure time from its EXIF."""

from __future__ import annotations

from pathlib import Path

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.files import check_output_file
from lowlight_enhance.core.inference.session import Runtime
from lowlight_enhance.core.metadata.capture import EXPOSURE_LIMITS_S, ISO_LIMITS, CaptureMetadata, plausible
from lowlight_enhance.core.paths import check_sources_not_overwritten
from lowlight_enhance.tools.exif import exif_capture
from lowlight_enhance.tools.image_file import IMAGE_SUFFIXES, MAX_PIXELS, decode, read_file, write_image


def enhance_file(
    source: Path,
    target: Path,
    iso: float | None = None,
    exposure_s: float | None = None,
    model: Path | None = None,
    working_size: int | None = None,
    threads: int | None = None,
    runtime: Runtime = "onnxruntime",
    max_pixels: int = MAX_PIXELS,
) -> CaptureMetadata:
    """Write the enhanced ``source`` as ``target``.

    Args:
        source: any image that ``decode`` reads.
        target: file with one of ``IMAGE_SUFFIXES``; an existing one is replaced.
        iso: ISO of the exposure; None takes it from EXIF where it stands there.
        exposure_s: exposure time in seconds; None takes it from EXIF where it stands there.
        model: ONNX file; None for the default model.
        working_size: as in ``Enhancer``.
        threads: as in ``Enhancer``.
        runtime: as in ``Enhancer``.
        max_pixels: a larger image is refused.

    Returns:
        The capture metadata that was used.

    Raises:
        ConfigError: an implausible ISO or exposure time, a target of no known format, or a runtime that is not
            installed.
        ImageError: the source is not a readable image, or too large.
        DataError: the target is the source, or cannot be written.
        ModelError: no usable model.
    """
    given = capture_from_options(iso, exposure_s)
    check_target(source, target)
    content = read_file(source)
    rgb = decode(content, source, max_pixels)
    capture = given
    if given.iso is None or given.exposure_s is None:
        capture = given.filled_from(exif_capture(content))
    enhancer = Enhancer(model, threads=threads, working_size=working_size, runtime=runtime)
    write_image(enhancer(rgb, capture), target)
    return capture


def capture_from_options(iso: float | None, exposure_s: float | None) -> CaptureMetadata:
    """The values of ``--iso`` and ``--exposure``; unlike a camera's, implausible ones are an error.

    Raises:
        ConfigError: a value out of range.
    """
    for flag, value, limits, unit in (
        ("--iso", iso, ISO_LIMITS, ""),
        ("--exposure", exposure_s, EXPOSURE_LIMITS_S, " seconds"),
    ):
        if value is not None and plausible(value, limits) is None:
            raise ConfigError(
                f"{flag} {value:g} is not plausible: give a number between {limits[0]:g} and {limits[1]:g}{unit}, "
                "or leave it out"
            )
    return CaptureMetadata.sanitized(iso, exposure_s)


def check_target(source: Path, target: Path) -> None:
    """Check a target before the work starts.

    Raises:
        ConfigError: its suffix is no known format.
        DataError: it is the source, or cannot be written.
    """
    if target.suffix.lower() not in IMAGE_SUFFIXES:
        raise ConfigError(f"cannot write {target}: the name must end in one of {', '.join(IMAGE_SUFFIXES)}")
    check_output_file(target)
    check_sources_not_overwritten([source], [target])
