"""One camera of the node: its images, its results, and what is counted about them."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.callback_groups import CallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin
from sensor_msgs.msg import CompressedImage, Image

from vltp_ros.config import NodeConfig
from vltp_ros.msg import Task
from vltp_ros.node import conversions
from vltp_ros.node.diagnostics import CameraHealth
from vltp_ros.node.inference import Frame, Inference, infer
from vltp_ros.node.inputs import CameraInput
from vltp_ros.node.outputs import CameraOutputs
from vltp_ros.runtime.session import Session


class Camera:
    """Its topics are ``NAME/image`` and ``~/NAME/…``; without a name ``image`` and ``~/…``.

    Publishers exist from its making to :meth:`destroy`, the subscription from :meth:`subscribe` to
    :meth:`unsubscribe`.

    Args:
        node: of the topics.
        name: namespace of the camera.
        offer: hands a frame to the model; True when an older one was thrown away for it.
    """

    def __init__(self, node: LifecycleNodeMixin, name: str, offer: Callable[[Frame], bool]) -> None:
        self._node = node
        self._prefix = f"{name.rstrip('/')}/" if name else ""
        self._offer = offer
        self._input: CameraInput | None = None
        self._outputs = CameraOutputs(node, f"~/{self._prefix.lstrip('/')}")
        self.health = CameraHealth(f"{self._prefix}image")
        self.newest: Frame | None = None

    def destroy(self) -> None:
        """Take the publishers down."""
        self._outputs.destroy()

    def subscribe(
        self, config: NodeConfig, complain: Callable[[str], None], group: CallbackGroup
    ) -> None:
        """Listen, and count afresh."""
        self.health.reset()
        self._input = CameraInput(self._node, self._prefix, config, self._receive, complain, group)
        self.health.topic = self._input.topic

    def unsubscribe(self) -> None:
        """Stop listening and forget the newest image."""
        self._input.destroy()
        self.newest = None

    def _receive(self, message: Image | CompressedImage) -> None:
        self.newest = Frame(message)
        self.health.arrival(dropped=self._offer(self.newest))

    def infer(self, session: Session, frame: Frame, tasks: tuple[Task, ...]) -> Inference:
        """Segment one of its images; raises ConversionError or what the session raises."""
        return infer(session, frame, tasks, self._input.pixels)

    def publish(self, inference: Inference, config: NodeConfig, device: str) -> dict[str, float]:
        """Publish the answers and their timing; the times of all stages, milliseconds."""
        times_ms = self._outputs.publish(inference, config)
        stages = {name: times_ms[name] for name in (*inference.times_ms, "publish")}
        timing = conversions.to_timing(inference.frame.message.header, stages)
        timing.tasks, timing.model, timing.device = inference.tasks, inference.model, device
        timing.total_ms, timing.latency_ms = times_ms["total"], times_ms["latency"]
        counts = self.health.answer()
        timing.received, timing.dropped, timing.dropped_since_last = counts
        self._outputs.publish_timing(timing)
        return times_ms
