"""`vltp segment` on recorded bags: small real ones, written and read with rosbags."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from vltp_ros.cli.main import main
from vltp_ros.imaging.instances import separate
from vltp_ros.paths import shipped
from vltp_ros.runtime.session import Session

rosbag2 = pytest.importorskip("rosbags.rosbag2", reason="rosbags is missing: pip install rosbags")
from recorded_bags import PIXELS, TYPES, header, image, serialised, write_bag  # noqa: E402
from rosbags.highlevel import AnyReader  # noqa: E402
from rosbags.typesys import get_types_from_msg  # noqa: E402


def compressed(second: int):
    data = cv2.imencode(".png", PIXELS[..., ::-1])[1].ravel()
    kind = TYPES.types["sensor_msgs/msg/CompressedImage"]
    return kind(header=header(second), format="png", data=data)


@pytest.fixture(params=["SQLITE3", "MCAP"])
def bag(request, tmp_path):
    """Two good images and a bad one on /camera, one on /other/compressed, and something else."""
    text = TYPES.types["std_msgs/msg/String"](data="hello")
    sent = {
        "/camera": [image(1), image(2, "h264"), image(3)],
        "/other/compressed": [compressed(4)],
        "/text": [text],
    }
    storage = rosbag2.StoragePlugin[request.param]
    with rosbag2.Writer(tmp_path / "bag", version=9, storage_plugin=storage) as writer:
        for topic, messages in sent.items():
            kind = messages[0].__msgtype__
            connection = writer.add_connection(topic, kind, typestore=TYPES)
            for number, message in enumerate(messages):
                writer.write(connection, 1000 + number, TYPES.serialize_cdr(message, kind))
    return tmp_path / "bag"


def segment(bag, out, model, *options):
    return main(["segment", str(bag), "--out", str(out), "--model", model, "--json", *options])


def read(bag) -> dict[str, list]:
    """Topic -> (time, message) of a bag, by the definitions that it carries."""
    with AnyReader([bag]) as reader:
        messages: dict[str, list] = {}
        for connection, time, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            messages.setdefault(connection.topic, []).append((time, message))
    return messages


def test_a_bag_of_answers(bag, tmp_path, model, capsys, caplog):
    out = tmp_path / "out"
    options = ("--image-topic", "/camera", "--task", "cut", "--task", "drink")
    assert segment(bag, out, model, *options) == 0
    answer = json.loads(capsys.readouterr().out)
    counts = {"images": 3, "answered": 2, "broken_off": ""}
    assert answer == {"bag": str(out), **counts, "caveat": ""}
    assert "'h264'" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bag", "out"]
    assert {p.suffix for p in out.iterdir()} == {p.suffix for p in bag.iterdir()}
    messages = read(out)
    results = Session.load(model).segment(PIXELS, ["cut", "drink"])
    assert [time for time, _ in messages["/vltp/mask"]] == [1000, 1002]
    mask = messages["/vltp/mask"][0][1]
    assert (mask.header.stamp.sec, mask.header.stamp.nanosec, mask.header.frame_id) == (1, 7, "eye")
    expected = (results[0].mask | results[1].mask).astype(np.uint8) * 255
    np.testing.assert_array_equal(mask.data.reshape(48, 64), expected)
    affordances = [message for _, message in messages["/vltp/affordance"]]
    assert [(a.task, a.id) for a in affordances] == [("cut", 0), ("drink", 1)] * 2
    assert affordances[0].area == results[0].area and affordances[0].model == "tiny"
    assert affordances[0].mask.data.sum() == 255 * results[0].area
    first = [a.instances for a in affordances if a.id == 0]
    areas = sorted(instance.area for instance in separate(results[0]))
    assert sorted(instance.area for instance in first[0]) == areas
    assert {i.id for i in first[0]} == {i.id for i in first[1]}  # of the same image
    assert all(i.mask.data.sum() == 255 * i.area for i in first[0])
    overlay = messages["/vltp/overlay/compressed"][0][1]
    assert cv2.imdecode(overlay.data, cv2.IMREAD_COLOR).shape == (48, 64, 3)


def test_a_seg_of_a_bag_is_reused_by_the_images_stamps(bag, tmp_path, model, capsys):
    options = ("--image-topic", "/camera", "--task", "cut", "--reuse.max-age", "5")
    assert segment(bag, tmp_path / "out", model, *options) == 0
    ages = [message.seg_age.sec for _, message in read(tmp_path / "out")["/vltp/affordance"]]
    assert ages == [0, 2]


def test_compressed_images_of_a_bag(bag, tmp_path, model, capsys):
    options = ("--image-topic", "/other/compressed", "--task", "cut")
    assert segment(bag, tmp_path / "out", model, *options) == 0
    assert read(tmp_path / "out")["/vltp/mask"][0][1].header.stamp.sec == 4


def test_a_message_that_is_cut_costs_itself_alone(tmp_path, model, capsys, caplog):
    whole = [serialised(image(second)) for second in range(4)]
    write_bag(tmp_path / "bag", whole[0], whole[1][:40], whole[2][:5000], b"", whole[3])
    out = tmp_path / "out"
    assert segment(tmp_path / "bag", out, model, "--task", "cut") == 0  # it has one topic
    answer = json.loads(capsys.readouterr().out)
    assert (answer["images"], answer["answered"], answer["broken_off"]) == (5, 2, "")
    assert caplog.text.count("is damaged") + caplog.text.count("bytes") >= 3
    assert [time for time, _ in read(out)["/vltp/mask"]] == [1000, 1004]


def test_what_was_answered_before_a_bag_breaks_off_is_kept(tmp_path, model, capsys, monkeypatch):
    write_bag(tmp_path / "bag", *(serialised(image(second)) for second in range(4)))
    whole = AnyReader.messages

    def breaking(self, *args, **kwargs):
        for number, message in enumerate(whole(self, *args, **kwargs)):
            if number == 2:
                raise RuntimeError("database disk image is malformed")
            yield message

    monkeypatch.setattr(AnyReader, "messages", breaking)
    out = tmp_path / "out"
    assert segment(tmp_path / "bag", out, model, "--image-topic", "/camera", "--task", "cut") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["answered"] == 2 and "malformed" in answer["broken_off"]
    monkeypatch.undo()
    assert len(read(out)["/vltp/mask"]) == 2


def test_an_image_too_wide_for_a_jpeg_gets_another_overlay(tmp_path, model, capsys):
    wide = image(1)
    wide.width, wide.height, wide.step = 65600, 2, 3 * 65600
    wide.data = np.zeros(2 * wide.step, np.uint8)
    write_bag(tmp_path / "bag", serialised(wide))
    out = tmp_path / "out"
    assert segment(tmp_path / "bag", out, model, "--image-topic", "/camera", "--task", "cut") == 0
    overlay = read(out)["/vltp/overlay/compressed"][0][1]
    assert overlay.format == "png"
    assert cv2.imdecode(overlay.data, cv2.IMREAD_COLOR).shape == (2, 65600, 3)


@pytest.mark.parametrize(
    ("source", "topic", "out", "reason"),
    [
        ("bag", "/text", "out", "no images on '/text'; it has: /camera, /other/compressed"),
        ("bag", "/camera", "bag", "bag exists already"),
        ("none", "/camera", "out", "none is no bag"),
        (".", "/camera", "out", "is no bag"),
        ("bag", "", "out", "several topics: /camera, /other/compressed; choose one"),
    ],
)
def test_refused_bags(bag, tmp_path, model, capsys, source, topic, out, reason):
    options = ("--image-topic", topic, "--task", "cut")
    assert segment(tmp_path / source, tmp_path / out, model, *options) == 2
    assert reason in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]


def test_the_message_in_bags_is_the_node_s():
    for name in ("AffordanceInstance", "AffordanceMask"):
        definition = shipped(f"msg/{name}.msg").read_text()
        assert get_types_from_msg(definition, f"vltp_ros/msg/{name}")
