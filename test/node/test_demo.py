"""`vltp demo`: what its video shows, and that it tells when nothing came."""

from __future__ import annotations

import json
import subprocess
import sys

import imageio.v2 as imageio
import numpy as np
import pytest
from builders import tiny_model
from PIL import Image

from vltp_ros.checkpoints.model_directory import save_model
from vltp_ros.cli.demo import Demo, run
from vltp_ros.rig.demo_video import VideoFrame, draw, to_jpeg, write_gif, write_video


def make_frame(seconds: float) -> VideoFrame:
    pixels = np.full((48, 64, 3), (10 + 20 * int(seconds), 200, 100), np.uint8)
    kept = np.zeros((48, 64), np.uint8)
    kept[:, 32:] = 255
    return VideoFrame(
        seconds, to_jpeg(pixels), to_jpeg(pixels), kept, (0.5,), "cut bread", {"encode": 9}
    )


def test_a_frame_shows_image_mask_and_kept_tokens():
    frame = draw(make_frame(0.0))
    assert frame.shape == (480, 1440, 3)
    np.testing.assert_allclose(frame[200, [100, 600, 1400]], [[10, 200, 100]] * 3, atol=3)
    assert (frame[200, 1000] < 40).all()
    assert frame[:60].max() == 255  # the task


def test_videos_play_as_fast_as_the_answers_came(tmp_path):
    frames = [make_frame(5.0 + 0.3 * count) for count in range(11)]
    write_video(tmp_path / "demo.mp4", frames)
    write_gif(tmp_path / "demo.gif", frames, seconds=2.0, limit=200_000)
    with imageio.get_reader(tmp_path / "demo.mp4") as video:
        assert video.get_meta_data()["codec"] == "h264"
        assert video.count_frames() == 31
    with Image.open(tmp_path / "demo.gif") as gif:
        milliseconds = 0
        for index in range(gif.n_frames):
            gif.seek(index)
            milliseconds += gif.info["duration"]
    assert 1500 <= milliseconds <= 2200
    assert (tmp_path / "demo.gif").stat().st_size <= 200_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo.gif", "demo.mp4"]


def demo(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "vltp_ros.cli.main", "demo", "--json", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


@pytest.mark.slow
def test_the_demo_ends_when_the_model_cannot_be_loaded(tmp_path):
    done = demo("--out", tmp_path / "out", "--model", tmp_path)
    assert done.returncode != 0
    assert "model not loaded" in done.stderr.splitlines()[-1]
    assert str(tmp_path) in done.stderr.splitlines()[-1]
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_the_demo_shows_masks_that_came_over_the_wire(tmp_path):
    save_model(tiny_model(), tmp_path / "model", {"licence": "Apache-2.0", "sources": []})
    done = demo("--seconds", 3, "--out", tmp_path, "--model", tmp_path / "model")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["masks"] >= 2 and answer["masks_per_second"] > 0
    assert {"convert", "publish"} < {stage["name"] for stage in answer["stages"]}
    assert (tmp_path / "demo.mp4").stat().st_size > 10_000
    assert 10_000 < (tmp_path / "demo.gif").stat().st_size <= 3_000_000


def test_a_refused_length():
    with pytest.raises(ValueError, match="--seconds is 0"):
        run(Demo(seconds=0))
