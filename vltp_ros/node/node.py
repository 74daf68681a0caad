"""The node: camera images and task sentences in, affordance masks out."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Callable
from concurrent.futures import CancelledError

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node

from vltp_ros.config import NodeConfig
from vltp_ros.msg import Task
from vltp_ros.node.action import FindAction
from vltp_ros.node.camera import Camera
from vltp_ros.node.diagnostics import Health, diagnostic_array
from vltp_ros.node.inference import Frame, Inference, infer
from vltp_ros.node.parameters import Parameters
from vltp_ros.node.process import run
from vltp_ros.node.services import EnableService, SegmentService
from vltp_ros.node.tasks import ActiveTasks, checked_task
from vltp_ros.node.worker import Worker
from vltp_ros.paths import default_model
from vltp_ros.runtime.session import Session

THREADS = 8  # of the executor; some callbacks wait for the model while others are to be answered
WARNING_SECONDS = 2.0  # at least this long between warnings about what came in


class VltpNode(LifecycleNodeMixin, Node):
    """Segments the newest image of each camera for the active tasks.

    Loads the model on configure, subscribes on activate, and frees the model on cleanup. The model
    belongs to the worker's thread; everything else happens in the executor's, of which there are
    several: a transition may wait for the model.

    Args:
        load: makes a session as Session.load does.
        options: for the base class.
    """

    def __init__(self, load: Callable[..., Session] = Session.load, **options) -> None:
        Node.__init__(self, "vltp", **options)
        # LifecycleNode takes no group. Reentrant: the state can be asked for while it changes.
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        changes = self._service_change_state
        changes.callback = functools.partial(_answer_anyway, changes.callback)
        self._load = load
        self._worker: Worker | None = None
        self._session: Session | None = None
        self._cameras: tuple[Camera, ...] = ()
        self._health = Health()
        self._tasks = ActiveTasks(self, self._complain)
        self._switch = EnableService(self)
        self._segment = SegmentService(self, self.find_camera, self.infer)
        self._find = FindAction(self, self.find_camera, self._complain)
        self._settings = Parameters(self, NodeConfig, self._apply)
        if self.config.task:
            self._tasks.set_sentence(checked_task(self.config.task, "parameter task"))
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(1.0, self._diagnose, callback_group=MutuallyExclusiveCallbackGroup())

    @property
    def config(self) -> NodeConfig:
        """The parameters as they are now."""
        return self._settings.config

    def autostart(self) -> None:
        """Configure and activate once the node spins, where the parameter says so."""
        if self.config.autostart:
            self._start = self.create_timer(0.0, self._autostart, MutuallyExclusiveCallbackGroup())

    def _autostart(self) -> None:
        self.destroy_timer(self._start)
        with contextlib.suppress(RuntimeError):  # somebody else was faster
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()

    def destroy_node(self) -> None:
        """End the worker's thread too."""
        for camera in self._cameras:
            camera.close()
        self._stop_worker()
        self._find.destroy()
        super().destroy_node()

    # --- lifecycle ---------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the model; fails, and stays unconfigured, when it cannot be loaded."""
        began, config = time.monotonic(), self.config
        names = config.cameras or ("",)
        self._worker = Worker(functools.partial(self._load_session, config), len(names))
        try:
            self._session = self._worker.session()
        except (Exception, CancelledError) as error:  # rclpy would say nothing about any
            self._stop_worker()
            self._health.fail(f"model not loaded: {error}")
            self.get_logger().error(f"model not loaded: {error}")
            return TransitionCallbackReturn.FAILURE
        if self.config != config:  # changed while the model was loaded
            self._configure_session(self.config)
        self._cameras = tuple(
            Camera(self, name, functools.partial(self._offer, number))
            for number, name in enumerate(names)
        )
        self._health.model, self._health.device = self._session.name, self._session.device_name
        self._health.enter("inactive")
        self.get_logger().info(
            f"loaded {self._session.name} on {self._session.device_name} "
            f"in {time.monotonic() - began:.1f} s"
        )
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to images and tasks."""
        self._health.reset()
        group = MutuallyExclusiveCallbackGroup()
        self._tasks.subscribe(group)
        for camera in self._cameras:
            camera.subscribe(self.config, self._complain, group)
        self._health.enter("active")
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening; the model stays loaded."""
        self._unsubscribe()
        self._health.enter("inactive")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model."""
        self._release()
        self._health.reset()
        self._health.enter("unconfigured")
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening and free the model, from whichever state."""
        if state.label == "active":
            self._unsubscribe()
        if state.label != "unconfigured":
            self._release()
        self._health.enter("finalized")
        return super().on_shutdown(state)

    def _unsubscribe(self) -> None:
        self._tasks.unsubscribe()
        for camera in self._cameras:
            camera.unsubscribe()
        self._worker.clear()

    def _release(self) -> None:
        self._stop_worker()
        for camera in self._cameras:
            camera.destroy()
        self._cameras = ()

    def _stop_worker(self) -> None:
        if self._worker is not None:
            self._worker.stop()
        self._worker = self._session = None

    # --- the executor's threads --------------------------------------------------------------

    def find_camera(self, name: str) -> Camera:
        """The camera of a name, the first one for none.

        Raises ValueError for an unknown one, and when the node is not active.
        """
        if self._health.state != "active":
            raise ValueError(f"the node is {self._health.state}; it has to be active")
        cameras = {camera.name: camera for camera in reversed(self._cameras)}
        if not name:
            return self._cameras[0]
        if name.strip("/") not in cameras:
            raise ValueError(f"camera is {name!r}; allowed: {', '.join(sorted(cameras))}")
        return cameras[name.strip("/")]

    def infer(self, frame: Frame, tasks: tuple[Task, ...], pixels: Callable) -> Inference:
        """Wait for the model's answer about one image.

        Raises RuntimeError when there is no model, CancelledError when it is freed meanwhile, or
        what :func:`vltp_ros.node.inference.infer` raises.
        """
        worker = self._worker
        if self._session is None or worker is None:
            raise RuntimeError(f"the node is {self._health.state}; it has no model")
        return worker.ask(lambda session: infer(session, frame, tasks, pixels)).result()

    def _offer(self, number: int, frame: Frame) -> bool:
        """Give a camera's newest frame to the model; True when an older one was waiting."""
        camera = self._cameras[number]
        if not (self._wanted or camera.is_watched):
            return False
        work = functools.partial(self._answer, camera=camera, frame=frame)
        return self._worker.offer(number, work)

    @property
    def _wanted(self) -> tuple[Task, ...]:
        """The tasks that images are to be answered for and published."""
        return self._tasks.current if self._switch.enabled else ()

    def _complain(self, text: str) -> None:
        """Something that came in is refused: a warning, and a line in the diagnostics."""
        self._health.error(text)
        self.get_logger().warning(text, throttle_duration_sec=WARNING_SECONDS)

    def _apply(self, new: NodeConfig, old: NodeConfig) -> None:
        """Put a live change of parameters into effect, or raise ValueError and change nothing."""
        task = checked_task(new.task, "parameter task") if new.task != old.task else ""
        if self._session is not None:
            self._configure_session(new)
        if task:
            self._tasks.set_sentence(task)

    def _configure_session(self, config: NodeConfig) -> None:
        """Give the session its settings between two images; raises its ValueError."""
        settings = self._session_settings(config)
        self._worker.ask(lambda session: session.configure(**settings)).result()

    def _diagnose(self) -> None:
        name, active = self.get_fully_qualified_name(), self._health.state == "active"
        statuses = [self._health.status(name, len(self._tasks.current), self._switch.enabled)]
        statuses += [camera.health.status(name, active) for camera in self._cameras]
        self._diagnostics.publish(diagnostic_array(self.get_clock().now().to_msg(), statuses))

    # --- the model: the worker's thread ------------------------------------------------------

    def _load_session(self, config: NodeConfig) -> Session:
        directory = config.model or default_model()
        self._report(f"loading {directory}")
        session = self._load(directory, device=config.device, threads=config.threads)
        self._own_threshold = session.threshold
        session.configure(**self._session_settings(config))
        self._report("warming up")
        session.warm_up()
        return session

    def _report(self, progress: str) -> None:
        self._health.enter("configuring", progress)
        self.get_logger().info(progress)

    def _session_settings(self, config: NodeConfig) -> dict:
        """What Session.configure takes; the loaded model's own threshold in place of none."""
        own = config.threshold < 0
        return {
            "rates": config.rates,
            "threshold": self._own_threshold if own else config.threshold,
        }

    def _answer(self, session: Session, camera: Camera, frame: Frame) -> None:
        """Segment one image and publish what came of it; a bad one costs a warning."""
        config = self.config
        try:
            inference = camera.answer(session, frame, self._wanted)
            if inference is not None:
                self._health.answer(camera.publish(inference, config, self._health.device))
        except Exception as error:  # whatever one image does, the next one is to be answered
            if self.context.ok():  # or a signal came while this one was published
                self._complain(str(error) if isinstance(error, ValueError) else repr(error))


def _answer_anyway(
    callback: Callable, request: ChangeState.Request, response: ChangeState.Response
) -> ChangeState.Response:
    """Jazzy's rclpy lets the error of an impossible transition out, which would end the node."""
    try:
        return callback(request, response)
    except RuntimeError:
        response.success = False
        return response


def main() -> int:
    """Run the node until SIGINT or SIGTERM; the exit status."""
    return run(VltpNode, start=VltpNode.autostart, threads=THREADS)


if __name__ == "__main__":
    sys.exit(main())
