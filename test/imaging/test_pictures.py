"""Pictures of all kinds become RGB, and PNGs are whole."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vltp_ros.imaging.pictures import read_picture, write_png


def modes():
    rng = np.random.default_rng(1)
    deep = rng.integers(0, 65536, (30, 40), np.uint16)
    return {
        "grey.png": Image.fromarray((deep >> 8).astype(np.uint8)),
        "deep.png": Image.fromarray(deep),
        "rgba.png": Image.fromarray(rng.integers(0, 256, (30, 40, 4), np.uint8), "RGBA"),
        "palette.gif": Image.fromarray((deep >> 8).astype(np.uint8)).convert("P"),
        "photo.jpg": Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)),
        "ink.tiff": Image.new("CMYK", (40, 30), (255, 0, 0, 0)),
        "bit.bmp": Image.fromarray(deep > 30000),
        "float.tiff": Image.fromarray(deep.astype(np.float32)),
    }


@pytest.mark.parametrize("name", modes())
def test_every_common_picture_becomes_rgb(tmp_path, name):
    modes()[name].save(tmp_path / name)
    picture = read_picture(tmp_path / name)
    assert picture.dtype == np.uint8 and picture.shape == (30, 40, 3)


def test_sixteen_bits_are_scaled_and_transparency_is_white(tmp_path):
    Image.fromarray(np.array([[0, 32768, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert read_picture(tmp_path / "deep.png")[0, :, 0].tolist() == [0, 128, 255]
    Image.new("RGBA", (2, 1), (9, 9, 9, 0)).save(tmp_path / "clear.png")
    assert (read_picture(tmp_path / "clear.png") == 255).all()


def test_exif_orientation_is_applied(tmp_path):
    picture = Image.fromarray(np.zeros((20, 60, 3), np.uint8))
    exif = picture.getexif()
    exif[0x0112] = 6  # rotate by 90 degrees to show
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert read_picture(tmp_path / "turned.jpg").shape == (60, 20, 3)


def test_broken_pictures_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"none\.png does not exist"):
        read_picture(tmp_path / "none.png")
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(ValueError, match=r"text\.jpg is not a picture"):
        read_picture(tmp_path / "text.jpg")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99, 3), np.uint8)).save(
        tmp_path / "cut.jpg"
    )
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"cut\.jpg is not a picture"):
        read_picture(tmp_path / "cut.jpg")


def test_pngs_are_written_whole(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    write_png(tmp_path / "new" / "a.png", pixels)
    assert np.array_equal(read_picture(tmp_path / "new" / "a.png"), pixels)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.png"]
