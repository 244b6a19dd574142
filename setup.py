from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools before 70.1, as ROS 2 Humble and Jazzy have it: colcon builds no wheel
    bdist_wheel = None

NAME = "lowlight_enhance"
VERSION = "0.1.0"
"""Also in package.xml and lowlight_enhance/__init__.py; catkin_prepare_release changes this file and package.xml."""

ROOT = Path(__file__).resolve().parent
"""The checkout, also where `colcon build --symlink-install` runs this file from its build folder."""

DATA_FOLDERS = ("launch", "config", "models", "examples")
"""Installed below share/lowlight_enhance as they are."""

EXTRAS = {
    "ros": [
        "ros-rclpy",
        "ros-rmw-fastrtps-cpp",
        "ros-sensor-msgs",
        "ros-std-msgs",
        "ros-diagnostic-msgs",
        "ros-lifecycle-msgs",
        "ros-std-srvs",
    ],
    "offline": ["av>=17,<19", "pillow>=9.1", "rosbags>=0.11,<0.12", "tqdm>=4.66,<5"],
    "ray": ["ray>=2.9,<3"],
    "openvino": ["openvino>=2024.6,<2027"],
    "demo": ["scikit-image>=0.22"],
    "report": ["jinja2>=3.1,<4", "markdown-it-py>=3,<5", "plotly>=5.24,<8"],
    "train": [
        "torch>=2.6",
        "torchmetrics>=1.4,<2",
        "accelerate>=1.2,<2",
        "tensorboard>=2.16,<3",
        "onnx>=1.16",
        "onnxscript>=0.5",
        "safetensors>=0.4,<1",
        "pyyaml>=6,<7",
        "tqdm>=4.66,<5",
        "rawpy>=0.27,<1",
        "pillow>=9.1",
        "matplotlib>=3.8,<4",
    ],
    "docs": ["pdoc>=14,<17"],
    "test": [
        "pytest>=8,<10",
        "hypothesis>=6.100,<7",
        "ruff==0.17.6",
        "mypy==2.4.1",
        "import-linter>=2.1,<3",
        "rosbags>=0.11,<0.12",
        "rosbags-image>=0.10.4,<0.12",
        "ray>=2.9,<3",
        "onnx>=1.16",
        "pycocotools>=2.0.8,<3",
        "playwright>=1.49,<2",
        "pyyaml>=6,<7",
        "colcon-common-extensions==0.3.0",
        "setuptools>=70.1,<80",
        "wheel",
    ],
}


def data_files() -> list[tuple[str, list[str]]]:
    """Return the files that ROS 2 expects in an installed package, as (folder below the prefix, files)."""
    files = [
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ]
    files.extend(
        (f"share/{NAME}/{folder}", sorted(f"{folder}/{path.name}" for path in (ROOT / folder).glob("[!.]*.*")))
        for folder in DATA_FOLDERS
    )
    return files


def commands() -> dict[str, type]:
    """Return the changed setuptools commands: a wheel also contains lib/lowlight_enhance/enhance_node.

    pip installs entry points only into bin/, but `ros2 run` searches lib/. colcon installs them into lib/ itself
    (setup.cfg).
    """
    if bdist_wheel is None:
        return {}

    class Wheel(bdist_wheel):  # type: ignore[misc]
        def run(self) -> None:
            self.distribution.data_files.append((f"lib/{NAME}", ["resource/enhance_node"]))
            super().run()

    return {"bdist_wheel": Wheel}


setup(
    name=NAME,
    version=VERSION,
    description="Low-light enhancement of camera topics, in real time on the CPU",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="lowlight_enhance maintainers",
    author_email="maintainers@lowlight-enhance.example",
    license="Apache-2.0",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed", "evaluation/report/page.*"]},
    data_files=data_files(),
    cmdclass=commands(),
    python_requires=">=3.10,<3.14",
    install_requires=["numpy>=1.24,<3", "opencv-python-headless>=4.8,<5", "onnxruntime>=1.17,<2"],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "enhance_node = lowlight_enhance.ros.main:main",
            "lowlight = lowlight_enhance.cli:main",
        ],
    },
    zip_safe=False,
)
