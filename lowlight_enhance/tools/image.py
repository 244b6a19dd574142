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
from lowlight_enhance.tools.image_file import IMAGE_SUFFIXES, MAX_PIXELS, decode_image, read_file, write_image


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
    """Enhance the image file ``source`` and write the result to ``target``.

    Args:
        source: any image that ``decode_image`` reads.
        target: file with one of ``IMAGE_SUFFIXES``; an existing one is replaced.
        iso: ISO of the exposure; None: from EXIF, if it is recorded there.
        exposure_s: exposure time in seconds; None: from EXIF, if it is recorded there.
        model: ONNX file; None for the default model.
        working_size: as in ``Enhancer``.
        threads: as in ``Enhancer``.
        runtime: as in ``Enhancer``.
        max_pixels: larger images are rejected.

    Returns:
        The capture metadata that was used.

    Raises:
        ConfigError: ISO or exposure time is implausible, the format of the target is unknown, or the runtime is not
            installed.
        ImageError: the source is not a readable image, or too large.
        DataError: the target is the source, or cannot be written.
        ModelError: the model cannot be used.
    """
    user_capture = capture_from_options(iso, exposure_s)
    check_image_target(source, target)
    content = read_file(source)
    rgb = decode_image(content, source, max_pixels)
    capture = user_capture
    if user_capture.iso is None or user_capture.exposure_s is None:
        capture = user_capture.filled_from(exif_capture(content))
    enhancer = Enhancer(model, threads=threads, working_size=working_size, runtime=runtime)
    write_image(enhancer(rgb, capture), target)
    return capture


def capture_from_options(iso: float | None, exposure_s: float | None) -> CaptureMetadata:
    """Return the values of ``--iso`` and ``--exposure``. Implausible values are an error, unlike those of a camera.

    Raises:
        ConfigError: a value is out of range.
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


def check_image_target(source: Path, target: Path) -> None:
    """Check a target before the work starts.

    Raises:
        ConfigError: the suffix of the target is not a known format.
        DataError: the target is the source, or cannot be written.
    """
    if target.suffix.lower() not in IMAGE_SUFFIXES:
        raise ConfigError(f"cannot write {target}: the name must end in one of {', '.join(IMAGE_SUFFIXES)}")
    check_output_file(target)
    check_sources_not_overwritten([source], [target])
