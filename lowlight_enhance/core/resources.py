"""Paths of installed files: models, launch files, configuration.

ament_index_python finds them in a ROS installation only; this also finds them in virtual environments and checkouts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from lowlight_enhance.core.errors import ConfigError

PACKAGE = "lowlight_enhance"

PREFIX_DEPTH = 4
"""Largest number of folders from the package up to the prefix (``lib/python3.X/site-packages`` and the prefix)."""


def share_folder() -> Path:
    """Return the folder with ``package.xml``, ``models/``, ``launch/`` and ``config/`` of this installation.

    The search order is ``share/lowlight_enhance`` of each prefix in ``AMENT_PREFIX_PATH`` (a sourced colcon
    workspace), of ``sys.prefix`` (a virtual environment), of the folders above the package (``pip install --user``,
    ``--prefix`` or ``--target``), then the checkout of an editable install.

    Raises:
        ConfigError: none of them has the package's ``package.xml``.
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
    """Return the path of an installed file or folder.

    Args:
        name: path relative to the share folder, e.g. ``"models/student.onnx"``.

    Raises:
        ConfigError: there is no share folder, or ``name`` is not in it.
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
