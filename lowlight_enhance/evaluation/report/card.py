"""Facts about a model file, and the model card of models that this package ships."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.inference.model_zoo import INCLUDED_MODELS, find_model
from lowlight_enhance.core.inference.protobuf_reader import VARINT, ProtobufReader
from lowlight_enhance.core.resources import resource
from lowlight_enhance.evaluation.report.aggregation import exposure_text
from lowlight_enhance.evaluation.report.content import ModelCard

MODEL_CARD = "models/MODEL_CARD.md"

_GRAPH, _TENSOR, _DIMS = 7, 5, 1
"""Field numbers of ``ModelProto.graph``, ``GraphProto.initializer`` and ``TensorProto.dims`` in ONNX's protobuf."""


def model_card(enhancer: Enhancer) -> ModelCard:
    """Return the card of an ONNX file.

    Raises:
        ConfigError: the package is installed without its models.
    """
    model_input = enhancer.model_input
    (low_iso, high_iso), (shortest, longest) = model_input.iso_range, model_input.exposure_range_s
    shipped = _shipped_name(enhancer.sha256)
    facts = (
        ("file", enhancer.path.name),
        ("shipped as", f"{shipped}, {INCLUDED_MODELS[shipped]}" if shipped else "not shipped with this package"),
        ("sha256", enhancer.sha256),
        ("parameters", f"{_parameters(enhancer.path.read_bytes()) / 1e6:.2f} million"),
        ("size", f"{enhancer.path.stat().st_size / 1e6:.1f} MB"),
        ("working size", _working_size(model_input.working_size)),
        ("sizes are multiples of", f"{model_input.size_multiple} pixels"),
        ("ISO range", f"{low_iso:g} to {high_iso:g}"),
        ("exposure range", f"{exposure_text(shortest)} to {exposure_text(longest)}"),
        ("upsampling", enhancer.upsampling),
        ("runtime", f"{enhancer.runtime}: {', '.join(enhancer.providers)}"),
    )
    text = resource(MODEL_CARD).read_text(encoding="utf-8") if shipped else ""
    return ModelCard(shipped or enhancer.name, facts, text)


def checkpoint_card(path: Path) -> ModelCard:
    """Return the card of a training checkpoint."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ModelCard(path.stem, (("checkpoint", path.name), ("sha256", digest)))


def _working_size(pixels: int) -> str:
    return f"{pixels} pixels on the shorter side" if pixels else "size of the frame"


def _parameters(content: bytes) -> int:
    """Count the values of the initializers of an ONNX graph. Scalars are left out: they are settings."""
    reader, count = ProtobufReader(content), 0
    graphs = [field for field in reader.fields(0, len(content)) if field.number == _GRAPH]
    tensors = [field for graph in graphs for field in reader.fields(graph.start, graph.end) if field.number == _TENSOR]
    for tensor in tensors:
        inside = reader.fields(tensor.start, tensor.end)
        dims = [field.value for field in inside if (field.number, field.wire_type) == (_DIMS, VARINT)]
        count += math.prod(dims) if dims else 0
    return count


def _shipped_name(sha256: str) -> str:
    """Return the name of the shipped model with this digest, or ""."""
    for name in INCLUDED_MODELS:
        if hashlib.sha256(find_model(name).read_bytes()).hexdigest() == sha256:
            return name
    return ""
