"""Detection of cameras, calibrations and metadata topics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags", reason="makes and reads the bags")

import bag_maker
from bag_enhancement import DoublingEnhancer, enhance_in_process
from bag_maker import (
    COMPRESSED,
    DIAGNOSTICS,
    DRIVER_RECORDINGS,
    FIRST_NS,
    IMAGE,
    REALSENSE,
    STRING,
    BagMessage,
    write_bag,
)

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.metadata.readers import MetadataSettings
from lowlight_enhance.tools.bags.cameras import Camera, CameraSelection, find_cameras
from lowlight_enhance.tools.bags.recording import Bag, MessageTypes
from lowlight_enhance.tools.bags.topics import TopicOptions


def raw(topic: str, encoding: str = "bgr8", frame_id: str = "camera_optical") -> BagMessage:
    return BagMessage(topic, FIRST_NS, IMAGE, bag_maker.image(FIRST_NS, 1, encoding, frame_id))


def compressed(topic: str) -> BagMessage:
    return BagMessage(topic, FIRST_NS, COMPRESSED, bag_maker.compressed_image(FIRST_NS, 1))


def info(topic: str) -> BagMessage:
    return BagMessage(topic, FIRST_NS, bag_maker.CAMERA_INFO, bag_maker.camera_info(FIRST_NS))


def diagnostics_metadata(topic: str, frame_id: str = "camera_optical", exposure_us: float = 100.0) -> BagMessage:
    return BagMessage(topic, FIRST_NS, DIAGNOSTICS, bag_maker.diagnostics(FIRST_NS, exposure_us, 1.0, frame_id))


def json_metadata(topic: str) -> BagMessage:
    return BagMessage(topic, FIRST_NS, REALSENSE, bag_maker.T[REALSENSE](bag_maker.header(FIRST_NS), "{}"))


def find(
    path: Path, sent: list[BagMessage], settings: MetadataSettings | None = None, **choice: Any
) -> CameraSelection:
    with Bag(write_bag(path / "in", sent, "mcap")) as bag:
        return find_cameras(bag, MessageTypes(), TopicOptions(**choice), settings or MetadataSettings())


def images(found: CameraSelection) -> list[str]:
    return [camera.image for camera in found.cameras]


def only(found: CameraSelection) -> Camera:
    [camera] = found.cameras
    return camera


def test_realsense_with_all_streams(tmp_path: Path) -> None:
    sent = [
        raw("/camera/camera/color/image_raw"),
        compressed("/camera/camera/color/image_raw/compressed"),
        raw("/camera/camera/depth/image_rect_raw", "16UC1"),
        raw("/camera/camera/aligned_depth_to_color/image_raw", "16UC1"),
        raw("/camera/camera/infra1/image_rect_raw", "mono8"),
        *[info(f"/camera/camera/{name}/camera_info") for name in ("color", "depth", "infra1")],
        *[json_metadata(f"/camera/camera/{name}/metadata") for name in ("color", "depth", "infra1")],
    ]
    found = find(tmp_path, sent)
    assert [(c.image, c.camera_info, c.metadata, c.output) for c in found.cameras] == [
        (
            f"/camera/camera/{name}/{image}",
            f"/camera/camera/{name}/camera_info",
            f"/camera/camera/{name}/metadata",
            f"/camera/camera/{name}/image_enhanced",
        )
        for name, image in (("color", "image_raw"), ("infra1", "image_rect_raw"))
    ]
    assert found.skipped == {
        "/camera/camera/color/image_raw/compressed": "the compressed form of /camera/camera/color/image_raw",
        "/camera/camera/depth/image_rect_raw": "'depth' in its name",
        "/camera/camera/aligned_depth_to_color/image_raw": "'depth' in its name",
    }


@pytest.mark.parametrize(
    ("topics", "taken"),
    [
        (["/cam/image_rect", "/cam/image_raw", "/cam/image_color"], ["/cam/image_raw"]),
        (["/cam/image_mono", "/cam/image_color"], ["/cam/image_color"]),
        (["/left_eye", "/right_eye"], ["/left_eye", "/right_eye"]),
        (["/cam0/image_raw", "/cam1/image_raw"], ["/cam0/image_raw", "/cam1/image_raw"]),
    ],
)
def test_one_image_topic_per_camera(topics: list[str], taken: list[str], tmp_path: Path) -> None:
    found = find(tmp_path, [raw(topic) for topic in topics])
    assert images(found) == taken
    assert set(found.skipped) == set(topics) - set(taken)


def test_a_compressed_camera_without_its_raw_form(tmp_path: Path) -> None:
    depth = compressed("/cam/image_rect/compressedDepth")
    depth.content.format = "16UC1; compressedDepth png"
    found = find(tmp_path, [compressed("/cam/image_raw/compressed"), depth, info("/cam/camera_info")])
    assert (only(found).image, only(found).camera_info, only(found).output) == (
        *("/cam/image_raw/compressed", "/cam/camera_info", "/cam/image_enhanced/compressed"),
    )
    assert list(found.skipped) == ["/cam/image_rect/compressedDepth"]


@pytest.mark.parametrize(
    ("picture_format", "dtype", "reason"),
    [
        ("16UC1; png compressed ", np.uint16, "encoding 16UC1"),
        ("16UC1; jpeg compressed ", np.uint8, "encoding 16UC1"),
        ("32FC1; png compressed ", np.uint16, "encoding 32FC1"),
        ("16UC1; compressedDepth png", np.uint16, "depth"),
        ("png", np.uint16, "16-bit grey PNG, usually depth"),
    ],
)
def test_compressed_depth_is_copied(picture_format: str, dtype: Any, reason: str, tmp_path: Path) -> None:
    kind = "jpeg" if "jpeg" in picture_format else "png"
    depth = compressed("/stereo/image_raw/compressed")
    depth.content.format = picture_format
    depth.content.data = cv2.imencode(f".{kind}", np.full((24, 32), 90, dtype))[1].reshape(-1)
    found = find(tmp_path, [compressed("/rgb/image_raw/compressed"), depth])
    assert images(found) == ["/rgb/image_raw/compressed"]
    assert found.skipped == {"/stereo/image_raw/compressed": reason}


@pytest.mark.parametrize("picture_format", ["mono16; png compressed ", "mono8; png compressed ", "png"])
def test_compressed_grey_images_of_a_camera_are_enhanced(picture_format: str, tmp_path: Path) -> None:
    message = compressed("/cam/image_raw/compressed")
    message.content.format = picture_format
    dtype = np.uint16 if "16" in picture_format else np.uint8
    message.content.data = cv2.imencode(".png", np.full((24, 32), 90, dtype))[1].reshape(-1)
    assert images(find(tmp_path, [message])) == ["/cam/image_raw/compressed"]


def test_unreadable_and_depth_images_are_skipped(tmp_path: Path) -> None:
    sent = [
        raw("/a/range", "32FC1"),
        raw("/b/range", "16UC1"),
        BagMessage("/c/image_raw", FIRST_NS, IMAGE, b"damaged"),
    ]
    with pytest.raises(ConfigError, match=r"32FC1.*16UC1.*no readable image.*choose an image topic with --topic"):
        find(tmp_path, sent)


def test_a_bag_without_images(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it has no image topic"):
        find(tmp_path, [BagMessage("/text", FIRST_NS, STRING, bag_maker.string("a"))])


def test_selected_topics_are_enhanced_regardless_of_name_and_encoding(tmp_path: Path) -> None:
    sent = [raw("/cam/depth/image", "16UC1"), raw("/cam/image_raw"), raw("/cam/image_rect")]
    assert images(find(tmp_path, sent, images=("/cam/depth/image",))) == ["/cam/depth/image"]
    (tmp_path / "again").mkdir()
    found = find(tmp_path / "again", sent, images=("/cam/image_raw", "/cam/image_rect"))
    assert [(c.output, c.output_info) for c in found.cameras] == [
        (f"{image}_enhanced", f"{image}_enhanced/camera_info") for image in ("/cam/image_raw", "/cam/image_rect")
    ]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"images": ("/cam/image_row",)}, "no topic /cam/image_row; did you mean /cam/image_raw"),
        ({"images": ("/cam/camera_info",)}, "of type sensor_msgs/msg/CameraInfo, not sensor_msgs/msg/Image or"),
        ({"camera_info": ("/cam/image_raw",)}, "of type sensor_msgs/msg/Image, not sensor_msgs/msg/CameraInfo"),
        ({"metadata": ("/cam/image_raw",)}, "no reader for metadata messages of type 'sensor_msgs/msg/Image'"),
        ({"metadata": ("/cam/image_row=/cam/metadata",)}, "no topic /cam/image_row; did you mean /cam/image_raw"),
        ({"metadata": ("/cam/camera_info=none",)}, "of type sensor_msgs/msg/CameraInfo, not sensor_msgs/msg/Image or"),
        ({"camera_info": ("/cam/image_row=none",)}, "no topic /cam/image_row; did you mean /cam/image_raw"),
        ({"metadata_type": "std_msgs/msg/String"}, "no reader for metadata messages of type 'std_msgs/msg/String'"),
        ({"exclude": ("/nothing",)}, "no topic /nothing"),
    ],
)
def test_missing_topics_and_wrong_types_are_errors(choice: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        find(tmp_path, [raw("/cam/image_raw"), info("/cam/camera_info")], **choice)


def test_an_existing_output_topic_is_an_error(tmp_path: Path) -> None:
    sent = [raw("/cam/image_raw"), raw("/cam/image_enhanced")]
    with pytest.raises(ConfigError, match="--exclude /cam/image_enhanced, or use --replace"):
        find(tmp_path, sent)
    for number, choice in enumerate(({"exclude": ("/cam/image_enhanced",)}, {"replace": True})):
        (tmp_path / str(number)).mkdir()
        assert images(find(tmp_path / str(number), sent, **choice)) == ["/cam/image_raw"]


# Metadata


@pytest.mark.parametrize(
    ("topics", "taken"),
    [
        (["/diagnostics", "/a/diagnostics"], "/a/diagnostics"),
        (["/a/diagnostics", "/a/b/diagnostics", "/a/b/c/d/diagnostics"], "/a/b/diagnostics"),
        (["/a/other/diagnostics", "/ab/diagnostics"], ""),
        (["/diagnostics"], "/diagnostics"),
    ],
)
def test_metadata_of_the_closest_namespace_above(topics: list[str], taken: str, tmp_path: Path) -> None:
    assert only(find(tmp_path, [raw("/a/b/image_raw"), *map(diagnostics_metadata, topics)])).metadata == taken


def test_a_camera_specific_type_is_preferred_to_diagnostics(tmp_path: Path) -> None:
    sent = [raw("/a/image_raw"), diagnostics_metadata("/a/diagnostics"), json_metadata("/a/metadata")]
    assert only(find(tmp_path, sent)).metadata == "/a/metadata"
    (tmp_path / "again").mkdir()
    assert only(find(tmp_path / "again", sent, metadata_type=DIAGNOSTICS)).metadata == "/a/diagnostics"


def test_ambiguous_metadata_are_an_error(tmp_path: Path) -> None:
    sent = [raw("/a/image_raw"), json_metadata("/a/one"), json_metadata("/a/two")]
    with pytest.raises(ConfigError, match="/a/one or /a/two; choose one: --metadata /a/image_raw=/a/one"):
        find(tmp_path, sent)


def test_topics_selected_by_the_user(tmp_path: Path) -> None:
    sent = [
        raw("/a/image_raw"),
        raw("/b/image_raw"),
        info("/calibration"),
        info("/b/camera_info"),
        diagnostics_metadata("/x"),
        diagnostics_metadata("/y"),
    ]
    found = find(
        tmp_path,
        sent,
        metadata=("/a/image_raw=/x", "/y"),
        camera_info=("/a/image_raw=/calibration", "/b/image_raw=none"),
    )
    assert [(c.metadata, c.camera_info) for c in found.cameras] == [("/x", "/calibration"), ("/y", "")]


def test_metadata_fields_need_a_topic(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="need --metadata TOPIC"):
        find(tmp_path, [raw("/a/image_raw")], MetadataSettings(exposure_field="shutter"))


def test_cameras_with_shared_diagnostics_use_their_own_entries(tmp_path: Path) -> None:
    sent = [
        raw("/left/image_raw", frame_id="left_optical"),
        raw("/right/image_raw", frame_id="right_optical"),
        diagnostics_metadata("/diagnostics", "left_optical", 1000.0),
        diagnostics_metadata("/diagnostics", "right_optical", 2000.0),
    ]
    doubler = DoublingEnhancer()
    report = enhance_in_process(write_bag(tmp_path / "in", sent), tmp_path / "out", doubler)
    assert [camera.matches for camera in report.cameras] == [{"exact": 1}, {"exact": 1}]
    np.testing.assert_allclose([exposure for _, exposure in doubler.capture_values], [1e-3, 2e-3])


def test_two_cameras_in_one_bag(tmp_path: Path) -> None:
    sent = [*DRIVER_RECORDINGS["realsense"]().sent, *DRIVER_RECORDINGS["flir"]().sent]
    report = enhance_in_process(write_bag(tmp_path / "in", sent), tmp_path / "out")
    assert [(camera.enhanced, camera.matches) for camera in report.cameras] == [(4, {"exact": 4})] * 2
    outputs = {"/camera/camera/color/image_enhanced", "/flir_camera/image_enhanced"}
    assert outputs <= set(bag_maker.connections(tmp_path / "out"))
