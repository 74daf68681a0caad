"""The tasks that images are segmented for."""

from __future__ import annotations

import copy
import functools
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.subscription import Subscription
from std_msgs.msg import Header, String

from vltp_ros.msg import Task, TaskList
from vltp_ros.node.config import MAX_TASKS
from vltp_ros.node.diagnostics import Health
from vltp_ros.node.qos import LATCHED, NEWEST, OUTPUT_OVERRIDES, TASK_OVERRIDES
from vltp_ros.runtime.checks import check_task


class ActiveTasks:
    """The tasks that came last, by parameter, on ``task`` or on ``tasks``.

    Published latched on ``~/active_tasks``. Who publishes latched is heard by a node that comes
    later: of each topic a latched message counts until another one has come, and once.

    Args:
        node: of the topics.
        health: is told of tasks that are refused.
    """

    def __init__(self, node: Node, health: Health) -> None:
        self._node = node
        self._health = health
        self._count = 0  # of sentences that came without a number
        self._publisher = node.create_publisher(
            TaskList,
            "~/active_tasks",
            copy.copy(LATCHED),
            qos_overriding_options=OUTPUT_OVERRIDES,
        )
        self._topics = {
            node.resolve_topic_name(name): (kind, take)
            for name, kind, take in (
                ("task", String, self._on_task),
                ("tasks", TaskList, self._on_tasks),
            )
        }
        self._lock = threading.Lock()  # for the subscriptions, which a timer adds to
        self._group: CallbackGroup | None = None  # None: nobody listens
        self._inputs: list[Subscription] = []
        self._latched: set[str] = set()  # topics of which latched messages are heard
        self._is_heard: set[str] = set()  # topics on which a message came since the subscription
        self._known: defaultdict[str, deque] = defaultdict(lambda: deque(maxlen=MAX_TASKS))
        self.current: tuple[Task, ...] = ()
        self.enabled = True  # while it is not, images are not worked on

    @property
    def wanted(self) -> tuple[Task, ...]:
        """The tasks that images are to be segmented for, and the answers published."""
        return self.current if self.enabled else ()

    def subscribe(self, group: CallbackGroup) -> None:
        """Listen on both topics."""
        self._is_heard.clear()
        with self._lock:
            self._group = group
            for topic, (kind, take) in self._topics.items():
                self._listen(topic, kind, functools.partial(self._hear, topic, take), NEWEST)
        self.look_for_latched()

    def look_for_latched(self) -> None:
        """Hear the latched messages of topics that somebody publishes so.

        Not of others: a subscription that asks for them hears no publisher that has none, and
        makes it warn of that.
        """
        with self._lock:
            if self._group is None:
                return
            for topic, (kind, take) in self._topics.items():
                if topic not in self._latched and self._is_latched(topic):
                    self._latched.add(topic)
                    hear = functools.partial(self._hear_latched, topic, take)
                    self._listen(topic, kind, hear, LATCHED)

    def _is_latched(self, topic: str) -> bool:
        offered = [info.qos_profile for info in self._node.get_publishers_info_by_topic(topic)]
        return any(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in offered)

    def _listen(self, topic: str, kind: type, hear: Callable, quality: QoSProfile) -> None:
        self._inputs.append(
            self._node.create_subscription(
                kind,
                topic,
                hear,
                copy.copy(quality),
                callback_group=self._group,
                qos_overriding_options=TASK_OVERRIDES,
            )
        )

    def unsubscribe(self) -> None:
        """Stop listening; the tasks stay."""
        with self._lock:
            for subscription in self._inputs:
                self._node.destroy_subscription(subscription)
            self._group = None
            self._inputs.clear()
            self._latched.clear()

    def set_sentence(self, text: str) -> None:
        """Work on this sentence alone, which gets a new number unless it is the one at work."""
        if [task.text for task in self.current] != [text]:
            self._count += 1
            self._set((Task(id=self._count, text=text),))

    def _set(self, tasks: tuple[Task, ...]) -> None:
        if tasks == self.current:
            return
        self.current = tasks
        header = Header(stamp=self._node.get_clock().now().to_msg())
        self._publisher.publish(TaskList(header=header, tasks=tasks))
        named = "; ".join(f"{task.id}: {task.text}" for task in tasks)
        self._node.get_logger().info(f"tasks: {named or 'none'}")

    def _hear(self, topic: str, take: Callable[[Any, str], None], message: Any) -> None:
        self._is_heard.add(topic)
        self._known[topic].append(message)
        take(message, topic)

    def _hear_latched(self, topic: str, take: Callable[[Any, str], None], message: Any) -> None:
        """Take what was published before the node listened, unless it did so before.

        All else is heard anyway. A node that is activated again keeps the tasks that came since.
        """
        if topic not in self._is_heard and message not in self._known[topic]:
            self._known[topic].append(message)
            take(message, topic)

    def _on_task(self, message: String, topic: str) -> None:
        try:
            self.set_sentence(checked_task(message.data, topic))
        except ValueError as error:
            self._health.warn(str(error))

    def _on_tasks(self, message: TaskList, topic: str) -> None:
        try:
            texts = checked_tasks([task.text for task in message.tasks], topic)
        except ValueError as error:
            self._health.warn(str(error))
        else:
            ids = [task.id for task in message.tasks]
            self._set(tuple(Task(id=i, text=t) for i, t in zip(ids, texts, strict=True)))


def checked_task(text: str, source: str) -> str:
    """Return a task without the space around it. Raises ValueError naming ``source``."""
    try:
        return check_task(text)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def checked_tasks(texts: Sequence[str], source: str) -> list[str]:
    """Return tasks as :func:`checked_task` does. Raises ValueError for too many, too."""
    if len(texts) > MAX_TASKS:
        raise ValueError(f"{source}: {len(texts)} tasks; at most {MAX_TASKS} are allowed")
    return [checked_task(text, source) for text in texts]
