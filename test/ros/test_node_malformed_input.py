"""Property test: for any input, the node publishes images with the size and the header of the input, or none."""

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("diagnostic_msgs", reason="needs ROS 2 (diagnostic_msgs)")
pytest.importorskip("onnx", reason="the onnx package writes the tests' models")

import rclpy
from hypothesis import given, settings
from hypothesis import strategies as st
from message_strategies import DIAGNOSTICS, diagnostics, pictures
from rclpy.parameter import Parameter
from tiny_model import write_tiny_model

from lowlight_enhance.core.errors import LowlightError
from lowlight_enhance.core.imaging.messages import OUTPUT_ENCODINGS
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.ros.node import EnhanceNode


class Published:
    """Records what two publishers of the node publish, as if both had subscribers."""

    def __init__(self, image, compressed):
        self.images, self.files = [], []
        for publisher, messages in ((image, self.images), (compressed, self.files)):
            publisher.get_subscription_count = lambda: 1
            publisher.publish = self._recorded(publisher.publish, messages)

    @staticmethod
    def _recorded(publish, messages):
        def record(message):
            messages.append(message)
            publish(message)

        return record

    def clear(self):
        self.images.clear()
        self.files.clear()

    def check(self, sent, is_complete):
        """Check that everything belongs to ``sent``, with one message of each publisher if ``is_complete``."""
        assert len(self.images) <= 1
        assert len(self.files) <= 1
        for image in self.images:
            assert image.header == sent.message.header
            assert sent.size is None or (image.height, image.width) == sent.size
        for file in self.files:
            assert file.header == sent.message.header
        if is_complete:
            assert len(self.images) == len(self.files) == 1
            assert self.images[0].step * self.images[0].height <= len(self.images[0].data)
            picture = cv2.imdecode(np.frombuffer(self.files[0].data, np.uint8), cv2.IMREAD_UNCHANGED)
            assert picture.shape[:2] == sent.size


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """Return an active node whose network works at less than the size of most frames."""
    model = write_tiny_model(
        tmp_path_factory.mktemp("garbage") / "tiny.onnx", 3.0, 0.02, ModelInput(working_size=24, size_multiple=8)
    )
    context = rclpy.Context()
    rclpy.init(context=context)
    values = {
        "model": str(model),
        "threads": 1,
        "malloc_tuning": False,
        "metadata.type": DIAGNOSTICS,
        "output.compressed_format": "jpeg",
        "max_pixels": 20_000,
    }
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = EnhanceNode(context=context, parameter_overrides=overrides)
    node.start()
    yield node
    node.destroy_node()
    rclpy.try_shutdown(context=context)


@pytest.fixture(scope="module")
def published(node):
    outputs = node.handler.publishers
    return Published(outputs._image, outputs._compressed)


def test_published_images_have_size_and_header_of_the_input(node, published):
    came = st.one_of(pictures("rclpy"), pictures("rclpy"), diagnostics("rclpy"))

    @settings(deadline=None, max_examples=200)
    @given(
        messages=st.lists(came, min_size=1, max_size=5),
        wait_s=st.sampled_from([0.0, 0.5]),
        strength=st.sampled_from([0.0, 0.5, 1.0]),
        encoding=st.sampled_from(OUTPUT_ENCODINGS),
        enabled=st.sampled_from([True, True, True, False]),
    )
    def check(messages, wait_s, strength, encoding, enabled):
        wanted = {"metadata.max_wait": wait_s, "strength": strength, "output.encoding": encoding}
        results = node.set_parameters([Parameter(name, value=value) for name, value in wanted.items()])
        assert all(result.successful for result in results)
        node.handler.pipeline.enabled = enabled
        feed(node.handler, published, messages)

    check()
    errors = {value.key for value in node.status().values if value.key.startswith("errors.")}
    assert errors <= {"errors.ImageError", "errors.MetadataError"}


def feed(handler, published, messages):
    """Pass the messages to the node; at the end, the wait of the last image times out."""
    in_work, is_complete = None, False
    for sent in [*messages, None]:
        published.clear()
        if sent is not None and not sent.type_name:
            in_work, is_complete = sent, sent.is_good
        try:
            if sent is None:
                handler._wait._on_timer()
            elif sent.type_name:
                handler._on_metadata(sent.message)
            else:
                handler._on_image(sent.message)
        except LowlightError:
            assert not is_complete
        if handler._wait.image is not None or in_work is None:
            assert not published.images
            assert not published.files
        else:
            published.check(in_work, is_complete)
            in_work = None
