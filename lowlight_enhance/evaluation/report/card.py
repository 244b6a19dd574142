"""What is known of a model: its file's facts, and the model card where it is one that this package ships."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.inference.model_zoo import SHIPPED, find_model
from lowlight_enhance.core.inference.protobuf_reader import VARINT, Wire
from lowlight_enhance.core.resources import resource
from lowlight_enhance.evaluation.report.content import Card
from lowlight_enhance.evaluation.report.figures import exposure

MODEL_CARD = "models/MODEL_CARD.md"

_GRAPH, _TENSOR, _DIMS = 7, 5, 1
"""Numbers of ``ModelProto.graph``, ``GraphProto.initializer`` and ``TensorProto.dims`` in ONNX's protobuf."""


def card_of(enhancer: Enhancer) -> Card:
    """The card of an ONNX file.

    Raises:
        ConfigError: the package is not installed with its models.
    """
    own = enhancer.model_input
    (low_iso, high_iso), (short, long) = own.iso_range, own.exposure_range_s
    shipped = _shipped_name(enhancer.sha256)
    facts = (
        ("file", enhancer.path.name),
        ("shipped as", f"{shipped}, {SHIPPED[shipped]}" if shipped else "not shipped with this package"),
        ("sha256", enhancer.sha256),
        ("parameters", f"{_parameters(enhancer.path.read_bytes()) / 1e6:.2f} million"),
        ("size", f"{enhancer.path.stat().st_size / 1e6:.1f} MB"),
        ("working size", f"{own.working_size} pixels on the shorter side" if own.working_size else "the frame's own"),
        ("sizes are multiples of", f"{own.size_multiple} pixels"),
        ("ISO range", f"{low_iso:g} to {high_iso:g}"),
        ("exposure range", f"{exposure(short)} to {exposure(long)}"),
        ("way up to full size", enhancer.upsampling),
        ("runs on", f"{enhancer.runtime}: {', '.join(enhancer.providers)}"),
    )
    text = resource(MODEL_CARD).read_text(encoding="utf-8") if shipped else ""
    return Card(shipped or enhancer.name, facts, text)


def checkpoint_card(path: Path) -> Card:
    """The card of a training's checkpoint."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Card(path.stem, (("checkpoint", path.name), ("sha256", digest)))


def _parameters(content: bytes) -> int:
    """Numbers in the tensors that an ONNX file's graph brings along; single numbers are settings, not weights."""
    wire, count = Wire(content), 0
    graphs = [field for field in wire.fields(0, len(content)) if field.number == _GRAPH]
    tensors = [field for graph in graphs for field in wire.fields(graph.start, graph.end) if field.number == _TENSOR]
    for tensor in tensors:
        inside = wire.fields(tensor.start, tensor.end)
        dims = [field.value for field in inside if (field.number, field.wire) == (_DIMS, VARINT)]
        count += math.prod(dims) if dims else 0
    return count


def _shipped_name(sha256: str) -> str:
    """Name of the shipped model that has this digest, or ""."""
    for name in SHIPPED:
        if hashlib.sha256(find_model(name).read_bytes()).hexdigest() == sha256:
            return name
    return ""
