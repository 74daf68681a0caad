"""One camera of the node: its images, its results, and what is counted about them."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.callback_groups import CallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin
from sensor_msgs.msg import CompressedImage, Image

from vltp_ros.msg import Task
from vltp_ros.node import conversions
from vltp_ros.node.config import NodeConfig
from vltp_ros.node.depth import Depth
from vltp_ros.node.diagnostics import CameraHealth
from vltp_ros.node.inference import Frame, Inference, infer
from vltp_ros.node.inputs import CameraInput
from vltp_ros.node.outputs import CameraOutputs
from vltp_ros.node.stability import Watch
from vltp_ros.runtime.session import Session


class Camera:
    """Its topics are ``NAME/image`` and ``~/NAME/…``; without a name ``image`` and ``~/…``.

    Publishers exist from its making to :meth:`destroy`, the subscription from :meth:`subscribe` to
    :meth:`unsubscribe`.

    Args:
        node: of the topics.
        name: namespace of the camera.
        config: which inputs it has.
        offer: hands a frame to the model; True when an older one was thrown away for it.
        warn: is told of what is refused.
    """

    def __init__(
        self,
        node: LifecycleNodeMixin,
        name: str,
        config: NodeConfig,
        offer: Callable[[Frame], bool],
        warn: Callable[[str], None],
    ) -> None:
        self._node = node
        self._warn = warn
        self._prefix = f"{name.rstrip('/')}/" if name else ""
        self._offer = offer
        self._input: CameraInput | None = None
        self._outputs = CameraOutputs(node, f"~/{self._prefix.lstrip('/')}")
        self._depth = Depth(node, self._prefix, warn) if config.depth else None
        self._watches: tuple[Watch, ...] = ()  # replaced, never changed: the model's thread reads
        self._watching = threading.Lock()  # for those that replace it
        self.name = name.strip("/")
        self.health = CameraHealth(f"{self._prefix}image")
        self.newest: Frame | None = None

    def destroy(self) -> None:
        """Take the publishers down."""
        self._outputs.destroy()
        if self._depth is not None:
            self._depth.destroy()

    def subscribe(self, config: NodeConfig, group: CallbackGroup) -> None:
        """Listen, and count afresh."""
        self.health.reset()
        self.newest = None  # one may have come while the camera was unsubscribed
        self._input = CameraInput(
            self._node, self._prefix, config, self._receive, self._warn, group
        )
        self.health.topic = self._input.topic
        if self._depth is not None:
            self._depth.subscribe(config, group)

    def unsubscribe(self) -> None:
        """Stop listening, forget the newest image, and end all searches."""
        if self._input is not None:
            self._input.destroy()
            self._input = None
        if self._depth is not None:
            self._depth.unsubscribe()
        self.newest = None
        self.close()

    def close(self) -> None:
        """End all searches."""
        for watch in self._watches:
            watch.closed = True

    def status(self, name: str, active: bool, limits: NodeConfig) -> DiagnosticStatus:
        """The diagnostic status of the camera of the node ``name``."""
        listener = self._input
        lost, trouble = 0, ""
        if listener is not None:
            lost, trouble = listener.subscription.lost, listener.subscription.trouble
        if self._depth is not None:
            trouble = trouble or self._depth.trouble
        return self.health.status(name, active, limits, lost, trouble)

    def _receive(self, message: Image | CompressedImage) -> None:
        self.newest = Frame(message)
        self.health.arrival(dropped=self._offer(self.newest))

    @property
    def topic(self) -> str:
        """Of the images. Raises ValueError unless it is subscribed."""
        return self._subscribed.topic

    @property
    def pixels(self) -> Callable[[Image | CompressedImage], np.ndarray]:
        """What makes uint8 [H, W, 3] RGB of one of its messages.

        Raises ValueError unless it is subscribed.
        """
        return self._subscribed.pixels

    @property
    def _subscribed(self) -> CameraInput:
        listener = self._input  # another thread may deactivate the node at any moment
        if listener is None:
            raise ValueError("the node was deactivated meanwhile; it has to be active")
        return listener

    def watch(self, text: str) -> Watch:
        """Have a task worked on, and its answers handed to the watch alone."""
        watch = Watch(text)
        with self._watching:
            self._watches = (*self._watches, watch)
        return watch

    def forget(self, watch: Watch) -> None:
        """Nobody waits for this one's answers any more."""
        with self._watching:
            self._watches = tuple(each for each in self._watches if each is not watch)

    @property
    def is_watched(self) -> bool:
        """Whether anybody waits for answers."""
        return bool(self._watches)

    def answer(self, session: Session, frame: Frame, tasks: tuple[Task, ...]) -> Inference | None:
        """Segment one of its images for these tasks and for the watches', in one go.

        The watches get their answers; the others are returned, None when there are none, or when
        nobody listens to the camera any more. Raises ConversionError or what the session raises.
        """
        watches, listener = self._watches, self._input
        wanted = (*tasks, *(watch.task for watch in watches))
        if not wanted or listener is None:
            return None
        inference = infer(session, frame, wanted, listener.pixels, stream=self.name)
        for watch, result in zip(watches, inference.results[len(tasks) :], strict=True):
            watch.put(inference, result)
        results = inference.results[: len(tasks)]
        return dataclasses.replace(inference, tasks=tasks, results=results) if tasks else None

    def publish(self, inference: Inference, config: NodeConfig, device: str) -> dict[str, float]:
        """Publish the answers and their timing; the times of all stages, milliseconds."""
        times_ms = self._outputs.publish(inference, config)
        if self._depth is not None:
            self._depth.publish(inference, config)
        timing = conversions.to_timing(inference, times_ms)
        timing.device = device
        timing.received, timing.dropped, timing.dropped_since_last = self.health.answer()
        self._outputs.publish_timing(timing)
        return times_ms
