"""`lowlight`: options are passed to the right functions; errors and signals end with one line and an exit status."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lowlight_enhance
from lowlight_enhance import cli
from lowlight_enhance.core.errors import ModelError
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.tools import image
from lowlight_enhance.tools.harness.processes import ProcessError


class Recorder:
    """Replaces a function: records its arguments, then returns or raises ``outcome``."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.given: tuple[Any, ...] | None = None

    def __call__(self, *given: Any) -> Any:
        self.given = given
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@pytest.fixture
def enhance_file(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder(UNKNOWN)
    monkeypatch.setattr(image, "enhance_file", recorder)
    return recorder


def test_image_passes_its_options_on(enhance_file: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    enhance_file.outcome = CaptureMetadata(3200.0, 0.03)
    options = ["--iso", "3200", "--exposure", "0.03", "--model", "m.onnx", "--working-size", "0", "--threads", "2"]
    options += ["--runtime", "openvino"]
    assert cli.main(["image", "dark.jpg", "out.png", *options]) == 0
    assert enhance_file.given == (Path("dark.jpg"), Path("out.png"), 3200.0, 0.03, Path("m.onnx"), 0, 2, "openvino")
    assert capsys.readouterr().out == "out.png (ISO 3200, exposure 0.03 s)\n"


def test_image_leaves_missing_options_to_the_file(enhance_file: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["image", "dark.jpg", "out.png"]) == 0
    assert enhance_file.given == (Path("dark.jpg"), Path("out.png"), None, None, None, None, None, "onnxruntime")
    assert "ISO unknown, exposure unknown" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "exposure_s"), [("0.03", 0.03), ("1/30", 1 / 30), ("1e-4", 1e-4), ("2", 2.0)])
def test_exposure_is_a_decimal_or_a_fraction(enhance_file: Recorder, text: str, exposure_s: float) -> None:
    cli.main(["image", "dark.jpg", "out.png", "--exposure", text])
    assert enhance_file.given is not None
    assert enhance_file.given[3] == pytest.approx(exposure_s, rel=1e-12)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["imagine"],
        ["image", "dark.jpg"],
        ["image", "dark.jpg", "out.png", "--exposure", "1/0"],
        ["image", "dark.jpg", "out.png", "--exposure", "nan"],
        ["image", "dark.jpg", "out.png", "--iso", "high"],
        ["image", "dark.jpg", "out.png", "--threads", "0"],
        ["image", "dark.jpg", "out.png", "--working-size", "-1"],
        ["bench", "--sizes", "640"],
        ["bench", "--sizes", "640x0"],
        ["bench", "--rounds", "0"],
        ["bench", "--runtime", "tensorflow"],
    ],
)
def test_bad_arguments_exit_with_2(
    enhance_file: Recorder, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: lowlight" in capsys.readouterr().err
    assert enhance_file.given is None


def test_a_user_error_is_one_line_and_exit_2(enhance_file: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    enhance_file.outcome = ModelError("m.onnx is no model; export it again")
    assert cli.main(["image", "dark.jpg", "out.png"]) == 2
    assert capsys.readouterr().err == "lowlight: m.onnx is no model; export it again\n"


def test_an_interrupt_exits_with_130(enhance_file: Recorder) -> None:
    enhance_file.outcome = KeyboardInterrupt()
    assert cli.main(["image", "dark.jpg", "out.png"]) == 130


def test_a_missing_extra_is_named(enhance_file: Recorder, capsys: pytest.CaptureFixture[str]) -> None:
    enhance_file.outcome = ModuleNotFoundError("No module named 'rclpy.node'", name="rclpy.node")
    assert cli.main(["image", "dark.jpg", "out.png"]) == 2
    message = capsys.readouterr().err
    assert "'image' needs the Python module rclpy.node" in message
    assert "lowlight_enhance[ros]" in message
    assert "source a ROS 2 installation" in message


class OpenCvError(Exception):
    """What cv2.error looks like where an allocation fails."""

    code = -4


OpenCvError.__module__ = "cv2"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "out.png"), "out.png: No space left on device; free some"),
        (OSError(errno.EROFS, "Read-only file system", "/o"), "/o: Read-only file system; choose a target"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300), "x: File name too long; choose a shorter name"),
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied; change the permissions"),
        (MemoryError(), "not enough memory"),
        (OpenCvError("Insufficient memory"), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
    ],
)
def test_failures_of_the_system_are_one_line_and_exit_2(
    enhance_file: Recorder, capsys: pytest.CaptureFixture[str], error: Exception, message: str
) -> None:
    enhance_file.outcome = error
    assert cli.main(["image", "dark.jpg", "out.png"]) == 2
    output = capsys.readouterr().err
    assert output.startswith("lowlight: ")
    assert output.count("\n") == 1
    assert message in output


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), OSError("raised without errno")])
def test_other_errors_keep_their_traceback(enhance_file: Recorder, error: Exception) -> None:
    enhance_file.outcome = error
    with pytest.raises(type(error)):
        cli.main(["image", "dark.jpg", "out.png"])


@pytest.mark.parametrize("error", [ModuleNotFoundError("gone", name="lowlight_enhance.gone"), ZeroDivisionError()])
def test_a_bug_keeps_its_traceback(enhance_file: Recorder, error: Exception) -> None:
    enhance_file.outcome = error
    with pytest.raises(type(error)):
        cli.main(["image", "dark.jpg", "out.png"])


def test_bench_passes_its_options_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from lowlight_enhance.tools.benchmark.pipeline_benchmark import PipelineBenchmarkSettings
    from lowlight_enhance.tools.benchmark.pipeline_report import PipelineBenchmark

    result = PipelineBenchmark("m.onnx", "0" * 64, "onnxruntime 1", ("CPUExecutionProvider",), 1, 3, "a machine", ())
    recorder = Recorder(result)
    monkeypatch.setattr("lowlight_enhance.tools.benchmark.pipeline_benchmark.benchmark_pipeline", recorder)
    assert cli.main(["bench"]) == 0
    assert recorder.given == (PipelineBenchmarkSettings(),)
    options = ["--sizes", "320x240", "640x480", "--rounds", "3", "--threads", "1", "--json", str(tmp_path / "b.json")]
    assert cli.main(["bench", *options]) == 0
    assert recorder.given == (PipelineBenchmarkSettings([(320, 240), (640, 480)], 3, 1),)
    assert "m.onnx" in capsys.readouterr().out
    assert (tmp_path / "b.json").read_text() == result.to_json() + "\n"


def test_bench_measures_the_node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from lowlight_enhance.tools.benchmark.node_benchmark import NodeBenchmarkSettings
    from lowlight_enhance.tools.benchmark.node_report import NodeBenchmark

    result = NodeBenchmark("m.onnx", "0" * 64, "onnxruntime 1", (), 0, 2, 3.0, "a machine", ())
    recorder = Recorder(result)
    monkeypatch.setattr("lowlight_enhance.tools.benchmark.node_benchmark.benchmark_node", recorder)
    assert cli.main(["bench", "--node"]) == 0
    assert recorder.given == (NodeBenchmarkSettings(),)
    options = ["--sizes", "64x48", "--hz", "15", "--seconds", "3", "--rounds", "2", "--threads", "1"]
    options += ["--model", "m.onnx", "--runtime", "openvino", "--json", str(tmp_path / "b.json")]
    assert cli.main(["bench", "--node", *options]) == 0
    assert recorder.given == (NodeBenchmarkSettings([(64, 48)], 15, 3.0, 2, 1, Path("m.onnx"), "openvino"),)
    assert "2 rounds of 3 s" in capsys.readouterr().out
    assert (tmp_path / "b.json").read_text() == result.to_json() + "\n"


@pytest.mark.parametrize("options", [["--hz", "15"], ["--seconds", "3"]])
def test_options_of_the_node_need_the_node(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", *options]) == 2
    assert capsys.readouterr().err == "lowlight: --hz and --seconds need --node\n"


class Result:
    """Replaces the result of a demo or a soak."""

    def __init__(self, *failures: str) -> None:
        self._failures = failures

    def failures(self) -> list[str]:
        return list(self._failures)

    def table(self) -> str:
        return "a table"

    report = table


@pytest.mark.parametrize(
    ("outcome", "code", "out", "err"),
    [
        (Result(), 0, "a table\n", ""),
        (Result("too slow"), 1, "a table\n", "lowlight: the soak failed: too slow\n"),
        (ProcessError("the node ended"), 1, "", "lowlight: the soak failed: the node ended\n"),
    ],
)
def test_soak_exits_with_1_after_a_failed_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], outcome: Any, code: int, out: str, err: str
) -> None:
    recorder = Recorder(outcome)
    monkeypatch.setattr("lowlight_enhance.tools.benchmark.soak.run_soak", recorder)
    assert cli.main(["soak", "--minutes", "0.5", "--model", "m.onnx"]) == code
    assert recorder.given == (0.5, Path("m.onnx"))
    assert capsys.readouterr() == (out, err)


@pytest.mark.parametrize(
    ("outcome", "code", "out", "err"),
    [
        (Result(), 0, "a table\n", ""),
        (Result("lost frames"), 1, "a table\n", "lowlight: the demo failed: lost frames\n"),
        (ProcessError("the node ended"), 2, "", "lowlight: the node ended\n"),
    ],
)
def test_demo_exits_with_1_after_a_failed_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], outcome: Any, code: int, out: str, err: str
) -> None:
    from lowlight_enhance.tools.demo.demo import DemoSettings

    recorder = Recorder(outcome)
    monkeypatch.setattr("lowlight_enhance.tools.demo.demo.run_demo", recorder)
    assert cli.main(["demo", "--out", "pictures", "--seconds", "3", "--model", "m.onnx", "--rate", "20"]) == code
    assert recorder.given[0] == DemoSettings(Path("pictures"), 3.0, Path("m.onnx"), None, 20)
    assert capsys.readouterr() == (out, err)


DEADLINE_S = 120.0
PACKAGE = str(Path(lowlight_enhance.__file__).parents[1])
ENVIRONMENT = {"PYTHONPATH": PACKAGE, "PATH": ""}

COMMAND = """
import signal, sys, time
from lowlight_enhance import cli
from lowlight_enhance.commands import images
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell start with SIGINT ignored

def wait():
    # Python handles a signal that arrives just before a sleep only after that sleep.
    for _ in range(10_000):
        time.sleep(0.1)

def command(options):
    {body}

images._run_image = command
sys.argv[1:] = ["image", "in.png", "out.png"]
sys.exit(cli.main())
"""
PRINTING_COMMAND = COMMAND.format(body="print('x' * 100_000); return 0")
WAITING_COMMAND = COMMAND.format(
    body="""
    try:
        print("waiting", flush=True)
        wait()
    finally:
        print("cleaned up", flush=True)
"""
)
SLOW_EXIT_COMMAND = COMMAND.format(
    body="""
    import atexit
    atexit.register(lambda: (print("exit handler", flush=True), wait()))
    print("waiting", flush=True)
    wait()
"""
)
INTERRUPTING_IMPORT = """
import os, signal, sys

class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupter())
"""


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lowlight_enhance.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        cwd=cwd,
        env={**ENVIRONMENT, **environment},
    )


def test_version(tmp_path: Path) -> None:
    process = run("--version", cwd=tmp_path)
    assert process.stdout == f"lowlight_enhance {lowlight_enhance.__version__}\n"
    assert process.returncode == 0


def test_a_missing_picture_leaves_nothing_behind(tmp_path: Path) -> None:
    process = run("image", "dark.jpg", "out.png", cwd=tmp_path)
    assert process.returncode == 2
    assert process.stderr.startswith("lowlight: ")
    assert "dark.jpg" in process.stderr
    assert list(tmp_path.iterdir()) == []


def test_names_that_the_terminal_cannot_encode_are_escaped(tmp_path: Path) -> None:
    code = (
        "import sys; from lowlight_enhance import cli; from lowlight_enhance.tools import image; "
        "from lowlight_enhance.core.metadata.capture import UNKNOWN; "
        "image.enhance_file = lambda *_: UNKNOWN; sys.exit(cli.main())"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, "image", "dark.jpg", "n\u00e4cht\udcff.png"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        cwd=tmp_path,
        env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"},
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("n\\xe4cht\\udcff.png (ISO unknown")


def test_output_into_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = subprocess.Popen(
        [sys.executable, "-c", PRINTING_COMMAND], stdout=write, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    os.close(write)
    assert process.communicate(timeout=DEADLINE_S)[1] == ""
    assert process.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_and_its_files_are_cleaned_up(number: signal.Signals, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING_COMMAND],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    assert process.communicate(timeout=DEADLINE_S) == ("cleaned up\n", "")
    assert process.returncode == code


def test_a_second_interrupt_is_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_EXIT_COMMAND],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "exit handler\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=DEADLINE_S)[1] == ""


@pytest.mark.parametrize(
    "body",
    [
        # CPython itself ends with -2 after a KeyboardInterrupt in exec, even if it was caught.
        "import os; exec('os.kill(os.getpid(), signal.SIGINT); time.sleep(1000.0)')",
        # Compiled modules turn a KeyboardInterrupt during their import into another error.
        """
    import os
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1000.0)
    except KeyboardInterrupt:
        pass
    raise ImportError("initialization failed")
""",
    ],
)
def test_an_interrupt_that_takes_another_form_exits_with_130(body: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", COMMAND.format(body=body)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env=ENVIRONMENT,
    )
    assert (process.returncode, process.stderr) == (130, "")


def test_an_interrupt_while_a_module_is_imported_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTING_IMPORT)
    process = run("bench", "--sizes", "64x48", cwd=tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{PACKAGE}")
    assert (process.returncode, process.stderr) == (130, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo", "--out", "FILE"],
        ["bench", "--json", "FILE/x.json"],
        ["bench", "--json", "."],
        ["flicker", "in.png", "--json", "FILE/x.json"],
        ["evaluate", "--pairs", "missing.csv", "--out", "FILE"],
        ["evaluate", "--pairs", "missing.csv", "--report", "FILE/x.html"],
        ["train-student", "--config", "missing.yaml", "--pairs", "missing.csv", "--out", "FILE/below"],
        ["figures", "--run", "missing", "--out", "FILE"],
    ],
)
def test_a_target_that_cannot_be_written_is_found_before_the_work(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FILE").touch()
    assert cli.main(arguments) == 2
    output = capsys.readouterr().err
    assert output.count("\n") == 1
    assert "missing" not in output, "nothing was read before"
