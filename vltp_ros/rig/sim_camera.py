"""A camera in front of simulated tabletop scenes."""

from __future__ import annotations

import sys

from rclpy.node import Node
from rclpy.time import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from vltp_ros.msg import Task, TaskList
from vltp_ros.node.conversions import to_image
from vltp_ros.node.parameters import Parameters
from vltp_ros.node.process import run
from vltp_ros.node.qos import LATCHED, NEWEST
from vltp_ros.rig.config import CameraConfig
from vltp_ros.simulation import Scene, SceneRenderer, sample_scene


class SimCamera(Node):
    """Publishes ``image`` (rgb8) and, with each new scene, ``scene_tasks`` (TaskList).

    The tasks are sentences that something in the scene answers, first those that most things do.
    """

    def __init__(self) -> None:
        super().__init__("sim_camera")
        self._settings = Parameters(self, CameraConfig)
        config = self._settings.config
        self._images = self.create_publisher(Image, "image", NEWEST)
        self._tasks = self.create_publisher(TaskList, "scene_tasks", LATCHED)
        self._renderer = SceneRenderer(config.width, config.height)
        self._seed = config.seed
        self._scene: Scene | None = None
        self._scene_start = self.get_clock().now()
        self.create_timer(1 / config.rate, self._publish)

    def destroy_node(self) -> None:
        """Free the renderer too."""
        self._renderer.close()
        super().destroy_node()

    def _publish(self) -> None:
        now = self.get_clock().now()
        header = Header(stamp=now.to_msg(), frame_id=self._settings.config.frame_id)
        if self._scene is None or self._seconds(now) >= self._settings.config.scene_seconds:
            self._scene = self._next_scene(header)
            self._scene_start = now
        image = self._renderer.view(self._scene, self._seconds(now))
        self._images.publish(to_image(image, header))

    def _seconds(self, now: Time) -> float:
        """Return how long the scene has been in view."""
        return (now - self._scene_start).nanoseconds * 1e-9

    def _next_scene(self, header: Header) -> Scene:
        """Take the next seed's scene in which something serves a task, and publish which tasks."""
        while True:
            scene = sample_scene(self._seed, self._settings.config.split)
            queries = self._renderer.render(scene).queries
            served = [query for query in queries if query.objects]
            served.sort(key=lambda query: -len(query.objects))
            self._seed += 1
            if served:
                tasks = [Task(id=number, text=query.text) for number, query in enumerate(served)]
                self._tasks.publish(TaskList(header=header, tasks=tasks))
                return scene


def main() -> int:
    """Run the camera until SIGINT or SIGTERM; return the exit status."""
    return run(SimCamera, CameraConfig)


if __name__ == "__main__":
    sys.exit(main())
