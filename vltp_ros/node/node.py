"""The node: camera images and task sentences in, affordance masks out."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Collection
from concurrent.futures import CancelledError
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import (
    LifecycleNode,
    LifecycleNodeMixin,
    LifecycleState,
    TransitionCallbackReturn,
)
from rclpy.node import Node
from rclpy.timer import Timer

from vltp_ros.node.action import FindAction
from vltp_ros.node.cameras import Cameras
from vltp_ros.node.config import NodeConfig
from vltp_ros.node.diagnostics import Health, diagnostic_array
from vltp_ros.node.model import SESSION, Load, Model, NoModelError
from vltp_ros.node.parameters import Parameters
from vltp_ros.node.process import EXIT_SECONDS, run
from vltp_ros.node.qos import OUTPUT_OVERRIDES
from vltp_ros.node.services import EnableService, SegmentService
from vltp_ros.node.tasks import ActiveTasks, checked_task

THREADS = 8  # of the executor; some callbacks wait for the model while others are to be answered
DIAGNOSTICS_PERIOD = 1.0  # seconds
TWIN_SECONDS = 25.0  # for which the middleware keeps a crashed node, and a little
WATCH_PERIOD = 0.2  # seconds between looks at the model

Transition = Callable[["VltpNode", LifecycleState], TransitionCallbackReturn]


def reporting(transition: Transition) -> Transition:
    """Make a transition tell its errors, as rclpy does not, and have them lead to on_error."""

    @functools.wraps(transition)
    def wrapped(node: VltpNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception as error:
            node.health.fail(f"{transition.__name__}: {error!r}")
        return TransitionCallbackReturn.ERROR

    return wrapped


class VltpNode(LifecycleNode):
    """Segments the newest image of each camera for the active tasks.

    Loads the model on configure, subscribes on activate, and frees the model on cleanup. After an
    error it is unconfigured again. The model belongs to a process, and a thread that waits for it;
    everything else happens in the executor's threads, of which there are several: a transition may
    wait for the model.

    Args:
        load: makes a session, as :class:`Model` says.
        options: for the base class.
    """

    _find: FindAction | None = None
    exit_status = 0
    """Of the process, once the node is destroyed; 1 when the model's work had to be cut off."""

    def __init__(self, load: Load | str = SESSION, **options: Any) -> None:
        # Not LifecycleNode's own, which takes no callback group. Reentrant: the state can be asked
        # for while it changes.
        Node.__init__(self, "vltp", **options)
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        changes = self._service_change_state
        changes.callback = functools.partial(_answer_anyway, changes.callback)
        self.health = Health(self.get_logger())
        self._tasks = ActiveTasks(self, self.health)
        self._settings = Parameters(self, NodeConfig)
        self._model = Model(load, self._settings, self.health)
        self._cameras = Cameras(self, self._settings, self._tasks, self.health, self._model)
        self._settings.validate, self._settings.apply = self._validate, self._apply
        self._last_alone = time.monotonic()  # when no other node of the name was last seen
        if self.config.task:
            self._tasks.set_sentence(checked_task(self.config.task, "parameter task"))
        EnableService(self, self._tasks)
        SegmentService(self, self._cameras, self._model, self.health)
        self._find = FindAction(self, self._cameras, self.health)
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "/diagnostics", 10, qos_overriding_options=OUTPUT_OVERRIDES
        )
        self._every(DIAGNOSTICS_PERIOD, self._diagnose)
        self._every(WATCH_PERIOD, self._watch)

    def _every(self, seconds: float, callback: Callable[[], None]) -> Timer:
        # Not by the ROS clock: a simulation's may stand still, or never come.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        return self.create_timer(seconds, callback, MutuallyExclusiveCallbackGroup(), clock)

    @property
    def config(self) -> NodeConfig:
        """The parameters as they are now."""
        return self._settings.config

    def autostart(self) -> None:
        """Configure and activate once the node spins, where the parameter says so."""
        if self.config.autostart:
            self._start = self._every(0.0, self._autostart)

    def _autostart(self) -> None:
        self.destroy_timer(self._start)
        self._configure_and_activate()

    def _configure_and_activate(self) -> None:
        with contextlib.suppress(RuntimeError):  # somebody else was faster
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()

    def destroy_node(self) -> None:
        """End the model's thread and all waiting too."""
        if self._find is not None:  # made last: where parameters were refused nothing is to end
            self._cameras.close()
            # Work in progress may end; loading may not, for nothing is lost with it.
            stuck, is_loaded = self._model.is_abandoned, self._model.is_loaded
            ended = self._model.stop(EXIT_SECONDS if is_loaded else 0.0)
            self.exit_status |= stuck or (is_loaded and not ended)
            self._find.destroy()
        super().destroy_node()

    # --- lifecycle ---------------------------------------------------------------------------

    @reporting
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the model; fails, and stays unconfigured, when it cannot be loaded."""
        try:
            self._model.start()
        except (Exception, CancelledError) as error:
            reason = self._model.given_up or error
            self._model.stop()
            self.health.fail(f"model not loaded: {reason}")
            return TransitionCallbackReturn.FAILURE
        self._cameras.create()
        self.health.enter("inactive")
        return super().on_configure(state)

    @reporting
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to images and tasks."""
        self.health.reset()
        group = MutuallyExclusiveCallbackGroup()
        self._tasks.subscribe(group)
        self._cameras.subscribe(group)
        self.health.enter("active")
        return super().on_activate(state)

    @reporting
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening; the model stays loaded."""
        self._unsubscribe()
        self.health.enter("inactive")
        return super().on_deactivate(state)

    @reporting
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model."""
        self._release()
        self.health.reset()
        self.health.enter("unconfigured")
        return super().on_cleanup(state)

    @reporting
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening and free the model, from whichever state."""
        self._unsubscribe()
        self._release()
        self.health.enter("finalized")
        return super().on_shutdown(state)

    @reporting
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of everything; the node can be configured anew."""
        self._unsubscribe()
        self._release()
        return super().on_error(state)

    def _unsubscribe(self) -> None:
        self._tasks.unsubscribe()
        self._cameras.unsubscribe()

    def _release(self) -> None:
        self._model.stop()
        self._cameras.destroy()

    # --- timers and parameters ---------------------------------------------------------------

    def _watch(self) -> None:
        """Notice a model that is stuck, and the end of one that was given up."""
        self._model.give_up_if_unusable()
        if reason := self._model.given_up:
            self._leave(reason)
        elif self._model.has_come_back():
            self.get_logger().info("the model that was given up has ended")
            if self.config.autostart:
                self._configure_and_activate()

    def _leave(self, reason: str) -> None:
        """Become unconfigured without a model, and say why; another look tries again."""
        with contextlib.suppress(RuntimeError):  # another transition is under way
            if self.health.state == "active":
                self.trigger_deactivate()
            self.trigger_cleanup()
        if self.health.state == "unconfigured":
            self._model.stop()
            self.health.fail(reason)

    def _validate(self, new: NodeConfig, names: Collection[str]) -> None:
        """Raise ValueError for a live change of parameters that is not possible."""
        if "task" in names:
            checked_task(new.task, "parameter task")
        if new.inference == self.config.inference or not self._model.is_loaded:
            return
        try:
            self._model.validate(new)
        except (CancelledError, NoModelError) as error:
            raise ValueError("the model was freed meanwhile") from error
        except RuntimeError as error:  # an answer that says no, and not none
            raise ValueError(f"the model failed: {error}") from error

    def _apply(self, new: NodeConfig, names: Collection[str]) -> None:
        """Put a live change of parameters into effect, as far as there is a model."""
        try:
            self._model.configure()
        except Exception as error:  # it is gone since it was asked, or fails
            self.get_logger().error(
                f"the model's parameters are set, but it works by them only once it is loaded "
                f"again: {error!r}"
            )
        if "task" in names:
            # Also where it is set to what it was: the topic may have brought another task since.
            self._tasks.set_sentence(checked_task(new.task, "parameter task"))

    def _look_for_twins(self) -> None:
        """Warn of other nodes of this one's name; one that crashed is in the graph for a while."""
        own = (self.get_name(), self.get_namespace())
        others = self.get_node_names_and_namespaces().count(own) - 1
        now = time.monotonic()
        if not others:
            self._last_alone = now
        elif now - self._last_alone > TWIN_SECONDS:
            self.health.warn(
                f"{others} more node{'s' * (others > 1)} of the name "
                f"{self.get_fully_qualified_name()}: their answers and parameters mix; give each "
                "a name or a namespace of its own"
            )

    def _look_for_clock(self) -> None:
        """Warn where the time is a simulation's that has not come."""
        if self.get_parameter("use_sim_time").value and not self.get_clock().now().nanoseconds:
            self.health.warn(
                "use_sim_time is true and nothing has come on /clock: all stamps of this node are 0"
            )

    def _diagnose(self) -> None:
        tasks = self._tasks
        self._look_for_twins()
        self._look_for_clock()
        tasks.look_for_latched()
        status = self.health.status(
            self.get_fully_qualified_name(),
            len(tasks.current),
            tasks.enabled,
            self._model.counts,
            self.config,
        )
        statuses = [status, *self._cameras.statuses()]
        self._diagnostics.publish(diagnostic_array(self.get_clock().now().to_msg(), statuses))


def _answer_anyway(
    callback: Callable, request: ChangeState.Request, response: ChangeState.Response
) -> ChangeState.Response:
    """Refuse an impossible transition, whose error Jazzy's rclpy lets out to end the node."""
    try:
        return callback(request, response)
    except RuntimeError:
        response.success = False
        return response


def main(load: Load | str = SESSION) -> int:
    """Run the node until SIGINT or SIGTERM; return the exit status."""
    return run(
        lambda: VltpNode(load),
        NodeConfig,
        start=VltpNode.autostart,
        status=lambda node: node.exit_status,
        threads=THREADS,
    )


if __name__ == "__main__":
    sys.exit(main())
