"""What lies in or on what."""

from dataclasses import dataclass, replace

import numpy as np

from vltp_ros.simulation.crowded.scene import STANDING, Item, Pose, Relation, extent


@dataclass(frozen=True)
class Host:
    """Room in or on a form of an object, at nominal size; lengths in metres."""

    relation: Relation
    radius: float
    """Of the flat part."""
    height: float
    """Of the flat part."""
    rim: float = 0.0
    """Radius of the opening, where a curved wall reaches up to it."""
    depth: float = 0.0
    """How far that wall reaches up."""
    standing: bool = False
    """Whether long things stand in it, and nothing else lies in it."""


HOSTS: dict[tuple[str, str, str], Host] = {
    ("mug", "straight", "empty"): Host("inside", 0.036, 0.008, standing=True),
    ("mug", "wide", "empty"): Host("inside", 0.05, 0.008, standing=True),
    ("jug", "round", "empty"): Host("inside", 0.036, 0.008, standing=True),
    ("bowl", "round", "empty"): Host("inside", 0.034, 0.007, 0.08, 0.06),
    ("bowl", "flared", "empty"): Host("inside", 0.037, 0.007, 0.09, 0.05),
    ("pan", "frying", "empty"): Host("inside", 0.064, 0.006),
    ("pan", "sauce", "empty"): Host("inside", 0.06, 0.006),
    ("basket", "round", ""): Host("inside", 0.062, 0.008),
    ("basket", "square", ""): Host("inside", 0.062, 0.008),
    ("box", "carton", "open"): Host("inside", 0.056, 0.006),
    ("box", "lidded", "open"): Host("inside", 0.058, 0.006),
    ("box", "carton", "closed"): Host("on", 0.055, 0.0895),
    ("box", "lidded", "closed"): Host("on", 0.058, 0.1),
    ("book", "thick", "closed"): Host("on", 0.062, 0.043),
    ("book", "slim", "closed"): Host("on", 0.07, 0.017),
    ("tray", "oblong", ""): Host("on", 0.07, 0.008),
    ("tray", "oval", ""): Host("on", 0.064, 0.008),
    ("plate", "rimmed", ""): Host("on", 0.058, 0.006),
    ("plate", "square", ""): Host("on", 0.052, 0.006),
    ("towel", "folded", ""): Host("on", 0.056, 0.0445),
}
STANDING_LENGTH = (0.11, 0.26)  # metres: shorter things drown in a vessel, longer ones tip it


def host_of(item: Item) -> Host | None:
    """Return the room that an object offers, or None."""
    return HOSTS.get((item.kind, item.form, item.state)) if item.pose == "upright" else None


def rest(guest: Item, host: Item) -> tuple[Pose, float] | None:
    """Return the pose and the height above the host's foot at which a guest rests, or None."""
    room = host_of(host)
    if room is None:
        return None
    if room.standing:
        length = extent(replace(guest, pose="upright")).max()
        long = STANDING_LENGTH[0] < length < STANDING_LENGTH[1]
        fits = guest.kind in STANDING and long
        return ("standing", room.height * host.size) if fits else None
    radius = float(np.hypot(*extent(guest)[:2])) / 2 / host.size
    if room.relation == "on":
        small = radius < 1.25 * room.radius
        return (guest.pose, room.height * host.size) if small else None
    if radius <= room.radius:
        return guest.pose, room.height * host.size
    if room.rim and radius < 0.9 * room.rim:
        up = room.depth * ((radius - room.radius) / (room.rim - room.radius)) ** 2
        return guest.pose, (room.height + up) * host.size
    return None
