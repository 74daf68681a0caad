"""Images by the cv_bridge that is installed, by stand-ins for others, and by our own code."""

from __future__ import annotations

import array
import subprocess
import sys

import cv2
import numpy as np
import pytest
from bench import PIXELS, start
from encoded_images import encode
from sensor_msgs.msg import Image

from vltp_ros.imaging.images import ENCODINGS, ConversionError, to_rgb
from vltp_ros.node import inference
from vltp_ros.node.bridge import Bridge
from vltp_ros.node.bridge_trial import noise
from vltp_ros.node.inference import Frame

PATIENCE = 60.0

STAND_IN = """
import os, signal, time, cv2, numpy
{first}
images = []  # that it was given

class CvBridge:
    def imgmsg_to_cv2(self, image, desired_encoding):
        images.append(image)
        {each}
        conversion = {{"bgr8": cv2.COLOR_BGR2RGB, "yuv422": cv2.COLOR_YUV2RGB_UYVY}}[image.encoding]
        pixels = numpy.frombuffer(image.data, "u1").reshape(image.height, image.width, -1)
        return cv2.cvtColor(pixels, conversion)
"""
BROKEN = {
    "import": {"first": "raise ImportError('numpy.core.multiarray failed to import')"},
    "crash": {"each": "os.kill(os.getpid(), signal.SIGKILL)"},
    "error": {"each": "raise AttributeError('newbyteorder')"},
    "pixels": {"each": "return numpy.zeros((image.height, image.width, 3), 'u1')"},
}


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Makes a cv_bridge that is found before the installed one."""
    monkeypatch.setitem(sys.modules, "cv_bridge", None)  # which undoes, in the end, all of this
    monkeypatch.syspath_prepend(tmp_path)

    def make(first="", each="") -> Bridge:
        (tmp_path / "cv_bridge.py").write_text(STAND_IN.format(first=first, each=each))
        sys.modules.pop("cv_bridge")
        return Bridge()

    return make


def given() -> list[Image]:
    """What the stand-in was given in this process."""
    module = sys.modules.get("cv_bridge")
    return getattr(module, "images", [])


def padded(image: Image, padding: int) -> Image:
    """The image with bytes after each row."""
    rows = np.frombuffer(image.data, np.uint8).reshape(-1, image.step)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAB)
    return Image(
        height=image.height,
        width=image.width,
        encoding=image.encoding,
        step=rows.shape[1],
        data=array.array("B", rows.tobytes()),
    )


@pytest.fixture(scope="module")
def installed():
    pytest.importorskip("cv_bridge", reason="no cv_bridge is installed")
    return Bridge()


def test_the_installed_one_converts_what_it_can(installed):
    colours = {"rgba8", "bgr8", "bgra8"} if cv2.__version__ < "5" else set()
    bayer = {"bayer_rggb8", "bayer_bggr8", "bayer_gbrg8"}
    assert installed.encodings(PATIENCE) >= {"mono8", *colours, *bayer}
    assert not installed.encodings() & {"rgb8", "nv12", "nv21"}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_installed_one_gives_the_same_pixels(installed, encoding):
    installed.encodings(PATIENCE)
    for height, width in ((2, 2), (48, 64), (6, 98)):
        plain = noise(encoding, height, width)
        marked = noise(encoding, height, width)
        marked.is_bigendian = 1
        for sent in (plain, padded(plain, 5), padded(plain, 24), marked):
            np.testing.assert_array_equal(installed.to_rgb(sent, "image"), to_rgb(sent, "image"))


def test_all_but_plain_rows_and_known_encodings_are_converted_without_it(stand_in):
    bridge = stand_in()
    assert bridge.encodings(PATIENCE) == {"bgr8", "yuv422"}
    plain = noise("bgr8", 4, 6)
    np.testing.assert_array_equal(bridge.to_rgb(plain, "image"), to_rgb(plain, "image"))
    assert given() == [plain]
    marked = noise("bgr8", 4, 6)
    marked.is_bigendian = 1
    for sent in (padded(plain, 1), padded(plain, 3), marked, noise("rgb8", 4, 6)):
        np.testing.assert_array_equal(bridge.to_rgb(sent, "image"), to_rgb(sent, "image"))
    assert given() == [plain]


@pytest.mark.parametrize("change", [{"height": 7}, {"step": 17}, {"encoding": "jpeg"}])
def test_it_never_sees_what_is_malformed(stand_in, change):
    bridge = stand_in()
    bridge.encodings(PATIENCE)
    sent = noise("bgr8", 6, 6)
    for name, value in change.items():
        setattr(sent, name, value)
    with pytest.raises(ConversionError, match=f"^/image: .*{next(iter(change.values()))}"):
        bridge.to_rgb(sent, "/image")
    assert given() == []


def test_what_it_refuses_is_refused_in_our_words(stand_in):
    bridge = stand_in()
    bridge.encodings(PATIENCE)
    with pytest.raises(ConversionError, match=r"^/image: 7x6 is not a size that yuv422 can have"):
        bridge.to_rgb(noise("yuv422", 6, 7), "/image")
    assert len(given()) == 1


def test_nobody_waits_for_the_trial(stand_in, tmp_path):
    bridge = stand_in(f"while not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.1)")
    sent = noise("bgr8", 4, 6)
    np.testing.assert_array_equal(bridge.to_rgb(sent, "image"), to_rgb(sent, "image"))
    assert bridge.encodings() == set()
    (tmp_path / "go").touch()
    assert bridge.encodings(PATIENCE)


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_one_is_named_once(stand_in, broken, capfd):
    bridge = stand_in(**BROKEN[broken])
    assert bridge.encodings(PATIENCE) == set()
    for encoding in ("bgr8", "yuv422", "mono16"):
        sent = encode(PIXELS, encoding)
        np.testing.assert_array_equal(bridge.to_rgb(sent, "image"), to_rgb(sent, "image"))
    assert capfd.readouterr().err.count("cv_bridge is installed and does not work") == 1


def test_where_there_is_none_none_is_tried(monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    monkeypatch.setattr(subprocess, "Popen", None)
    bridge = Bridge()
    sent = noise("bgr8", 4, 6)
    np.testing.assert_array_equal(bridge.to_rgb(sent, "image"), to_rgb(sent, "image"))
    assert bridge.encodings(PATIENCE) == set()
    assert "cv_bridge" not in capfd.readouterr().err


def test_the_node_works_with_it(stand_in, monkeypatch):
    monkeypatch.setattr(inference, "BRIDGE", stand_in())
    inference.BRIDGE.encodings(PATIENCE)
    sent = encode(PIXELS, "bgr8")
    np.testing.assert_array_equal(Frame(sent, "image").pixels(), PIXELS)
    assert given() == [sent]


def test_the_node_works_with_a_broken_one(stand_in, monkeypatch, bench, vltp):
    monkeypatch.setattr(inference, "BRIDGE", stand_in(**BROKEN["crash"]))
    masks = bench.listen(Image, "vltp/mask")
    images = bench.node.create_publisher(Image, "image", 1)
    start(vltp)
    bench.wait(lambda: masks, meanwhile=lambda: images.publish(encode(PIXELS, "bgr8")))
    assert inference.BRIDGE.encodings(PATIENCE) == set()
    masks.clear()
    bench.wait(lambda: masks, meanwhile=lambda: images.publish(encode(PIXELS, "bgr8")))
