"""Shapes of tools, elongated along x, and of what cleans and sticks; lengths in metres."""

import numpy as np

from vltp_ros.simulation.meshes import (
    arc,
    move,
    prism,
    revolve,
    rounded,
    skin,
    slab,
    stretch,
    tube,
    turn,
)
from vltp_ros.simulation.parts import MAIN, Shape, build, grip, join, lathe, mirror


def hammer_claw() -> Shape:
    """Build a hammer whose head is a face on one side and a claw on the other."""
    profile = [(0, 0), (0.013, 0), (0.014, 0.09), (0.010, 0.13), (0.010, 0.22), (0, 0.22)]
    handle = move(stretch(lathe(profile), (1, 1, 0.9)), (0, 0, 0.017))
    poll = [(0, 0), (0.017, 0), (0.017, 0.018), (0.012, 0.024), (0.012, 0.066), (0, 0.066)]
    face = move(turn(revolve(poll), "x", 90), (0.21, 0.016, 0.017))
    # The claw bends back over the handle and parts in two tines.
    spine = [(0.222, 0.01), (0.220, 0.035), (0.207, 0.06), (0.185, 0.074),
             (0.196, 0.052), (0.200, 0.03), (0.198, 0.01)]  # fmt: skip
    tines = join(prism(spine, 0.009, 0.005), prism(spine, 0.009, 0.020))
    return build((MAIN, handle), ("steel", join(face, tines)))


def hammer_sledge() -> Shape:
    """Build a hammer with a heavy iron block for a head."""
    handle = move(grip(0.24, 0.024, 0.02), (0, 0, 0.012))
    head = prism(rounded(0.046, 0.12, 8, middle=0.205), 0.044)
    return build((MAIN, handle), ("iron", head))


def hammer_mallet() -> Shape:
    """Build a hammer with a round rubber head."""
    handle = move(lathe([(0, 0), (0.012, 0), (0.011, 0.2), (0, 0.2)]), (0, 0, 0.029))
    ends = [(0, -0.055), (0.025, -0.055), (0.029, -0.048)]
    head = turn(revolve([*ends, *((r, -z) for r, z in reversed(ends))]), "x", 90)
    return build((MAIN, handle), ("black rubber", move(head, (0.2, 0, 0.029))))


def scissors(opening: float, blade: float) -> Shape:
    """Build scissors: crossing arms, open by an angle in degrees, with the pivot at the origin."""
    edge = [(-0.02, -0.007), (0.0, -0.010), (blade * 0.7, -0.007), (blade, 0.006), (-0.02, 0.008)]
    shank = tube([(-0.015, 0, 0), (-0.04, 0.006, 0), (-0.058, 0.016, 0)], 0.006)
    eye = arc((0, 0), 1.0, 0, 360, 21)[:-1] * [0.034, 0.024] + [-0.088, 0.025]
    loop = tube(np.column_stack([eye, np.zeros(20)]), 0.0065, closed=True, sides=8)
    parts: dict[str, list[np.ndarray]] = {"steel": [], MAIN: []}
    for side, base in ((1, 0.005), (-1, 0.010)):
        flip = (1, side, 1)
        flat = mirror(prism(edge, 0.004), flip)
        arm = mirror(join(shank, loop), flip)
        parts["steel"].append(move(turn(flat, "z", side * -opening / 2), (0, 0, base)))
        parts[MAIN].append(move(turn(arm, "z", side * -opening / 2), (0, 0, 0.0065)))
    pin = revolve([(0, 0.004), (0.006, 0.004), (0.006, 0.017), (0, 0.017)], 14)
    return build((MAIN, join(*parts[MAIN])), ("steel", join(*parts["steel"])), ("iron", pin))


def dish_brush() -> Shape:
    """Build a brush: a long handle with a head of bristles that point sideways."""
    back = join(grip(0.15, 0.018, 0.018), slab((0.085, 0.018, 0.022), (0.185, 0, 0.011)))
    tufts = [slab((0.008, 0.036, 0.016), (0.15 + 0.0115 * k, 0.026, 0.011)) for k in range(7)]
    return build((MAIN, back), ("bristle", join(*tufts)))


def hand_broom() -> Shape:
    """Build a hand broom: a short handle and bristles that fan out."""
    stick = [(0, 0), (0.011, 0), (0.013, 0.05), (0.009, 0.105), (0.014, 0.115), (0, 0.115)]
    handle = move(lathe(stick), (0, 0, 0.014))
    half = [(0.11, -0.02), (0.135, -0.042), (0.15, -0.042)]
    head = prism([*half, *((x, -y) for x, y in reversed(half))], 0.024, 0.002)
    tuft = slab((0.075, 0.013, 0.02), (0.1375, 0, 0.013))
    tufts = [turn(tuft, "z", angle) for angle in np.linspace(-24, 24, 11)]
    return build((MAIN, join(handle, head)), ("bristle", move(join(*tufts), (0.05, 0, 0))))


def tape(outer: float, inner: float, width: float) -> Shape:
    """Build a roll of tape on a cardboard core; outer and inner are the roll's radii."""

    def ring(far: float, near: float, low: float, high: float) -> np.ndarray:
        return revolve([(near, low), (far, low), (far, high), (near, high), (near, low)])

    core = ring(inner + 0.003, inner, -0.001, width + 0.001)
    roll = ring(outer, inner + 0.002, 0, width)
    return build((MAIN, roll), ("cardboard", core), poses=("upright", "upright", "side"))


def sponge(outline: np.ndarray, pad: str) -> Shape:
    """Build a sponge with an outline [N, 2] on a pad of another finish."""
    return build((MAIN, prism(outline, 0.03, 0.012)), (pad, prism(outline, 0.012)))


def screwdriver(handle: float, shaft: float, radius: float) -> Shape:
    """Build a screwdriver.

    Args:
        handle: its length.
        shaft: its length.
        radius: of the handle, whose flutes reach a little farther.
    """
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    flute = 1 + 0.13 * np.cos(8 * angle)
    along = np.array([0, 0, 0.008, 0.7 * handle, 0.85 * handle, 0.9 * handle, handle, handle])
    size = radius * np.array([0, 0.7, 1, 1, 0.62, 0.8, 0.8, 0])
    y, z = np.outer(size, flute * np.cos(angle)), np.outer(size, flute * np.sin(angle))
    rings = np.stack([np.broadcast_to(along[:, None], y.shape), y, z], -1)
    end = handle + shaft
    rod = tube([(handle - 0.005, 0, 0), (end - 0.012, 0, 0)], 0.005)
    half = [(end - 0.016, -0.005), (end - 0.006, -0.009), (end, -0.008)]
    tip = prism([*half, *((x, -y) for x, y in reversed(half))], 0.003, -0.0015)
    rest = (0, 0, 1.13 * radius)
    return build((MAIN, move(skin(rings), rest)), ("steel", move(join(rod, tip), rest)))


def wooden_mallet() -> Shape:
    """Build a carpenter's mallet: a block of wood across a handle of wood."""
    handle = move(grip(0.21, 0.026, 0.022), (0, 0, 0.019))
    block = [(-0.036, -0.062), (0.036, -0.052), (0.036, 0.052), (-0.036, 0.062)]
    head = move(prism(block, 0.06), (0.2, 0, 0))
    return build((MAIN, handle), ("beech", head))


def wrench(opening: float, ring: bool) -> Shape:
    """Build a wrench.

    Args:
        opening: width of its jaws.
        ring: whether its other end is a ring, instead of smaller jaws.
    """
    thick, length = 0.011, 0.2

    def jaws(width: float) -> np.ndarray:
        """Return the outline of a fork that opens towards +x, around the origin."""
        outer = arc((0, 0), width * 1.05, 48, 312, 15)
        return np.vstack([outer, [(-width * 0.25, -width / 2), (-width * 0.25, width / 2)]])

    shank = move(slab((length - opening, opening * 0.62, thick * 0.7)), (0, 0, thick / 2))
    front = move(turn(prism(jaws(opening), thick), "z", 15), (length / 2, 0, 0))
    if ring:
        around = arc((0, 0), opening * 0.72, 0, 360, 21)[:-1]
        path = np.column_stack([around, np.full(20, thick / 2)])
        back = move(stretch(tube(path, 0.009, closed=True, sides=8), (1, 1, 0.8)), (0, 0, 0.001))
    else:
        back = turn(prism(jaws(opening * 0.82), thick), "z", 195)
    return build((MAIN, join(shank, front, move(back, (-length / 2, 0, 0)))))


def stone(seed: int, flat: float) -> Shape:
    """Build a stone.

    Args:
        seed: which of many stones.
        flat: its height over its width.
    """
    rng = np.random.default_rng(seed)
    waves = rng.normal(0, 0.07, (4, 3))
    latitude = np.linspace(-np.pi / 2, np.pi / 2, 11)[:, None]
    longitude = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    unit = np.stack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude),
                     np.broadcast_to(np.sin(latitude), (11, 18))], -1)  # fmt: skip
    bumps = 1 + np.sin(unit @ rng.normal(0, 2.4, (3, 4)) + rng.uniform(0, 6, 4)) @ waves[:, 0]
    rock = unit * bumps[..., None] * [0.056, 0.044, 0.05 * flat]
    rock[..., 2] -= rock[..., 2].min()
    return build((MAIN, skin(rock)))


def pencil(length: float, radius: float) -> Shape:
    """Build a sharpened pencil with six sides and a rubber at its end."""
    rest = (0, 0, radius)
    body = tube([(0.012, 0, 0), (length - 0.02, 0, 0)], radius, sides=6)
    wood = tube([(length - 0.02, 0, 0), (length - 0.004, 0, 0)], [radius, 0.0015], sides=6)
    lead = tube([(length - 0.005, 0, 0), (length, 0, 0)], [0.002, 0.0004], sides=6)
    rubber = tube([(0, 0, 0), (0.009, 0, 0)], radius * 0.95, sides=8)
    ferrule = tube([(0.008, 0, 0), (0.015, 0, 0)], radius * 1.04, sides=8)
    finishes = {MAIN: body, "beech": wood, "ink": lead, "pink rubber": rubber, "brass": ferrule}
    return build(*((finish, move(part, rest)) for finish, part in finishes.items()))


def torch(length: float, radius: float, lit: bool) -> Shape:
    """Build an electric torch that lies on its side; lit, its lens glows."""
    body = lathe([(0, 0), (radius * 0.6, 0), (radius * 0.62, length * 0.62),
                  (radius, length * 0.76), (radius, length), (0, length)])  # fmt: skip
    rim = lathe([(0, 0), (radius * 1.08, 0), (radius * 1.08, 0.012), (0, 0.012)])
    lens = lathe([(0, 0), (radius * 0.92, 0), (radius * 0.75, 0.008), (0, 0.014)])
    switch = slab((0.022, 0.01, 0.008), (length * 0.42, 0, radius * 0.62))
    rest = (0, 0, radius * 1.08)
    glow = "glow" if lit else "dark glass"
    parts = [(MAIN, body), ("black plastic", join(move(rim, (length - 0.008, 0, 0)), switch)),
             (glow, move(lens, (length + 0.003, 0, 0)))]  # fmt: skip
    if lit:
        fan = prism([(0, -radius * 0.8), (0.075, -0.052), (0.09, 0), (0.075, 0.052),
                     (0, radius * 0.8)], 0.0012)  # fmt: skip
        parts.append(("beam", move(fan, (length + 0.008, 0, -rest[2]))))
    return build(*((finish, move(part, rest)) for finish, part in parts))
