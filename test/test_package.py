"""The package after installation with colcon and as a wheel: all files are where ROS and pip expect them."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest

import lowlight_enhance

ROOT = Path(__file__).parents[1]
NAME = "lowlight_enhance"
DATA_FOLDERS = ("launch", "config", "models", "examples")
NOT_SOURCE = (".*", "out", "build", "install", "log", "dist", "test", "*.egg-info", "__pycache__")
DEPENDENCIES = {
    *("rclpy", "sensor_msgs", "std_msgs", "std_srvs", "diagnostic_msgs", "lifecycle_msgs"),
    *("cv_bridge", "python3-numpy", "python3-opencv"),
}
FIND_SHARE = "from lowlight_enhance.core.resources import share_folder as s; print(s())"


def shared_files() -> set[str]:
    """Paths below share/lowlight_enhance that an installation must contain."""
    found = (path for folder in DATA_FOLDERS for path in (ROOT / folder).glob("[!.]*") if path.is_file())
    return {"package.xml", *(str(path.relative_to(ROOT)) for path in found)}


def output(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Return the output of a command. If it fails, fail the test with its messages. ROS is not in its environment."""
    process = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        cwd=cwd,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(cwd), **environment},
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that builds leave nothing in it."""
    copy = tmp_path_factory.mktemp("workspace") / "src" / NAME
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder)
    output(*pip, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module", params=["copied", "symlinked"])
def prefix(source: Path, request: pytest.FixtureRequest) -> Path:
    """Install prefix of a colcon build, both ways that colcon offers."""
    bases = [f"--{base}-base={request.param}_{base}" for base in ("build", "install")]
    options = ["--symlink-install"] if request.param == "symlinked" else []
    workspace = source.parents[1]
    colcon = (sys.executable, "-m", "colcon", "--log-base", f"{request.param}_log", "build", *bases, *options)
    output(*colcon, "--event-handlers", "console_direct+", "--base-paths", "src", cwd=workspace)
    return workspace / f"{request.param}_install" / NAME


def test_package_xml_is_what_ros_expects() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    maintainer = package.find("maintainer")
    assert package.get("format") == "3"
    assert package.findtext("name") == NAME
    assert package.findtext("license") == "Apache-2.0"
    assert package.findtext("export/build_type") == "ament_python"
    assert {element.text for element in package.iter("exec_depend")} >= DEPENDENCIES
    assert maintainer is not None
    assert re.fullmatch(r"[-\w.+]+@[-\w]+(\.[-\w]+)*\.[a-zA-Z]{2,}", maintainer.get("email", ""))


def imported_ros_packages() -> set[str]:
    """ROS packages that the package and its launch files import."""
    text = "\n".join(p.read_text(encoding="utf-8") for f in (NAME, "launch") for p in (ROOT / f).rglob("*.py"))
    named = re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE)
    ros = re.compile(r"rclpy|launch|launch_ros|ament_index_python|cv_bridge|\w+_(?:msgs|srvs|interfaces)")
    return {name for name in named if ros.fullmatch(name)}


def test_package_xml_names_every_ros_package_that_is_imported() -> None:
    depends = {element.text for element in ElementTree.parse(ROOT / "package.xml").getroot().iter("exec_depend")}
    imported = imported_ros_packages()
    assert {"rclpy", "launch_ros", "ament_index_python", "rosgraph_msgs"} <= imported
    assert imported <= depends


def test_package_xml_passes_the_checks_of_catkin_pkg() -> None:
    package = pytest.importorskip("catkin_pkg.package", reason="catkin_pkg checks package.xml as the ROS tools do")
    warnings: list[str] = []
    parsed = package.parse_package(str(ROOT / "package.xml"), warnings=warnings)
    parsed.validate(warnings=warnings)
    assert warnings == []
    assert all((ROOT / entry.file).is_file() for entry in parsed.licenses)
    assert len(parsed.licenses) == 2
    assert parsed.urls
    assert parsed.authors


def test_the_version_is_the_same_everywhere(wheel: Path) -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert package.findtext("version") == lowlight_enhance.__version__
    assert wheel.name == f"{NAME}-{lowlight_enhance.__version__}-py3-none-any.whl"


def test_the_licence_is_in_the_checkout() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def metadata(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (path for path in archive.namelist() if path.endswith(f".dist-info/{name}"))
        return archive.read(path).decode()


def test_the_wheel_does_not_require_torch_and_has_every_extra(wheel: Path) -> None:
    text = metadata(wheel, "METADATA")
    required = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", text, re.MULTILINE)
    assert sorted(required) == ["numpy", "onnxruntime", "opencv-python-headless"]
    assert set(re.findall(r"^Provides-Extra: (.+)$", text, re.MULTILINE)) == {
        "ros",
        "train",
        "offline",
        "openvino",
        "ray",
        "demo",
        "report",
        "docs",
        "test",
    }
    (python,) = re.findall(r"^Requires-Python: (.+)$", text, re.MULTILINE)
    assert set(python.split(",")) == {">=3.10", "<3.14"}


def test_the_wheel_contains_the_files_of_ros(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        modes = {info.filename.partition(".data/data/")[2]: info.external_attr >> 16 for info in archive.infolist()}
    expected = {f"share/{NAME}/{path}" for path in shared_files()}
    assert expected | {f"share/ament_index/resource_index/packages/{NAME}"} <= set(modes)
    assert modes[f"lib/{NAME}/enhance_node"] & 0o111 == 0o111
    entry_points = configparser.ConfigParser()
    entry_points.read_string(metadata(wheel, "entry_points.txt"))
    assert set(entry_points["console_scripts"]) == {"enhance_node", "lowlight"}


def test_the_wheel_contains_the_page_of_the_report(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if name.startswith(f"{NAME}/evaluation/report/page.")}
    assert {Path(name).suffix for name in inside} == {".py", ".html", ".css", ".js"}


def test_an_installed_wheel_finds_its_files_and_starts(wheel: Path, tmp_path: Path) -> None:
    """``--prefix`` simulates an environment with its own bin/, lib/ and share/, without downloads."""
    pip = (sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--prefix", tmp_path)
    output(*pip, "--ignore-installed", wheel, cwd=tmp_path)
    (site,) = tmp_path.glob("l*/**/site-packages")
    share = output(sys.executable, "-c", FIND_SHARE, cwd=tmp_path, PYTHONPATH=str(site)).strip()
    assert Path(share) == tmp_path / "share" / NAME
    version = output(tmp_path / "bin/lowlight", "--version", cwd=tmp_path, PYTHONPATH=str(site))
    assert version == f"{NAME} {lowlight_enhance.__version__}\n"
    (tmp_path / "bin/enhance_node").write_text('#!/bin/sh\necho "node $*"\n')
    assert output(tmp_path / "lib" / NAME / "enhance_node", "--ros-args", cwd=tmp_path) == "node --ros-args\n"


def test_colcon_installs_every_file(prefix: Path) -> None:
    share = prefix / "share" / NAME
    assert shared_files() <= {str(path.relative_to(share)) for path in share.rglob("*")}
    assert (prefix / "share/ament_index/resource_index/packages" / NAME).is_file()
    for command in ("enhance_node", "lowlight"):
        assert (prefix / "lib" / NAME / command).stat().st_mode & 0o111


def test_a_sourced_colcon_workspace_finds_its_files(prefix: Path, tmp_path: Path) -> None:
    shell = f"source {prefix.parent}/setup.bash && '{sys.executable}' -c '{FIND_SHARE}'"
    assert Path(output("bash", "-c", shell, cwd=tmp_path).strip()) == prefix / "share" / NAME


def test_a_command_that_colcon_built_runs(prefix: Path, tmp_path: Path) -> None:
    shell = f"source {prefix.parent}/setup.bash && {prefix}/lib/{NAME}/lowlight --version"
    assert output("bash", "-c", shell, cwd=tmp_path) == f"{NAME} {lowlight_enhance.__version__}\n"
