"""The node: camera images and task sentences in, affordance masks out."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable
from concurrent.futures import CancelledError

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node

from vltp_ros.msg import Task
from vltp_ros.node.action import FindAction
from vltp_ros.node.camera import Camera
from vltp_ros.node.config import NodeConfig
from vltp_ros.node.diagnostics import Health, diagnostic_array
from vltp_ros.node.inference import Frame, Inference
from vltp_ros.node.model import Model
from vltp_ros.node.parameters import Parameters
from vltp_ros.node.process import EXIT_SECONDS, run
from vltp_ros.node.services import EnableService, SegmentService
from vltp_ros.node.tasks import ActiveTasks, checked_task
from vltp_ros.node.watchdog import Watchdog
from vltp_ros.node.worker import Worker
from vltp_ros.runtime.session import Session

THREADS = 8  # of the executor; some callbacks wait for the model while others are to be answered
WARNING_SECONDS = 2.0  # at least this long between warnings about what came in


def reporting(transition: Callable) -> Callable:
    """A transition whose errors are told, as rclpy does not, and lead to on_error."""

    @functools.wraps(transition)
    def wrapped(node: VltpNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:
            node.fail(f"{transition.__name__}: {error!r}")
            return TransitionCallbackReturn.ERROR

    return wrapped


class VltpNode(LifecycleNodeMixin, Node):
    """Segments the newest image of each camera for the active tasks.

    Loads the model on configure, subscribes on activate, and frees the model on cleanup. After an
    error it is unconfigured again. The model belongs to a thread of its own; everything else
    happens in the executor's, of which there are several: a transition may wait for the model.

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
        self._model: Model | None = None
        self._cameras: tuple[Camera, ...] = ()
        self._find: FindAction | None = None
        self._given_up = False  # the model, on the way to the error state
        self._health = Health()
        self._tasks = ActiveTasks(self, self._warn)
        self._settings = Parameters(self, NodeConfig, self._apply)
        if self.config.task:
            self._tasks.set_sentence(checked_task(self.config.task, "parameter task"))
        self._switch = EnableService(self)
        self._segment = SegmentService(self, self.find_camera, self.infer)
        self._find = FindAction(self, self.find_camera, self._warn)
        self._watchdog = Watchdog(
            self, self._worker, lambda: self.config.watchdog, self._give_up, self._recover
        )
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(1.0, self._diagnose, MutuallyExclusiveCallbackGroup())

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
        self._configure_and_activate()

    def _configure_and_activate(self) -> None:
        with contextlib.suppress(RuntimeError):  # somebody else was faster
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()

    def destroy_node(self) -> None:
        """End the model's thread and all waiting too."""
        for camera in self._cameras:
            camera.close()
        self._stop_model(EXIT_SECONDS)
        if self._find is not None:
            self._find.destroy()
            self._find = None
        super().destroy_node()

    # --- lifecycle ---------------------------------------------------------------------------

    @reporting
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the model; fails, and stays unconfigured, when it cannot be loaded."""
        if self._watchdog.is_stuck:
            self.fail("the model that was given up still runs; end the process if it never ends")
            return TransitionCallbackReturn.FAILURE
        names = self.config.cameras or ("",)
        self._model = Model(self._load, self.config, len(names), self._report)
        try:
            self._model.wait()
            if self.config != self._model.config:  # changed while the model was loaded
                self._model.configure(self.config)
        except (Exception, CancelledError) as error:
            self._stop_model()
            self.fail(f"model not loaded: {error}")
            return TransitionCallbackReturn.FAILURE
        self._cameras = tuple(
            Camera(self, name, self.config, functools.partial(self._offer, number), self._warn)
            for number, name in enumerate(names)
        )
        self._health.model, self._health.device = self._model.name, self._model.device_name
        self._health.enter("inactive")
        return super().on_configure(state)

    @reporting
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to images and tasks."""
        self._health.reset()
        group = MutuallyExclusiveCallbackGroup()
        self._tasks.subscribe(group)
        for camera in self._cameras:
            camera.subscribe(self.config, group)
        self._health.enter("active")
        return super().on_activate(state)

    @reporting
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening; the model stays loaded."""
        if self._given_up:
            return TransitionCallbackReturn.ERROR
        self._unsubscribe()
        self._health.enter("inactive")
        return super().on_deactivate(state)

    @reporting
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model."""
        if self._given_up:
            return TransitionCallbackReturn.ERROR
        self._release()
        self._health.reset()
        self._health.enter("unconfigured")
        return super().on_cleanup(state)

    @reporting
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening and free the model, from whichever state."""
        self._unsubscribe()
        self._release()
        self._health.enter("finalized")
        return super().on_shutdown(state)

    @reporting
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of everything, a stuck model too; the node can be configured anew."""
        self._unsubscribe()
        self._release(patience=0.0 if self._given_up else None)
        self._given_up = False
        return super().on_error(state)

    def fail(self, reason: str) -> None:
        """Note why the node is, or soon will be, unconfigured."""
        self._health.fail(reason)
        self.get_logger().error(reason)

    def _unsubscribe(self) -> None:
        self._tasks.unsubscribe()
        for camera in self._cameras:
            camera.unsubscribe()
        if self._model is not None:
            self._model.worker.clear()

    def _release(self, patience: float | None = None) -> None:
        self._stop_model(patience)
        for camera in self._cameras:
            camera.destroy()
        self._cameras = ()

    def _stop_model(self, patience: float | None = None) -> None:
        """Free the model; the watchdog's limit is for how long, where ``patience`` is not given."""
        model, self._model = self._model, None
        if patience is None:
            patience = self.config.watchdog or None
        if model is not None and not model.worker.stop(patience):
            self._watchdog.abandon(model.worker)

    # --- the watchdog's timer ----------------------------------------------------------------

    def _worker(self) -> Worker | None:
        return None if self._model is None else self._model.worker

    def _give_up(self, seconds: float) -> None:
        """Go to the error state, and from there to unconfigured."""
        limit = self.config.watchdog
        self._given_up = True
        with contextlib.suppress(RuntimeError):
            if self._health.state == "active":
                self.trigger_deactivate()
            else:
                self.trigger_cleanup()
        if self._given_up:  # in the middle of another transition: the watchdog will look again
            self._given_up = False
        else:
            self.fail(
                f"an inference was stuck for {seconds:.1f} s, watchdog allows {limit:g} s; "
                "the model is given up"
            )

    def _recover(self) -> None:
        """Start again after a stuck model has ended."""
        self.get_logger().info("the model that was given up has ended")
        if self.config.autostart:
            self._configure_and_activate()

    # --- the executor's threads --------------------------------------------------------------

    def find_camera(self, name: str) -> Camera:
        """The camera of a name, the first one for none.

        Raises ValueError for an unknown one, and when the node is not active.
        """
        cameras = {camera.name: camera for camera in self._cameras}
        if self._health.state != "active" or not cameras:
            raise ValueError(f"the node is {self._health.state}; it has to be active")
        if not name:
            return next(iter(cameras.values()))
        if name.strip("/") not in cameras:
            raise ValueError(f"camera is {name!r}; allowed: {', '.join(cameras)}")
        return cameras[name.strip("/")]

    def infer(self, frame: Frame, tasks: tuple[Task, ...], pixels: Callable) -> Inference:
        """As Model.infer; raises RuntimeError when there is no model."""
        model = self._model
        if model is None or model.session is None:
            raise RuntimeError(f"the node is {self._health.state}; it has no model")
        return model.infer(frame, tasks, pixels)

    def _offer(self, number: int, frame: Frame) -> bool:
        """Give a camera's newest frame to the model; True when an older one was waiting."""
        cameras, model = self._cameras, self._model
        if model is None or not cameras:  # taken down while this image came
            return False
        camera = cameras[number]
        if not (self._wanted or camera.is_watched):
            return False
        work = functools.partial(self._answer, camera=camera, frame=frame)
        return model.worker.offer(number, work)

    @property
    def _wanted(self) -> tuple[Task, ...]:
        """The tasks that images are to be answered for and published."""
        return self._tasks.current if self._switch.enabled else ()

    def _warn(self, text: str) -> None:
        """Something that came in is refused: a warning, and a line in the diagnostics."""
        self._health.error(text)
        self.get_logger().warning(text, throttle_duration_sec=WARNING_SECONDS)

    def _report(self, progress: str) -> None:
        self._health.enter("configuring", progress)
        self.get_logger().info(progress)

    def _apply(self, new: NodeConfig, old: NodeConfig) -> None:
        """Put a live change of parameters into effect, or raise ValueError and change nothing."""
        task = checked_task(new.task, "parameter task") if new.task != old.task else ""
        model = self._model
        if model is not None and model.session is not None:
            try:
                model.configure(new)
            except CancelledError as error:
                raise ValueError("the model was freed meanwhile") from error
        if task:
            self._tasks.set_sentence(task)

    def _diagnose(self) -> None:
        name, active = self.get_fully_qualified_name(), self._health.state == "active"
        model = self._model
        memory = None if model is None or model.session is None else model.gpu_memory_mib()
        tasks, enabled = len(self._tasks.current), self._switch.enabled
        statuses = [self._health.status(name, tasks, enabled, memory, self.config)]
        statuses += [c.status(name, active, self.config) for c in self._cameras]
        self._diagnostics.publish(diagnostic_array(self.get_clock().now().to_msg(), statuses))

    # --- the model's thread ------------------------------------------------------------------

    def _answer(self, session: Session, camera: Camera, frame: Frame) -> None:
        """Segment one image and publish what came of it; a bad one costs a warning."""
        config, model = self.config, self._model
        try:
            inference = camera.answer(session, frame, self._wanted)
            if inference is not None and model is self._model:  # not given up meanwhile
                self._health.answer(camera.publish(inference, config, self._health.device))
        except Exception as error:  # whatever one image does, the next one is to be answered
            if self.context.ok():  # or a signal came while this one was published
                self._warn(str(error) if isinstance(error, ValueError) else repr(error))


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
