"""Models that are installed with this package, by name."""

from __future__ import annotations

from pathlib import Path

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.resources import resource

INCLUDED_MODELS = {
    "student_int8": "the default: in int8, for CPUs",
    "student": "the same network in float32, for GPUs and for CPUs without int8 instructions",
    "quality": "the default's weights on a larger copy of the frame: more detail, more milliseconds",
    "tiny": "half a million parameters in int8 on a smaller copy of the frame, for small boards",
}
"""Purpose by name. The name is that of the file in ``models/`` without suffix."""

DEFAULT_MODEL = "student_int8"


def find_model(model: str | Path | None) -> Path:
    """Return the path of a model file.

    Args:
        model: one of ``INCLUDED_MODELS``, or a path; None or "": the default model.

    Raises:
        ConfigError: ``model`` is neither, or the models are not installed.
    """
    text = str(model or DEFAULT_MODEL)
    if text in INCLUDED_MODELS:
        return resource(f"models/{text}.onnx")
    try:
        path = Path(text).expanduser()
        if path.suffix or len(path.parts) > 1 or path.exists():
            return path
    except (OSError, RuntimeError) as error:  # a name that is too long, an unknown user
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"model '{text}' cannot be the path of an ONNX file: {reason}") from error
    raise ConfigError(
        f"model '{text}' is neither an included model ({', '.join(INCLUDED_MODELS)}) nor the path of an ONNX file"
    )


def default_model() -> Path:
    """Return the path of the default model.

    Raises:
        ConfigError: the models are not installed.
    """
    return find_model(None)
