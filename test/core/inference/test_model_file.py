"""Checks of model files before a runtime opens them. Other content raises only ModelError."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tiny_model import write_tiny_model

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import LowlightError, ModelError
from lowlight_enhance.core.inference import model_file, protobuf_reader
from lowlight_enhance.core.inference.model_file import parse_model, read_model
from lowlight_enhance.core.inference.model_input import METADATA_KEY, ModelInput
from lowlight_enhance.core.metadata.capture import UNKNOWN

MODELS = sorted((Path(__file__).parents[3] / "models").glob("*.onnx"))
PATH = Path("some.onnx")
SMALL = ModelInput(working_size=16, size_multiple=8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.onnx", model_input=SMALL).read_bytes()


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_the_content_agrees_with_the_onnx_package(path: Path) -> None:
    file, theirs = read_model(path), onnx.load(path)
    assert file.metadata == {entry.key: entry.value for entry in theirs.metadata_props}
    for ours, ports in ((file.inputs, theirs.graph.input), (file.outputs, theirs.graph.output)):
        assert [(port.name, port.element_type, port.dims) for port in ours] == [
            (p.name, p.type.tensor_type.elem_type, tuple(d.dim_value for d in p.type.tensor_type.shape.dim))
            for p in ports
        ]


def test_an_initializer_is_not_an_input(tiny: bytes) -> None:
    model = onnx.load_from_string(tiny)
    model.graph.input.append(helper.make_tensor_value_info("gain", TensorProto.FLOAT, [1, 3, 1, 1]))
    assert [port.name for port in parse_model(model.SerializeToString(), PATH).inputs] == ["input"]


# References out of the file


def external_tensor(name: str = "w", location: str = "weights.bin") -> TensorProto:
    tensor = TensorProto(name=name, dims=[1], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def sparse(values: TensorProto) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(values=values, indices=numpy_helper.from_array(np.zeros(1, np.int64)), dims=[1])


def subgraph(node: onnx.NodeProto, tensors: tuple[TensorProto, ...] = ()) -> onnx.NodeProto:
    graph = helper.make_graph([node], "branch", [], [], list(tensors))
    return helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=helper.make_graph([], "e", [], []))


def constant(tensor: TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["c"], value=tensor)


NOTHING = helper.make_node("Identity", ["a"], ["b"])
ONLY_A_LOCATION = TensorProto(name="w")
ONLY_A_LOCATION.external_data.add(key="location", value="*/_ORT_MEM_ADDR_/*")

NODES = {
    "an attribute's tensor": constant(external_tensor()),
    "an attribute's list of tensors": helper.make_node("Any", [], [], tensors=[external_tensor()]),
    "an attribute's sparse tensor": helper.make_node("Any", [], [], sparse_value=sparse(external_tensor())),
    "no data_location": constant(ONLY_A_LOCATION),
}


@pytest.mark.parametrize("node", NODES.values(), ids=NODES)
def test_external_tensors_are_rejected_everywhere(tiny: bytes, node: onnx.NodeProto) -> None:
    model = onnx.load_from_string(tiny)
    model.graph.node.append(node)
    with pytest.raises(ModelError, match=r"some\.onnx keeps the values of '.*' in another file.*lowlight export"):
        parse_model(model.SerializeToString(), PATH)


@pytest.mark.parametrize("place", ["initializer", "sparse_initializer"])
def test_external_initializers_are_rejected(tiny: bytes, place: str) -> None:
    model = onnx.load_from_string(tiny)
    tensor = external_tensor("weights", "/etc/passwd")
    getattr(model.graph, place).append(tensor if place == "initializer" else sparse(tensor))
    with pytest.raises(ModelError, match="keeps the values of 'weights' in another file"):
        parse_model(model.SerializeToString(), PATH)


@pytest.mark.parametrize("domain", ["com.microsoft", "ai.onnx.ml", "org.openvinotoolkit", "my.ops", "AI.ONNX", " "])
def test_operators_of_other_domains_are_rejected(tiny: bytes, domain: str) -> None:
    of_node, imported = (onnx.load_from_string(tiny) for _ in range(2))
    of_node.graph.node.append(helper.make_node("Evil", [], [], domain=domain))
    imported.opset_import.append(helper.make_opsetid(domain, 1))
    for model in (of_node, imported):
        with pytest.raises(ModelError, match=f"of the domain '{domain}'"):
            parse_model(model.SerializeToString(), PATH)


def test_the_long_name_of_the_onnx_domain_is_accepted(tiny: bytes) -> None:
    model = onnx.load_from_string(tiny)
    model.graph.node[0].domain = model.opset_import[0].domain = "ai.onnx"
    parse_model(model.SerializeToString(), PATH)


def test_functions_training_graphs_and_runtime_options_are_rejected(tiny: bytes) -> None:
    functions, training, options = (onnx.load_from_string(tiny) for _ in range(3))
    functions.functions.append(helper.make_function("", "f", ["a"], ["b"], [NOTHING], []))
    training.training_info.add()
    options.metadata_props.add(key="ort_config", value="{}")
    for model, what in ((functions, "functions"), (training, "training"), (options, "ort_config")):
        with pytest.raises(ModelError, match=what):
            parse_model(model.SerializeToString(), PATH)


def endless_loop() -> onnx.NodeProto:
    """Return a Loop of 2**62 iterations."""
    body = helper.make_graph([NOTHING], "body", [], [])
    return helper.make_node("Loop", ["trips", "condition"], ["y"], body=body)


@pytest.mark.parametrize("node", [subgraph(NOTHING), endless_loop()], ids=["If", "Loop"])
def test_control_flow_is_rejected(tiny: bytes, node: onnx.NodeProto) -> None:
    model = onnx.load_from_string(tiny)
    model.graph.node.append(node)
    with pytest.raises(ModelError, match=r"some\.onnx has control flow"):
        parse_model(model.SerializeToString(), PATH)


# Damage


def outcome(content: bytes) -> dict[str, str] | str:
    """Return the metadata of a file, or the error message."""
    try:
        return parse_model(content, PATH).metadata
    except ModelError as error:
        return str(error)


def test_every_truncation_is_rejected(tiny: bytes) -> None:
    """Truncations are rejected for both orders of graph and metadata, here or by Enhancer (missing metadata)."""
    model = onnx.load_from_string(tiny)
    del model.metadata_props[:], model.opset_import[:]
    for content in (tiny, model.SerializeToString()):
        for length in range(len(content)):
            found = outcome(content[:length])
            if isinstance(found, str):
                assert "some.onnx is not a readable ONNX model" in found
            else:
                assert METADATA_KEY not in found


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def nested(*numbers: int) -> bytes:
    """Return nested messages with these field numbers, outermost first."""
    content = b""
    for number in reversed(numbers):
        content = varint(number << 3 | protobuf_reader.BYTES) + varint(len(content)) + content
    return content


BOMBS = {
    "nothing": (b"", "0 graphs"),
    "zeros": (bytes(1000), "byte 0 does not start a protobuf field"),
    "many fields": (b"\x08\x01" * 2_000_000, "more than 250000 fields"),
    "many messages": (nested(14) * 2_000_000, "more than 250000 fields"),
    "deep graphs": (nested(7, *(1, 5, 6) * 3_000), "control flow"),
    "a number without end": (b"\x08" + b"\xff" * 100, "no end"),
    "a length beyond all": (b"\x3a" + b"\xff" * 9 + b"\x01", "cut short"),
    "a field number beyond all": (varint(2**40 << 3) + b"\x01", "byte 0 does not start a protobuf field"),
    "a group": (b"\x3b\x3c", "byte 0 does not start a protobuf field"),
    "a graph that is a number": (b"\x38\x01", "not a message"),
    "a domain that is a number": (b"\x42\x02\x08\x01", "not a text"),
    "a data_location that is a text": (nested(7, 5, 14), "not a number"),
    "a domain that is no utf-8": (b"\x42\x04\x0a\x02\xff\xfe", "not UTF-8"),
    "a long name": (b"\x72" + varint(70_004) + b"\x0a" + varint(70_000) + b"k" * 70_000, "a text of 70000 bytes"),
    "two graphs": (nested(7) * 2, "2 graphs"),
}


@pytest.mark.parametrize(("content", "reason"), BOMBS.values(), ids=BOMBS)
def test_malicious_files_are_rejected_quickly(content: bytes, reason: str) -> None:
    start = time.process_time()
    with pytest.raises(ModelError, match=rf"some\.onnx .*{reason}.*lowlight export"):
        parse_model(content, PATH)
    assert time.process_time() - start < 2.0


def messages(message: Message) -> Iterator[Message]:
    """Yield a message and all messages in it, by the protobuf package."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                yield from messages(part)


def has_forbidden_content(content: bytes) -> bool:
    """Return whether the onnx package finds content that ``parse_model`` must reject."""
    try:
        model = onnx.load_from_string(content)
    except DecodeError:
        return False
    for part in messages(model):
        if isinstance(part, onnx.TensorProto) and (part.data_location or part.external_data):
            return True
        if isinstance(part, (onnx.NodeProto, onnx.OperatorSetIdProto)) and part.domain not in ("", "ai.onnx"):
            return True
    return bool(model.functions)


def mutated(content: bytes, seed: int) -> bytes:
    """Return the content with a few bytes changed, removed, inserted, copied or cut."""
    rng, out = random.Random(seed), bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at, count = rng.randrange(len(out) or 1), rng.randrange(1, 9)
        kind = rng.randrange(6)
        if kind == 0 and out:
            out[at] = rng.randrange(256)
        elif kind == 1 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del out[at : at + count]
        elif kind == 3:
            out[at:at] = rng.randbytes(count)
        elif kind == 4:
            source = rng.randrange(len(out) or 1)
            out[at:at] = out[source : source + 10 * count]
        elif rng.random() < 0.1:
            del out[at:]
    return bytes(out)


@pytest.fixture(scope="module")
def rich(tiny: bytes) -> bytes:
    """Return a valid model with every kind of message that is checked."""
    model = onnx.load_from_string(tiny)
    inside = numpy_helper.from_array(np.zeros(1, np.float32), "w")
    model.graph.node.append(constant(inside))
    model.graph.node.append(
        helper.make_node("Any", ["a"], ["b"], domain="ai.onnx", tensors=[inside], s=sparse(inside))
    )
    model.graph.sparse_initializer.append(sparse(inside))
    parse_model(model.SerializeToString(), PATH)
    return model.SerializeToString()


@settings(max_examples=1500)
@given(st.integers(0, 2**32))
def test_mutated_files_are_rejected_or_harmless(rich: bytes, seed: int) -> None:
    content = mutated(rich, seed)
    start = time.process_time()
    try:
        parse_model(content, PATH)
    except ModelError:
        return
    assert time.process_time() - start < 0.5
    assert not has_forbidden_content(content)


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_rejected_or_harmless(content: bytes) -> None:
    try:
        parse_model(content, PATH)
    except ModelError:
        return
    assert not has_forbidden_content(content)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_an_enhancer_of_mutated_bytes_raises_only_lowlight_errors(
    tiny: bytes, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.onnx"
    path.write_bytes(mutated(tiny, seed))
    try:
        out = Enhancer(path, threads=1)(np.full((24, 32, 3), 20, np.uint8), UNKNOWN)
    except LowlightError:
        return
    assert (out.shape, out.dtype) == ((24, 32, 3), np.uint8)


# Files


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = tmp_path / "huge.onnx"
    with huge.open("wb") as file:
        file.truncate(model_file.MAX_BYTES + 1)  # a sparse file, which takes no space
    with pytest.raises(ModelError, match=r"huge\.onnx is larger than 512 MiB"):
        read_model(huge)


@pytest.mark.parametrize("path", ["/dev/zero", "."])
def test_other_file_types_are_not_read(path: str) -> None:
    with pytest.raises(ModelError, match="is not a file"):
        read_model(Path(path))


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ModelError, match="is not a file"):
        read_model(tmp_path / "pipe.onnx")


@pytest.mark.parametrize("name", ["gone.onnx", "a\0b.onnx"])
def test_a_path_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="cannot read the model"):
        read_model(tmp_path / name)
