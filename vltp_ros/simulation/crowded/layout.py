"""Finding room for objects: on boards, side by side, and in or on each other."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from vltp_ros.simulation.camera import Camera, Vector
from vltp_ros.simulation.crowded.forms import NO_KIND
from vltp_ros.simulation.crowded.hosts import host_of, rest
from vltp_ros.simulation.crowded.scene import STANDING, Board, Item, Support, extent, hull
from vltp_ros.simulation.meshes import rotation

CELL = 0.011  # metres along each side of a cell of the map of what is taken
REACH = 0.5  # metres from the middle of the support that the map covers
CELLS = round(2 * REACH / CELL)
SPOTS = 64  # free cells looked at for one object
CROWD_SHARE = 0.8  # chance that an object is put where it touches most of the others
GUESTS = 8  # objects that are put in or on others, where these have room
GUEST_REACH = 0.13  # metres: larger things are no guests
MARGIN = 12  # pixels between an object's foot and the edge of the image


class Room:
    """What is taken of a board."""

    def __init__(self, board: Board, support: Support, camera: Camera) -> None:
        """Start with an empty board; only what the camera sees of it is offered."""
        self.board = board
        self.camera = camera
        self.turned = rotation("z", support.yaw)
        self.yaw = support.yaw
        along = (np.arange(CELLS) + 0.5) * CELL - REACH
        inside = [
            (along > low) & (along < high) for low, high in zip(board.low, board.high, strict=True)
        ]
        self.taken = (~(inside[1][:, None] & inside[0])).astype(np.float32)
        x, y = np.meshgrid(along, along)
        points = np.stack([x, y, np.full_like(x, board.height)], -1)
        self.points = points @ self.turned.T
        self.in_view = self._seen(self.points)

    def place(self, rng: np.random.Generator, item: Item) -> Item | None:
        """Return the object where it has room, or None; its place is taken from then on."""
        shadow = footprint(item, item.yaw - self.yaw)
        overlap = _correlate(self.taken, shadow)
        free = np.flatnonzero((overlap < 0.5) & self.in_view)
        free = rng.permutation(free)[:SPOTS]
        tops = self.points.reshape(-1, 3)[free] + (0, 0, float(extent(item)[2]))
        free = free[self._seen(tops)]
        if not len(free):
            return None
        best = 0
        if item.kind == NO_KIND:  # fills the largest gap
            gaps = cv2.distanceTransform((self.taken == 0).astype(np.uint8), cv2.DIST_L2, 3)
            best = int(gaps.ravel()[free].argmax())
        elif rng.random() < CROWD_SHARE:
            around = cv2.dilate(shadow, np.ones((5, 5), np.float32))
            best = int(_correlate(self.taken, around).ravel()[free].argmax())
        row, column = divmod(int(free[best]), CELLS)
        half = shadow.shape[0] // 2
        rows, columns = (slice(max(at - half, 0), at + half + 1) for at in (row, column))
        part = self.taken[rows, columns]
        top, left = max(half - row, 0), max(half - column, 0)
        part[:] = np.maximum(part, shadow[top:, left:][: part.shape[0], : part.shape[1]])
        x, y, z = self.points[row, column].tolist()
        return replace(item, position=(x, y, z))

    def _seen(self, points: np.ndarray) -> np.ndarray:
        """Return which of the points [..., 3] the image shows, with a margin."""
        pixels = self.camera.project(points.reshape(-1, 3))
        inside = (pixels > MARGIN) & (
            pixels < np.array([self.camera.width, self.camera.height]) - MARGIN
        )
        return inside.all(-1).reshape(points.shape[:-1])


def footprint(item: Item, yaw: float) -> np.ndarray:
    """Return the cells that an object stands on, float32 [K, K], K odd, turned by an angle."""
    flat = hull(item.kind, item.form, item.state, item.pose)
    flat = flat @ rotation("z", yaw)[:2, :2].T * (item.size / CELL)
    half = int(np.ceil(np.abs(flat).max())) + 1
    mask = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    cv2.fillConvexPoly(mask, np.round(flat + half).astype(np.int32), (1.0,))
    return mask


def _correlate(taken: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return how much of what is taken a mask covers, at each cell that its middle may be at."""
    return cv2.filter2D(taken, cv2.CV_32F, mask, borderType=cv2.BORDER_REPLICATE)


def nest(rng: np.random.Generator, guest: Item, hosts: list[tuple[int, Item]]) -> Item | None:
    """Return an object in or on the first host, of (index, object), that has room for it."""
    for index, host in hosts:
        resting = rest(guest, host)
        room = host_of(host)
        if resting is None or room is None:
            continue
        pose, height = resting
        x, y, z = host.position
        yaw = float(rng.uniform(-np.pi, np.pi))
        place: Vector = (x, y, z + height)
        return replace(
            guest, pose=pose, position=place, yaw=yaw, host=index, relation=room.relation
        )
    return None


def lay_out(
    rng: np.random.Generator,
    items: Sequence[Item],
    needed: int,
    most: int,
    support: Support,
    camera: Camera,
) -> list[Item]:
    """Place objects on a support, leaving out what finds no room.

    Args:
        rng: draws the places.
        items: the objects.
        needed: how many of them, the first ones, are placed before all others; among each, large
            ones come before small ones.
        most: objects with a kind.
        support: what they come to stand on.
        camera: what sees them all.
    """
    rooms = [Room(board, support, camera) for board in support.boards]
    order = sorted(range(len(items)), key=lambda i: (i >= needed, -_reach(items[i])))
    guests = _choose_guests(rng, items)
    placed: list[Item] = []
    for i in order:
        full = items[i].kind != NO_KIND and kinded(placed) >= most - len(guests)
        spot = None if full or i in guests else _place(rng, items[i], rooms)
        if spot is not None:
            placed.append(spot)
    hosts = [(k, one) for k, one in enumerate(placed) if host_of(one)]
    hosts = [hosts[k] for k in rng.permutation(len(hosts))]
    for i in guests:
        spot = nest(rng, items[i], hosts) or _place(rng, items[i], rooms)
        if spot is not None and kinded(placed) < most:
            placed.append(spot)
            hosts = [(k, one) for k, one in hosts if k != spot.host]
    return placed


def kinded(objects: Sequence[Item]) -> int:
    """Return how many objects have a kind."""
    return sum(one.kind != NO_KIND for one in objects)


def _choose_guests(rng: np.random.Generator, items: Sequence[Item]) -> list[int]:
    """Draw small and long objects that are put in or on others, if these have room."""
    able = [
        i
        for i, one in enumerate(items)
        if one.kind in STANDING or (one.kind != NO_KIND and _reach(one) < GUEST_REACH)
    ]
    return [int(i) for i in rng.permutation(able)[:GUESTS]]


def _place(rng: np.random.Generator, item: Item, rooms: list[Room]) -> Item | None:
    """Place an object on one of the boards, or nowhere."""
    for index in rng.permutation(len(rooms)):
        spot = rooms[index].place(rng, item)
        if spot is not None:
            return spot
    return None


def _reach(item: Item) -> float:
    """Return the diameter of the room that an object takes, metres."""
    return float(np.hypot(*extent(item)[:2]))


def with_hosts(objects: Sequence[Item], kept: np.ndarray) -> np.ndarray:
    """Return the indices in kept but those of objects whose host is not kept."""
    stay = set(kept.tolist()) | {None}
    return np.array([i for i in kept.tolist() if objects[i].host in stay], dtype=int)


def renumbered(objects: Sequence[Item], kept: np.ndarray) -> tuple[Item, ...]:
    """Return the objects whose indices are kept, with the hosts' indices among these."""
    numbers = {old: new for new, old in enumerate(kept.tolist())}
    items = [objects[i] for i in kept.tolist()]
    return tuple(
        item if item.host is None else replace(item, host=numbers[item.host]) for item in items
    )
