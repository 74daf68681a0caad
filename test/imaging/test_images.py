"""Known pixels through every encoding, and everything that is refused."""

from __future__ import annotations

import array
import io
import zlib

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_images import PlainCompressedImage, encode, message

from vltp_ros.imaging.images import ENCODINGS, ConversionError, decompress, to_rgb

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
GREY = np.repeat(RGB[..., :1], 3, axis=2)


@pytest.mark.parametrize("name", ["rgb", "bgr", "rgba", "bgra", "mono"])
@pytest.mark.parametrize("depth", ["8", "16 little", "16 big"])
def test_every_order_of_channels(name, depth):
    sent = encode(RGB, name + depth.split()[0], padding=5, big_endian=depth == "16 big")
    expected = GREY if name == "mono" else RGB
    np.testing.assert_array_equal(to_rgb(sent, "image"), expected)


@pytest.mark.parametrize(("encoding", "expected"), [("8UC1", GREY), ("8UC3", RGB), ("8UC4", RGB)])
def test_opencv_names(encoding, expected):
    np.testing.assert_array_equal(to_rgb(encode(RGB, encoding), "image"), expected)


@pytest.mark.parametrize("big_endian", [False, True])
def test_16_bits_are_scaled_and_rounded(big_endian):
    levels = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256, 1)
    rgb = to_rgb(message(levels, "mono16", padding=3, big_endian=big_endian), "image")
    np.testing.assert_array_equal(rgb[..., 0], np.rint(levels[..., 0] / 257))


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("depth", ["8", "16"])
def test_bayer(pattern, depth):
    colour = np.array([200, 100, 50], np.uint8)
    values = [colour["rgb".index(letter)] for letter in pattern]
    mosaic = np.tile(np.array(values, np.uint8).reshape(2, 2), (4, 4))[..., None]
    if depth == "16":
        mosaic = mosaic.astype(np.uint16) * 257
    rgb = to_rgb(message(mosaic, f"bayer_{pattern}{depth}", padding=3), "image")
    np.testing.assert_array_equal(rgb, np.broadcast_to(colour, (8, 8, 3)))


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
def test_yuv422(encoding):
    luma, red_chroma, grey_chroma = 120, 220, 128
    pair = [grey_chroma, luma, red_chroma, luma]  # U Y V Y
    if encoding in ("yuv422_yuy2", "yuyv"):
        pair = [luma, grey_chroma, luma, red_chroma]
    pixels = np.tile(np.array(pair, np.uint8).reshape(1, 2, 2), (4, 3, 1))
    rgb = to_rgb(message(pixels, encoding, padding=2), "image")
    assert (rgb == rgb[0, 0]).all()
    assert rgb[0, 0, 0] > 200 > 100 > rgb[0, 0, 1]


@pytest.mark.parametrize(("encoding", "red"), [("nv12", 1), ("nv21", 0)])
def test_planar_yuv(encoding, red):
    chroma = np.full((2, 3, 2), 128, np.uint8)
    chroma[..., red] = 220
    planes = np.concatenate([np.full((4, 6, 1), 120, np.uint8), chroma.reshape(2, 6, 1)])
    sent = message(planes, encoding, padding=2)
    sent.height = 4
    rgb = to_rgb(sent, "image")
    assert rgb.shape == (4, 6, 3)
    assert (rgb == rgb[0, 0]).all()
    assert rgb[0, 0, 0] > 200 > 100 > rgb[0, 0, 1]


@given(
    width=st.integers(1, 9),
    height=st.integers(1, 9),
    padding=st.integers(0, 17),
    encoding=st.sampled_from(["rgb8", "bgr8", "rgba8", "mono8", "rgb16", "mono16"]),
)
def test_padding_never_shows(width, height, padding, encoding):
    channels, _ = ENCODINGS[encoding]
    kind = np.uint16 if encoding.endswith("16") else np.uint8
    pixels = np.arange(height * width * channels).reshape(height, width, channels).astype(kind)
    plain = to_rgb(message(pixels, encoding), "image")
    assert plain.shape == (height, width, 3)
    np.testing.assert_array_equal(to_rgb(message(pixels, encoding, padding), "image"), plain)


def test_rgb8_is_not_copied():
    sent = message(RGB, "rgb8", padding=4)
    assert np.shares_memory(to_rgb(sent, "image"), np.frombuffer(sent.data, np.uint8))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoding": "jpeg"}, ["/image", "'jpeg'", "rgb8", "nv12"]),
        ({"encoding": "32FC1"}, ["/image", "'32FC1'"]),
        ({"encoding": ""}, ["/image", "''"]),
        ({"width": 0, "height": 0}, ["/image", "0x0"]),
        ({"height": 0}, ["/image", "8x0"]),
        ({"step": 23}, ["/image", "23", "24"]),
        ({"step": 0}, ["/image", "step is 0"]),
        ({"height": 7}, ["/image", "144 bytes", "168"]),
        ({"data": array.array("B")}, ["/image", "0 bytes"]),
        ({"width": 2**31, "height": 2**31}, ["/image", "step"]),
        ({"encoding": "nv12"}, ["/image", "144 bytes"]),
        ({"encoding": "yuyv", "width": 7}, ["/image", "7x6", "even"]),
    ],
)
def test_refused_images(change, words):
    sent = message(RGB, "rgb8")
    for name, value in change.items():
        setattr(sent, name, value)
    with pytest.raises(ConversionError) as error:
        to_rgb(sent, "/image")
    assert all(word in str(error.value) for word in words), error.value


def compressed(suffix: str, pixels: np.ndarray = RGB, tail=b"") -> PlainCompressedImage:
    data = cv2.imencode(suffix, pixels[..., ::-1])[1].tobytes() + tail
    return PlainCompressedImage(format=f"rgb8; {suffix}", data=array.array("B", data))


def test_png_is_exact_and_jpeg_is_close():
    np.testing.assert_array_equal(decompress(compressed(".png"), "image"), RGB)
    smooth = np.broadcast_to(np.array((200, 100, 50), np.uint8), (48, 64, 3))
    np.testing.assert_allclose(decompress(compressed(".jpg", smooth), "image"), smooth, atol=4)
    np.testing.assert_array_equal(
        decompress(compressed(".jpg", smooth, tail=bytes(9)), "image"),
        decompress(compressed(".jpg", smooth), "image"),
    )


def test_png_of_16_bits_and_grey():
    data = cv2.imencode(".png", RGB[..., 0] * np.uint16(256))[1].tobytes()
    deep = PlainCompressedImage(format="png", data=array.array("B", data))
    np.testing.assert_array_equal(decompress(deep, "image"), GREY)


def test_a_jpeg_s_orientation_is_ignored():
    """The depth image and camera_info beside it know of none."""
    file = io.BytesIO()
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    PIL.Image.fromarray(RGB).save(file, "JPEG", exif=exif)
    sent = PlainCompressedImage(format="jpeg", data=array.array("B", file.getvalue()))
    assert decompress(sent, "image").shape == RGB.shape


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", ["/image", "data begin with ''", "JPEG, PNG"]),
        (b"nonsense", ["/image", "6e 6f 6e 73"]),
        (b"\xff\xd8\xff" + bytes(50), ["no whole jpeg"]),
        (b"\xff\xd8\xff nonsense \xff\xd9", ["/image"]),
        (bytes(compressed(".png").data)[:-20], ["no whole jpeg"]),
    ],
)
def test_refused_compressed_images(data, words):
    with pytest.raises(ConversionError) as error:
        decompress(PlainCompressedImage(format="jpeg", data=array.array("B", data)), "/image")
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("options", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.95])
def test_a_jpeg_that_is_cut_and_closed_is_refused(options, share):
    """As by a driver that ends what it has when its buffer is full."""
    noise = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    whole = cv2.imencode(".jpg", noise, options)[1].tobytes()
    cut = whole[: int(share * len(whole))] + b"\xff\xd9"
    with pytest.raises(ConversionError, match=r"^/image: the JPEG of .* premature end"):
        decompress(PlainCompressedImage(format="jpeg", data=array.array("B", cut)), "/image")


def test_a_jpeg_with_bytes_too_many_is_read_and_so_is_a_grey_one():
    """USB cameras send such."""
    whole = bytes(compressed(".jpg").data)
    more = PlainCompressedImage(format="jpeg", data=array.array("B", whole[:-2] + b"\0\0\xff\xd9"))
    np.testing.assert_array_equal(
        decompress(more, "image"), decompress(compressed(".jpg"), "image")
    )
    grey = cv2.imencode(".jpg", RGB[..., 0])[1].tobytes()
    sent = PlainCompressedImage(format="jpeg", data=array.array("B", grey))
    np.testing.assert_allclose(decompress(sent, "image"), GREY, atol=30)


def test_a_few_bytes_do_not_become_gigabytes():
    wide = bytearray(compressed(".png").data)
    wide[16:24] = (1 << 16).to_bytes(4, "big") * 2
    wide[29:33] = zlib.crc32(wide[12:29]).to_bytes(4, "big")
    with pytest.raises(ConversionError, match=r"65536x65536|decompression bomb"):
        decompress(PlainCompressedImage(format="png", data=array.array("B", bytes(wide))), "/image")
