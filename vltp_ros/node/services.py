"""The node's services."""

from __future__ import annotations

from concurrent.futures import CancelledError

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_srvs.srv import SetBool

from vltp_ros.msg import Task
from vltp_ros.node import conversions
from vltp_ros.node.answers import Answers
from vltp_ros.node.cameras import Cameras
from vltp_ros.node.diagnostics import Health
from vltp_ros.node.inference import Frame
from vltp_ros.node.model import Model
from vltp_ros.node.qos import REQUESTS
from vltp_ros.node.tasks import ActiveTasks, checked_tasks
from vltp_ros.srv import SegmentImage


class SegmentService:
    """``~/segment``: the masks of one image, given or the newest one.

    Args:
        node: of the service.
        cameras: whose newest images can be asked about.
        model: that answers.
        health: is told why an image has no depth.
    """

    def __init__(self, node: Node, cameras: Cameras, model: Model, health: Health) -> None:
        self._cameras = cameras
        self._model = model
        self._health = health
        node.create_service(
            SegmentImage,
            "~/segment",
            self._answer,
            qos_profile=REQUESTS,
            callback_group=MutuallyExclusiveCallbackGroup(),  # in turn: each waits for the model
        )

    def _answer(
        self, request: SegmentImage.Request, response: SegmentImage.Response
    ) -> SegmentImage.Response:
        try:
            answers = self._segment(request)
        except CancelledError:
            response.message = "the model was freed before it could answer"
        except Exception as error:  # whatever one image does, the asker is to know
            response.message = str(error) or repr(error)
        else:
            response.success = True
            response.results = list(answers.full_messages())
            inference = answers.inference
            response.timing = conversions.to_timing(inference, inference.times_ms)
        return response

    def _segment(self, request: SegmentImage.Request) -> Answers:
        texts = checked_tasks(request.tasks, "tasks")
        if not texts:
            raise ValueError("tasks is empty; give at least one sentence")
        tasks = tuple(Task(id=number, text=text) for number, text in enumerate(texts))
        if request.image.width or request.image.height:
            return Answers(self._model.infer(Frame(request.image, "image"), tasks), self._health)
        camera = self._cameras.find(request.camera)
        newest = camera.newest
        if newest is None:
            raise ValueError(f"no image has come on {camera.topic} while the node was active")
        return camera.answers(self._model.infer(Frame(newest.message, newest.topic), tasks))


class EnableService:
    """``~/enable``: whether the node works on images; while it does not, it can still be asked."""

    def __init__(self, node: Node, tasks: ActiveTasks) -> None:
        self._node = node
        self._tasks = tasks
        node.create_service(SetBool, "~/enable", self._set)

    def _set(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._tasks.enabled = request.data
        response.success = True
        response.message = "enabled" if request.data else "disabled"
        self._node.get_logger().info(response.message)
        return response
