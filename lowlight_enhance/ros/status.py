"""The node's status on /diagnostics."""

from __future__ import annotations

import time

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from lowlight_enhance.core.health import ERROR, OK, WARN
from lowlight_enhance.ros.diagnostics import Diagnostics
from lowlight_enhance.ros.frame_handler import FrameHandler

Finding = tuple[int, str]
"""Level of a diagnostic status, and its text."""

MAX_HARDWARE_ID_CHARACTERS = 255
"""The hardware_id is the frame_id of the images, which anyone who publishes images can make megabytes long."""

MAX_TEXT_CHARACTERS = 2000
"""Limit for the message and for each value. Errors repeat names that others choose, such as that of a model."""


def node_status(
    name: str, state: str, state_error: str, diagnostics: Diagnostics, handler: FrameHandler | None
) -> DiagnosticStatus:
    """Return the status, with the level of the most severe finding, whose text comes first.

    Args:
        name: fully qualified name of the node.
        state: label of the node's lifecycle state.
        state_error: why the last transition failed; empty if it did not.
        diagnostics: counters and warnings.
        handler: None while the node is unconfigured.
    """
    report = diagnostics.health.report(time.monotonic_ns())
    values = {**report.values, "decode_errors": report.values.get("errors.ImageError", "0")}
    if state != "active":
        findings = [(ERROR, state_error) if state_error else (OK, f"{state}: images are not subscribed to")]
    elif handler is not None and not handler.subscriptions.takes_images:
        findings = [(OK, "idle: no output topic has subscribers, so images are not subscribed to")]
    else:
        findings = [(report.level, report.message)]
    if handler is not None:
        findings += _findings(handler, diagnostics)
        values.update(_values(handler, diagnostics))
    findings.sort(key=lambda finding: -finding[0])
    frame_id = "" if handler is None else handler.frame_id[:MAX_HARDWARE_ID_CHARACTERS]
    return DiagnosticStatus(
        level=bytes([findings[0][0]]),
        name=f"{name}: enhancement",
        message="; ".join(text for _, text in findings)[:MAX_TEXT_CHARACTERS],
        hardware_id=frame_id or "no image yet",
        values=[KeyValue(key=key, value=value[:MAX_TEXT_CHARACTERS]) for key, value in values.items()],
    )


def _findings(handler: FrameHandler, diagnostics: Diagnostics) -> list[Finding]:
    found: list[Finding] = [(WARN, text) for text in diagnostics.warnings.values()]
    if handler.model_error:
        used = handler.model.enhancer.name
        found.append((WARN, f"the requested model is not in use, {used} is: {handler.model_error}"))
    if handler.model.enhancer.fallback:
        found.append((WARN, handler.model.enhancer.fallback))
    if not handler.pipeline.enabled:
        found.append((OK, "enhancement is disabled: images are published unchanged"))
    return found


def _values(handler: FrameHandler, diagnostics: Diagnostics) -> dict[str, str]:
    camera = handler.camera
    return {
        **handler.model.values(),
        "model_error": handler.model_error,
        "enabled": str(handler.pipeline.enabled).lower(),
        "skipped": str(diagnostics.skipped),
        "metadata_dropped": str(diagnostics.dropped_metadata),
        "subscribers": str(handler.publishers.subscribers),
        "image_topic": handler.subscriptions.image_topic,
        "image_reliability": handler.subscriptions.reliability.name.lower(),
        "camera_node": "none" if camera is None else camera.problem or "known",
        "warnings": "; ".join(diagnostics.warnings.values()),
    }
