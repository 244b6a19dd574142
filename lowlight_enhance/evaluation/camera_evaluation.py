"""CameraEvaluation: enhance and measure the frames of one camera of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.enhancer import Enhance, FrameEnhancer
from lowlight_enhance.core.errors import ConfigError, DataError, ImageError
from lowlight_enhance.core.imaging.messages import decode, stamp_ns
from lowlight_enhance.core.inference.model_input import Rgb, to_8_bit
from lowlight_enhance.core.pipeline import NS_PER_S, EnhancedFrame, PipelineConfig
from lowlight_enhance.evaluation.flicker import luma_change, rms
from lowlight_enhance.evaluation.image_statistics import image_statistics
from lowlight_enhance.evaluation.metrics import reference_metrics
from lowlight_enhance.evaluation.report.content import FrameMetrics, Image, SampleFrame, Section
from lowlight_enhance.evaluation.stage_timer import StageTimer
from lowlight_enhance.tools.bags.camera_stream import CameraData, CameraStream
from lowlight_enhance.tools.bags.recording import MessageTypes
from lowlight_enhance.tools.bags.reference_images import RecordedImages
from lowlight_enhance.tools.bags.settings import CameraReport

SAMPLES = 5
"""Frames of each camera that the report shows, at regular intervals, in addition to the darkest."""


@dataclass(slots=True)
class _Images:
    """Images of one frame. Those of the previous frame are kept to measure the change."""

    input: Image
    output: Image
    reference: Image | None


class CameraEvaluation:
    """Measurements of the frames of one camera, in the order of the bag.

    Attributes:
        expected: number of frames that will be added.
    """

    def __init__(
        self,
        report: CameraReport,
        data: CameraData,
        types: MessageTypes,
        enhance: Enhance | None,
        stream: PipelineConfig,
        reference: RecordedImages | None,
        enhanced: RecordedImages | None,
        expected: int,
    ) -> None:
        """Prepare the evaluation.

        Args:
            report: camera, and counters of damaged messages.
            data: metadata and calibrations of the camera.
            types: message types of the bag.
            enhance: the model; None with ``enhanced``.
            stream: settings of the pipeline.
            reference: well-lit images; None: none.
            enhanced: images that are already enhanced; None: the model enhances them.
            expected: number of frames that will be added.

        Raises:
            ConfigError: there are neither a model nor enhanced images.
        """
        self.expected = expected
        self._report, self._stream, self._reference, self._enhanced = report, stream, reference, enhanced
        self._timer = StageTimer(enhance) if isinstance(enhance, FrameEnhancer) and enhanced is None else None
        frame_enhance: Enhance | None = self._timer or (enhance if enhanced is None else _unchanged)
        if frame_enhance is None:
            raise ConfigError("no model and no enhanced topic: nothing to evaluate")
        self._camera_stream = CameraStream(report, data, types, frame_enhance, stream)
        self._frames: list[FrameMetrics] = []
        self._samples: dict[int, SampleFrame] = {}
        self._darkest: tuple[int, SampleFrame] | None = None
        self._sampled = {round(n) for n in np.linspace(0, max(expected - 1, 0), SAMPLES)}
        self._previous: _Images | None = None
        self._first_ns: int | None = None
        self._number, self._without_enhanced = -1, 0

    def add(self, raw: bytes, received_ns: int) -> None:
        """Enhance and measure the next frame; an unreadable one is counted.

        Raises:
            DataError: the reference has another size, or the bag is damaged.
            ModelError: the network fails.
        """
        self._number += 1
        message, frame = self._camera_stream.process(raw, received_ns)
        if frame is None:
            return
        stamp = stamp_ns(message)
        rgb, _ = decode(message, "same", self._stream.max_pixels)
        output: Image | None = frame.rgb if self._enhanced is None else self._enhanced.image_at(stamp)
        if output is None:
            self._without_enhanced += 1
            return
        self._first_ns = stamp if self._first_ns is None else self._first_ns
        # The output is copied, because that of an unchanged frame is a view of the message.
        images = _Images(to_8_bit(rgb), np.array(output), self._reference.image_at(stamp) if self._reference else None)
        try:
            measured = self._measure(images, frame, stamp)
        except ImageError as error:
            raise DataError(f"{self._report.camera.image}: {error}") from error
        self._keep(SampleFrame(measured, images.input, images.output, images.reference))
        self._previous = images

    def _measure(self, images: _Images, frame: EnhancedFrame, stamp: int) -> FrameMetrics:
        flicker, flicker_input = self._flicker(images)
        reference, is_recorded = images.reference, self._enhanced is not None
        return FrameMetrics(
            name=f"{stamp // NS_PER_S}.{stamp % NS_PER_S:09d}",
            scene=f"{self._number}",
            input=image_statistics(images.input),
            output=image_statistics(images.output),
            iso=frame.capture.iso,
            exposure_s=frame.capture.exposure_s,
            input_metrics=None if reference is None else reference_metrics(images.input, reference),
            output_metrics=None if reference is None else reference_metrics(images.output, reference),
            time_s=(stamp - (self._first_ns or 0)) / NS_PER_S,
            match=frame.match,
            metadata_age_s=None if frame.metadata_age_ns is None else frame.metadata_age_ns / NS_PER_S,
            bypassed=frame.bypassed and not is_recorded,
            flicker=flicker,
            flicker_input=flicker_input,
            latency_ms={} if is_recorded else self._latency_ms(frame),
        )

    def _latency_ms(self, frame: EnhancedFrame) -> dict[str, float]:
        stages = {name: ns / 1e6 for name, ns in frame.timings_ns.items()}
        total = sum(stages.values())
        if self._timer is not None:
            parts = {name: ns / 1e6 for name, ns in self._timer.take_ns().items()}
            rest = stages.pop("enhance") - sum(parts.values())
            stages |= parts | {"temporal": max(rest, 0.0)}
        return {**stages, "total": total}

    def _flicker(self, images: _Images) -> tuple[float | None, float | None]:
        """Return the flicker of the enhanced frame, and that of the dark one times the gain in brightness."""
        last = self._previous
        if last is None or last.input.shape != images.input.shape or last.output.shape != images.output.shape:
            return None, None
        brightness = [float(p.mean()) for p in (last.output, images.output, last.input, images.input)]
        gain = sum(brightness[:2]) / max(sum(brightness[2:]), 1e-6)
        change = luma_change(last.output, images.output)
        change_input = luma_change(last.input, images.input) * gain
        if last.reference is not None and images.reference is not None:
            scene_change = luma_change(last.reference, images.reference)
            change, change_input = change - scene_change, change_input - scene_change
        return rms(change), rms(change_input)

    def _keep(self, sample: SampleFrame) -> None:
        self._frames.append(sample.frame)
        if self._number in self._sampled:
            self._samples[self._number] = sample
        if self._darkest is None or sample.frame.input.mean_luma < self._darkest[1].frame.input.mean_luma:
            self._darkest = self._number, sample

    def section(self, notes: Sequence[str] = ()) -> Section:
        """Return the measurements as a section of the report.

        Args:
            notes: remarks to add.

        Raises:
            DataError: no frame was measured.
        """
        camera, report = self._report.camera, self._report
        if self._darkest is None:
            reason = report.last_error or "the enhanced topic has no image with the stamp of any frame"
            raise DataError(f"{camera.image} has no frame that can be evaluated ({reason})")
        samples = {**self._samples, self._darkest[0]: self._darkest[1]}
        return Section(
            camera.image,
            tuple(self._frames),
            tuple(samples[number] for number in sorted(samples)),
            (*self._notes(), *notes),
        )

    def _notes(self) -> list[str]:
        camera, report = self._report.camera, self._report
        notes = [f"capture metadata from {camera.metadata}" if camera.metadata else "no capture metadata in the bag"]
        if report.damaged_frames:
            notes.append(f"damaged frames skipped: {report.damaged_frames} ({report.last_error})")
        if report.unusable_metadata:
            notes.append(
                f"unreadable messages of metadata or calibration: {report.unusable_metadata} ({report.last_error})"
            )
        if self._without_enhanced:
            notes.append(f"frames skipped without an enhanced image of their stamp: {self._without_enhanced}")
        without = sum(frame.output_metrics is None for frame in self._frames)
        if self._reference is not None and without:
            notes.append(f"frames without a reference of their stamp: {without}")
        return notes


def _unchanged(rgb: Rgb, _capture: object) -> NDArray[np.uint8]:
    return to_8_bit(rgb)
