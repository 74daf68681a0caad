"""Publishes task sentences from a list, one after the other, as a planner would."""

from __future__ import annotations

import sys
from collections.abc import Collection

from rclpy.node import Node
from std_msgs.msg import String

from vltp_ros.msg import TaskList
from vltp_ros.node.parameters import Parameters
from vltp_ros.node.process import run
from vltp_ros.node.qos import LATCHED, NEWEST
from vltp_ros.rig.config import PlannerConfig


class Planner(Node):
    """Publishes ``task`` (std_msgs/String) every ``period`` seconds.

    The sentences come from the parameter ``tasks``, until a list comes on ``scene_tasks``
    (TaskList): then from that one, starting at once.
    """

    def __init__(self) -> None:
        super().__init__("planner")
        self._settings = Parameters(self, PlannerConfig)
        self._settings.apply = self._apply
        self._tasks = self._settings.config.tasks
        self._next = 0
        self._publisher = self.create_publisher(String, "task", NEWEST)
        self.create_subscription(TaskList, "scene_tasks", self._on_tasks, LATCHED)
        self._timer = self.create_timer(self._settings.config.period, self._publish)
        self._publish()

    def _apply(self, new: PlannerConfig, names: Collection[str]) -> None:
        if "tasks" in names:
            self._tasks, self._next = new.tasks, 0
        self._timer.timer_period_ns = int(new.period * 1e9)

    def _on_tasks(self, message: TaskList) -> None:
        if not message.tasks:
            self.get_logger().warning("scene_tasks: an empty list; the old one stays")
            return
        self._tasks, self._next = tuple(task.text for task in message.tasks), 0
        self._timer.reset()
        self._publish()

    def _publish(self) -> None:
        self._publisher.publish(String(data=self._tasks[self._next % len(self._tasks)]))
        self._next += 1


def main() -> int:
    """Run the planner until SIGINT or SIGTERM; return the exit status."""
    return run(Planner, PlannerConfig)


if __name__ == "__main__":
    sys.exit(main())
