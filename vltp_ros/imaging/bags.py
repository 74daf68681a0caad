"""Recorded ROS bags in, bags of masks out; no ROS is needed, only rosbags."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from vltp_ros.imaging.images import ConversionError, decompress, to_grey, to_rgb
from vltp_ros.imaging.instances import Instance, separate
from vltp_ros.imaging.messages import (
    affordance_fields,
    box_fields,
    image_fields,
    instance_fields,
)
from vltp_ros.imaging.overlay import draw_overlay
from vltp_ros.imaging.tracking import Tracker
from vltp_ros.paths import pip_command, shipped
from vltp_ros.progress import progress_bar
from vltp_ros.types import Segmentation

if TYPE_CHECKING:
    from rosbags.highlevel import AnyReader
    from rosbags.interfaces import Connection

    from vltp_ros.runtime.session import Session

LOG = logging.getLogger(__name__)
IMAGES: dict[str, Callable[[Any, str], np.ndarray]] = {
    "sensor_msgs/msg/Image": to_rgb,
    "sensor_msgs/msg/CompressedImage": decompress,
}
"""Type of a message -> what makes pixels of a message and its topic."""

MASK, OVERLAY, AFFORDANCE = "/vltp/mask", "/vltp/overlay/compressed", "/vltp/affordance"
JPEG_QUALITY = 90
JPEG_SIDE = 65500  # longest side of a JPEG, pixels


def segment_bag(
    source: Path, topic: str, out: Path, session: Session, tasks: Sequence[str]
) -> dict:
    """Answer every image of a topic and write a bag of the same storage, sqlite3 or mcap.

    The new bag has, with the stamps and at the times of their images, a mask for all tasks
    (sensor_msgs/Image), an overlay (CompressedImage) and, for each task, an AffordanceMask. An
    image that cannot be read, used or answered costs a warning; where the bag itself breaks off,
    what was answered before is kept.

    Args:
        source: the bag, a directory.
        topic: of the images; empty where the bag has only one.
        out: the new bag.
        session: that answers.
        tasks: sentences.

    Returns:
        ``bag``, ``images``, ``answered``, and ``broken_off``: why the rest of the bag could not be
        read; empty: all of it was.

    Raises:
        ValueError: for a bag that cannot be read, a topic that it lacks or that has to be
            chosen, an ``out`` that exists, or a task that is refused.
        ModuleNotFoundError: without rosbags.
    """
    try:
        from rosbags.highlevel import AnyReader, AnyReaderError
        from rosbags.typesys import Stores, get_typestore
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"bags need rosbags: {pip_command('bags')}") from error
    if not source.is_dir():
        raise ValueError(f"{source} is no bag: it is not a directory")
    refused = next(filter(None, map(session.refusal, tasks)), "")
    if refused:
        raise ValueError(refused)
    if out.exists():
        raise ValueError(f"{out} exists already; choose another --out")
    try:
        reader = AnyReader([source], default_typestore=get_typestore(Stores.LATEST))
        with reader:
            return _segment(reader, topic, out, session, tasks, _storage(source))
    except AnyReaderError as error:
        raise ValueError(f"{source} is no bag that can be read: {error}") from error


def _storage(source: Path) -> str:
    """Return the name of the storage plugin that a bag was written with."""
    return "MCAP" if any(source.glob("*.mcap")) else "SQLITE3"


def _segment(
    reader: AnyReader, topic: str, out: Path, session: Session, tasks: Sequence[str], storage: str
) -> dict:
    """Read, answer, write to a folder next to ``out``, then rename that."""
    topics = sorted({c.topic for c in reader.connections if c.msgtype in IMAGES})
    if not topic and len(topics) == 1:
        (topic,) = topics
    connections = [c for c in reader.connections if c.topic == topic and c.msgtype in IMAGES]
    if not connections:
        names = ", ".join(topics) or "none"
        if not topic and topics:
            raise ValueError(f"the bag has images on several topics: {names}; choose one")
        raise ValueError(f"the bag has no images on {topic!r}; it has: {names}")
    folder = out.with_name(f".{out.name}.part")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = _Images(reader, connections, topic)
    answered = 0
    try:
        with BagWriter(folder / out.name, storage) as writer:
            for time_ns, message, pixels in source:
                stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
                try:
                    results = session.segment(pixels, tasks, stamp=stamp, stream=topic)
                except RuntimeError as error:  # costs this image, unless the device is lost
                    if session.fault:
                        raise
                    LOG.warning("%s: image %d has no answer: %s", topic, source.count, error)
                    continue
                writer.write(time_ns, message.header, pixels, results, session)
                answered += 1
        (folder / out.name).rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "bag": str(out),
        "images": source.count,
        "answered": answered,
        "broken_off": source.broken_off,
    }


class _Images:
    """The images of a topic, each as time in nanoseconds, message and pixels.

    Those that cannot be read or used are warned of and left out. rosbags raises whatever it comes
    across in bytes that are no message or no bag.
    """

    def __init__(self, reader: AnyReader, connections: list[Connection], topic: str) -> None:
        self._reader, self._connections, self._topic = reader, connections, topic
        self.count = 0
        """Images so far, with those that are left out."""
        self.broken_off = ""
        """Why the rest of the bag could not be read."""

    def __iter__(self) -> Iterator[tuple[int, Any, np.ndarray]]:
        for connection, time_ns, raw in self._messages():
            self.count += 1
            try:
                message: Any = self._reader.deserialize(raw, connection.msgtype)
                pixels = IMAGES[connection.msgtype](message, self._topic)
            except ConversionError as error:
                LOG.warning("%s", error)
            except Exception as error:
                LOG.warning("%s: message %d is damaged: %r", self._topic, self.count, error)
            else:
                yield time_ns, message, pixels

    def _messages(self) -> Iterator[tuple[Connection, int, bytes]]:
        total = sum(connection.msgcount for connection in self._connections)
        try:
            messages = self._reader.messages(self._connections)
            yield from progress_bar(messages, total=total, unit="image")
        except Exception as error:
            self.broken_off = f"{type(error).__name__}: {error}"
            LOG.warning("%s: the bag breaks off: %s", self._topic, self.broken_off)


class BagWriter:
    """Writes a bag of answers; a context manager."""

    def __init__(self, path: Path, storage: str) -> None:
        """Prepare a bag.

        Args:
            path: directory of the new bag.
            storage: name of one of rosbags' storage plugins.
        """
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore

        self._types = get_typestore(Stores.ROS2_JAZZY)
        for name in ("AffordanceInstance", "AffordanceMask"):
            definition = shipped(f"msg/{name}.msg").read_text()
            self._types.register(get_types_from_msg(definition, f"vltp_ros/msg/{name}"))
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin[storage])
        self._tracker = Tracker()

    def __enter__(self) -> BagWriter:
        self._writer.open()
        kinds = {
            MASK: "sensor_msgs/msg/Image",
            OVERLAY: "sensor_msgs/msg/CompressedImage",
            AFFORDANCE: "vltp_ros/msg/AffordanceMask",
        }
        self._connections = {
            topic: self._writer.add_connection(topic, kind, typestore=self._types)
            for topic, kind in kinds.items()
        }
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(
        self,
        time_ns: int,
        header: Any,
        image: np.ndarray,
        results: Sequence[Segmentation],
        session: Session,
    ) -> None:
        """Write the answers about an image (uint8 [H, W, 3] RGB) with the header of its message."""
        header = self._make(
            "std_msgs/msg/Header",
            stamp=self._make(
                "builtin_interfaces/msg/Time",
                sec=header.stamp.sec,
                nanosec=header.stamp.nanosec,
            ),
            frame_id=header.frame_id,
        )
        seconds = header.stamp.sec + header.stamp.nanosec * 1e-9
        tracked = self._tracker.update(dict(enumerate(map(separate, results))), seconds)
        answers = list(zip(results, tracked.values(), strict=True))
        union = np.logical_or.reduce([result.mask for result in results])
        self._put(MASK, time_ns, self._image(to_grey(union), header))
        self._put(OVERLAY, time_ns, self._overlay(draw_overlay(image, answers), header))
        for number, (result, instances) in enumerate(answers):
            message = self._affordance(result, instances, number, header, session.name)
            self._put(AFFORDANCE, time_ns, message)

    def _make(self, kind: str, **fields: Any) -> Any:
        return self._types.types[kind](**fields)

    def _put(self, topic: str, time_ns: int, message: Any) -> None:
        data = self._types.serialize_cdr(message, message.__msgtype__)
        self._writer.write(self._connections[topic], time_ns, data)

    def _image(self, pixels: np.ndarray, header: Any) -> Any:
        fields = image_fields(pixels)
        return self._make("sensor_msgs/msg/Image", header=header, data=pixels.ravel(), **fields)

    def _overlay(self, image: np.ndarray, header: Any) -> Any:
        form = "jpeg" if max(image.shape) <= JPEG_SIDE else "png"
        quality = (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY) if form == "jpeg" else ()
        data = cv2.imencode(f".{form}", image[..., ::-1], quality)[1].ravel()
        return self._make("sensor_msgs/msg/CompressedImage", header=header, format=form, data=data)

    def _affordance(
        self,
        result: Segmentation,
        instances: Sequence[Instance],
        number: int,
        header: Any,
        model: str,
    ) -> Any:
        seconds, nanoseconds = divmod(round(result.seg_age_s * 1e9), 10**9)
        fields = affordance_fields(result, result.task, number, model)
        fields["kept_tokens"] = np.array(fields["kept_tokens"], np.uint32)
        return self._make(
            "vltp_ros/msg/AffordanceMask",
            header=header,
            box=self._make("sensor_msgs/msg/RegionOfInterest", **box_fields(result.box)),
            instances=[self._instance(instance, header) for instance in instances],
            seg_age=self._make("builtin_interfaces/msg/Duration", sec=seconds, nanosec=nanoseconds),
            mask=self._image(to_grey(result.mask), header),
            **fields,
        )

    def _instance(self, instance: Instance, header: Any) -> Any:
        fields = instance_fields(instance)
        fields["kept_tokens"] = np.array(fields["kept_tokens"], np.uint32)
        zero = {"x": 0.0, "y": 0.0, "z": 0.0}
        return self._make(
            "vltp_ros/msg/AffordanceInstance",
            box=self._make("sensor_msgs/msg/RegionOfInterest", **box_fields(instance.box)),
            mask=self._image(to_grey(instance.mask), header),
            pose=self._make(
                "geometry_msgs/msg/Pose",
                position=self._make("geometry_msgs/msg/Point", **zero),
                orientation=self._make("geometry_msgs/msg/Quaternion", **zero, w=1.0),
            ),
            extent=self._make("geometry_msgs/msg/Vector3", **zero),
            **fields,
        )
