"""Errors that a user can mend. Each message says what is wrong, where, and what to do."""

from __future__ import annotations

import errno


class LowlightError(Exception):
    """Base of every error with a remedy: commands print it and exit 2, the node counts it and goes on."""


class ImageError(LowlightError):
    """An image message or file that cannot be read as the picture that it claims to be."""


class MetadataError(LowlightError):
    """A capture-metadata message that cannot be read."""


class CameraInfoError(LowlightError):
    """A camera_info message that does not fit its image."""


class ModelError(LowlightError):
    """A model file that is missing, damaged, or not one of ours."""


class ConfigError(LowlightError):
    """A parameter or configuration value out of its range, or an unknown key."""


class DataError(LowlightError):
    """A data set, index file or output folder that cannot be used."""


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
    """What the system reports, and what the user can do about it, in one line."""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{reason}; {_REMEDIES.get(error.errno or 0, 'check the path')}"
