"""Find what serves a task, and say where to grasp it: the first half of a pick.

    python3 docs/examples/pick.py "something to drive a nail"
    python3 docs/examples/pick.py "something to drive a nail" --ros-args -r __ns:=/lab

The vltp node has depth (depth:=TOPIC of its launch file). The exit status is 0 where the thing was
found, 1 where not. As a leaf of a behaviour tree this is an action node: RUNNING while feedback
comes, SUCCESS or FAILURE by `found`; halting it cancels the goal.
"""

from __future__ import annotations

import sys

import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

from vltp_ros.action import FindAffordance

WAIT_SECONDS = 10.0  # for the node, and for its answer to the goal


def find(node: Node, task: str) -> FindAffordance.Result:
    """Return the search's result; RuntimeError when there is none."""
    client = ActionClient(node, FindAffordance, "vltp/find_affordance")
    if not client.wait_for_server(WAIT_SECONDS):
        raise RuntimeError("no vltp node answers; is it in this namespace?")
    goal = FindAffordance.Goal(task=task, timeout=10.0, stable_frames=3)
    sent = client.send_goal_async(goal, lambda message: report(node, message.feedback))
    rclpy.spin_until_future_complete(node, sent, timeout_sec=WAIT_SECONDS)
    if not sent.done() or not sent.result().accepted:
        raise RuntimeError("the goal was refused; /diagnostics says why")
    answer = sent.result().get_result_async()
    rclpy.spin_until_future_complete(node, answer)
    return answer.result().result


def report(node: Node, feedback: FindAffordance.Feedback) -> None:
    """Log how far the search is."""
    frames, seconds = feedback.stable_frames, feedback.seconds
    node.get_logger().info(f"{frames} images in a row agree after {seconds:.1f} s")


def grasp_pose(result: FindAffordance.Result) -> PoseStamped:
    """Return where to grasp, in the frame of the camera and at the time of its image.

    Along z the gripper approaches, along y its fingers close.
    """
    # The camera's frame is all that the node knows. Who moves the arm transforms: at this stamp,
    # since the camera may have moved meanwhile, and into a frame that does not move with it.
    #     import tf2_geometry_msgs                             # teaches tf2 PoseStamped
    #     buffer = tf2_ros.Buffer()                            # once, when the planner starts
    #     listener = tf2_ros.TransformListener(buffer, node)
    #     pose = buffer.transform(pose, "base_link", timeout=Duration(seconds=0.5))
    # MoveIt takes the PoseStamped as it is, and looks the frame up itself.
    return PoseStamped(header=result.affordance.header, pose=result.instance.pose)


def main() -> int:
    """Ask, print the answer, and return the exit status."""
    rclpy.init(args=sys.argv)
    node = rclpy.create_node("picker")
    try:
        result = find(node, " ".join(remove_ros_args(sys.argv)[1:]))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    if not result.found:
        print(f"not found: {result.message}", file=sys.stderr)
        return 1
    thing = result.instance
    if not thing.located:
        x, y = thing.centroid_x, thing.centroid_y
        print(f"found at column {x:.0f} and row {y:.0f} of the image, but depth is missing there")
        return 1
    pose = grasp_pose(result)
    at, turn = pose.pose.position, pose.pose.orientation
    print(f"score {thing.score:.2f}, in {pose.header.frame_id}")
    print(f"position {at.x:.3f} {at.y:.3f} {at.z:.3f} m")
    print(f"orientation {turn.x:.3f} {turn.y:.3f} {turn.z:.3f} {turn.w:.3f}")
    print(f"open the gripper wider than {thing.extent.y:.3f} m")
    return 0


if __name__ == "__main__":
    sys.exit(main())
