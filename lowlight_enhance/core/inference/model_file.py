"""Check a model file before a runtime opens it.

A runtime that opens an ONNX file follows its content: names of other files to read, operators of libraries,
functions, and loops, which may never end. No network of this package needs any of that, so files with any of it are
rejected here. The check reads the protobuf fields itself (field numbers of onnx.proto, ONNX 1.16 to 1.23). It must
happen before a runtime opens the file, so the runtime's own model metadata comes too late, and the packages onnx and
protobuf (33 MB installed) would be further dependencies of the robot.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lowlight_enhance.core.errors import ModelError
from lowlight_enhance.core.inference.protobuf_reader import BYTES, VARINT, Field, ProtobufError, ProtobufReader

MAX_BYTES = 512 * 1024 * 1024
"""Largest model file; the default model has 3 MB, the teacher 152 MB."""

MAX_TEXT_BYTES = 64 * 1024
"""Longest name or metadata entry in bytes."""

MAX_GRAPH_DEPTH = 8
"""Nesting of the graphs of If, Loop and Scan where they are allowed."""

DOMAINS = ("", "ai.onnx")
"""Allowed operator set domains: both names of the one of ONNX, which covers float32, float16 and int8 networks."""

FLOAT = 1
"""TensorProto.FLOAT."""

_RUNTIME_OPTIONS_KEY = "ort_config"
"""Metadata entry from which ONNX Runtime can read session options."""

EXPORT_IT = "write it with 'lowlight export'"
"""Remedy for a network of this package."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or output of the network.

    Attributes:
        name: as in the file.
        element_type: TensorProto.DataType; 0 if it is not a tensor.
        dims: sizes; 0 for a dynamic size.
    """

    name: str
    element_type: int
    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A checked model file.

    Attributes:
        path: where it was read from.
        content: the whole file. The network uses no other files.
        sha256: hexadecimal digest of the content.
        metadata: the ``metadata_props`` of the file.
        inputs: inputs of the network.
        outputs: outputs of the network.
    """

    path: Path
    content: bytes
    sha256: str
    metadata: dict[str, str]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


def read_model(path: Path, remedy: str = EXPORT_IT, allow_control_flow: bool = False) -> ModelFile:
    """Read and check a model file.

    Args:
        path: an ONNX file.
        remedy: what to do about a rejected file.
        allow_control_flow: accept If, Loop and Scan, whose graphs are checked too. They may never end, so this is for
            detectors in offline evaluation, never for the model of the node.

    Raises:
        ModelError: the file is missing, too large or damaged, or has content that networks do not need.
    """
    return parse_model(_read(path, remedy), path, remedy, allow_control_flow)


def parse_model(content: bytes, path: Path, remedy: str = EXPORT_IT, allow_control_flow: bool = False) -> ModelFile:
    """Check the content of a model file.

    Args:
        content: an ONNX file.
        path: where it came from, for messages.
        remedy: as in ``read_model``.
        allow_control_flow: as in ``read_model``.

    Raises:
        ModelError: as ``read_model``.
    """
    checker = _ModelChecker(content, path, remedy, allow_control_flow)
    try:
        checker.model()
    except ProtobufError as error:
        raise ModelError(f"{path} is not a readable ONNX model ({error}); copy it again, or {remedy}") from error
    digest = hashlib.sha256(content).hexdigest()
    inputs = tuple(info for info in checker.inputs if info.name not in checker.constants)
    return ModelFile(path, content, digest, checker.metadata, inputs, tuple(checker.outputs))


def _read(path: Path, remedy: str) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"the model {path} is not a file; set the parameter 'model' (or --model) to an ONNX file")
        if status.st_size <= MAX_BYTES:
            with path.open("rb") as file:
                # Files in /proc have the size 0, and reading some of them (/proc/kmsg) blocks.
                content = file.read(MAX_BYTES + 1) if status.st_size else b""
            if len(content) <= MAX_BYTES:
                return content
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = getattr(error, "strerror", None) or error
        raise ModelError(
            f"cannot read the model {path}: {reason}; set the parameter 'model' (or --model) to an ONNX file "
            "written by 'lowlight export', or leave it empty for the default model"
        ) from error
    raise ModelError(f"the model {path} is larger than {MAX_BYTES // 2**20} MiB; {remedy}")


class _ModelChecker:
    """Walks through the protobuf messages of a file. Each method takes the field with the message in its name."""

    def __init__(self, content: bytes, path: Path, remedy: str, allow_control_flow: bool) -> None:
        self.reader, self.path, self.remedy = ProtobufReader(content), path, remedy
        self.allow_control_flow, self.depth = allow_control_flow, 0
        self.metadata: dict[str, str] = {}
        self.inputs: list[TensorInfo] = []
        self.outputs: list[TensorInfo] = []
        self.constants: set[str] = set()

    def model(self) -> None:
        graphs = 0
        for field in self.reader.fields(0, len(self.reader.content)):
            if field.number == 7:
                graphs += 1
                self._graph(field)
            elif field.number == 8:
                self._opset(field)
            elif field.number == 14:
                self._metadata_entry(field)
            elif field.number == 20:
                raise self._rejection("carries a training graph")
            elif field.number == 25:
                raise self._rejection("carries functions of its own")
        if graphs != 1:
            raise ProtobufError(f"it holds {graphs} graphs instead of one")

    def _graph(self, graph: Field) -> None:
        for field in self._fields(graph):
            if field.number == 1:
                self._node(field)
            elif field.number == 5:
                name = self._tensor(field)
                if not self.depth:
                    self.constants.add(name)
            elif field.number == 15:
                self._sparse_tensor(field)
            elif field.number == 11 and not self.depth:
                self.inputs.append(self._tensor_info(field))
            elif field.number == 12 and not self.depth:
                self.outputs.append(self._tensor_info(field))

    def _node(self, node: Field) -> None:
        for field in self._fields(node):
            if field.number == 5:
                self._attribute(field)
            elif field.number == 7:
                self._domain(field, "an operator")

    def _attribute(self, attribute: Field) -> None:
        for field in self._fields(attribute):
            if field.number in (5, 10):
                self._tensor(field)
            elif field.number in (6, 11):
                self._nested_graph(field)
            elif field.number in (22, 23):
                self._sparse_tensor(field)

    def _nested_graph(self, graph: Field) -> None:
        if not self.allow_control_flow:
            raise self._rejection("has control flow (Loop, If or Scan)")
        if self.depth == MAX_GRAPH_DEPTH:
            raise self._rejection(f"nests graphs more than {MAX_GRAPH_DEPTH} deep")
        self.depth += 1
        self._graph(graph)
        self.depth -= 1

    def _sparse_tensor(self, tensor: Field) -> None:
        for field in self._fields(tensor):
            if field.number in (1, 2):
                self._tensor(field)

    def _tensor(self, tensor: Field) -> str:
        """Check a TensorProto and return its name."""
        name, is_external = "", False
        for field in self._fields(tensor):
            if field.number == 8:
                name = self._text(field)
            elif field.number == 13:
                is_external = True
            elif field.number == 14:
                is_external |= self._number(field) != 0
        if is_external:
            raise self._rejection(f"keeps the values of '{name}' in another file")
        return name

    def _opset(self, opset: Field) -> None:
        for field in self._fields(opset):
            if field.number == 1:
                self._domain(field, "operators")

    def _domain(self, field: Field, what: str) -> None:
        domain = self._text(field)
        if domain not in DOMAINS:
            raise self._rejection(f"needs {what} of the domain '{domain[:80]}'")

    def _metadata_entry(self, entry: Field) -> None:
        texts = {field.number: self._text(field) for field in self._fields(entry) if field.number in (1, 2)}
        key = texts.get(1, "")
        if key == _RUNTIME_OPTIONS_KEY:
            raise self._rejection(f"carries options for the runtime ('{key}')")
        self.metadata[key] = texts.get(2, "")

    def _tensor_info(self, value_info: Field) -> TensorInfo:
        """Return the name, element type and shape of a ValueInfoProto."""
        name, element = "", 0
        dims: list[int] = []
        for field in self._fields(value_info):
            if field.number == 1:
                name = self._text(field)
            elif field.number == 2:
                for kind in self._fields(field):
                    if kind.number == 1:
                        element, dims = self._tensor_type(kind)
        return TensorInfo(name, element, tuple(dims))

    def _tensor_type(self, tensor_type: Field) -> tuple[int, list[int]]:
        element = 0
        dims: list[int] = []
        for field in self._fields(tensor_type):
            if field.number == 1:
                element = self._number(field)
            elif field.number == 2:
                for dim in self._fields(field):
                    sizes = [self._number(size) for size in self._fields(dim) if size.number == 1]
                    dims.append(sizes[-1] if sizes else 0)
        return element, dims

    def _fields(self, message: Field) -> Iterator[Field]:
        if message.wire_type != BYTES:
            raise ProtobufError(f"field {message.number} at byte {message.start} is not a message")
        return self.reader.fields(message.start, message.end)

    def _text(self, field: Field) -> str:
        if field.wire_type != BYTES:
            raise ProtobufError(f"field {field.number} at byte {field.start} is not a text")
        return self.reader.text(field, MAX_TEXT_BYTES)

    def _number(self, field: Field) -> int:
        if field.wire_type != VARINT:
            raise ProtobufError(f"field {field.number} at byte {field.start} is not a number")
        return field.value

    def _rejection(self, what: str) -> ModelError:
        return ModelError(
            f"{self.path} {what}: only self-contained networks of ONNX's own operators are accepted; {self.remedy}"
        )
