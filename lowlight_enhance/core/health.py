"""Counts, rates and latencies of an image stream, and their diagnostic status.

diagnostic_updater is not used here: offline commands need the counts without ROS, and its frequency status does not
count failures or latencies.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from lowlight_enhance.core.enhancement.temporal_fusion import FusionStatistics
from lowlight_enhance.core.errors import ConfigError

OK, WARN, ERROR, STALE = 0, 1, 2, 3
"""Levels of diagnostic_msgs/DiagnosticStatus."""

MAX_SAMPLES = 4096
"""Number of latencies kept between two reports; the oldest are dropped."""

MAX_ERROR_CHARACTERS = 500

COUNTS = ("received", "enhanced", "bypassed", "failed", "dropped")
"""Events that are counted since the start."""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Content of a DiagnosticStatus: ``level`` (OK, WARN, ERROR, STALE), ``message``, and ``values`` by key."""

    level: int
    message: str
    values: dict[str, str]


@dataclass(slots=True)
class _Period:
    """Events from ``start_ns`` to the next report."""

    start_ns: int | None
    received: int = 0
    enhanced: int = 0
    dropped: int = 0
    failed: int = 0
    bypassed: int = 0
    latencies_ns: deque[int] = field(default_factory=lambda: deque(maxlen=MAX_SAMPLES))
    processing_ns: deque[int] = field(default_factory=lambda: deque(maxlen=MAX_SAMPLES))


class Health:
    """Counters of events, with a status for the last ``window_s`` seconds.

    The caller passes the time, in nanoseconds of one clock. Events belong to the period between two reports in which
    they happen; the first period begins with the first image or report. Not thread-safe.
    """

    def __init__(self, window_s: float = 5.0) -> None:
        if not (math.isfinite(window_s) and window_s > 0.0):
            raise ConfigError(f"Health: window_s ({window_s}) must be a finite number above 0")
        self._window_ns = round(window_s * 1e9)
        self._periods = deque([_Period(None)])
        self._totals: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._matches: Counter[str] = Counter()
        self._metadata = {"metadata_source": "", "metadata_age_ms": "unknown"}
        self._metadata_problem = ""
        self._fusion: dict[str, str] = {}
        self._last_error = ""

    def record_received(self, now_ns: int) -> None:
        """Count a received image."""
        self._restart_if_time_jumped_back(now_ns)
        period = self._periods[-1]
        period.received += 1
        if period.start_ns is None:
            period.start_ns = now_ns
        self._totals["received"] += 1

    def record_enhanced(self, stamp_age_ns: int | None, processing_ns: int) -> None:
        """Count an enhanced image.

        Args:
            stamp_age_ns: time from the stamp of the image to its publication; None if the clocks differ.
            processing_ns: time from receipt to publication.
        """
        period = self._periods[-1]
        period.enhanced += 1
        self._totals["enhanced"] += 1
        period.processing_ns.append(processing_ns)
        if stamp_age_ns is not None:
            period.latencies_ns.append(stamp_age_ns)

    def record_dropped(self, count: int) -> None:
        """Count images that the middleware has lost."""
        self._periods[-1].dropped += count
        self._totals["dropped"] += count

    def record_failed(self, error: Exception) -> None:
        """Count an invalid message (image, camera_info or metadata)."""
        self._periods[-1].failed += 1
        self._totals["failed"] += 1
        self._errors[type(error).__name__] += 1
        self._last_error = f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARACTERS]

    def record_bypassed(self) -> None:
        """Count an image that passed unchanged."""
        self._periods[-1].bypassed += 1
        self._totals["bypassed"] += 1

    def record_match(self, kind: str, age_ns: int | None = None) -> None:
        """Record the source of the capture metadata of an image.

        Args:
            kind: exact, nearest, last, fallback or none.
            age_ns: difference between the stamps of metadata and image; None without a message.
        """
        self._matches[kind] += 1
        age_ms = "unknown" if age_ns is None else f"{age_ns / 1e6:.2f}"
        self._metadata = {"metadata_source": kind, "metadata_age_ms": age_ms}

    def record_fusion(self, statistics: FusionStatistics) -> None:
        """Record the statistics of temporal fusion of an image."""
        self._fusion = {
            "fusion_mean_frames": f"{statistics.mean_count:.1f}",
            "fusion_reset_share": f"{statistics.reset_share:.2f}",
            "fusion_motion_px": f"{statistics.motion_px:.1f}",
            "fusion_ms": f"{statistics.duration_ns / 1e6:.2f}",
        }

    def record_metadata_problem(self, problem: str) -> None:
        """Record the error of one value of the latest metadata message whose other value is valid; "" for none."""
        self._metadata_problem = problem[:MAX_ERROR_CHARACTERS]

    def report(self, now_ns: int) -> HealthReport:
        """Return the status of the last ``window_s`` seconds, and begin the next period.

        Args:
            now_ns: time on the clock of ``record_received``. If it is before the last time, the rates restart.
        """
        self._restart_if_time_jumped_back(now_ns)
        self._drop_old_periods(now_ns)
        periods = list(self._periods)
        start_ns = next((period.start_ns for period in periods if period.start_ns is not None), now_ns)
        elapsed_s = (now_ns - start_ns) / 1e9
        received = sum(period.received for period in periods)
        enhanced = sum(period.enhanced for period in periods)
        failed = sum(period.failed for period in periods)
        dropped = sum(period.dropped for period in periods)
        bypassed = sum(period.bypassed for period in periods)
        level, message = _status(received, enhanced, failed, dropped, elapsed_s, self._last_error)
        if bypassed and enhanced:
            message += f"; {bypassed} of them passed unchanged"
        values = {name: str(self._totals[name]) for name in COUNTS}
        values["input_rate_hz"] = _rate(received, elapsed_s)
        values["output_rate_hz"] = _rate(enhanced, elapsed_s)
        values.update(_percentiles("latency", [ns for period in periods for ns in period.latencies_ns]))
        values.update(_percentiles("processing", [ns for period in periods for ns in period.processing_ns]))
        values.update(self._metadata)
        values.update(self._fusion)
        values["metadata_problem"] = self._metadata_problem
        values.update({f"metadata.{kind}": str(count) for kind, count in sorted(self._matches.items())})
        values.update({f"errors.{kind}": str(count) for kind, count in sorted(self._errors.items())})
        values["last_error"] = self._last_error
        self._periods.append(_Period(now_ns))
        return HealthReport(level, message, values)

    def _restart_if_time_jumped_back(self, now_ns: int) -> None:
        start_ns = self._periods[-1].start_ns
        if start_ns is not None and now_ns < start_ns:
            self._periods = deque([_Period(now_ns)])

    def _drop_old_periods(self, now_ns: int) -> None:
        """Drop periods that ended before the window."""
        while len(self._periods) > 1:
            second_start_ns = self._periods[1].start_ns
            if second_start_ns is None or now_ns - second_start_ns < self._window_ns:
                break
            self._periods.popleft()


def _status(
    received: int, enhanced: int, failed: int, dropped: int, elapsed_s: float, last_error: str
) -> tuple[int, str]:
    if not received:
        if failed:
            return WARN, f"no image received, {failed} invalid messages; last: {last_error}"
        return STALE, f"no image received in the last {elapsed_s:.1f} s; check the image topic and its QoS"
    if not enhanced:
        return ERROR, f"none of {received} images could be enhanced; last: {last_error or 'no error'}"
    if failed:
        return WARN, f"{failed} invalid messages, {enhanced} images enhanced; last: {last_error}"
    if dropped > received:
        return (
            WARN,
            f"{dropped} images lost, {received} received; increase the middleware's shared memory, or use RELIABLE",
        )
    return OK, f"{enhanced} of {received} images enhanced at {_rate(enhanced, elapsed_s)} Hz"


def _rate(count: int, elapsed_s: float) -> str:
    return f"{count / elapsed_s:.2f}" if elapsed_s > 0.0 else "unknown"


def _percentiles(name: str, samples_ns: Sequence[int]) -> dict[str, str]:
    """Return median and 99th percentile (nearest rank) in milliseconds."""
    ranked = sorted(samples_ns)
    ranks = {"median": 0.5, "p99": 0.99}
    return {
        f"{name}_{which}_ms": f"{ranked[math.ceil(rank * len(ranked)) - 1] / 1e6:.2f}" if ranked else "unknown"
        for which, rank in ranks.items()
    }
