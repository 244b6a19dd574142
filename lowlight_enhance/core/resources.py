"""Where the files installed beside the code are: models, launch files, configuration. Needs no ROS."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from lowlight_enhance.core.errors import ConfigError

PACKAGE = "lowlight_enhance"

PREFIX_DEPTH = 4
"""A prefix is at most this many folders above the package: ``prefix/lib/python3.X/site-packages/lowlight_enhance``."""


def share_folder() -> Path:
    """The folder that holds ``package.xml``, ``models/``, ``launch/`` and ``config/`` of this installation.

    Searched in this order: ``share/lowlight_enhance`` of each prefix in ``AMENT_PREFIX_PATH`` (a sourced colcon
    workspace), of ``sys.prefix`` (a virtual environment), of the folders above the package (``pip install --user``,
    ``--prefix`` or ``--target``), then the checkout that an editable install runs from.

    Raises:
        ConfigError: none of them holds the package's ``package.xml``.
    """
    searched = list(dict.fromkeys(_candidates()))
    for folder in searched:
        if (folder / "package.xml").is_file():
            return folder
    places = ", ".join(str(folder) for folder in searched)
    raise ConfigError(
        f"the files of {PACKAGE} (models, launch, config) are in none of: {places}; "
        "install the package again, or source the workspace that it was built in"
    )


def resource(name: str) -> Path:
    """The installed file or folder ``name``, relative to the share folder, e.g. ``"models/student.onnx"``.

    Raises:
        ConfigError: there is no share folder, or it lacks ``name``.
    """
    path = share_folder() / name
    if not path.exists():
        raise ConfigError(f"{path} is missing from the installation of {PACKAGE}; install the package again")
    return path


def _candidates() -> Iterator[Path]:
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix:
            yield Path(prefix) / "share" / PACKAGE
    yield Path(sys.prefix) / "share" / PACKAGE
    package = Path(__file__).resolve().parents[1]
    for prefix_folder in package.parents[:PREFIX_DEPTH]:
        yield prefix_folder / "share" / PACKAGE
    yield package.parent
