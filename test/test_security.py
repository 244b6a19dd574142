"""docs/security.md agrees with the code, and no module executes its input."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for folder in ("lowlight_enhance", "launch") for path in (ROOT / folder).rglob("*.py") if path.is_file()
)

FORBIDDEN_CALLS = {
    "eval": "runs text as code",
    "exec": "runs text as code",
    "compile": "makes code of text",
    "__import__": "imports by a name",
    "os.system": "runs a shell",
    "os.popen": "runs a shell",
    "subprocess.getoutput": "runs a shell",
    "subprocess.getstatusoutput": "runs a shell",
    "yaml.load": "may construct any object",
    "yaml.load_all": "may construct any object",
    "yaml.full_load": "may construct any object",
    "yaml.full_load_all": "may construct any object",
    "yaml.unsafe_load": "constructs any object",
    "yaml.unsafe_load_all": "constructs any object",
    "torch.jit.load": "runs a model's code",
    "torch.export.load": "unpickles",
    "torch.hub.load": "downloads code",
    "torch.ops.load_library": "loads a library",
    "pandas.read_pickle": "unpickles",
}
FORBIDDEN_METHODS = {"register_custom_ops_library": "loads a library", "add_extension": "loads a library"}
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle", "runpy"}
NETWORK = {"socket", "socketserver", "ssl", "urllib", "http", "ftplib", "smtplib", "requests", "aiohttp", "httpx"}
HARMLESS_NAMES = {("pickle", "UnpicklingError")}

IMPORT_BY_NAME = {
    "__init__.py": "a constant",
    "core/inference/openvino_session.py": "a constant",
    "ros/message_types.py": "a message type, checked to be a name",
}
"""Modules that import others by name, and the origin of the name."""

OPENS_MODELS = ("core/inference/onnxruntime_session.py", "evaluation/detection/onnx_detector.py")
"""Modules that may open a model: they get the content of a file that model_file has checked."""


def dotted(node: ast.AST) -> str:
    """Return ``a.b.c`` for an expression of names; "" for any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def keyword(call: ast.Call, name: str) -> object:
    """Return the constant value of the keyword ``name``; None without one."""
    values = [given.value for given in call.keywords if given.arg == name]
    return values[0].value if values and isinstance(values[0], ast.Constant) else None


def call_violations(call: ast.Call, module: str) -> Iterator[str]:
    """Yield what is forbidden about a call."""
    name = dotted(call.func)
    last = name.rpartition(".")[2] or getattr(call.func, "attr", "")
    if name in FORBIDDEN_CALLS:
        yield f"{name} {FORBIDDEN_CALLS[name]}"
    if last in FORBIDDEN_METHODS:
        yield f"{last} {FORBIDDEN_METHODS[last]}"
    if name == "torch.load" and keyword(call, "weights_only") is not True:
        yield "torch.load without weights_only=True unpickles"
    if last == "load" and any(given.arg == "allow_pickle" for given in call.keywords):
        yield "load with allow_pickle unpickles"
    if any(given.arg == "shell" for given in call.keywords):
        yield f"{name} with a shell"
    if last == "CDLL" and not (call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value is None):
        yield "CDLL loads a library"
    if last == "import_module" and module not in IMPORT_BY_NAME:
        yield "import_module imports by a name"
    if last == "InferenceSession" and module not in OPENS_MODELS:
        yield "InferenceSession opens a model that has not been checked"


def import_violations(node: ast.Import | ast.ImportFrom, module: str) -> Iterator[str]:
    """Yield what is forbidden about an import."""
    if isinstance(node, ast.Import):
        imported = [(alias.name, "") for alias in node.names]
    else:
        imported = [(node.module or "", alias.name) for alias in node.names]
    # urllib.parse only handles text.
    found = [(module.partition(".")[0], name) for module, name in imported if module != "urllib.parse"]
    for package, name in found:
        if package in FORBIDDEN_IMPORTS and (package, name) not in HARMLESS_NAMES:
            yield f"{package} runs what it reads"
        if package in NETWORK:
            yield f"{package} reaches the network"


def violations(source: str, module: str) -> list[str]:
    """Return everything in the source of a module that may execute or download input."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            found += call_violations(node, module)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found += import_violations(node, module)
    return found


def module_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix().removeprefix("lowlight_enhance/")


def test_no_module_executes_its_input() -> None:
    assert len(SOURCES) > 40
    found = {module_of(path): violations(path.read_text(encoding="utf-8"), module_of(path)) for path in SOURCES}
    assert {module: what for module, what in found.items() if what} == {}


@pytest.mark.parametrize("module", [*IMPORT_BY_NAME, *OPENS_MODELS])
def test_the_exceptions_exist(module: str) -> None:
    source = (ROOT / "lowlight_enhance" / module).read_text(encoding="utf-8")
    assert ("import_module(" if module in IMPORT_BY_NAME else "InferenceSession(") in source


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)",
        "exec(text)",
        "compile(text, 'x', 'exec')",
        "__import__(name)",
        "import pickle",
        "import pickle as p",
        "from pickle import loads",
        "from pickle import UnpicklingError, loads",
        "import urllib.request",
        "from http import client",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "torch.jit.load(path)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.unsafe_load(text)",
        "np.load(path, allow_pickle=True)",
        "os.system(command)",
        "subprocess.run(command, shell=True)",
        "ctypes.CDLL(path)",
        "importlib.import_module(name)",
        "ort.InferenceSession(path)",
        "options.register_custom_ops_library(path)",
        "make().add_extension(path)",
    ],
)
def test_violations_are_detected(source: str) -> None:
    assert len(violations(source, "core/some.py")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "network.eval()",
        "re.compile(pattern)",
        "from pickle import UnpicklingError",
        "torch.load(path, weights_only=True)",
        "yaml.safe_load(text)",
        "np.load(path)",
        "subprocess.run([command])",
        "ctypes.CDLL(None)",
        "core.compile_model(model)",
    ],
)
def test_harmless_code_is_not_reported(source: str) -> None:
    assert violations(source, "core/some.py") == []


@pytest.mark.parametrize("name", ["os", "os.path/msg/Image", "../x/msg/Image", "a/msg/b", "a/msg/A.b", "A/msg/B", ""])
def test_only_names_of_message_types_are_imported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
    from lowlight_enhance.core.errors import ConfigError
    from lowlight_enhance.ros import message_types

    monkeypatch.setattr(message_types.importlib, "import_module", lambda name: pytest.fail(f"imported {name}"))
    with pytest.raises(ConfigError, match="not a message type"):
        message_types.message_class(name)


def test_the_limits_that_the_page_names_are_the_codes() -> None:
    from lowlight_enhance.core import health, pipeline
    from lowlight_enhance.core.inference import model_file, model_input, protobuf_reader
    from lowlight_enhance.core.metadata import message_values, stamped_buffer

    text = " ".join((ROOT / "docs/security.md").read_text(encoding="utf-8").split())
    limits = [
        f"at most {model_file.MAX_BYTES // 2**20} MiB (`MAX_BYTES`)",
        f"more than {protobuf_reader.MAX_FIELDS:,} fields",
        f"nested deeper than {model_file.MAX_GRAPH_DEPTH}",
        f"names longer than {model_file.MAX_TEXT_BYTES // 2**10} KiB",
        f"at most {model_input.MAX_JSON_CHARACTERS} characters",
        f"{pipeline.PipelineConfig().max_pixels // 10**6} million",
        f"at most {message_values.MAX_JSON_CHARACTERS // 2**10} Ki characters",
        f"{message_values.MAX_JSON_BRACKETS} brackets",
        f"{health.MAX_SAMPLES} samples",
        f"{health.MAX_ERROR_CHARACTERS} characters of an error",
        f"{stamped_buffer.StampedBuffer()._capacity} kept readings",
    ]
    assert [limit for limit in limits if limit not in text] == []


def test_the_limits_of_the_node_that_the_page_names_are_the_codes() -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
    from lowlight_enhance.ros import model_loader, serialized, status

    text = " ".join((ROOT / "docs/security.md").read_text(encoding="utf-8").split())
    limits = [
        f"Messages above {serialized.MAX_MESSAGE_BYTES // 2**10} KiB are dropped",
        f"at most {1e3 * serialized.MAX_PARSE_S:g} ms",
        f"{serialized.QUEUE_DEPTH} waiting metadata messages",
        f"at most {model_loader.CHECK_WAIT_S:g} s for the check",
        f"gives up after {model_loader.LOAD_TIMEOUT_S:g} s",
        f"{status.MAX_HARDWARE_ID_CHARACTERS} characters of a frame_id",
    ]
    assert [limit for limit in limits if limit not in text] == []


@pytest.mark.parametrize("page", ["security.md", "runtimes.md"])
def test_links_of_the_page_exist(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    links = [target for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target]
    assert links
    assert [target for target in links if not (ROOT / "docs" / target).exists()] == []
