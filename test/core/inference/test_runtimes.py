"""Sessions: reported fallbacks of providers, ends of threads, and agreement of the runtimes."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from tiny_model import write_tiny_model

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError, ModelError
from lowlight_enhance.core.inference import onnxruntime_session, openvino_session
from lowlight_enhance.core.inference.model_input import METADATA_KEY, ModelInput
from lowlight_enhance.core.inference.model_zoo import default_model
from lowlight_enhance.core.inference.signal_stack import preserve_signal_stack
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata

TASKS = Path("/proc/self/task")
DEADLINE_S = 120.0
RUNTIMES = ["onnxruntime", "openvino"]
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed (pip install openvino)"
)
runtimes = pytest.mark.parametrize("runtime", ["onnxruntime", pytest.param("openvino", marks=needs_openvino)])


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny.onnx", gain=3.0, model_input=ModelInput(working_size=64))


def frame(height: int = 480, width: int = 640, value: int = 20) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


# Every runtime


@runtimes
def test_pixels_are_those_of_the_network(tiny: Path, runtime: str) -> None:
    enhancer = Enhancer(tiny, threads=1, runtime=runtime)
    for height, width in ((480, 640), (97, 131), (1, 1)):
        np.testing.assert_array_equal(enhancer(frame(height, width), UNKNOWN), frame(height, width, 60))
    assert (enhancer.runtime, enhancer.name, enhancer.fallback) == (runtime, "tiny", "")
    assert len(enhancer.providers) == 1


@runtimes
def test_outputs_are_copies(tiny: Path, runtime: str) -> None:
    enhancer = Enhancer(tiny, threads=1, runtime=runtime)
    tensor = enhancer.encode(frame(), UNKNOWN)
    first = enhancer.infer(tensor)
    copy = first.copy()
    enhancer.infer(tensor * 2.0)
    np.testing.assert_array_equal(first, copy)


@runtimes
def test_the_working_size_changes_between_frames(tiny: Path, runtime: str) -> None:
    enhancer = Enhancer(tiny, threads=1, output_resolution="model", runtime=runtime)
    shapes = []
    for size in (32, 0, None):
        enhancer.working_size = size
        shapes.append(enhancer(frame(96, 128), UNKNOWN).shape)
    assert shapes == [(32, 43, 3), (96, 128, 3), (64, 85, 3)]
    with pytest.raises(ConfigError, match="working_size"):
        enhancer.working_size = -5
    assert enhancer.working_size == 64


@runtimes
@pytest.mark.skipif(not TASKS.is_dir(), reason="threads are counted in /proc")
def test_closing_ends_the_threads(tiny: Path, runtime: str) -> None:
    Enhancer(tiny, threads=4, runtime=runtime)(frame(), UNKNOWN)  # threads that the libraries start once and keep
    threads_after_closing_all_but(0, runtime, tiny)
    before = len(list(TASKS.iterdir()))
    assert threads_after_closing_all_but(0, runtime, tiny, count=3) > before
    deadline = time.monotonic() + DEADLINE_S
    while len(list(TASKS.iterdir())) > before:
        assert time.monotonic() < deadline, f"{len(list(TASKS.iterdir()))} threads, {before} before"


def threads_after_closing_all_but(left: int, runtime: str, model: Path, count: int = 1) -> int:
    """Open, use and close enhancers except the last ``left``; return the threads while all were open."""
    enhancers = [Enhancer(model, threads=4, runtime=runtime) for _ in range(count)]
    for enhancer in enhancers:
        enhancer(frame(), UNKNOWN)
    tasks = len(list(TASKS.iterdir()))
    for enhancer in enhancers[: count - left]:
        enhancer.close()
        enhancer.close()
    return tasks


@runtimes
def test_a_closed_enhancer_is_an_error_and_others_continue(tiny: Path, runtime: str) -> None:
    first, second = (Enhancer(tiny, threads=2, runtime=runtime) for _ in range(2))
    first.close()
    with pytest.raises(ModelError, match="closed"):
        first(frame(), UNKNOWN)
    np.testing.assert_array_equal(second(frame(), UNKNOWN), frame(value=60))
    assert first.providers == second.providers


@runtimes
def test_a_model_that_the_runtime_rejects_is_a_model_error(tiny: Path, runtime: str) -> None:
    model = onnx.load(tiny)
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, tiny)
    with pytest.raises(ModelError, match=r"tiny\.onnx.*export it again"):
        Enhancer(tiny, runtime=runtime)


@runtimes
def test_an_inference_that_fails_is_a_model_error(tiny: Path, runtime: str) -> None:
    with pytest.raises(ModelError, match=r"tensor of shape \(1, 2, 8, 8\) failed"):
        Enhancer(tiny, runtime=runtime).infer(np.zeros((1, 2, 8, 8), np.float32))


def test_an_included_model_is_the_default() -> None:
    assert Enhancer(threads=1).path == default_model()


def test_unknown_settings_are_rejected(tiny: Path) -> None:
    with pytest.raises(ConfigError, match="runtime 'tensorflow'"):
        Enhancer(tiny, runtime="tensorflow")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="precision 'bfloat16' is only for OpenVINO"):
        Enhancer(tiny, precision="bfloat16")
    with pytest.raises(ConfigError, match="CUDAExecutionProvider are for ONNX Runtime only"):
        Enhancer(tiny, providers=["CUDAExecutionProvider"], runtime="openvino")


SLOW_LAYERS = 200
"""Convolutions of 64 channels: some 20 s of one core for a frame of 640x480."""


def write_slow_model(path: Path) -> Path:
    kernel = np.full((64, 64, 3, 3), 1e-3)
    weights = {"first": np.ones((64, 5, 1, 1)), "kernel": kernel, "last": np.ones((6, 64, 1, 1))}
    names = ["input", *(f"layer{number}" for number in range(SLOW_LAYERS)), "maps"]
    kinds = ["first", *["kernel"] * (SLOW_LAYERS - 1), "last"]
    nodes = [
        onnx.helper.make_node("Conv", [before, kind], [after], pads=[1] * 4 if kind == "kernel" else [0] * 4)
        for before, after, kind in zip(names, names[1:], kinds, strict=False)
    ]
    ends = [
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, "height", "width"])]
        for name, channels in (("input", 5), ("maps", 6))
    ]
    constants = [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = onnx.helper.make_graph(nodes, "slow", *ends, constants)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    model.metadata_props.add(key=METADATA_KEY, value=ModelInput().to_json())
    onnx.save(model, str(path))
    return path


@runtimes
def test_a_run_is_cancelled_from_another_thread(tmp_path: Path, runtime: str) -> None:
    enhancer = Enhancer(write_slow_model(tmp_path / "slow.onnx"), threads=1, runtime=runtime, working_size=0)
    enhancer(frame(8, 8), UNKNOWN)
    timer = threading.Timer(1.0, enhancer.cancel)
    timer.start()
    with pytest.raises(ModelError, match=r"terminate|cancel"):
        enhancer(frame(), UNKNOWN)
    timer.join()
    with pytest.raises(ModelError):
        enhancer(frame(8, 8), UNKNOWN)
    enhancer.close()


# Providers, with a fake session of ONNX Runtime


class FakeOrt(ModuleType):
    """An ONNX Runtime with CUDA and TensorRT, of which ``broken`` fail at opening, at the first run, or silently."""

    def __init__(self, real: Any, **broken: str) -> None:
        super().__init__("fake")
        self.SessionOptions, self.RunOptions = real.SessionOptions, real.RunOptions
        self.get_all_providers = real.get_all_providers
        self.broken = {name + "ExecutionProvider": how for name, how in broken.items()}
        self.probes: list[tuple[list[str], tuple[int, ...]]] = []
        self.InferenceSession = lambda *args, **kwargs: FakeSession(self, *args, **kwargs)

    def get_available_providers(self) -> list[str]:
        return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


class FakeSession:
    def __init__(
        self, fake: FakeOrt, content: bytes, options: Any, providers: list[str], enable_fallback: int
    ) -> None:
        assert enable_fallback == 0  # the fallback of ONNX Runtime prints, and the program cannot see it
        self.fake, self.used = fake, [name for name in providers if fake.broken.get(name) != "silent"]
        for name in self.used:
            if fake.broken.get(name) == "open":
                raise RuntimeError(f"{name}: no device\nat line 3")

    def get_providers(self) -> list[str]:
        return self.used

    def enable_fallback(self) -> None:
        pass

    def run(self, names: None, feed: dict[str, np.ndarray], options: Any = None) -> list[np.ndarray]:
        (tensor,) = feed.values()
        self.fake.probes.append((self.used, tensor.shape))
        if "run" in [self.fake.broken.get(name) for name in self.used]:
            raise RuntimeError("out of memory")
        return [np.zeros((1, 6, *tensor.shape[2:]), np.float32)]


def opened(monkeypatch: pytest.MonkeyPatch, model: Path, *providers: str, **broken: str) -> tuple[Enhancer, FakeOrt]:
    fake = FakeOrt(onnxruntime_session.ort, **broken)
    monkeypatch.setattr(onnxruntime_session, "ort", fake)
    return Enhancer(model, [name + "ExecutionProvider" for name in providers]), fake


def short(enhancer: Enhancer) -> list[str]:
    return [name.removesuffix("ExecutionProvider") for name in enhancer.providers]


def test_providers_that_start_are_used_without_a_fallback_message(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enhancer, fake = opened(monkeypatch, tiny, "Tensorrt", "CUDA")
    assert (short(enhancer), enhancer.fallback) == (["Tensorrt", "CUDA", "CPU"], "")
    assert [shape for _, shape in fake.probes] == [(1, 5, 64, 96)]  # a 640x480 frame at 64x85, padded


@pytest.mark.parametrize(
    ("broken", "used", "reason"),
    [
        (
            {"Tensorrt": "open"},
            ["CUDA", "CPU"],
            r"TensorrtExecutionProvider did not start \(.*no device at line 3\): running on CUDA",
        ),
        (
            {"Tensorrt": "silent"},
            ["CUDA", "CPU"],
            r"TensorrtExecutionProvider did not start \(.*log.*\): running on CUDA",
        ),
        (
            {"Tensorrt": "run"},
            ["CUDA", "CPU"],
            r"TensorrtExecutionProvider did not start \(out of memory\): running on CUDA",
        ),
        (
            {"Tensorrt": "open", "CUDA": "run"},
            ["CPU"],
            r"Tensorrt.* did not start .*; CUDA.* did not start \(out of memory\): running on CPUExecutionProvider",
        ),
    ],
    ids=str,
)
def test_a_provider_that_fails_is_replaced_with_a_reason(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, broken: dict[str, str], used: list[str], reason: str
) -> None:
    enhancer, _ = opened(monkeypatch, tiny, "Tensorrt", "CUDA", **broken)
    assert short(enhancer) == used
    assert re.match(reason, enhancer.fallback), enhancer.fallback


def test_a_provider_that_fails_while_running_is_reported(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enhancer, _ = opened(monkeypatch, tiny, "CUDA")
    assert enhancer.fallback == ""
    enhancer._session._session.used = ["CPUExecutionProvider"]  # the state after a fallback of ONNX Runtime
    assert enhancer.fallback.startswith("CUDAExecutionProvider failed while it ran: running on CPUExecutionProvider")


def test_a_provider_that_this_build_lacks_is_reported(tiny: Path) -> None:
    lacking = [
        name
        for name in onnxruntime_session.ort.get_all_providers()
        if name not in onnxruntime_session.ort.get_available_providers()
    ]
    enhancer = Enhancer(tiny, lacking[:2])
    assert short(enhancer) == ["CPU"]
    assert enhancer.fallback == (
        f"{lacking[0]} is not in this build of ONNX Runtime; {lacking[1]} is not in this build of ONNX Runtime: "
        "running on CPUExecutionProvider"
    )
    np.testing.assert_array_equal(enhancer(frame(), UNKNOWN), frame(value=60))


def test_an_invalid_model_is_not_reported_as_a_provider_failure(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="not a loadable ONNX model"):
        opened(monkeypatch, tiny, "CUDA", CUDA="open", CPU="open")


def test_onnx_runtime_does_not_read_files_beside_the_model(tiny: Path) -> None:
    options = onnxruntime_session._options(1)
    assert options.get_session_config_entry("session.load_model_format") == "ONNX"
    folder = options.get_session_config_entry("session.model_external_initializers_file_folder_path")
    assert not Path(folder).exists()
    with pytest.raises(OSError, match="directory"):
        Path(folder).mkdir(parents=True)


# OpenVINO


@needs_openvino
@pytest.mark.parametrize("name", ["student.onnx", "student_int8.onnx"])
def test_openvino_agrees_with_onnx_runtime(name: str) -> None:
    coarse = np.random.default_rng(4).integers(0, 60, (6, 8, 3), dtype=np.uint8)
    dark = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC)
    pictures = [
        Enhancer(default_model().with_name(name), threads=1, runtime=runtime)(dark, CaptureMetadata(1600.0, 1 / 60))
        for runtime in RUNTIMES
    ]
    error = np.mean((pictures[0].astype(float) - pictures[1]) ** 2)
    assert error < (
        0.01 if name == "student.onnx" else 4.0
    )  # int8: the runtimes differ from one another as from float32


@needs_openvino
def test_openvino_uses_bfloat16_or_reports_the_fallback(tiny: Path) -> None:
    with preserve_signal_stack():
        core = openvino_session.import_openvino().Core()
        has = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    enhancer = Enhancer(tiny, precision="bfloat16", runtime="openvino")
    assert ("bfloat16" in enhancer.fallback) is not has
    assert np.abs(enhancer(frame(), UNKNOWN).astype(int) - 60).max() <= 1


CLOSED_ELSEWHERE = """
import os, signal, sys, threading
import numpy as np
from pathlib import Path
from lowlight_enhance.core.metadata.capture import UNKNOWN
from lowlight_enhance.core.enhancement.enhancer import Enhancer

told = []
signal.signal(signal.SIGUSR1, lambda *_: told.append(1))
for precision in ("float32", "bfloat16"):
    enhancer = Enhancer(Path(sys.argv[1]), precision=precision, runtime="openvino")
    enhancer(np.zeros((48, 64, 3), np.uint8), UNKNOWN)
    thread = threading.Thread(target=enhancer.close)
    thread.start()
    thread.join()
    os.kill(os.getpid(), signal.SIGUSR1)
assert told == [1, 1]
"""


@needs_openvino
def test_signals_arrive_after_another_thread_closed_openvino(tiny: Path) -> None:
    """The node does this when it replaces a model. Ctrl-C must still work."""
    child = subprocess.run([sys.executable, "-c", CLOSED_ELSEWHERE, str(tiny)], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr or f"ended by signal {-child.returncode}"


@needs_openvino
def test_importing_openvino_sends_no_telemetry() -> None:
    script = (
        "import sys, lowlight_enhance.core.inference.openvino_session as s\n"
        "s.import_openvino()\n"
        "assert not [m for m in sys.modules if m.startswith('openvino_telemetry')]\n"
        "assert 'openvino' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


def test_onnx_runtime_reports_to_nobody(tmp_path: Path) -> None:
    """With telemetry, importing onnxruntime 1.29 or later creates the file of a session in the temporary folder."""
    switches = {"ORT_DISABLE_TELEMETRY", "CI", "TF_BUILD", "GITHUB_ACTIONS"}
    environment = {name: value for name, value in os.environ.items() if name not in switches}
    script = "import lowlight_enhance.core.inference.onnxruntime_session"
    subprocess.run(
        [sys.executable, "-c", script], check=True, timeout=DEADLINE_S, env={**environment, "TMPDIR": str(tmp_path)}
    )
    assert list(tmp_path.iterdir()) == []


def test_the_user_may_allow_telemetry_of_onnx_runtime() -> None:
    script = "import os, lowlight_enhance; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "0"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "0\n"


class FakeOpenVino(ModuleType):
    """A fake of the part of OpenVINO in use, whose network returns three times the first channel as maps."""

    def __init__(self, capabilities: tuple[str, ...] = ("FP32",)) -> None:
        super().__init__("openvino")
        self.Core = lambda: self
        self.capabilities = list(capabilities)
        self.compiled: list[tuple[list[int] | None, dict[str, Any]]] = []
        self.properties: dict[str, Any] = {}

    def set_property(self, properties: dict[str, Any]) -> None:
        self.properties |= properties

    def get_property(self, device: str, name: str) -> list[str]:
        assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
        return self.capabilities

    def read_model(self, content: bytes) -> Any:
        assert isinstance(content, bytes)
        return FakeModel()

    def compile_model(self, model: Any, device: str, options: dict[str, Any]) -> Any:
        self.compiled.append((model.shape, options))
        return SimpleNamespace(create_infer_request=lambda: FakeRequest(model.shape))


class FakeModel:
    shape: list[int] | None = None

    def clone(self) -> FakeModel:
        return FakeModel()

    def reshape(self, shape: list[int]) -> None:
        self.shape = shape


class FakeRequest:
    def __init__(self, shape: list[int] | None) -> None:
        self.shape = shape

    def start_async(self, inputs: dict[int, np.ndarray], share_inputs: bool) -> None:
        assert self.shape is None or list(inputs[0].shape) == self.shape
        self.output = np.repeat(inputs[0][:, :1] * 0, 6, axis=1) + np.float32([3, 3, 3, 0, 0, 0]).reshape(1, 6, 1, 1)

    def wait(self) -> None:
        pass

    def get_output_tensor(self, index: int) -> Any:
        return SimpleNamespace(data=self.output)


@pytest.fixture
def fake_openvino(monkeypatch: pytest.MonkeyPatch) -> FakeOpenVino:
    fake = FakeOpenVino()
    monkeypatch.setitem(sys.modules, "openvino", fake)
    return fake


def test_a_missing_openvino_is_an_error_with_a_remedy(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ConfigError, match="pip install openvino"):
        Enhancer(tiny, runtime="openvino")
    assert (
        openvino_session.TELEMETRY_MODULE not in sys.modules
        or sys.modules[openvino_session.TELEMETRY_MODULE] is not None
    )


def test_openvino_gets_the_settings(tiny: Path, fake_openvino: FakeOpenVino) -> None:
    enhancer = Enhancer(tiny, threads=3, runtime="openvino")
    np.testing.assert_array_equal(enhancer(frame(), UNKNOWN), frame(value=60))
    ((shape, options),) = fake_openvino.compiled
    assert shape == [1, 5, 64, 96]
    assert (options["INFERENCE_NUM_THREADS"], options["INFERENCE_PRECISION_HINT"]) == (3, "f32")
    assert fake_openvino.properties == {"FORCE_TBB_TERMINATE": True}
    assert enhancer.providers == ("OpenVINO CPU",)


def test_bfloat16_is_used_if_the_processor_has_it(tiny: Path, fake_openvino: FakeOpenVino) -> None:
    lacking = Enhancer(tiny, precision="bfloat16", runtime="openvino")
    fake_openvino.capabilities.append("BF16")
    having = Enhancer(tiny, precision="bfloat16", runtime="openvino")
    for enhancer in (lacking, having):
        enhancer(frame(), UNKNOWN)
    assert [options["INFERENCE_PRECISION_HINT"] for _, options in fake_openvino.compiled] == ["f32", "bf16"]
    assert "does not compute in bfloat16" in lacking.fallback
    assert having.fallback == ""


def test_changing_sizes_do_not_compile_for_each_frame(tiny: Path, fake_openvino: FakeOpenVino) -> None:
    enhancer = Enhancer(tiny, working_size=0, runtime="openvino")
    for _ in range(20):
        for size in range(1, openvino_session.MAX_FIXED_SHAPES + 4):
            enhancer(frame(32 * size, 32), UNKNOWN)
    shapes = [shape for shape, _ in fake_openvino.compiled]
    assert shapes == [[1, 5, 32 * size, 32] for size in range(1, openvino_session.MAX_FIXED_SHAPES + 1)] + [None]


def test_a_new_size_replaces_a_stale_one(tiny: Path, fake_openvino: FakeOpenVino) -> None:
    enhancer = Enhancer(tiny, working_size=0, runtime="openvino")
    for size in range(1, openvino_session.MAX_FIXED_SHAPES + 1):
        enhancer(frame(32 * size, 32), UNKNOWN)
    for _ in range(openvino_session.STALE_AFTER_RUNS + 10):
        enhancer(frame(512, 32), UNKNOWN)
    assert [shape for shape, _ in fake_openvino.compiled][-2:] == [None, [1, 5, 512, 32]]
    assert len(fake_openvino.compiled) == openvino_session.MAX_FIXED_SHAPES + 2
