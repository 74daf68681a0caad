"""Grey textures, tiling without a seam, that a colour is multiplied with."""

from collections.abc import Callable

import numpy as np

SIZE = 128  # pixels along each side


def _noise(seed: int, across: float, down: float) -> np.ndarray:
    """Return smooth noise [SIZE, SIZE] in 0 to 1 that tiles; its grain is across x down pixels."""
    spectrum = np.fft.fft2(np.random.default_rng(seed).standard_normal((SIZE, SIZE)))
    frequency = np.fft.fftfreq(SIZE) * np.pi
    decay = np.exp(-((frequency[:, None] * down) ** 2) - (frequency * across) ** 2)
    field = np.fft.ifft2(spectrum * decay).real
    low, high = np.percentile(field, (1, 99))
    return np.clip((field - low) / (high - low), 0, 1)


def _brushed() -> np.ndarray:
    return 0.88 + 0.12 * _noise(1, 24, 0.6)


def _grain() -> np.ndarray:
    rings = np.sin(2 * np.pi * (3 * np.arange(SIZE)[:, None] / SIZE + 0.9 * _noise(2, 60, 12)))
    return 0.80 + 0.10 * rings + 0.10 * _noise(3, 30, 1.0)


def _fibre() -> np.ndarray:
    return 0.86 + 0.14 * _noise(4, 8, 1.5)


def _weave() -> np.ndarray:
    wave = np.sin(2 * np.pi * 16 * np.arange(SIZE) / SIZE)
    return 0.86 + 0.10 * wave[:, None] * wave + 0.04 * _noise(5, 3, 3)


def _pores() -> np.ndarray:
    return np.where(_noise(6, 4, 4) < 0.28, 0.70, 1.0) - 0.08 * _noise(7, 1.5, 1.5)


def _planks() -> np.ndarray:
    rows = np.arange(SIZE)
    tone = np.array([0.95, 0.80, 0.88, 0.75])[rows * 4 // SIZE]
    seam = np.where(rows % (SIZE // 4) < 2, 0.6, 1.0)
    return (tone * seam)[:, None] * (0.85 + 0.15 * _noise(8, 40, 1.5))


def _checker() -> np.ndarray:
    half = np.arange(SIZE) * 2 // SIZE
    return np.where(half[:, None] ^ half, 1.0, 0.78)


def _marble() -> np.ndarray:
    vein = np.abs(_noise(9, 24, 24) - 0.5)
    return 1.0 - 0.28 * np.exp(-((vein / 0.05) ** 2)) - 0.08 * _noise(10, 8, 8)


def _speckle() -> np.ndarray:
    return np.where(_noise(11, 1.5, 1.5) < 0.25, 0.72, 0.96)


def _cloudy() -> np.ndarray:
    return 0.80 + 0.20 * _noise(12, 20, 20)


OBJECT_TEXTURES: dict[str, Callable[[], np.ndarray]] = {
    "brushed": _brushed, "grain": _grain, "fibre": _fibre, "weave": _weave, "pores": _pores,
}  # fmt: skip
"""What objects are covered with; each call gives float [SIZE, SIZE] in 0 to 1."""

SURFACE_TEXTURES: dict[str, Callable[[], np.ndarray]] = {
    "planks": _planks, "tiles": _checker, "marble": _marble, "terrazzo": _speckle,
    "plaster": _cloudy, "board": _grain, "linen": _weave,
}  # fmt: skip
"""What table, floor and wall are covered with."""
