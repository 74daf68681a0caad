"""The life of an image in the node, from its arrival to the answers that are published."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import threading
import time
from collections.abc import Iterator

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.callback_groups import CallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.time import Time

from vltp_ros.imaging.images import ConversionError
from vltp_ros.imaging.tracking import Tracker
from vltp_ros.msg import InferenceTiming, Task
from vltp_ros.node.answers import Answers
from vltp_ros.node.config import NodeConfig
from vltp_ros.node.conversions import to_timing
from vltp_ros.node.depth import DepthInput
from vltp_ros.node.diagnostics import CameraHealth, Health
from vltp_ros.node.inference import Frame, Inference, Segmenter, infer_each
from vltp_ros.node.inputs import ImageInput
from vltp_ros.node.outputs import ImageOutputs
from vltp_ros.node.outputs_3d import DepthOutputs
from vltp_ros.node.parameters import Parameters
from vltp_ros.node.publishers import Publishers
from vltp_ros.node.qos import of_answers
from vltp_ros.node.stability import Watch
from vltp_ros.node.tasks import ActiveTasks
from vltp_ros.node.vision_outputs import VisionOutputs
from vltp_ros.node.worker import Rest, Slot
from vltp_ros.runtime.checks import NotFiniteError


class Camera:
    """One camera: ``NAME/image`` in, ``~/NAME/…`` out; without a name ``image`` and ``~/…``.

    Its publishers exist until :meth:`destroy`, its subscriptions from :meth:`subscribe` to
    :meth:`unsubscribe`.

    Args:
        node: of the topics.
        name: namespace of the camera.
        parameters: of the node.
        tasks: that its images are segmented for.
        health: is told of what is refused, and how long each stage took.
        slot: where the model's thread looks for its newest image.
    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        parameters: Parameters[NodeConfig],
        tasks: ActiveTasks,
        health: Health,
        slot: Slot,
    ) -> None:
        prefix = f"{name.rstrip('/')}/" if name else ""
        self.name = name.strip("/")
        self.newest: Frame | None = None
        self._node = node
        self._parameters = parameters
        self._tasks = tasks
        self._health = health
        self._slot = slot
        self._counts = CameraHealth(f"{prefix}image")
        self._images = ImageInput(node, prefix, health, self._on_image)
        config = parameters.config
        self._publishers = publishers = Publishers(node, f"~/{prefix.lstrip('/')}")
        self._outputs = ImageOutputs(publishers, config)
        self._vision: VisionOutputs | None = None
        try:
            self._vision = VisionOutputs(publishers, config)
        except ModuleNotFoundError as error:
            node.get_logger().info(
                f"no detections and label images for other packages: {error}; "
                "sudo apt install ros-$ROS_DISTRO-vision-msgs brings it",
                once=True,
            )
        self._depth: DepthInput | None = None
        self._outputs_3d: DepthOutputs | None = None
        if config.depth:
            self._depth = DepthInput(node, prefix, health)
            self._outputs_3d = DepthOutputs(publishers, config)
        self._timing = publishers.create(InferenceTiming, "timing", of_answers(config))
        self._tracker = Tracker()
        self._watches: tuple[Watch, ...] = ()  # replaced, never changed: the model's thread reads
        self._watching = threading.Lock()  # for those that replace it

    # --- an image: it arrives …

    def _on_image(self, frame: Frame) -> None:
        """Leave an image for the model's thread, where the newest one wins."""
        self.newest = frame
        is_wanted = bool(self._tasks.wanted) or self.is_watched
        dropped = is_wanted and self._slot.put(ImageWork(self, frame))
        self._counts.arrival(dropped)

    # --- … the model's thread takes it …

    def process(self, session: Segmenter, frame: Frame) -> Rest | None:
        """Segment one image; return what publishes the answers, if there are any."""
        with self._costing_itself_alone():
            self._check_stamp(frame)
            inference = self._answer(session, frame)
            if inference is not None:
                return functools.partial(self._publish, inference)
        return None

    @contextlib.contextmanager
    def _costing_itself_alone(self) -> Iterator[None]:
        """Report what goes wrong with an image; whatever it is, the next one is to be answered."""
        try:
            yield
        except Exception as error:
            if not self._node.context.ok():  # a signal came while this one was published
                return
            if isinstance(error, ValueError):  # the image or a task was refused
                self._health.warn(str(error))
            else:
                self._health.error(_words(error))

    def _check_stamp(self, frame: Frame) -> None:
        """Raise ConversionError for an image of a time that cannot be, or is too far from now."""
        stamp, limit = frame.message.header.stamp, self._parameters.config.max_image_age
        if stamp.sec < 0:
            raise ConversionError(f"{frame.topic}: its stamp is {stamp.sec} s, before all time")
        age = (self._node.get_clock().now() - Time.from_msg(stamp)).nanoseconds * 1e-9
        if 0 < limit < abs(age):
            when = "old" if age > 0 else "in the future"
            raise ConversionError(
                f"{frame.topic}: the image is {abs(age):.3g} s {when}; max_image_age is {limit:g}"
            )

    def _answer(self, session: Segmenter, frame: Frame) -> Inference | None:
        """Segment an image for the node's tasks and for the watches', in one go.

        The watches get their answers. Returns those for the node's tasks; None when there are none,
        or when nobody listens to the camera any more.
        """
        tasks, watches = self._accepted(session)
        wanted = (*tasks, *(watch.task for watch in watches))
        if not wanted or not self._images.topic:
            return None
        inference, results, errors = infer_each(session, frame, wanted, stream=self.name)
        self._health.doubt(results.values())
        for number, error in errors.items():
            self._health.error(f"task {wanted[number].id}: {_words(error)}")
        for number, watch in enumerate(watches, len(tasks)):
            if number in results:
                watch.put(inference, results[number])
        own = {number: result for number, result in results.items() if number < len(tasks)}
        if not own:
            return None
        return dataclasses.replace(
            inference, tasks=tuple(tasks[number] for number in own), results=tuple(own.values())
        )

    def _accepted(self, session: Segmenter) -> tuple[tuple[Task, ...], tuple[Watch, ...]]:
        """Return the tasks and watches that the model accepts; one that it refuses is told so.

        Together with the others it would leave them without an answer.
        """
        tasks, watches = [], []
        for task in self._tasks.wanted:
            if reason := session.refusal(task.text):
                self._health.warn(f"task {task.id}: {reason}")
            else:
                tasks.append(task)
        for watch in self._watches:
            if reason := session.refusal(watch.task.text):
                watch.ended = reason
            else:
                watches.append(watch)
        return tuple(tasks), tuple(watches)

    # --- … and its answers are published, while a GPU has the next one

    def _publish(self, inference: Inference) -> None:
        """Publish the answers, unless the model was given up meanwhile."""
        with self._costing_itself_alone():
            if not self._slot.is_closed:
                self._publish_answers(inference, self._parameters.config)

    def _publish_answers(self, inference: Inference, config: NodeConfig) -> None:
        """Publish the answers, then what each stage took."""
        began = time.perf_counter()
        answers = self.answers(inference, self._tracker)
        self._outputs.publish(answers, config)
        if self._vision is not None:
            self._vision.publish(answers)
        if self._outputs_3d is not None:
            self._outputs_3d.publish(answers)
        ended = time.perf_counter()
        age = self._node.get_clock().now() - Time.from_msg(inference.frame.message.header.stamp)
        times_ms = {
            **inference.times_ms,
            "publish": 1e3 * (ended - began),
            "total": 1e3 * (ended - inference.frame.arrived),
            "latency": age.nanoseconds * 1e-6,
        }
        timing = to_timing(inference, times_ms)
        timing.device = self._health.device
        timing.received, timing.dropped, timing.dropped_since_last = self._counts.answer()
        self._timing.publish(timing)
        self._health.answer(times_ms)

    def answers(self, inference: Inference, tracker: Tracker | None = None) -> Answers:
        """Return the answers about an image of this camera, their instances numbered by a tracker.

        A tracker is to see every image once, and in order.
        """
        config = self._parameters.config
        tolerance, most = config.depth_tolerance, config.max_points
        return Answers(inference, self._health, self._depth, tolerance, most, tracker)

    # --- who waits for answers

    def watch(self, text: str) -> Watch:
        """Have images segmented for a task as well; its answers go to the watch alone."""
        watch = Watch(text)
        with self._watching:
            self._watches = (*self._watches, watch)
        return watch

    def forget(self, watch: Watch) -> None:
        """Stop working on a watch's task."""
        with self._watching:
            self._watches = tuple(other for other in self._watches if other is not watch)

    @property
    def is_watched(self) -> bool:
        """Whether anybody waits for answers."""
        return bool(self._watches)

    # --- lifecycle and diagnostics

    def subscribe(self, group: CallbackGroup) -> None:
        """Listen, and count afresh."""
        self.newest = None  # one may have come while the camera was unsubscribed
        self._tracker = Tracker()
        self._counts.reset()
        self._images.subscribe(self._parameters.config, group)
        self._counts.topic = self._images.topic
        if self._depth is not None:
            self._depth.subscribe(self._parameters.config, group)

    def unsubscribe(self) -> None:
        """Stop listening, forget the newest image, and end all watches."""
        self._images.unsubscribe()
        if self._depth is not None:
            self._depth.unsubscribe()
        self.newest = None
        self.close()

    def close(self) -> None:
        """End all watches."""
        for watch in self._watches:
            watch.ended = "the node was deactivated"

    def destroy(self) -> None:
        """Take the publishers down."""
        self._publishers.destroy()

    @property
    def topic(self) -> str:
        """The images' topic; raises ValueError unless the camera is subscribed."""
        if topic := self._images.topic:  # another thread may deactivate the node at any moment
            return topic
        raise ValueError("the node was deactivated meanwhile; it has to be active")

    def status(self) -> DiagnosticStatus:
        """Return the camera's diagnostic status."""
        trouble = self._images.trouble
        if self._depth is not None:
            trouble = trouble or self._depth.trouble
        return self._counts.status(
            self._node.get_fully_qualified_name(),
            self._health.state == "active",
            self._parameters.config,
            self._images.lost,
            trouble,
        )


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, NotFiniteError) else repr(error)


@dataclasses.dataclass(frozen=True)
class ImageWork:
    """An image that waits for the model's thread."""

    camera: Camera
    frame: Frame

    def run(self, session: Segmenter) -> Rest | None:
        """Segment it, and leave the answers to be published."""
        return self.camera.process(session, self.frame)
