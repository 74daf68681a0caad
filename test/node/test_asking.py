"""Asking the node: services and the action."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import rclpy
from action_msgs.msg import GoalStatus
from bench import PIXELS, Camera, diagnosis, good_image, start
from builtin_interfaces.msg import Time
from rclpy.action import ActionClient
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool

from vltp_ros.action import FindAffordance
from vltp_ros.imaging.images import to_rgb
from vltp_ros.node.action import MAX_GOALS
from vltp_ros.node.conversions import to_image
from vltp_ros.node.qos import REQUESTS
from vltp_ros.srv import SegmentImage


def segment(bench, *tasks, **request):
    request = SegmentImage.Request(tasks=list(tasks), **request)
    return bench.call(SegmentImage, "vltp/segment", request)


def test_an_image_given_is_segmented_without_any_task_or_camera(bench, vltp):
    vltp.trigger_configure()
    answer = segment(bench, " cut ", "pour", image=good_image(5))
    assert answer.success and not answer.message
    assert [(result.id, result.task) for result in answer.results] == [(0, "cut"), (1, "pour")]
    assert answer.results[0].header == good_image(5).header
    mask = to_rgb(answer.results[0].mask, "mask")
    np.testing.assert_array_equal(mask, 255 * (PIXELS[..., [0, 0, 0]] > 0))
    assert [task.text for task in answer.timing.tasks] == ["cut", "pour"]
    assert [stage.name for stage in answer.timing.stages] == ["queue", "convert", "encode"]


def test_the_newest_image_is_segmented(bench, make_vltp):
    start(make_vltp(cameras=["front", "wrist"]), task="rest")
    answer = segment(bench, "cut", camera="wrist")
    assert not answer.success and "no image has come on /wrist/image" in answer.message
    masks = bench.listen(Image, "vltp/wrist/mask")
    bench.wait(lambda: masks, meanwhile=Camera(bench, "wrist/image"))
    answer = segment(bench, "cut", camera="/wrist")
    assert answer.success and answer.results[0].header.stamp.sec >= 1


def test_a_camera_that_is_deactivated_while_it_is_asked(bench, vltp):
    start(vltp)
    vltp._cameras.find("").unsubscribe()  # as deactivation does, between finding it and asking it
    answer = segment(bench, "cut")
    assert not answer.success
    assert answer.message == "the node was deactivated meanwhile; it has to be active"


@pytest.mark.parametrize(
    ("tasks", "request_", "words"),
    [
        ([], {}, "tasks is empty"),
        (["  "], {}, "must be a sentence"),
        (["x"] * 17, {}, "at most 16"),
        (["cut"], {"camera": "left"}, "camera is 'left'"),
        (["cut"], {"image": Image(width=4, height=4, encoding="rgb8")}, "image: step is 0"),
        (["cut"], {"image": Image(width=4, height=4, encoding="h264")}, "'h264' is unknown"),
        (["break"], {"image": good_image(1)}, "broken on request"),
    ],
)
def test_refused_requests(bench, vltp, tasks, request_, words):
    start(vltp)
    answer = segment(bench, *tasks, **request_)
    assert not answer.success and words in answer.message and not answer.results


def test_a_node_without_a_model_says_so(bench, vltp):
    answer = segment(bench, "cut", image=good_image(1))
    assert not answer.success and "the node is unconfigured" in answer.message


def test_a_request_ends_when_the_model_is_freed(bench, vltp):
    vltp.trigger_configure()
    gate, begun, answers = threading.Event(), threading.Event(), []
    vltp._model._worker.ask(lambda session: begun.set() or gate.wait(20))
    assert begun.wait(10)
    asking = threading.Thread(
        target=lambda: answers.append(segment(bench, "cut", image=good_image(1)))
    )
    ending = threading.Thread(target=vltp.trigger_cleanup)
    asking.start()
    bench.wait(lambda: vltp._model._worker._inbox._queue)
    ending.start()
    bench.wait(lambda: answers)
    gate.set()
    for thread in (asking, ending):
        thread.join()
    assert "freed" in answers[0].message


def test_disabled_the_node_rests_but_can_be_asked(bench, vltp, camera):
    start(vltp)
    masks = bench.listen(Image, "vltp/mask")
    bench.wait(lambda: masks, meanwhile=camera)
    assert bench.call(SetBool, "vltp/enable", SetBool.Request(data=False)).success
    diagnosis(bench, lambda status: status.message == "disabled")
    masks.clear()
    for _ in range(5):
        camera()
    assert segment(bench, "cut").success
    assert not masks
    assert bench.call(SetBool, "vltp/enable", SetBool.Request(data=True)).success
    bench.wait(lambda: masks, meanwhile=camera)


class Search:
    """A goal, and what comes of it."""

    def __init__(self, bench, **goal):
        self.bench, self.feedback = bench, []
        self.client = bench.action_client(FindAffordance, "vltp/find_affordance")
        sent = self.client.send_goal_async(
            FindAffordance.Goal(**{"task": "cut", "timeout": 30.0} | goal),
            feedback_callback=lambda message: self.feedback.append(message.feedback),
        )
        bench.wait(sent.done)
        self.handle = sent.result()

    def answer(self, meanwhile=lambda: None):
        """Status and result, once there is one."""
        future = self.handle.get_result_async()
        self.bench.wait(future.done, seconds=30, meanwhile=meanwhile)
        return future.result().status, future.result().result


def test_a_search_reports_when_masks_agree(bench, vltp, camera):
    start(vltp, task="something else")
    search = Search(bench, task=" cut ", stable_frames=3)
    status, result = search.answer(meanwhile=camera)
    assert status == GoalStatus.STATUS_SUCCEEDED and result.found
    assert result.affordance.task == "cut" and result.affordance.area == 200
    assert 1 <= result.affordance.header.stamp.sec <= camera.sent
    assert [feedback.stable_frames for feedback in search.feedback][-1] == 3
    assert search.feedback[0].iou == 0 and search.feedback[-1].iou == 1


def test_a_search_reports_the_thing_that_stayed(bench, vltp):
    """Of two things that serve, one is in every other image alone."""

    def flickering(second):
        pixels = PIXELS.copy()
        if second % 2:
            pixels[30:45, 5:20, 0] = 200
        return to_image(pixels, Header(stamp=Time(sec=second), frame_id="eye"))

    start(vltp)
    camera = Camera(bench, make=flickering)
    status, result = Search(bench, stable_frames=4).answer(meanwhile=camera)
    assert status == GoalStatus.STATUS_SUCCEEDED and result.found
    box, mask = result.instance.box, result.instance.mask
    assert (box.x_offset, box.y_offset, box.width, box.height) == (30, 10, 20, 10)
    assert (mask.width, mask.height, set(mask.data)) == (20, 10, {255})
    assert result.instance.id in {instance.id for instance in result.affordance.instances}
    assert not result.instance.located


def test_what_is_asked_once_is_told_apart_and_not_followed(bench, vltp):
    vltp.trigger_configure()
    pixels = PIXELS.copy()
    pixels[30:45, 5:20, 0] = 200
    answer = segment(bench, "cut", image=to_image(pixels, Header(frame_id="eye")))
    (result,) = answer.results
    assert [(i.id, i.area) for i in result.instances] == [(0, 200), (0, 225)]
    assert result.area == 425 and result.mask.width == 64


def test_a_search_works_while_the_node_has_no_task_or_is_disabled(bench, vltp, camera):
    start(vltp)
    bench.call(SetBool, "vltp/enable", SetBool.Request(data=False))
    masks = bench.listen(Image, "vltp/mask")
    assert Search(bench).answer(meanwhile=camera)[1].found
    assert not masks


def test_a_search_for_what_the_model_refuses_ends_at_once(bench, vltp, camera):
    start(vltp, task="cut")
    masks = bench.listen(Image, "vltp/mask")
    status, result = Search(bench, task="refuse me").answer(meanwhile=camera)
    assert status == GoalStatus.STATUS_ABORTED and result.message == "task is refused on request"
    bench.wait(lambda: masks, meanwhile=camera)


def test_a_search_ends_after_its_time(bench, vltp, camera):
    start(vltp)
    status, result = Search(bench, min_score=0.9, timeout=1.5).answer(meanwhile=camera)
    assert status == GoalStatus.STATUS_ABORTED and not result.found
    assert "no 3 masks agreed within 1.5 s" in result.message
    assert result.affordance.score == 0.5


def test_a_search_can_be_cancelled(bench, vltp, camera):
    start(vltp)
    search = Search(bench, min_score=0.9)
    bench.wait(lambda: search.feedback, meanwhile=camera)
    bench.wait(search.handle.cancel_goal_async().done)
    status, result = search.answer()
    assert status == GoalStatus.STATUS_CANCELED and result.message == "cancelled"
    bench.wait(lambda: not vltp._cameras._cameras[0].is_watched)


def test_a_search_whose_client_is_gone_ends(bench, vltp):
    start(vltp)
    searcher = rclpy.create_node("searcher", context=bench.context)
    client = ActionClient(searcher, FindAffordance, "vltp/find_affordance")
    bench.add(searcher)
    assert client.wait_for_server(10)
    client.send_goal_async(FindAffordance.Goal(task="cut", timeout=3000.0))
    bench.wait(lambda: vltp._cameras._cameras[0].is_watched)
    client.destroy()
    diagnosis(bench, lambda status: "nobody listens to the feedback" in status.message)
    bench.wait(lambda: not vltp._cameras._cameras[0].is_watched)


def test_deactivating_ends_searches(bench, vltp):
    start(vltp)
    search = Search(bench)
    bench.wait(lambda: vltp._cameras._cameras[0].is_watched)
    vltp.trigger_deactivate()
    status, result = search.answer()
    assert status == GoalStatus.STATUS_ABORTED and "deactivated" in result.message


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ({"task": " "}, "must be a sentence"),
        ({"timeout": 0.0}, "timeout is 0.0"),
        ({"timeout": float("inf")}, "timeout is inf; it must be above 0 and at most 3600 s"),
        ({"min_iou": 1.5}, "min_iou is 1.5"),
        ({"min_score": float("nan")}, "min_score is nan"),
        ({"stable_frames": 0}, "stable_frames is 0"),
        ({"camera": "left"}, "camera is 'left'"),
    ],
)
def test_refused_goals(bench, vltp, goal, words):
    start(vltp)
    assert not Search(bench, **goal).handle.accepted
    diagnosis(bench, lambda status: words in status.message)


def test_of_too_many_goals_at_once_the_last_are_refused(bench, vltp):
    start(vltp)
    client = bench.action_client(FindAffordance, "vltp/find_affordance")
    goal = FindAffordance.Goal(task="cut", timeout=30.0)
    sent = [client.send_goal_async(goal) for _ in range(MAX_GOALS + 2)]
    bench.wait(lambda: all(one.done() for one in sent))
    assert sum(one.result().accepted for one in sent) == MAX_GOALS
    diagnosis(bench, lambda status: f"{MAX_GOALS} goals are being followed" in status.message)
    vltp.trigger_deactivate()
    bench.wait(lambda: not vltp._cameras._cameras[0].is_watched)
    vltp.trigger_activate()
    bench.wait(lambda: Search(bench).handle.accepted)
    vltp.trigger_deactivate()


def test_goals_are_refused_while_the_node_is_not_active(bench, vltp):
    assert not Search(bench).handle.accepted
    assert "has to be active" in vltp.health._error


def test_of_many_calls_at_once_each_is_answered(bench, vltp):
    vltp.trigger_configure()
    segment(bench, "cut", image=good_image(1))  # client and service know each other
    client = bench.node.create_client(SegmentImage, "vltp/segment", qos_profile=REQUESTS)
    bench.wait(client.service_is_ready)
    bench.wait_until_known(client.srv_name, 2)
    request = SegmentImage.Request(tasks=["cut"], image=good_image(1))
    calls = [client.call_async(request) for _ in range(60)]
    bench.wait(lambda: all(call.done() for call in calls))
    assert all(call.result().success for call in calls)


def test_of_many_goals_at_once_each_is_accepted_or_refused(bench, vltp):
    start(vltp)
    client = bench.action_client(FindAffordance, "vltp/find_affordance")
    goal = FindAffordance.Goal(task="cut", timeout=1.0, min_score=0.5, min_iou=0.5, stable_frames=1)
    sent = [client.send_goal_async(goal) for _ in range(20)]
    bench.wait(lambda: all(answer.done() for answer in sent))
    accepted = [answer.result() for answer in sent if answer.result().accepted]
    assert len(accepted) == MAX_GOALS
    results = [handle.get_result_async() for handle in accepted]
    bench.wait(lambda: all(result.done() for result in results))
    assert all("no 1 masks agreed" in answer.result().result.message for answer in results)
