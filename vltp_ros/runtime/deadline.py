"""Meeting a deadline: images get less work where the work that they should get takes too long."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vltp_ros.network.csp import CSP_NAMES, CspName
from vltp_ros.settings import check, documented, setting

if TYPE_CHECKING:
    from vltp_ros.runtime.settings import ResolvedSettings

RATES = (0.5, 0.7, 0.8, 0.9)
"""Shares of frozen tokens to choose from, beside the settings' own."""

ROOM = 0.9
"""Share of the deadline that more work than now must be expected to fit into."""

SLOW, FAST = 0.1, 0.5
"""Weights of a new time in the average of its stage, and in that of the machine's load."""


@documented
@dataclass(frozen=True)
class DeadlineConfig:
    """How long an image may take, and what may be given up for it.

    Given up first is what costs LLaVA's layers image tokens (LVLM_CSP), then SAM's, and last that
    <SEG> is computed for every image.
    """

    max_latency_ms: float = setting(
        0.0, "milliseconds that an image may take in the model; 0: as long as it takes", low=0.0
    )
    max_rate: float = setting(
        0.8, "share of image tokens that may be frozen to meet it", low=0.0, below=1.0
    )
    max_csp: CspName = setting(
        "70", "LVLM_CSP preset that may be used to meet it", choices=CSP_NAMES
    )
    max_seg_age: float = setting(
        0.0, "seconds for which a <SEG> may be reused to meet it; 0: never", low=0.0, high=3600.0
    )

    def __post_init__(self) -> None:
        check(self)


class Planner:
    """Picks the settings of each image from how long the stages took so far."""

    def __init__(self, settings: ResolvedSettings, side_by_side: bool) -> None:
        """Know no times yet.

        Args:
            settings: with the deadline, and what images get while there is time enough.
            side_by_side: whether LLaVA and SAM's stem run at the same time.
        """
        self.choices = ladder(settings)
        """From the most work to the least."""
        self.missed = 0
        """Images that took longer than the deadline."""
        self._deadline = settings.deadline.max_latency_ms
        self._side_by_side = side_by_side
        self._times: dict[tuple, float] = {}  # of a stage with its settings, milliseconds
        self._load = 1.0  # how much slower the machine is now than those times say
        self._current = 0  # position on the ladder

    def pick(self) -> ResolvedSettings:
        """Return the settings with the most work that is expected to meet the deadline."""
        if self._deadline and self._times:
            fitting = (number for number in range(len(self.choices)) if self._fits(number))
            self._current = next(fitting, len(self.choices) - 1)
        return self.choices[self._current]

    def observe(self, times_ms: dict[str, float], total_ms: float, reused: bool) -> None:
        """Learn from the image that the last choice was for.

        Args:
            times_ms: of each stage.
            total_ms: of all of them, as whoever waited for them saw it.
            reused: whether all of its <SEG> embeddings were an earlier image's.
        """
        if not self._deadline:
            return
        self.missed += total_ms > self._deadline
        choice, stem = self.choices[self._current], times_ms.get("stem", 0.0)
        reasoner = 0.0 if reused else times_ms.get("reasoner", 0.0)
        sam = stem + times_ms.get("pruned blocks", 0.0)
        seen: dict[tuple, float] = {
            ("stem",): stem,
            ("sam", choice.rates): sam,
            ("other",): total_ms - sam - self._waited(reasoner, stem),
        }
        if not reused:
            seen["reasoner", choice.csp] = reasoner
        known = seen.keys() & self._times.keys()
        if usual := sum(self._times[key] for key in known):
            load = sum(seen[key] for key in known) / usual
            self._load += FAST * (load - self._load)
        for key, time in seen.items():
            before = self._times.get(key, time / self._load)
            self._times[key] = before + SLOW * (time / self._load - before)

    def _fits(self, number: int) -> bool:
        """Say whether a choice is expected to meet the deadline; more work than now needs room."""
        choice, room = self.choices[number], ROOM if number < self._current else 1.0
        sam = self._time("sam", choice.rates, _sam_share)
        reasoner = 0.0
        if choice.reuse == self.choices[0].reuse:
            reasoner = self._time("reasoner", choice.csp, _llava_share)
        waited = self._waited(reasoner, self._times[("stem",)])
        expected = self._load * (sam + waited + self._times[("other",)])
        return expected <= room * self._deadline

    def _waited(self, reasoner: float, stem: float) -> float:
        """Return how much longer an image takes for LLaVA's sake."""
        return max(0.0, reasoner - stem) if self._side_by_side else reasoner

    def _time(self, stage: str, key: Hashable, share: Callable[[Any], float]) -> float:
        """Return a stage's time; one that was not yet seen is in proportion to one that was."""
        if (stage, key) in self._times:
            return self._times[stage, key]
        seen = [(share(k[1]), time) for k, time in self._times.items() if k[0] == stage]
        work, time = max(seen, default=(1.0, 0.0))
        return time * share(key) / max(work, 1e-6)


def ladder(settings: ResolvedSettings) -> list[ResolvedSettings]:
    """Return what may be chosen, from the settings themselves to the least work."""
    limits = settings.deadline
    choices = [settings]
    if not limits.max_latency_ms:
        return choices
    names = CSP_NAMES[CSP_NAMES.index(settings.csp) + 1 : CSP_NAMES.index(limits.max_csp) + 1]
    choices += [replace(choices[-1], csp=name) for name in names]
    highest = max(settings.rates, default=0.0)
    if settings.rates and not settings.adaptive:
        for rate in RATES:
            if highest < rate <= limits.max_rate:
                choices.append(replace(choices[-1], rates=(rate,) * len(settings.rates)))
    if limits.max_seg_age > settings.reuse.max_age:
        reuse = replace(settings.reuse, max_age=limits.max_seg_age)
        choices.append(replace(choices[-1], reuse=reuse))
    return choices


def _llava_share(csp: str) -> float:
    """Return about how much of LLaVA's work a preset leaves: it is named after what it saves."""
    return 1.0 if csp == "off" else 1 - int(csp) / 100


def _sam_share(rates: Sequence[float]) -> float:
    """Return about how much of the dense encoder's work is left: its first half is never pruned."""
    return 0.5 + 0.5 * sum(1 - rate for rate in rates) / max(1, len(rates))
