"""Python classes of ROS message types that are named by a parameter or a bag."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path

from lowlight_enhance.core.errors import ConfigError

_TYPE_NAME = re.compile(r"[a-z][a-z0-9_]*/msg/[A-Z][A-Za-z0-9]*")


def message_class(type_name: str, parameter: str = "metadata.type") -> type:
    """Return the Python class of a message type such as ``realsense2_camera_msgs/msg/Metadata``.

    Raises:
        ConfigError: the name is malformed, or its package is not installed. The message names ``parameter`` and the
            Debian package.
    """
    if not _TYPE_NAME.fullmatch(type_name):
        raise ConfigError(
            f"parameter '{parameter}': '{type_name}' is not a message type such as sensor_msgs/msg/Image"
        )
    try:
        return installed_class(type_name)
    except ImportError as error:
        package = type_name.partition("/")[0]
        raise ConfigError(
            f"parameter '{parameter}': {type_name} cannot be imported ({error}); install its package (apt: "
            f"ros-<distribution>-{package.replace('_', '-')}) and source it before starting, or set it to ''"
        ) from error


def installed_class(type_name: str) -> type:
    """Return the Python class of a message type whose name may come from an untrusted source.

    Only the module ``msg`` of a package that has one is imported. ``rosidl_runtime_py.utilities.get_message`` is not
    used, because it imports any installed Python package that the name begins with.

    Raises:
        ImportError: the name is malformed, or its package is not installed.
    """
    if not _TYPE_NAME.fullmatch(type_name):
        raise ImportError(f"{type_name} is not a message type")
    package, _, name = type_name.partition("/msg/")
    try:
        spec = importlib.util.find_spec(package)
    except ValueError as error:
        raise ImportError(f"package {package}: {error}") from error
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    if not any((Path(folder) / "msg" / "__init__.py").is_file() for folder in folders):
        raise ImportError(f"no package {package} with messages is installed")
    try:
        found: type = getattr(importlib.import_module(f"{package}.msg"), name)
    except (AttributeError, ValueError) as error:
        raise ImportError(str(error)) from error
    return found
