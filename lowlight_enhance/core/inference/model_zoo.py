"""The models that this package ships, by name."""

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
"""Name, which is the file's name in ``models/`` without its suffix, and what it is for."""

DEFAULT_MODEL = "student_int8"


def find_model(model: str | Path | None) -> Path:
    """The model file that ``model`` means.

    Args:
        model: one of ``INCLUDED_MODELS``, else a path; nothing: the default.

    Raises:
        ConfigError: a word that is neither, or the package is not installed with its models.
    """
    text = str(model or DEFAULT_MODEL)
    if text in INCLUDED_MODELS:
        return resource(f"models/{text}.onnx")
    path = Path(text).expanduser()
    if path.suffix or len(path.parts) > 1 or path.exists():
        return path
    raise ConfigError(f"model '{text}' is neither shipped ({', '.join(INCLUDED_MODELS)}) nor the path of an ONNX file")


def default_model() -> Path:
    """The model that runs where none is chosen.

    Raises:
        ConfigError: the package is not installed with its models.
    """
    return find_model(None)
