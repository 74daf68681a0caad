"""All cameras of the node."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.callback_groups import CallbackGroup
from rclpy.lifecycle import LifecycleNode

from vltp_ros.node.camera import Camera
from vltp_ros.node.config import NodeConfig
from vltp_ros.node.diagnostics import Health
from vltp_ros.node.model import Model
from vltp_ros.node.parameters import Parameters
from vltp_ros.node.tasks import ActiveTasks


class Cameras:
    """The cameras that the parameters name, from :meth:`create` to :meth:`destroy`."""

    def __init__(
        self,
        node: LifecycleNode,
        parameters: Parameters[NodeConfig],
        tasks: ActiveTasks,
        health: Health,
        model: Model,
    ) -> None:
        self._node = node
        self._parameters = parameters
        self._tasks = tasks
        self._health = health
        self._model = model
        self._cameras: tuple[Camera, ...] = ()

    def create(self) -> None:
        """Create the cameras and their publishers. Raises NoModelError while no model is loaded."""
        for name in self._parameters.config.cameras or ("",):
            slot = self._model.slot()
            camera = Camera(self._node, name, self._parameters, self._tasks, self._health, slot)
            self._cameras = (*self._cameras, camera)  # one by one: the next may fail

    def destroy(self) -> None:
        """Take the cameras and their publishers down."""
        cameras, self._cameras = self._cameras, ()
        for camera in cameras:
            camera.destroy()

    def subscribe(self, group: CallbackGroup) -> None:
        """Listen to all cameras."""
        for camera in self._cameras:
            camera.subscribe(group)

    def unsubscribe(self) -> None:
        """Stop listening, and forget the images that wait for the model."""
        for camera in self._cameras:
            camera.unsubscribe()
        self._model.clear()

    def close(self) -> None:
        """End all waiting for answers."""
        for camera in self._cameras:
            camera.close()

    def find(self, name: str) -> Camera:
        """Return the camera of a name, the first one for none.

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

    def statuses(self) -> list[DiagnosticStatus]:
        """Return the diagnostic status of each camera."""
        return [camera.status() for camera in self._cameras]
