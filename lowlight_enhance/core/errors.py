"""Errors that a user can fix. Each message says what is wrong, where, and what to do."""

from __future__ import annotations

import errno


class LowlightError(Exception):
    """Base class. Commands print the message and exit with status 2; the node counts the error and continues."""


class ImageError(LowlightError):
    """An image message or image file is invalid, damaged or unsupported."""


class MetadataError(LowlightError):
    """A metadata message is invalid."""


class CameraInfoError(LowlightError):
    """A camera_info message is invalid or does not match its image."""


class ModelError(LowlightError):
    """A model file is missing, damaged or unsuitable, or inference fails."""


class ConfigError(LowlightError):
    """A parameter or configuration value is out of range, or a key is unknown."""


class DataError(LowlightError):
    """A dataset, input file or output path cannot be used."""


_REMEDIES = {
    errno.ENOSPC: "free some space or choose another target",
    errno.EDQUOT: "free some space or choose another target",
    errno.EROFS: "choose a target that can be written",
    errno.EACCES: "change the permissions or choose another path",
    errno.EPERM: "change the permissions or choose another path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def system_error_remedy(error: OSError) -> str:
    """Return the system's description of an error and what the user can do, in one line."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{reason}; {_REMEDIES.get(error.errno or 0, 'check the path')}"
