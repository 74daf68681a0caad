"""The tasks that images are segmented for."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from std_msgs.msg import Header, String

from vltp_ros.msg import Task, TaskList
from vltp_ros.node.config import MAX_TASKS
from vltp_ros.node.diagnostics import Health
from vltp_ros.node.qos import LATCHED, NEWEST
from vltp_ros.runtime.checks import check_task


class ActiveTasks:
    """The tasks that came last, by parameter, on ``task`` or on ``tasks``.

    Published latched on ``~/active_tasks``.

    Args:
        node: of the topics.
        health: is told of tasks that are refused.
    """

    def __init__(self, node: Node, health: Health) -> None:
        self._node = node
        self._health = health
        self._count = 0  # of sentences that came without a number
        self._publisher = node.create_publisher(TaskList, "~/active_tasks", LATCHED)
        self._inputs: tuple = ()
        self.current: tuple[Task, ...] = ()
        self.enabled = True  # while it is not, images are not worked on

    @property
    def wanted(self) -> tuple[Task, ...]:
        """The tasks that images are to be segmented for, and the answers published."""
        return self.current if self.enabled else ()

    def subscribe(self, group: CallbackGroup) -> None:
        """Listen on both topics."""
        self._inputs = (
            self._node.create_subscription(
                String, "task", self._on_task, NEWEST, callback_group=group
            ),
            self._node.create_subscription(
                TaskList, "tasks", self._on_tasks, NEWEST, callback_group=group
            ),
        )

    def unsubscribe(self) -> None:
        """Stop listening; the tasks stay."""
        for subscription in self._inputs:
            self._node.destroy_subscription(subscription)
        self._inputs = ()

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

    def _on_task(self, message: String) -> None:
        try:
            self.set_sentence(checked_task(message.data, self._inputs[0].topic_name))
        except ValueError as error:
            self._health.warn(str(error))

    def _on_tasks(self, message: TaskList) -> None:
        try:
            texts = [task.text for task in message.tasks]
            texts = checked_tasks(texts, self._inputs[1].topic_name)
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
