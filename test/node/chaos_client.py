"""What a client, a camera, a clock and bad luck do to a node, at random."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import psutil
from bench import good_image
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.task import Future
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import String
from std_srvs.srv import SetBool

from vltp_ros.action import FindAffordance
from vltp_ros.node.qos import NEWEST
from vltp_ros.srv import SegmentImage

TASKS = ("cut bread", "pour water", "refuse this", "not finite", "unknown error", "refused")
FAULTS = ("crash", "exit", "hang", "hold the lock", "lost device")
TRANSITIONS = {
    Transition.TRANSITION_CONFIGURE: 3,
    Transition.TRANSITION_ACTIVATE: 3,
    Transition.TRANSITION_DEACTIVATE: 1,
    Transition.TRANSITION_CLEANUP: 1,
}
"""Their weights: the node is to be at work most of the time."""
IN_FLIGHT = 8  # requests of one client: ten replies are all that it keeps
PATIENCE = 60.0  # seconds for what is left unanswered at the end, and for the node to recover
STEP = 0.02  # seconds between two actions


class Client(Node):
    """Does at random what clients, cameras, clocks and bad luck do."""

    def __init__(self, process: psutil.Process, seed: int) -> None:
        super().__init__("chaos")
        self._process = process
        self._random = random.Random(seed)
        self._pending: dict[str, list[Future]] = {}
        self.counts: Counter[str] = Counter()
        self.masks = 0
        self.restarts = 0
        self.told = ""  # by the node's diagnostics
        self._time, self._is_paused = 100.0, False
        self._clock = self.create_publisher(Clock, "/clock", 10)
        self._images = self.create_publisher(Image, "image", NEWEST)
        self._tasks = self.create_publisher(String, "task", NEWEST)
        self.create_subscription(Image, "vltp/mask", self._on_mask, NEWEST)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._change = self.create_client(ChangeState, "vltp/change_state")
        self._state = self.create_client(GetState, "vltp/get_state")
        self._segment = self.create_client(SegmentImage, "vltp/segment")
        self._enable = self.create_client(SetBool, "vltp/enable")
        self._parameters = self.create_client(SetParameters, "vltp/set_parameters")
        self._goals = ActionClient(self, FindAffordance, "vltp/find_affordance")

    def wait_for_node(self) -> None:
        """Wait until every service is there."""
        services = (self._change, self._state, self._segment, self._enable, self._parameters)
        for service in (*services, self._goals):
            wait = getattr(service, "wait_for_service", None) or self._goals.wait_for_server
            if not wait(PATIENCE):
                raise RuntimeError("the node did not come up")

    def act(self) -> None:
        """Do one thing."""
        self.tick()
        actions: dict[Callable[[], None], float] = {
            self.send_image: 40,
            self._send_task: 8,
            self._ask: 12,
            self._send_goal: 6,
            self._request_transition: 6,
            self._set_parameter: 4,
            self._switch: 2,
            self._disturb_clock: 2,
            self._break_model: 0.3,
        }
        action = self._random.choices(list(actions), list(actions.values()))[0]
        action()

    def tick(self) -> None:
        """Let a step of the simulation's time pass."""
        self._time += 0.0 if self._is_paused else STEP
        clock = Clock()
        clock.clock.sec = int(self._time)
        clock.clock.nanosec = int(self._time % 1 * 1e9)
        self._clock.publish(clock)

    def send_image(self) -> None:
        """Send what a camera sends."""
        self._images.publish(good_image(int(self._time)))

    def settle(self) -> None:
        """Give the node what it needs to work: a running clock, and no more harm."""
        self._is_paused = False
        self._follow("switches", self._call(self._enable, SetBool.Request(data=True)))

    def bring_up(self) -> None:
        """Ask for the state, and for a transition towards active, and give it a task."""
        self._tasks.publish(String(data="cut bread"))
        towards = {
            State.PRIMARY_STATE_UNCONFIGURED: Transition.TRANSITION_CONFIGURE,
            State.PRIMARY_STATE_INACTIVE: Transition.TRANSITION_ACTIVATE,
        }
        future = self._call(self._state, GetState.Request())
        self._follow("states", future)

        def ask(done: Future) -> None:
            if transition := towards.get(done.result().current_state.id):
                request = ChangeState.Request(transition=Transition(id=transition))
                self._follow("transitions", self._call(self._change, request))

        future.add_done_callback(ask)

    @property
    def unanswered(self) -> int:
        """Requests without an answer so far."""
        return sum(not future.done() for kind in self._pending.values() for future in kind)

    @property
    def unanswered_kinds(self) -> dict[str, int]:
        """How many of each kind."""
        counts = {
            kind: sum(not future.done() for future in futures)
            for kind, futures in self._pending.items()
        }
        return {kind: count for kind, count in counts.items() if count}

    # --- what is asked

    def _ask(self) -> None:
        task = self._random.choice(TASKS)
        if self._random.random() < 0.02:
            task = self._random.choice(FAULTS)
        request = SegmentImage.Request(tasks=[task], image=good_image(int(self._time)))
        self._follow("calls", self._call(self._segment, request))

    def _send_goal(self) -> None:
        if self._is_full("goals") or self._is_full("results"):
            return
        goal = FindAffordance.Goal(task=self._random.choice(TASKS), min_score=0.3, min_iou=0.5)
        goal.timeout = self._random.choice((0.2, 1.0, -1.0))
        goal.stable_frames = self._random.choice((0, 1, 3, 1000))
        future = self._goals.send_goal_async(goal)
        self._follow("goals", future)

        def accepted(done: Future) -> None:
            if done.result().accepted:
                self._follow("results", done.result().get_result_async())
                if self._random.random() < 0.3:
                    self._follow("cancellations", done.result().cancel_goal_async())

        future.add_done_callback(accepted)

    def _request_transition(self) -> None:
        (number,) = self._random.choices(list(TRANSITIONS), list(TRANSITIONS.values()))
        request = ChangeState.Request(transition=Transition(id=number))
        self._follow("transitions", self._call(self._change, request))

    def _set_parameter(self) -> None:
        name, value = self._random.choice(
            (
                ("overlay_alpha", ParameterValue(type=3, double_value=self._random.uniform(-1, 2))),
                ("task", ParameterValue(type=4, string_value=self._random.choice(TASKS))),
                ("rates", ParameterValue(type=8, double_array_value=[self._random.random()])),
                ("watchdog", ParameterValue(type=4, string_value="soon")),
                ("device", ParameterValue(type=4, string_value="cpu")),
            )
        )
        request = SetParameters.Request(parameters=[ParameterMessage(name=name, value=value)])
        self._follow("parameters", self._call(self._parameters, request))

    def _switch(self) -> None:
        request = SetBool.Request(data=self._random.random() < 0.8)
        self._follow("switches", self._call(self._enable, request))

    def _call(self, client, request) -> Future | None:
        """Ask, unless too many of this client's requests wait for an answer."""
        waiting = [one for one in self._pending.get(client.srv_name, []) if not one.done()]
        if len(waiting) >= IN_FLIGHT:
            return None
        future = client.call_async(request)
        self._pending[client.srv_name] = [*waiting, future]
        return future

    def _is_full(self, kind: str) -> bool:
        return sum(not future.done() for future in self._pending.get(kind, [])) >= IN_FLIGHT

    def _follow(self, kind: str, future: Future | None) -> None:
        """Count a request of this kind, and what it is answered."""
        if future is None:
            return
        self.counts[kind] += 1
        waiting = [one for one in self._pending.get(kind, []) if not one.done()]
        self._pending[kind] = [*waiting, future]
        future.add_done_callback(lambda done: self._count(kind, done.result()))

    def _count(self, kind: str, answer) -> None:
        is_positive = getattr(answer, "success", getattr(answer, "accepted", True))
        if kind == "parameters":
            is_positive = answer.results[0].successful
        if kind == "results":
            is_positive = answer.result.found
        self.counts["answers" if is_positive else "refusals"] += 1

    # --- what happens

    def _send_task(self) -> None:
        self._tasks.publish(String(data=self._random.choice((*TASKS, "", "x" * 2000))))

    def _disturb_clock(self) -> None:
        self._is_paused = self._random.random() < 0.3
        self._time = max(0.0, self._time + self._random.choice((0.0, 0.0, 30.0, -30.0, 3600.0)))
        self.counts["clock jumps"] += 1

    def _break_model(self) -> None:
        for child in self._process.children():
            with_harm = self._random.choice((child.kill, child.suspend))
            with_harm()
            self.counts["kills and stops"] += 1

    def _on_mask(self, message: Image) -> None:
        self.masks += 1

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.told = "; ".join(f"{status.name}: {status.message}" for status in message.status)
        for status in message.status:
            values = {value.key: value.value for value in status.values}
            self.restarts = max(self.restarts, int(values.get("model restarts", 0)))
