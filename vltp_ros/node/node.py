"""The node: camera images and a task sentence in, affordance masks out."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.event_handler import QoSRequestedIncompatibleQoSInfo, SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.time import Time
from sensor_msgs.msg import Image
from std_msgs.msg import String

from vltp_ros.config import NodeConfig
from vltp_ros.msg import AffordanceMask, InferenceTiming
from vltp_ros.node import conversions
from vltp_ros.node.diagnostics import Health, diagnostic_array
from vltp_ros.node.parameters import Parameters
from vltp_ros.node.process import run
from vltp_ros.node.qos import LATCHED, NEWEST, NEWEST_BEST_EFFORT
from vltp_ros.node.worker import Worker
from vltp_ros.paths import default_model
from vltp_ros.runtime.overlay import draw_overlay
from vltp_ros.runtime.session import Session, check_task
from vltp_ros.types import Segmentation

WARNING_SECONDS = 2.0  # at least this long between warnings about images


class VltpNode(LifecycleNode):
    """Segments the newest image for the active task.

    Loads the model on configure, subscribes on activate, and frees the model on cleanup. The model
    belongs to the worker's thread; everything else happens in the executor's.

    Args:
        load: makes a session as Session.load does.
        options: for the base class.
    """

    def __init__(self, load: Callable[..., Session] = Session.load, **options) -> None:
        super().__init__("vltp", **options)
        self._load = load
        self._worker: Worker | None = None
        self._session: Session | None = None
        self._session_lock = threading.Lock()  # a change of parameters waits for an image's end
        self._task = ("", 0)  # the sentence and its number, replaced together
        self._active_task = self.create_publisher(String, "~/active_task", LATCHED)
        self._health = Health()
        self._settings = Parameters(self, NodeConfig, self._apply)
        if self.config.task:
            self._set_task(_checked_task(self.config.task, "parameter task"))
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(1.0, self._diagnose)

    @property
    def config(self) -> NodeConfig:
        """The parameters as they are now."""
        return self._settings.config

    def autostart(self) -> None:
        """Configure and activate, where the parameter says so."""
        if (
            self.config.autostart
            and self.trigger_configure() == TransitionCallbackReturn.SUCCESS
            and self.context.ok()  # loading takes a while; a signal may have come
        ):
            self.trigger_activate()

    def destroy_node(self) -> None:
        """End the worker's thread too."""
        self._stop_worker()
        super().destroy_node()

    # --- lifecycle ---------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the model; fails, and stays unconfigured, when it cannot be loaded."""
        self._worker = Worker(self._load_session, self._answer)
        try:
            self._session = self._worker.session()
        except Exception as error:  # rclpy would end the node's life for any that leaves here
            self._stop_worker()
            self._health.error(f"model not loaded: {error}")
            self.get_logger().error(f"model not loaded: {error}")
            return TransitionCallbackReturn.FAILURE
        self._health.model, self._health.device = self._session.name, self._session.device_name
        self._create_outputs()
        self._health.state = "inactive"
        self.get_logger().info(f"loaded {self._session.name} on {self._session.device_name}")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to images and tasks."""
        self._health.reset()
        self._health.state = "active"
        quality = NEWEST if self.config.reliable_images else NEWEST_BEST_EFFORT
        events = SubscriptionEventCallbacks(incompatible_qos=self._on_incompatible)
        self._inputs = (
            self.create_subscription(
                Image, "image", self._on_image, quality, event_callbacks=events
            ),
            self.create_subscription(String, "task", self._on_task, NEWEST),
        )
        self._image_topic, self._task_topic = (each.topic_name for each in self._inputs)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening; the model stays loaded."""
        self._unsubscribe()
        self._health.state = "inactive"
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model."""
        self._release()
        self._health.reset()
        self._health.state = "unconfigured"
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening and free the model, from whichever state."""
        if state.label == "active":
            self._unsubscribe()
        if state.label != "unconfigured":
            self._release()
        self._health.state = "finalized"
        return super().on_shutdown(state)

    def _create_outputs(self) -> None:
        self._mask = self.create_lifecycle_publisher(Image, "~/mask", NEWEST)
        self._affordance = self.create_lifecycle_publisher(AffordanceMask, "~/affordance", NEWEST)
        self._overlay = self.create_lifecycle_publisher(Image, "~/overlay", NEWEST)
        self._kept = self.create_lifecycle_publisher(Image, "~/kept", NEWEST)
        self._timing = self.create_lifecycle_publisher(InferenceTiming, "~/timing", NEWEST)

    def _unsubscribe(self) -> None:
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._worker.slot.clear()

    def _release(self) -> None:
        self._stop_worker()
        for publisher in (self._mask, self._affordance, self._overlay, self._kept, self._timing):
            self.destroy_lifecycle_publisher(publisher)

    def _stop_worker(self) -> None:
        if self._worker is not None:
            self._worker.stop()
        self._worker = self._session = None

    # --- inputs: the executor's thread -------------------------------------------------------

    def _on_image(self, message: Image) -> None:
        if self._task[0]:
            self._health.arrival(dropped=self._worker.slot.put(message))

    def _on_task(self, message: String) -> None:
        try:
            task = _checked_task(message.data, self._task_topic)
        except ValueError as error:
            self._health.error(str(error))
            self.get_logger().warning(str(error), throttle_duration_sec=WARNING_SECONDS)
        else:
            if task != self._task[0]:
                self._set_task(task)

    def _set_task(self, task: str) -> None:
        self._task = (task, self._task[1] + 1)
        self._health.task = task
        self._active_task.publish(String(data=task))
        self.get_logger().info(f"task {self._task[1]}: {task}")

    def _on_incompatible(self, event: QoSRequestedIncompatibleQoSInfo) -> None:
        text = (
            f"{self._image_topic}: a publisher's quality of service does not match "
            f"({event.last_policy_kind.name.lower()}); set reliable_images to false"
        )
        self._health.error(text)
        self.get_logger().warning(text)

    def _apply(self, new: NodeConfig, old: NodeConfig) -> None:
        """Put a live change of parameters into effect, or raise ValueError and change nothing."""
        task = _checked_task(new.task, "parameter task") if new.task != old.task else ""
        if self._session is not None:
            with self._session_lock:
                self._configure_session(self._session, new)
        if task:
            self._set_task(task)

    def _diagnose(self) -> None:
        status = self._health.status(self.get_fully_qualified_name())
        self._diagnostics.publish(diagnostic_array(self.get_clock().now().to_msg(), status))

    # --- the model: the worker's thread ------------------------------------------------------

    def _load_session(self) -> Session:
        config = self.config
        directory = config.model or default_model()
        session = self._load(directory, device=config.device, threads=config.threads)
        self._own_threshold = session.threshold
        self._configure_session(session, config)
        session.warm_up()
        return session

    def _configure_session(self, session: Session, config: NodeConfig) -> None:
        own = config.threshold < 0
        session.configure(
            rates=config.rates, threshold=self._own_threshold if own else config.threshold
        )

    def _answer(self, session: Session, message: Image) -> None:
        """Segment one image and publish what came of it; a bad one costs a warning."""
        try:
            self._segment(session, message)
        except Exception as error:  # whatever one image does, the next one is to be answered
            if not self.context.ok():  # a signal came while this one was published
                return
            text = str(error) if isinstance(error, ValueError) else repr(error)
            self._health.error(text)
            self.get_logger().warning(text, throttle_duration_sec=WARNING_SECONDS)

    def _segment(self, session: Session, message: Image) -> None:
        start = time.perf_counter()
        task, task_id = self._task
        image = conversions.to_rgb(message, self._image_topic)
        converted = time.perf_counter()
        with self._session_lock:
            result = session.segment(image, [task])[0]
        answered = time.perf_counter()
        self._publish(message, image, result, task_id)
        end = time.perf_counter()
        times = {
            "convert": 1e3 * (converted - start),
            **result.times_ms,
            "publish": 1e3 * (end - answered),
        }
        self._publish_timing(message, task, times, total_ms=1e3 * (end - start))

    def _publish(
        self, message: Image, image: np.ndarray, result: Segmentation, task_id: int
    ) -> None:
        """Publish the answer, with the header of its image; pictures only where one looks."""
        header = message.header
        affordance = conversions.to_affordance(result, header, task_id, self._health.model)
        self._mask.publish(affordance.mask)
        self._affordance.publish(affordance)
        if self._overlay.get_subscription_count():
            overlay = draw_overlay(image, result.mask, self.config.overlay_alpha)
            self._overlay.publish(conversions.to_image(overlay, header))
        if self._kept.get_subscription_count():
            kept = conversions.to_kept(result.kept, result.mask.shape)
            self._kept.publish(conversions.to_image(kept, header))

    def _publish_timing(
        self, message: Image, task: str, times_ms: dict[str, float], total_ms: float
    ) -> None:
        latency = self.get_clock().now() - Time.from_msg(message.header.stamp)
        latency_ms = latency.nanoseconds * 1e-6
        timing = conversions.to_timing(message.header, times_ms)
        timing.task, timing.model, timing.device = task, self._health.model, self._health.device
        timing.total_ms, timing.latency_ms = total_ms, latency_ms
        timing.received, timing.dropped = self._health.received, self._health.dropped
        self._timing.publish(timing)
        self._health.answer({**times_ms, "total": total_ms, "latency": latency_ms})


def _checked_task(text: str, source: str) -> str:
    """The task without the space around it; ValueError naming ``source`` when it is refused."""
    try:
        return check_task(text)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def main() -> int:
    """Run the node until SIGINT or SIGTERM; the exit status."""
    return run(VltpNode, start=VltpNode.autostart)


if __name__ == "__main__":
    sys.exit(main())
