"""The action with which a planner looks for something."""

from __future__ import annotations

import threading
import time

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from vltp_ros.action import FindAffordance
from vltp_ros.imaging.instances import Instance
from vltp_ros.imaging.tracking import Tracker
from vltp_ros.node.camera import Camera
from vltp_ros.node.cameras import Cameras
from vltp_ros.node.conversions import to_instance
from vltp_ros.node.diagnostics import Health
from vltp_ros.node.qos import REQUESTS
from vltp_ros.node.stability import InstanceStability, Watch
from vltp_ros.node.stopwatch import Stopwatch
from vltp_ros.node.tasks import checked_task

MAX_GOALS = 4  # each waits in a thread of its own
WAIT_SECONDS = 0.1  # between looks at whether a goal was cancelled
MAX_TIMEOUT = 3600.0  # seconds that a search may take
GONE_SECONDS = 5.0  # without anybody to hear of it before a search ends
STILL_SECONDS = 300.0  # real ones, for which a simulation may be paused before a search ends


class FindAction:
    """``~/find_affordance``: searches that run beside the node's tasks, each in a thread.

    Args:
        node: of the action.
        cameras: in whose images is searched.
        health: is told why a goal is rejected, which its sender is not.
    """

    def __init__(self, node: Node, cameras: Cameras, health: Health) -> None:
        self._node = node
        self._cameras = cameras
        self._health = health
        self._running = 0
        self._feedback = f"{node.get_fully_qualified_name()}/find_affordance/_action/feedback"
        self._lock = threading.Lock()
        self._server: ActionServer | None = ActionServer(
            node,
            FindAffordance,
            "~/find_affordance",
            self._execute,
            goal_callback=self._on_goal,
            handle_accepted_callback=self._on_accepted,
            cancel_callback=_on_cancel,
            goal_service_qos_profile=REQUESTS,
            result_service_qos_profile=REQUESTS,
            cancel_service_qos_profile=REQUESTS,
            # One request at a time, so that goals that come together are counted; what executes
            # them is no callback of the group.
            callback_group=MutuallyExclusiveCallbackGroup(),
        )

    def destroy(self) -> None:
        """Take the action down; a second time does nothing, as with rclpy's nodes."""
        server, self._server = self._server, None
        if server is not None:
            server.destroy()

    def _on_goal(self, goal: FindAffordance.Goal) -> GoalResponse:
        try:
            self._check(goal)
        except ValueError as error:
            self._health.warn(f"find_affordance: {error}")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _check(self, goal: FindAffordance.Goal) -> None:
        """Raise ValueError for a goal that cannot be followed now."""
        checked_task(goal.task, "task")
        self._cameras.find(goal.camera)
        if not 0 < goal.timeout <= MAX_TIMEOUT:
            raise ValueError(
                f"timeout is {goal.timeout}; it must be above 0 and at most {MAX_TIMEOUT:g} s"
            )
        for name in ("min_score", "min_iou"):
            value = getattr(goal, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}; it must be between 0 and 1")
        if not goal.stable_frames:
            raise ValueError("stable_frames is 0; it must be at least 1")
        if self._running >= MAX_GOALS:
            raise ValueError(f"{MAX_GOALS} goals are being followed already")

    def _on_accepted(self, handle: ServerGoalHandle) -> None:
        self._count(1)
        handle.execute()

    def _execute(self, handle: ServerGoalHandle) -> FindAffordance.Result:
        try:
            return self._follow(handle)
        except Exception:
            if self._node.context.ok():  # or a signal came: nobody hears feedback or result
                raise
            return FindAffordance.Result()
        finally:
            self._count(-1)

    def _follow(self, handle: ServerGoalHandle) -> FindAffordance.Result:
        goal = handle.request
        try:
            camera = self._cameras.find(goal.camera)
        except ValueError as error:  # deactivated since the goal was accepted
            handle.abort()
            return FindAffordance.Result(message=str(error))
        watch = camera.watch(checked_task(goal.task, "task"))
        try:
            return self._search(handle, camera, watch)
        finally:
            camera.forget(watch)

    def _count(self, change: int) -> None:
        with self._lock:
            self._running += change

    def _search(
        self, handle: ServerGoalHandle, camera: Camera, watch: Watch
    ) -> FindAffordance.Result:
        """Follow a goal to its end."""
        goal, watched = handle.request, Stopwatch(self._node.get_clock())
        tracker, agreement = Tracker(), InstanceStability(goal.min_score, goal.min_iou)
        result = FindAffordance.Result()
        last_subscriber = time.monotonic()
        while not (reason := _why_to_give_up(handle, watch, watched)):
            if self._node.count_subscribers(self._feedback):
                last_subscriber = time.monotonic()
            elif time.monotonic() - last_subscriber > GONE_SECONDS:  # its place is for others
                reason = "nobody listens to the feedback any more"
                self._health.warn(f"find_affordance: {reason}")
                break
            inference = watch.get(WAIT_SECONDS)
            if inference is None:
                continue
            answers = camera.answers(inference, tracker)
            agreement.add(answers.instances[0])
            (result.affordance,) = answers.full_messages()
            result.seconds = watched.look()
            instance, iou, count = agreement.best
            _publish_feedback(handle, result, instance, iou, count)
            if instance is not None and count >= goal.stable_frames:
                result.found, result.instance = True, to_instance(instance, answers.header)
                handle.succeed()
                return result
        result.message, result.seconds = reason, watched.look()
        if handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return result


def _on_cancel(handle: ServerGoalHandle) -> CancelResponse:
    return CancelResponse.ACCEPT


def _why_to_give_up(handle: ServerGoalHandle, watch: Watch, watched: Stopwatch) -> str:
    """Return why the search is to end; empty while it goes on."""
    if handle.is_cancel_requested:
        return "cancelled"
    if watch.ended:
        return watch.ended
    if watched.look() > handle.request.timeout:
        reason = f"no {handle.request.stable_frames} masks agreed within"
        reason += f" {handle.request.timeout:g} s"
        if watched.is_simulated and not watched.has_come:
            reason += ", real ones: use_sim_time is true, and nothing has come on /clock"
        return reason
    if watched.still_seconds > STILL_SECONDS:
        return f"the time on /clock has stood still for {STILL_SECONDS:g} s"
    return ""


def _publish_feedback(
    handle: ServerGoalHandle,
    result: FindAffordance.Result,
    instance: Instance | None,
    iou: float,
    count: int,
) -> None:
    handle.publish_feedback(
        FindAffordance.Feedback(
            affordance=result.affordance,
            instance=0 if instance is None else instance.track,
            iou=iou,
            stable_frames=count,
            seconds=result.seconds,
        )
    )
