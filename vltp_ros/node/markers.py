"""Poses and extents as RViz shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from geometry_msgs.msg import Point, Pose, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from vltp_ros.msg import Affordance3D

LABEL_SIZE = 0.03  # metres
MIN_SIDE = 0.002  # metres, so that a flat thing can be seen
BOX_ALPHA = 0.4


def to_markers(
    affordances: Sequence[Affordance3D], colours: Mapping[int, np.ndarray], header: Header
) -> MarkerArray:
    """Return box, label and an arrow along the approach for each, in place of the old markers.

    Args:
        affordances: what is to be seen.
        colours: of each instance, uint8 [3] RGB.
        header: of the message that takes the old ones away.
    """
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for affordance in affordances:
        markers += _of(affordance, colours[affordance.instance])
    return MarkerArray(markers=markers)


def _of(affordance: Affordance3D, colour: np.ndarray) -> list[Marker]:
    """Return the markers of one."""
    red, green, blue = (float(value) / 255 for value in colour)
    common = {"header": affordance.header, "id": affordance.instance}
    extent, pose = affordance.extent, affordance.pose
    sides = (max(side, MIN_SIDE) for side in (extent.x, extent.y, extent.z))
    above = pose.position.y - LABEL_SIZE - max(extent.x, extent.y) / 2  # y is down
    box = Marker(
        ns="box",
        type=Marker.CUBE,
        pose=pose,
        scale=Vector3(**dict(zip("xyz", sides, strict=True))),
        color=ColorRGBA(r=red, g=green, b=blue, a=BOX_ALPHA),
        **common,
    )
    label = Marker(
        ns="label",
        type=Marker.TEXT_VIEW_FACING,
        pose=Pose(position=Point(x=pose.position.x, y=above, z=pose.position.z)),
        scale=Vector3(z=LABEL_SIZE),
        color=ColorRGBA(r=red, g=green, b=blue, a=1.0),
        text=f"{affordance.task} #{affordance.instance} {affordance.score:.2f}",
        **common,
    )
    approach = Marker(
        ns="approach",
        type=Marker.ARROW,
        points=[Point(), pose.position],
        scale=Vector3(x=0.004, y=0.012, z=0.02),  # shaft, head, its length: metres
        color=ColorRGBA(r=red, g=green, b=blue, a=1.0),
        **common,
    )
    return [box, label, approach]
