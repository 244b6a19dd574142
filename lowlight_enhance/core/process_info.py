"""Processor name, CPU time, memory and threads, from /proc.

psutil would provide these values, but only reports and benchmarks need them, and every robot would have to install it.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from lowlight_enhance.core.errors import ConfigError

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """Resources of a process: resident memory in bytes, threads, and open file descriptors."""

    resident_bytes: int
    threads: int
    handles: int


def processor_name() -> str:
    """Return the model name of the processor if /proc/cpuinfo has it, else the architecture."""
    try:
        lines = (PROC / "cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def require_proc() -> None:
    """Check that /proc is that of Linux.

    Raises:
        ConfigError: it is not.
    """
    if not (PROC / "self" / "stat").is_file():
        raise ConfigError("this needs Linux: CPU time and memory of other processes are read from /proc")


def process_usage(pid: int) -> ProcessUsage:
    """Return the current resources of process ``pid``."""
    folder = PROC / str(pid)
    fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return ProcessUsage(
        resident_bytes=1024 * int(fields["VmRSS"].split()[0]),
        threads=int(fields["Threads"]),
        handles=len(os.listdir(folder / "fd")),  # noqa: PTH208 - Path.iterdir would be slower; descriptors can close meanwhile
    )


def process_cpu_s(pid: int) -> float:
    """Return the CPU time of all threads of process ``pid``, in seconds."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _ticks_per_s()


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def system_cpu_s() -> float:
    """Return the CPU time of all processes since boot, in seconds, summed over all cores."""
    first = (PROC / "stat").read_text().split("\n", 1)[0]
    user, nice, system, _idle, _waiting, irq, softirq, *rest = (int(text) for text in first.split()[1:])
    stolen = rest[0] if rest else 0
    return (user + nice + system + irq + softirq + stolen) / _ticks_per_s()


def _ticks_per_s() -> int:
    return os.sysconf("SC_CLK_TCK")
