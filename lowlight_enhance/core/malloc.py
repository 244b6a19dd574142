"""Allocator settings for a process that frees an image buffer at every frame."""

from __future__ import annotations

import ctypes
import os
import platform

_MIB = 1 << 20
_SETTINGS = {
    -3: 32 * _MIB,  # M_MMAP_THRESHOLD: image buffers come from the heap, not from a fresh mapping each
    -1: 512 * _MIB,  # M_TRIM_THRESHOLD: freed memory stays in the process
    -2: 64 * _MIB,  # M_TOP_PAD: the heap grows in steps of this
}
_ONE_ARENA = {-8: 1}  # M_ARENA_MAX

ENV_VARIABLE = "LOWLIGHT_MALLOC_TUNING"
"""Environment variable; ``0`` leaves the allocator alone whatever a parameter says."""


def use_single_arena() -> bool:
    """Let all threads take their memory from one arena: what one frees is there for the next.

    With an arena a thread, as glibc has it, a node whose models and frame sizes change grows for an hour. Arenas that
    are there stay, so call it before a thread has started.

    Returns:
        True where it was applied: glibc, and not switched off.
    """
    return _set(_ONE_ARENA)


def reuse_image_buffers() -> bool:
    """Make glibc reuse the memory of freed images, instead of mapping and faulting it in anew for each message.

    Cuts what rclpy spends on an image several-fold, and halves what copying one from bag to bag costs; takes some tens
    of MiB of resident memory. Call it before messages flow. It implies ``use_single_arena``.

    Returns:
        True where it was applied: glibc, and not switched off.
    """
    return _set({**_SETTINGS, **_ONE_ARENA})


def _set(settings: dict[int, int]) -> bool:
    if os.environ.get(ENV_VARIABLE) == "0" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    accepted = [mallopt(option, value) == 1 for option, value in settings.items()]
    return all(accepted)


def release_free_memory() -> None:
    """Give the kernel what is free, scattered pages too, after something large has been closed.

    Takes some milliseconds. Without it, tuned as above, a process that opens one network after the other doubles.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)
