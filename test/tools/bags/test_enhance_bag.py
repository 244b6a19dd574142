"""`lowlight bag` on recordings in the style of several drivers: added topics, and messages copied byte for byte."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags", reason="makes and reads the bags")

import bag_maker
from bag_enhancement import DoublingEnhancer, enhance_in_process
from bag_maker import DRIVER_RECORDINGS, FIRST_NS, IMAGE, NS_PER_S, PERIOD_NS, SECRET, STRING, BagMessage, write_bag
from rosbags.highlevel import AnyReader
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.typesys import Stores, get_typestore

from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.core.metadata.readers import MetadataSettings
from lowlight_enhance.core.pipeline import PipelineConfig
from lowlight_enhance.tools.bags.enhance import enhance_bag
from lowlight_enhance.tools.bags.recording import Bag
from lowlight_enhance.tools.bags.settings import BagSettings
from lowlight_enhance.tools.bags.topics import TopicOptions

SECRETS = [BagMessage("/secret", FIRST_NS + n * PERIOD_NS, SECRET, bytes(range(7 + n))) for n in range(4)]
"""Messages of an unknown type, without a CDR header."""


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that doubles every pixel."""
    pytest.importorskip("onnx", reason="the onnx package writes the tests' models")
    from tiny_model import write_tiny_model

    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


def without(added: Iterable[str], path: Path) -> list[tuple[str, int, str, bytes]]:
    return [message for message in bag_maker.messages(path) if message[0] not in set(added)]


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
@pytest.mark.parametrize("style", DRIVER_RECORDINGS)
def test_recording_of_a_driver(style: str, storage: str, tmp_path: Path) -> None:
    recorded = DRIVER_RECORDINGS[style]()
    source = write_bag(tmp_path / "in", recorded.sent + SECRETS, storage)
    doubler = DoublingEnhancer()
    settings = MetadataSettings(gain_unity=1.0)
    report = enhance_in_process(
        source, tmp_path / "out", doubler, stream=PipelineConfig(strength=1.0, metadata=settings)
    )
    namespace = recorded.image.rpartition("/")[0]
    added = [f"{namespace}/image_enhanced", f"{namespace}/enhanced/camera_info"]

    np.testing.assert_allclose(np.array(doubler.capture_values, float), recorded.captures, rtol=1e-6)
    assert report.cameras[0].matches == {"exact": 4}
    assert without(added, tmp_path / "out") == bag_maker.messages(source)
    assert report.copied == len(bag_maker.messages(source))
    dark, bright = bag_maker.objects(source, recorded.image), bag_maker.objects(tmp_path / "out", added[0])
    assert [(m.header, m.encoding, m.height, m.width) for m in bright] == [
        (m.header, m.encoding, m.height, m.width) for m in dark
    ]
    for before, after in zip(dark, bright, strict=True):
        np.testing.assert_array_equal(after.data, np.minimum(2 * before.data.astype(int), 255))
    infos = bag_maker.objects(tmp_path / "out", added[1])
    assert [info.header for info in infos] == [m.header for m in dark]
    assert all(list(info.k) == list(bag_maker.camera_info(0).k) for info in infos)


def test_the_enhanced_image_follows_its_image_at_the_same_time(tmp_path: Path) -> None:
    source = write_bag(tmp_path / "in", DRIVER_RECORDINGS["realsense"]().sent)
    enhance_in_process(source, tmp_path / "out")
    order = [(topic.rpartition("/")[2], ns) for topic, ns, _, _ in bag_maker.messages(tmp_path / "out")][:5]
    image_ns = FIRST_NS + 2000
    assert order == [
        ("metadata", FIRST_NS + 1000),
        ("image_raw", image_ns),
        ("image_enhanced", image_ns),
        ("camera_info", image_ns),
        ("camera_info", FIRST_NS + 3000),
    ]


def test_two_runs_give_the_same_bytes(tmp_path: Path, tiny_model: Path) -> None:
    source = write_bag(
        tmp_path / "in", [*DRIVER_RECORDINGS["flir"](6).sent, *DRIVER_RECORDINGS["realsense"](6).sent, *SECRETS]
    )
    settings = BagSettings(model=tiny_model, threads=1)
    frames = []
    first, second = tmp_path / "first" / "out", tmp_path / "second" / "out"
    for target in (first, second):
        report = enhance_bag(source, target, settings, frames.append)
        assert [camera.enhanced for camera in report.cameras] == [6, 6]
    assert sum(frames) == 24
    assert bag_maker.messages(first) == bag_maker.messages(second)
    assert (first / "metadata.yaml").read_bytes() == (second / "metadata.yaml").read_bytes()


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_temporal_fusion_gives_the_same_files_on_every_run(storage: str, tmp_path: Path, tiny_model: Path) -> None:
    """A moving camera over a noisy texture, so that frames are aligned and averaged."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 120, (160, 200, 3)).astype(np.uint8), (0, 0), 2)
    sent = []
    for number in range(12):
        ns = FIRST_NS + number * PERIOD_NS
        view = texture[number : number + 120, 2 * number : 2 * number + 160].astype(np.int16)
        noisy = np.clip(view + rng.integers(-6, 7, view.shape), 0, 255).astype(np.uint8)
        message = bag_maker.T[IMAGE](bag_maker.header(ns), 120, 160, "bgr8", 0, 480, noisy.reshape(-1))
        sent.append(BagMessage("/cam/image_raw", ns, IMAGE, message))
    source = write_bag(tmp_path / "in", sent, storage)
    config = PipelineConfig(fusion=True, fallback=CaptureMetadata(1600.0, 0.02))
    settings = BagSettings(model=tiny_model, threads=1, stream=config)
    contents = []
    for name in ("first", "second"):
        enhance_bag(source, tmp_path / name / "out", settings, lambda _: None)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / name / "out").iterdir()})
    assert contents[0] == contents[1]
    unfused = BagSettings(model=tiny_model, threads=1, stream=dataclasses.replace(config, fusion=False))
    enhance_bag(source, tmp_path / "unfused" / "out", unfused, lambda _: None)
    assert bag_maker.messages(tmp_path / "unfused" / "out") != bag_maker.messages(tmp_path / "first" / "out"), (
        "fusion has no effect"
    )


@pytest.mark.parametrize(
    ("storage", "compression"),
    [("sqlite3", "file"), ("sqlite3", "message"), ("mcap", "file"), ("mcap", "message"), ("mcap", "storage")],
)
def test_compression_is_kept(storage: str, compression: str, tmp_path: Path) -> None:
    recorded = DRIVER_RECORDINGS["flir"]()
    source = write_bag(tmp_path / "in", recorded.sent, storage, compression)
    enhance_in_process(source, tmp_path / "out")
    with Bag(tmp_path / "out") as bag:
        assert (bag.storage, bag.compression) == (storage, compression)
    assert without(["/flir_camera/image_enhanced", "/flir_camera/enhanced/camera_info"], tmp_path / "out") == (
        bag_maker.messages(source)
    )


def test_storage_and_compression_options(tmp_path: Path) -> None:
    source = write_bag(tmp_path / "in", DRIVER_RECORDINGS["flir"]().sent, "mcap", "storage")
    enhance_in_process(source, tmp_path / "out", storage="sqlite3")
    enhance_in_process(source, tmp_path / "plain", compression="none")
    with Bag(tmp_path / "out") as bag, Bag(tmp_path / "plain") as plain:
        assert (bag.storage, bag.compression) == ("sqlite3", "message")
        assert (plain.storage, plain.compression) == ("mcap", "none")
    with pytest.raises(ConfigError, match="--compression message, or --storage mcap"):
        enhance_in_process(source, tmp_path / "bad", storage="sqlite3", compression="storage")


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_split_bag_becomes_one_file(storage: str, tmp_path: Path) -> None:
    recorded = DRIVER_RECORDINGS["camera_ros"](6)
    middle = FIRST_NS + 3 * PERIOD_NS
    parts = [
        write_bag(tmp_path / name, [m for m in recorded.sent if (m.received_ns < middle) == early], storage)
        for name, early in (("early", True), ("late", False))
    ]
    source = bag_maker.split(parts, tmp_path / "whole")
    doubler = DoublingEnhancer()
    report = enhance_in_process(source, tmp_path / "out", doubler)
    assert (report.cameras[0].enhanced, report.cameras[0].matches) == (6, {"exact": 6})
    np.testing.assert_allclose(np.array(doubler.capture_values, float), recorded.captures, rtol=1e-6)
    added = ["/camera/image_enhanced", "/camera/enhanced/camera_info"]
    assert without(added, tmp_path / "out") == bag_maker.messages(source)


@pytest.mark.parametrize("suffix", [".db3", ".mcap"])
def test_a_single_file_without_metadata_is_a_bag(suffix: str, tmp_path: Path) -> None:
    recorded = DRIVER_RECORDINGS["realsense"]()
    folder = write_bag(tmp_path / "in", recorded.sent, "mcap" if suffix == ".mcap" else "sqlite3")
    file = next(folder.glob(f"*{suffix}")).rename(tmp_path / f"alone{suffix}")
    assert enhance_in_process(file, tmp_path / "out").cameras[0].enhanced == 4


# Copied messages


@pytest.mark.parametrize("version", [8, 9])
@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_types_qos_and_custom_data_are_kept(storage: str, version: int, tmp_path: Path) -> None:
    recorded = DRIVER_RECORDINGS["realsense"]()
    sent = [*recorded.sent, *SECRETS, BagMessage("/map", FIRST_NS, STRING, bag_maker.string("a"))]
    source = write_bag(tmp_path / "in", sent, storage, version=version, qos={"/map": bag_maker.LATCHED_QOS})
    enhance_in_process(source, tmp_path / "out")
    before, after = bag_maker.connections(source), bag_maker.connections(tmp_path / "out")
    for topic, connection in before.items():
        copy = after[topic]
        assert (copy.msgtype, copy.msgdef, copy.digest, copy.ext, copy.msgcount) == (
            *(connection.msgtype, connection.msgdef, connection.digest, connection.ext, connection.msgcount),
        )
    image = after["/camera/camera/color/image_enhanced"]
    assert (image.msgtype, image.digest, image.ext) == (
        *(before[recorded.image].msgtype, before[recorded.image].digest, before[recorded.image].ext),
    )
    assert f"version: {version}" in (tmp_path / "out" / "metadata.yaml").read_text()


@pytest.mark.parametrize("definitions", ["none", "unknown"])
def test_a_bag_without_definitions_stays_without_definitions(definitions: str, tmp_path: Path) -> None:
    recorded = DRIVER_RECORDINGS["realsense"]()
    source = write_bag(tmp_path / "in", recorded.sent + SECRETS)
    statements = {
        "none": "DELETE FROM message_definitions",
        "unknown": "UPDATE message_definitions SET encoding = 'unknown', encoded_message_definition = ''",
    }
    database = sqlite3.connect(next(source.glob("*.db3")))
    with database:
        database.execute(statements[definitions])
    database.close()
    doubler = DoublingEnhancer()
    for storage in ("sqlite3", "mcap"):
        enhance_in_process(source, tmp_path / storage, doubler, storage=storage)
        copies = bag_maker.connections(tmp_path / storage).values()
        assert {copy.msgdef.format for copy in copies} == {MessageDefinitionFormat.NONE}
        with AnyReader([tmp_path / storage], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
            infos = [c for c in reader.connections if c.msgtype == bag_maker.CAMERA_INFO]
            assert len([reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages(infos)]) == 8
    np.testing.assert_allclose(np.array(doubler.capture_values[:4], float), recorded.captures, rtol=1e-6)


def test_a_type_without_definition_beside_others(tmp_path: Path) -> None:
    source = write_bag(tmp_path / "in", DRIVER_RECORDINGS["realsense"]().sent + SECRETS)
    database = sqlite3.connect(next(source.glob("*.db3")))
    with database:
        database.execute("DELETE FROM message_definitions WHERE topic_type = ?", (SECRET,))
    database.close()
    for storage in ("sqlite3", "mcap"):
        enhance_in_process(source, tmp_path / storage, storage=storage)
        copy = bag_maker.connections(tmp_path / storage)
        assert copy["/secret"].msgdef.format == MessageDefinitionFormat.NONE
        assert copy["/camera/camera/color/image_enhanced"].msgdef.format == MessageDefinitionFormat.MSG
        secrets = [raw for topic, _, _, raw in bag_maker.messages(tmp_path / storage) if topic == "/secret"]
        assert secrets == [message.content for message in SECRETS]


def test_excluded_topics_are_read_but_not_copied(tmp_path: Path) -> None:
    source = write_bag(tmp_path / "in", DRIVER_RECORDINGS["realsense"]().sent + SECRETS)
    choice = TopicOptions(exclude=("/secret", "/camera/camera/color/metadata", "/camera/camera/color/image_raw"))
    report = enhance_in_process(source, tmp_path / "out", topics=choice)
    assert report.cameras[0].matches == {"exact": 4}
    assert set(bag_maker.connections(tmp_path / "out")) == {
        "/camera/camera/color/camera_info",
        "/camera/camera/color/image_enhanced",
        "/camera/camera/color/enhanced/camera_info",
    }


# Damaged input


def test_damaged_images_are_copied_and_counted(tmp_path: Path) -> None:
    recorded = DRIVER_RECORDINGS["realsense"](6)
    images = [message for message in recorded.sent if message.topic == recorded.image]
    images[1].content = images[1].raw[: len(images[1].raw) // 2]
    images[3].content.data = images[3].content.data[:-10]
    images[4].content = b""
    broken_metadata = next(message for message in recorded.sent if message.topic == recorded.metadata)
    broken_metadata.content.json_data = "{"
    source = write_bag(tmp_path / "in", recorded.sent)
    report = enhance_in_process(source, tmp_path / "out")
    [camera] = report.cameras
    assert (camera.enhanced, camera.damaged_frames, camera.unusable_metadata, report.damaged_frames) == (3, 3, 1, 3)
    assert "3 damaged frames skipped" in str(report)
    added = ["/camera/camera/color/image_enhanced", "/camera/camera/color/enhanced/camera_info"]
    assert without(added, tmp_path / "out") == bag_maker.messages(source)
    kept = [images[number].content.header for number in (0, 2, 5)]
    assert [m.header for m in bag_maker.objects(tmp_path / "out", added[0])] == kept


@pytest.mark.parametrize(("storage", "kept"), [("mcap", 0.5), ("sqlite3", 0.5), ("sqlite3", 0.01)])
def test_a_truncated_bag_is_an_error(storage: str, kept: float, tmp_path: Path) -> None:
    source = write_bag(tmp_path / "in", DRIVER_RECORDINGS["realsense"](40).sent, storage)
    file = next(path for path in source.iterdir() if path.suffix != ".yaml")
    content = file.read_bytes()
    file.write_bytes(content[: round(kept * len(content))])
    with pytest.raises(DataError, match=f"{source} cannot be read .* ros2 bag reindex or mcap recover"):
        enhance_in_process(source, tmp_path / "out")


def test_paths_that_are_not_bags_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "night.txt").write_text("no bag")
    for path, words in [
        ("folder", "no metadata.yaml in it"),
        ("missing", "does not exist"),
        ("night.txt", "give its folder, or an .mcap or .db3 file"),
        ("night.bag", "rosbags-convert"),
    ]:
        with pytest.raises(DataError, match=words):
            Bag(tmp_path / path)


# Written images


def test_replaced_images_keep_topic_type_and_time(tmp_path: Path) -> None:
    recorded = DRIVER_RECORDINGS["realsense"]()
    images = [message for message in recorded.sent if message.topic == recorded.image]
    images[2].content = b"damaged"
    source = write_bag(tmp_path / "in", recorded.sent)
    enhance_in_process(source, tmp_path / "out", topics=TopicOptions(replace=True))
    before, after = bag_maker.messages(source), bag_maker.messages(tmp_path / "out")
    assert [message[:3] for message in before] == [message[:3] for message in after]
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert [(topic, ns) for topic, ns, _, _ in changed] == [
        (recorded.image, images[number].received_ns) for number in (0, 1, 3)
    ]


def test_replacing_with_another_size_replaces_the_calibration(tmp_path: Path, tiny_model: Path) -> None:
    recorded = DRIVER_RECORDINGS["flir"]()
    source = write_bag(tmp_path / "in", recorded.sent)
    settings = BagSettings(
        topics=TopicOptions(replace=True), model=tiny_model, threads=1, working_size=12, output_resolution="model"
    )
    enhance_bag(source, tmp_path / "out", settings, lambda _: None)
    assert set(bag_maker.connections(tmp_path / "out")) == set(bag_maker.connections(source))
    assert {(m.height, m.width) for m in bag_maker.objects(tmp_path / "out", recorded.image)} == {(12, 16)}
    infos = bag_maker.objects(tmp_path / "out", recorded.info)
    assert {(m.height, m.width, m.k[0]) for m in infos} == {(12, 16, 20.0)}


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_compressed_images_stay_compressed(kind: str, tmp_path: Path) -> None:
    topic = "/camera/image_raw/compressed"
    sent = [
        BagMessage(topic, FIRST_NS + n, bag_maker.COMPRESSED, bag_maker.compressed_image(FIRST_NS + n, n, kind))
        for n in range(3)
    ]
    source = write_bag(tmp_path / "in", sent)
    enhance_in_process(source, tmp_path / "same")
    made = bag_maker.objects(tmp_path / "same", "/camera/image_enhanced/compressed")
    assert [m.format for m in made] == [f"bgr8; {kind} compressed bgr8"] * 3
    assert [m.header for m in made] == [message.content.header for message in sent]

    enhance_in_process(source, tmp_path / "raw", topics=TopicOptions(format="raw"))
    raw = bag_maker.objects(tmp_path / "raw", "/camera/image_enhanced")
    assert [(m.encoding, m.height, m.width) for m in raw] == [("bgr8", 24, 32)] * 3
    enhance_in_process(source, tmp_path / "replaced", topics=TopicOptions(replace=True))
    assert set(bag_maker.connections(tmp_path / "replaced")) == {topic}
    with pytest.raises(ConfigError, match="leave out --format raw"):
        enhance_in_process(source, tmp_path / "bad", topics=TopicOptions(replace=True, format="raw"))


def test_format_option_compresses_raw_images(tmp_path: Path) -> None:
    source = write_bag(tmp_path / "in", DRIVER_RECORDINGS["flir"]().sent)
    enhance_in_process(source, tmp_path / "out", topics=TopicOptions(format="png"))
    made = bag_maker.objects(tmp_path / "out", "/flir_camera/image_enhanced/compressed")
    assert [m.format for m in made] == ["mono8; png compressed mono8"] * 4


def test_bright_images_are_copied_unchanged(tmp_path: Path) -> None:
    recorded = DRIVER_RECORDINGS["realsense"]()
    source = write_bag(tmp_path / "in", recorded.sent)
    report = enhance_in_process(source, tmp_path / "out", stream=PipelineConfig(bypass_above=10.0))
    assert report.cameras[0].bypassed == 4
    copies = {
        name: [raw for topic, _, _, raw in bag_maker.messages(tmp_path / "out") if topic.endswith(name)]
        for name in ("image_raw", "image_enhanced")
    }
    assert copies["image_raw"] == copies["image_enhanced"]


# Metadata and calibration


def test_fixed_capture_values_apply_without_metadata(tmp_path: Path) -> None:
    source = write_bag(tmp_path / "in", DRIVER_RECORDINGS["realsense"]().sent)
    doubler = DoublingEnhancer()
    config = PipelineConfig(fallback=CaptureMetadata(1600.0, 0.02))
    report = enhance_in_process(
        source, tmp_path / "out", doubler, stream=config, topics=TopicOptions(metadata=("none",))
    )
    assert report.cameras[0].matches == {"fallback": 4}
    assert doubler.capture_values == [(1600.0, 0.02)] * 4


def test_metadata_from_fields_of_any_defined_type(tmp_path: Path) -> None:
    kind = "wfov_camera_msgs/msg/WFOVImage"
    sent = DRIVER_RECORDINGS["realsense"]().sent
    for number in range(4):
        ns = FIRST_NS + number * PERIOD_NS
        content = bag_maker.T[kind](bag_maker.header(ns), "", 6.0, 0.01 * (1 + number))
        sent.append(BagMessage("/wfov", ns + NS_PER_S, kind, content))
    source = write_bag(tmp_path / "in", sent)
    doubler = DoublingEnhancer()
    settings = MetadataSettings(exposure_field="shutter", exposure_scale_s=1.0, gain_field="gain", gain_kind="db")
    choice = TopicOptions(metadata=("/wfov",))
    enhance_in_process(source, tmp_path / "out", doubler, stream=PipelineConfig(metadata=settings), topics=choice)
    iso = 100.0 * 10 ** (6 / 20)
    np.testing.assert_allclose(
        np.array(doubler.capture_values, float), [(iso, 0.01 * (1 + n)) for n in range(4)], rtol=1e-6
    )


def test_metadata_match_after_stamps_jump_back(tmp_path: Path) -> None:
    """A simulation that was reset while it was recorded."""
    first, again = DRIVER_RECORDINGS["realsense"](100), DRIVER_RECORDINGS["realsense"](100)
    for message in again.sent:
        message.received_ns += 100 * NS_PER_S
    doubler = DoublingEnhancer()
    source = write_bag(tmp_path / "in", [*first.sent, *again.sent])
    report = enhance_in_process(source, tmp_path / "out", doubler)
    assert report.cameras[0].matches == {"exact": 200}
    np.testing.assert_allclose(np.array(doubler.capture_values, float), first.captures * 2, rtol=1e-6)


def test_the_last_earlier_metadata_apply_where_none_match(tmp_path: Path) -> None:
    recorded = DRIVER_RECORDINGS["camera_ros"](6)
    sent = [m for m in recorded.sent if m.topic != "/diagnostics" or m.received_ns < FIRST_NS + PERIOD_NS]
    doubler = DoublingEnhancer()
    report = enhance_in_process(write_bag(tmp_path / "in", sent), tmp_path / "out", doubler)
    assert report.cameras[0].matches == {"exact": 1, "last": 5}
    np.testing.assert_allclose(np.array(doubler.capture_values, float), [recorded.captures[0]] * 6, rtol=1e-6)


def test_a_calibration_is_valid_from_its_stamp_on(tmp_path: Path) -> None:
    recorded = DRIVER_RECORDINGS["flir"](6)
    for message in recorded.sent:
        if message.topic == recorded.info and message.content.header.stamp.nanosec >= 3 * PERIOD_NS:
            message.content = bag_maker.camera_info(message.received_ns - 1000, focal=50.0)
    source = write_bag(tmp_path / "in", recorded.sent)
    enhance_in_process(source, tmp_path / "out")
    infos = bag_maker.objects(tmp_path / "out", "/flir_camera/enhanced/camera_info")
    assert [info.k[0] for info in infos] == [40.0] * 3 + [50.0] * 3


def test_an_image_topic_without_definition_or_calibration(tmp_path: Path) -> None:
    sent = [BagMessage("/image", FIRST_NS + n, IMAGE, bag_maker.image(FIRST_NS + n, n)) for n in range(2)]
    enhance_in_process(write_bag(tmp_path / "in", sent), tmp_path / "out")
    assert set(bag_maker.connections(tmp_path / "out")) == {"/image", "/image_enhanced"}
