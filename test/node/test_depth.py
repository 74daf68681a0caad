"""Where in space things are: against a scene whose geometry is known."""

from __future__ import annotations

import array
import math
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from bench import Camera, diagnosis, good_image, start
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, RegionOfInterest
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from vltp_ros.imaging.images import ConversionError
from vltp_ros.msg import Affordance3D, AffordanceMask
from vltp_ros.node.conversions_3d import to_cloud, to_depth, to_pinhole
from vltp_ros.node.depth import DepthInput

# good_image() shows something from column 30 to 49, row 10 to 19; at 2 m with these focal lengths
# that is 0.4 m wide, and its middle is 0.16 m to the right and 0.18 m up.
DEPTH = np.full((48, 64), 5.0, np.float32)
DEPTH[10:20, 30:50] = 2.0
INFO = CameraInfo(width=64, height=48, k=[100.0, 0.0, 31.5, 0.0, 100.0, 23.5, 0.0, 0.0, 1.0])


DISTORTION = [-0.3, 0.1, 0.0, 0.0, 0.0]


def roi(left: int, top: int, width: int, height: int) -> RegionOfInterest:
    return RegionOfInterest(x_offset=left, y_offset=top, width=width, height=height)


def depth_message(depth: np.ndarray, encoding="32FC1", header=None, padding=0, big=False) -> Image:
    kind = np.dtype(np.float32 if encoding == "32FC1" else np.uint16)
    values = np.nan_to_num(depth * 1000).astype(kind) if encoding != "32FC1" else depth
    rows = values.astype(kind.newbyteorder("><"[not big])).view(np.uint8)
    data = np.pad(rows.reshape(len(depth), -1), ((0, 0), (0, padding)), constant_values=0xAB)
    message = Image(
        height=depth.shape[0],
        width=depth.shape[1],
        encoding=encoding,
        step=data.shape[1],
        is_bigendian=int(big),
        data=array.array("B", data.tobytes()),
    )
    if header is not None:
        message.header = header
    return message


@pytest.mark.parametrize("encoding", ["16UC1", "mono16", "32FC1"])
@pytest.mark.parametrize("big", [False, True], ids=["little", "big"])
def test_depth_in_every_form(encoding, big):
    depth = np.array([[0.5, 2.25, np.nan], [0.0, 65.0, 1.0]], np.float32)
    expected = np.where(depth > 0, depth, np.nan)
    image = to_depth(depth_message(depth, encoding, padding=5, big=big), "depth")
    assert image.shape == (2, 3) and image[:].dtype == np.float32
    np.testing.assert_allclose(image[:], expected)
    np.testing.assert_allclose(image[:, 1:], expected[:, 1:])
    np.testing.assert_allclose(image[[1, 0], [2, 2]], expected[[1, 0], [2, 2]])


@pytest.mark.parametrize("change", [{"encoding": "rgb8"}, {"step": 3}, {"height": 9}])
def test_refused_depth(change):
    message = depth_message(DEPTH[:8, :8])
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ConversionError, match=r"/depth: "):
        to_depth(message, "/depth")


def test_the_projection_of_rectified_images_comes_first():
    info = CameraInfo(width=64, height=48, k=INFO.k)
    info.p = [90.0, 0.0, 30.0, 0.0, 0.0, 91.0, 20.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    camera = to_pinhole(info, "camera_info")
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (90.0, 91.0, 30.0, 20.0)
    assert to_pinhole(INFO, "camera_info").cy == 23.5
    with pytest.raises(ConversionError, match=r"/camera_info: .*not calibrated"):
        to_pinhole(CameraInfo(width=64, height=48), "/camera_info")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": [math.inf, 0.0, 31.5, 0.0, 100.0, 23.5, 0.0, 0.0, 1.0]}, "must be finite"),
        ({"k": [100.0, 0.0, math.nan, 0.0, 100.0, 23.5, 0.0, 0.0, 1.0]}, "must be finite"),
        ({"k": [-100.0, 0.0, 31.5, 0.0, 100.0, 23.5, 0.0, 0.0, 1.0]}, "must be above 0"),
        ({"width": 2**32 - 1}, "at most 65536 pixels a side"),
        ({"binning_x": 65}, "the size 0x48"),
        ({"roi": roi(60, 0, 5, 48)}, "roi is 5x48 at column 60 and row 0; .* part of 64x48"),
        ({"roi": roi(1, 0, 0, 48)}, "roi is 0x48"),
        ({"roi": roi(4, 4, 0, 0)}, "roi is 0x0 at column 4"),
        ({"d": [0.1, 0.0, 0.0, 0.0, 0.0]}, "distortion_model is ''; allowed: plumb_bob, "),
        ({"d": [0.1] * 5, "distortion_model": "kannala"}, "'kannala'; .* rectify the images"),
        ({"d": [0.1] * 5, "distortion_model": "equidistant"}, "d has 5 values; .* has 4"),
        ({"d": [math.nan] * 5, "distortion_model": "plumb_bob"}, "distortion .* must be finite"),
    ],
)
def test_a_camera_that_cannot_be_is_refused(change, words):
    info = CameraInfo(**{"width": 64, "height": 48, "k": INFO.k} | change)
    with pytest.raises(ConversionError, match=f"/camera_info: .*{words}"):
        to_pinhole(info, "/camera_info", rectified=False)


def test_what_an_image_shows_of_the_sensor():
    k = [800.0, 0.0, 640.0, 0.0, 810.0, 360.0, 0.0, 0.0, 1.0]
    info = CameraInfo(width=1280, height=720, k=k, binning_x=2, binning_y=2)
    camera = to_pinhole(info, "camera_info")
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (400.0, 405.0, 320.0, 180.0)
    assert (camera.width, camera.height) == (640, 360)
    info.roi = roi(320, 100, 640, 480)
    info.p = [820.0, 0.0, 650.0, 0.0, 0.0, 830.0, 350.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    for rectified, values in (
        (False, (400.0, 405.0, (640 - 320) / 2, (360 - 100) / 2)),
        (True, (410.0, 415.0, (650 - 320) / 2, (350 - 100) / 2)),
    ):
        camera = to_pinhole(info, "camera_info", rectified)
        assert (camera.fx, camera.fy, camera.cx, camera.cy) == values
        assert (camera.width, camera.height) == (320, 240)
    info.binning_x, info.binning_y = 0, 1  # as 1
    camera = to_pinhole(info, "camera_info")
    assert (camera.fx, camera.cx, camera.cy, camera.width) == (820.0, 330.0, 250.0, 640)


def test_only_an_image_that_is_not_rectified_has_distortion():
    info = CameraInfo(width=64, height=48, k=INFO.k, d=DISTORTION, distortion_model="plumb_bob")
    assert to_pinhole(info, "camera_info").distortion == ()
    assert to_pinhole(info, "camera_info", rectified=False).distortion == tuple(DISTORTION)
    info.d = [0.0] * 5
    info.distortion_model = "none that we know"
    assert to_pinhole(info, "camera_info", rectified=False).distortion == ()


def test_a_depth_image_of_something_else_is_refused(bench):
    depth = DepthInput(bench.node, "", SimpleNamespace(warn=print))
    depth._take_info(INFO)
    depth._take_image(depth_message(DEPTH[:, :48]))
    with pytest.raises(ConversionError, match="it is 48x48, camera_info says 64x48"):
        depth.of(("depth", "camera_info"), Header(), 0.1)


def test_a_raw_image_that_is_taken_to_be_rectified_is_told(bench):
    warnings = []
    depth = DepthInput(bench.node, "raw_", SimpleNamespace(warn=warnings.append))
    depth._take_info(INFO)
    assert not warnings
    depth = DepthInput(bench.node, "raw_", SimpleNamespace(warn=warnings.append))
    for _ in range(2):
        depth._take_info(CameraInfo(width=64, height=48, k=INFO.k, d=DISTORTION))
    assert len(warnings) == 1 and "/raw_image is taken to be rectified" in warnings[0]


def test_of_depth_images_of_one_time_the_newest_counts_and_none_is_before_all_time(bench):
    warnings = []
    health = SimpleNamespace(warn=warnings.append)
    depth = DepthInput(bench.node, "", health)
    depth._take_info(INFO)
    for metres, seconds in ((1.0, 5), (2.0, 5), (3.0, -1)):
        image = depth_message(np.full((3, 4), metres, np.float32))
        image.header.stamp.sec = seconds
        depth._take_image(image)
    header = Header()
    header.stamp.sec = 5
    view = depth.of(("depth", "camera_info"), header, 0.1)
    assert (view.depth[:] == 2.0).all() and warnings == ["depth: its stamp is before all time"]


def test_a_cloud_has_places_and_colours():
    point, colour, number = np.float32([[1, 2, 3]]), np.uint8([[255, 128, 1]]), np.uint32([7])
    cloud = to_cloud(point, colour, number, Header(frame_id="eye"))
    assert (cloud.width, cloud.height, cloud.point_step, cloud.row_step) == (1, 1, 20, 20)
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "rgb", "instance"]
    np.testing.assert_array_equal(np.frombuffer(cloud.data, "<f4")[:3], (1, 2, 3))
    assert np.frombuffer(cloud.data, "<u4")[3:].tolist() == [0xFF8001, 7]


@pytest.fixture
def send(bench):
    """Publishes an image with its depth and camera_info."""
    return senders(bench, DEPTH)


def senders(bench, depth):
    camera = Camera(bench)
    depths = Camera(bench, "depth", make=lambda second: depth_of(second))
    infos = Camera(bench, "camera_info", kind=CameraInfo, make=lambda _: INFO)

    def depth_of(second):
        return depth_message(depth, header=good_image(second).header)

    def send_all():
        for publish in (infos, depths, camera):
            publish()

    return send_all


def test_an_affordance_in_space(bench, make_vltp, send):
    start(make_vltp(depth=True))
    affordances = bench.listen(Affordance3D, "vltp/affordance_3d")
    clouds = bench.listen(PointCloud2, "vltp/points")
    markers = bench.listen(MarkerArray, "vltp/markers")
    bench.wait(lambda: affordances and clouds and markers, meanwhile=send)
    affordance = affordances[0]
    assert (affordance.task, affordance.id, affordance.header.frame_id) == ("cut bread", 1, "eye")
    position, turn = affordance.pose.position, affordance.pose.orientation
    np.testing.assert_allclose((position.x, position.y, position.z), (0.16, -0.18, 2), atol=0.01)
    assert np.linalg.norm((turn.x, turn.y, turn.z, turn.w)) == pytest.approx(1)
    # The mask's edge is left out: 18 of 20 columns, 8 of 10 rows.
    assert affordance.points == 18 * 8
    np.testing.assert_allclose((affordance.extent.x, affordance.extent.y), (0.34, 0.14), atol=0.01)
    assert clouds[0].width == 18 * 8 and clouds[0].header.frame_id == "eye"
    kinds = [marker.type for marker in markers[0].markers[1:]]
    assert kinds == [Marker.CUBE, Marker.TEXT_VIEW_FACING, Marker.ARROW]
    assert markers[0].markers[0].action == Marker.DELETEALL
    assert markers[0].markers[2].text == "cut bread #1 0.50"


def test_a_thing_has_as_many_points_as_are_asked_for(bench, make_vltp, send):
    start(make_vltp(depth=True, max_points=100))
    affordances = bench.listen(Affordance3D, "vltp/affordance_3d")
    clouds = bench.listen(PointCloud2, "vltp/points")
    bench.wait(lambda: affordances and clouds, meanwhile=send)
    affordance, position = affordances[0], affordances[0].pose.position
    assert 50 < affordance.points == clouds[0].width <= 100 < 18 * 8
    np.testing.assert_allclose((position.x, position.y, position.z), (0.16, -0.18, 2), atol=0.02)
    np.testing.assert_allclose((affordance.extent.x, affordance.extent.y), (0.34, 0.14), atol=0.03)


def test_things_that_touch_are_apart_where_the_depth_jumps(bench, make_vltp):
    """Each has a place of its own, and none is in the air between them."""
    depth = DEPTH.copy()
    depth[:, 40:] = 1.5  # the right half of what serves is nearer
    vltp = make_vltp(depth=True)
    start(vltp)
    affordances = bench.listen(Affordance3D, "vltp/affordance_3d")
    answers = bench.listen(AffordanceMask, "vltp/instances")
    clouds = bench.listen(PointCloud2, "vltp/points")

    def located():
        """Answers whose depth had come in time, each with its points."""
        points = {(cloud.header.stamp.sec, cloud.header.stamp.nanosec): cloud for cloud in clouds}
        stamps = [(answer.header.stamp.sec, answer.header.stamp.nanosec) for answer in answers]
        return [(a, points[at]) for a, at in zip(answers, stamps, strict=True) if at in points]

    send = senders(bench, depth)
    bench.wait(lambda: len(affordances) >= 4 and located(), meanwhile=send)
    assert {round(a.pose.position.z, 2) for a in affordances} == {1.5, 2.0}
    answer, cloud = located()[-1]
    places = {i.id: round(i.pose.position.z, 2) for i in answer.instances}
    assert len(answer.instances) == 2 and sorted(places.values()) == [1.5, 2.0]
    assert all(i.located and i.points and i.area == 100 for i in answer.instances)
    assert answer.area == 200 and not answer.mask.data
    points = np.frombuffer(cloud.data, [("xyz", "<f4", 3), ("rgb", "<u4"), ("id", "<u4")])
    assert {(int(p["id"]), round(float(p["xyz"][2]), 2)) for p in points} == set(places.items())


def test_an_affordance_through_a_lens(bench, make_vltp, camera):
    """Its middle is that of its pixels' rays, by OpenCV."""
    start(make_vltp(depth=True, rectified=False))
    affordances = bench.listen(Affordance3D, "vltp/affordance_3d")
    info = CameraInfo(width=64, height=48, d=DISTORTION, distortion_model="plumb_bob")
    info.k = [30.0, 0.0, 31.5, 0.0, 30.0, 23.5, 0.0, 0.0, 1.0]
    infos = Camera(bench, "camera_info", kind=CameraInfo, make=lambda _: info)
    depths = Camera(
        bench, "depth", make=lambda second: depth_message(DEPTH, header=good_image(second).header)
    )
    bench.wait(lambda: affordances, meanwhile=lambda: (infos(), depths(), camera()))
    columns, rows = np.meshgrid(np.arange(31.0, 49), np.arange(11.0, 19))  # without the edge
    pixels = np.stack((columns, rows), -1).reshape(-1, 1, 2)
    x, y = cv2.undistortPoints(pixels, info.k.reshape(3, 3), np.array(DISTORTION)).mean((0, 1))
    position = affordances[0].pose.position
    np.testing.assert_allclose((position.x, position.y), (2 * x, 2 * y), atol=1e-3)
    assert abs(position.x - 2 * (39.5 - 31.5) / 30) > 0.01


@pytest.mark.parametrize(
    ("depth", "info", "words"),
    [
        (None, INFO, "/depth: no depth within 0.05 s"),
        (good_image(1), None, "/camera_info: no message yet"),
        (good_image(1), INFO, "'rgb8' is no depth"),
        (depth_message(DEPTH, header=Header(frame_id="ear")), INFO, "its frame is 'ear'"),
    ],
)
def test_what_is_missing_is_told_and_masks_go_on(bench, make_vltp, camera, depth, info, words):
    start(make_vltp(depth=True, depth_tolerance=0.05))
    bench.listen(Affordance3D, "vltp/affordance_3d")
    masks = bench.listen(Image, "vltp/mask")
    depths = Camera(bench, "depth")
    infos = Camera(bench, "camera_info", kind=CameraInfo)

    def send():
        camera()
        if depth is not None:
            depth.header.stamp.sec = camera.sent
            depths(depth)
        if info is not None:
            infos(info)

    diagnosis(bench, lambda status: words in status.message, meanwhile=send)
    assert masks
